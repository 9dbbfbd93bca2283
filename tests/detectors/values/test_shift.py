"""Levels of numbers: what is found, what is not, and the laws of a detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.slices import BLOCK, Slice
from logllm.detectors.values.config import ValuesConfig
from logllm.detectors.values.messages import SAMPLE, Messages
from logllm.detectors.values.shift import ValueShift
from logllm.detectors.values.watched import REBASE_BLOCKS
from logllm.errors import StateError
from logllm.events import Severity
from tests.detectors.values.streams import FIRST, Records, drive, lognormal

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

HOURS = 60


def steady(minute: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.full(len(minute), 120.0)


def doubled(start: int, end: int, times: float = 2.0) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    def median(minute: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where((minute >= start) & (minute < end), 120.0 * times, 120.0)

    return median


def test_a_latency_that_doubles_is_told_with_its_field_and_values() -> None:
    records = lognormal(6 * HOURS, 20, doubled(300, 360))

    found = drive(ValueShift(service_of=lambda key: key + 7), records, 6 * HOURS)

    assert found
    assert {anomaly.about for anomaly in found} == {"duration_ms"}
    assert FIRST + 300 <= found[0].window < FIRST + 305
    assert (found[0].service, found[0].key, found[0].kind) == (7, 0, "value")
    last = found[-1]
    assert last.expected == pytest.approx(120, rel=0.1)
    assert last.seen == pytest.approx(240, rel=0.15)
    assert last.severity == Severity.WARN


def test_a_latency_that_halves_is_told_too_and_is_harmless() -> None:
    found = drive(ValueShift(), lognormal(6 * HOURS, 20, doubled(300, 360, 0.4)), 6 * HOURS)

    assert found
    assert all(anomaly.seen < anomaly.expected and anomaly.severity == Severity.INFO for anomaly in found)


def test_one_request_in_ten_that_hangs_is_told_although_the_level_hardly_moved() -> None:
    records = lognormal(12 * HOURS, 40, steady)
    assert records.numbers is not None
    hangs = (records.minute >= 600) & (np.arange(len(records.minute)) % 10 == 0)
    records.numbers[hangs] *= 10

    with_share = drive(ValueShift(), records, 12 * HOURS)
    without = drive(ValueShift(tests=frozenset({"up", "down"})), records, 12 * HOURS)

    assert with_share
    assert with_share[0].window < FIRST + 610
    assert not without or without[0].window > with_share[0].window


def test_what_is_over_is_not_told_for_as_long_as_it_is_remembered() -> None:
    records = lognormal(12 * HOURS, 40, steady)
    assert records.numbers is not None
    hangs = (records.minute >= 600) & (records.minute < 640) & (np.arange(len(records.minute)) % 6 == 0)
    records.numbers[hangs] *= 30

    found = drive(ValueShift(), records, 12 * HOURS)

    assert FIRST + 630 < found[-1].window < FIRST + 646


def test_quiet_days_with_a_season_alert_at_most_once() -> None:
    def season(minute: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(120.0 * np.exp(0.6 * np.sin(2 * np.pi * minute / 1440)))

    found = drive(ValueShift(), lognormal(6 * 1440, 15, season), 6 * 1440, rows=BLOCK, level=1 / (1440 * 3))

    late = {anomaly.window // 60 for anomaly in found if anomaly.window >= FIRST + 3 * 1440}
    assert len(late) <= 1


def test_a_single_freak_is_not_told() -> None:
    records = lognormal(6 * HOURS, 20, steady)
    assert records.numbers is not None
    records.numbers[-500] = 1e9

    assert drive(ValueShift(), records, 6 * HOURS) == []


def test_after_two_hours_of_the_same_it_is_the_new_normal() -> None:
    minutes = 12 * HOURS
    records = lognormal(minutes, 20, doubled(300, minutes, 3.0))

    found = drive(ValueShift(), records, minutes)

    windows = [anomaly.window - FIRST for anomaly in found]
    assert min(windows) < 305
    assert max(windows) <= 300 + (REBASE_BLOCKS + 2) * BLOCK


def test_nothing_is_said_before_enough_is_known() -> None:
    assert drive(ValueShift(), lognormal(60, 2, doubled(40, 60, 50.0)), 60) == []


def test_a_key_with_an_open_incident_teaches_nothing() -> None:
    records = lognormal(6 * HOURS, 20, doubled(200, 290))
    free, kept = ValueShift(), ValueShift()

    drive(free, records, 6 * HOURS)
    drive(kept, records, 6 * HOURS, held=np.array([True]))

    assert kept._watched.usual.seen[0] < free._watched.usual.seen[0]


def test_judging_changes_nothing() -> None:
    records = lognormal(5 * HOURS, 20, doubled(290, 300))
    detector = ValueShift()
    drive(detector, records, 5 * HOURS - BLOCK)
    start = int(np.searchsorted(records.minute, 5 * HOURS - BLOCK))
    detector.see(records.seen(start, len(records.minute)))
    counts = np.zeros((BLOCK, 1))
    window_slice = Slice(FIRST + 5 * HOURS - BLOCK, counts, counts, 0, True)

    once = detector.judge(window_slice, 1e-6)
    before = detector.state()
    twice = detector.judge(window_slice, 1e-6)

    assert once == twice
    assert before == detector.state()


@settings(max_examples=12)
@given(cut=st.sampled_from([0, 1, 7, 100]), rows=st.sampled_from([1, 3, 5, 15]), restarts=st.booleans())
def test_what_is_found_depends_on_neither_cuts_nor_slices_nor_restarts(cut: int, rows: int, restarts: bool) -> None:
    minutes = 3 * HOURS
    records = lognormal(minutes, 12, doubled(150, minutes), keys=2)

    whole = drive(ValueShift(), records, minutes, level=1e-4)
    other = drive(
        ValueShift(), records, minutes, cut=cut, rows=rows, level=1e-4, restart=ValueShift if restarts else None
    )

    assert whole
    assert other == whole


def test_the_order_of_records_in_a_window_and_the_numbers_of_keys_make_no_difference() -> None:
    minutes = 4 * HOURS
    records = lognormal(minutes, 20, doubled(200, minutes), keys=3)
    assert records.numbers is not None
    order = np.lexsort([-np.arange(len(records.minute)), records.minute])
    turned = Records(records.minute, 2 - records.keys[order], records.numbers[order])

    found = drive(ValueShift(), records, minutes)
    other = drive(ValueShift(), turned, minutes)

    assert found
    assert {(a.window, a.key, round(a.seen, 6)) for a in found} == {
        (a.window, 2 - a.key, round(a.seen, 6)) for a in other
    }


hostile = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, -1e308, 1e308, 5e-324, 1e-30, 2.0**70, 1.0])


@settings(max_examples=25)
@given(st.lists(hostile, min_size=1, max_size=40), st.integers(0, 10**6))
def test_hostile_values_neither_break_it_nor_are_told_as_no_number(values: list[float], seed: int) -> None:
    minutes = 90
    records = lognormal(minutes, 10, steady, seed=seed)
    assert records.numbers is not None
    rng = np.random.default_rng(seed)
    records.numbers[-300:] = rng.choice(np.array(values), len(records.numbers[-300:]))
    detector = ValueShift()

    with np.errstate(all="raise", under="ignore"):
        found = drive(detector, records, minutes, level=0.01)

    for anomaly in found:
        assert all(np.isfinite(each) for each in (anomaly.expected, anomaly.seen, anomaly.surprise))
    for array in (detector._watched.usual.high, detector._watched.usual.spread, detector._watched.tail.variance):
        assert np.isfinite(array).all()


def test_series_are_bounded_and_the_least_used_go() -> None:
    rng = np.random.default_rng(1)
    n = 6000
    minute = np.sort(rng.integers(0, 120, n))
    keys = np.where(rng.random(n) < 0.5, rng.integers(0, 5, n), np.minimum(minute * 5 + rng.integers(0, 5, n), 500))
    detector = ValueShift(ValuesConfig(most_series=40))

    drive(detector, Records(minute, keys, rng.uniform(1, 9, n)), 120)

    assert detector._watched.series.count <= 40
    assert detector.refused > 0
    living = {detector._watched.series.pair(number)[0] for number in detector._watched.series.living().tolist()}
    assert set(range(5)) <= living


def test_a_merged_key_goes_on_with_the_history_of_the_older_one() -> None:
    records = lognormal(5 * HOURS, 20, steady)
    detector = ValueShift()
    drive(detector, records, 5 * HOURS)

    detector.merge(0, 4)

    number = dict(detector._watched.series.of_key(4))["duration_ms"]
    assert detector._watched.usual.seen[number] > 200
    assert detector._watched.series.of_key(0) == []


def test_values_of_keys_that_merge_within_a_window_count_as_of_one() -> None:
    minutes = 4 * HOURS
    records = lognormal(minutes, 20, doubled(200, minutes), keys=2)
    together = Records(records.minute, np.ones_like(records.keys), records.numbers)
    detector = ValueShift()
    split = int(np.searchsorted(records.minute, 8))
    detector.see(records.seen(0, split))
    detector.merge(0, 1)
    whole = ValueShift()
    whole.see(together.seen(0, split))

    apart, same = (each._cells.within(FIRST, FIRST + 8) for each in (detector, whole))

    assert np.array_equal(np.delete(apart, 1, axis=0), np.delete(same, 1, axis=0))


def test_a_forgotten_key_is_known_no_more_and_its_place_is_given_again() -> None:
    detector = ValueShift()
    drive(detector, lognormal(2 * HOURS, 20, steady), 2 * HOURS)

    detector.forget([0])

    assert detector.tested == 0
    assert detector._watched.series.living().tolist() == []


def test_windows_before_a_gap_are_no_part_of_what_is_judged_after_it() -> None:
    minutes = 5 * HOURS
    records = lognormal(minutes, 20, doubled(280, minutes, 4.0))
    detector = ValueShift()
    drive(detector, records, minutes)
    later = Slice(FIRST + minutes + 100, np.zeros((1, 1)), np.zeros((1, 1)), 100, False)

    assert detector.judge(later, 1e-3) == []
    assert not detector._watched.usual._weights.any()


@pytest.mark.parametrize("damage", ["watched", "cells", "block", "odd"])
def test_a_damaged_state_is_refused(damage: str) -> None:
    detector = ValueShift()
    drive(detector, lognormal(50, 20, steady), 50)
    state = detector.state()

    for broken in ({}, {"dtype": "<f8", "shape": [3], "data": b"123"}):
        with pytest.raises(StateError):
            ValueShift().restore({**state, damage: broken})


def said(key: int, text: str) -> list[str]:
    return text.split()[1:2] + text.split()[-1:]


def test_a_number_with_its_unit_in_a_message_is_watched() -> None:
    source = lognormal(6 * HOURS, 20, doubled(300, 360))
    assert source.numbers is not None
    texts = [f"GET /a{at % 9} took {value:.3f}ms" for at, value in enumerate(source.numbers)]
    records = Records(source.minute, source.keys, texts=texts)

    def detector() -> ValueShift:
        return ValueShift(messages=Messages(said, lambda key: "GET <path> took <num>"))

    found = drive(detector(), records, 6 * HOURS)
    cut = drive(detector(), records, 6 * HOURS, cut=3, restart=detector)

    assert {anomaly.about for anomaly in found} == {"took_ms"}
    assert found[-1].seen == pytest.approx(240, rel=0.2)
    assert cut == found


def test_a_message_is_read_for_the_first_records_of_a_key_in_a_window_alone() -> None:
    asked: list[str] = []

    def parameters(key: int, text: str) -> list[str]:
        asked.append(text)
        return said(key, text)

    texts = [f"GET /x took {at}ms\n" for at in range(500)]
    minute = np.zeros(500, np.int64)
    detector = ValueShift(messages=Messages(parameters, lambda key: "GET <path> took <num>"))

    drive(detector, Records(minute, minute, texts=texts), 1, cut=11)

    assert asked == texts[:SAMPLE]


def test_windows_that_are_judged_already_are_measured_again_when_keys_merge() -> None:
    records = lognormal(BLOCK - 2, 12, steady, keys=2)
    together = Records(records.minute, np.ones_like(records.keys), records.numbers)
    detector, whole = ValueShift(), ValueShift()
    drive(detector, records, BLOCK - 2)
    drive(whole, together, BLOCK - 2)

    detector.merge(0, 1)

    ((_, mine),), ((_, other),) = (each._watched.series.of_key(1) for each in (detector, whole))
    for name in ("level", "squared", "count", "beyond"):
        assert getattr(detector._block, name)[:, mine] == pytest.approx(getattr(whole._block, name)[:, other])
