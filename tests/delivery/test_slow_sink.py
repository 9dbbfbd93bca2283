"""Full input, and a sink that hardly moves: senders wait, memory stays, everything arrives."""

from __future__ import annotations

import asyncio
from pathlib import Path

from logllm.events import Chunk
from logllm.service.delivery import Delivery
from logllm.sinks.config import DeliveryConfig
from logllm.sources.forward.peer import Peer
from logllm.sources.forward.protocol import Received
from tests.delivery.sender import entries_of
from tests.delivery.slow import flood

# 128 MiB may be in flight; beside it 80 connections hold a frame each that has no room yet, 160 MB in all.
MOST_BYTES = 450 << 20


def test_a_sink_that_hardly_moves_makes_senders_wait_and_takes_no_more_memory_than_it_may(tmp_path: Path) -> None:
    found = flood(tmp_path, 10.0, connections=80, pace_s=0.5)

    assert found.most_in_flight_bytes > 100 << 20, found.told()
    assert found.most_bytes < MOST_BYTES, found.told()
    assert found.closed == 0, found.told()
    assert found.arrived == found.sent, found.told()


def test_an_id_for_each_record_counts_for_the_memory_that_it_takes() -> None:
    ids = tuple(b"%d" % number for number in range(1000))
    block = b"".join(entries_of(0, len(ids)))
    used: list[int] = []

    async def deliver() -> None:
        delivery = Delivery([], DeliveryConfig(), None, lambda error: None)

        async def process(chunk: Chunk) -> Chunk:
            used.append(delivery.room.used_bytes)
            return chunk

        received = Received(Chunk("app", len(ids), len(block), block=block), ids, "Message")
        await delivery.accept(received, Peer(), process)
        used.append(delivery.room.used_bytes)
        await delivery.close()

    asyncio.run(deliver())

    assert used[0] > len(block) + 1000 * len(ids)
    assert used[1] == 0
