"""From a chunk to its ack, while sinks come, go and change under it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import DeliveryError
from logllm.events import Chunk
from logllm.service.delivery import Delivery
from logllm.service.outgoing import Outgoing
from logllm.sinks.config import DeliveryConfig, SinkConfig
from logllm.sinks.file import FileSinkConfig
from logllm.sinks.forward import ForwardSinkConfig
from logllm.sources.forward.peer import Peer
from logllm.sources.forward.protocol import Received

PATIENCE_S = 20.0
NOWHERE = "127.0.0.1:9"


def received(number: int) -> Received:
    block = bytes(msgpack.packb([1_700_000_000, {"n": number}]))
    return Received(Chunk("app", 1, len(block), block=block), (b"chunk-%d" % number,))


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["record"]["n"] for line in path.read_text(encoding="utf-8").splitlines()]


def run(work: Callable[[Delivery], Awaitable[None]], *sinks: SinkConfig, grace_s: float = 1.0) -> None:
    async def whole() -> None:
        delivery = Delivery(sinks, DeliveryConfig(grace_s=grace_s), None, lambda _: None)
        try:
            await asyncio.wait_for(work(delivery), PATIENCE_S)
        finally:
            await delivery.close()

    asyncio.run(whole())


async def unchanged(chunk: Chunk) -> Chunk:
    return chunk


def put_in_place(delivery: Delivery, *sinks: SinkConfig) -> None:
    """What a reload does."""
    old = delivery.sinks
    delivery.sinks = [delivery.make(sink) for sink in sinks]
    for sink in old:
        delivery.retire(sink)


def test_a_chunk_that_is_filtered_while_its_sink_is_replaced_is_written_to_the_new_one(tmp_path: Path) -> None:
    old, new = FileSinkConfig(str(tmp_path / "old")), FileSinkConfig(str(tmp_path / "new"))

    async def work(delivery: Delivery) -> None:
        async def reloaded_meanwhile(chunk: Chunk) -> Chunk:
            put_in_place(delivery, new)
            return chunk

        await delivery.accept(received(1), Peer(), reloaded_meanwhile)

    run(work, old)

    assert numbers(tmp_path / "new") == [1]


def test_a_chunk_that_waits_for_a_sink_that_never_opened_goes_on_when_another_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / ".old.ledger").mkdir()
    old, new = FileSinkConfig(str(tmp_path / "old")), FileSinkConfig(str(tmp_path / "new"))

    async def work(delivery: Delivery) -> None:
        waiting = asyncio.create_task(delivery.accept(received(1), Peer(), unchanged))
        await asyncio.sleep(0)
        put_in_place(delivery, new)
        await waiting

        assert delivery.room.used_bytes == 0

    run(work, old)

    assert numbers(tmp_path / "new") == [1]


def test_a_chunk_that_waits_for_a_failing_sink_goes_on_when_a_reload_takes_that_away(tmp_path: Path) -> None:
    kept, new = FileSinkConfig(str(tmp_path / "kept")), FileSinkConfig(str(tmp_path / "new"))

    async def work(delivery: Delivery) -> None:
        waiting = asyncio.create_task(delivery.accept(received(1), Peer(), unchanged))
        while delivery.sinks[1].worker.stats.failing is None or not numbers(tmp_path / "kept"):
            await asyncio.sleep(0.01)
        gone = delivery.sinks[1]
        delivery.sinks = [delivery.sinks[0], delivery.make(new)]
        delivery.retire(gone)
        await waiting

    run(work, kept, ForwardSinkConfig(NOWHERE), grace_s=0.2)

    assert numbers(tmp_path / "kept") == [1]
    assert numbers(tmp_path / "new") == [1]


def test_a_sink_that_takes_the_name_of_one_that_failed_gets_what_that_gave_up(tmp_path: Path) -> None:
    async def work(delivery: Delivery) -> None:
        waiting = asyncio.create_task(delivery.accept(received(1), Peer(), unchanged))
        while delivery.sinks[0].worker.stats.failing is None:
            await asyncio.sleep(0.01)
        put_in_place(delivery, FileSinkConfig(str(tmp_path / "out"), name="one"))
        await waiting

    run(work, ForwardSinkConfig(NOWHERE, name="one"), grace_s=0.2)

    assert numbers(tmp_path / "out") == [1]


def test_at_the_end_what_a_sink_does_not_have_is_not_acknowledged() -> None:
    async def work(delivery: Delivery) -> None:
        waiting = asyncio.create_task(delivery.accept(received(1), Peer(), unchanged))
        while delivery.sinks[0].worker.stats.failing is None:
            await asyncio.sleep(0.01)
        await delivery.close()

        with pytest.raises(DeliveryError, match="the service is ending"):
            await waiting

    run(work, ForwardSinkConfig(NOWHERE), grace_s=0.1)


def test_a_sink_that_becomes_required_is_waited_for_and_drops_nothing(tmp_path: Path) -> None:
    async def work(delivery: Delivery) -> None:
        (sink,) = delivery.sinks
        sink.reconfigure(ForwardSinkConfig(NOWHERE, name="other"))

        task = asyncio.create_task(delivery.accept(received(1), Peer(), unchanged))
        await asyncio.wait([task], timeout=0.3)

        assert not task.done()
        assert sink.worker.stats.discarded == 0
        task.cancel()

    run(work, ForwardSinkConfig(NOWHERE, name="other", required=False), grace_s=0.1)


def test_a_sink_that_is_no_longer_required_is_not_waited_for(tmp_path: Path) -> None:
    async def work(delivery: Delivery) -> None:
        sink: Outgoing = delivery.sinks[1]
        sink.reconfigure(ForwardSinkConfig(NOWHERE, name="other", required=False))

        await delivery.accept(received(1), Peer(), unchanged)

    run(work, FileSinkConfig(str(tmp_path / "out")), ForwardSinkConfig(NOWHERE, name="other"), grace_s=0.1)

    assert numbers(tmp_path / "out") == [1]


def test_what_a_plugin_had_held_back_takes_room_until_it_is_written() -> None:
    async def work(delivery: Delivery) -> None:
        chunk = received(1).chunk

        task = asyncio.create_task(delivery.pass_on(chunk))
        await asyncio.sleep(0)

        assert delivery.room.used_bytes == len(chunk.block or b"")
        task.cancel()
        await asyncio.wait([task])
        assert delivery.room.used_bytes == 0

    run(work, ForwardSinkConfig(NOWHERE), grace_s=0.1)
