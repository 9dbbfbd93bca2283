"""Sums over several windows, and how far a mean over them is from what is usual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.running import add_up
from logllm.detectors.slices import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["FEWEST", "HISTORY", "SPANS", "STILL", "Departure", "Running", "later", "over", "student"]

SPANS = (1, 5, 15, 45)
"""Levels are judged over so many windows: one sees the large shift, forty-five the small one."""

FEWEST = 10
"""Values that a mean must rest on: of fewer it is far from normal."""

STILL = 5
"""Over more windows than these a level is far off only if these are too."""

_STILL = SPANS.index(STILL)
_LENGTHS = np.array(SPANS)[:, None]

HISTORY = max(SPANS) - 1
"""Windows before the one judged that the longest span reaches back to."""

_DEGREES = 30.0
"""Degrees of freedom of Student's t: windows stray a little further than a normal distribution has it."""


@dataclass(frozen=True, slots=True)
class Departure:
    """How far the levels of a slice are from what is usual; 1.0 where there is nothing to say.

    Shapes:
        up, down: float64[b, k], P(a level this high), P(this low), the smallest of the spans.
        up_span, down_span: int64[b, k], index into SPANS of that smallest.
        up_level, down_level: float64[b, k], the mean level in that span.
    """

    up: NDArray[np.float64]
    down: NDArray[np.float64]
    up_span: NDArray[np.int64]
    down_span: NDArray[np.int64]
    up_level: NDArray[np.float64]
    down_level: NDArray[np.float64]

    @classmethod
    def none(cls, rows: int, columns: int) -> Departure:
        """Nothing to say of so many windows and columns."""
        shape = (rows, columns)
        up, down = np.ones((2, *shape))
        up_span, down_span = np.zeros((2, *shape), np.int64)
        up_level, down_level = np.zeros((2, *shape))
        return cls(up, down, up_span, down_span, up_level, down_level)

    def tell(
        self,
        judged: NDArray[np.int64],
        some: NDArray[np.bool_],
        distances: tuple[NDArray[np.float64], NDArray[np.float64]],
        mean: NDArray[np.float64],
        deviation: NDArray[np.float64],
    ) -> None:
        """Put in what is far off.

        Args:
            distances: How far above what is usual levels are, and how far below.

        Shapes:
            some, mean, deviation, each of distances: [len(SPANS), rows, j]. judged: int64[j], their columns.
        """
        near = 2.5 * deviation
        sides = (
            (distances[0], self.up, self.up_span, self.up_level),
            (distances[1], self.down, self.down_span, self.down_level),
        )
        for distance, best, best_span, best_level in sides:
            far = some & (distance > near)
            if not far.any():
                continue
            # What is over is not told for as long as it is remembered.
            far[_STILL + 1 :] &= distance[_STILL] > 0.5 * distance[_STILL + 1 :]
            for span in np.flatnonzero(far.any(axis=(1, 2))).tolist():
                row, place = far[span].nonzero()
                tail = student(distance[span, row, place] / deviation[span, row, place])
                better = tail < best[row, judged[place]]
                row, place = row[better], place[better]
                at = row, judged[place]
                best[at], best_span[at], best_level[at] = tail[better], span, mean[span, row, place]

    def usual(self, threshold: float) -> bool:
        """Whether nothing is less likely than that."""
        return not ((self.up < threshold).any() or (self.down < threshold).any())


class Running:
    """Sums of some quantities up to each window of the past and of the block that runs; a slice adds its windows.

    The same to the last bit as sums made from scratch: additions come in the same order.
    """

    def __init__(self) -> None:
        self._sums = np.zeros((0, 0, 0))
        self._known = -1

    def reset(self) -> None:
        """The past, or what is already of the block, is not what it was."""
        self._known = -1

    def known(self, windows: int, rows: int, size: int) -> int:
        """How many windows of the block need not be given to `upto` again; the last `rows` of `windows` are new."""
        fits = self._sums.shape[2] == size and len(self._sums) == 1 + HISTORY + max(windows, BLOCK)
        return windows - rows if fits and 0 <= windows - rows <= self._known else 0

    def upto(
        self, past: Callable[[], list[NDArray[np.float64]]], new: list[NDArray[np.float64]], known: int
    ) -> NDArray[np.float64]:
        """float64[HISTORY + b, n, k]: the sums, until the next call.

        Args:
            past: Asked for the windows before the block, where they are needed.
            known: What `known` said.

        Shapes:
            past: float64[HISTORY, k], n of them. new: float64[b - known, k], as many, windows of the block.
        """
        windows, size = known + len(new[0]), new[0].shape[1]
        shape = (1 + HISTORY + max(windows, BLOCK), len(new), size)
        if self._known < 0 or self._sums.shape != shape:
            # The first row is of nothing.
            self._sums = np.empty(shape)
            self._sums[0] = 0.0
            for at, each in enumerate(past()):
                add_up(each, self._sums[1 : 1 + HISTORY, at])
        for at, each in enumerate(new):
            for row, added in enumerate(each, 1 + HISTORY + known):
                np.add(self._sums[row - 1, at], added, out=self._sums[row, at])
        self._known = windows
        return self._sums[1 : 1 + HISTORY + windows]

    def spans(self, windows: int, rows: int) -> NDArray[np.float64]:
        """float64[len(SPANS), rows, n, k]: sums over each span that ends with one of the last rows."""
        end = 1 + HISTORY + windows
        ends = np.arange(end - rows, end)
        found: NDArray[np.float64] = self._sums[ends] - self._sums[ends - _LENGTHS]
        return found


def later(past: NDArray[np.float64], block: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last HISTORY windows of a past and a block after it."""
    found = np.empty_like(past)
    found[: -len(block)], found[-len(block) :] = past[len(block) :], block
    return found


def over(sums: NDArray[np.float64], windows: int, rows: int) -> NDArray[np.float64]:
    """Sums over so many windows that end with each of the last `rows`, from running sums."""
    at = len(sums) - rows
    found = sums[at:].copy()
    first = at - windows
    if first >= 0:
        found -= sums[first : first + rows]
    else:
        found[-first:] -= sums[: rows + first]
    return found


def student(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper tail of Student's t."""
    from scipy.special import stdtr

    tail: NDArray[np.float64] = stdtr(_DEGREES, -distance)
    return tail
