"""Alerts a day, the one knob: what each kind and service may use of it, and purses that cannot be overdrawn.

A kind's level is its share of the budget divided by the tests it makes in a day, corrected by what has been observed
(`thresholds.py`). Where even that fails, a purse holds the budget by force: it fills at the budget's rate, opening an
incident takes one from it, and what it does not cover is counted, not told.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.config import BudgetConfig, ServiceConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["BUILT_IN", "GENERAL", "WINDOWS_A_DAY", "Budget", "BudgetConfig", "Special"]

_DAY_NS = 86_400_000_000_000
WINDOWS_A_DAY = 1440
GENERAL = ""
"""The name of the budget of all services that have none of their own."""

BUILT_IN = ("rate", "silence", "severity", "new")
_ALARMS_A_TEST = {"rate": 0.4, "silence": 1 / 3, "severity": 1 / 3}
"""False alerts for one that the tail probabilities promise, until more is known: tests are conservative (most keys
cannot spike detectably) and dependent (a sum shares its windows with its neighbours)."""

_OTHER = ServiceConfig("*")


@dataclass(slots=True)
class _Purse:
    """It begins full, with a day's worth in advance, and does not fill until that day is over."""

    per_day: float
    holds: float
    filled_ns: int = 0
    advance_ns: int = 0

    @property
    def full(self) -> float:
        return max(self.per_day, 1.0)

    def take(self, now_ns: int, *, critical: bool) -> bool:
        if self.filled_ns and now_ns > self.filled_ns:
            passed_ns = now_ns - self.filled_ns
            waited_ns = min(passed_ns, self.advance_ns)
            self.advance_ns -= waited_ns
            self.holds = min(self.full, self.holds + (passed_ns - waited_ns) / _DAY_NS * self.per_day)
        self.filled_ns = now_ns
        covered = self.holds - 1.0 >= (-self.full if critical else -1e-9)
        if covered:
            self.holds -= 1.0
        return covered


@dataclass(frozen=True, slots=True)
class Special:
    """What is set for services, by the number of each.

    Shapes:
        pool: int64[s], index into `Budget.pools`. weight: float64[s]. quiet: bool[s].
    """

    pool: NDArray[np.int64]
    weight: NDArray[np.float64]
    quiet: NDArray[np.bool_]


class Budget:
    """Turns alerts a day into significance levels, and keeps the purses. Time is event time.

    Attributes:
        pools: Names of the budgets: GENERAL, and one for each `[[detect.services]]` that has its own.
        held_back: Incidents that no purse covered.
    """

    def __init__(self, config: BudgetConfig | None = None) -> None:
        self._config = config or BudgetConfig()
        self._purses = _purses(self._config)
        self._special = Special(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_))
        self.held_back = 0

    @property
    def per_day(self) -> float:
        """The general budget."""
        return self._config.alerts_per_day

    @property
    def pools(self) -> list[str]:
        """The names of the budgets."""
        return list(self._purses)

    def change(self, config: BudgetConfig) -> None:
        """Go on under another budget; what is in a purse stays, as far as it holds."""
        before, self._purses = self._purses, _purses(config)
        for name, purse in self._purses.items():
            if name in before:
                purse.holds, purse.filled_ns = min(before[name].holds, purse.full), before[name].filled_ns
                purse.advance_ns = min(before[name].advance_ns, purse.advance_ns)
        self._config = config
        self._special = Special(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_))

    def special(self, services: Sequence[str]) -> Special:
        """What is set for these services; asked again with more of them, it is looked up for the new ones alone."""
        known = len(self._special.pool)
        if known < len(services):
            entries = [self._entry(name) for name in services[known:]]
            pools = self.pools
            more = [pools.index(entry.name) if entry.alerts_per_day else 0 for entry in entries]
            self._special = Special(
                np.append(self._special.pool, np.array(more, np.int64)),
                np.append(self._special.weight, [entry.weight for entry in entries]),
                np.append(self._special.quiet, np.array([entry.quiet for entry in entries], np.bool_)),
            )
        return self._special

    def _entry(self, service: str) -> ServiceConfig:
        # Square brackets are no pattern here.
        fitting = (each for each in self._config.services if fnmatchcase(service, each.name.replace("[", "[[]")))
        return next(fitting, _OTHER)

    def targets(self, pool: str, kinds: Iterable[str]) -> dict[str, float]:
        """Alerts a day that each of these kinds may use of a budget; 0.0 for those that are switched off."""
        shares = {kind: float(getattr(self._config.shares, kind, 1.0)) for kind in kinds}
        whole = sum(shares.values()) or 1.0
        per_day = self._purses[pool].per_day
        return {kind: per_day * share / whole for kind, share in shares.items()}

    def level(self, kind: str, tests: float) -> float:
        """The tail probability below which one of `tests` tests a window counts as odd while nothing is observed."""
        target = self.targets(GENERAL, dict.fromkeys((*BUILT_IN, kind)))[kind]
        return min(target / alarms_a_test(kind) / (WINDOWS_A_DAY * max(tests, 1.0)), 0.01)

    def spend(self, now_ns: int, *, critical: bool, again: bool = False, service: str = "") -> bool:
        """Take one alert out of the service's purse, if it is there. A critical one may overdraw by a day's worth.

        Args:
            again: The same incident was refused before: it is held back once, and no more when it is told after all.
        """
        entry = self._entry(service)
        covered = self._purses[entry.name if entry.alerts_per_day else GENERAL].take(now_ns, critical=critical)
        self.held_back += int(not covered) - int(again)
        return covered

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        purses = {name: [each.holds, each.filled_ns, each.advance_ns] for name, each in self._purses.items()}
        return {"purses": purses, "held_back": self.held_back}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Budgets that are set no longer are forgotten, new ones begin full."""
        self.held_back = int(state["held_back"])
        for name, purse in self._purses.items():
            if name in state["purses"]:
                holds, filled_ns, advance_ns = state["purses"][name]
                purse.holds, purse.filled_ns, purse.advance_ns = float(holds), int(filled_ns), int(advance_ns)


def alarms_a_test(kind: str) -> float:
    """False alerts of a kind for one that its tail probabilities promise, until more is known."""
    return _ALARMS_A_TEST.get(kind, 1.0)


def _purses(config: BudgetConfig) -> dict[str, _Purse]:
    budgets = {GENERAL: config.alerts_per_day}
    for entry in config.services:
        if entry.alerts_per_day:
            budgets.setdefault(entry.name, entry.alerts_per_day)
    return {
        name: _Purse(per_day, max(per_day, 1.0), 0, int(max(1.0, 1.0 / per_day) * _DAY_NS))
        for name, per_day in budgets.items()
    }
