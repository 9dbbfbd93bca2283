"""Counts by event time: records fall into one-minute windows, a watermark closes them, late ones are counted.

Detectors never see a record, only closed windows, and many at once when a file is read faster than it was written:
a `Slice` is a run of consecutive closed windows that lies within one block of `BLOCK` windows. Blocks are aligned to
the clock, so what a detector learns, and when, does not depend on how the input was cut into chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.baseline import pack_array, unpack_array
from logllm.events import WINDOW_NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLOCK", "Slice", "Windows"]

BLOCK = 15
"""Windows in a block: detectors judge each window and learn once a block."""

LATE_WINDOWS = 15
"""A record this many windows behind is still counted, in the oldest open window; older ones are not."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive closed windows of one block.

    Shapes:
        first: index of the first window (start time / window length).
        counts: float64[b, k], records of each key in each window, 1 <= b <= BLOCK.
        severe: float64[b, k], those of severity ERROR or above.
        gap: windows skipped just before `first` in which the whole source was silent.
        ends_block: True when the last window is the last of its block.
        live: True when the wall clock closed it: nothing that came later is known yet.
    """

    first: int
    counts: NDArray[np.float64]
    severe: NDArray[np.float64]
    gap: int
    ends_block: bool
    live: bool = False

    @property
    def start_ns(self) -> int:
        """Start of the first window."""
        return self.first * WINDOW_NS

    @property
    def end_ns(self) -> int:
        """End of the last window."""
        return (self.first + len(self.counts)) * WINDOW_NS

    def __len__(self) -> int:
        return len(self.counts)


class Windows:
    """Collects (time, key) pairs and gives closed windows in order of time.

    A window closes when the watermark, the largest event time seen less `lateness_ns`, passes its end, or when
    `advance` is told the wall clock has. Time that jumps back by more than LATE_WINDOWS for most of a chunk (files
    concatenated, a clock set right) starts the windows anew there instead of calling all that follows late.

    Args:
        lateness_ns: How long an out-of-order record may be on its way. Fluent Bit's workers send the chunks of one
            file over several connections, so arrival order is not time order.
    """

    def __init__(self, *, lateness_ns: int = 5_000_000_000) -> None:
        self._lateness_ns = lateness_ns
        self._next = -1
        self._watermark_ns = 0
        self._cells: list[NDArray[np.int64]] = []
        self.late = 0
        self.dropped = 0
        self.rebased = 0

    @property
    def watermark_ns(self) -> int:
        """Event time up to which everything is closed or about to be; 0 before the first record."""
        return self._watermark_ns

    def add(
        self, time_ns: NDArray[np.int64], keys: NDArray[np.int32], severe: NDArray[np.bool_], key_count: int
    ) -> list[Slice]:
        """Count one chunk's records; returns the windows that closed.

        Shapes:
            time_ns: int64[n]. keys: int32[n] < key_count. severe: bool[n].
        """
        if not len(time_ns):
            return []
        window = time_ns // WINDOW_NS
        if self._next < 0:
            self._next = int(window.min())
        behind = window < self._next
        if behind.any():
            window = self._place_late(window, behind)
        keep = window >= 0
        if not keep.all():
            window, keys, severe = window[keep], keys[keep], severe[keep]
        self._cells.append(_cells(window, keys, severe))
        self._watermark_ns = max(self._watermark_ns, int(time_ns.max()) - self._lateness_ns)
        return self._close(self._watermark_ns // WINDOW_NS, key_count, live=False)

    def _place_late(self, window: NDArray[np.int64], behind: NDArray[np.bool_]) -> NDArray[np.int64]:
        far = window < self._next - LATE_WINDOWS
        if int(far.sum()) * 2 > len(window):
            self.rebased += 1
            self._next = int(window.min())
            self._cells.clear()
            self._watermark_ns = 0
            return window
        self.late += int(behind.sum())
        self.dropped += int(far.sum())
        window = np.where(behind, self._next, window)
        window[far] = -1
        return window

    def advance(self, now_ns: int, key_count: int) -> list[Slice]:
        """Close what the wall clock has passed, silent windows included."""
        if self._next < 0 or now_ns - self._lateness_ns <= self._watermark_ns:
            return []
        self._watermark_ns = now_ns - self._lateness_ns
        return self._close(self._watermark_ns // WINDOW_NS, key_count, live=True)

    def finish(self, key_count: int) -> list[Slice]:
        """Close everything: the input has ended. The last window may be cut short by the end."""
        if self._next < 0 or not self._cells:
            return []
        last = max(int(cells[0].max()) for cells in self._cells)
        return self._close(last + 1, key_count, live=False)

    def _close(self, until: int, key_count: int, *, live: bool) -> list[Slice]:
        if until <= self._next:
            return []
        cells = np.concatenate(self._cells, axis=1) if self._cells else np.zeros((4, 0), np.int64)
        now = cells[0] < until
        closing, later = cells[:, now], cells[:, ~now]
        self._cells = [later] if later.shape[1] else []
        slices = []
        first = self._next
        occupied = np.unique(closing[0]) if closing.shape[1] else np.zeros(0, np.int64)
        gap = 0
        while first < until:
            at = int(np.searchsorted(occupied, first))
            nearest = int(occupied[at]) if at < len(occupied) else until
            if not live and nearest - first > BLOCK:
                gap += nearest - first
                first = nearest
                continue
            end = min(until, (first // BLOCK + 1) * BLOCK)
            inside = (closing[0] >= first) & (closing[0] < end)
            slices.append(self._slice(closing[:, inside], first, end, key_count, gap, live))
            first, gap = end, 0
        self._next = until
        return slices

    @staticmethod
    def _slice(cells: NDArray[np.int64], first: int, end: int, key_count: int, gap: int, live: bool) -> Slice:
        rows = end - first
        flat = (cells[0] - first) * key_count + cells[1]
        size = rows * key_count
        counts = np.bincount(flat, weights=cells[2], minlength=size).reshape(rows, key_count)
        severe = np.bincount(flat, weights=cells[3], minlength=size).reshape(rows, key_count)
        return Slice(first, counts.astype(np.float64), severe.astype(np.float64), gap, end % BLOCK == 0, live)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy, open windows included."""
        cells = np.concatenate(self._cells, axis=1) if self._cells else np.zeros((4, 0), np.int64)
        return {
            "next": self._next,
            "watermark_ns": self._watermark_ns,
            "cells": pack_array(cells),
            "late": self.late,
            "dropped": self.dropped,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back."""
        self._next = int(state["next"])
        self._watermark_ns = int(state["watermark_ns"])
        cells = unpack_array(state["cells"], np.int64)
        self._cells = [cells] if cells.size else []
        self.late, self.dropped = int(state["late"]), int(state["dropped"])


def _cells(window: NDArray[np.int64], keys: NDArray[np.int32], severe: NDArray[np.bool_]) -> NDArray[np.int64]:
    """int64[4, c]: window, key, records, severe records; one column a distinct (window, key)."""
    first = window.min() if len(window) else 0
    span = int(window.max() - first) + 1 if len(window) else 0
    width = int(keys.max()) + 1 if len(keys) else 0
    flat = (window - first) * width + keys
    if span * width <= 4 * len(keys) + 65_536:
        counts = np.bincount(flat, minlength=span * width)
        distinct = np.flatnonzero(counts)
        errors = np.bincount(flat, weights=severe, minlength=span * width)[distinct]
        counts = counts[distinct]
    else:
        distinct, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
        errors = np.bincount(inverse, weights=severe)
    return np.stack([first + distinct // max(width, 1), distinct % max(width, 1), counts, errors.astype(np.int64)])
