"""Taking records from Fluent Bit: sockets in the event loop, the pipeline and each sink in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from logllm import __version__
from logllm.errors import DeliveryError, LogllmError, PluginStopped
from logllm.metrics import render
from logllm.service.alerts import Alerts
from logllm.service.delivery import Delivery
from logllm.service.gate import Gate
from logllm.service.judging import Judging
from logllm.service.lanes import Lanes
from logllm.service.reduction import Reduction
from logllm.service.rejects import Rejects
from logllm.service.reload import needs_restart, reload_into
from logllm.service.run import Run
from logllm.service.serve_metrics import values_of
from logllm.service.summary import summary_of_service
from logllm.sources.forward.listen import raise_file_limit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from logllm.config import Config
    from logllm.events import Chunk, Summary
    from logllm.filters.life.status import PluginStatus
    from logllm.service.outlet import Outlet
    from logllm.sources.forward.peer import Peer
    from logllm.sources.forward.protocol import Received, Skipped
    from logllm.sources.forward.senders import Sender
    from logllm.sources.forward.server import ForwardServer

__all__ = ["Serve"]

TICK_S = 1.0
SAVE_S = 300.0
_LEAST_S = 0.5
# Databases, files, plugins, HTTP, the model.
_OWN_FILES = 300

_log = logging.getLogger("logllm.service")


class Serve:
    """The forward server, the pipeline, the sinks and the clock, until it is told to stop.

    Use it in `async with`: entering listens, leaving drains. What a peer sent before the end is taken, judged,
    written and acknowledged; what was learned is saved.

    Args:
        config: Where to listen and the rest.
        outlet: Told of incidents and explanations, from the pipeline's and the explainer's threads, never at once.

    Raises:
        SourceError: The address cannot be bound.
        ConfigError, StateError: See `Run`.
    """

    def __init__(self, config: Config, outlet: Outlet) -> None:
        self.config = config
        self.run = Run(config, outlet, patient=True)
        try:
            self.alerts = self.run.alerts = Alerts(
                config,
                self.run.catalogue,
                self._watched,
                self.run.learning.learn,
                self.run.ledger,
                self.run.pipeline.redactor.reveal,
            )
        except LogllmError:
            self.run.close()
            raise
        for notice in self.alerts.notices:
            self.run.notice(notice)
        self.reduction = Reduction.of(config, self.run.pipeline)
        self._judging = Judging(self.run, self.reduction, lambda: bool(self.delivery.sinks))
        self.failed: asyncio.Event = asyncio.Event()
        self.failure: LogllmError | None = None
        self.forward: ForwardServer = config.forward.build(
            self._take, self._reject, on_closed=self._forget, room=self._room
        )
        self.reloads: Counter[str] = Counter()
        self.started_s = time.time()
        self.draining = False
        self.saves = 0
        self._pipeline_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pipeline")
        self._lanes = Lanes()
        # Held by each chunk while filters and detectors have it, by a reload alone.
        self._steady = Gate()
        self._clock: asyncio.Task[None] | None = None
        # What plugins had held back, or the reducer, on its way to the sinks.
        self._passing: set[asyncio.Task[None]] = set()
        self._saved_s = time.monotonic()
        self._delivery: Delivery | None = None
        self._rejects: Rejects | None = None

    async def __aenter__(self) -> Self:
        data_dir = None if self.config.data_dir is None else Path(self.config.data_dir)
        raise_file_limit(self.config.forward.max_connections + _OWN_FILES)
        try:
            self._delivery = Delivery(self.config.sinks, self.config.delivery, data_dir, self._fail)
            self._rejects = Rejects(self.config, self._fail)
            await self.forward.start()
        except BaseException:
            self._pipeline_thread.shutdown()
            self._lanes.close()
            if self._delivery is not None:
                await self._delivery.close()
            if self._rejects is not None:
                await self._rejects.close()
            self.run.close()
            raise
        self.alerts.start()
        self._clock = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.draining = True
        ends_s = time.monotonic() + self.config.delivery.grace_s
        await self.forward.close(self.config.delivery.grace_s)
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.gather(self._clock, return_exceptions=True)
        self._lanes.close()
        loop = asyncio.get_running_loop()
        try:
            self._pass_on(await loop.run_in_executor(self._pipeline_thread, partial(self._judging.flush, at_end=True)))
        except LogllmError as error:
            _log.warning("%s", error)
        self._pipeline_thread.shutdown(wait=True)
        # What is left of the grace: whoever waited for an ack until now will send again.
        if self._passing:
            await asyncio.wait(self._passing, timeout=max(_LEAST_S, ends_s - time.monotonic()))
        left_s = max(_LEAST_S, ends_s - time.monotonic())
        await self.delivery.close(left_s)
        if self._rejects is not None:
            await self._rejects.close(left_s)
        if self.reduction is not None:
            self.reduction.save()
        self.run.summarise(self.summary())
        await asyncio.to_thread(self.run.close)

    @property
    def delivery(self) -> Delivery:
        """What brings chunks to the sinks; there once the service has been entered."""
        assert self._delivery is not None  # noqa: S101 - nothing is called before
        return self._delivery

    @property
    def rejects(self) -> Rejects | None:
        """Where entries go that are no records."""
        return self._rejects

    @property
    def address(self) -> tuple[str, int]:
        """Where the forward protocol is really listened to."""
        return self.forward.address

    def announce(self) -> None:
        """See `Run.announce`."""
        self.run.announce()

    def _watched(self) -> set[str]:
        return {incident.id for incident in list(self.run.pipeline.grouper.open)}

    def _fail(self, error: LogllmError) -> None:
        self.failure = self.failure or error
        self.failed.set()

    async def _room(self) -> None:
        await self.delivery.room.wait()

    def _forget(self, peer: Peer) -> None:
        if self._delivery is not None:
            self._delivery.forget(peer)

    async def _reject(self, skipped: Sequence[Skipped], peer: Peer) -> None:
        if self._rejects is None:
            return
        # The rest of their frame waits with them.
        size, room = sum(item.held_bytes for item in skipped), self.delivery.room
        room.enter(size)
        try:
            await self._rejects.keep(skipped, peer.name)
        finally:
            room.leave(size)

    async def _take(self, received: Received, peer: Peer) -> None:
        """Judge a chunk and have it written; returning is what acknowledges it.

        Raises:
            PluginStopped: A plugin stops the pipeline: the sender keeps this chunk, and the service ends.
            DeliveryError: The service is ending.
        """
        try:
            await self.delivery.accept(received, peer, self._process)
        except PluginStopped as error:
            self._fail(error)
            raise

    async def _process(self, chunk: Chunk) -> Chunk:
        async with self._steady.shared():
            filtering = self.run.filtering
            lane = filtering.lane(chunk)
            # A plugin with an instance for each tenant runs beside the pipeline, so that none waits for another's.
            ready = await self._lanes.run(lane, partial(filtering.ingest, chunk)) if lane else None
            loop = asyncio.get_running_loop()
            out, late = await loop.run_in_executor(self._pipeline_thread, self._judging.feed, chunk, ready)
        # What an incident needs of earlier chunks is safe before the chunk is that told of it.
        if passing := self._pass_on(late):
            await asyncio.wait(passing)
        return out

    def _pass_on(self, chunks: Sequence[Chunk]) -> list[asyncio.Task[None]]:
        # A sink that is down must not stop the clock.
        tasks = [asyncio.create_task(self._passed_on(chunk)) for chunk in chunks]
        for task in tasks:
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)
        return tasks

    async def _passed_on(self, chunk: Chunk) -> None:
        try:
            await self.delivery.pass_on(chunk)
        except DeliveryError as error:
            _log.warning("%d records that had been held back are not written: %s", chunk.count, error)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_S)
            try:
                async with self._steady.shared():
                    held = await loop.run_in_executor(self._pipeline_thread, self._pass_time)
            except PluginStopped as error:
                self._fail(error)
                return
            self._pass_on(held)

    def _pass_time(self) -> list[Chunk]:
        held = self._judging.pass_time()
        now = time.monotonic()
        if now - self._saved_s >= SAVE_S:
            self._saved_s = now
            self.saves += 1
            self.run.save()
        return held

    async def reload(self, config: Config) -> list[str]:
        """Go on under another configuration; no connection is closed and nothing under way is lost.

        Returns:
            The keys that differ and take a restart; they stay as they were.

        Raises:
            ConfigError, PluginLoadError: It cannot be used; everything stays as it was.
        """
        restart = needs_restart(self.config, config)
        async with self._steady.alone():
            await reload_into(self, config)
        self.config = config
        return restart

    def summary(self) -> Summary:
        """What has been seen since the start."""
        return summary_of_service(self)

    def health(self) -> dict[str, object]:
        """For `/healthz`."""
        return {"version": __version__, "learning": self.run.pipeline.learning}

    def ready(self) -> list[str]:
        """For `/readyz`: what is missing. A model that is down is not: alerts go out without it."""
        found = [*(["draining"] if self.draining else []), *self.delivery.failing]
        if self.rejects is not None and self.rejects.failing is not None:
            found.append(f"dead letters: {self.rejects.failing}")
        return found

    def plugins(self) -> list[PluginStatus]:
        """For `/plugins`."""
        return self.run.filtering.status()

    def senders(self) -> list[Sender]:
        """For `/senders`: who sends, and how."""
        return self.forward.senders.table()

    def metrics(self) -> bytes:
        """For `/metrics`."""
        return render(values_of(self))
