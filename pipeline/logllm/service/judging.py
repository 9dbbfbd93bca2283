"""What the pipeline's thread does with a chunk: filter it, judge it, tell of incidents, and give what goes on of it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.events import Chunk
    from logllm.filters.host import Signal
    from logllm.service.reduction import Reduction
    from logllm.service.run import Run

__all__ = ["Judging"]


class Judging:
    """Filters, pipeline, reducer and egress filters in their order.

    Args:
        reduction: None where every record goes on.
        has_sinks: Whether there is anything for records to go on to.
    """

    def __init__(self, run: Run, reduction: Reduction | None, has_sinks: Callable[[], bool]) -> None:
        self._run = run
        self._reduction = reduction
        self._has_sinks = has_sinks

    def feed(self, chunk: Chunk, ready: tuple[Chunk, list[Signal]] | None) -> tuple[Chunk, list[Chunk]]:
        """A chunk that has just come.

        Args:
            ready: The chunk after the ingest filters, where it has been there already.

        Returns:
            What goes on of it, and what of earlier chunks does after all.

        Raises:
            PluginStopped: A plugin failed whose `on_error` is `stop`.
        """
        self._run.look_again()
        return self._judge(*(ready or self._run.filtering.ingest(chunk)), time.time_ns())

    def flush(self, *, at_end: bool = False) -> list[Chunk]:
        """What filters had held back; at the end what the reducer still owes too. Raises PluginStopped."""
        chunks: list[Chunk] = []
        for chunk, signals in self._run.filtering.flush(time.time_ns(), at_end=at_end):
            out, late = self._judge(chunk, signals, None)
            chunks += (*late, out)
        if at_end and self._reduction is not None:
            chunks += [self._egress(chunk, None) for chunk in self._reduction.finish()]
        return chunks

    def pass_time(self) -> list[Chunk]:
        """The clock has gone on; returns what goes on to the sinks by that. Raises PluginStopped."""
        self._run.look_again()
        chunks = self.flush()
        # Not `tick`: what filters give goes on to the sinks, and has been asked for.
        self._run.tell(self._run.pipeline.advance(time.time_ns()))
        if self._reduction is not None:
            self._reduction.tick()
        return chunks + self._late(None)

    def _judge(self, chunk: Chunk, signals: list[Signal], now_ns: int | None) -> tuple[Chunk, list[Chunk]]:
        if self._reduction is None:
            self._run.tell(self._run.pipeline.take(chunk, signals, now_ns))
            return self._egress(chunk, now_ns), []
        events, out = self._reduction.take(chunk, signals, now_ns)
        self._run.tell(events)
        return self._egress(out, now_ns), self._late(now_ns)

    def _late(self, now_ns: int | None) -> list[Chunk]:
        late = [] if self._reduction is None else self._reduction.late()
        return [self._egress(chunk, now_ns) for chunk in late]

    def _egress(self, chunk: Chunk, now_ns: int | None) -> Chunk:
        if not self._has_sinks():
            return chunk
        out, raised = self._run.filtering.egress(chunk)
        if raised:
            self._run.tell(self._run.pipeline.take(replace(chunk, count=0, block=b"", scan=None), raised, now_ns))
        return out
