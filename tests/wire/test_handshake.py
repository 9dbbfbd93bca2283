"""The handshake's bytes, both sides, against each other and against what a Fluent Bit has really sent and accepted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from logllm.errors import ProtocolError
from logllm.wire.handshake import (
    MAX_MESSAGE_BYTES,
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

GOLDEN = Path(__file__).parents[1] / "golden" / "wire"
NONCE = bytes(range(16))
SALT = b"0123456789abcdef"
USERS = {b"alice": b"pw"}
RECORDED = {
    "shared_key": (b"s3cr3t", b"", {}),
    "shared_key_userauth_ack": (b"s3cr3t", SALT, USERS),
    "empty_shared_key_userauth": (b"", SALT, USERS),
}


def messages(name: str) -> list[bytes]:
    data = (GOLDEN / name).read_bytes()
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    ends = [0]
    while ends[-1] < len(data):
        unpacker.skip()
        ends.append(unpacker.tell())
    return [data[start:end] for start, end in pairwise(ends)]


def pack(*fields: Any) -> bytes:
    return bytes(msgpack.packb(list(fields)))


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_ping_is_right_and_its_pong_is_the_bytes_that_fluent_bit_took(name: str) -> None:
    key, auth, users = RECORDED[name]
    helo = Helo(NONCE, auth)
    ping = read_ping(messages(f"{name}.c2s.bin")[0])
    answers = messages(f"{name}.s2c.bin")

    assert ping_fault(ping, helo, key, users) == ""
    assert read_helo(answers[0]) == helo
    assert write_helo(helo) == answers[0]
    assert write_pong(ping, NONCE, key, "server.local") == answers[1]
    assert read_pong(answers[1], helo, key, ping.salt, ping.hostname.decode()) == ""


def test_a_recorded_pong_of_another_key_is_found_out() -> None:
    name = "shared_key_bad_pong_worker1"
    ping = read_ping(messages(f"{name}.c2s.bin")[0])

    assert ping_fault(ping, Helo(NONCE), b"s3cr3t", {}) == ""
    with pytest.raises(ProtocolError, match="does not prove that it knows the shared key"):
        read_pong(messages(f"{name}.s2c.bin")[1], Helo(NONCE), b"s3cr3t", ping.salt, "client.local")


@given(st.binary(max_size=40), st.binary(min_size=1, max_size=40), st.binary(min_size=16, max_size=16))
def test_our_own_two_ends_agree_whatever_the_key_and_the_salts(key: bytes, nonce: bytes, salt: bytes) -> None:
    helo = read_helo(write_helo(Helo(nonce, SALT)))
    ping = read_ping(write_ping(helo, key, "client", salt, "alice", "pw"))

    assert ping_fault(ping, helo, key, USERS) == ""
    assert read_pong(write_pong(ping, nonce, key, "server"), helo, key, salt, "client") == ""
    assert ping_fault(ping, helo, key + b"x", USERS) == "shared_key mismatch"


def test_each_part_of_a_ping_must_be_right() -> None:
    helo = Helo(NONCE, SALT)
    ping = read_ping(write_ping(helo, b"key", "client", b"s" * 16, "alice", "pw"))
    short = ping.digest[:-1]

    faults = {
        "as it is": ping_fault(ping, helo, b"key", USERS),
        "another nonce": ping_fault(ping, Helo(b"n" * 16, SALT), b"key", USERS),
        "another salt": ping_fault(replace(ping, salt=b"t" * 16), helo, b"key", USERS),
        "another host": ping_fault(replace(ping, hostname=b"other"), helo, b"key", USERS),
        "a short digest": ping_fault(replace(ping, digest=short), helo, b"key", USERS),
        "no digest": ping_fault(replace(ping, digest=b""), helo, b"key", USERS),
        "a digest that is not ASCII": ping_fault(replace(ping, digest=b"\xff" * 128), helo, b"key", USERS),
        "an unknown user": ping_fault(replace(ping, username=b"bob"), helo, b"key", USERS),
        "no user": ping_fault(replace(ping, username=b"", password_digest=b""), helo, b"key", USERS),
        "another password": ping_fault(ping, helo, b"key", {b"alice": b"other"}),
        "another salt of passwords": ping_fault(ping, Helo(NONCE, b"z" * 16), b"key", USERS),
        "users nobody asked for": ping_fault(ping, helo, b"key", {}),
    }

    key, user = "shared_key mismatch", "username/password mismatch"
    assert list(faults.values()) == ["", key, key, key, key, key, key, user, user, user, user, ""]


def test_nobody_enters_under_the_password_that_stands_in_for_unknown_names() -> None:
    helo = Helo(NONCE, SALT)
    ping = read_ping(write_ping(helo, b"", "client", b"s", "mallory", "no such user"))

    assert ping_fault(ping, helo, b"", USERS) == "username/password mismatch"


def test_a_refusal_is_handed_on_in_the_servers_words() -> None:
    ping = Ping(b"client", b"salt", b"")

    pong = write_pong(ping, NONCE, b"key", "server", "shared_key mismatch")

    assert msgpack.unpackb(pong) == ["PONG", False, "shared_key mismatch", "server", ""]
    assert read_pong(pong, Helo(NONCE), b"key", b"salt", "client") == "shared_key mismatch"
    assert read_pong(pack("PONG", False, "", "", ""), Helo(NONCE), b"key", b"salt", "client") == "no reason given"


def test_a_server_that_sends_our_own_digest_back_does_not_pass() -> None:
    helo = Helo(NONCE)
    ping = read_ping(write_ping(helo, b"key", "client", b"salt"))
    echo = pack("PONG", True, "", "client", ping.digest.decode())

    with pytest.raises(ProtocolError, match="give one of us another name"):
        read_pong(echo, helo, b"key", b"salt", "client")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "no whole PING"),
        (b"\xc1", "no whole PING"),
        (write_ping(Helo(NONCE), b"", "h", b"s")[:-1], "no whole PING"),
        (write_ping(Helo(NONCE), b"", "h", b"s") + b"\0", "no whole PING"),
        (pack("PING", "h", b"s", b"d", "u"), "PING of 5 fields, expected 6"),
        (pack("PONG", "h", b"s", b"d", "u", "p"), "expected a PING"),
        (pack("PING", "h", 5, b"d", "u", "p"), "a field that is no string"),
        (pack("PING", "h", None, b"d", "u", "p"), "a field that is no string"),
        (pack("app", [[5, {}]]), "expected a PING"),
        (b"\x80", "expected a PING"),
        (b"\x91" * 3000, "no whole PING"),
        (b"\x96\xa4PING\xdb\xff\xff\xff\xff", "no whole PING"),
        (pack("PING", b"x" * MAX_MESSAGE_BYTES, b"s", b"d", "u", "p"), "expected at most"),
    ],
)
def test_what_is_no_ping_is_a_protocol_error(message: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        read_ping(message)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    for read in (read_helo, read_ping, lambda data: read_pong(data, Helo(NONCE), b"", b"", "")):
        for message in (data, b"\x92\xa4HELO" + data, b"\x96\xa4PING" + data, b"\x95\xa4PONG" + data):
            try:
                read(message)
            except ProtocolError:
                continue


def test_a_helo_without_a_nonce_is_a_protocol_error_and_one_of_a_plain_fluent_bit_is_read() -> None:
    assert read_helo(pack("HELO", {"nonce": "0123", "auth": "4567"})) == Helo(b"0123", b"4567", keepalive=True)
    assert read_helo(pack("HELO", {"nonce": b"1", "keepalive": False})) == Helo(b"1", b"", keepalive=False)
    odd: list[Any] = [{}, {"nonce": 5}, {"nonce": b"1", "auth": None}, [], None]
    for options in odd:
        with pytest.raises(ProtocolError, match="HELO without a nonce"):
            read_helo(pack("HELO", options))
