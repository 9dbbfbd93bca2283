"""Alerts a day, the one knob: a significance level for every test, and a purse that cannot be overdrawn.

The level of each detector is its share of the budget divided by the tests it makes in a day, so that on logs that
are what the models assume the budget is kept by arithmetic. Real logs are not, so a purse holds it by force: it fills
at the budget's rate, opening an incident takes one from it, and what it does not cover is counted, not told.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

__all__ = ["Budget", "BudgetConfig"]

_DAY_NS = 86_400_000_000_000
_WINDOWS_A_DAY = 1440
_SHARE = {"rate": 1.5, "silence": 0.3, "severity": 0.3}
"""Shares of the budget. They add up to more than one because the tests are conservative (most keys cannot spike
detectably) and dependent (a sum shares its windows with its neighbours): of a budget of 5 the simulated fleet gets
2.9 to 4.0 false spikes and 0.3 false silences a day (tests/bench/alert_sim.py)."""


class BudgetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much may be told.

    Args:
        alerts_per_day: Incidents a day that a person is willing to look at, for all that this process watches.
    """

    alerts_per_day: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 5.0


class Budget:
    """Turns alerts a day into significance levels, and keeps the purse. Time is event time."""

    def __init__(self, config: BudgetConfig | None = None) -> None:
        self.per_day = (config or BudgetConfig()).alerts_per_day
        self._full = max(self.per_day, 1.0)
        self._purse = self._full
        self._filled_ns = 0
        self.held_back = 0

    def change(self, config: BudgetConfig) -> None:
        """Go on under another budget; what is in the purse stays, as far as it holds."""
        self.per_day = config.alerts_per_day
        self._full = max(self.per_day, 1.0)
        self._purse = min(self._purse, self._full)

    def level(self, kind: str, tests: int) -> float:
        """The tail probability below which one of `tests` tests a window counts as odd."""
        return min(self.per_day * _SHARE[kind] / (_WINDOWS_A_DAY * max(tests, 1)), 0.01)

    def spend(self, now_ns: int, *, critical: bool, again: bool = False) -> bool:
        """Take one alert out, if it is there. A critical one may overdraw by a whole day's worth.

        Args:
            again: The same incident was refused before: it is held back once, and no more when it is told after all.
        """
        if self._filled_ns and now_ns > self._filled_ns:
            self._purse = min(self._full, self._purse + (now_ns - self._filled_ns) / _DAY_NS * self.per_day)
        self._filled_ns = now_ns
        covered = self._purse - 1.0 >= (-self._full if critical else -1e-9)
        if covered:
            self._purse -= 1.0
        self.held_back += int(not covered) - int(again)
        return covered

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"purse": self._purse, "filled_ns": self._filled_ns, "held_back": self.held_back}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back."""
        self._purse = float(state["purse"])
        self._filled_ns, self.held_back = int(state["filled_ns"]), int(state["held_back"])
