"""A running service's reducer: chunks go through pipeline and reducer together, and what is saved is written down."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logllm.errors import StateError
from logllm.events import Chunk, Reduced
from logllm.sinks.reduce.meter import OTHERS, Flow, Meter, Named, load_account, save_account
from logllm.sinks.reduce.reducer import Reducer
from logllm.sources.forward.entries import cut_entries
from logllm.sources.scan import scan_block
from logllm.sources.scan.host import Part

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from logllm.config import Config
    from logllm.events import IncidentEvent
    from logllm.filters.host import Signal
    from logllm.metrics import Value
    from logllm.pipeline import Pipeline
    from logllm.sinks.reduce.config import ReduceConfig
    from logllm.sinks.reduce.reducer import Out

__all__ = ["ACCOUNT_FILE", "Reduction", "begins_of", "reduced"]

ACCOUNT_FILE = "reduce.json"
SAVE_S = 30.0
METRIC_TAGS = 50
METRIC_TEMPLATES = 20
MOST_CHARS = 120

_log = logging.getLogger("logllm.service")


class Reduction:
    """Takes chunks in for a pipeline, and gives what of them goes on.

    All but `values`, `discarded` and `summary` are called in the pipeline's thread.

    Args:
        pipeline: Gets a reducer of its own.
        data_dir: Where the account is kept; None for nowhere.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        config: ReduceConfig,
        pipeline: Pipeline,
        data_dir: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pipeline = pipeline
        self._path = None if data_dir is None else data_dir / ACCOUNT_FILE
        self._clock = clock
        self._saved_s = clock()
        self.meter = Meter(self._name, clock)
        self.reducer = pipeline.reducer = Reducer(config, self.meter)
        self.account = self.meter.account(config)
        if self._path is not None:
            self._resume(self._path)

    @classmethod
    def of(cls, config: Config, pipeline: Pipeline) -> Reduction | None:
        """What a configuration asks for; None where every record goes on."""
        data_dir = None if config.data_dir is None else Path(config.data_dir)
        return cls(config.reduce, pipeline, data_dir) if config.reduce.enabled else None

    def _resume(self, path: Path) -> None:
        try:
            before = load_account(path)
        except StateError as error:
            aside = path.with_name(path.name + ".damaged")
            _log.warning("%s; it begins anew, the old one is kept as %s", error, aside.name)
            try:
                path.replace(aside)
            except OSError as reason:
                _log.warning("%s: cannot be renamed: %s", path, reason.strerror or reason)
            return
        if before is not None:
            self.meter.resume(before)
            self.account = self.meter.account(self.reducer.config)

    def _name(self, key: int) -> Named:
        pipeline = self._pipeline
        service = pipeline.keys.services[int(pipeline.keys.service[key])]
        text = pipeline.redactor.mask(pipeline.template_text(key))
        return Named(service, pipeline.template_id(key), text)

    def take(self, chunk: Chunk, signals: list[Signal], now_ns: int | None) -> tuple[list[IncidentEvent], Chunk]:
        """Judge a filtered chunk; returns what its incidents are, and what of it goes on.

        What earlier chunks held and goes on now is given by `late`.
        """
        block = chunk.block
        if not block or not chunk.count:
            return self._pipeline.take(chunk, signals, now_ns), chunk
        begins = begins_of(chunk)
        if begins is None:
            self.meter.chunk(chunk.tag, Flow(chunk.count, len(block), chunk.count, len(block)))
            return self._pipeline.take(chunk, signals, now_ns), chunk
        self.reducer.begin(chunk.tag, block, begins)
        try:
            events = self._pipeline.take(chunk, signals, now_ns)
        finally:
            out = self.reducer.end()
        if out.block is block:
            return events, chunk
        return events, replace(chunk, block=out.block, count=out.count, size_bytes=len(out.block), scan=None)

    def late(self) -> list[Chunk]:
        """Records of earlier chunks that go on after all, in the order they came in, since it was last asked."""
        return [_chunk(out) for out in self.reducer.late()]

    def finish(self) -> list[Chunk]:
        """No more records come: what is still to be told of culled ones goes on."""
        self.reducer.flush()
        return self.late()

    def tick(self) -> None:
        """Draw up the account now and then, and write it down."""
        if self._clock() - self._saved_s >= SAVE_S:
            self.save()

    def save(self) -> None:
        """Draw up the account, and write it down if there is a place for it; a failure is logged."""
        self._saved_s = self._clock()
        self.account = self.meter.account(self.reducer.config)
        if self._path is None:
            return
        try:
            save_account(self._path, self.account)
        except StateError as error:
            _log.error("%s", error)

    def summary(self) -> Reduced:
        """What this run has reduced."""
        return reduced(self.meter.total, self.reducer.config)

    def values(self) -> dict[str, Value]:
        """For `/metrics`, of this run; of tags and templates the largest alone."""
        total, config, ring = self.meter.total, self.reducer.config, self.reducer.ring
        flows = sorted(self.meter.tags().items(), key=lambda each: -each[1].bytes_in)
        tags = dict(flows[:METRIC_TAGS])
        if rest := [flow for _, flow in flows[METRIC_TAGS:]]:
            tags[OTHERS] = sum(rest, tags.get(OTHERS, Flow()))
        values: dict[str, Value] = {
            "logllm_reduce_received_events": {tag: float(flow.records_in) for tag, flow in tags.items()},
            "logllm_reduce_received_event_bytes": {tag: float(flow.bytes_in) for tag, flow in tags.items()},
            "logllm_reduce_sent_events": {tag: float(flow.records_out) for tag, flow in tags.items()},
            "logllm_reduce_sent_event_bytes": {tag: float(flow.bytes_out) for tag, flow in tags.items()},
            "logllm_reduce_kept_events": {reason: float(count) for reason, count in self.meter.kept.copy().items()},
            "logllm_reduce_late_events": float(total.records_late),
            "logllm_reduce_pending_events": float(self.reducer.pending),
            "logllm_reduce_ring_bytes": float(ring.bytes),
            "logllm_reduce_ring_events": float(ring.records),
            "logllm_reduce_template_saved_bytes": {
                (row.name.service, row.name.text[:MOST_CHARS], row.name.id): float(
                    row.flow.bytes_in - row.flow.bytes_out
                )
                for row in self.account.templates[:METRIC_TEMPLATES]
            },
        }
        if config.price_per_gb:
            values["logllm_reduce_saved_money"] = {config.currency: self.summary().saved}
        return values

    @property
    def discarded(self) -> int:
        """Records that did not go on with their chunk."""
        total = self.meter.total
        return total.records_in - total.records_out + total.records_late


def reduced(total: Flow, config: ReduceConfig) -> Reduced:
    """A flow as the summary tells it."""
    return Reduced(
        records_in=total.records_in,
        bytes_in=total.bytes_in,
        records_out=total.records_out,
        bytes_out=total.bytes_out,
        records_late=total.records_late,
        saved=round((total.bytes_in - total.bytes_out) / 1e9 * config.price_per_gb, 6),
        currency=config.currency if config.price_per_gb else "",
    )


def begins_of(chunk: Chunk) -> NDArray[np.uint32] | None:
    """Where each entry of a chunk's block begins; None where that cannot be told: then nothing of it is culled."""
    block = chunk.block or b""
    scan = chunk.scan if isinstance(chunk.scan, Part) else scan_block(block)
    if scan is not None and (len(scan), scan.size) == (chunk.count, len(block)):
        # The decoder takes it from here.
        chunk.scan = scan
        return scan.entry_at
    sizes = [len(entry) for entry in cut_entries(block)]
    if len(sizes) != chunk.count:
        return None
    ends = np.cumsum(sizes)
    return (ends - sizes).astype(np.uint32)


def _chunk(out: Out) -> Chunk:
    return Chunk(out.tag, out.count, len(out.block), block=out.block)
