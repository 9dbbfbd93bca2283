"""How far a kind's tail probabilities are to be trusted, found out by how often they come out small.

A tail probability is a promise: one of 0.001 comes once in a thousand tests. Counts of real logs break it, some keys by
far. So what falls below a generous *reference* level, which the ordinary noise of a day reaches many times over, is
counted against what was promised there, and how fast it thins out beyond. Both are extrapolated to the level that is
told: peaks over a threshold, with an exponential tail in the logarithm (Hill, Ann. Statist. 3, 1975).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["CAP", "Calibration"]

HOLD = 30
"""What comes below the reference again within so many windows is the same episode: its incident would still be open, or
barely not. Less than an hour, or what comes by the clock would be one episode without an end."""

HALF_LIFE = 5 * 1440.0
"""Windows after which an observation of an item weighs half: incidents are forgotten, and other habits learned."""

POOL_HALF_LIFE = 2 * 1440.0
"""The same for a budget, of which there are hundreds of observations a day."""

CAP = math.log(30.0)
"""How far below the reference an episode is looked at. Beyond it lie the alerts, incidents among them: those count as
one that came, and how extreme they were says nothing of the ordinary noise."""

KEY_CAP = 20.0
"""The same for one item, where more is worth knowing: a job that writes ten thousand lines each hour is usual for its
key, however improbable. It takes some ten times to be believed, so that one incident does not make the next a habit."""

MOST_AT_ONCE = 4.0
"""A block may bring so many episodes, and four times what is usual; more at once is one incident and counts no more."""

_PRIOR_EPISODES = 60.0
_KEY_EPISODES = 2.0
_KEY_SHAPE = 20.0
"""How many episodes the assumption weighs that the probabilities are right: for a budget, and for one key's count and
tail. An incident or two on a key change its level little; twenty false episodes settle it."""

_YOUNG = 12.0
"""So many times as many episodes are assumed at first: what is known of a few hours is wrong more often."""

_FLOOR = 5.0
"""The weight of the assumption when nothing was observed for long."""

_LEAST_SHAPE = 0.2
_LEAST_KEY_SHAPE = 0.02


class Calibration:
    """The observations of one kind, by item (a key, or a service) and by budget.

    Within a block of windows nothing changes of what `tails` and `level` give, so results do not depend on how a
    block is cut. An item can only be found to be noisier than promised; a budget's whole can be found to be quieter
    too, and its level is raised then. Blind to what is noisy beyond CAP alone (a job that runs once a day at the same
    hour): that is for the cool-down. All probabilities are logarithms here.

    Args:
        alarms: Episodes for one that is promised, until more is known.
    """

    def __init__(self, alarms: float, pools: int = 1) -> None:
        self._alarms = alarms
        self.size = 0
        for name, dtype in _ITEMS.items():
            setattr(self, name, np.zeros(0, dtype))
        self._pools = np.repeat(self._assumed(), pools, axis=1)
        self._pending: list[tuple[int, int, float, float, float]] = []

    _last: NDArray[np.int32]
    _deep: NDArray[np.float64]
    _own_deep: NDArray[np.float64]
    _promised: NDArray[np.float32]
    _came: NDArray[np.float32]
    _within: NDArray[np.float32]
    _excess: NDArray[np.float32]

    def _assumed(self) -> NDArray[np.float64]:
        """What a budget begins with: promised, came, within CAP, excess. It fades like what is observed."""
        return np.array([[1.0], [self._alarms * _YOUNG], [1.0], [1.0]]) * _PRIOR_EPISODES

    def grow(self, size: int) -> None:
        """Make room for items up to `size` - 1."""
        more = size - self.size
        if more > 0:
            for name in _ITEMS:
                setattr(self, name, np.pad(getattr(self, name), (0, more)))
            self.size = size

    def tails(
        self, items: NDArray[np.int64], log_p: NDArray[np.float64], reference: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Probabilities below the reference, corrected by what is known of each item; never smaller than given.

        Shapes:
            items: int64[n]. log_p: float64[n]. reference: float64[n] or float64[1], also logarithms.
        """
        came, promised = self._came[items].astype(np.float64), self._promised[items].astype(np.float64)
        more = np.maximum(np.log((came + _KEY_EPISODES) / (promised + _KEY_EPISODES)), 0.0)
        shape = (self._within[items] + _KEY_SHAPE) / (self._excess[items] + _KEY_SHAPE)
        shape = np.clip(shape.astype(np.float64), _LEAST_KEY_SHAPE, 1.0)
        corrected = reference + more + shape * (log_p - reference)
        tails: NDArray[np.float64] = np.where(log_p < reference, corrected, log_p)
        return tails

    def count(
        self,
        window: int,
        items: NDArray[np.int64],
        log_p: NDArray[np.float64],
        tails: NDArray[np.float64],
        reference: NDArray[np.float64],
        pools: NDArray[np.int64],
    ) -> None:
        """Note what is below the reference in one window, each item at most once, windows in their order.

        Shapes:
            items, pools: int64[n]. log_p, tails, reference: float64[n], `tails` as they were given for `log_p`.
        """
        last = self._last[items].astype(np.int64)
        fresh = (window - last > HOLD) | (window < last)
        self._last[items] = window
        own = np.minimum(reference - log_p, KEY_CAP)
        corrected = np.clip(reference - tails, -1.0, CAP)
        before = np.where(fresh, 0.0, self._own_deep[items])
        corrected_before = np.where(fresh, -1.0, self._deep[items])
        self._own_deep[items] = np.maximum(own, before)
        self._deep[items] = np.maximum(corrected, corrected_before)
        for at in np.flatnonzero(fresh | (own > before) | (corrected > corrected_before)).tolist():
            item, pool = int(items[at]), int(pools[at])
            self._pending.append((item, -1, *_step(-1.0 if fresh[at] else float(before[at]), float(own[at]), KEY_CAP)))
            if corrected[at] >= 0.0:
                self._pending.append((item, pool, *_step(float(corrected_before[at]), float(corrected[at]), CAP)))

    def finish(self, rows: int, promised: NDArray[np.float64], each: NDArray[np.float64]) -> None:
        """A block of windows is over: take in what was noted in it.

        Shapes:
            promised: float64[pools], episodes that the reference promised in these windows.
            each: float64[size], the same for each item.
        """
        keep = 0.5 ** (rows / HALF_LIFE)
        came = np.zeros((3, len(self._pools[0])))
        for array in (self._promised, self._came, self._within, self._excess):
            array *= keep
        self._promised[: len(each)] += each.astype(np.float32)
        for item, pool, new, within, excess in self._pending:
            if pool >= 0:
                came[:, pool] += (new, within, excess)
            elif item >= 0:
                self._came[item] += new
                self._within[item] += within
                self._excess[item] += excess
        self._pending = []
        usual = promised * np.array([self.ratio(pool) for pool in range(len(promised))])
        share = np.minimum(1.0, (MOST_AT_ONCE + 4.0 * usual) / np.maximum(came[0], 1e-9))
        self._pools *= 0.5 ** (rows / POOL_HALF_LIFE)
        self._pools[0] += promised
        self._pools[1:] += came * share

    def ratio(self, pool: int) -> float:
        """Episodes that came below the reference, for one that was promised."""
        promised, came, _, _ = self._pools[:, pool].tolist()
        return float((came + _FLOOR * self._alarms) / (promised + _FLOOR))

    def shape(self, pool: int) -> float:
        """How fast they thin out below it: 1.0 as promised, less is a heavier tail."""
        _, _, within, excess = self._pools[:, pool].tolist()
        return float(min(1.5, max(_LEAST_SHAPE, (within + _FLOOR) / (excess + _FLOOR))))

    def level(self, pool: int, reference: float, promised_per_day: float, target_per_day: float) -> float:
        """The corrected probability below which `target_per_day` episodes are to be expected."""
        if target_per_day <= 0.0:
            return -math.inf
        came_per_day = max(promised_per_day * self.ratio(pool), 1e-9)
        return reference + math.log(target_per_day / came_per_day) / self.shape(pool)

    def under(self, pools: list[int]) -> None:
        """Budgets have changed: what was the column `pools[i]` becomes column i; -1 is a new one."""
        self._pending = []
        before = self._pools
        self._pools = np.repeat(self._assumed(), len(pools), axis=1)
        for pool, old in enumerate(pools):
            if old >= 0:
                self._pools[:, pool] = before[:, old]

    def expected(self, pool: int, reference: float, promised_per_day: float, level: float) -> float:
        """Episodes a day at a level."""
        return promised_per_day * self.ratio(pool) * math.exp(min(0.0, level - reference) * self.shape(pool))

    def merge(self, old: int, new: int) -> None:
        """Item `old` became part of item `new`."""
        if old < self.size:
            self.grow(new + 1)
            for name in _ITEMS:
                array = getattr(self, name)
                array[new] = max(array[new], array[old])
            self._rename(old, new)
            self._clear([old])

    def forget(self, items: Sequence[int]) -> None:
        """Items are gone, and their numbers may be given to others."""
        gone = {item for item in items if item < self.size}
        if gone:
            self._pending = [(-1 if each[0] in gone else each[0], *each[1:]) for each in self._pending]
            self._clear(sorted(gone))

    def _rename(self, old: int, new: int) -> None:
        self._pending = [(new if each[0] == old else each[0], *each[1:]) for each in self._pending]

    def _clear(self, items: list[int]) -> None:
        for name in _ITEMS:
            getattr(self, name)[items] = 0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        arrays = {name: pack_array(getattr(self, name)) for name in _ITEMS}
        return {**arrays, "pools": self._pools.tolist(), "pending": [list(each) for each in self._pending]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state.get(name, {}), dtype) for name, dtype in _ITEMS.items()}
        size = arrays["_last"].size
        pools = np.array(state["pools"], np.float64)
        if any(array.shape != (size,) for array in arrays.values()) or pools.ndim != 2 or len(pools) != 4:
            raise StateError("saved calibration: columns differ in length")
        for name, array in arrays.items():
            setattr(self, name, array)
        self.size = size
        self._pools = pools
        self._pending = [(int(i), int(p), float(n), float(w), float(e)) for i, p, n, w, e in state["pending"]]
        if any(not (-1 <= item < size and -1 <= pool < pools.shape[1]) for item, pool, *_ in self._pending):
            raise StateError("saved calibration: it speaks of items that are not there")


def _step(before: float, now: float, cap: float) -> tuple[float, float, float]:
    """What an episode that went from `before` (-1: from nothing) to `now` adds: itself, if within `cap`, and excess."""
    new = 1.0 if before < 0.0 <= now else 0.0
    within = new - float(now >= cap) if new else -float(before < cap <= now)
    return new, within, max(now, 0.0) - max(before, 0.0)


_ITEMS: dict[str, Any] = {
    "_last": np.int32,
    "_deep": np.float64,
    "_own_deep": np.float64,
    "_promised": np.float32,
    "_came": np.float32,
    "_within": np.float32,
    "_excess": np.float32,
}
