"""What a count usually is: its mean at that hour, and how far sums over some windows stray from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.detectors.running import running_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["REACH", "SPANS", "Usual"]

SPANS = (1, 5, 15)
"""Windows in a sum: what is wild for a moment, and what is a little off for long."""

REACH = max(SPANS) - 1
"""Windows before one that the longest sum reaches back to."""

YOUNG = 60
"""Windows a count must have been learned from."""

_HOURS = 24
_HOUR_NS = 3_600_000_000_000
_FAST, _SLOW, _HOUR = (1.0 - 0.5 ** (1.0 / half_life) for half_life in (120.0, 2880.0, 300.0))
_SEASON_WINDOWS = 2880.0
_TRUST_WINDOWS = 30.0
_PRIOR_PHI, _PRIOR_SQUARES, _PRIOR_WINDOWS = 0.3, 0.05, 60.0
_LEAST_PHI, _MOST_PHI = 0.02, 50.0
_WILD = 4.0
_STEP = 1.5
"""Means of neighbouring hours that differ by this factor are a step."""


class Usual:
    """Means by hour of day, and dispersions (variance `m + phi * m * m`) of sums over each of SPANS, of `size` counts.

    For vectors, where the likeliest value is wanted; `Baseline` keeps bounds for tests of single counts. The mean is
    half the season and half the last hours; before two days are known, the last hours. It stays as it is within a
    block. Where the day has a step, anything between its two sides is usual for an hour before and after: we count by
    UTC, and clocks that people live by are changed twice a year. Seasons of a week are not known.

    Shapes:
        mean: float64[size], records expected in a window. seen: float64[size], windows learned from.
        least, most: float64[size], `mean`, and where a step is near the hours around it.
        phi: float64[len(SPANS), size].
    """

    def __init__(self, size: int) -> None:
        self.mean, self.seen = np.zeros(size), np.zeros(size)
        self.least, self.most = np.zeros(size), np.zeros(size)
        self.fast, self.slow = np.zeros(size), np.zeros(size)
        self.hour, self.hour_seen = np.zeros((_HOURS, size)), np.zeros((_HOURS, size))
        self.excess, self.squares = np.zeros((len(SPANS), size)), np.zeros((len(SPANS), size))
        self._scale: tuple[NDArray[np.float64], ...] | None = None

    @property
    def phi(self) -> NDArray[np.float64]:
        """float64[len(SPANS), size], drawn to a prior where it rests on little."""
        weight = _PRIOR_SQUARES + self.squares * _PRIOR_WINDOWS / np.maximum(self.seen, 1.0)
        found = (self.excess + weight * _PRIOR_PHI) / (self.squares + weight)
        phi: NDArray[np.float64] = np.clip(found, _LEAST_PHI, _MOST_PHI)
        return phi

    def off(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Deviations of sums over SPANS windows; 0.0 for counts that are too young.

        Shapes:
            sums, returns: float64[len(SPANS), rows, n], of the first n counts.
        """
        if self._scale is None:
            least, most = (np.array(SPANS)[:, None] * mean for mean in (self.least, self.most))
            phi = self.phi
            spreads = (np.maximum(np.sqrt(mean + phi * mean * mean), 0.5) for mean in (least, most))
            self._scale = least, most, *spreads
        least, most, low, high = (each[:, None, : sums.shape[2]] for each in self._scale)
        off = np.maximum((sums - most) / high, 0.0) + np.minimum((sums - least) / low, 0.0)
        return np.where(self.seen[: sums.shape[2]] >= YOUNG, off, 0.0)

    def learn(self, end_ns: int, history: NDArray[np.float64], quiet: NDArray[np.bool_], known: int) -> None:
        """Take a block in.

        Args:
            end_ns: End of the block.
            known: Windows before the block that were seen, REACH at most.

        Shapes:
            history: float64[REACH + rows, size]. quiet: bool[size], False for what is no example.
        """
        rows = len(history) - REACH
        most = self.most + _WILD * np.sqrt(self.most + self.phi[0] * self.most * self.most) + 3.0
        clipped = np.where(self.seen >= YOUNG, np.minimum(history, most), history)
        # Near a step it is not known which of its sides this is.
        self._learn_dispersion(clipped, rows, quiet & (self.seen >= YOUNG) & (self.least == self.most), known)
        value = clipped[-rows:].mean(axis=0)
        self.seen += np.where(quiet, rows, 0)
        hour = (end_ns - 1) // _HOUR_NS % _HOURS
        self.hour_seen[hour] += np.where(quiet, rows, 0)
        for array, seen, slowest in (
            (self.fast, self.seen, _FAST),
            (self.slow, self.seen, _SLOW),
            (self.hour[hour], self.hour_seen[hour], _HOUR),
        ):
            rate = np.maximum(1.0 - (1.0 - slowest) ** rows, rows / np.maximum(seen, rows))
            array += np.where(quiet, rate * (value - array), 0.0)
        self.expect(end_ns)

    def _learn_dispersion(self, clipped: NDArray[np.float64], rows: int, ready: NDArray[np.bool_], known: int) -> None:
        rate = np.where(ready, np.maximum(1.0 - (1.0 - _SLOW) ** rows, rows / (self.seen + rows)), 0.0)
        sums = running_sums(clipped)
        for span, windows in enumerate(SPANS):
            whole = (sums[REACH + 1 :] - sums[REACH + 1 - windows : -windows])[max(0, windows - 1 - known) :]
            if len(whole):
                mean = windows * self.mean
                excess = ((whole - mean) ** 2).mean(axis=0) - mean
                self.excess[span] += rate * (excess - self.excess[span])
                self.squares[span] += rate * (mean * mean - self.squares[span])

    def expect(self, start_ns: int) -> None:
        """Set the means for a block that starts now."""
        exact = (start_ns + _HOUR_NS // 8) / _HOUR_NS - 0.5
        before = int(np.floor(exact))
        later = exact - before
        trust = self.hour_seen / (self.hour_seen + _TRUST_WINDOWS)
        hours = (np.arange(before - 1, before + 3)) % _HOURS
        around = trust[hours] * self.hour[hours] + (1.0 - trust[hours]) * self.slow
        season = (1.0 - later) * around[1] + later * around[2]
        self._scale = None
        known = 0.5 * np.minimum(self.seen / _SEASON_WINDOWS, 1.0)
        self.mean = known * season + (1.0 - known) * self.fast
        step = (np.maximum(around[1:], around[:-1]) > _STEP * np.minimum(around[1:], around[:-1])).any(axis=0)
        step &= known > 0.0
        self.least = np.where(step, np.minimum(self.mean, around.min(axis=0)), self.mean)
        self.most = np.where(step, np.maximum(self.mean, around.max(axis=0)), self.mean)

    def clear(self, columns: NDArray[np.bool_]) -> None:
        """Know nothing of some counts any more. Shapes: columns: bool[size]."""
        self._scale = None
        for name in _ARRAYS:
            getattr(self, name)[..., columns] = 0.0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in _ARRAYS}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state.get(name, {}), np.float64) for name in _ARRAYS}
        check_shapes("odd windows", arrays, {name: getattr(self, name).shape for name in arrays})
        for name, array in arrays.items():
            setattr(self, name, array)
        self._scale = None


_ARRAYS = ("mean", "least", "most", "seen", "fast", "slow", "hour", "hour_seen", "excess", "squares")
