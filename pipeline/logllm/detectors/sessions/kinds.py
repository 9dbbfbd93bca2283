"""Which odd sessions are told: the first of a kind, where so odd a kind is rare enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["COOL_DOWN_WINDOWS", "Kinds"]

COOL_DOWN_WINDOWS = 1_440
"""A kind that has not been seen for a day is told again."""

_MOST_KINDS = 2_000
_PRIOR_WINDOWS = 2_880
"""Taken to have been watched before, with no odd kind: until it is known better, one in two days is expected."""

_DECAY = 0.5 ** (1.0 / 10_080)
_BINS_A_DECADE = 10
_BINS = 8 * _BINS_A_DECADE


class Kinds:
    """Remembers the kinds of odd sessions, and how often new ones come.

    A kind is the event that is rare in its sessions, or missing. How odd a session must be to be told is learned from
    how often kinds that odd have come: the tail probability of one is the share of windows that brought it or an odder
    one for the first time. So the alerts a day stay within the budget whatever the log's sessions are like.

    Args:
        cool_down_windows: A kind that is seen again within so many windows is counted, not told.
    """

    def __init__(self, *, cool_down_windows: int = COOL_DOWN_WINDOWS) -> None:
        self._cool_down_windows = cool_down_windows
        self._last: dict[int, int] = {}
        self._spread = np.zeros(_BINS)
        self._watched = 0.0
        self.repeated = 0

    def copy(self) -> Kinds:
        """One that goes on for itself."""
        other = Kinds(cool_down_windows=self._cool_down_windows)
        other._last, other._spread = dict(self._last), self._spread.copy()
        other._watched, other.repeated = self._watched, self.repeated
        return other

    def watch(self, windows: int = 1) -> None:
        """So many windows were watched in which sessions could be judged."""
        self._watched = self._watched * _DECAY**windows + windows
        self._spread *= _DECAY**windows

    def chance(self, tail: float) -> float:
        """How likely a window is to bring a new kind at least as odd: with a session of this tail."""
        return float((self._spread[_bin(tail) :].sum() + 1.0) / (self._watched + _PRIOR_WINDOWS))

    def is_new(self, kind: int, window: int, tail: float) -> bool:
        """Take note of an odd session; whether its kind has not been seen for long."""
        last = self._last.pop(kind, None)
        self._last[kind] = window
        if len(self._last) > _MOST_KINDS:
            del self._last[next(iter(self._last))]
        if last is not None and 0 <= window - last < self._cool_down_windows:
            self.repeated += 1
            return False
        self._spread[_bin(tail)] += 1.0
        return True

    def merge(self, old: int, new: int) -> None:
        """Kind `old` became part of kind `new`."""
        last = self._last.pop(old, None)
        if last is not None:
            self._last[new] = max(last, self._last.get(new, last))

    def forget(self, kind: int) -> None:
        """Nothing is known of a kind any more."""
        self._last.pop(kind, None)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "last": [list(pair) for pair in self._last.items()],
            "spread": pack_array(self._spread),
            "watched": self._watched,
            "repeated": self.repeated,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        try:
            last = {int(kind): int(window) for kind, window in state["last"]}
            spread: NDArray[np.float64] = unpack_array(state["spread"], np.float64)
            watched, repeated = float(state["watched"]), int(state["repeated"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"saved sessions: their kinds are damaged: {error}") from error
        if spread.shape != (_BINS,) or not np.isfinite(spread).all() or not 0.0 <= watched < math.inf:
            raise StateError(f"saved sessions: kinds have shape {spread.shape}, expected ({_BINS},)")
        self._last, self._spread, self._watched, self.repeated = last, spread, watched, repeated


def _bin(tail: float) -> int:
    return min(_BINS - 1, int(-math.log10(tail) * _BINS_A_DECADE))
