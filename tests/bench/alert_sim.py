"""False alerts a day against incidents found, on the simulated fleet beside the checkout.

    python tests/bench/alert_sim.py [BUDGET...]

Reads ../shared/bench/alert_sim.py; says so where it is absent. For each budget of alerts a day it prints what the rate
and the silence detector find, alone, when all of it is theirs (`Rule`), and what is told in service (`Served`): with
levels that are measured on the log and shared with the other kinds, and what was told not long ago held back.
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
from logllm.detectors.detection import Detection
from logllm.detectors.keys import Keys
from logllm.detectors.rate import Rate
from logllm.detectors.silence import MIN_SILENT_MEAN
from logllm.detectors.slices import BLOCK, Slice
from logllm.events import Severity

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

FLEET = Path(__file__).parents[2] / ".." / "shared" / "bench" / "alert_sim.py"


SERVICES = 40

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


class Served:
    """The same through all that decides in service; templates are warnings of SERVICES services.

    That a warning is no longer given is good news and not told: for silences see `Plain`.
    """

    severity = Severity.WARN

    def __init__(self, templates: int, per_day: float) -> None:
        keys = Keys()
        names = [f"service-{number}" for number in range(SERVICES)]
        numbers = np.arange(templates, dtype=np.int32)
        keys.number((numbers % SERVICES).astype(np.int32), names, numbers)
        keys.tally(numbers, np.zeros(templates, np.int64), np.zeros(templates, np.uint8))
        self._detection = Detection(keys, Budget(BudgetConfig(per_day)), lambda _: int(self.severity))
        self._nothing = np.zeros((1, templates))
        self._seen = np.zeros(templates, np.bool_)

    def update(self, minute: int, counts: NDArray[np.int64]) -> tuple[list[int], list[int]]:
        """The templates of which something is told."""
        window = Slice(minute, counts.astype(np.float64)[None], self._nothing, 0, (minute + 1) % BLOCK == 0)
        fresh = np.flatnonzero((counts > 0) & ~self._seen)
        self._seen[fresh] = True
        found = self._detection.judge(window, {minute: fresh.tolist()} if len(fresh) else {})
        open_keys = np.zeros(len(counts), np.bool_)
        self._detection.learn(window, open_keys)
        silent = [key for each in found if each.kind == "silence" for key in each.keys]
        return [each.key for each in found if each.kind == "rate"], silent


class Plain(Served):
    """Where all templates are harmless, of which more must come to be worth a word, and none is a silence."""

    severity = Severity.INFO


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


def measure(
    simulation: ModuleType, per_day: float, seed: int = 7, rule: type[Rule] | type[Served] = Rule
) -> dict[str, dict[str, Any]]:
    """What the rule finds: kind -> found, of, false_per_day."""
    figures: dict[str, dict[str, Any]] = simulation.run(rule(simulation.TEMPLATES, per_day), seed)
    return figures


def main(*budgets: float) -> None:
    """Print a line for each budget."""
    simulation = fleet()
    if simulation is None:
        print(f"{FLEET} is not there: nothing to measure")
        return
    for per_day in budgets or (1.0, 5.0, 20.0):
        for seed in (7, 8, 9):
            for rule in (Rule, Served, Plain):
                begun = time.perf_counter()
                figures = measure(simulation, per_day, seed, rule)
                for kind, each in figures.items():
                    print(
                        f"{rule.__name__:6} budget {per_day:4.0f} a day, seed {seed:2}: {kind:8} {each['found']:3} of "
                        f"{each['of']:3} found, {each['false_per_day']:5.2f} false a day"
                    )
                print(f"{'':33}{time.perf_counter() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
