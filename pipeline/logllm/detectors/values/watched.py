"""What is known of each series of numbers, and what a block's windows teach about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.detectors.values.block import Measured
from logllm.detectors.values.cells import BIN_WIDTH, BINS, ZERO, places
from logllm.detectors.values.series import Series
from logllm.detectors.values.tail import Tail
from logllm.detectors.values.usual import Usual
from logllm.errors import StateError
from logllm.events import WINDOW_NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["REBASE_BLOCKS", "Watched"]

REBASE_BLOCKS = 8
"""After two hours of the same it is the new normal."""

_EVICTED = 0.1
_HALF_LIFE = 2880.0
_LEAST_VARIANCE = 1.0 / 12.0
"""Of values within one bin, in bins squared."""


class Watched:
    """The series, their usual level and how their values are spread about it; levels are in bins here.

    Args:
        most: Series there is room for; the least used go.
    """

    def __init__(self, most: int) -> None:
        self.series = Series(most)
        self.usual = Usual()
        self.tail = Tail()
        self.size = 0
        self._refused_before = 0
        for name, (dtype, blank) in _ARRAYS.items():
            setattr(self, name, np.full(0, blank, dtype))

    _odd_blocks: NDArray[np.int64]
    _floor: NDArray[np.int64]
    _used: NDArray[np.float64]

    @property
    def ready(self) -> NDArray[np.bool_]:
        """bool[k]: series of which enough is known."""
        return self.tail.ready & self.usual.ready

    @property
    def middle(self) -> NDArray[np.float64]:
        """float64[k]: the usual level, in bins."""
        return self.usual.middle / BIN_WIDTH

    def grow(self) -> None:
        """Make room for all series there are."""
        more = self.series.count - self.size
        if more > 0:
            self.size = self.series.count
            self.usual.grow(self.size)
            self.tail.grow(self.size)
            for name, (dtype, blank) in _ARRAYS.items():
                setattr(self, name, np.concatenate([getattr(self, name), np.full(more, blank, dtype)]))

    def measure(self, cells: NDArray[np.int64], first: int, rows: int) -> Measured:
        """What is judged of the values in `rows` windows from `first` on."""
        window, series, bins, count = cells
        if not len(window):
            return Measured.blank(rows, self.size)
        size = rows * self.size
        flat = (window - first) * self.size + series

        def total(weights: NDArray[Any]) -> NDArray[np.float64]:
            sums: NDArray[np.float64] = np.bincount(flat, weights, size).astype(np.float64).reshape(rows, self.size)
            return sums

        place, middle, known = places(bins, self._floor[series]), self.middle[series], self.ready[series]
        low, high = self.tail.bounds
        bounded = np.minimum(np.maximum(place, middle + low[series]), middle + high[series])
        bounded = np.where(known, bounded, place)
        counts = total(count)
        level = total(count * bounded) / np.maximum(counts, 1.0)
        squared = total(count * (bounded - level.ravel()[flat]) ** 2)
        distance = place - self._anchor(level, self.variance(counts)).ravel()[flat]
        beyond = total(np.where(known & (distance > self.tail.threshold[series]), count, 0))
        return Measured(level, squared, counts, beyond)

    def _anchor(self, level: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the values of a window are taken to lie, in whole bins: between the usual level and their own.

        What lies far out is judged from there, so that a level that moved is not told twice.
        """
        own = self.usual.spread / (self.usual.spread + variance)
        own[:, self.usual.seen <= 0] = 1.0
        own *= level - self.middle
        own += self.middle
        return np.rint(own, out=own)

    def variance(self, count: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of windows' levels, by sampling, in squared logarithms; infinite where there is no value."""
        within = np.maximum(self.tail.variance, _LEAST_VARIANCE) * BIN_WIDTH**2
        with np.errstate(divide="ignore"):
            variance: NDArray[np.float64] = within / count
        return variance

    def learn(self, cells: NDArray[np.int64], block: Measured, first: int, odd: NDArray[np.bool_]) -> None:
        """Take a finished block in.

        Args:
            block: What `measure` said of the cells, however it was cut.

        Shapes:
            odd: bool[k], series that are no example of what is normal, unless they have been so for two hours.
        """
        if not self.size:
            return
        rows = len(block)
        series, bins, count = cells[1:]
        new = ~self.ready[series]
        positive = new & (bins > ZERO)
        np.minimum.at(self._floor, series[positive], bins[positive])
        if (bins[new] <= ZERO).any():
            block = self.measure(cells, first, rows)
        elif block.count.shape[1] < self.size:
            block = block.then(Measured.blank(0, self.size))
        self._odd_blocks = np.where(odd, self._odd_blocks + 1, 0)
        anew = odd & (self._odd_blocks > REBASE_BLOCKS)
        self._odd_blocks[anew] = 0
        quiet = ~odd
        variance = self.variance(block.count)
        anchor = self._anchor(block.level, variance)
        freedom = np.maximum(block.count - 1.0, 0.0).sum(axis=0)
        self.tail.learn_windows(block.beyond, block.count, (block.squared.sum(axis=0), freedom), quiet)
        level = block.level * BIN_WIDTH
        self.usual.learn((first + rows) * WINDOW_NS, level, variance, block.count, quiet, anew)
        learned = (quiet | anew)[series]
        place = places(bins, self._floor[series]) - anchor[cells[0] - first, series]
        keep = np.where(anew, 0.5, 0.5 ** (rows / _HALF_LIFE))
        self.tail.learn_values(series[learned], np.rint(place[learned]).astype(np.int64), count[learned], keep)
        self._used = self._used * 0.5 ** (rows / _HALF_LIFE) + block.count.sum(axis=0)

    def surplus(self) -> list[int]:
        """The least used series, where others have found no room since this was asked; the caller drops them."""
        refused, self._refused_before = self.series.refused > self._refused_before, self.series.refused
        if not refused or not self.series.full:
            return []
        living = self.series.living()
        order = np.lexsort([living, self._used[living]])
        found: list[int] = living[order][: max(1, int(_EVICTED * len(living)))].tolist()
        return found

    def join(self, old: int, new: int) -> None:
        """What is known of series `old` goes to `new`: of levels the better known stays. `old` is to be dropped."""
        self.usual.merge(old, new)
        self.tail.merge(old, new)
        self._odd_blocks[new] = max(self._odd_blocks[old], self._odd_blocks[new])
        self._floor[new] = min(self._floor[old], self._floor[new])
        self._used[new] += self._used[old]

    def drop(self, numbers: list[int]) -> None:
        """These series are gone."""
        self.series.drop(numbers)
        self.usual.forget(numbers)
        self.tail.forget(numbers)
        for name, (_, blank) in _ARRAYS.items():
            getattr(self, name)[numbers] = blank

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "series": self.series.state(),
            "usual": self.usual.state(),
            "tail": self.tail.state(),
            "refused_before": self._refused_before,
            **{name: pack_array(getattr(self, name)) for name in _ARRAYS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        self.series.restore(state["series"])
        self.size = self.series.count
        self.usual.restore(state["usual"])
        self.tail.restore(state["tail"])
        self._refused_before = int(state["refused_before"])
        arrays = {name: unpack_array(state[name], dtype) for name, (dtype, _) in _ARRAYS.items()}
        check_shapes("values", arrays, dict.fromkeys(arrays, (self.size,)))
        for name, array in arrays.items():
            setattr(self, name, array)
        if (self.usual.size, self.tail.size) != (self.size, self.size):
            raise StateError(f"saved values: levels of {self.usual.size} series, expected {self.size}")


_ARRAYS: dict[str, tuple[Any, Any]] = {
    "_odd_blocks": (np.int64, 0),
    "_floor": (np.int64, BINS),
    "_used": (np.float64, 0.0),
}
