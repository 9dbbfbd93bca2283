"""What is usual of a level: the logarithm of a latency, of a number of distinct values, and how far windows stray.

A window's level is measured from few or many values, so each comes with its sampling variance. What is left of the
spread of windows is their own, and it is learned for sums over each span separately, as `Baseline` does for counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.detectors.running import add_up
from logllm.detectors.values.spans import FEWEST, HISTORY, SPANS, Departure, Running, later, over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["YOUNG", "Usual"]

YOUNG = 30
"""Windows with a measurement that a column must have learned from before it is judged."""

HOURS = 24
_FAST_HALF_LIFE = 120.0
_SLOW_HALF_LIFE = 2880.0
_LATEST_HALF_LIFE = 20.0
_HOUR_WINDOWS = 420.0
_SEASON_WINDOWS = 2880.0

_PRIOR_SPREAD = 0.15**2
"""Variance of a level between windows, in squared logarithms: 15 %, until a column's own is known."""
_PRIOR_WINDOWS = 30.0
_SPREAD_WINDOWS = 1440.0
"""Windows the spread looks back on: while no season is known it is larger than later."""
_LEAST_SPREAD = 0.01**2
_PRIOR_FACTOR = (1.0, 1.5, 2.0, 2.5)
"""How much more a mean over a span varies than that of independent windows would."""
_MOST_FACTOR = 200.0
_FAR = 4.0
"""Levels are learned from as if they were no more deviations than this from what is usual."""
_LEAST_WEIGHT = 1e-30


class Usual:
    """Means, hour-of-day season and spread of `k` levels, each in its own column.

    Once a season is known (two days) what is usual lies between the season of the hour and that season as it was off in
    the last hours; until then it is the mean of the last hours and what the last blocks brought. It does not know why
    a level changed; the caller says which columns must not learn now, and which have found a new normal.

    Shapes:
        high, low: float64[k], the larger and the smaller of the usual levels for the block that runs.
        seen: float64[k], windows with a measurement that a column has learned from.
    """

    def __init__(self) -> None:
        self.size = 0
        self._running = Running()
        for name in _ARRAYS:
            setattr(self, name, np.zeros((*_LEADING.get(name, ()), 0)))

    high: NDArray[np.float64]
    low: NDArray[np.float64]
    seen: NDArray[np.float64]
    spread: NDArray[np.float64]
    _age: NDArray[np.float64]
    _fast: NDArray[np.float64]
    _season: NDArray[np.float64]
    _off: NDArray[np.float64]
    _slow: NDArray[np.float64]
    _latest: NDArray[np.float64]
    _hour: NDArray[np.float64]
    _hour_seen: NDArray[np.float64]
    _factor: NDArray[np.float64]
    _levels: NDArray[np.float64]
    _weights: NDArray[np.float64]
    _counts: NDArray[np.float64]

    def grow(self, size: int) -> None:
        """Make room for columns up to `size` - 1; new ones know nothing."""
        more = size - self.size
        if more > 0:
            for name in _ARRAYS:
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros((*old.shape[:-1], more))], axis=-1))
            self._blank(slice(self.size, size))
            self.size = size

    def _blank(self, columns: Any) -> None:
        self.spread[columns] = _PRIOR_SPREAD
        for span, factor in enumerate(_PRIOR_FACTOR):
            self._factor[span, columns] = factor

    @property
    def middle(self) -> NDArray[np.float64]:
        """float64[k]: the level that is usual for the block that runs."""
        return 0.5 * (self.high + self.low)

    @property
    def ready(self) -> NDArray[np.bool_]:
        """bool[k]: whether enough windows are known."""
        return self.seen >= YOUNG

    def restart(self, start_ns: int) -> None:
        """Nothing is known of the windows before the next one, which begins then."""
        self.expect(start_ns)
        self._running.reset()
        self._levels = np.zeros_like(self._levels)
        self._weights = np.zeros_like(self._weights)
        self._counts = np.zeros_like(self._counts)

    def judge(
        self, level: NDArray[np.float64], variance: NDArray[np.float64], count: NDArray[np.float64], rows: int
    ) -> Departure:
        """How unlikely the levels of the last `rows` windows of the block that runs are. Nothing changes.

        Shapes:
            level: float64[b, k], all of the block so far. variance: float64[b, k], of its sampling; infinite where
                there was none. count: float64[b, k], values it rests on: a span with fewer than FEWEST is not judged,
                the mean of a few is far from normal.
        """
        found = Departure.none(rows, self.size)
        windows = len(level)
        known = self._running.known(windows, rows, self.size)
        weight = self._weight(variance[known:])
        measured = weight > 0
        level = level[known:] * measured
        measured = measured[len(measured) - rows :]
        judged = (self.ready & measured.any(axis=0)).nonzero()[0]
        if not len(judged):
            return found
        self._running.upto(self._past, [weight, level * weight, count[known:]], known)
        sums = self._running.spans(windows, rows)
        total, mean, values = (sums if len(judged) == self.size else sums[..., judged]).transpose(2, 0, 1, 3)
        some = (total > 0) & measured[:, judged] & (values >= FEWEST)
        total = np.where(some, total, 1.0)
        mean = np.where(some, mean / total, self.middle[judged])
        # The mean is itself estimated: from as many windows as the fast one looks back on.
        unsure = self.spread[judged] / np.maximum(np.minimum(self.seen[judged], _FAST_HALF_LIFE), 1.0)
        deviation = np.sqrt(self._factor[:, None, judged] / total + unsure)
        found.tell(judged, some, (mean - self.high[judged], self.low[judged] - mean), mean, deviation)
        return found

    def _past(self) -> list[NDArray[np.float64]]:
        return [self._weights, self._levels * self._weights, self._counts]

    def _weight(self, variance: NDArray[np.float64]) -> NDArray[np.float64]:
        weight: NDArray[np.float64] = 1.0 / (variance + self.spread)
        return weight

    def learn(
        self,
        end_ns: int,
        level: NDArray[np.float64],
        variance: NDArray[np.float64],
        count: NDArray[np.float64],
        quiet: NDArray[np.bool_],
        anew: NDArray[np.bool_],
    ) -> None:
        """Take a finished block in, and set what is usual in the one that follows it.

        Args:
            end_ns: End of the block.

        Shapes:
            level, variance, count: float64[rows, k], as for `judge`.
            quiet: bool[k], False for columns that must not learn.
            anew: bool[k], columns for which this block is the new normal.
        """
        if not self.size:
            return
        rows = len(level)
        weight = self._weight(variance)
        measured = weight > 0
        young = ~self.ready
        middle = self.middle
        off = (level - middle) * measured
        squares = off * off * weight
        row, place = np.divmod(np.flatnonzero((squares > _FAR * _FAR) & ~(young | anew)), self.size)
        if len(row):
            off[row, place] = np.copysign(_FAR / np.sqrt(weight[row, place]), off[row, place])
            squares[row, place] = _FAR * _FAR
        windows = measured.sum(axis=0)
        total = weight.sum(axis=0)
        some = np.maximum(total, 1e-300)
        mean = middle + np.einsum("rk,rk->k", off, weight) / some
        learns = (quiet | anew) & (windows > 0)
        level = level * measured
        sums = self._running.upto(self._past, [weight, level * weight, count], 0)
        if len(row):
            clipped = np.unique(place)
            moved = (off - (level - middle * measured))[:, clipped] * weight[:, clipped]
            add_up(moved, moved)
            sums[-rows:, 1, clipped] += moved
        excess = (squares.sum(axis=0) - windows + self.spread * total) / some
        self._learn_spread(sums, measured, (squares, excess), learns & ~young & ~anew)
        hour = int((end_ns - 1) // 3_600_000_000_000) % HOURS
        self._shift(anew & learns, mean, hour)
        self._levels, self._weights = later(self._levels, level), later(self._weights, weight)
        self._counts = later(self._counts, count)
        self._running.reset()
        count, after = windows, self.seen + windows
        for array, half_life in (
            (self._latest, _LATEST_HALF_LIFE),
            (self._fast, _FAST_HALF_LIFE),
            (self._slow, _SLOW_HALF_LIFE),
        ):
            rate = np.maximum(1.0 - 0.5 ** (count / half_life), count / np.maximum(after, 1.0))
            array += np.where(learns, rate * (mean - array), 0.0)
        rate = 1.0 - 0.5 ** (count / _FAST_HALF_LIFE)
        self._off += np.where(learns & (self.seen > 0), rate * (mean - self._season - self._off), 0.0)
        hour_after = self._hour_seen[hour] + count
        rate = np.maximum(1.0 - (1.0 - 1.0 / _HOUR_WINDOWS) ** count, count / np.maximum(hour_after, 1.0))
        self._hour[hour] += np.where(learns, rate * (mean - self._hour[hour]), 0.0)
        self._hour_seen[hour] += np.where(learns, count, 0)
        self.seen += np.where(learns, count, 0)
        self._age += np.where(self.seen > 0, rows, 0)
        self.expect(end_ns)

    def _learn_spread(
        self,
        sums: NDArray[np.float64],
        measured: NDArray[np.bool_],
        squared: tuple[NDArray[np.float64], NDArray[np.float64]],
        learns: NDArray[np.bool_],
    ) -> None:
        """Take in how far a block's windows are from what is usual.

        Args:
            squared: float64[rows, k], how far, squared and over what was expected of one window; and float64[k], what
                is left of that without sampling, over what was.

        Shapes:
            sums: float64[HISTORY + rows, 3, k], running sums of weights, and of levels times weights.
        """
        rows = len(measured)
        middle = self.middle
        squares, excess = squared
        count = measured.sum(axis=0)
        rate = np.where(learns, count / (_PRIOR_WINDOWS + np.minimum(self.seen, _SPREAD_WINDOWS) + count), 0.0)
        for span, windows in enumerate(SPANS):
            if windows > 1:
                whole, squares = over(sums[:, 0], windows, rows), over(sums[:, 1], windows, rows)
                squares -= middle * whole
                squares *= squares
                squares /= np.maximum(whole, _LEAST_WEIGHT, out=whole)
                squares *= measured
            factor = squares.sum(axis=0) / np.maximum(count, 1)
            updated = self._factor[span] + rate * (np.minimum(factor, _MOST_FACTOR) - self._factor[span])
            self._factor[span] = np.maximum(updated, 1.0)
        self.spread = np.maximum(self.spread + rate * (excess - self.spread), _LEAST_SPREAD)

    def _shift(self, columns: NDArray[np.bool_], level: NDArray[np.float64], hour: int) -> None:
        """These columns have another level from now on; the shape of their day stays."""
        if columns.any():
            usual = np.where(self._hour_seen[hour] > 0, self._hour[hour], self._slow)
            by = np.where(columns, level - usual, 0.0)
            self._hour += np.where(self._hour_seen > 0, by, 0.0)
            for array in (self._fast, self._latest):
                array[columns] = level[columns]
            self._slow += by
            self._season += by
            self._off[columns] = 0.0

    def expect(self, start_ns: int) -> None:
        """Set what is usual in a block that starts now, from the means and the season."""
        hour_exact = start_ns / 3.6e12 - 0.375
        before = int(np.floor(hour_exact)) % HOURS
        part = hour_exact - np.floor(hour_exact)
        season = np.zeros(self.size)
        for hour, share in ((before, 1.0 - part), ((before + 1) % HOURS, part)):
            trust = self._hour_seen[hour] / (self._hour_seen[hour] + 30.0)
            season += share * (trust * self._hour[hour] + (1.0 - trust) * self._slow)
        self._season = season
        known = np.minimum(self._age / _SEASON_WINDOWS, 1.0)
        high, low = np.maximum(self._fast, self._latest), np.minimum(self._fast, self._latest)
        self.high = known * (season + np.maximum(self._off, 0.0)) + (1.0 - known) * high
        self.low = known * (season + np.minimum(self._off, 0.0)) + (1.0 - known) * low

    def merge(self, old: int, new: int) -> None:
        """What is known of column `old` goes to `new`, if that knows less; `old` is forgotten."""
        self._running.reset()
        if self.seen[old] > self.seen[new]:
            for name in _ARRAYS:
                array = getattr(self, name)
                array[..., new] = array[..., old]
        self.forget([old])

    def forget(self, columns: Sequence[int]) -> None:
        """Know nothing of some columns any more."""
        for name in _ARRAYS:
            getattr(self, name)[..., columns] = 0.0
        self._blank(columns)
        self._running.reset()

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in _ARRAYS}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state.get(name, {}), np.float64) for name in _ARRAYS}
        size = arrays["seen"].shape[-1]
        check_shapes("levels", arrays, {name: (*_LEADING.get(name, ()), size) for name in arrays})
        for name, array in arrays.items():
            setattr(self, name, array)
        self.size = size
        self._running.reset()


_ARRAYS = (
    "high", "low", "seen", "spread", "_age", "_fast", "_season", "_off", "_slow", "_latest", "_hour", "_hour_seen",
    "_factor", "_levels", "_weights", "_counts",
)  # fmt: skip
_LEADING = {
    "_hour": (HOURS,),
    "_hour_seen": (HOURS,),
    "_factor": (len(SPANS),),
    "_levels": (HISTORY,),
    "_weights": (HISTORY,),
    "_counts": (HISTORY,),
}
