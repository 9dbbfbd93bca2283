"""Bursts that come again: what a nightly, weekly or hourly job does is not told for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["MOST_KEYS", "Habits"]

MOST_KEYS = 4096
"""Keys whose bursts are remembered; past it, those whose last burst is longest ago are forgotten."""

_AT_ONCE = 64

_BURSTS = 24
"""Of each key: a day of an hourly job, three weeks of a nightly one."""

_TOGETHER = 30
"""Windows without a burst that end one."""

_JITTER = 10
"""Windows that a job may come early or late."""

_PERIODS = ((10_080, 4, 2), (1440, 8, 2), (60, 6, 3))
"""Windows of a period, periods looked back, and in how many of them a burst must have come. Eight days back, so that a
weekend does not break the habit of a working day."""


class Habits:
    """Remembers when keys burst, and says how high a burst at this time would be no surprise.

    A burst is a run of windows that were judged unlikely. One that came two times, a day or a week apart, at this time
    of the day or week is a habit, and so is one that came three times, an hour apart; a higher one than came before
    still surprises. It does not know daylight saving: a job that moves by an hour is told twice again.

    Costs nothing where no key bursts; memory is bounded by MOST_KEYS.

    Attributes:
        forgotten: Keys that were pushed out by others.
    """

    def __init__(self) -> None:
        self.forgotten = 0
        self._row: dict[int, int] = {}
        self._first = np.full((0, _BURSTS), _NEVER, np.int64)
        self._last = np.full((0, _BURSTS), _NEVER, np.int64)
        self._peak = np.zeros((0, _BURSTS))

    def usual(self, keys: NDArray[np.int64], windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """float64[n]: records in a window that a burst of these keys usually has at these times; 0.0 for no habit.

        Shapes:
            keys, windows: int64[n], few of them: a step of Python each.
        """
        usual = np.zeros(len(keys))
        for at, (key, window) in enumerate(zip(keys.tolist(), windows.tolist(), strict=True)):
            row = self._row.get(key)
            if row is None:
                continue
            for period, back, least in _PERIODS:
                then = window - period * np.arange(1, back + 1)[:, None]
                came = (self._first[row] - _JITTER <= then) & (then <= self._last[row] + _JITTER)
                peaks = np.where(came, self._peak[row], 0.0).max(axis=1)
                if np.count_nonzero(peaks) >= least:
                    # The second highest: that once it was an incident makes no habit of it.
                    usual[at] = max(usual[at], float(np.sort(peaks)[-2]))
        return usual

    def learn(self, keys: NDArray[np.int64], windows: NDArray[np.int64], peaks: NDArray[np.float64]) -> None:
        """Take in windows that were unlikely, in order of time.

        Shapes:
            keys, windows: int64[n]. peaks: float64[n], records a window.
        """
        for key, window, peak in zip(keys.tolist(), windows.tolist(), peaks.tolist(), strict=True):
            row = self._row.get(key)
            if row is None:
                row = self._new(key)
            if 0 <= window - self._last[row, 0] <= _TOGETHER:
                self._last[row, 0] = window
                self._peak[row, 0] = max(self._peak[row, 0], peak)
                continue
            for array, value in ((self._first, window), (self._last, window), (self._peak, peak)):
                array[row, 1:] = array[row, :-1].copy()
                array[row, 0] = value

    def _new(self, key: int) -> int:
        if len(self._row) >= MOST_KEYS:
            oldest = sorted(self._row, key=lambda other: (int(self._last[self._row[other], 0]), other))
            for other in oldest[:_AT_ONCE]:
                self._drop(other)
            self.forgotten += _AT_ONCE
        row = len(self._row)
        if row >= len(self._first):
            more = ((0, max(16, row)), (0, 0))
            self._first = np.pad(self._first, more, constant_values=_NEVER)
            self._last = np.pad(self._last, more, constant_values=_NEVER)
            self._peak = np.pad(self._peak, more)
        self._row[key] = row
        return row

    def merge(self, old: int, new: int) -> None:
        """Counts of `old` are counts of `new` from now on; its habits are kept where `new` has none."""
        if old in self._row and new not in self._row:
            self._row[new] = self._row.pop(old)
        self._drop(old)

    def forget(self, keys: Iterable[int]) -> None:
        """Know nothing of some keys any more."""
        for key in self._row.keys() & set(keys):
            self._drop(key)

    def _drop(self, key: int) -> None:
        row = self._row.pop(key, None)
        if row is None:
            return
        end = len(self._row)
        for array, empty in ((self._first, _NEVER), (self._last, _NEVER), (self._peak, 0)):
            array[row] = array[end]
            array[end] = empty
        for other, its in self._row.items():
            if its == end:
                self._row[other] = row

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        keys = sorted(self._row)
        rows = [self._row[key] for key in keys]
        return {
            "keys": keys,
            "forgotten": self.forgotten,
            **{name: pack_array(getattr(self, name)[rows]) for name in ("_first", "_last", "_peak")},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        keys = [int(key) for key in state["keys"]]
        dtypes = {"_first": np.int64, "_last": np.int64, "_peak": np.float64}
        arrays = {name: unpack_array(state[name], dtype) for name, dtype in dtypes.items()}
        check_shapes("habits", arrays, dict.fromkeys(arrays, (len(keys), _BURSTS)))
        for name, array in arrays.items():
            setattr(self, name, array)
        if len(set(keys)) != len(keys) or len(keys) > MOST_KEYS:
            raise StateError("saved habits: a key has two, or there are too many")
        self._row = {key: row for row, key in enumerate(keys)}
        self.forgotten = int(state["forgotten"])


_NEVER = -(10**12)
