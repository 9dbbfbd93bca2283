"""The forward server's other doors: a unix socket, heartbeats by UDP; its files, and who has sent what."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import stat
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest
from msgspec.structs import replace

from logllm.errors import ConfigError, SourceError
from logllm.sources.forward.frame import Received
from logllm.sources.forward.peer import Peer
from logllm.sources.forward.protocol import Receiver, ack_bytes
from logllm.sources.forward.secrets import load_key, load_users
from logllm.sources.forward.senders import Sender, Senders
from logllm.sources.forward.server import ForwardConfig, ForwardServer, needs_restart, raise_file_limit
from logllm.sources.forward.throttle import Throttle
from tests.sources.forward.clients import LOCAL, Sink, connect, frame, run, until

GOLDEN = Path(__file__).parents[2] / "golden" / "wire"


def test_a_unix_socket_takes_chunks_beside_tcp_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "forward.sock"

    async def test() -> None:
        sink = Sink()
        config = replace(LOCAL, unix_path=str(path), unix_mode="0660")
        async with config.build(sink) as server:
            async with connect(server, unix_path=str(path)) as near, connect(server) as far:
                for client, chunk in ((near, b"n"), (far, b"f")):
                    client.send(frame("a", "1", chunk=chunk.decode()))
                    await client.expect(ack_bytes(chunk))
                await until(sink.peers[0].ack_arrived)
            mode = stat.S_IMODE(path.stat().st_mode)

        assert mode == 0o660
        assert not path.exists()
        assert [sender.host for sender in server.senders.table()] == ["127.0.0.1", "unix"]
        assert sink.chunks[0].chunk.origin.peer == "unix"

    run(test)


def test_a_unix_socket_asks_for_the_handshake_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cr3t")
    path = str(tmp_path / "forward.sock")

    async def test() -> None:
        sink = Sink()
        config = replace(LOCAL, unix_path=path, shared_key_file=str(tmp_path / "key"))
        async with config.build(sink) as server, connect(server, unix_path=path) as client:
            assert msgpack.unpackb(await client.reader.read(1024))[0] == "HELO"
            client.send(frame("a", "1"))

            assert await client.ended() == b""
            assert sink.chunks == []

    run(test)


def test_a_socket_file_left_behind_is_replaced_and_a_live_one_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "forward.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def test() -> None:
        config = replace(LOCAL, unix_path=str(path))
        async with config.build(Sink()) as server:
            with pytest.raises(SourceError) as caught:
                await config.build(Sink()).start()
            async with connect(server, unix_path=str(path)) as client:
                client.send(frame("a", "1", chunk="c"))
                await client.expect(ack_bytes(b"c"))

        assert str(caught.value) == f"{path}: cannot listen: in use by another server"

    run(test)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")

    with pytest.raises(SourceError, match="exists and is no socket"):
        asyncio.run(replace(LOCAL, unix_path=str(path)).build(Sink()).start())

    assert path.read_text() == "data"


def test_closing_leaves_the_socket_of_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "forward.sock"

    async def test() -> None:
        async with replace(LOCAL, unix_path=str(path)).build(Sink()):
            path.unlink()
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(str(path))
        assert path.exists()

    run(test)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unix_mode": "rw"}, "unix_mode 'rw': expected three octal digits"),
        ({"unix_mode": "0999"}, "expected three octal digits"),
        ({"shared_key_file": "/nowhere/key"}, "/nowhere/key: cannot read: No such file or directory; expected the sh"),
        ({"users_file": "/nowhere/users"}, "expected lines `name password`"),
        ({"tls_cert": "/nowhere/cert"}, "tls_cert is set, expected tls_key too"),
    ],
)
def test_what_is_wrong_is_said_before_anything_listens(change: dict[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "forward.sock"
    config = replace(LOCAL, unix_path=str(path), **change)

    async def test() -> None:
        server = config.build(Sink())
        with pytest.raises(ConfigError, match=message):
            await server.start()
        with pytest.raises(SourceError, match="not listening"):
            _ = server.address

    run(test)

    assert not path.exists()


def test_a_second_door_that_cannot_be_opened_closes_the_first(tmp_path: Path) -> None:
    async def test() -> None:
        server = replace(LOCAL, unix_path=str(tmp_path / "no" / "folder")).build(Sink())

        with pytest.raises(SourceError, match="cannot listen: No such file or directory"):
            await server.start()

        with pytest.raises(SourceError, match="not listening"):
            _ = server.address

    run(test)


def test_one_zero_byte_by_udp_is_answered_with_one_and_nothing_else_is() -> None:
    async def ask(server: ForwardServer, *sent: bytes) -> list[bytes]:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(server.address)
            for data in (*sent, b"\0"):
                await loop.sock_sendall(sock, data)
            await until(lambda: server.stats.udp_heartbeats > 0)
            answers = []
            while True:
                try:
                    answers.append(sock.recv(100))
                except BlockingIOError:
                    return answers

    async def test() -> None:
        async with replace(LOCAL, udp_heartbeat=True).build(Sink()) as server:
            assert await ask(server, b"\1", b"\0\0", b"", b"GET / HTTP/1.1", frame("a", "1")) == [b"\0"]

            assert server.stats.udp_heartbeats == 1

    run(test)


def test_udp_is_not_listened_to_unless_asked_for() -> None:
    async def test() -> None:
        async with LOCAL.build(Sink()) as server:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect(server.address)
                sock.send(b"\0")
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 10), 2)

    run(test)


def test_the_file_limit_is_raised_as_far_as_the_system_allows_and_never_lowered() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))

        assert raise_file_limit(300) == 300
        assert raise_file_limit(100) == 300
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard)
        if hard != resource.RLIM_INFINITY:
            assert raise_file_limit(hard + 1) == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_key_is_all_of_its_file_but_one_newline(tmp_path: Path) -> None:
    path = tmp_path / "key"
    for written, key in {b"k": b"k", b"k\n": b"k", b"k\r\n": b"k", b" k \n\n": b" k \n", b"\xff\0": b"\xff\0"}.items():
        path.write_bytes(written)

        assert load_key(str(path)) == key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alice pw\nbob\n", "users: line 2: expected `name password`"),
        ("alice pw\n\nalice other\n", "users: line 3: the name stands there a second time"),
        ("# nobody\n", "users: has no users, expected lines `name password`"),
        ("", "users: has no users"),
    ],
)
def test_users_that_are_none_are_named_by_file_and_line_and_never_shown(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "users"
    path.write_text(text)

    with pytest.raises(ConfigError, match=message) as caught:
        load_users(str(path))

    assert "pw" not in str(caught.value)
    assert "bob" not in str(caught.value)


def test_users_are_lines_of_a_name_and_a_password(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("# senders\n\nalice pw\n  bob\ta long one  \r\nJürgen ü\n")

    assert load_users(str(path)) == {b"alice": b"pw", b"bob": b"a long one", "Jürgen".encode(): "ü".encode()}


def test_what_a_running_server_cannot_change_is_named() -> None:
    old = ForwardConfig()
    new = ForwardConfig(
        listen="127.0.0.1:1", unix_path="x", unix_mode="0660", udp_heartbeat=True, tls_cert="c", tls_key="k",
        max_connections=5, stall_s=1.0, shared_key_file="key",
    )  # fmt: skip

    assert needs_restart(old, new) == ["listen", "unix_path", "unix_mode", "udp_heartbeat", "tls_cert"]
    assert needs_restart(new, replace(new, tls_cert="other", max_connections=6)) == []


@pytest.mark.parametrize("key", ["max_connections", "max_frame_bytes", "stall_s", "handshake_timeout_s"])
def test_limits_are_above_zero(key: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=key):
        msgspec.convert({key: 0}, ForwardConfig)


SENDERS = {
    "plain": Sender("h", 1, 3, 3, ["Forward"]),
    "plain_legacy_entries": Sender("h", 1, 3, 3, ["Forward"], legacy_entries=True),
    "time_as_integer_ack": Sender(
        "h", 1, 3, 0, ["Forward"], legacy_entries=True, integer_times=True, chunk_id_kind="base64"
    ),
    "gzip": Sender("h", 1, 3, 3, ["CompressedPackedForward"], compressed=True),
    "message_dynamic_tag_meta_ack": Sender("h", 3, 3, 0, ["Message"], chunk_id_kind="base64"),
    "message_dynamic_tag": Sender("h", 3, 3, 3, ["Message"], legacy_entries=True),
}


@pytest.mark.parametrize("name", SENDERS)
def test_what_a_recorded_sender_does_is_in_the_table(name: str) -> None:
    senders, receiver = Senders(), Receiver()
    receiver.feed((GOLDEN / f"{name}.c2s.bin").read_bytes())
    for item in receiver.items():
        if isinstance(item, Received):
            senders.note("h", item, 5)

    assert senders.table() == [replace(SENDERS[name], last_seen_ns=5)]
    assert msgspec.json.decode(msgspec.json.encode(senders.table()))[0]["host"] == "h"


def test_the_table_of_senders_forgets_who_was_not_heard_of_for_longest() -> None:
    senders, receiver = Senders(most=3), Receiver()
    receiver.feed(frame("a", "1", chunk="0123456789abcdef" * 2))
    (item,) = receiver.items()
    assert isinstance(item, Received)

    for now, host in enumerate("abcacd"):
        senders.note(host, item, now)

    assert [(sender.host, sender.frames, sender.last_seen_ns) for sender in senders.table()] == [
        ("d", 1, 5), ("c", 2, 4), ("a", 2, 3),
    ]  # fmt: skip
    assert {sender.chunk_id_kind for sender in senders.table()} == {"hex"}


def test_the_server_notes_its_senders_by_the_clock_it_is_given() -> None:
    async def test() -> None:
        sink = Sink()
        async with ForwardServer(LOCAL, sink, clock=lambda: 7) as server, connect(server) as client:
            client.send(frame("a", "1", "2", chunk="c"))
            await client.expect(ack_bytes(b"c"))

            (sender,) = server.senders.table()
            assert (sender.host, sender.records, sender.last_seen_ns) == ("127.0.0.1", 2, 7)

    run(test)


def test_a_peer_whose_socket_is_gone_has_had_no_ack() -> None:
    assert not Peer().is_open
    assert not Peer().ack_arrived()
    assert len({Peer(), Peer()}) == 2
    assert repr(Peer("h:1")) == "Peer('h:1')"


def test_a_throttle_shows_the_first_lines_and_counts_the_others(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    throttle = Throttle(logging.getLogger("logllm.forward"), 2, 60.0, lambda: now)

    for _ in range(5):
        throttle.warning("%s left", "one")
    now = 61.0
    throttle.warning("%s came", "one")

    assert [record.getMessage() for record in caplog.records] == [
        "one left", "one left", "more lines of this kind are left out for 60 s",
        "3 lines of this kind were left out", "one came",
    ]  # fmt: skip


def test_an_address_that_cannot_be_bound_is_one_clear_line() -> None:
    with pytest.raises(SourceError, match="cannot listen: ") as caught:
        asyncio.run(ForwardConfig(listen="192.0.2.1:0").build(Sink()).start())

    assert os.strerror(errno.EADDRNOTAVAIL).lower() in str(caught.value).lower()
