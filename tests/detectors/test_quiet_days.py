"""Where nothing is wrong the budget is kept, by levels, and the purse is hardly needed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.quiet_days import Fleet, watch


@pytest.mark.parametrize(("per_day", "seed"), [(1.0, 41), (5.0, 42), (20.0, 43)])
def test_the_budget_is_kept_and_used_on_quiet_days(per_day: float, seed: int) -> None:
    days = watch(Fleet(seed), per_day, days=5)

    assert np.mean(days.told) <= per_day
    assert max(days.told) <= 2.0 * per_day
    assert sum(days.told) >= 0.2 * per_day * len(days.told)
    assert sum(days.held_back[1:]) <= per_day * len(days.held_back[1:])


def test_jobs_by_the_clock_heavy_tails_and_a_deploy_do_not_overrun_it() -> None:
    days = watch(Fleet(44, rough=True), 5.0, days=6)

    assert np.mean(days.told) <= 5.0 + 1.0
    assert max(days.told) <= 10.0
    assert days.anomalies["release"] >= 1
    # Of what the purse holds back there is less each day, as levels are learned: they keep the budget.
    assert days.held_back[5] < 0.5 * days.held_back[0]


def test_new_messages_of_a_deploy_are_one_release_that_costs_nothing() -> None:
    fleet = Fleet(45, rough=True)

    days = watch(fleet, 5.0, days=5)

    deploys = int((fleet.born > 0).sum())
    assert deploys >= 60
    assert days.anomalies["new"] < deploys
    assert days.kinds["release"] == 0
    assert days.kinds["new"] <= 3
