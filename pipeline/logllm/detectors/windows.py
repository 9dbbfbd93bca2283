"""Counts by event time: records fall into one-minute windows, a watermark closes them, late ones are counted.

Detectors never see a record, only closed windows, and many at once when a file is read faster than it was written:
a `Slice` is a run of consecutive closed windows that lies within one block of `BLOCK` windows. Blocks are aligned to
the clock. What closes when depends on the records and their order, never on how they were cut into chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.slices import BLOCK, Slice, cells_of, slice_of
from logllm.errors import StateError
from logllm.events import WINDOW_NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLOCK", "LATE_WINDOWS", "REBASE_RECORDS", "Slice", "Windows"]

LATE_WINDOWS = 15
"""A record this many windows behind is still counted, in the oldest open window; older ones are not."""

MOST_REBASES = 8
WINDOWS_A_REBASE = 10_080
"""Time may go back so often, and once more for each week of log."""

REBASE_RECORDS = 500
"""So many records in a row that are older than that, and time itself has gone back."""


class Windows:
    """Collects (time, key) pairs and gives closed windows in order of time.

    A window closes when the watermark, the largest event time seen less `lateness_ns`, passes its end, or when
    `advance` is told the wall clock has. Records behind the closed windows are `late` and counted in the oldest open
    one, up to LATE_WINDOWS behind; a record further behind is set aside. REBASE_RECORDS of those in a row mean that
    time went back (files concatenated, a clock set right): then everything open closes and the windows start anew
    with them. Fewer, followed by a record of the present, are `dropped`.

    Args:
        lateness_ns: How long an out-of-order record may be on its way. Fluent Bit's workers send the chunks of one
            file over several connections, so arrival order is not time order.

    Attributes:
        whole_blocks: Close windows only when their whole block can be: for a past that is read faster than it was
            written. May be changed at any time.
    """

    def __init__(self, *, lateness_ns: int = 5_000_000_000, whole_blocks: bool = False) -> None:
        self._lateness_ns = lateness_ns
        self.whole_blocks = whole_blocks
        self._started = False
        self._closed = 0
        self._next = -1
        self._gap = 0
        self._watermark_ns = 0
        self._cells: list[NDArray[np.int64]] = []
        self._late = np.zeros((3, 0), np.int64)
        self._aside: list[NDArray[np.int64]] = []
        self._aside_records = 0
        self.late = 0
        self.dropped = 0
        self.rebased = 0
        self._given = 0

    @property
    def watermark_ns(self) -> int:
        """Event time up to which everything is closed or about to be; 0 before the first record."""
        return self._watermark_ns

    @property
    def oldest_open(self) -> int:
        """The window in which a record that comes late is counted; 0 before the first record."""
        return self._closed

    def stretch(self, time_ns: NDArray[np.int64]) -> int:
        """How many records may be added before a window closes: up to and with the one that closes it, at least 1."""
        n = len(time_ns)
        if n <= 1:
            return n
        if not self._started:
            # The first record says where the windows start, the others are placed by them.
            return 1
        step = self._step()
        until = (self._closed // step + 1) * step
        if self._watermark_ns // WINDOW_NS >= until:
            return 1
        latest = np.maximum.accumulate(time_ns)
        end = min(n, int(np.searchsorted(latest, until * WINDOW_NS + self._lateness_ns)) + 1)
        if self._may_rebase and int(time_ns[:end].min()) // WINDOW_NS < self._closed - LATE_WINDOWS:
            run = self._aside_records
            for at, far in enumerate((time_ns[:end] // WINDOW_NS < self._closed - LATE_WINDOWS).tolist()):
                run = run + 1 if far else 0
                if run >= REBASE_RECORDS:
                    return at + 1
        return end

    def add(
        self, time_ns: NDArray[np.int64], keys: NDArray[np.int32], severe: NDArray[np.bool_], key_count: int
    ) -> list[Slice]:
        """Count some records; returns the windows that closed.

        Shapes:
            time_ns: int64[n], nothing before 1970. keys: int32[n] < key_count. severe: bool[n].
        """
        slices: list[Slice] = []
        at = 0
        while at < len(time_ns):
            end = at + self.stretch(time_ns[at:])
            slices += self._add(time_ns[at:end], keys[at:end], severe[at:end], key_count)
            at = end
        return slices

    def _add(
        self, time_ns: NDArray[np.int64], keys: NDArray[np.int32], severe: NDArray[np.bool_], key_count: int
    ) -> list[Slice]:
        if not self._started:
            self._start(int(time_ns[0]))
        window = np.maximum(time_ns, 0) // WINDOW_NS
        behind = window < self._closed
        if behind.any() or self._aside_records:
            near = self._put_aside(window, keys, severe)
            self.late += int(behind[near].sum())
            if behind[near].any():
                mine = np.bincount(keys[near][behind[near]])
                at = np.flatnonzero(mine)
                self._late = _added(self._late, np.stack([np.full(len(at), self._closed), at, mine[at]]))
            window = np.where(behind, self._closed, window)[near]
            time_ns, keys, severe = time_ns[near], keys[near], severe[near]
        if len(window):
            self._cells.append(cells_of(window, keys, severe))
            self._watermark_ns = max(self._watermark_ns, int(time_ns.max()) - self._lateness_ns)
        slices = self._rebase(key_count) if self._aside_records >= REBASE_RECORDS else []
        return slices + self._close(self._watermark_ns // WINDOW_NS, key_count, step=self._step())

    def _put_aside(
        self, window: NDArray[np.int64], keys: NDArray[np.int32], severe: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Keep what is too far behind at the end, drop it where something nearer follows; returns what is near."""
        far = window < self._closed - LATE_WINDOWS
        near = np.flatnonzero(~far)
        end = 0
        if len(near):
            end = int(near[-1]) + 1
            self.dropped += self._aside_records + int(far[:end].sum())
            self._aside, self._aside_records = [], 0
        if end < len(window) and not self._may_rebase:
            self.dropped += len(window) - end
        elif end < len(window):
            self._aside.append(np.stack([window[end:], keys[end:], severe[end:]]))
            self._aside_records += len(window) - end
        return near

    @property
    def _may_rebase(self) -> bool:
        """Whether time may go back once more. A file that repeats the same hours tells nothing new each time."""
        return self.rebased < MOST_REBASES + self._given // WINDOWS_A_REBASE

    def _start(self, time_ns: int) -> None:
        self._started = True
        self._closed = max(0, time_ns - self._lateness_ns) // WINDOW_NS
        self._next = -1

    def _rebase(self, key_count: int) -> list[Slice]:
        """Time went back: close what is open and go on from the records set aside."""
        slices = self._flush(key_count)
        aside = np.concatenate(self._aside, axis=1)
        self._aside, self._aside_records = [], 0
        self.rebased += 1
        self._gap = -1
        self._watermark_ns = max(0, int(aside[0].max()) * WINDOW_NS - self._lateness_ns)
        self._start(int(aside[0].min()) * WINDOW_NS)
        self._cells = [cells_of(aside[0], aside[1], aside[2])]
        return slices

    def advance(self, now_ns: int, key_count: int) -> list[Slice]:
        """Close what the wall clock has passed, silent windows included."""
        if not self._started or now_ns - self._lateness_ns <= self._watermark_ns:
            return []
        self._watermark_ns = now_ns - self._lateness_ns
        return self._close(self._watermark_ns // WINDOW_NS, key_count, step=1, live=True)

    def finish(self, key_count: int) -> list[Slice]:
        """Close everything: the input has ended. The last window may be cut short by the end."""
        if not self._started:
            return []
        slices = self._flush(key_count)
        if self._aside_records:
            self._rebase(key_count)
            slices += self._flush(key_count)
        return slices

    def _flush(self, key_count: int) -> list[Slice]:
        last = max((int(cells[0].max()) for cells in self._cells), default=-1)
        return self._close(last + 1, key_count, step=1)

    def peek(self, key_count: int) -> list[Slice]:
        """The windows that are still open, as they stand; they stay open."""
        if not self._cells:
            return []
        cells = np.concatenate(self._cells, axis=1)
        slices = []
        for block in np.unique(cells[0] // BLOCK).tolist():
            inside = cells[:, cells[0] // BLOCK == block]
            first, end = int(inside[0].min()), int(inside[0].max()) + 1
            slices.append(slice_of(inside, first, end, key_count, 0, live=False))
        return slices

    @property
    def keys(self) -> NDArray[np.int64]:
        """The keys of what is still open, with repetitions."""
        return np.concatenate([np.zeros(0, np.int64), *(cells[1] for cells in (*self._cells, *self._aside))])

    def merge(self, old: int, new: int) -> None:
        """Count what is still open of key `old` as of key `new`."""
        for cells in (*self._cells, *self._aside, self._late):
            cells[1, cells[1] == old] = new
        self._late = _added(self._late, np.zeros((3, 0), np.int64))

    def forget(self, keys: list[int]) -> None:
        """Drop what is still open of these keys: they are gone."""
        if not keys:
            return
        for cells in self._cells:
            gone = np.isin(cells[1], keys)
            self.dropped += int(cells[2, gone].sum())
            cells[2:, gone] = 0
            cells[1, gone] = 0
        for aside in self._aside:
            aside[1, np.isin(aside[1], keys)] = 0
        self._late = self._late[:, ~np.isin(self._late[1], keys)]

    def _step(self) -> int:
        return BLOCK if self.whole_blocks else 1

    def _close(self, until: int, key_count: int, *, step: int, live: bool = False) -> list[Slice]:
        until = until // step * step
        if until <= (self._next if live else self._closed):
            return []
        self._closed = max(until, self._closed)
        cells = np.concatenate(self._cells, axis=1) if self._cells else np.zeros((4, 0), np.int64)
        now = cells[0] < until
        closing, later = cells[:, now], cells[:, ~now]
        self._cells = [later] if later.shape[1] else []
        late, self._late = self._late[:, self._late[0] < until], self._late[:, self._late[0] >= until]
        occupied = np.unique(closing[0]).tolist()
        if self._next < 0:
            if not occupied:
                return []
            self._next = occupied[0]
        slices = []
        for first, end, gap in self._runs(occupied, until, live=live):
            inside = closing[:, (closing[0] >= first) & (closing[0] < end)]
            slices.append(slice_of(inside, first, end, key_count, gap, live=live, late=late))
        return slices

    def _runs(self, occupied: list[int], until: int, *, live: bool) -> list[tuple[int, int, int]]:
        """First window, end and gap of each slice; moves `_next` to where the last one ends.

        A block that has begun is given to its end. Of what follows it, up to BLOCK windows without a record are given
        too, and more are a gap; which it is shows only when the next record is known.
        """
        runs = []
        at = 0
        while self._next < until:
            first, gap = self._next, self._gap
            while at < len(occupied) and occupied[at] < first:
                at += 1
            if first % BLOCK == 0 and not live:
                if at == len(occupied):
                    break
                if occupied[at] - first > BLOCK:
                    gap = gap or occupied[at] - first
                    first = occupied[at]
            self._next = min(until, (first // BLOCK + 1) * BLOCK)
            self._given += self._next - first
            runs.append((first, self._next, gap))
            self._gap = 0
        return runs

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy, open windows included."""
        return {
            "cells": pack_array(np.concatenate([np.zeros((4, 0), np.int64), *self._cells], axis=1)),
            "aside": pack_array(np.concatenate([np.zeros((3, 0), np.int64), *self._aside], axis=1)),
            "late_cells": pack_array(self._late),
            **{name: getattr(self, name) for name in _NUMBERS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        cells, aside = unpack_array(state["cells"], np.int64), unpack_array(state["aside"], np.int64)
        late = unpack_array(state["late_cells"], np.int64)
        if [array.shape[:-1] for array in (cells, aside, late)] != [(4,), (3,), (3,)]:
            raise StateError(f"saved windows: cells have shapes {cells.shape}, {aside.shape} and {late.shape}")
        self._late = late
        self._cells = [cells] if cells.size else []
        self._aside, self._aside_records = ([aside] if aside.size else []), aside.shape[1]
        for name in _NUMBERS:
            setattr(self, name, type(getattr(self, name))(state[name]))


_NUMBERS = ("_started", "_closed", "_next", "_gap", "_watermark_ns", "late", "dropped", "rebased", "_given")


def _added(cells: NDArray[np.int64], more: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[3, c]: windows, keys and records, one column a distinct (window, key)."""
    both = np.concatenate([cells, more], axis=1)
    if not both.shape[1]:
        return both
    distinct, inverse = np.unique(both[:2], axis=1, return_inverse=True)
    records = np.zeros(distinct.shape[1], np.int64)
    np.add.at(records, inverse.ravel(), both[2])
    return np.vstack([distinct, records])
