"""Taking records from Fluent Bit: sockets in the event loop, the pipeline in one thread of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from logllm import __version__
from logllm.errors import PluginStopped
from logllm.events import Summary
from logllm.metrics import render
from logllm.service.lanes import Lanes
from logllm.service.plugin_metrics import plugin_values
from logllm.service.run import Run

if TYPE_CHECKING:
    from typing import Self

    from logllm.config import Config
    from logllm.events import Chunk
    from logllm.filters.host import Signal
    from logllm.filters.life.status import PluginStatus
    from logllm.metrics import Value
    from logllm.service.run import Outlet
    from logllm.sources.forward import ForwardServer, ForwardStats
    from logllm.sources.forward_peer import Peer
    from logllm.sources.forward_protocol import Received

__all__ = ["Serve"]

TICK_S = 1.0
SAVE_S = 300.0

_log = logging.getLogger("logllm.service")


class Serve:
    """The forward server, the pipeline and the clock, until it is told to stop.

    Use it in `async with`: entering listens, leaving drains. What a peer sent before the end is taken, acknowledged
    and judged; what was learned is saved.

    Args:
        config: Where to listen and the rest.
        outlet: Told of incidents and explanations, from the pipeline's and the explainer's threads, never at once.

    Raises:
        SourceError: The address cannot be bound.
        ConfigError, StateError: See `Run`.
    """

    def __init__(self, config: Config, outlet: Outlet) -> None:
        self._config = config
        self._run = Run(config, outlet)
        self._pipeline_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pipeline")
        self._lanes = Lanes()
        self.failed: asyncio.Event = asyncio.Event()
        self.failure: PluginStopped | None = None
        self._forward: ForwardServer = config.forward.build(self._take)
        self._clock: asyncio.Task[None] | None = None
        self._started_s = time.time()
        self._waiting = 0
        self._waiting_bytes = 0
        self._draining = False
        self._saved_s = time.monotonic()
        self._saves = 0
        self._newest_ns = 0

    async def __aenter__(self) -> Self:
        try:
            await self._forward.start()
        except BaseException:
            self._pipeline_thread.shutdown()
            self._lanes.close()
            self._run.close()
            raise
        self._clock = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._draining = True
        await self._forward.close()
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.gather(self._clock, return_exceptions=True)
        self._lanes.close()
        self._pipeline_thread.shutdown(wait=True)
        self._run.summarise(self.summary())
        await asyncio.to_thread(self._run.close)

    @property
    def address(self) -> tuple[str, int]:
        """Where the forward protocol is really listened to."""
        return self._forward.address

    def announce(self) -> None:
        """See `Run.announce`."""
        self._run.announce()

    async def _take(self, received: Received, peer: Peer) -> None:
        """Hand a chunk to the pipeline; returning is what acknowledges it.

        Raises:
            PluginStopped: A plugin stops the pipeline: the sender keeps this chunk, and the service ends.
        """
        chunk = received.chunk
        self._waiting += chunk.count
        self._waiting_bytes += chunk.size_bytes
        try:
            lane = self._run.filtering.lane(chunk)
            # A plugin with an instance for each tenant runs beside the pipeline, so that none waits for another's.
            ready = await self._lanes.run(lane, partial(self._run.filtering.ingest, chunk)) if lane else None
            await asyncio.get_running_loop().run_in_executor(self._pipeline_thread, self._feed, chunk, ready)
        except PluginStopped as error:
            self.failure = self.failure or error
            self.failed.set()
            raise
        finally:
            self._waiting -= chunk.count
            self._waiting_bytes -= chunk.size_bytes

    def _feed(self, chunk: Chunk, ready: tuple[Chunk, list[Signal]] | None) -> None:
        pipeline, now_ns = self._run.pipeline, time.time_ns()
        self._run.tell(pipeline.feed(chunk, now_ns) if ready is None else pipeline.take(*ready, now_ns))

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_S)
            await loop.run_in_executor(self._pipeline_thread, self._pass_time)

    def _pass_time(self) -> None:
        self._run.tell(self._run.pipeline.tick(time.time_ns()))
        now = time.monotonic()
        if now - self._saved_s >= SAVE_S:
            self._saved_s = now
            self._saves += 1
            self._run.save()

    def summary(self) -> Summary:
        """What has been seen since the start."""
        pipeline = self._run.pipeline
        stats = self._forward.stats
        skipped = {f"not a record: {reason}": count for reason, count in stats.skipped.items()}
        for reason, count in (
            ("connections closed for what they sent", stats.protocol_errors),
            ("incidents over the budget", pipeline.budget.held_back),
            ("records from the future", pipeline.arrivals.ahead),
        ):
            if count:
                skipped[reason] = count
        return Summary(
            lines=stats.records,
            records=stats.records,
            templates=len(pipeline.miner),
            incidents=self._run.opened,
            seconds=round(time.time() - self._started_s, 3),
            bytes=stats.bytes,
            skipped=skipped,
            services=len(pipeline.keys.services),
            learning=pipeline.learning,
            plugins=self._run.plugins(),
        )

    def health(self) -> dict[str, object]:
        """For `/healthz`."""
        return {"version": __version__, "learning": self._run.pipeline.learning}

    def ready(self) -> list[str]:
        """For `/readyz`: what is missing. A model that is down is not: alerts go out without it."""
        return ["draining"] if self._draining else []

    def plugins(self) -> list[PluginStatus]:
        """For `/plugins`."""
        return self._run.filtering.status()

    def metrics(self) -> bytes:
        """For `/metrics`."""
        pipeline, stats = self._run.pipeline, self._forward.stats
        usage = resource.getrusage(resource.RUSAGE_SELF)
        values: dict[str, Value] = {
            "logllm_build_info": {__version__: 1.0},
            "logllm_process_start_time_seconds": self._started_s,
            "logllm_component_received_events": {"forward": float(stats.records)},
            "logllm_component_received_event_bytes": {"forward": float(stats.bytes)},
            "logllm_buffer_size_events": float(self._waiting),
            "logllm_buffer_size_bytes": float(self._waiting_bytes),
            "logllm_templates": float(len(pipeline.miner)),
            "logllm_windows": float(pipeline.detection.windows),
            "logllm_late_events": float(pipeline.windows.late),
            "logllm_learning": float(pipeline.learning is not None),
            "logllm_anomalies": {kind: float(count) for kind, count in pipeline.anomalies.items()},
            "logllm_incidents_opened": {name: float(count) for name, count in self._run.opened_by.items()},
            "logllm_incidents_open": float(sum(incident.told for incident in pipeline.grouper.open)),
            "logllm_alert_budget_per_day": pipeline.budget.per_day,
            "logllm_explanations": {status: float(count) for status, count in self._run.explained.items()},
            "logllm_explain_queue_depth": float(self._run.waiting_for_explanation),
            "logllm_state_saves": float(self._saves),
            "logllm_process_cpu_seconds": usage.ru_utime + usage.ru_stime,
            "logllm_process_resident_memory_bytes": float(_resident_bytes()),
            **_forward_values(stats),
            **plugin_values(self._run.filtering.status()),
        }
        if pipeline.windows.watermark_ns:
            values["logllm_event_lag_seconds"] = time.time() - pipeline.windows.watermark_ns / 1e9
        return render(values)


def _forward_values(stats: ForwardStats) -> dict[str, Value]:
    return {
        "logllm_forward_connections": float(stats.connections_open),
        "logllm_forward_connections_opened": float(stats.connections),
        "logllm_forward_connections_refused": float(stats.connections_refused),
        "logllm_forward_frames": float(stats.frames),
        "logllm_forward_received_bytes": float(stats.bytes),
        "logllm_forward_acks": float(stats.acks),
        "logllm_forward_unacknowledged_events": float(stats.unacknowledged),
        "logllm_forward_heartbeats": float(stats.heartbeats),
        "logllm_forward_skipped_entries": {reason: float(count) for reason, count in stats.skipped.items()},
        "logllm_forward_other_signals": {kind: float(count) for kind, count in stats.other_signals.items()},
        "logllm_forward_truncated_frames": float(stats.truncated),
        "logllm_forward_protocol_errors": float(stats.protocol_errors),
    }


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a kernel file, read at each scrape
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
