"""Summer time begins or ends and nothing else happens: what is told that day is what the budget allows."""

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


def _incidents_a_day(shift_h: float, *, sudden: bool) -> list[int]:
    """Incidents told on each day, the clocks having changed at the begin of one."""
    source = np.random.default_rng(5)
    keys = Keys()
    numbers = np.arange(KEYS, dtype=np.int32)
    keys.number(numbers % SERVICES, [f"service-{n}" for n in range(SERVICES)], numbers)
    keys.tally(numbers, np.zeros(KEYS, np.int64), np.zeros(KEYS, np.uint8))
    budget = Budget(BudgetConfig(PER_DAY))
    detection = Detection(keys, budget, lambda _: int(Severity.WARN), [ChangePoint(keys), OddWindows(keys)])
    grouper = Grouper(keys, budget, str)
    told = [0] * (CLOCKS_CHANGE + 2)
    for start in range(0, len(told) * DAY, BLOCK):
        minute = np.arange(start, start + BLOCK)
        hour = minute / 60.0 + np.where(minute >= CLOCKS_CHANGE * DAY, shift_h, 0.0)
        mean = np.geomspace(0.5, 60.0, KEYS) * _of_hour(hour, sudden=sudden)
        counts = source.poisson(mean * source.gamma(6.0, 1 / 6.0, mean.shape)).astype(np.float64)
        each = Slice(FIRST + start, counts, np.zeros_like(counts), 0, True)
        found = detection.judge(each, {FIRST: list(range(KEYS))} if not start else {})
        events, held = grouper.take(found, each.first, counts)
        detection.learn(each, held)
        told[start // DAY] += sum(what == "open" for what, _ in events)
    return told


@pytest.mark.parametrize(("shift_h", "sudden"), [(1.0, False), (-1.0, True)])
def test_the_days_after_the_clocks_have_changed_bring_no_more_than_the_budget_allows(
    shift_h: float, sudden: bool
) -> None:
    told = _incidents_a_day(shift_h, sudden=sudden)

    # What was not used before may be used now, but never two days' worth in one.
    assert max(told[CLOCKS_CHANGE:]) <= 2.0 * PER_DAY
    assert np.mean(told) <= PER_DAY
    assert sum(told[1:CLOCKS_CHANGE]) <= PER_DAY * (CLOCKS_CHANGE - 1)
