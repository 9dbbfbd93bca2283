"""Values by window until it closes: how often each series had a value in each bin of a logarithmic scale.

Counts add up, so it makes no difference in which order values come or how they are cut into chunks, and every value
is counted, not a sample (a sketch of relative accuracy, after Masson et al. 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BINS", "BIN_WIDTH", "NEGATIVE", "ZERO", "Cells", "bins_of", "places", "quantile_of", "value_at"]

_PER_OCTAVE = 8
_LOWEST, _HIGHEST = -20, 40
"""Powers of two: from a microsecond in seconds to a terabyte in bytes. What lies outside counts as the outermost."""

NEGATIVE, ZERO, _FIRST = 0, 1, 2
BINS = _FIRST + (_HIGHEST - _LOWEST) * _PER_OCTAVE
BIN_WIDTH = float(np.log(2.0)) / _PER_OCTAVE
"""In natural logarithms: values in a bin differ by 9 % at most."""

_ONE = _FIRST - _LOWEST * _PER_OCTAVE
_COMPACT_AT = 200_000


def bins_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64[n]: the bin of each value; all negative ones share one, and so do all zeros.

    >>> import numpy as np
    >>> [round(value_at(int(b)), 2) for b in bins_of(np.array([1.0, 100.0, 1e300]))]
    [1.04, 103.07, 1052895941924.53]
    """
    positive = values > 0
    octaves = np.log2(np.where(positive, values, 1.0))
    inside = np.clip(np.floor(octaves * _PER_OCTAVE), _LOWEST * _PER_OCTAVE, _HIGHEST * _PER_OCTAVE - 1)
    bins: NDArray[np.int64] = inside.astype(np.int64)
    bins += _FIRST - _LOWEST * _PER_OCTAVE
    bins[~positive] = np.where(values[~positive] < 0, NEGATIVE, ZERO)
    return bins


def value_at(bin_place: float) -> float:
    """The value in the middle of a bin; between the middles of two for a fraction."""
    if bin_place < _FIRST:
        return 0.0 if bin_place >= ZERO else -1.0
    return float(2.0 ** ((bin_place + 0.5 - _FIRST) / _PER_OCTAVE + _LOWEST))


def places(bins: NDArray[np.int64], floor: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bins as places on a scale of logarithms: zero lies an octave below the least value there was, or below one.

    Shapes:
        bins: int64[n]. floor: int64[n], the lowest bin of a positive value that a series had, BINS for none.
    """
    floor = np.where(floor >= BINS, _ONE, floor)
    below = np.where(bins == ZERO, 1, 2) * _PER_OCTAVE
    return np.where(bins >= _FIRST, bins, floor - below).astype(np.float64)


def quantile_of(cells: NDArray[np.int64], window: int, series: int, share: float) -> float:
    """A quantile of the values that a series had in a window; 0 where it had none. See `Cells.within`."""
    mine = cells[:, (cells[0] == window) & (cells[1] == series)]
    if not mine.shape[1]:
        return 0.0
    sums = np.cumsum(mine[3])
    return value_at(int(mine[2, int(np.searchsorted(sums, share * sums[-1]))]))


class Cells:
    """Counts of (window, series, bin) of the windows that are still open."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.int64]] = []
        self._pending = 0

    def add(self, window: NDArray[np.int64], series: NDArray[np.int64], bins: NDArray[np.int64]) -> None:
        """Count some values, one each."""
        if len(window):
            self._parts.append(_counted(np.stack([window, series, bins, np.ones_like(bins)])))
            self._pending += self._parts[-1].shape[1]
            if self._pending > _COMPACT_AT:
                self._parts = [_counted(self._all())]
                self._pending = min(self._parts[0].shape[1], _COMPACT_AT // 2)

    def put(self, cells: NDArray[np.int64]) -> None:
        """Take cells in, as `within` gives them."""
        self._parts.append(cells.copy())

    def _all(self) -> NDArray[np.int64]:
        return np.concatenate([np.zeros((4, 0), np.int64), *self._parts], axis=1)

    def within(self, first: int, end: int, *more: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[4, c]: window, series, bin, count of the windows from `first` to before `end`, in this order.

        Args:
            more: Cells that are of these windows too, but are not kept here.
        """
        mine = []
        for cells in self._parts:
            inside = (cells[0] >= first) & (cells[0] < end)
            mine.append(cells if inside.all() else cells[:, inside])
        return _counted(np.concatenate([np.zeros((4, 0), np.int64), *mine, *more], axis=1))

    def close(self, end: int) -> None:
        """Forget the windows before `end`."""
        kept = (cells[:, cells[0] >= end] for cells in self._parts)
        self._parts = [cells for cells in kept if cells.shape[1]]
        self._pending = min(sum(cells.shape[1] for cells in self._parts), _COMPACT_AT // 2)

    def merge(self, old: int, new: int) -> None:
        """What was counted of series `old` is of `new`."""
        for cells in self._parts:
            cells[1, cells[1] == old] = new

    def drop(self, numbers: list[int]) -> None:
        """Forget some series."""
        for at, cells in enumerate(self._parts):
            gone = cells[1] == numbers[0] if len(numbers) == 1 else np.isin(cells[1], numbers)
            if gone.any():
                self._parts[at] = cells[:, ~gone]

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return pack_array(_counted(self._all()))

    def restore(self, state: dict[str, Any], series: int) -> None:
        """Take a copy back, of `series` series. Raises StateError where it does not fit."""
        cells = unpack_array(state, np.int64)
        if cells.ndim != 2 or len(cells) != 4:
            raise StateError(f"saved values have shape {cells.shape}, expected (4, n)")
        if cells.size and (cells.min() < 0 or cells[1].max() >= series or cells[2].max() >= BINS):
            raise StateError("saved values are damaged: they speak of series or bins that are not there")
        self._parts, self._pending = [cells], 0


def _counted(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Equal cells added up, in order of window, series, bin."""
    if not cells.shape[1]:
        return cells
    window, series, bins, count = cells
    first, width = int(window.min()), int(series.max()) + 1
    flat = ((window - first) * width + series) * BINS + bins
    if (flat[1:] > flat[:-1]).all():
        return cells
    order = np.argsort(flat)
    flat = flat[order]
    begins = np.flatnonzero(np.concatenate([_TRUE, flat[1:] != flat[:-1]]))
    total = np.add.reduceat(count[order], begins)
    rest, bins = np.divmod(flat[begins], BINS)
    window, series = np.divmod(rest, width)
    return np.stack([window + first, series, bins, total])


_TRUE = np.ones(1, np.bool_)
