"""Sums over several windows, and how far a mean over them is from what is usual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FEWEST", "HISTORY", "SPANS", "STILL", "Departure", "over", "student"]

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
