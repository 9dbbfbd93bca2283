"""Who is let in by the forward server: recorded PINGs, wrong ones, half ones, none, and what never gets through."""

from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest
from msgspec.structs import replace

from logllm.errors import ProtocolError
from logllm.sources.forward.gate import Gate, Greeting
from logllm.sources.forward.protocol import ack_bytes
from logllm.sources.forward.server import ForwardConfig, ForwardServer
from logllm.wire.handshake import Helo, read_helo, read_pong, write_ping
from tests.sources.forward.clients import LOCAL, Client, Sink, connect, frame, run, until

GOLDEN = Path(__file__).parents[2] / "golden" / "wire"
NONCE, SALT = bytes(range(16)), b"0123456789abcdef"
RECORDED = {
    "shared_key": Gate(b"s3cr3t", {}, "server.local", lambda count: NONCE),
    "shared_key_userauth_ack": Gate(b"s3cr3t", {b"alice": b"pw"}, "server.local"),
    "empty_shared_key_userauth": Gate(b"", {b"alice": b"pw"}, "server.local"),
}


@pytest.fixture
def keyed(tmp_path: Path) -> ForwardConfig:
    (tmp_path / "key").write_text("s3cr3t\n")
    return replace(LOCAL, shared_key_file=str(tmp_path / "key"))


@pytest.fixture
def with_users(tmp_path: Path, keyed: ForwardConfig) -> ForwardConfig:
    (tmp_path / "users").write_text("# who may send\n\nalice pw\nbob  a long one \n")
    return replace(keyed, users_file=str(tmp_path / "users"))


async def helo(client: Client) -> Helo:
    data = await client.reader.read(1024)
    # One segment: Fluent Bit reads once.
    return read_helo(data)


async def enter(client: Client, key: bytes = b"s3cr3t", user: str = "", password: str = "") -> str:
    said = await helo(client)
    client.send(write_ping(said, key, "client", b"s" * 16, user, password))
    return read_pong(await client.reader.read(1024), said, key, b"s" * 16, "client")


def recorded(name: str) -> tuple[bytes, bytes]:
    return (GOLDEN / f"{name}.c2s.bin").read_bytes(), (GOLDEN / f"{name}.s2c.bin").read_bytes()


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_recorded_handshake_is_answered_with_the_recorded_bytes(name: str, step: int) -> None:
    sent, answered = recorded(name)
    random = itertools.cycle([NONCE, SALT])
    gate = RECORDED[name]
    greeting = Greeting(Gate(gate._key, gate._users, gate.hostname, lambda count: next(random)))
    written, answer, at = greeting.helo, None, 0

    while answer is None:
        greeting.feed(sent[at : at + step])
        at += step
        answer = greeting.answer()

    assert answered.startswith(written + answer.pong)
    assert answer.fault == ""
    assert sent.endswith(answer.rest + sent[at:])
    assert msgpack.unpackb(answer.rest + sent[at:])[0] == "app.web"


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_ping_played_again_on_another_connection_is_refused(
    name: str, keyed: ForwardConfig, with_users: ForwardConfig
) -> None:
    config = {
        "shared_key": keyed,
        "shared_key_userauth_ack": with_users,
        "empty_shared_key_userauth": replace(with_users, shared_key_file=None),
    }[name]

    async def test() -> None:
        sink = Sink()
        async with config.build(sink) as server, connect(server) as client:
            await helo(client)

            client.send(recorded(name)[0])

            assert msgpack.unpackb(await client.ended())[:3] == ["PONG", False, "shared_key mismatch"]
            assert sink.chunks == []

    run(test)


def test_each_connection_gets_its_own_nonce(keyed: ForwardConfig) -> None:
    async def test() -> None:
        async with keyed.build(Sink()) as server, connect(server) as one, connect(server) as two:
            first, second = await helo(one), await helo(two)

            assert first.nonce != second.nonce
            assert (len(first.nonce), first.auth, first.keepalive) == (16, b"", True)

    run(test)


def test_records_sent_with_the_ping_are_taken_once_it_is_right(with_users: ForwardConfig) -> None:
    async def test() -> None:
        sink = Sink()
        async with with_users.build(sink) as server, connect(server) as client:
            said = await helo(client)
            ping = write_ping(said, b"s3cr3t", "client", b"s" * 16, "bob", "a long one")

            client.send(ping[:50])
            await until(lambda: server.stats.bytes == 50)
            client.send(ping[50:] + frame("a", "1", chunk="c"))
            pong = await client.reader.readuntil(b"\x81\xa3ack\xa1c")

            assert pong.endswith(ack_bytes(b"c"))
            assert read_pong(pong[: -len(ack_bytes(b"c"))], said, b"s3cr3t", b"s" * 16, "client") == ""
            assert sink.records == 1
            assert server.stats.handshakes_failed == {}

    run(test)


@pytest.mark.parametrize(
    ("key", "user", "password", "reason"),
    [
        (b"wrong", "alice", "pw", "shared_key mismatch"),
        (b"", "alice", "pw", "shared_key mismatch"),
        (b"s3cr3t", "alice", "wrong", "username/password mismatch"),
        (b"s3cr3t", "mallory", "pw", "username/password mismatch"),
        (b"s3cr3t", "", "", "username/password mismatch"),
    ],
)
def test_a_wrong_key_or_user_gets_a_pong_that_says_so_and_its_records_are_never_read(
    key: bytes, user: str, password: str, reason: str, with_users: ForwardConfig, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        sink = Sink()
        async with with_users.build(sink) as server, connect(server) as client, connect(server) as good:
            assert await enter(good, b"s3cr3t", "alice", "pw") == ""
            said = await helo(client)

            client.send(write_ping(said, key, "client", b"s" * 16, user, password) + frame("a", "stolen"))
            answer = await client.ended()
            client.send(frame("a", "later"))
            good.send(frame("b", "1", chunk="c"))
            await good.expect(ack_bytes(b"c"))

            assert msgpack.unpackb(answer) == ["PONG", False, reason, "logllm", ""]
            assert [item.chunk.tag for item in sink.chunks] == ["b"]
            assert server.stats.handshakes_failed == {reason: 1}

    run(test)

    (record,) = caplog.records
    assert record.getMessage().endswith(f": {reason}; connection closed")
    assert "pw" not in caplog.text.replace("/password", "")
    assert "s3cr3t" not in caplog.text


STRANGERS = {
    "records at once": frame("a", "stolen", chunk="c"),
    "a recorded client without a key": (GOLDEN / "plain.c2s.bin").read_bytes(),
    "six elements that are no PING": msgpack.packb(["a", [], {}, 1, 2, 3]),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "nil": b"\xc0" * 10,
    "an endless PING": b"\x96\xa4PING\xdb\x00\x10\x00\x00" + b"x" * 9000,
    "a PING that is too long": msgpack.packb(["PING", b"x" * 9000, b"", b"", b"", b""]),
    "a depth bomb": b"\x96" + b"\x91" * 6000,
    "4 GB": b"\x96\xc6\xff\xff\xff\xff" + b"x" * 9000,
    "half a PING and an end": write_ping(Helo(NONCE), b"s3cr3t", "client", b"s" * 16)[:40],
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_who_does_not_answer_with_a_ping_is_closed_and_others_are_served(kind: str, keyed: ForwardConfig) -> None:
    async def test() -> None:
        sink = Sink()
        async with keyed.build(sink) as server, connect(server) as good, connect(server) as bad:
            await helo(bad)

            bad.send(STRANGERS[kind])
            if kind.startswith("half"):
                bad.writer.write_eof()
            answer = await bad.ended()
            assert await enter(good) == ""
            good.send(frame("b", "1", chunk="d"))
            await good.expect(ack_bytes(b"d"))

            assert answer == b""
            assert [item.chunk.tag for item in sink.chunks] == ["b"]
            assert server.stats.handshakes_failed == {"no PING": 1}
            assert server.stats.connections_open == 1

    run(test)


@pytest.mark.parametrize("sent", [0, 40])
def test_half_a_handshake_held_open_is_closed_in_time(sent: int, keyed: ForwardConfig) -> None:
    async def test() -> None:
        config = replace(keyed, handshake_timeout_s=0.1)
        async with config.build(Sink()) as server, connect(server) as good, connect(server) as slow:
            assert await enter(good) == ""
            said = await helo(slow)

            slow.send(write_ping(said, b"s3cr3t", "client", b"s" * 16)[:sent])
            assert await slow.ended() == b""
            good.send(frame("b", "1", chunk="d"))
            await good.expect(ack_bytes(b"d"))

            assert server.stats.handshakes_failed == {"timeout": 1}

    run(test)


def test_who_has_entered_may_be_silent_as_long_as_it_likes(keyed: ForwardConfig) -> None:
    async def test() -> None:
        config = replace(keyed, handshake_timeout_s=0.05)
        async with config.build(Sink()) as server, connect(server) as client, connect(server) as late:
            assert await enter(client) == ""

            await late.ended()
            client.send(frame("b", "1", chunk="d"))

            await client.expect(ack_bytes(b"d"))

    run(test)


def test_users_alone_go_with_an_empty_shared_key(with_users: ForwardConfig) -> None:
    async def test() -> None:
        config = replace(with_users, shared_key_file=None)
        async with config.build(Sink()) as server, connect(server) as client, connect(server) as wrong:
            assert await enter(client, b"", "alice", "pw") == ""
            assert await enter(wrong, b"", "alice", "") == "username/password mismatch"

            client.send(frame("b", "1", chunk="d"))

            await client.expect(ack_bytes(b"d"))

    run(test)


def test_a_flood_of_failures_does_not_flood_the_log(keyed: ForwardConfig, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with keyed.build(Sink()) as server:
            for _ in range(50):
                async with connect(server) as client:
                    assert await enter(client, b"wrong") == "shared_key mismatch"

            assert server.stats.handshakes_failed == {"shared_key mismatch": 50}

    with caplog.at_level(logging.INFO):
        run(test)

    assert len(caplog.records) == 11
    assert "more lines of this kind are left out for" in caplog.records[10].getMessage()


def test_closing_waits_for_nobody_who_has_not_entered(keyed: ForwardConfig) -> None:
    async def test() -> None:
        server = await keyed.build(Sink()).start()
        async with connect(server) as client, connect(server) as half:
            await helo(client)
            half.send(b"\x96")
            await until(lambda: server.stats.bytes == 1)

            async with asyncio.timeout(2):
                await server.close()

            assert await client.ended() == b""

    run(test)


def test_new_keys_are_for_new_connections_and_a_bad_file_changes_nothing(tmp_path: Path, keyed: ForwardConfig) -> None:
    async def outcome(server: ForwardServer, key: bytes) -> str:
        async with connect(server) as client:
            return await enter(client, key)

    async def test() -> None:
        async with keyed.build(Sink()) as server, connect(server) as old:
            assert await enter(old) == ""

            (tmp_path / "key").write_text("changed")
            before = await outcome(server, b"s3cr3t")
            server.reconfigure(keyed)
            after = [await outcome(server, key) for key in (b"s3cr3t", b"changed")]
            (tmp_path / "key").write_text("")
            with pytest.raises(Exception, match="is empty, expected the shared key"):
                server.reconfigure(keyed)
            kept = await outcome(server, b"changed")
            old.send(frame("b", "1", chunk="d"))
            await old.expect(ack_bytes(b"d"))

            assert [before, *after, kept] == ["", "shared_key mismatch", "", ""]

    run(test)


def test_a_greeting_takes_no_more_than_a_ping_may_have() -> None:
    greeting = Greeting(RECORDED["shared_key"])
    greeting.feed(b"\x96\xa4PING\xda\xff\xff" + b"x" * 8182)
    waiting = greeting.answer()

    greeting.feed(b"x")

    assert waiting is None
    with pytest.raises(ProtocolError, match="no whole PING in 8192 bytes"):
        greeting.answer()


def test_nothing_that_is_shown_has_a_secret_in_it(with_users: ForwardConfig) -> None:
    gate = Gate(b"s3cr3t", {b"alice": b"pw"}, "logllm")

    assert repr(gate) == "Gate('logllm')"
    assert "s3cr3t" not in repr(with_users) + repr(with_users.build(Sink()).__dict__)
