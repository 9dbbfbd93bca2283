"""Sums over several windows, and how far a mean over them is from what is usual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.slices import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEWEST", "HISTORY", "SPANS", "STILL", "Departure", "Running", "over", "student"]

SPANS = (1, 5, 15, 45)
"""Levels are judged over so many windows: one sees the large shift, forty-five the small one."""

FEWEST = 10
"""Values that a mean must rest on: of fewer it is far from normal."""

STILL = 5
"""Over more windows than these a level is far off only if these are too."""

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

    def upto(self, past: list[NDArray[np.float64]], block: list[NDArray[np.float64]], rows: int) -> NDArray[np.float64]:
        """float64[HISTORY + b, n, k]: the sums, until the next call; the last `rows` of the block's windows are new.

        Shapes:
            past: float64[HISTORY, k], n of them. block: float64[b, k], as many.
        """
        windows, size = block[0].shape
        known = windows - rows
        shape = (HISTORY + max(windows, BLOCK), len(block), size)
        if self._sums.shape != shape or known > self._known:
            self._sums, known = np.empty(shape), 0
            np.cumsum(np.stack(past, axis=1), axis=0, out=self._sums[:HISTORY])
        new = np.stack([each[known:] for each in block], axis=1)
        for row, added in enumerate(new, HISTORY + known):
            np.add(self._sums[row - 1], added, out=self._sums[row])
        self._known = windows
        return self._sums[: HISTORY + windows]


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
