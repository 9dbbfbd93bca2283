"""The detector of one series: its laws, what it finds, and the figure it reaches on the labelled series."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.series import ALERT, SeriesDetector
from logllm.detectors.series.novelty import MEMORY_POINTS, Contexts, Gaps
from logllm.detectors.series.tail import Cooldown, Tail
from logllm.errors import StateError
from tests.bench.series import DATA, SCORER, at, nab, whole

STEP_S = 300
DAY_POINTS = 86_400 // STEP_S


def course(points: int, seed: int = 1) -> list[float]:
    """A daily course with noise."""
    chance = random.Random(seed)
    return [100.0 + 30.0 * math.sin(2 * math.pi * at / DAY_POINTS) + chance.gauss(0.0, 3.0) for at in range(points)]


def noise(points: int, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(50.0, 5.0) for _ in range(points)]


def scored(values: list[float], detector: SeriesDetector | None = None, start: int = 0) -> list[float]:
    detector = detector or SeriesDetector()
    return [detector.score(STEP_S * (start + place), value) for place, value in enumerate(values)]


def alerts(scores: list[float]) -> list[int]:
    return [place for place, score in enumerate(scores) if score >= ALERT]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.one_of(st.floats(), st.integers()), st.one_of(st.floats(), st.integers())),
        min_size=1,
        max_size=20,
    )
)
def test_a_score_is_a_share_whatever_times_and_values_come(cycle: list[tuple[float, float]]) -> None:
    detector = SeriesDetector()

    scores = [detector.score(*cycle[place % len(cycle)]) for place in range(400)]

    assert all(0.0 <= score <= 1.0 for score in scores)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_what_is_no_number_scores_nothing_and_changes_nothing(value: float) -> None:
    values = course(1500)
    without, among = SeriesDetector(), SeriesDetector()

    kept = scored(values, without)
    for place, each in enumerate(values):
        assert among.score(STEP_S * place, value) == 0.0
        assert among.score(STEP_S * place, each) == kept[place]

    assert among.skipped == len(values)


@pytest.mark.parametrize("huge", [1e308, -1e308])
def test_a_huge_value_is_found_and_does_not_blind_the_detector(huge: float) -> None:
    values = course(3000)
    values[1000], values[2000] = huge, 400.0

    scores = scored(values)

    assert scores[1000] > ALERT
    assert scores[2000] > ALERT


def test_a_series_of_the_largest_and_the_smallest_doubles_is_scored() -> None:
    largest = sys.float_info.max

    scores = scored([largest if place % 2 else -largest for place in range(600)])

    assert max(scores) < ALERT


def test_times_that_repeat_go_back_or_are_none_leave_every_score_a_share() -> None:
    detector = SeriesDetector()
    times = [0.0, 0.0, -1e-9, math.nan, 1e300, -5.0, math.inf]

    scores = [detector.score(times[place % len(times)], value) for place, value in enumerate(course(1000))]

    assert all(0.0 <= score <= 1.0 for score in scores)


@pytest.mark.parametrize("cut", [0, 1, 127, 128, 150, 700, 1999])
def test_a_detector_that_was_saved_and_restored_goes_on_as_if_it_had_not_been(cut: int) -> None:
    values = course(2000)
    values[1500] = 300.0
    whole_run = scored(values)
    before, after = SeriesDetector(), SeriesDetector()

    head = scored(values[:cut], before)
    after.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(before.state()), strict=False))
    tail = scored(values[cut:], after, cut)

    assert head + tail == whole_run


def test_a_saved_state_does_not_change_with_the_detector() -> None:
    detector = SeriesDetector()
    scored(course(500), detector)
    saved = detector.state()
    kept = msgspec.msgpack.encode(saved)

    scored(course(500, seed=2), detector)

    assert msgspec.msgpack.encode(saved) == kept


def damages() -> Iterator[Callable[[dict[str, Any]], Any]]:
    yield lambda state: state.update(points="many")
    yield lambda state: state.update(more=1)
    yield lambda state: state.update(recent=[0.0])
    yield lambda state: state["recent"].__setitem__(0, math.nan)
    yield lambda state: state["tails"].pop()
    yield lambda state: state["tails"][0]["largest"].reverse()
    yield lambda state: state["gaps"][0]["steps"].append(0)
    yield lambda state: state["contexts"]["counts"][0].update({1: -4})
    yield lambda state: state["season"].update(hour=24)
    yield lambda state: state["scale"].update(spread=0.0)
    yield lambda state: state["scale"].update(middle=math.inf)


@pytest.mark.parametrize("damage", list(damages()))
def test_a_damaged_state_is_refused_and_the_detector_stays_as_it_was(damage: Callable[[dict[str, Any]], Any]) -> None:
    detector = SeriesDetector()
    scored(course(500), detector)
    good = detector.state()
    bad = detector.state()
    damage(bad)

    with pytest.raises(StateError, match="saved series detector"):
        detector.restore(bad)

    assert detector.state() == good


def test_points_are_scored_alike_on_any_scale_and_about_any_middle() -> None:
    values = course(3000)
    values[2000] = 300.0
    kept = scored(values)

    moved = scored([value * 4096.0 + 2.0**20 for value in values])
    small = scored([value / 4096.0 for value in values])

    assert alerts(moved) == alerts(kept) == alerts(small)
    assert max(abs(one - other) for one, other in zip(moved, kept, strict=True)) < 0.2


def test_a_datetime_is_read_as_it_is_written_and_seconds_as_utc() -> None:
    values = course(2500)
    values[2000] = 300.0
    begin = datetime(1970, 1, 1)
    zones = [begin, begin.replace(tzinfo=UTC), begin.replace(tzinfo=timezone(timedelta(hours=9)))]

    runs = []
    for start in zones:
        detector = SeriesDetector()
        runs.append([detector.score(start + timedelta(seconds=STEP_S * at), each) for at, each in enumerate(values)])

    assert runs == [scored(values)] * 3


def test_a_constant_series_scores_nothing_and_its_first_change_much() -> None:
    for constant in (0.0, -45.0, 1e-9, 1e12):
        scores = scored([constant] * 20_000 + [constant + 1.0 + abs(constant)])

        assert max(scores[:-1]) == 0.0
        assert scores[-1] > ALERT


def test_the_first_points_score_nothing() -> None:
    assert max(scored(noise(150))) == 0.0


@pytest.mark.parametrize("make", [course, noise])
def test_a_spike_is_found_at_its_point(make: Callable[[int], list[float]]) -> None:
    values = make(4000)
    values[3000] += 200.0

    scores = scored(values)

    assert scores[3000] == max(scores)
    assert scores[3000] > ALERT


def test_a_change_of_level_is_told_once_and_then_is_normal() -> None:
    values = noise(8000)
    values[4000:] = [value + 60.0 for value in values[4000:]]

    found = alerts(scored(values))

    assert any(4000 <= place < 4012 for place in found)
    assert sum(place > 4100 for place in found) <= 3


def test_a_night_at_noon_is_found_though_each_of_its_values_is_usual() -> None:
    values = course(10 * DAY_POINTS)
    noon = 8 * DAY_POINTS + DAY_POINTS // 4 - 20
    values[noon : noon + 40] = values[8 * DAY_POINTS - DAY_POINTS // 4 - 20 : 8 * DAY_POINTS - DAY_POINTS // 4 + 20]

    found = alerts(scored(values))

    assert any(noon <= place < noon + 40 for place in found)


def test_of_plain_noise_one_point_in_five_hundred_is_an_alert_at_most() -> None:
    found = [len(alerts(scored(noise(10_000, seed)))) for seed in range(4)]

    assert max(found) <= 10_000 / 500


def test_memory_stays_bounded_over_a_million_values_without_any_habit() -> None:
    contexts, gaps = Contexts(), Gaps()
    chance = random.Random(3)

    for _ in range(1_000_000):
        value = chance.uniform(-32.0, 32.0)
        contexts.rareness(value, chance.uniform(-64.0, 64.0))
        gaps.gap(2.0 * value)

    assert sum(map(len, contexts.counts)) <= 6 * 1.5 * MEMORY_POINTS
    assert contexts.points < MEMORY_POINTS
    assert len(gaps.steps) == len(gaps.seen) <= 12_801


def test_a_value_not_seen_for_long_is_news_again() -> None:
    gaps = Gaps()
    gaps.gap(5.0)
    gaps.gap(0.0)

    soon = gaps.gap(5.0)
    for _ in range(6 * MEMORY_POINTS):
        gaps.gap(0.0)
    late = gaps.gap(5.0)

    assert soon == 0.0
    assert late > 1.0


def test_a_rank_is_the_share_of_the_past_that_was_as_large() -> None:
    tail = Tail()
    chance = random.Random(5)
    past = [chance.expovariate(1.0) for _ in range(4000)]
    for value in past:
        tail.surprise(value)

    for value in (4.0, 5.0, 6.0):
        probe = Tail()
        probe.points, probe.largest = tail.points, list(tail.largest)

        share = sum(each >= value for each in past) / len(past)

        assert probe.surprise(value) == pytest.approx(-math.log(share), abs=0.15)


def test_what_is_larger_than_all_before_is_the_more_surprising_the_larger() -> None:
    surprises = []
    for value in (8.0, 10.0, 20.0, 40.0):
        tail = Tail()
        for place in range(3000):
            tail.surprise(float(place % 7))
        surprises.append(tail.surprise(value))

    assert surprises == sorted(surprises)
    assert surprises[0] > math.log(3000)


def test_a_record_is_forgotten_after_its_time() -> None:
    tail = Tail()
    chance = random.Random(1)
    tail.surprise(100.0)
    for _ in range(9000):
        tail.surprise(chance.random())

    assert tail.surprise(50.0) > math.log(8000)


def test_after_a_surprise_only_a_clearly_larger_one_is_let_through() -> None:
    cooldown = Cooldown()

    told = [cooldown.apply(*each) for each in ((5.0, 1000), (5.5, 1010), (7.0, 1011), (0.0, 1012), (5.5, 1100))]

    assert told[0] == 5.0
    assert told[1] < 5.0
    assert told[2:] == [7.0, 0.0, 5.5]


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the scorer leaves its files to be collected
def test_on_the_labelled_series_it_reaches_what_its_note_says() -> None:
    scorer = nab()
    if scorer is None:
        pytest.skip(f"{SCORER} or {DATA} is not beside the checkout")
    scores, _ = scorer.run_detector(lambda _: SeriesDetector())

    score, threshold = whole(scorer, scores)

    assert score > 73.5
    assert 0.4 < threshold < 0.6
    assert at(scorer, scores, list(range(len(scores))), ALERT) > 70.0
