"""What was culled of late: the blocks it came in, by reference, and a row for each culled record in them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["ROW", "Ring", "Source", "rows_of"]

ROW = np.dtype(
    [
        ("time_ns", np.int64),
        ("number", np.int64),
        ("key", np.int32),
        ("service", np.int32),
        ("at", np.uint32),
        ("size", np.uint32),
        ("source", np.int32),
    ]
)
"""One culled record. `number` counts all records that came; `at` and `size` say where in its source it is."""

SLAB_RECORDS = 4096
SLABS = 16
LEAST_SLAB_BYTES = 1 << 20
_PART_BYTES = 400
"""A block, its tag and the two arrays take about so much beside what is in them."""


@dataclass(frozen=True, slots=True)
class Source:
    """Entries of one tag. `first` is the number of the chunk's first record, for rows of the chunk at hand."""

    tag: str
    block: bytes
    first: int


def rows_of(
    numbers: NDArray[np.int64],
    time_ns: NDArray[np.int64],
    keys: NDArray[np.int32],
    services: NDArray[np.int32],
    at: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> NDArray[np.void]:
    """Arrays of one length as ROW[n]."""
    rows = np.zeros(len(numbers), ROW)
    rows["number"], rows["time_ns"], rows["key"], rows["service"] = numbers, time_ns, keys, services
    rows["at"], rows["size"] = at, sizes
    return rows


class Slab:
    """Chunks in a row, searched as one."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.records = 0
        self.bytes = 0
        self.end = 0
        self.latest_ns = -(1 << 63)
        self._parts: list[NDArray[np.void]] = []

    def add(self, source: Source, rows: NDArray[np.void], end: int) -> int:
        """Take rows in; returns the bytes they take, their block included."""
        rows["source"] = len(self.sources)
        self.sources.append(source)
        self._parts.append(rows)
        self.records += len(rows)
        self.end = end
        self.latest_ns = max(self.latest_ns, int(rows["time_ns"].max()))
        size = len(source.block) + rows.nbytes + _PART_BYTES
        self.bytes += size
        return size

    @property
    def rows(self) -> NDArray[np.void]:
        """ROW[n]: what is here. Its values may be changed."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.zeros(0, ROW), *self._parts])]
        return self._parts[0]

    def without(self, taken: NDArray[np.bool_]) -> None:
        """Forget some rows; their block stays as long as the slab does."""
        self._parts = [self.rows[~taken]]
        self.records = len(self._parts[0])


class Ring:
    """Culled records, oldest first, up to a bound in bytes.

    Args:
        max_bytes: Of the blocks it refers to and of its rows; more where `evicted` is told that more is needed.

    Attributes:
        bytes, records: What it holds now; records that have been taken are no longer held, their block may be.
        slab_bytes: The size at which what is let go together is closed.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.slab_bytes = max(max_bytes // SLABS, LEAST_SLAB_BYTES)
        self.bytes = self.records = 0
        self._slabs: deque[Slab] = deque()

    def add(self, source: Source, rows: NDArray[np.void], end: int) -> None:
        """Keep some culled records of a block.

        Args:
            end: The number behind the last record of the stretch they come from.
        """
        if 2 * int(rows["size"].sum(dtype=np.int64)) < len(source.block):
            source = self._compact(source, rows)
        slab = self._slabs[-1] if self._slabs else None
        if slab is None or slab.records >= SLAB_RECORDS or slab.bytes >= self.slab_bytes:
            slab = Slab()
            self._slabs.append(slab)
        self.bytes += slab.add(source, rows, end)
        self.records += len(rows)

    @staticmethod
    def _compact(source: Source, rows: NDArray[np.void]) -> Source:
        """A block of these rows alone: the rest of theirs is not to be held for a few."""
        starts, sizes = rows["at"].astype(np.int64), rows["size"].astype(np.int64)
        pieces = [
            source.block[start:end] for start, end in zip(starts.tolist(), (starts + sizes).tolist(), strict=True)
        ]
        rows["at"] = np.cumsum(sizes) - sizes
        return Source(source.tag, b"".join(pieces), source.first)

    def evicted(self, needed_from: int) -> Iterator[Slab]:
        """Let go of the oldest records while there are too many bytes.

        Args:
            needed_from: Records of this number and later ones stay.
        """
        while len(self._slabs) > 1 and self.bytes > self.max_bytes and self._slabs[0].end <= needed_from:
            slab = self._slabs.popleft()
            self.bytes -= slab.bytes
            self.records -= slab.records
            yield slab

    def slabs(self) -> Iterator[Slab]:
        """All that is here, oldest first."""
        return iter(self._slabs)

    def take(self, masks: Iterable[NDArray[np.bool_] | None]) -> list[tuple[NDArray[np.void], list[Source]]]:
        """Rows with their sources, slab by slab; they are no longer here.

        Args:
            masks: For each slab, bool[n] by its rows, or None for none of them.
        """
        found = []
        for slab, mask in zip(self._slabs, masks, strict=True):
            if mask is not None and mask.any():
                found.append((slab.rows[mask], slab.sources))
                self.records -= len(found[-1][0])
                slab.without(mask)
        return found

    def rename(self, old: int, new: int) -> None:
        """The records of key `old` are of key `new` now; -1: of none that is known."""
        for slab in self._slabs:
            keys = slab.rows["key"]
            keys[keys == old] = new

    def forget(self, keys: Sequence[int]) -> None:
        """The records of some keys are of none that is known."""
        for slab in self._slabs:
            of = slab.rows["key"]
            of[np.isin(of, keys)] = -1
