"""How a series' values are spread about its usual level, and how many of them lie far out.

A histogram that forgets holds how far values were from the level of their window. From it come the bounds that a mean
is winsorised at, and the threshold beyond which one value in fifty lies; how many do is a count, over-dispersed as all
counts of log records are. A generalised Pareto tail for single values was tried and is not here: see
`docs/decisions/0020-values.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.dispersion import negative_binomial_tail
from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.detectors.running import add_up
from logllm.detectors.values.spans import HISTORY, SPANS, STILL, Running, later, over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["ENOUGH", "REACH", "Tail"]

ENOUGH = 200
"""Values that a series must have learned from before anything is said of it."""

REACH = 240
"""Bins on either side of the usual level: a factor of 2**30."""

_TAIL = 0.98
_WIDER, _OCTAVE = 3.0, 8.0
"""Values are winsorised at three times the distance of percentiles 1 and 99 and an octave: one freak moves no mean, and
a level that is four times as high is still seen to be."""
_HALF_LIFE = 2880.0
_PRIOR_PHI = (0.5, 0.5, 0.5, 0.5)
_PRIOR_SQUARES = 5.0
_LEAST_PHI, _MOST_PHI = 0.02, 50.0
_YOUNG = 20.0
_LEAST_LIMIT = 3.0
"""So many values beyond the threshold are learned from as they are, more up to six deviations of Poisson counts."""
_BYTE = 255
"""So many ones add up to a byte, and bytes are added several at a time."""
_FEW_OF = 4
"""Histograms of fewer than one in four series are copied to be added up; of more all are."""
_FEWEST = 3
"""Values beyond the threshold of which something is said."""


class Tail:
    """Histograms of `k` series and what follows from them.

    Shapes:
        values: float64[k], how many values a series has learned from, old ones less.
        low, middle, high: float64[k], distances from the usual level, in bins: percentiles 1, 50 and 99.
        threshold: int64[k], the distance beyond which 2 % of the values lie, about.
        variance: float64[k], of the winsorised values of one window, in bins squared.
    """

    def __init__(self) -> None:
        self.size = 0
        self._running = Running()
        for name, dtype in _ARRAYS.items():
            setattr(self, name, np.zeros((*_LEADING.get(name, ()), 0), dtype))
        self._used = REACH, REACH + 1

    values: NDArray[np.float64]
    low: NDArray[np.float64]
    middle: NDArray[np.float64]
    high: NDArray[np.float64]
    threshold: NDArray[np.int64]
    variance: NDArray[np.float64]
    _histogram: NDArray[np.float32]
    _share: NDArray[np.float64]
    _excess: NDArray[np.float64]
    _squares: NDArray[np.float64]
    _windows: NDArray[np.float64]
    _past_beyond: NDArray[np.float64]
    _past_count: NDArray[np.float64]

    def grow(self, size: int) -> None:
        """Make room for series up to `size` - 1."""
        more = size - self.size
        if more > 0:
            for name, dtype in _ARRAYS.items():
                new = np.zeros((*_LEADING.get(name, ()), more), dtype)
                setattr(self, name, np.concatenate([getattr(self, name), new], axis=-1))
            self._blank(slice(self.size, size))
            self.size = size

    def _blank(self, series: Any) -> None:
        self.low[series], self.high[series] = -REACH, REACH
        self.threshold[series] = REACH

    @property
    def ready(self) -> NDArray[np.bool_]:
        """bool[k]: whether enough is known."""
        return self.values >= ENOUGH

    @property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """float64[k] each: how far below and above the usual level a value counts, as it is, in a mean."""
        below, above = self.middle - self.low, self.high - self.middle
        return self.middle - _WIDER * below - _OCTAVE, self.middle + _WIDER * above + _OCTAVE

    def restart(self) -> None:
        """Nothing is known of the windows before the next one."""
        self._running.reset()
        self._past_beyond = np.zeros_like(self._past_beyond)
        self._past_count = np.zeros_like(self._past_count)

    def _past(self) -> list[NDArray[np.float64]]:
        return [self._past_beyond, self._past_count]

    def _phi(self, span: int) -> NDArray[np.float64]:
        weight = _PRIOR_SQUARES
        phi = (self._excess[span] + weight * _PRIOR_PHI[span]) / (self._squares[span] + weight)
        return np.asarray(np.minimum(np.maximum(phi, _LEAST_PHI), _MOST_PHI), np.float64)

    def judge(
        self, beyond: NDArray[np.float64], count: NDArray[np.float64], rows: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """P(so many values beyond the threshold), the smallest of the spans, and its index; 1.0 where all is usual.

        Shapes:
            beyond, count: float64[b, k], values beyond the threshold and all, in the windows of the block so far.
            returns: float64[rows, k], int64[rows, k], of the last `rows` windows.
        """
        tail, best = np.ones((rows, self.size)), np.zeros((rows, self.size), np.int64)
        ready = self.ready
        if not ready.any():
            return tail, best
        known = self._running.known(len(count), rows, self.size)
        sums = self._running.upto(self._past, [beyond[known:], count[known:]], known)
        # What is beyond the threshold over the longest span is no less than over the others.
        some = (ready & (over(sums[:, 0], SPANS[-1], rows) >= _FEWEST).any(axis=0)).nonzero()[0]
        if not len(some):
            return tail, best
        sums = sums[:, :, some]
        still, share = np.ones((rows, len(some)), np.bool_), self._share[some]
        for span, windows in enumerate(SPANS):
            found, total = over(sums, windows, rows).transpose(1, 0, 2)
            mean = share * total
            enough = (found >= _FEWEST) & (found > mean) & (mean > 0) & still
            if windows == STILL:
                still = found > 2.0 * mean
            if not enough.any():
                continue
            phi = self._phi(span)[some]
            row, place = (enough & (found > mean + 3.0 * np.sqrt(mean + phi * mean * mean))).nonzero()
            if len(row):
                series = some[place]
                unsure = phi[place] + 1.0 / np.maximum(self._share[series] * self.values[series], 1.0)
                here = negative_binomial_tail(found[row, place], mean[row, place], unsure)
                better = here < tail[row, series]
                tail[row[better], series[better]] = here[better]
                best[row[better], series[better]] = span
        return tail, best

    def learn_windows(
        self,
        beyond: NDArray[np.float64],
        count: NDArray[np.float64],
        variance: tuple[NDArray[np.float64], NDArray[np.float64]],
        quiet: NDArray[np.bool_],
    ) -> None:
        """Take a block's windows in.

        Args:
            variance: float64[k] squared deviations from the windows' means, and float64[k] their degrees of freedom.

        Shapes:
            beyond, count: float64[rows, k]. quiet: bool[k], series that may learn.
        """
        rows = len(beyond)
        windows = (count > 0).sum(axis=0)
        rate = windows / (np.minimum(self._windows, _HALF_LIFE) + windows + 1.0)
        sums = self._running.upto(self._past, [beyond, count], 0)
        measured = count > 0
        scale = np.maximum(windows, 1)
        learns = quiet & self.ready & (windows > 0)
        kept = np.where(learns, 0.5 ** (windows / _HALF_LIFE), 1.0)
        gained = np.where(learns, windows / scale, 0.0)
        for span, each in enumerate(SPANS):
            found, total = over(sums[:, 0], each, rows), over(sums[:, 1], each, rows)
            mean = total
            mean *= self._share
            mean *= measured
            row, place = np.divmod(np.flatnonzero(found > _LEAST_LIMIT), self.size)
            if len(row):
                here = mean[row, place]
                found[row, place] = np.minimum(
                    found[row, place], here + 6.0 * np.sqrt(here + here * here) + _LEAST_LIMIT
                )
            found *= measured
            found -= mean
            squares = np.einsum("rk,rk->k", mean, mean)
            excess = np.einsum("rk,rk->k", found, found) - mean.sum(axis=0)
            # Sums, not means: what little is known must not outweigh the prior.
            for array, new in ((self._excess[span], excess), (self._squares[span], squares)):
                array *= kept
                array += gained * new
        squared, freedom = variance
        learns = quiet & (freedom > 0)
        found_variance = np.where(freedom > 0, squared / np.maximum(freedom, 1.0), 0.0)
        self.variance += np.where(learns, np.maximum(rate, 0.01) * (found_variance - self.variance), 0.0)
        first = learns & (self._windows < _YOUNG)
        self.variance = np.where(first, np.maximum(self.variance, found_variance), self.variance)
        self._windows += np.where(quiet, windows, 0)
        self._past_beyond = later(self._past_beyond, beyond)
        self._past_count = later(self._past_count, count)
        self._running.reset()

    def learn_values(
        self,
        series: NDArray[np.int64],
        distance: NDArray[np.int64],
        count: NDArray[np.int64],
        keep: NDArray[np.float64],
    ) -> None:
        """Put values into the histograms and find anew what follows from them.

        Shapes:
            series, distance, count: int64[c]. keep: float64[k], what is left of a histogram; 1.0 where nothing is new.
        """
        if not len(series):
            return
        touched = np.flatnonzero(np.bincount(series))
        place = np.clip(distance, -REACH, REACH) + REACH
        # Values lie within some octaves: what is empty for all is not gone through.
        first, end = min(self._used[0], int(place.min())), max(self._used[1], int(place.max()) + 1)
        self._used = first, end
        here = np.ones(self.size, np.float32)
        here[touched] = keep[touched]
        self._histogram[first:end] *= here
        np.add.at(self._histogram.reshape(-1), place * self.size + series, count.astype(np.float32))
        histogram = self._histogram[first:end]
        if _FEW_OF * len(touched) < self.size:
            histogram, mine = histogram[:, touched], np.arange(len(touched))
        else:
            mine = touched
        sums = histogram.astype(np.float64)
        add_up(sums, sums)
        total = sums[-1]
        self.values[touched] = total[mine]
        for name, share in (("low", 0.01), ("middle", 0.5), ("high", 0.99)):
            getattr(self, name)[touched] = _quantile(sums, share, first - REACH)[mine]
        threshold = _below(sums, _TAIL * total)[mine]
        self.threshold[touched] = threshold + (first - REACH)
        self._share[touched] = (total[mine] - sums[threshold, mine] + 0.5) / (total[mine] + 1.0)

    def merge(self, old: int, new: int) -> None:
        """What is known of series `old` goes to `new`, if that knows less; `old` is forgotten."""
        self._running.reset()
        if self.values[old] > self.values[new]:
            for name in _ARRAYS:
                array = getattr(self, name)
                array[..., new] = array[..., old]
        self.forget([old])

    def forget(self, series: Sequence[int]) -> None:
        """Know nothing of some series any more."""
        self._running.reset()
        for name in _ARRAYS:
            getattr(self, name)[..., series] = 0
        self._blank(series)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return {name: pack_array(array.T if name == "_histogram" else array) for name, array in arrays.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state.get(name, {}), dtype) for name, dtype in _ARRAYS.items()}
        arrays["_histogram"] = np.ascontiguousarray(arrays["_histogram"].T)
        size = arrays["values"].shape[-1]
        check_shapes("tails", arrays, {name: (*_LEADING.get(name, ()), size) for name in arrays})
        for name, array in arrays.items():
            setattr(self, name, array)
        self._running.reset()
        used = np.flatnonzero(self._histogram.any(axis=1))
        self._used = (int(used[0]), int(used[-1]) + 1) if len(used) else (REACH, REACH + 1)
        self.size = size


def _quantile(sums: NDArray[np.float64], share: float, first: int) -> NDArray[np.float64]:
    """Places in running sums of histograms, within a bin by how much of it is needed; the first bin's is `first`."""
    wanted = share * sums[-1]
    at = _below(sums, wanted)
    columns = np.arange(sums.shape[1])
    before = np.where(at > 0, sums[at - 1, columns], 0.0)
    inside = (wanted - before) / np.maximum(sums[at, columns] - before, 1e-9)
    return np.asarray((at + first) - 0.5 + inside, np.float64)


def _below(sums: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64[k]: how many running sums of each column are less than what is wanted."""
    less = (sums < wanted).view(np.uint8)
    found = np.zeros(sums.shape[1], np.int64)
    for start in range(0, len(less), _BYTE):
        found += np.add.reduce(less[start : start + _BYTE], axis=0, dtype=np.uint8)
    return found


_ARRAYS: dict[str, Any] = {
    "values": np.float64,
    "low": np.float64,
    "middle": np.float64,
    "high": np.float64,
    "threshold": np.int64,
    "variance": np.float64,
    "_histogram": np.float32,
    "_share": np.float64,
    "_excess": np.float64,
    "_squares": np.float64,
    "_windows": np.float64,
    "_past_beyond": np.float64,
    "_past_count": np.float64,
}
_LEADING: dict[str, tuple[int, ...]] = {
    "_excess": (len(SPANS),),
    "_squares": (len(SPANS),),
    "_past_beyond": (HISTORY,),
    "_past_count": (HISTORY,),
    "_histogram": (2 * REACH + 1,),
}
