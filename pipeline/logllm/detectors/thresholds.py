"""From the budget to the level of each test, block by block: what kinds may use, what they were seen to use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.budget import WINDOWS_A_DAY, alarms_a_test
from logllm.detectors.calibration import HALF_LIFE, Calibration
from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.slices import BLOCK
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.detectors.budget import Budget
    from logllm.detectors.slices import Slice

__all__ = ["Thresholds"]

REFERENCE_PER_DAY = 300.0
"""So many tests a day are promised below the reference: enough to learn from within hours..."""

REFERENCE_TIMES = 10.0
"""...and so many times what the nominal level lets through, where the budget is large."""

HIGHEST_REFERENCE = 2e-3
"""The scorers give no larger probabilities than about this."""

CLOSEST = math.log(3.0)
"""A level stays a factor of three below its reference, or it would be measured by what is told."""

FURTHEST = 70.0
"""The logarithm of the most a level may lie below its reference."""

TOLD_AS_FOUND = frozenset({"change"})
"""Detectors of these kinds act on what they tell, so they are asked at their level and not at a generous one."""

_NEVER = -1e6
"""The logarithm of no probability that a test could fall below."""

USUAL_DAYS = 2.0
"""A kind is taken to use the whole of its share until some days have shown what it uses."""


class Thresholds:
    """The levels at which tests of each kind are told, in each budget.

    They are fixed for a block of windows, from what was learned up to its begin. A kind's target is its share of the
    budget; what it was seen not to use, even at the highest level it may have, is divided among the others.
    """

    def __init__(self, budget: Budget, kinds: Sequence[str]) -> None:
        self._budget = budget
        self._pools = budget.pools
        self._kinds = [kind for kind in kinds if kind != "new"]
        self._known = {kind: Calibration(alarms_a_test(kind), len(self._pools)) for kind in self._kinds}
        self._block = -1
        self._rows = 0
        self._plan = {kind: np.zeros((3, len(self._pools))) for kind in self._kinds}
        self._asked: dict[str, float] = {}
        self._each = {kind: np.zeros(0) for kind in self._kinds}
        self._days = np.zeros(len(self._pools))
        self._used = {kind: np.zeros((2, len(self._pools))) for kind in dict.fromkeys([*kinds, "new"])}

    def hold(self, window_slice: Slice) -> bool:
        """Whether the levels that are set hold for this slice too: same block, same budgets."""
        same = window_slice.first // BLOCK == self._block and not window_slice.gap
        return same and self._budget.pools == self._pools

    def begin(
        self, window_slice: Slice, tests: dict[str, NDArray[np.float64]], pools: dict[str, NDArray[np.int64]]
    ) -> None:
        """Set the levels of the block that a slice is the first of.

        Shapes:
            tests: kind -> float64[items], tests a window that each item makes, weighted.
            pools: kind -> int64[items], the budget of each.
        """
        self._block = window_slice.first // BLOCK
        self._finish()
        if self._budget.pools != self._pools:
            old = {name: at for at, name in enumerate(self._pools)}
            self._pools = self._budget.pools
            columns = [old.get(name, -1) for name in self._pools]
            for known in self._known.values():
                known.under(columns)
            self._days = np.array([self._days[at] if at >= 0 else 0.0 for at in columns])
            for kind, used in self._used.items():
                self._used[kind] = np.array([used[:, at] if at >= 0 else (0.0, 0.0) for at in columns]).T
        many = len(self._pools)
        amount = {
            kind: np.bincount(pools[kind], weights=tests[kind], minlength=many) if len(tests[kind]) else np.zeros(many)
            for kind in self._kinds
        }
        self._plan = {kind: np.zeros((3, many)) for kind in self._kinds}
        self._asked = {}
        for pool, name in enumerate(self._pools):
            active = {kind: float(amount[kind][pool]) for kind in self._kinds if amount[kind][pool] > 0.0}
            for kind in self._kinds:
                self._plan[kind][:, pool] = (_NEVER, _NEVER, 0.0)
            self._set(pool, name, active)
        for kind in self._kinds:
            self._known[kind].grow(len(tests[kind]))
            reference = self._plan[kind][0]
            self._each[kind] = tests[kind] * np.exp(reference[pools[kind]])

    def _set(self, pool: int, name: str, tests: dict[str, float]) -> None:
        """The levels of one budget: each kind's share, and of what is left over where its level may still rise."""
        targets = self._budget.targets(name, [*tests, "new"])
        spare = sum(target - self._used_per_day(kind, pool, target) for kind, target in targets.items())
        for more in (0.0, spare):
            rising = {kind: targets[kind] for kind in tests if self._may_rise(kind, pool)} if more else targets
            whole = sum(rising.values()) or 1.0
            for kind, amount in tests.items():
                target = targets[kind] + more * rising.get(kind, 0.0) / whole
                self._plan[kind][:, pool] = self._levels(kind, pool, amount, targets[kind], target)

    def _levels(self, kind: str, pool: int, amount: float, share: float, target: float) -> tuple[float, float, float]:
        """Reference, level, and what is promised below the reference in a window."""
        nominal = math.log(max(share, 1e-9) / alarms_a_test(kind) / (WINDOWS_A_DAY * amount))
        reference = self._reference(kind, nominal, amount)
        promised = WINDOWS_A_DAY * amount * math.exp(reference)
        level = _NEVER
        if target > 0.0:
            level = self._known[kind].level(pool, reference, promised, target)
            level = max(min(level, self._highest(kind, reference, nominal)), reference - FURTHEST)
        return reference, level, promised / WINDOWS_A_DAY

    @staticmethod
    def _highest(kind: str, reference: float, nominal: float) -> float:
        return reference if kind in TOLD_AS_FOUND else max(min(nominal, math.log(0.01)), reference - CLOSEST)

    def _may_rise(self, kind: str, pool: int) -> bool:
        reference, level, _ = self._plan[kind][:, pool].tolist()
        return bool(_NEVER < level < reference - CLOSEST - 1e-9)

    @staticmethod
    def _reference(kind: str, nominal: float, amount: float) -> float:
        if kind in TOLD_AS_FOUND:
            return min(nominal, math.log(0.01))
        most = math.log(REFERENCE_PER_DAY / (WINDOWS_A_DAY * amount))
        return min(max(most, nominal + math.log(REFERENCE_TIMES)), math.log(HIGHEST_REFERENCE))

    def _used_per_day(self, kind: str, pool: int, target: float) -> float:
        days, used = float(self._days[pool]), float(self._used[kind][0, pool])
        return min(target, (used + USUAL_DAYS * target) / (days + USUAL_DAYS))

    def asked(self, kind: str) -> float:
        """The probability below which a detector of this kind has to give what it finds."""
        asked = self._asked.get(kind)
        if asked is None:
            reference, level, _ = self._plan[kind]
            highest = level if kind in TOLD_AS_FOUND else np.maximum(reference, level)
            asked = self._asked[kind] = float(np.exp(highest.max(initial=_NEVER)))
        return asked

    def ratios(
        self, kind: str, window: int, items: NDArray[np.int64], log_p: NDArray[np.float64], pools: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """float64[n]: logarithms of corrected probabilities over their levels; 0.0 and less is to be told."""
        known = self._known[kind]
        known.grow(int(items.max(initial=-1)) + 1)
        reference, level, _ = self._plan[kind][:, pools]
        tails = known.tails(items, log_p, reference)
        below = log_p < reference
        if below.any():
            known.count(window, items[below], log_p[below], tails[below], reference[below], pools[below])
        ratio: NDArray[np.float64] = tails - level
        return ratio

    def watched(self, rows: int) -> None:
        """So many windows of the block were judged in earnest."""
        self._rows += rows

    def told(self, kind: str, pool: int) -> None:
        """Something of this kind was told in a window."""
        if kind in self._used:
            self._used[kind][1, pool] += 1.0

    def _finish(self) -> None:
        rows, self._rows = self._rows, 0
        for kind in self._kinds:
            known = self._known[kind]
            known.finish(rows, self._plan[kind][2] * rows, self._each[kind] * rows)
        keep = 0.5 ** (rows / HALF_LIFE)
        self._days = self._days * keep + rows / WINDOWS_A_DAY
        for used in self._used.values():
            used[0] = used[0] * keep + used[1]
            used[1] = 0.0

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        for kind, known in self._known.items():
            if kind != "severity":
                known.merge(old, new)

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone."""
        for kind, known in self._known.items():
            if kind != "severity":
                known.forget(keys)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "pools": list(self._pools),
            "block": self._block,
            "rows": self._rows,
            "days": self._days.tolist(),
            "used": {kind: used.tolist() for kind, used in self._used.items()},
            "kinds": {
                kind: {
                    "known": self._known[kind].state(),
                    "plan": pack_array(self._plan[kind]),
                    "each": pack_array(self._each[kind]),
                }
                for kind in self._kinds
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back; kinds that it does not know begin anew. Raises StateError where it does not fit."""
        self._pools = [str(name) for name in state["pools"]]
        many = len(self._pools)
        self._asked = {}
        self._block, self._rows = int(state["block"]), int(state["rows"])
        self._days = np.array(state["days"], np.float64)
        self._used = {kind: np.array(state["used"].get(kind, np.zeros((2, many))), np.float64) for kind in self._used}
        for kind in self._kinds:
            self._known[kind] = Calibration(alarms_a_test(kind), many)
            self._plan[kind], self._each[kind] = np.zeros((3, many)), np.zeros(0)
            self._plan[kind][:2] = _NEVER
            saved = state["kinds"].get(kind)
            if saved is not None:
                self._known[kind].restore(saved["known"])
                self._plan[kind] = unpack_array(saved["plan"], np.float64)
                self._each[kind] = unpack_array(saved["each"], np.float64)
            shapes = self._plan[kind].shape, self._used[kind].shape, self._days.shape
            if shapes != ((3, many), (2, many), (many,)) or self._each[kind].size > self._known[kind].size:
                raise StateError(f"saved levels of {kind!r} are not of {many} budgets")
