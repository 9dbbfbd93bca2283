"""The look back on a whole file: what it finds in files made by hand, and that it finds nothing in calm ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from logllm.detectors.keys import Keys
from logllm.detectors.survey import MAX_BINS, MAX_FINDINGS, Survey, rank
from logllm.events import Anomaly, Severity
from tests.detectors.counts import slices_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

WARN, ERROR, NONE = int(Severity.WARN), int(Severity.ERROR), 0


def _survey(counts: NDArray[Any], severities: list[int], *, chunk: int = 1_000_000) -> Survey:
    keys = Keys()
    size = counts.shape[1]
    numbers, _ = keys.number(np.zeros(size, np.int32), ["app"], np.arange(size, dtype=np.int32))
    keys.tally(numbers, np.zeros(size, np.int64), np.zeros(size, np.uint8))
    survey = Survey(keys, severities.__getitem__)
    for start in range(0, len(counts), chunk):
        for each in slices_of(counts[start : start + chunk], first=start):
            survey.add(each)
    return survey


def _kinds(found: list[Anomaly]) -> dict[str, list[int]]:
    kinds: dict[str, list[int]] = {}
    for anomaly in found:
        kinds.setdefault(anomaly.kind, []).append(anomaly.key)
    return kinds


def test_a_problem_message_that_makes_up_much_of_the_file_dominates_and_a_harmless_one_does_not() -> None:
    counts = np.tile([60, 6, 2], (30, 1))

    found = _survey(counts, [NONE, WARN, WARN]).findings()

    assert _kinds(found) == {"dominant": [1]}
    assert found[0].seen == 180.0
    assert found[0].expected == pytest.approx(102.0)


def test_a_burst_is_found_in_the_window_where_it_is() -> None:
    counts = np.random.default_rng(2).poisson(1.0, (60, 3))
    counts[41, 1] += 40

    found = _survey(counts, [NONE, WARN, NONE]).findings()

    (burst,) = (anomaly for anomaly in found if anomaly.kind == "rate")
    assert (burst.key, burst.window, burst.span) == (1, 41, 1)
    assert burst.seen >= 40
    assert burst.surprise > 6


def test_what_first_comes_late_in_the_file_is_new_and_what_was_there_before_is_not() -> None:
    counts = np.zeros((20, 3), int)
    counts[:, 0] = 50
    counts[12:, 1] = 1
    counts[2, 2] = 3

    found = _survey(counts, [NONE, ERROR, ERROR]).findings()

    assert 1 in _kinds(found)["new"]
    assert 2 not in _kinds(found)["new"]


def test_in_a_file_of_one_minute_nothing_is_late() -> None:
    found = _survey(np.array([[400, 3, 2]]), [NONE, ERROR, ERROR]).findings()

    assert "new" not in _kinds(found)


def test_an_error_that_comes_a_few_times_in_hundreds_of_records_is_rare() -> None:
    counts = np.zeros((20, 2), int)
    counts[:, 0] = 50
    counts[3, 1] = 2

    assert _kinds(_survey(counts, [NONE, ERROR]).findings()) == {"rare": [1]}
    assert _kinds(_survey(counts[:, [1, 1]][:4], [ERROR, ERROR]).findings()) == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_calm_file_gives_nothing(seed: int) -> None:
    source = np.random.default_rng(seed)
    means = np.array([0.3, 2.0, 9.0, 40.0] * 5)
    counts = source.poisson(means * source.gamma(3.0, 1 / 3.0, (120, 20)))

    assert _survey(counts, [NONE] * 20).findings() == []


def test_a_long_file_is_left_to_the_online_detectors_but_for_what_dominates() -> None:
    counts = np.tile([20, 9], (400, 1))
    counts[300, 1] += 500

    assert set(_kinds(_survey(counts, [NONE, WARN]).findings())) == {"dominant"}


def test_bins_widen_so_that_memory_stays_bounded_and_no_count_is_lost() -> None:
    counts = np.random.default_rng(4).poisson(2.0, (5_000, 3))

    survey = _survey(counts, [NONE, NONE, NONE], chunk=700)

    assert len(survey._bins) <= MAX_BINS
    assert survey._table().sum(axis=0).tolist() == counts.sum(axis=0).tolist()


def test_nothing_depends_on_how_the_windows_came() -> None:
    counts = np.random.default_rng(4).poisson(1.0, (333, 4))
    counts[100, 2] += 60

    one = _survey(counts, [NONE, WARN, ERROR, NONE]).findings()
    two = _survey(counts, [NONE, WARN, ERROR, NONE], chunk=7).findings()

    assert one == two


def test_merged_keys_are_counted_together() -> None:
    counts = np.zeros((12, 3), int)
    counts[:, 0], counts[5, 1], counts[7, 2] = 30, 8, 12
    survey = _survey(counts, [NONE, ERROR, ERROR])

    survey.merge(1, 2)

    assert survey._table().sum(axis=0).tolist() == [360.0, 0.0, 20.0]
    assert 1 not in [anomaly.key for anomaly in survey.findings()]


def test_keys_that_run_alike_have_profiles_that_point_the_same_way() -> None:
    counts = np.zeros((20, 3), int)
    counts[5:8, 0], counts[5:8, 1], counts[15:, 2] = 9, 90, 9

    profile = _survey(counts, [NONE] * 3).profile([0, 1, 2])

    assert float(profile[:, 0] @ profile[:, 1]) == pytest.approx(1.0)
    assert float(profile[:, 0] @ profile[:, 2]) == 0.0


def test_ten_thousand_rare_errors_give_a_bounded_list() -> None:
    counts = np.zeros((3, 10_000), int)
    counts[1] = 1

    found = _survey(counts, [ERROR] * 10_000).findings()

    assert len(found) == MAX_FINDINGS


def test_an_empty_file_and_one_of_silent_windows_give_nothing() -> None:
    assert _survey(np.zeros((0, 2)), [NONE, NONE]).findings() == []
    assert _survey(np.zeros((40, 2)), [ERROR, WARN]).findings() == []


def test_rank_prefers_the_worse_the_more_and_the_less_probable() -> None:
    def anomaly(severity: int, seen: float, surprise: float) -> Anomaly:
        return Anomaly("rate", 0, 1, 0, 0, [0], 1.0, seen, surprise, severity)

    assert rank(anomaly(ERROR, 10, 5)) > rank(anomaly(WARN, 10, 5)) > rank(anomaly(NONE, 10, 5))
    assert rank(anomaly(WARN, 1_000, 5)) > rank(anomaly(WARN, 10, 5))
    assert rank(anomaly(WARN, 10, 50)) > rank(anomaly(WARN, 10, 5))
    assert math.isfinite(rank(anomaly(ERROR, 1e12, 300)))
