"""The purse: filled by event time, overdrawn by nothing but what is critical."""

from __future__ import annotations

import math

import msgpack  # type: ignore[import-untyped]
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.budget import Budget, BudgetConfig
from logllm.detectors.config import ServiceConfig, Shares

DAY_NS = 86_400_000_000_000
HOUR_NS = DAY_NS // 24


def _spent(budget: Budget, times_ns: list[int], *, critical: bool = False) -> int:
    return sum(budget.spend(ns, critical=critical) for ns in times_ns)


@given(st.floats(0.1, 50), st.lists(st.integers(0, 30 * DAY_NS), max_size=300))
@settings(max_examples=60, deadline=None)
def test_no_more_is_told_than_the_purse_held_and_time_has_filled(per_day: float, times_ns: list[int]) -> None:
    budget = Budget(BudgetConfig(per_day))
    times_ns = sorted(ns + 1 for ns in times_ns)

    told = _spent(budget, times_ns)

    span_days = (times_ns[-1] - times_ns[0]) / DAY_NS if times_ns else 0.0
    assert told <= max(per_day, 1.0) + per_day * max(0.0, span_days - 1.0) + 1e-6
    assert told + budget.held_back == len(times_ns)


def test_a_burst_may_spend_the_first_day_and_from_the_next_on_the_purse_fills_hour_by_hour() -> None:
    budget = Budget(BudgetConfig(24.0))

    burst = _spent(budget, [DAY_NS] * 100)
    first_day = [budget.spend(DAY_NS + hour * HOUR_NS + 1, critical=False) for hour in range(1, 24)]
    hourly = [budget.spend(2 * DAY_NS + hour * HOUR_NS + 1, critical=False) for hour in range(1, 6)]

    assert burst == 24
    assert not any(first_day)
    assert hourly == [True] * 5


def test_what_is_critical_overdraws_by_a_day_and_no_more() -> None:
    budget = Budget(BudgetConfig(5.0))

    plain, critical = _spent(budget, [DAY_NS] * 50), _spent(budget, [DAY_NS] * 50, critical=True)
    day_after = budget.spend(2 * DAY_NS, critical=False)
    two_days_after = budget.spend(3 * DAY_NS + HOUR_NS * 6, critical=False)

    assert (plain, critical) == (5, 5)
    assert (day_after, two_days_after) == (False, True)


def test_a_month_of_nothing_but_critical_ones_is_told_at_the_budgets_rate() -> None:
    budget = Budget(BudgetConfig(5.0))

    told = _spent(budget, [DAY_NS + minute * 60 * 10**9 for minute in range(30 * 1440)], critical=True)

    assert told <= 5 + 5 + 30 * 5


def test_time_that_goes_back_fills_nothing_and_does_not_stop_the_filling() -> None:
    budget = Budget(BudgetConfig(5.0))
    _spent(budget, [100 * DAY_NS] * 5)

    back = budget.spend(3 * DAY_NS, critical=False)
    later = budget.spend(5 * DAY_NS, critical=False)

    assert (back, later) == (False, True)


def test_one_refused_before_is_held_back_once_and_not_at_all_when_told_in_the_end() -> None:
    budget = Budget(BudgetConfig(1.0))
    budget.spend(DAY_NS, critical=False)

    refused = [budget.spend(DAY_NS, critical=False), budget.spend(DAY_NS, critical=False, again=True)]
    held_back = budget.held_back
    told = budget.spend(DAY_NS, critical=True, again=True)

    assert (refused, held_back) == ([False, False], 1)
    assert (told, budget.held_back) == (True, 0)


@pytest.mark.parametrize("kind", ["rate", "silence", "severity"])
def test_levels_fall_with_the_number_of_tests_and_are_never_zero_or_large(kind: str) -> None:
    budget = Budget()

    levels = [budget.level(kind, tests) for tests in (0, 1, 10, 1_000, 100_000)]

    assert all(0.0 < level <= 0.01 and math.isfinite(math.log(level)) for level in levels)
    assert levels == sorted(levels, reverse=True)
    assert budget.level(kind, 1_000) * 1_000 * 1_440 <= 5.0 * 1.5 + 1e-9


def test_a_state_round_trips() -> None:
    saved, restored = Budget(), Budget()
    _spent(saved, [DAY_NS] * 7)

    restored.restore(msgpack.unpackb(msgpack.packb(saved.state())))

    assert restored.state() == saved.state()
    assert [restored.spend(DAY_NS + n * HOUR_NS, critical=False) for n in range(9)] == [
        saved.spend(DAY_NS + n * HOUR_NS, critical=False) for n in range(9)
    ]


def test_a_service_with_a_budget_of_its_own_neither_draws_on_the_general_one_nor_is_held_back_by_it() -> None:
    budget = Budget(BudgetConfig(2.0, services=[ServiceConfig("shop-*", alerts_per_day=3.0)]))

    general = [budget.spend(DAY_NS, critical=False, service=name) for name in ("api", "api", "db")]
    own = [budget.spend(DAY_NS, critical=False, service=name) for name in ("shop-a", "shop-b", "shop-a", "shop-b")]

    assert (general, own) == ([True, True, False], [True, True, True, False])
    assert budget.held_back == 2


def test_what_is_set_of_services_is_found_by_the_first_entry_that_fits() -> None:
    entries = [ServiceConfig("cron", quiet=True), ServiceConfig("c*", weight=3.0), ServiceConfig("[x]", weight=0.5)]
    budget = Budget(BudgetConfig(5.0, services=[*entries, ServiceConfig("d?", alerts_per_day=1.0)]))

    first = budget.special(["cron", "cart"])
    more = budget.special(["cron", "cart", "x", "[x]", "db", "dbs"])

    assert first.quiet.tolist() == [True, False]
    assert more.quiet.tolist() == [True, False, False, False, False, False]
    assert more.weight.tolist() == [1.0, 3.0, 1.0, 0.5, 1.0, 1.0]
    assert [budget.pools[pool] for pool in more.pool.tolist()] == ["", "", "", "", "d?", ""]


def test_shares_are_proportions_of_the_kinds_that_are_there() -> None:
    budget = Budget(BudgetConfig(10.0, shares=Shares(rate=3.0, silence=1.0, value=0.0)))

    targets = budget.targets("", ["rate", "silence", "value"])

    assert targets == {"rate": 7.5, "silence": 2.5, "value": 0.0}


def test_under_another_budget_a_purse_keeps_what_it_holds_as_far_as_it_may() -> None:
    budget = Budget(BudgetConfig(9.0, services=[ServiceConfig("a", alerts_per_day=2.0)]))
    budget.spend(DAY_NS, critical=False)

    budget.change(BudgetConfig(4.0, services=[ServiceConfig("b", alerts_per_day=1.0)]))

    assert _spent(budget, [DAY_NS] * 9) == 4
    assert [budget.spend(DAY_NS, critical=False, service=name) for name in "abb"] == [False, True, False]


@pytest.mark.parametrize(
    "services", [[{"name": ""}], [{"name": "a", "alerts_per_day": 0}], [{"name": "a", "weight": 0}], [{"quiet": True}]]
)
def test_services_that_mean_nothing_are_refused(services: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"services\[0\]|required field `name`"):
        msgspec.convert({"services": services}, BudgetConfig)


@pytest.mark.parametrize("shares", [{"rate": -1}, {"rates": 1}, {"rate": "much"}])
def test_shares_that_mean_nothing_are_refused(shares: object) -> None:
    with pytest.raises(msgspec.ValidationError, match="shares"):
        msgspec.convert({"shares": shares}, BudgetConfig)


@pytest.mark.parametrize("value", [0, -1, float("nan"), 10_001, "many"])
def test_a_budget_that_means_nothing_is_refused(value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"alerts_per_day": value}, BudgetConfig)


def test_levels_of_independent_uniform_tails_keep_the_budget_by_arithmetic() -> None:
    budget = Budget()
    source = np.random.default_rng(1)

    false = sum(int((source.random((1440, 200)) < budget.level("silence", 200)).sum()) for _ in range(30))

    assert false / 30 <= 5.0 * 0.3 * 1.6
