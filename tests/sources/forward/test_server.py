"""The forward server on real sockets: acks after acceptance, back-pressure, bad peers beside good ones, a clean end."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import struct
from collections.abc import Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import ConfigError, SourceError
from logllm.sources.forward.peer import Peer
from logllm.sources.forward.protocol import Received, Skipped, ack_bytes
from logllm.sources.forward.server import ForwardConfig
from tests.sources.forward.clients import LOCAL, Client, Sink, connect, frame, run, until


def test_chunks_arrive_with_their_peer_and_are_acked_in_order_after_acceptance() -> None:
    async def test() -> None:
        sink = Sink()
        async with LOCAL.build(sink) as server, connect(server) as client:
            sink.gate.clear()
            client.send(frame("a", "1", "2", chunk="one\n") + frame("b", "3") + frame("a", "4", chunk="two"))
            await until(lambda: server.stats.bytes > 0)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), 0.05)

            sink.gate.set()

            await client.expect(ack_bytes(b"one\n") + ack_bytes(b"two"))
            host, port = client.writer.get_extra_info("sockname")
            assert [(item.chunk.tag, item.chunk.count, item.acks) for item in sink.chunks] == [
                ("a", 2, (b"one\n",)),
                ("b", 1, ()),
                ("a", 1, (b"two",)),
            ]
            assert {item.chunk.origin.peer for item in sink.chunks} == {f"{host}:{port}"}
            assert (server.stats.records, server.stats.acks, server.stats.unacknowledged) == (4, 2, 1)

    run(test)


def test_a_slow_pipeline_stops_the_sender_and_loses_nothing() -> None:
    async def test() -> None:
        sink = Sink()
        sink.gate.clear()
        big = frame("a", *["x" * 1000] * 1000)
        async with LOCAL.build(sink) as server, connect(server) as client:
            sending = asyncio.create_task(_send_all(client, big, 40))

            await until(lambda: server.buffered_bytes > 1 << 20)
            held = server.stats.bytes
            for _ in range(50):
                await asyncio.sleep(0.001)
            stopped = server.stats.bytes
            waiting = not sending.done()
            sink.gate.set()
            await sending
            await until(lambda: sink.records == 40_000)

            assert waiting
            assert stopped - held < 4 << 20
            assert stopped < 8 << 20

    run(test)


async def _send_all(client: Client, data: bytes, times: int) -> None:
    for _ in range(times):
        client.writer.write(data)
        await client.writer.drain()


GARBAGE = {
    "JSON": (b'["tag", 1, {"log": "x"}]', "got JSON"),
    "HTTP": (b"GET /metrics HTTP/1.1\r\n\r\n", "got an HTTP request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", "got a TLS handshake"),
    "text": (b"Nov 22 20:50:28 host app: hello\n", "got an integer"),
    "a map": (b"\x81\xa1a\x01", "got a map"),
    "never MessagePack": (b"\xc1\xc1\xc1", "the byte c1"),
    "one element": (b"\x91\xa1t", "got an array of 1 elements"),
    "six elements": (msgpack.packb(["PING", "h", b"", "", "", ""]), "no shared key is set here"),
    "tag as integer": (b"\x93\x01\x05\x80", "expected a string as tag"),
    "nesting": (b"\x93\xa1t\x05" + b"\x91" * 5000, "nested more than a thousand deep"),
    "4 GB": (b"\x92\xa1t\xc6\xff\xff\xff\xff", "declares a length of 4294967295"),
    "gzip bomb": (msgpack.packb(["t", gzip.compress(b"\0" * (65 << 20)), {}]), "inflates to more than 67108864 bytes"),
    "unknown signal": (msgpack.packb(["t", [], {"fluent_signal": 9}]), "got fluent_signal 9"),
    "option as integer": (msgpack.packb(["t", [], 7]), "as option"),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_closes_its_connection_with_one_clear_line_and_others_are_served(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        sink = Sink()
        async with LOCAL.build(sink) as server, connect(server) as good, connect(server) as bad:
            good.send(frame("before", "1", chunk="one"))
            await good.expect(ack_bytes(b"one"))
            host, port = bad.writer.get_extra_info("sockname")

            bad.send(frame("kept", "2") + GARBAGE[kind][0])
            answer = await bad.ended()
            good.send(frame("after", "3", chunk="two"))
            await good.expect(ack_bytes(b"two"))

            assert answer == b""
            assert [item.chunk.tag for item in sink.chunks] == ["before", "kept", "after"]
            assert server.stats.protocol_errors == 1
            assert server.stats.connections_open == 1
            (record,) = caplog.records
            assert record.name == "logllm.forward"
            assert record.getMessage().startswith(f"{host}:{port}: ")
            assert GARBAGE[kind][1] in record.getMessage()
            assert "\n" not in record.getMessage()

    with caplog.at_level(logging.INFO):
        run(test)


def test_a_poison_entry_is_handed_out_and_its_frame_still_acked() -> None:
    async def test() -> None:
        sink, skipped = Sink(), list[Skipped]()

        poison: list[Any] = ["t", [[5, {"log": "1"}], [5, "no map"], [5, {"log": "2"}]], {"chunk": "c"}]

        async def keep(some: Sequence[Skipped], peer: Peer) -> None:
            skipped.extend(some)

        async with LOCAL.build(sink, keep) as server, connect(server) as client:
            client.send(msgpack.packb(poison))

            await client.expect(ack_bytes(b"c"))

            assert sink.records == 2
            assert [item.fault.entry for item in skipped] == [msgpack.packb([5, "no map"])]
            assert server.stats.skipped == {"record is not a map": 1}

    run(test)


def test_connections_that_send_nothing_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with LOCAL.build(Sink()) as server:
            for _ in range(5):
                async with connect(server):
                    pass
            async with connect(server) as client:
                client.send(b"\xc0")
                await until(lambda: server.stats.heartbeats == 1)
            await until(lambda: server.stats.connections_open == 0)

            assert server.stats.connections == 6

    with caplog.at_level(logging.INFO):
        run(test)

    assert caplog.records == []


def test_a_truncated_frame_is_reported_and_what_came_before_it_kept(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        sink = Sink()
        async with LOCAL.build(sink) as server:
            async with connect(server) as client:
                client.send(frame("a", "whole") + frame("a", "cut off")[:-9])
                client.writer.write_eof()
                assert await client.ended() == b""

            assert sink.records == 1
            assert server.stats.truncated == 1

    run(test)

    assert "connection ended inside a frame" in caplog.text


def test_a_peer_that_shuts_down_its_side_still_gets_its_ack() -> None:
    async def test() -> None:
        sink = Sink()
        async with LOCAL.build(sink) as server, connect(server) as client:
            sink.gate.clear()
            client.send(frame("a", "1", chunk="c"))
            client.writer.write_eof()
            await until(lambda: server.stats.bytes > 0)

            sink.gate.set()

            assert await client.ended() == ack_bytes(b"c")

    run(test)


def test_records_of_a_peer_that_vanishes_before_they_are_accepted_are_kept() -> None:
    async def test() -> None:
        sink = Sink()
        sink.gate.clear()
        async with LOCAL.build(sink) as server:
            client = socket.create_connection(server.address)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(frame("a", "1", chunk="x") + frame("a", "2", chunk="y"))
            await until(lambda: server.stats.bytes > 0)
            client.close()

            sink.gate.set()
            await until(lambda: server.stats.connections_open == 0)

            assert sink.records == 2

    run(test)


def test_a_port_in_use_is_one_clear_error() -> None:
    async def test() -> None:
        async with LOCAL.build(Sink()) as server:
            host, port = server.address
            second = ForwardConfig(listen=f"{host}:{port}").build(Sink())

            with pytest.raises(SourceError) as caught:
                await second.start()

            assert str(caught.value) == f"127.0.0.1:{port}: cannot listen: address already in use"

    run(test)


@pytest.mark.parametrize("listen", ["24224", ":24224", "127.0.0.1:x", "127.0.0.1:70000", ""])
def test_an_address_that_is_none_is_a_config_error(listen: str) -> None:
    with pytest.raises(ConfigError, match="expected `host:port`"):
        asyncio.run(ForwardConfig(listen=listen).build(Sink()).start())


def test_one_connection_too_many_is_closed_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        sink = Sink()
        config = ForwardConfig(listen="127.0.0.1:0", max_connections=1)
        async with config.build(sink) as server, connect(server) as first:
            first.send(frame("a", "1", chunk="c"))
            await first.expect(ack_bytes(b"c"))

            async with connect(server) as second:
                assert await second.ended() == b""
            first.send(frame("a", "2", chunk="d"))
            await first.expect(ack_bytes(b"d"))

            assert server.stats.connections_refused == 1

    run(test)

    assert "1 connections are open, no more are taken" in caplog.text


def test_closing_finishes_what_the_peers_have_sent() -> None:
    async def test() -> None:
        sink = Sink()
        server = await LOCAL.build(sink).start()
        async with connect(server) as client, connect(server) as idle:
            sink.gate.clear()
            client.send(frame("a", "1", chunk="one"))
            await until(lambda: server.stats.bytes > 0)
            closing = asyncio.create_task(server.close())
            await asyncio.sleep(0)
            client.send(frame("a", "2", chunk="two"))

            sink.gate.set()
            await closing

            assert await client.ended() == ack_bytes(b"one") + ack_bytes(b"two")
            assert await idle.ended() == b""
            assert sink.records == 2

    run(test)


def test_closing_does_not_wait_for_ever_for_a_chunk_nobody_accepts(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        sink = Sink()
        sink.gate.clear()
        server = await LOCAL.build(sink).start()
        async with connect(server) as client:
            client.send(frame("a", "1", chunk="one"))
            await until(lambda: server.stats.bytes > 0)

            await server.close(grace_s=0.05)

            assert await client.ended() == b""
            assert sink.records == 0

    run(test)

    assert "1 connections closed with a chunk not accepted" in caplog.text


def test_a_chunk_that_is_refused_is_not_acked_and_stays_with_the_sender(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(received: Received, peer: object) -> None:
        raise SourceError("no room on disk")

    async def test() -> None:
        async with LOCAL.build(refuse) as server, connect(server) as client:
            client.send(frame("a", "1", chunk="one"))

            assert await client.ended() == b""

    run(test)

    assert "chunk not accepted: no room on disk" in caplog.text


def test_a_bug_in_delivery_is_shown_and_ends_only_its_connection() -> None:
    async def fail(received: Received, peer: object) -> None:
        if received.chunk.tag == "bug":
            raise ZeroDivisionError("a bug")

    async def test() -> None:
        shown: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: shown.append(context))
        async with LOCAL.build(fail) as server, connect(server) as bad, connect(server) as good:
            bad.send(frame("bug", "1", chunk="one"))
            assert await bad.ended() == b""
            good.send(frame("fine", "1", chunk="two"))
            await good.expect(ack_bytes(b"two"))

            assert [type(context["exception"]) for context in shown] == [ZeroDivisionError]

    run(test)


def test_a_chunk_comes_with_its_peer_which_knows_whether_its_ack_arrived_and_when_it_is_gone() -> None:
    async def test() -> None:
        peers, gone = list[Peer](), list[Peer]()

        async def deliver(received: Received, peer: Peer) -> None:
            peers.append(peer)

        async with LOCAL.build(deliver, on_closed=gone.append) as server:
            async with connect(server) as client:
                client.send(frame("a", "1", chunk="one") + frame("a", "2", chunk="two"))
                await client.expect(ack_bytes(b"one") + ack_bytes(b"two"))
                await until(peers[0].ack_arrived)

                open_before = [peer.is_open for peer in peers]
                assert peers[0] is peers[1]
                assert gone == []
            await until(lambda: gone == [peers[0]])

            assert open_before == [True, True]
            assert [peer.is_open or peer.ack_arrived() for peer in peers] == [False, False]

    run(test)
