"""Many peers at once: memory shared in turn, room made for those who send, nobody closed for having to wait."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from logllm.sources.forward.protocol import ack_bytes
from logllm.sources.forward.server import ForwardConfig, ForwardServer, raise_file_limit
from tests.doctor.certificates import certificate
from tests.sources.forward.clients import LOCAL, Sink, connect, frame, run, until

MB = 1 << 20
BIG = frame("big", *["x" * 1000] * 2000, chunk="b")
UNFINISHED = b"\x92\xa1t\xc6\x01\x00\x00\x00"


async def send_slowly(server: ForwardServer, data: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """Half of it, the rest when everybody has sent half; what came back."""
    async with connect(server, tls) as client:
        client.send(data[: len(data) // 2])
        await client.writer.drain()
        await until(lambda: server.stats.crowded > 0)
        client.send(data[len(data) // 2 :])
        await client.writer.drain()
        return await client.reader.readexactly(len(ack_bytes(b"b")))


@pytest.mark.parametrize("kind", ["plain", "TLS"])
def test_frames_that_together_are_too_much_all_arrive_one_after_the_other(kind: str, tmp_path: Path) -> None:
    config = replace(LOCAL, max_buffered_bytes=6 * MB)
    context = None
    if kind == "TLS":
        cert, key = certificate(tmp_path, "server", "-addext", "subjectAltName=DNS:localhost")
        config = replace(config, tls_cert=str(cert), tls_key=str(key))
        context = ssl.create_default_context(cafile=str(cert))

    async def test() -> None:
        sink, most = Sink(), 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, server.buffered_bytes)
                await asyncio.sleep(0)

        async with config.build(sink) as server:
            watching = asyncio.create_task(watch())
            acks = await asyncio.gather(*(send_slowly(server, BIG, context) for _ in range(20)))
            watching.cancel()

            assert acks == [ack_bytes(b"b")] * 20
            assert sink.records == 20 * 2000
            assert server.stats.crowded >= 1
            assert server.stats.connections_stalled == 0
            assert most < 6 * MB + 4 * MB
            assert server.buffered_bytes == 0

    run(test)


def test_a_peer_that_may_send_and_does_not_is_closed_and_who_waited_is_served(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        sink = Sink()
        config = replace(LOCAL, max_buffered_bytes=6 * MB, stall_s=0.3)
        async with config.build(sink) as server, connect(server) as small, connect(server) as large:
            small.send(UNFINISHED + b"x" * (2 * MB))
            await until(lambda: server.buffered_bytes >= 2 * MB)
            large.send(UNFINISHED + b"x" * (5 * MB))
            await until(lambda: server.stats.crowded == 1)

            async with connect(server) as honest:
                honest.send(frame("a", "1", chunk="c"))
                await honest.expect(ack_bytes(b"c"))
                held = server.buffered_bytes

            assert (await small.ended(), await large.ended()) == (b"", b"")
            await until(lambda: server.stats.connections_open == 0)
            assert held > 4 * MB
            assert server.stats.connections_stalled in (1, 2)
            assert server.buffered_bytes == 0

    run(test)

    assert "it does not go on with them for 0.3 s; connection closed" in caplog.text


def test_one_byte_now_and_then_does_not_hold_the_turn() -> None:
    async def test() -> None:
        sink = Sink()
        config = replace(LOCAL, max_buffered_bytes=4 * MB, stall_s=0.3)

        async def drip() -> None:
            async with connect(server) as slow:
                slow.send(UNFINISHED + b"x" * (5 * MB))
                while not slow.writer.is_closing():
                    slow.send(b"x")
                    await asyncio.sleep(0.005)

        async with config.build(sink) as server:
            drips = [asyncio.create_task(drip()) for _ in range(2)]
            await until(lambda: server.stats.crowded == 1)

            for _ in range(5):
                async with connect(server) as honest:
                    honest.send(frame("a", "1", chunk="c"))
                    await honest.expect(ack_bytes(b"c"))
            await asyncio.gather(*drips, return_exceptions=True)

            assert server.stats.connections_stalled == 2

    run(test)


def test_waiting_for_the_pipeline_is_never_a_stall() -> None:
    async def test() -> None:
        sink = Sink()
        sink.gate.clear()
        config = replace(LOCAL, max_buffered_bytes=3 * MB, stall_s=0.05)
        async with config.build(sink) as server:
            sending = [asyncio.create_task(send_slowly(server, BIG)) for _ in range(6)]
            await until(lambda: server.stats.crowded == 1)
            for _ in range(40):
                await asyncio.sleep(0.01)
            sink.gate.set()

            assert await asyncio.gather(*sending) == [ack_bytes(b"b")] * 6
            assert server.stats.connections_stalled == 0

    run(test)


def test_a_peer_that_leaves_in_the_crowd_gives_its_memory_back() -> None:
    async def test() -> None:
        config = replace(LOCAL, max_buffered_bytes=2 * MB)
        async with config.build(Sink()) as server:
            async with connect(server) as client:
                client.send(UNFINISHED + b"x" * (3 * MB))
                await until(lambda: server.stats.crowded == 1)
            await until(lambda: server.stats.connections_open == 0)

            assert server.buffered_bytes == 0
            assert not server.turns.crowded

    run(test)


def test_a_peer_that_never_reads_its_acks_holds_only_its_own_connection() -> None:
    async def test() -> None:
        sink = Sink()
        async with LOCAL.build(sink) as server, connect(server) as good:
            deaf = socket.socket()
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(server.address)
            deaf.setblocking(False)
            sending = asyncio.create_task(
                asyncio.get_running_loop().sock_sendall(deaf, frame("deaf", "1", chunk="x" * 60_000) * 200)
            )
            await until(lambda: server.stats.acks > 0 and not sink.peers[0].ack_arrived())
            stuck = -1
            while stuck != server.stats.acks:
                stuck = server.stats.acks
                await asyncio.sleep(0.05)

            good.send(frame("a", "1", chunk="c"))
            await good.expect(ack_bytes(b"c"))

            assert server.stats.acks == stuck + 1
            assert sink.peers[0].is_open
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            deaf.close()

    run(test)


def test_an_idle_flood_makes_room_for_who_sends(caplog: pytest.LogCaptureFixture) -> None:
    flood = 10_000
    if raise_file_limit(flood + 1500) < flood + 1500:
        pytest.skip(f"not allowed {flood + 1500} open files on this machine")

    async def test() -> None:
        sink = Sink()
        loop = asyncio.get_running_loop()
        config = replace(LOCAL, max_connections=500)
        async with config.build(sink) as server, connect(server) as first:
            first.send(frame("a", "1", chunk="c"))
            await first.expect(ack_bytes(b"c"))
            with ExitStack() as open_sockets:
                for _ in range(flood):
                    sock = open_sockets.enter_context(socket.socket())
                    sock.setblocking(False)
                    await loop.sock_connect(sock, server.address)

                async def real() -> bool:
                    async with connect(server) as late:
                        late.send(frame("a", "2", chunk="d"))
                        return await late.ended(100) == ack_bytes(b"d")

                # For the first second of a flood even who sends may be turned away; Fluent Bit tries again.
                while not await real():
                    await asyncio.sleep(0.05)
                first.send(frame("a", "3", chunk="e"))
                await first.expect(ack_bytes(b"e"))

                assert server.stats.connections_open <= 500
                assert server.stats.connections_evicted >= 1
                assert server.stats.connections_refused + server.stats.connections_evicted > flood - 500

    run(test)

    assert len(caplog.records) < 5


def test_who_has_sent_something_is_not_closed_to_make_room() -> None:
    async def test() -> None:
        config = replace(LOCAL, max_connections=2)
        async with config.build(Sink()) as server, connect(server) as one, connect(server) as two:
            for client in (one, two):
                client.send(frame("a", "1", chunk="c"))
                await client.expect(ack_bytes(b"c"))

            async with connect(server) as third:
                assert await third.ended() == b""

            assert (server.stats.connections_refused, server.stats.connections_evicted) == (1, 0)

    run(test)


def test_who_is_stuck_in_its_first_frame_makes_room_in_the_end() -> None:
    async def test() -> None:
        config = replace(LOCAL, max_connections=2, stall_s=0.2)
        async with config.build(Sink()) as server, connect(server) as good, connect(server) as stuck:
            good.send(frame("a", "1", chunk="c") + UNFINISHED)
            await good.expect(ack_bytes(b"c"))
            stuck.send(UNFINISHED)
            await until(lambda: server.buffered_bytes == 2 * len(UNFINISHED))

            async with connect(server) as early:
                refused = await early.ended()
            await asyncio.sleep(0.2)
            async with connect(server) as late:
                late.send(frame("a", "2", chunk="d"))
                await late.expect(ack_bytes(b"d"))

            assert refused == b""
            assert await stuck.ended() == b""
            assert (server.stats.connections_refused, server.stats.connections_evicted) == (1, 1)

    run(test)


def test_limits_of_a_running_server_are_for_new_connections() -> None:
    async def test() -> None:
        config = ForwardConfig(listen="127.0.0.1:0", max_frame_bytes=100)
        large = frame("a", "x" * 200, chunk="c")
        async with config.build(Sink()) as server, connect(server) as old:
            await until(lambda: server.stats.connections_open == 1)
            server.reconfigure(replace(config, max_frame_bytes=1000, max_connections=2, listen="127.0.0.1:1"))

            async with connect(server) as new:
                new.send(large)
                await new.expect(ack_bytes(b"c"))
                async with connect(server) as third:
                    assert await third.ended() == b""
            old.send(large)

            assert await old.ended() == b""
            assert server.config.listen == "127.0.0.1:0"

    run(test)


def test_a_reset_in_the_middle_of_a_frame_gives_its_memory_back() -> None:
    async def test() -> None:
        async with LOCAL.build(Sink()) as server:
            client = socket.create_connection(server.address)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(UNFINISHED + b"x" * MB)
            await until(lambda: server.buffered_bytes > MB)
            client.close()

            await until(lambda: server.stats.connections_open == 0)

            assert server.buffered_bytes == 0

    run(test)
