"""Runs of silence: how long each key has been zero, how unlikely that is, and how long it has been before."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from logllm.detectors.packing import check_shapes, pack_array, unpack_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.detectors.slices import Slice

__all__ = ["SOURCE_PAUSE", "ZeroRuns", "Zeros"]

SOURCE_PAUSE = 3
"""Windows without any record after which the silence of each key is counted anew."""

# A weekend's pause is still known on the next one.
_FORGET_PAUSE = 0.99995


class Zeros(NamedTuple):
    """Silences of one slice. Shapes and units as in `RateScores`."""

    silence: NDArray[np.float64]
    zeros: NDArray[np.int32]
    unheard: NDArray[np.bool_]
    source_zeros: NDArray[np.int64]


class ZeroRuns:
    """Counts the windows in which each key has been zero, from its first record on.

    `score`, then `learn`, with each slice, and `finish` at the end of a block, before what is expected changes.
    """

    def __init__(self) -> None:
        self._source_zeros = 0
        self._rows = 0
        for name, dtype in _ARRAYS.items():
            setattr(self, name, np.zeros(0, dtype))

    _zeros: NDArray[np.int32]
    _before: NDArray[np.float64]
    _longest: NDArray[np.float32]
    _second: NDArray[np.float32]
    _pause: NDArray[np.float32]

    def grow(self, more: int) -> None:
        """Make room for more keys."""
        for name in _ARRAYS:
            setattr(self, name, np.pad(getattr(self, name), (0, more)))

    def score(self, window_slice: Slice, step: NDArray[np.float64], born: NDArray[np.bool_]) -> Zeros:
        """The silences in a slice's windows.

        Shapes:
            step: float64[k], log of the probability that a window is zero by chance, the same all through a block.
            born: bool[k], keys counted before.
        """
        counts = window_slice.counts
        zeros = np.empty(counts.shape, np.int32)
        source_zeros, anew = self._source_silence(window_slice)
        carried = self._zeros
        for start, end in pairwise([*sorted({0, *anew}), len(counts)]):
            if start in anew:
                carried = np.zeros_like(carried)
            some = counts[start:end] > 0
            index = np.arange(1, end - start + 1, dtype=np.int32)[:, None]
            last = np.maximum.accumulate(index * some, axis=0) if end - start > 1 else index * some
            np.subtract(index, last, out=zeros[start:end])
            zeros[start:end] += np.where(last == 0, np.where(born, carried, -index), 0)
            born, carried = born | (last[-1] > 0), zeros[end - 1]
        rows = np.arange(self._rows + 1, self._rows + len(counts) + 1, dtype=np.int32)[:, None]
        # Added up in one way only, so that it does not depend on how the block was cut.
        silence = step * np.minimum(zeros, rows)
        silence += np.where(zeros > rows, self._before, 0.0)
        # A pause this long that came once may have been an outage; one that came twice is a habit.
        return Zeros(silence, zeros, zeros > 2.0 * self._second + 1.0, source_zeros)

    def _source_silence(self, window_slice: Slice) -> tuple[NDArray[np.int64], list[int]]:
        """How long nothing came at all, by row; and the rows with which each key's silence is counted anew.

        That everything was silent says nothing about one key.
        """
        run, anew = self._source_zeros, [0] if window_slice.gap else []
        runs = []
        anything = np.count_nonzero(window_slice.counts, axis=1) > 0
        for row, some in enumerate(anything.tolist()):
            if some and run >= SOURCE_PAUSE:
                anew.append(row)
            run = 0 if some else run + 1
            runs.append(run)
        return np.array(runs, np.int64), anew

    def learn(self, window_slice: Slice, found: Zeros) -> None:
        """Take in a slice and what `score` gave for it."""
        some = window_slice.counts > 0
        np.maximum(self._pause, np.where(some[0], self._zeros, 0), out=self._pause)
        if len(some) > 1:
            np.maximum(self._pause, np.where(some[1:], found.zeros[:-1], 0).max(axis=0), out=self._pause)
        self._zeros = found.zeros[-1].copy()
        self._source_zeros = int(found.source_zeros[-1])
        self._rows += len(some)

    def finish(self, step: NDArray[np.float64]) -> None:
        """A block is over. `step` as it was all through it."""
        within = step * np.minimum(self._zeros, self._rows)
        self._before = within + np.where(self._zeros > self._rows, self._before, 0.0)
        forget = np.float32(_FORGET_PAUSE**self._rows)
        longest, second = self._longest * forget, self._second * forget
        self._second = np.maximum(second, np.minimum(longest, self._pause))
        self._longest = np.maximum(longest, self._pause)
        self._pause[:] = 0.0
        self._rows = 0

    def gap(self) -> None:
        """Nothing is known of the windows just before the next slice."""
        self._source_zeros = 0

    def merge(self, old: int, new: int, *, both: bool) -> None:
        """Counts of `old` are counts of `new` from now on. `both`: `new` has been counted before too."""
        for array in (self._zeros, self._longest, self._second, self._pause):
            array[new] = min(array[old], array[new]) if both else array[old]
        self._before[new] = max(self._before[old], self._before[new]) if both else self._before[old]

    def forget(self, keys: Sequence[int]) -> None:
        """Know nothing of some keys any more."""
        for name in _ARRAYS:
            getattr(self, name)[keys] = 0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        arrays = {name: pack_array(getattr(self, name)) for name in _ARRAYS}
        return {"source_zeros": self._source_zeros, "rows": self._rows, **arrays}

    def restore(self, state: dict[str, Any], size: int) -> None:
        """Take a copy back, of so many keys. Raises StateError where it does not fit."""
        self._source_zeros, self._rows = int(state["source_zeros"]), int(state["rows"])
        arrays = {name: unpack_array(state[name], dtype) for name, dtype in _ARRAYS.items()}
        check_shapes("silences", arrays, dict.fromkeys(arrays, (size,)))
        for name, array in arrays.items():
            setattr(self, name, array)


_ARRAYS: dict[str, Any] = {
    "_zeros": np.int32,
    "_before": np.float64,
    "_longest": np.float32,
    "_second": np.float32,
    "_pause": np.float32,
}
