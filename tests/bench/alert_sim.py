"""False alerts a day against incidents found, on the simulated fleet beside the checkout.

    python tests/bench/alert_sim.py [BUDGET...]

Reads ../shared/bench/alert_sim.py; says so where it is absent. For each budget of alerts a day it prints what the rate
and the silence detector find with the levels that budget gives them.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.budget import WINDOWS_A_DAY, Budget, BudgetConfig
from logllm.detectors.rate import Rate
from logllm.detectors.silence import MIN_SILENT_MEAN
from logllm.detectors.slices import BLOCK, Slice

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

FLEET = Path(__file__).parents[2] / ".." / "shared" / "bench" / "alert_sim.py"


PROMISED = 1.25
"""Spikes that the tails promise for one alert of the budget: two keys of three cannot spike detectably, and the windows
of a spike are one alert. In service the ratio is measured on the log itself."""


class Rule:
    """The rate and the silence detector at the levels of a budget, told minute by minute."""

    def __init__(self, templates: int, per_day: float) -> None:
        self._rate = Rate()
        self._budget = Budget(BudgetConfig(per_day))
        self._nothing = np.zeros((1, templates))
        self._silent = np.zeros(templates, np.bool_)

    def update(self, minute: int, counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The templates that spike and those that have just fallen silent."""
        window = Slice(minute, counts.astype(np.float64)[None], self._nothing, 0, (minute + 1) % BLOCK == 0)
        tests = max(self._rate.tested, 1)
        spike_level = self._budget.per_day * PROMISED / (WINDOWS_A_DAY * tests)
        self._rate.enter(window)
        scores = self._rate.score(window)
        spiking = scores.spike[0] < spike_level
        silent = scores.silence[0] < math.log(self._budget.level("silence", tests))
        silent &= (self._rate.baseline.low >= MIN_SILENT_MEAN) & scores.unheard[0]
        self._rate.learn(window, scores, (scores.spike[0] < 100.0 * spike_level) | silent)
        fresh = np.flatnonzero(silent & ~self._silent)
        self._silent = silent
        return np.flatnonzero(spiking), fresh


def fleet() -> ModuleType | None:
    """The simulation; None where it is not beside the checkout."""
    if not FLEET.exists():
        return None
    spec = importlib.util.spec_from_file_location("fleet", FLEET)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(simulation: ModuleType, per_day: float, seed: int = 7) -> dict[str, dict[str, Any]]:
    """What the rule finds: kind -> found, of, false_per_day."""
    figures: dict[str, dict[str, Any]] = simulation.run(Rule(simulation.TEMPLATES, per_day), seed)
    return figures


def main(*budgets: float) -> None:
    """Print a line for each budget."""
    simulation = fleet()
    if simulation is None:
        print(f"{FLEET} is not there: nothing to measure")
        return
    for per_day in budgets or (1.0, 5.0, 20.0):
        for seed in (7, 8, 9):
            begun = time.perf_counter()
            figures = measure(simulation, per_day, seed)
            for kind, each in figures.items():
                print(
                    f"budget {per_day:4.0f} a day, seed {seed:2}: {kind:8} {each['found']:3} of {each['of']:3} found, "
                    f"{each['false_per_day']:5.2f} false a day"
                )
            print(f"{'':26}{time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
