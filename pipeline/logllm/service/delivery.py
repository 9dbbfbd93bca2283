"""From a chunk that came to the ack that may go: what came before is left out, the rest is made durable everywhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.errors import DeliveryError
from logllm.events import Chunk
from logllm.metrics import Histogram
from logllm.service.dedup import Dedup
from logllm.service.outgoing import Outgoing
from logllm.service.room import Room
from logllm.sinks.config import check_sinks
from logllm.sinks.keys import delivery_key
from logllm.sinks.ledger import Ledger
from logllm.sinks.parcel import Parcel
from logllm.sources.forward.entries import cut_entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from logllm.service.dedup import Flight, Sender
    from logllm.sinks.config import DeliveryConfig, SinkConfig
    from logllm.sources.forward.protocol import Received

__all__ = ["Delivery", "Process"]

Process = Callable[[Chunk], Awaitable[Chunk]]
"""Filters and judges a chunk; returns what is to be sent on of it."""

_TRY_AGAIN_S = 0.2
_LOOK_S = 0.5
_NOWHERE = "memory"
# An id that is under way takes so much, measured, with all that is known of it: in Message mode, where each record has
# one, ten times what the record takes.
_ID_BYTES = 1500
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

_log = logging.getLogger("logllm.service")


class Delivery:
    """Takes chunks of all connections, in the event loop, and returns from each when it may be acknowledged.

    Args:
        on_end: Told of an error that ends the service.

    Raises:
        ConfigError: A sink cannot be what it is configured to be.
    """

    def __init__(
        self,
        sinks: Sequence[SinkConfig],
        config: DeliveryConfig,
        data_dir: Path | None,
        on_end: Callable[[DeliveryError], None],
    ) -> None:
        check_sinks(sinks)
        self.config = config
        self.duplicates = 0
        self.seconds = Histogram(_SECONDS)
        self.room = Room(config.max_in_flight_bytes)
        self._data_dir = data_dir
        self._loop = asyncio.get_running_loop()
        self._on_end = on_end
        self.sinks: list[Outgoing] = []
        # Where no sink has to have a chunk, what was judged is remembered while the process lives.
        self._memory = Ledger(None, window_s=config.dedup_s, most=config.dedup_chunks)
        self._dedup = Dedup()
        self._ended: dict[Flight, asyncio.Event] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        for sink in sinks:
            self.sinks.append(self.make(sink))

    def make(self, sink: SinkConfig) -> Outgoing:
        """A sink for this delivery, not yet in `sinks`. Raises ConfigError."""
        return Outgoing(sink, self.config, self._data_dir, self._end)

    def retire(self, sink: Outgoing) -> None:
        """Let a sink write what it has, then let go of it."""
        task = self._loop.create_task(asyncio.to_thread(sink.close, self.config.grace_s))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _end(self, error: DeliveryError) -> None:
        self._loop.call_soon_threadsafe(self._on_end, error)

    async def accept(self, received: Received, peer: Sender, process: Process) -> None:
        """Have a chunk judged and written to every sink that lacks it.

        Returns:
            When all sinks that are required have it; then it may be acknowledged.

        Raises:
            DeliveryError: The service is ending and a sink does not have it.
            PluginStopped: See `Process`.
        """
        chunk = received.chunk
        size = max(chunk.size_bytes, len(chunk.block or b"")) + len(received.acks) * _ID_BYTES
        self.room.enter(size)
        begun = time.monotonic()
        try:
            if received.acks:
                await self._once(received, peer, process)
            else:
                await self._send(await process(chunk), frozenset(self._required()))
        finally:
            self.room.leave(size)
        self.seconds.observe(time.monotonic() - begun)

    async def _once(self, received: Received, peer: Sender, process: Process) -> None:
        tag, acks, dedup = received.chunk.tag, received.acks, self._dedup
        keys = [delivery_key(tag, ack) for ack in acks]
        sinks = self._required()
        flight: Flight | None = None
        done = False
        try:
            # Whatever is awaited, others go on meanwhile: only what is known without waiting is judged.
            while await self._looked_up(keys, sinks) or await self._waited(dedup.in_flight(peer, keys, sinks), peer):
                pass
            wants = dedup.judge(peer, keys, sinks)
            lacking = [key for key, want in zip(keys, wants, strict=True) if want]
            self.duplicates += len(keys) - len(lacking)
            flight = dedup.take_off(peer, lacking)
            self._ended[flight] = asyncio.Event()
            for lacked, part in _parts(received.chunk, wants):
                indexes = [at for at, each in enumerate(wants) if each == lacked]
                out = await process(part)
                # A reload may have put other sinks in the place of those that were asked.
                want = lacked | frozenset(self._required()).difference(sinks)
                ids = tuple(acks[at] for at in indexes)
                await self._send(
                    out,
                    want,
                    tuple(keys[at] for at in indexes),
                    ids if len(ids) in (1, out.count) else (),
                    frozenset(sinks) - want,
                )
            done = True
        finally:
            if flight is None:
                dedup.release(keys)
            else:
                dedup.end(flight, done=done)
                self._ended.pop(flight).set()

    async def _looked_up(self, keys: Sequence[bytes], sinks: Sequence[str]) -> bool:
        """Learn what the ledgers know of keys; True if that took a moment, and it must be looked at again.

        A disk that cannot be read holds up the chunk, not more.
        """
        waited = False
        for sink in sinks:
            if missing := self._dedup.missing(keys, sink):
                found = next((each for each in self.sinks if each.label == sink), None)
                try:
                    if found is not None and not found.is_open:
                        waited = True
                        await found.opened()
                    times = (self._memory if found is None else found).times(missing)
                except DeliveryError as error:
                    _log.warning("%s", error)
                    waited = True
                    await asyncio.sleep(_TRY_AGAIN_S)
                else:
                    self._dedup.learn(sink, missing, times)
        return waited

    async def _waited(self, flights: Sequence[Flight], peer: Sender) -> bool:
        """Wait for the first of these deliveries to end; True if there was one.

        Raises:
            DeliveryError: The sender has left meanwhile: its chunk is on its way, and nobody is there to be told.
        """
        if not flights:
            return False
        ended = self._ended[flights[0]]
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), _LOOK_S)
            except TimeoutError:
                # While a sink is down each retry would hold a connection, and one day all of them.
                if peer.has_left:
                    raise DeliveryError("its sender has left, and the chunk is on its way", kind="closed") from None
        return True

    def _required(self) -> list[str]:
        return [sink.label for sink in self.sinks if sink.required] or [_NOWHERE]

    async def _send(
        self,
        chunk: Chunk,
        want: frozenset[str],
        keys: tuple[bytes, ...] = (),
        ids: tuple[bytes, ...] = (),
        has: frozenset[str] = frozenset(),
    ) -> None:
        if _NOWHERE in want and keys:
            self._memory.commit(keys)
            self._dedup.landed(keys, _NOWHERE)
        if chunk.block is None or not (chunk.count or keys):
            return
        # Where filters have left nothing, or hold it back, its keys are remembered all the same.
        parcel = Parcel(chunk.tag, chunk.block, chunk.count, keys, ids if chunk.count else ())
        for sink in self.sinks:
            if not sink.required:
                sink.send(parcel)
        asked = want | has
        while want:
            asking = [sink for sink in self.sinks if sink.required and sink.label in want]
            safe = await asyncio.gather(*[self._landed(sink, parcel) for sink in asking])
            lost = [sink for sink, one in zip(asking, safe, strict=True) if not one]
            if any(sink in self.sinks for sink in lost):
                raise DeliveryError("the service is ending and a sink does not have it yet", kind="closed")
            # A reload took those away. Whatever stands in their place has not been asked.
            now = frozenset(self._required())
            want = now.difference(asked) | now.intersection(sink.label for sink in lost) if lost else frozenset()
            asked |= want

    async def _landed(self, sink: Outgoing, parcel: Parcel) -> bool:
        safe = await sink.send(parcel)
        if safe:
            self._dedup.landed(parcel.keys, sink.label)
        return safe

    async def pass_on(self, chunk: Chunk) -> None:
        """Send what nobody waits for: records that a plugin had held back.

        They were acknowledged when it took them, but they take room: while a sink is down nothing more is read.

        Raises:
            DeliveryError: The service is ending and a sink does not have them.
        """
        size = len(chunk.block or b"")
        self.room.enter(size)
        try:
            await self._send(chunk, frozenset(self._required()))
        finally:
            self.room.leave(size)

    def forget(self, peer: Sender) -> None:
        """A connection has ended."""
        self._dedup.forget(peer)

    @property
    def failing(self) -> list[str]:
        """What is wrong with sinks that are required, in words."""
        found = [(sink.label, sink.worker.stats.failing) for sink in self.sinks if sink.required]
        return [f"sink {label}: {reason}" for label, reason in found if reason is not None]

    async def close(self, grace_s: float | None = None) -> None:
        """Write what waits for at most so long, by default `config.grace_s`, and let go of everything."""
        grace_s = self.config.grace_s if grace_s is None else grace_s
        await asyncio.gather(*self._retiring, *(asyncio.to_thread(sink.close, grace_s) for sink in self.sinks))
        self._memory.close()


def _parts(chunk: Chunk, wants: Sequence[frozenset[str]]) -> Iterator[tuple[frozenset[str], Chunk]]:
    """The chunk by who lacks it. Only a chunk with an id for each entry can come apart."""
    distinct = [want for want in dict.fromkeys(wants) if want]
    if len(distinct) == 1 and all(wants):
        yield distinct[0], chunk
        return
    if not distinct:
        return
    entries = cut_entries(chunk.block or b"")
    for want in distinct:
        mine = [entry for entry, each in zip(entries, wants, strict=True) if each == want]
        block = b"".join(mine)
        share = chunk.size_bytes * len(mine) // len(entries)
        yield want, replace(chunk, block=block, count=len(mine), size_bytes=share, scan=None)
