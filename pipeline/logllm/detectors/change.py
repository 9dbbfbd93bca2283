"""Change point: a level that has changed for good is said once, as the new normal, and re-learned at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from logllm.detectors.drift import DriftTests
from logllm.detectors.largest import largest
from logllm.detectors.level_change import LevelChange, find_change
from logllm.detectors.levels import BLOCKS_A_DAY, Levels
from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.slices import BLOCK
from logllm.errors import StateError
from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.detectors.keys import Keys
    from logllm.detectors.slices import Slice

__all__ = ["MOST_KEYS", "MOST_SERVICES", "TOLD_A_DAY", "ChangePoint"]

MOST_KEYS = 200
MOST_SERVICES = 24
"""Followed: so many of the busiest, chosen anew each day."""

TOLD_A_DAY = 3
"""Further changes of a day are learned all the same, and counted in `untold`."""

QUIET_BLOCKS = 16
"""A service's next changes so soon after one that was told belong to it."""

_CORRECTED_BLOCKS, _CORRECTION = 2 * BLOCKS_A_DAY, 0.6
"""A further change within two days that is a smaller part of the one told only sets right how large that was."""

_CANDIDATE_BLOCKS = 48
"""What the trigger points at is looked at for half a day, then dropped."""

_LEAST_ROWS = 8
"""Windows of a block that must have been seen for it to stand for the whole."""

_DAY_DECAY, _SMALL_SHARE = 0.5, 0.05
_NOBODY = -1


class ChangePoint:
    """Watches the totals of services and the busier keys for levels that change and stay.

    Each block of windows gives a residual, in standard deviations of what that time of day brought on other days
    (`Levels`), and river's Page-Hinkley test (Page, Biometrika 41, 1954) adds them up. What it points at is told when
    the blocks since then are LEAST_BLOCKS or more, differ from those before by less chance than the level given and by
    a factor of LEAST_RATIO, their first and second half alike. Then the past is drawn to the new level, and
    `rebased` and `ratios` tell it to other baselines; `learn` after those have asked.

    Silent on daily seasons, also where they come an hour early or late. A level that is as it was a week ago is
    learned, not told: weekends, from the second one on. Blind for a series' first three days, to smaller changes, and
    to what comes less than once a block. What is found at a block's end is told with the first window after it.
    """

    kind = "change"

    def __init__(self, keys: Keys, *, told_a_day: int = TOLD_A_DAY) -> None:
        self._keys = keys
        self._told_a_day = told_a_day
        size = MOST_KEYS + MOST_SERVICES
        self.levels = Levels()
        self.untold = 0
        self._ids = np.full(size, _NOBODY, np.int64)
        self._totals = np.zeros(0)
        self._sums = np.zeros(size)
        self._held = np.zeros(size, np.bool_)
        self._rows = 0
        self._block = self._active = _NOBODY
        self._candidate = np.zeros(size, np.int64)
        self._tests = DriftTests(size)
        self._level = 0.0
        self._pending: list[Anomaly] = []
        self._ratios: dict[int, float] = {}
        self._fresh = 0
        self._told: dict[int, tuple[int, float]] = {}
        self._told_today = 0
        self._day = _NOBODY

    @property
    def tested(self) -> int:
        """Series that are followed now."""
        return int((self._ids != _NOBODY).sum())

    def rebased(self, window_slice: Slice) -> NDArray[np.bool_]:
        """bool[k]: keys whose level was found changed for good at the end of the block before this slice's.

        They are to learn in this slice even where they are held back.
        """
        changed = np.zeros(window_slice.counts.shape[1], np.bool_)
        if self._news_for(window_slice) or self._active == window_slice.first // BLOCK:
            changed[list(self._ratios)] = True
        return changed

    def ratios(self, window_slice: Slice) -> NDArray[np.float64]:
        """float64[k]: by what means, seasons included, are to be multiplied before they learn this slice.

        1.0 but for the keys of `rebased` with the first slice after the change was found.
        """
        ratios = np.ones(window_slice.counts.shape[1])
        if self._news_for(window_slice):
            ratios[list(self._ratios)] = list(self._ratios.values())
        return ratios

    def judge(self, window_slice: Slice, level: float) -> list[Anomaly]:
        """The changes found at the end of the block before; see `Detector`.

        `expected` and `seen` are records a window before and since, `span` the windows since.
        """
        self._level = level
        if not self._news_for(window_slice):
            return []
        return [msgspec.structs.replace(each, window=window_slice.first) for each in self._pending]

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """Take the slice in; held keys are watched like others, but are no example to come."""
        block = window_slice.first // BLOCK
        if block != self._block:
            self._active = block if self._fresh else _NOBODY
            self._pending, self._fresh = [], 0
            self._finish()
        self._block = block
        counts = window_slice.counts.sum(axis=0)
        self._grow(len(counts))
        self._totals[: len(counts)] += counts
        mine = (self._ids >= 0) & (self._ids < len(counts))
        self._sums[mine] += counts[self._ids[mine]]
        self._held[mine] |= held[self._ids[mine]]
        totals = np.bincount(self._keys.service[: len(counts)], weights=counts, minlength=len(self._keys.services))
        services = self._ids < _NOBODY
        self._sums[services] += totals[-2 - self._ids[services]]
        self._rows += len(window_slice)
        if window_slice.ends_block:
            self._finish()
            self._block = self._active = _NOBODY

    def _news_for(self, window_slice: Slice) -> bool:
        """Whether this slice is the first one after something was found."""
        return self._fresh > 0 and window_slice.first // BLOCK != self._block

    def _grow(self, size: int) -> None:
        if size > len(self._totals):
            self._totals = np.pad(self._totals, (0, size - len(self._totals)))

    def _finish(self) -> None:
        """Close the block that is open: residuals, triggers, changes; then choose whom to follow."""
        if not self._rows:
            return
        block, rows, self._rows = self._block, self._rows, 0
        sums = np.where(self._ids == _NOBODY, np.nan, self._sums * (BLOCK / rows))
        if rows < _LEAST_ROWS:
            sums[:] = np.nan
        self._ratios = {}
        self.levels.grow(int(np.flatnonzero(self._ids != _NOBODY).max(initial=-1)) + 1)
        usual = ~self._held & (self._candidate == 0)
        self.levels.append(block, sums[: self.levels.size], usual[: self.levels.size])
        self._sums, self._held = np.zeros_like(self._sums), np.zeros_like(self._held)
        self._candidate[self._tests.feed(self.levels.off)] = _CANDIDATE_BLOCKS
        changes = []
        for column in np.flatnonzero(self._candidate).tolist():
            self._candidate[column] -= 1
            change = find_change(self.levels, column, self._level)
            if change is not None and not change.hour_off:
                changes.append(change)
                self._rebase(change)
            elif change is not None and not self._candidate[column]:
                # Half a day: a new level on the slope of a day no longer looks like that day an hour off.
                self.levels.accept(column, change.rows)
        self._fresh = int(bool(changes))
        self._pending = self._tell(block, changes)
        anew = self._day != (block + 1) // BLOCKS_A_DAY
        if anew:
            self._day = (block + 1) // BLOCKS_A_DAY
            self._told_today = 0
        self._choose(anew=anew)

    def _rebase(self, change: LevelChange) -> None:
        self.levels.rebase(change.column, change.rows, change.ratio)
        self._candidate[change.column] = 0
        self._tests.drop(change.column)
        key = int(self._ids[change.column])
        if key >= 0:
            self._ratios[key] = change.ratio

    def _tell(self, block: int, changes: list[LevelChange]) -> list[Anomaly]:
        """One anomaly a service: its total where that changed, else its key with the least chance."""
        services: dict[int, list[LevelChange]] = {}
        for change in (each for each in changes if not each.known):
            number = int(self._ids[change.column])
            services.setdefault(int(self._keys.service[number]) if number >= 0 else -2 - number, []).append(change)
        self._told = {service: each for service, each in self._told.items() if abs(block - each[0]) < _CORRECTED_BLOCKS}
        told = []
        for service, mine in sorted(services.items(), key=lambda item: min(each.log_tail for each in item[1])):
            at, size = self._told.get(service, (block - _CORRECTED_BLOCKS, 0.0))
            largest = max(abs(math.log(each.ratio)) for each in mine)
            if abs(block - at) <= QUIET_BLOCKS or largest < _CORRECTION * size:
                continue
            self._told[service] = (block, largest)
            if self._told_today >= self._told_a_day:
                self.untold += 1
                continue
            self._told_today += 1
            mine.sort(key=lambda each: (self._ids[each.column] >= 0, each.log_tail, each.column))
            keys = [int(self._ids[each.column]) for each in mine if self._ids[each.column] >= 0]
            whole = self._ids[mine[0].column] < 0
            told.append(
                Anomaly(
                    kind=self.kind,
                    window=_NOBODY,
                    span=mine[0].rows * BLOCK,
                    service=service,
                    key=keys[0] if keys else self._busiest(service),
                    keys=keys or [self._busiest(service)],
                    expected=mine[0].before,
                    seen=mine[0].now,
                    surprise=min(300.0, max(0.0, -mine[0].log_tail / math.log(10.0))),
                    severity=int(Severity.INFO),
                    about="all records" if whole else "",
                )
            )
        return told

    def _busiest(self, service: int) -> int:
        mine = np.flatnonzero(self._keys.service[: len(self._totals)] == service)
        return int(mine[np.argmax(self._totals[mine])])

    def _choose(self, *, anew: bool) -> None:
        """Follow the busiest: where there is room, and once a day instead of those that no longer are."""
        busiest = largest(self._totals, MOST_KEYS)
        services = np.bincount(self._keys.service[: len(self._totals)], weights=self._totals)
        wanted = np.concatenate([busiest, -2 - largest(services, MOST_SERVICES)])
        if anew:
            self._totals *= _DAY_DECAY
            for column in np.flatnonzero((self._ids != _NOBODY) & ~np.isin(self._ids, wanted)).tolist():
                self._drop(column)
        free = np.flatnonzero(self._ids == _NOBODY)
        new = wanted[~np.isin(wanted, self._ids)]
        self._ids[free[: len(new)]] = new[: len(free)]

    def _drop(self, column: int) -> None:
        self.levels.clear(column)
        self._tests.drop(column)
        for array in (self._sums, self._held, self._candidate):
            array[column] = 0
        self._ids[column] = _NOBODY

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`; where that makes it another series, it is followed from the start."""
        self._grow(max(old, new) + 1)
        small = self._totals[old] <= _SMALL_SHARE * self._totals[new]
        self._totals[new] += self._totals[old]
        mine = np.flatnonzero(self._ids == new)
        for column in [] if small else mine.tolist():
            self.levels.clear(column)
            self._tests.drop(column)
            self._candidate[column] = 0
        self._sums[mine] += self._sums[self._ids == old].sum()
        self._pending = [_renamed(each, old, new) for each in self._pending]
        self.forget([old])

    def forget(self, keys: Sequence[int]) -> None:
        """See `Detector.forget`."""
        self._totals[[key for key in keys if key < len(self._totals)]] = 0.0
        gone = set(keys)
        self._ratios = {key: ratio for key, ratio in self._ratios.items() if key not in gone}
        self._pending = [each for each in self._pending if each.key not in gone]
        for column in np.flatnonzero(np.isin(self._ids, keys)).tolist():
            self._drop(column)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy. Tests are not in it: they are made again of the residuals."""
        return {
            "levels": self.levels.state(),
            "pending": msgspec.to_builtins(self._pending),
            "ratios": [[key, ratio] for key, ratio in self._ratios.items()],
            "told": [[service, *each] for service, each in self._told.items()],
            "fed": pack_array(self._tests.fed),
            **{name: pack_array(getattr(self, f"_{name}")) for name in _ARRAYS},
            **{name: getattr(self, f"_{name}") for name in _NUMBERS},
            "untold": self.untold,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        try:
            self.levels.restore(state["levels"])
            pending = msgspec.convert(state["pending"], list[Anomaly])
            arrays = {name: unpack_array(state[name], dtype) for name, dtype in _ARRAYS.items()}
            numbers = {name: int(state[name]) for name in (*_NUMBERS, "untold")}
            ratios = {int(key): float(ratio) for key, ratio in state["ratios"]}
            told = {int(service): (int(block), float(size)) for service, block, size in state["told"]}
            fed = unpack_array(state["fed"], np.int64)
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
            raise StateError(f"saved change points are damaged: {error}") from error
        for name, array in arrays.items():
            if array.ndim != 1 or (name != "totals" and len(array) != len(self._ids)):
                raise StateError(f"saved change points: {name} has shape {array.shape}, expected {len(self._ids)}")
            setattr(self, f"_{name}", array)
        self.untold = numbers.pop("untold")
        for name, number in numbers.items():
            setattr(self, f"_{name}", number)
        self._pending, self._ratios, self._told = pending, ratios, told
        self._tests.restore(fed, self.levels.off)


def _renamed(anomaly: Anomaly, old: int, new: int) -> Anomaly:
    keys = list(dict.fromkeys(new if key == old else key for key in anomaly.keys))
    return msgspec.structs.replace(anomaly, key=new if anomaly.key == old else anomaly.key, keys=keys)


_ARRAYS: dict[str, Any] = {
    "ids": np.int64,
    "totals": np.float64,
    "sums": np.float64,
    "held": np.bool_,
    "candidate": np.int64,
}
_NUMBERS = ("rows", "block", "active", "fresh", "told_today", "day")
