"""River's Page-Hinkley test for each of a number of series, in a form that can be saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DriftTests"]

WARM_ROWS = 192
"""Residuals before the present one that a new test is shown: two days of blocks."""

MOST_FED = 192
_LEAST_FED = 96

_LEAST_RESIDUALS = 24
_SLACK, _THRESHOLD = 0.25, 10.0
"""In standard deviations. On white noise: a false trigger in 1,100 residuals; a shift of 1 is found after 12, one of
2 after 5. River's own defaults are for values in 0..1."""


class DriftTests:
    """Adds residuals up until they point at another mean (Page, Continuous inspection schemes, Biometrika 41, 1954).

    A test is made when its series has its first residual, and shown those of the rows kept before it; it can be
    dropped at any time and is then made anew. So the rows kept and how many of them were fed are all its state: river's
    tests hold sums that cannot be taken out of them. Each is dropped after a day or two of rows, not all at once.
    At least MOST_FED + WARM_ROWS rows must be kept.

    A trigger is no proof: it is wrong about once in twelve days for each series. ADWIN needs half as long again or
    more and has fewer false triggers, KSWIN costs 400 times as much. About 1.5 us a residual; the import of river
    takes 0.5 s (67 MB) and happens with the first one.

    Shapes:
        fed: int64[size], rows fed since the test was made; 0 where there is none.
    """

    def __init__(self, size: int) -> None:
        self.fed = np.zeros(size, np.int64)
        self._tests: list[Any] = [None] * size
        self._most_fed = _LEAST_FED + np.arange(size) % (MOST_FED - _LEAST_FED)

    def feed(self, off: NDArray[np.float32]) -> NDArray[np.int64]:
        """Take the last row in; returns the columns whose test points at a change.

        Shapes:
            off: float32[r, size], the residuals kept, NaN where not known.
        """
        self.fed[self.fed > 0] += 1
        for column in np.flatnonzero(self.fed > self._most_fed).tolist():
            self.drop(column)
        triggered = []
        for column in np.flatnonzero(~np.isnan(off[-1])).tolist():
            test = self._tests[column]
            if test is None:
                self.fed[column] = 1
                test = self._make(column, off)
            else:
                test.update(float(off[-1, column]))
            if test.drift_detected:
                triggered.append(column)
        return np.array(triggered, np.int64)

    def _make(self, column: int, off: NDArray[np.float32]) -> Any:
        from river.drift import PageHinkley

        test: Any = PageHinkley(min_instances=_LEAST_RESIDUALS, delta=_SLACK, threshold=_THRESHOLD, alpha=1.0)
        residuals = off[max(0, len(off) - int(self.fed[column]) - WARM_ROWS) :, column]
        for residual in residuals[~np.isnan(residuals)].tolist():
            test.update(residual)
        self._tests[column] = test
        return test

    def drop(self, column: int | None = None) -> None:
        """Forget a series' test, or all."""
        for each in range(len(self._tests)) if column is None else (column,):
            self._tests[each] = None
            self.fed[each] = 0

    def restore(self, fed: NDArray[np.int64], off: NDArray[np.float32]) -> None:
        """Make the tests again by the steps they were made by. Raises StateError where `fed` does not fit."""
        if fed.shape != self.fed.shape or (fed < 0).any() or fed[off.shape[1] :].any():
            raise StateError(f"saved drift tests: {fed.shape} series, expected {self.fed.shape}")
        self.drop()
        self.fed = fed
        for column in np.flatnonzero(fed).tolist():
            self._make(column, off)
