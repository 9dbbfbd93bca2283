"""Summer time begins or ends and nothing else happens: that day is like any other, and within the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from logllm.detectors.budget import Budget, BudgetConfig
from logllm.detectors.change import ChangePoint
from logllm.detectors.detection import Detection
from logllm.detectors.keys import Keys
from logllm.detectors.odd.windows import OddWindows
from logllm.detectors.slices import BLOCK, Slice
from logllm.events import Severity
from logllm.incidents.grouper import Grouper

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.incidents.incident import Incident

DAY = 1440
KEYS, SERVICES = 30, 6
PER_DAY = 5.0
CLOCKS_CHANGE = 5
FIRST = 29_000_160


def _of_hour(hour: NDArray[np.float64], *, sudden: bool) -> NDArray[np.float64]:
    """float64[windows, 1]: a wave, or office hours with hardly anything by night."""
    if sudden:
        return np.where((hour % 24 >= 8) & (hour % 24 < 18), 1.0, 0.05)[:, None]
    return (1.0 + 0.8 * np.sin(2 * np.pi * hour / 24.0))[:, None]


class _OpenPurse:
    """Covers everything."""

    def spend(self, now_ns: int, *, critical: bool, again: bool = False, service: str = "") -> bool:
        """Always."""
        return True


def _incidents_by_day(
    shift_h: float, *, sudden: bool, days_after: int = 2, seed: int = 5, keys: int = KEYS, open_purse: bool = False
) -> list[list[Incident]]:
    """Incidents opened on each day, the clocks having changed at the begin of one."""
    source = np.random.default_rng(seed)
    numbered = Keys()
    numbers = np.arange(keys, dtype=np.int32)
    numbered.number(numbers % SERVICES, [f"service-{n}" for n in range(SERVICES)], numbers)
    numbered.tally(numbers, np.zeros(keys, np.int64), np.zeros(keys, np.uint8))
    budget = Budget(BudgetConfig(PER_DAY))
    detection = Detection(numbered, budget, lambda _: int(Severity.WARN), [ChangePoint(numbered), OddWindows(numbered)])
    grouper = Grouper(numbered, _OpenPurse() if open_purse else budget, str)
    told: list[list[Incident]] = [[] for _ in range(CLOCKS_CHANGE + days_after)]
    for start in range(0, len(told) * DAY, BLOCK):
        minute = np.arange(start, start + BLOCK)
        hour = minute / 60.0 + np.where(minute >= CLOCKS_CHANGE * DAY, shift_h, 0.0)
        mean = np.geomspace(0.5, 60.0, keys) * _of_hour(hour, sudden=sudden)
        counts = source.poisson(mean * source.gamma(6.0, 1 / 6.0, mean.shape)).astype(np.float64)
        each = Slice(FIRST + start, counts, np.zeros_like(counts), 0, True)
        found = detection.judge(each, {FIRST: list(range(keys))} if not start else {})
        events, held = grouper.take(found, each.first, counts)
        detection.learn(each, held)
        told[start // DAY] += [incident for what, incident in events if what == "open"]
    return told


@pytest.mark.parametrize("shift_h", [1.0, -1.0])
def test_office_hours_that_come_an_hour_early_or_late_are_nothing_new_though_the_purse_is_open(shift_h: float) -> None:
    days = [
        _incidents_by_day(shift_h, sudden=True, days_after=1, seed=seed, keys=60, open_purse=True)[CLOCKS_CHANGE]
        for seed in (11, 12, 13)
    ]

    assert max(map(len, days)) <= PER_DAY
    assert sum(map(len, days)) / len(days) <= PER_DAY / 2
    kinds = {each.kind for day in days for incident in day for each in incident.anomalies}
    assert "change" not in kinds


@pytest.mark.parametrize(("shift_h", "sudden"), [(1.0, False), (-1.0, True)])
def test_the_days_after_the_clocks_have_changed_bring_no_more_than_the_budget_allows(
    shift_h: float, sudden: bool
) -> None:
    told = [len(day) for day in _incidents_by_day(shift_h, sudden=sudden)]

    # What was not used before may be used now, but never two days' worth in one.
    assert max(told[CLOCKS_CHANGE:]) <= 2.0 * PER_DAY
    assert np.mean(told) <= PER_DAY
    assert sum(told[1:CLOCKS_CHANGE]) <= PER_DAY * (CLOCKS_CHANGE - 1)
