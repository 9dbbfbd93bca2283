"""Levels corrected by observation: kept on honest and dishonest probabilities, unmoved by incidents."""

from __future__ import annotations

import math
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray

from logllm.detectors.budget import Budget, BudgetConfig
from logllm.detectors.calibration import HOLD, Calibration
from logllm.detectors.config import ServiceConfig, Shares
from logllm.detectors.slices import BLOCK, Slice
from logllm.detectors.thresholds import Thresholds
from logllm.errors import StateError

ITEMS = 200
DAY = 1440


class _Kind:
    """One kind's tests of some items, judged window by window with probabilities that are made here."""

    def __init__(
        self, budget: Budget | None = None, pools: NDArray[np.int64] | None = None, idle: str = "value"
    ) -> None:
        self.budget = budget or Budget(BudgetConfig(5.0))
        self.kinds = list(dict.fromkeys(["value", idle]))
        self.thresholds = Thresholds(self.budget, self.kinds)
        self.pools = np.zeros(ITEMS, np.int64) if pools is None else pools
        self.window = 0

    def windows(self, log_p: NDArray[np.float64]) -> list[tuple[int, int]]:
        """(window, item) of what is told. Shapes: log_p: float64[windows, ITEMS]."""
        told: list[tuple[int, int]] = []
        for row in log_p:
            each = Slice(self.window, np.zeros((1, ITEMS)), np.zeros((1, ITEMS)), 0, (self.window + 1) % BLOCK == 0)
            if not self.thresholds.hold(each):
                tests = {kind: np.ones(ITEMS) for kind in self.kinds}
                self.thresholds.begin(each, tests, dict.fromkeys(self.kinds, self.pools))
            items = np.flatnonzero(row < math.log(max(self.thresholds.asked("value"), 1e-300)))
            ratios = self.thresholds.ratios("value", self.window, items, row[items], self.pools[items])
            told += [(self.window, item) for item in items[ratios <= 0.0].tolist()]
            for pool in {int(self.pools[item]) for item in items[ratios <= 0.0].tolist()}:
                self.thresholds.told("value", pool)
            self.thresholds.watched(1)
            self.window += 1
        return told

    @property
    def level(self) -> float:
        """The general budget's level, as a probability."""
        return math.exp(self.thresholds._plan["value"][1, 0])


def _honest(days: float, seed: int = 1) -> NDArray[np.float64]:
    logarithms: NDArray[np.float64] = np.log(np.random.default_rng(seed).random((int(days * DAY), ITEMS)))
    return logarithms


def _per_day(told: list[tuple[int, int]], from_day: int, days: int) -> float:
    return sum(from_day * DAY <= window < (from_day + days) * DAY for window, _ in told) / days


def test_honest_probabilities_are_told_at_the_rate_of_the_budget() -> None:
    told = _Kind().windows(_honest(12))

    assert 2.5 < _per_day(told, 2, 10) < 7.5


@pytest.mark.parametrize("tail", [0.5, 0.7])
def test_probabilities_with_a_heavier_tail_than_they_say_are_told_at_the_rate_of_the_budget_too(tail: float) -> None:
    promised = _Kind().windows(_honest(1))

    told = _Kind().windows(_honest(12) / tail)

    assert len(promised) < 20
    assert 1.0 < _per_day(told, 2, 10) < 10.0


def test_without_the_correction_such_a_tail_would_overrun_the_budget() -> None:
    level = Budget(BudgetConfig(5.0)).level("value", ITEMS)

    assert (_honest(2) / 0.5 < math.log(level)).sum() / 2 > 50


def test_an_item_that_is_odd_by_habit_is_learned_as_that_and_spoils_nothing_for_the_others() -> None:
    quiet, noisy = _Kind(), _Kind()
    ordinary = _honest(6)
    job = ordinary.copy()
    job[7::60, 3] = -90.0

    quiet.windows(ordinary)
    told = noisy.windows(job)

    hourly = [window for window, item in told if item == 3]
    assert 3 <= len(hourly) < 60
    assert max(hourly) < 4 * DAY
    assert noisy.level > 0.5 * quiet.level


def test_incidents_do_not_count_as_wrong_probabilities() -> None:
    without, with_incidents = _Kind(), _Kind()
    ordinary = _honest(4)
    troubled = ordinary.copy()
    for start in (2000, 3000, 4500):
        troubled[start : start + 40, :100] = -60.0

    without.windows(ordinary)
    told = with_incidents.windows(troubled)

    assert {item for window, item in told if 3000 <= window < 3040} >= set(range(100))
    assert with_incidents.level > 0.4 * without.level


def test_the_second_incident_of_an_item_is_told_like_the_first_though_it_is_milder() -> None:
    kind = _Kind()
    troubled = _honest(4)
    troubled[2000:2020, 5] = -60.0
    troubled[4000:4020, 5] = -25.0

    told = kind.windows(troubled)

    assert {window for window, item in told if item == 5} >= {2000, 4000}


def test_what_goes_on_for_long_is_one_episode() -> None:
    one, many = Calibration(1.0), Calibration(1.0)
    for calibration, step in ((one, HOLD), (many, HOLD + 1)):
        calibration.grow(1)
        for window in range(0, 100 * step, step):
            items = np.zeros(1, np.int64)
            reference, log_p = np.full(1, -5.0), np.full(1, -6.0)
            calibration.count(window, items, log_p, calibration.tails(items, log_p, reference), reference, items)
        calibration.finish(1000, np.array([1.0]), np.array([0.0]))

    assert one.state()["pools"][1][0] < many.state()["pools"][1][0]
    assert calibration.ratio(0) > one.ratio(0)


def test_a_service_with_a_budget_of_its_own_has_levels_of_its_own() -> None:
    budget = Budget(BudgetConfig(2.0, services=[ServiceConfig("shop", alerts_per_day=40.0)]))
    kind = _Kind(budget, np.repeat(np.array([0, 1]), ITEMS // 2))

    told = kind.windows(_honest(8))

    own = [(window, item) for window, item in told if item >= ITEMS // 2]
    general = [(window, item) for window, item in told if item < ITEMS // 2]
    assert 20.0 < _per_day(own, 2, 6) < 60.0
    assert _per_day(general, 2, 6) < 5.0


def test_a_kind_whose_share_is_nothing_is_never_told() -> None:
    kind = _Kind(Budget(BudgetConfig(5.0, shares=Shares(value=0.0))))
    worst = _honest(0.5)
    worst[100:200, 3] = -600.0

    assert kind.windows(worst) == []


def test_what_one_kind_does_not_use_goes_to_the_others() -> None:
    kind = _Kind(Budget(BudgetConfig(20.0)), idle="odd")
    share = kind.budget.targets("", ["value", "odd", "new"])["value"]

    told = kind.windows(_honest(12))

    assert share == 8.0
    assert 9.0 < _per_day(told, 5, 7) < 20.0


def test_a_restored_state_goes_on_like_the_saved_one_in_the_middle_of_a_block() -> None:
    saved, restored = _Kind(), _Kind()
    saved.windows(_honest(1.005))

    restored.thresholds.restore(msgpack.unpackb(msgpack.packb(saved.thresholds.state())))
    restored.window = saved.window

    rest = _honest(0.5, seed=9)
    assert restored.windows(rest) == saved.windows(rest)
    assert restored.thresholds.state() == saved.thresholds.state()


def test_kinds_that_a_saved_state_does_not_know_begin_anew_and_unknown_ones_are_let_go() -> None:
    saved = Thresholds(Budget(), ["value", "odd"])
    other = Thresholds(Budget(), ["odd", "session"])

    other.restore(msgpack.unpackb(msgpack.packb(saved.state())))

    assert set(other.state()["kinds"]) == {"odd", "session"}


@pytest.mark.parametrize("damage", ["_came", "pools", "pending"])
def test_a_damaged_state_is_refused(damage: str) -> None:
    calibration = Calibration(1.0)
    calibration.grow(3)
    state: dict[str, Any] = calibration.state()
    state[damage] = {"_came": state["_last"], "pools": [[1.0]], "pending": [[9, 0, 1.0, 1.0, 0.0]]}[damage]

    with pytest.raises(StateError):
        Calibration(1.0).restore(state)


def test_budgets_that_come_and_go_with_a_reload_keep_what_was_learned_of_the_others() -> None:
    kind = _Kind(Budget(BudgetConfig(5.0)))
    kind.windows(_honest(2) / 0.5)
    before = kind.level

    kind.budget.change(BudgetConfig(5.0, services=[ServiceConfig("shop", alerts_per_day=3.0)]))
    kind.windows(_honest(0.02))

    assert kind.thresholds.state()["pools"] == ["", "shop"]
    assert kind.level == pytest.approx(before, rel=0.3)


def test_a_merged_item_is_as_noisy_as_the_noisier_and_a_forgotten_one_is_new() -> None:
    kind = _Kind()
    job = _honest(4)
    job[7::60, 3] = -90.0
    kind.windows(job)
    known = kind.thresholds._known["value"]
    reference, log_p = np.full(1, -8.0), np.full(1, -40.0)

    noisy = float(known.tails(np.array([3]), log_p, reference)[0])
    kind.thresholds.merge(3, 4)
    merged, left = (float(known.tails(np.array([item]), log_p, reference)[0]) for item in (4, 3))
    kind.thresholds.forget([4])
    forgotten = float(known.tails(np.array([4]), log_p, reference)[0])

    assert noisy > -12.0
    assert merged == pytest.approx(noisy, abs=0.5)
    assert (left, forgotten) == (-40.0, -40.0)
