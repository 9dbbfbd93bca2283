"""Several files read as one, by time: so that what happened together is judged together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from logllm.events import Chunk

__all__ = ["merged"]

SLACK_NS = 30_000_000_000
"""A file may run ahead of the others by this much: less than it takes a window to close, more than one switch costs."""


@dataclass(slots=True)
class _Source:
    rest: Iterator[Chunk]
    chunk: Chunk
    at: int = 0

    @property
    def head_ns(self) -> int:
        columns = self.chunk.columns
        return int(columns.time_ns[self.at]) if columns is not None else 0

    def take(self, until_ns: int) -> Chunk:
        """The records from here to the first that is later, at least one."""
        columns = self.chunk.columns
        if columns is None:
            self.at = self.chunk.count
            return self.chunk
        latest = np.maximum.accumulate(columns.time_ns[self.at :])
        end = self.at + max(1, int(np.searchsorted(latest, until_ns, side="right")))
        start, self.at = self.at, end
        if end - start == len(columns):
            return self.chunk
        size_bytes = self.chunk.size_bytes * end // len(columns) - self.chunk.size_bytes * start // len(columns)
        return replace(self.chunk, columns=columns.part(start, end), count=end - start, size_bytes=size_bytes)


def merged(sources: list[Iterator[Chunk]]) -> Iterator[Chunk]:
    """The chunks of several sources in the order of their records' times, each source's own order kept.

    Exact to SLACK_NS where each source is in order itself; what is out of order within one stays so. Holds one chunk of
    each.
    """
    open_sources = [_Source(rest, chunk) for rest in sources if (chunk := _next(rest)) is not None]
    while open_sources:
        source = min(open_sources, key=lambda each: each.head_ns)
        others = [each.head_ns for each in open_sources if each is not source]
        until_ns = min(others) + SLACK_NS if others else np.iinfo(np.int64).max
        yield source.take(until_ns)
        if source.at >= source.chunk.count:
            chunk = _next(source.rest)
            if chunk is None:
                open_sources.remove(source)
            else:
                source.chunk, source.at = chunk, 0


def _next(rest: Iterator[Chunk]) -> Chunk | None:
    return next((chunk for chunk in rest if chunk.count), None)
