"""The last records, by reference: where an incident's evidence is taken from.

Chunks' columns are kept as they are, up to a bound in bytes and records, so remembering costs next to nothing a
record. What has left the ring is remembered by one line a key, its first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from logllm.events import Columns

__all__ = ["Line", "Recent", "cut_between_words"]

MAX_TEXT = 1000
MAX_FIRST = 20_000
JOINED_RECORDS = 4_096
"""Chunks are looked through together up to this size, for they may hold a record each."""
_WORD_ENDS = " \t\n,;\"'"
_LONGEST_WORD = 512


def cut_between_words(text: str, limit: int) -> str:
    """At most `limit` characters of a text, and of its last word nothing rather than a part.

    Half a token has no form by which it is known and masked. A word of more than 512 characters is cut all the same.

    >>> cut_between_words("sent AKIA0123456789", 12), cut_between_words("all of it", 12)
    ('sent ', 'all of it')
    """
    if len(text) <= limit:
        return text
    at = 1 + max(text.rfind(end, 0, limit) for end in _WORD_ENDS)
    return text[: at if limit - at < _LONGEST_WORD else limit]


@dataclass(frozen=True, slots=True)
class Line:
    """One remembered record. `line` is its number in the file `source`, where it has one."""

    time_ns: int
    text: str
    key: int
    source: str
    line: int | None


@dataclass(frozen=True, slots=True)
class _Part:
    columns: Columns
    keys: NDArray[np.int32]
    source: str

    def line(self, at: int) -> Line:
        columns = self.columns
        number = None if columns.position is None else int(columns.position[at])
        text = cut_between_words(columns.messages[at], MAX_TEXT)
        return Line(int(columns.time_ns[at]), text, int(self.keys[at]), self.source, number)


class _Block:
    """Chunks in a row, searched as one."""

    def __init__(self) -> None:
        self.records = 0
        self.size_bytes = 0
        self._parts: list[_Part] = []
        self._starts: list[int] = []
        self._joined: tuple[NDArray[np.int32], NDArray[np.int64]] | None = None

    def add(self, part: _Part, size_bytes: int) -> None:
        self._starts.append(self.records)
        self._parts.append(part)
        self.records += len(part.keys)
        self.size_bytes += size_bytes
        self._joined = None

    def find(self, keys: NDArray[np.int32], start_ns: int, end_ns: int) -> NDArray[np.int64]:
        """int64[m]: places of the records of these keys within [start_ns, end_ns)."""
        if self._joined is None:
            self._joined = (
                np.concatenate([part.keys for part in self._parts]),
                np.concatenate([part.columns.time_ns for part in self._parts]),
            )
        have, times = self._joined
        mine = have == keys[0] if len(keys) == 1 else np.isin(have, keys)
        return np.flatnonzero(mine & (times >= start_ns) & (times < end_ns))

    def line(self, at: int) -> Line:
        number = bisect_right(self._starts, at) - 1
        return self._parts[number].line(at - self._starts[number])

    def text(self, at: int) -> str:
        number = bisect_right(self._starts, at) - 1
        return self._parts[number].columns.messages[at - self._starts[number]]

    def rename(self, old: int, new: int) -> None:
        for part in self._parts:
            part.keys[part.keys == old] = new
        self._joined = None

    def forget(self, keys: Sequence[int]) -> None:
        """Some keys are none that is known any more."""
        for part in self._parts:
            part.keys[np.isin(part.keys, keys)] = -1
        self._joined = None


class Recent:
    """A ring of recent chunks, bounded by bytes and records; the latest chunk is kept whatever its size.

    Args:
        max_bytes: Of the records as they came; as Python text they take about twice that.
    """

    def __init__(self, *, max_bytes: int = 24 << 20, max_records: int = 120_000) -> None:
        self._max_bytes, self._max_records = max_bytes, max_records
        self._ring: deque[_Block] = deque()
        self._first: dict[int, Line] = {}
        self.bytes = 0
        self.records = 0

    def add(self, columns: Columns, keys: NDArray[np.int32], source: str, size_bytes: int, new: Iterable[int]) -> None:
        """Keep some records; `new` are the keys first seen with them. `keys` becomes the ring's own."""
        if not len(keys):
            return
        part = _Part(columns, keys, source)
        fresh = set(new)
        if fresh:
            for key, at in zip(*np.unique(keys, return_index=True), strict=True):
                if int(key) in fresh:
                    self._first[int(key)] = part.line(int(at))
            while len(self._first) > MAX_FIRST:
                del self._first[next(iter(self._first))]
        if not self._ring or self._ring[-1].records + len(keys) > min(JOINED_RECORDS, self._max_records // 8):
            self._ring.append(_Block())
        self._ring[-1].add(part, size_bytes)
        self.bytes += size_bytes
        self.records += len(keys)
        while len(self._ring) > 1 and (self.bytes > self._max_bytes or self.records > self._max_records):
            old = self._ring.popleft()
            self.bytes -= old.size_bytes
            self.records -= old.records

    def merge(self, old: int, new: int) -> None:
        """The records of key `old` are of key `new` now."""
        for block in self._ring:
            block.rename(old, new)
        line = self._first.pop(old, None)
        if line is not None:
            self._first.setdefault(new, line)

    def forget(self, keys: Sequence[int]) -> None:
        """The numbers of keys are given to others."""
        for block in self._ring:
            block.forget(keys)
        for key in keys:
            self._first.pop(key, None)

    def lines(self, keys: Iterable[int], start_ns: int, end_ns: int, limit: int) -> list[Line]:
        """Records of these keys within [start_ns, end_ns), oldest first: the first `limit` that are still here."""
        wanted = np.fromiter(keys, np.int32)
        found: list[Line] = []
        for block in self._ring if len(wanted) else ():
            found += [block.line(at) for at in block.find(wanted, start_ns, end_ns)[: limit - len(found)].tolist()]
            if len(found) >= limit:
                break
        if not found:
            first = (self._first.get(key) for key in wanted.tolist())
            found = [line for line in first if line is not None and start_ns <= line.time_ns < end_ns][:limit]
        return sorted(found, key=lambda line: line.time_ns)

    def first(self, key: int) -> Line | None:
        """The first record of a key, while it is remembered."""
        return self._first.get(key)

    def last(self, keys: Iterable[int], before_ns: int) -> Line | None:
        """The latest record of these keys before this time that is still here."""
        wanted = np.fromiter(keys, np.int32)
        for block in reversed(self._ring) if len(wanted) else ():
            at = block.find(wanted, -(2**63), before_ns)
            if len(at):
                return block.line(int(at[-1]))
        first = (self._first.get(key) for key in wanted.tolist())
        return next((line for line in first if line is not None and line.time_ns < before_ns), None)

    def texts(self, key: int, start_ns: int, end_ns: int, limit: int) -> Iterator[str]:
        """Messages of one key within a stretch, at most `limit`."""
        wanted = np.array([key], np.int32)
        left = limit
        for block in self._ring:
            for at in block.find(wanted, start_ns, end_ns)[:left].tolist():
                yield block.text(at)
                left -= 1
            if left <= 0:
                return
