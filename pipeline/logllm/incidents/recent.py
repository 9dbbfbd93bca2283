"""The last records, by reference: where an incident's evidence is taken from.

Chunks' columns are kept as they are, up to a bound in bytes and records, so remembering costs nothing a record. What
has left the ring is remembered by one line a key, its first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from logllm.events import Columns

__all__ = ["Line", "Recent"]

MAX_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One remembered record. `line` is its number in the file `source`, where it has one."""

    time_ns: int
    text: str
    key: int
    source: str
    line: int | None


@dataclass(frozen=True, slots=True)
class _Kept:
    columns: Columns
    keys: NDArray[np.int32]
    source: str
    size_bytes: int


class Recent:
    """A ring of recent chunks, bounded by bytes and records.

    Args:
        max_bytes: Of the records as they came; as Python text they take about twice that.
    """

    def __init__(self, *, max_bytes: int = 24 << 20, max_records: int = 120_000) -> None:
        self._max_bytes, self._max_records = max_bytes, max_records
        self._ring: deque[_Kept] = deque()
        self._bytes = 0
        self._records = 0
        self._first: dict[int, Line] = {}

    def add(self, columns: Columns, keys: NDArray[np.int32], source: str, size_bytes: int, new: Iterable[int]) -> None:
        """Keep a chunk; `new` are the keys first seen in it."""
        kept = _Kept(columns, keys, source, size_bytes)
        for key in new:
            at = np.flatnonzero(keys == key)
            if len(at):
                self._first[key] = _line(kept, int(at[0]))
        self._ring.append(kept)
        self._bytes += size_bytes
        self._records += len(keys)
        while len(self._ring) > 1 and (self._bytes > self._max_bytes or self._records > self._max_records):
            old = self._ring.popleft()
            self._bytes -= old.size_bytes
            self._records -= len(old.keys)

    def lines(self, keys: Iterable[int], start_ns: int, end_ns: int, limit: int) -> list[Line]:
        """Records of these keys within [start_ns, end_ns), oldest first: the first `limit` that are still here."""
        wanted = np.fromiter(keys, np.int32)
        found: list[Line] = []
        for kept in self._ring:
            times = kept.columns.time_ns
            mask = np.isin(kept.keys, wanted) & (times >= start_ns) & (times < end_ns)
            for at in np.flatnonzero(mask)[: limit - len(found)].tolist():
                found.append(_line(kept, at))
            if len(found) >= limit:
                break
        if not found:
            found = [line for key in wanted.tolist() if (line := self._first.get(key))][:limit]
        return sorted(found, key=lambda line: line.time_ns)

    def last(self, keys: Iterable[int], before_ns: int) -> Line | None:
        """The latest record of these keys before this time that is still here."""
        wanted = np.fromiter(keys, np.int32)
        for kept in reversed(self._ring):
            at = np.flatnonzero(np.isin(kept.keys, wanted) & (kept.columns.time_ns < before_ns))
            if len(at):
                return _line(kept, int(at[-1]))
        return next((line for key in wanted.tolist() if (line := self._first.get(key))), None)

    def texts(self, key: int, start_ns: int, end_ns: int, limit: int) -> Iterator[str]:
        """Messages of one key within a stretch, at most `limit`."""
        left = limit
        for kept in self._ring:
            times = kept.columns.time_ns
            for at in np.flatnonzero((kept.keys == key) & (times >= start_ns) & (times < end_ns))[:left].tolist():
                yield kept.columns.messages[at]
                left -= 1
            if left <= 0:
                return


def _line(kept: _Kept, at: int) -> Line:
    columns = kept.columns
    number = None if columns.position is None else int(columns.position[at])
    return Line(int(columns.time_ns[at]), columns.messages[at][:MAX_TEXT], int(kept.keys[at]), kept.source, number)
