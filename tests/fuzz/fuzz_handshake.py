"""HELO, PING and PONG from any bytes, and the checks on what they say."""

from __future__ import annotations

from pathlib import Path

import msgpack  # type: ignore[import-untyped]
from msgspec.structs import replace

from logllm.errors import ProtocolError
from logllm.sources.forward.gate import Answer, Gate, Greeting
from logllm.wire.handshake import (
    Helo,
    Ping,
    ping_fault,
    read_helo,
    read_ping,
    read_pong,
    write_helo,
    write_ping,
    write_pong,
)
from tests.fuzz.inputs import Choices, check_refusal, pieces

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 600

_WIRE = Path(__file__).parents[1] / "golden" / "wire"
_KEY = b"s3cr3t"
_SALT = bytes(range(100, 116))
_HELO = Helo(bytes(range(16)), b"0123456789abcdef")
_USERS = {b"alice": b"pw", b"": b"", b"\xff": b"\xff"}
_PING = write_ping(_HELO, _KEY, "client", _SALT, "alice", "pw")
# Nobody who has not the key gets a digest right: an input that does has been made with it.
_TRUE = frozenset((_PING, write_ping(_HELO, _KEY, "client", _SALT)))


def _gate(users: dict[bytes, bytes]) -> Gate:
    return Gate(_KEY, users, "server", random=lambda size: bytes(range(size)))


def check(data: bytes) -> None:
    """A message is read, or refused with a ProtocolError; what was written is read as it was."""
    choices = Choices(data)
    kind = choices.below(8)
    message = choices.rest()
    try:
        if kind == 0:
            _check_ping(read_ping(message))
        elif kind == 1:
            helo = read_helo(message)
            assert isinstance(helo.nonce, bytes)
            assert read_helo(write_helo(helo)) == helo
        elif kind == 2:
            reason = read_pong(message, _HELO, _KEY, _SALT, "client")
            assert isinstance(reason, str)
            assert len(reason) <= 200
        elif kind == 3:
            _check_answers(message)
        elif kind == 4:
            third = len(message) // 3
            _check_ping(Ping(message[:third], message[third : 2 * third], message[2 * third :], message, message))
        elif kind == 5:
            _check_damaged_pong(message)
        else:
            _check_greeting(message, with_users=kind == 7)
    except ProtocolError as error:
        check_refusal(error)


def _check_ping(ping: Ping) -> None:
    for field in (ping.hostname, ping.salt, ping.digest, ping.username, ping.password_digest):
        assert isinstance(field, bytes)
    for users in ({}, _USERS):
        assert ping_fault(ping, _HELO, b"another key", users) == "shared_key mismatch"
        assert ping_fault(ping, _HELO, _KEY, users) in ("", "shared_key mismatch", "username/password mismatch")
    pong = write_pong(ping, _HELO.nonce, _KEY, "server")
    assert read_pong(pong, _HELO, _KEY, ping.salt, "client") == ""
    assert read_pong(write_pong(ping, b"", _KEY, "server", "no entry"), _HELO, _KEY, ping.salt, "client") == "no entry"


def _check_answers(message: bytes) -> None:
    """Whatever names and salts hold, both ends agree; and a wrong key does not pass."""
    half = len(message) // 2
    salt, name = message[:half], message[half:].decode("utf-8", "replace")
    ping = read_ping(write_ping(_HELO, _KEY, name, salt, name, "pw"))
    assert ping_fault(ping, _HELO, _KEY, {}) == ""
    assert ping_fault(ping, _HELO, _KEY, {name.encode(): b"pw"}) == ""
    assert ping_fault(ping, _HELO, _KEY, {name.encode(): b"p"}) == "username/password mismatch"
    assert ping_fault(ping, _HELO, _KEY + b"x", {}) == "shared_key mismatch"


def _check_damaged_pong(message: bytes) -> None:
    """A PONG with a digest that is any other than the right one does not prove the key."""
    pong = write_pong(Ping(b"client", _SALT, b""), _HELO.nonce, _KEY, "server")
    digest = message[:128]
    damaged = pong[: len(pong) - len(digest)] + digest
    if damaged != pong:
        try:
            read_pong(damaged, _HELO, _KEY, _SALT, "client")
        except ProtocolError:
            return
        raise AssertionError("a PONG with a wrong digest was taken")


def _check_greeting(stream: bytes, *, with_users: bool) -> None:
    """However what a peer sends is cut, it enters or does not, and nothing it has sent behind its PING is lost."""
    gate = _gate(_USERS if with_users else {})
    step = stream[0] + 1 if stream else 1
    found: list[Answer | str | None] = []
    for cuts in ((len(stream) + 1,), (step,)):
        greeting = Greeting(gate)
        answer: Answer | None = None
        fed = b""
        try:
            for piece in pieces(stream, cuts):
                greeting.feed(piece)
                fed += piece
                if (answer := greeting.answer()) is not None:
                    break
        except ProtocolError as error:
            check_refusal(error)
            found.append("refused")
            continue
        if answer is not None and not answer.fault:
            assert fed.endswith(answer.rest)
            answer = replace(answer, rest=answer.rest + stream[len(fed) :])
        found.append(answer)
    assert found[0] == found[1]


def seeds() -> list[bytes]:
    """What Fluent Bit said, and what we say."""
    recorded = []
    for path in sorted(_WIRE.glob("*shared_key*.c2s.bin")):
        unpacker = msgpack.Unpacker()
        unpacker.feed(path.read_bytes())
        unpacker.skip()
        recorded.append(path.read_bytes()[: unpacker.tell()])
    ping = Ping(b"client", _SALT, b"")
    pongs = [
        write_pong(ping, _HELO.nonce, _KEY, "server"),
        write_pong(ping, _HELO.nonce, _KEY, "client"),
        write_pong(ping, _HELO.nonce, _KEY, "server", "shared_key mismatch"),
    ]
    helos = [write_helo(_HELO), write_helo(Helo(b"")), b"\x92\xa4HELO\x81\xa5nonce\xc4\1x"]
    found = [b"\0" + message for message in (*recorded, _PING, *_TRUE)]
    found += [b"\1" + message for message in helos]
    found += [b"\2" + message for message in pongs]
    greetings = [write_ping(gate.helo(), _KEY, "client", _SALT, "alice", "pw") for gate in (_gate({}), _gate(_USERS))]
    found += [bytes([6 + number]) + greeting + b"\x93\xa1t\5\x80" for number, greeting in enumerate(greetings)]
    return found + [bytes([kind]) + b"some salt and a name" for kind in (3, 4, 5)]
