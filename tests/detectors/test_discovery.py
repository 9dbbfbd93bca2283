"""What is told together: a service by its least probable test, and what else belongs to it."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logllm.detectors.discovery import Candidate, discovered
from logllm.events import Anomaly


def _candidates(ratios: list[float], service: int = 0, kind: str = "rate") -> list[Candidate]:
    return [
        Candidate(math.log(ratio), Anomaly(kind, 5, 1, service, key, [key], 1.0, 9.0, 6.0, 13))
        for key, ratio in enumerate(ratios)
    ]


def _keys(found: list[Anomaly]) -> list[int]:
    return [anomaly.key for anomaly in found]


def test_nothing_is_told_where_no_test_is_below_its_own_level() -> None:
    assert discovered(_candidates([1.2, 1.5, 1.9, 2.2])) == []


def test_what_is_odd_beside_it_is_told_along_the_more_there_is_of_it() -> None:
    assert _keys(discovered(_candidates([0.5, 2.5]))) == [0]
    assert _keys(discovered(_candidates([0.5, 2.5, 1.9]))) == [0, 1, 2]


def test_an_incident_of_one_service_does_not_lower_the_bar_for_another() -> None:
    incident = _candidates([0.001] * 50)
    bystander = _candidates([1.5], service=1)

    assert {anomaly.service for anomaly in discovered(incident + bystander)} == {0}


def test_kinds_of_one_service_are_judged_together() -> None:
    both = _candidates([0.3]) + _candidates([1.8], kind="value")

    assert [anomaly.kind for anomaly in discovered(both)] == ["rate", "value"]


@given(st.lists(st.floats(0.001, 30.0), min_size=1, max_size=30))
def test_it_finds_what_benjamini_and_hochberg_find_where_one_is_below_its_level(ratios: list[float]) -> None:
    ordered = sorted(ratios)
    last = max((rank for rank, ratio in enumerate(ordered, 1) if ratio <= rank), default=0)
    expected = sorted(ordered[:last]) if ordered[0] <= 1.0 else []

    found = discovered(_candidates(ratios))

    assert sorted(ratios[key] for key in _keys(found)) == expected


def test_of_pure_chance_so_many_windows_are_told_as_the_levels_promise() -> None:
    source = np.random.default_rng(5)
    level, tests, windows = 1e-3, 100, 3000

    told = sum(
        bool(discovered(_candidates([p / level for p in source.random(tests) if p < 30 * level])))
        for _ in range(windows)
    )

    assert 0.6 * windows * level * tests < told < 1.4 * windows * level * tests
