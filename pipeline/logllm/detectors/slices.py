"""What closes: a run of windows as counts by key, and the compact form records take until then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.events import WINDOW_NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLOCK", "Slice", "cells_of", "slice_of"]

BLOCK = 15
"""Windows in a block: detectors judge each window and learn once a block."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive closed windows of one block.

    Shapes:
        first: index of the first window (start time / window length).
        counts: float64[b, k], records of each key in each window, 1 <= b <= BLOCK.
        severe: float64[b, k], those of severity ERROR or above.
        gap: windows skipped just before `first` in which the whole source was silent; -1 where time went back.
        ends_block: True when the last window is the last of its block.
        live: True when the wall clock closed it: nothing that came later is known yet.
        late: int64[3, c], window, key and records: how many of `counts` belong to windows that had closed before, up
            to LATE_WINDOWS earlier.
    """

    first: int
    counts: NDArray[np.float64]
    severe: NDArray[np.float64]
    gap: int
    ends_block: bool
    live: bool = False
    late: NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 0), np.int64))

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


def slice_of(
    cells: NDArray[np.int64],
    first: int,
    end: int,
    key_count: int,
    gap: int,
    *,
    live: bool,
    late: NDArray[np.int64] | None = None,
) -> Slice:
    """The windows from `first` to before `end` as one slice, of the cells that lie in them, and of any `late` ones."""
    rows = end - first
    flat = (cells[0] - first) * key_count + cells[1]
    counts, severe = (
        np.bincount(flat, weights=values, minlength=rows * key_count).astype(np.float64).reshape(rows, key_count)
        for values in cells[2:]
    )
    late = np.zeros((3, 0), np.int64) if late is None else late[:, (late[0] >= first) & (late[0] < end)]
    return Slice(first, counts, severe, gap, end % BLOCK == 0, live, late)


def cells_of(window: NDArray[np.int64], keys: NDArray[Any], severe: NDArray[Any]) -> NDArray[np.int64]:
    """int64[4, c]: window, key, records, severe records; one column a distinct (window, key)."""
    first = int(window.min())
    span = int(window.max()) - first + 1
    width = int(keys.max()) + 1
    if span * width <= 4 * len(keys) + 65_536:
        flat = (window - first) * width + keys
        counts = np.bincount(flat)
        distinct = np.flatnonzero(counts)
        errors = np.bincount(flat, weights=severe)[distinct] if severe.any() else np.zeros(len(distinct))
        counts = counts[distinct]
    else:
        pairs = np.stack([window, keys])
        both, inverse, counts = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
        errors = np.bincount(inverse.ravel(), weights=severe)
        return np.stack([both[0], both[1], counts, errors.astype(np.int64)])
    return np.stack([first + distinct // width, distinct % width, counts, errors.astype(np.int64)])
