"""All detectors together: what becomes an anomaly, what learns, and the law that slices' cuts change nothing."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from logllm.detectors.budget import Budget, BudgetConfig
from logllm.detectors.cooldown import PAUSES
from logllm.detectors.detection import LEARNING_WINDOWS, Detection
from logllm.detectors.keys import Keys
from logllm.detectors.rises import SPANS
from logllm.detectors.slices import BLOCK, Slice
from logllm.errors import StateError
from logllm.events import Anomaly, Severity
from tests.detectors.counts import slices_of

WARN, ERROR, FATAL, NONE = int(Severity.WARN), int(Severity.ERROR), int(Severity.FATAL), 0


class _Fleet:
    """Keys of some services with given severities; `run` judges and learns windows."""

    def __init__(self, services: list[str], severities: list[int], per_day: float = 5.0) -> None:
        self.keys = Keys()
        names = list(dict.fromkeys(services))
        codes = np.array([names.index(name) for name in services], np.int32)
        numbers, _ = self.keys.number(codes, names, np.arange(len(services), dtype=np.int32))
        self.keys.tally(numbers, np.zeros(len(services), np.int64), np.zeros(len(services), np.uint8))
        self.severities = severities
        self.detection = Detection(self.keys, Budget(BudgetConfig(per_day)), self.severities.__getitem__)

    def run(
        self, slices: list[Slice], new: dict[int, list[int]] | None = None, held: tuple[int, ...] = ()
    ) -> list[Anomaly]:
        found: list[Anomaly] = []
        for each in slices:
            rows = range(each.first, each.first + len(each))
            found += self.detection.judge(
                each, {window: keys for window, keys in (new or {}).items() if window in rows}
            )
            still = np.zeros(each.counts.shape[1], np.bool_)
            still[list(held)] = True
            self.detection.learn(each, still)
        return found


def _noise(windows: int, means: list[float], seed: int = 1) -> NDArray[np.float64]:
    source = np.random.default_rng(seed)
    return source.poisson(np.array(means) * source.gamma(4.0, 0.25, (windows, len(means)))).astype(np.float64)


def _day(means: list[float]) -> NDArray[np.float64]:
    return _noise(96 * BLOCK, means)


def test_a_day_of_noise_gives_hardly_anything() -> None:
    fleet = _Fleet(["a", "a", "b", "b"], [NONE, WARN, ERROR, WARN])

    found = fleet.run(slices_of(_noise(3 * 96 * BLOCK, [30.0, 2.0, 0.5, 8.0])))

    assert len({(anomaly.kind, anomaly.key) for anomaly in found}) <= 4


def test_a_spike_of_a_problem_message_is_told_with_what_was_expected_and_seen() -> None:
    fleet = _Fleet(["a"], [WARN])
    fleet.run(slices_of(_day([4.0])))

    found = fleet.run(slices_of(np.array([[60.0]]), first=96 * BLOCK))

    (spike,) = (anomaly for anomaly in found if anomaly.kind == "rate")
    assert (spike.seen, spike.span, spike.window) == (60.0, 1, 96 * BLOCK)
    assert 2.5 < spike.expected < 8.0
    assert 5.0 < spike.surprise <= 300.0


def test_of_one_window_the_worst_comes_first_for_the_purse_may_not_hold_for_all() -> None:
    fleet = _Fleet(["a", "b", "c"], [WARN, ERROR, WARN])
    fleet.run(slices_of(_day([4.0, 4.0, 4.0])))

    found = fleet.run(slices_of(np.array([[60.0, 50.0, 900.0]]), first=96 * BLOCK))

    assert [anomaly.key for anomaly in found if anomaly.kind == "rate"] == [1, 2, 0]


def test_more_of_a_harmless_message_must_be_a_good_deal_more_until_the_seasons_are_known() -> None:
    plain, problem = _Fleet(["a"], [NONE]), _Fleet(["a"], [WARN])
    steady = np.full((96 * BLOCK, 1), 100.0)
    doubled = np.full((1, 1), 260.0)

    for fleet in (plain, problem):
        fleet.run(slices_of(steady))
    told = [fleet.run(slices_of(doubled, first=96 * BLOCK)) for fleet in (plain, problem)]

    assert [[anomaly.kind for anomaly in found] for found in told] == [[], ["rate"]]


def test_nothing_is_told_while_learning_but_a_fatal_new_template() -> None:
    fleet = _Fleet(["a", "a"], [WARN, FATAL])
    counts = np.tile([3.0, 0.0], (LEARNING_WINDOWS, 1))
    counts[40:] = [900.0, 0.0]
    counts[50, 1] = 1.0

    found = fleet.run(slices_of(counts), new={0: [0], 50: [1]})

    assert [(anomaly.kind, anomaly.key, anomaly.window) for anomaly in found] == [("new", 1, 50)]
    assert fleet.detection.learning == 0


def test_errors_that_grow_among_a_services_records_are_a_severity_shift_led_by_what_there_is_most_of() -> None:
    fleet = _Fleet(["a", "a", "a"], [NONE, ERROR, ERROR])
    counts = _day([100.0, 1.0, 1.0])
    fleet.run(slices_of(counts, severe=counts * [0, 1, 1]))
    shifted = np.tile([100.0, 2.0, 14.0], (6, 1))

    found = fleet.run(slices_of(shifted, severe=shifted * [0, 1, 1], first=96 * BLOCK, cuts=range(6)))

    shifts = [anomaly for anomaly in found if anomaly.kind == "severity"]
    assert shifts
    assert {(anomaly.key, anomaly.service) for anomaly in shifts} == {(2, 0)}
    assert all(anomaly.seen > 3 * anomaly.expected and anomaly.span in SPANS for anomaly in shifts)


def test_a_service_that_stops_is_one_silence_of_all_its_keys() -> None:
    fleet = _Fleet(["a", "a", "b"], [NONE, NONE, NONE])
    fleet.run(slices_of(_day([12.0, 5.0, 9.0])))
    quiet = np.tile([0.0, 0.0, 9.0], (15, 1))

    found = fleet.run(slices_of(quiet, first=96 * BLOCK, cuts=range(15)))

    (silence,) = (anomaly for anomaly in found if anomaly.kind == "silence")
    assert (silence.service, silence.key, sorted(silence.keys), silence.span) == (0, 0, [0, 1], 0)
    assert silence.expected == pytest.approx(17.0, rel=0.4)
    assert silence.seen >= 5


def test_a_silence_again_soon_after_one_that_was_told_is_told_when_it_has_lasted_clearly_longer() -> None:
    fleet = _Fleet(["a", "a"], [NONE, NONE])
    fleet.run(slices_of(_day([12.0, 9.0])))
    again = np.tile([12.0, 9.0], (240, 1))
    again[:10, 0] = again[40:, 0] = 0.0

    found = fleet.run(slices_of(again, first=96 * BLOCK, cuts=range(240)))

    first, second = (anomaly.window for anomaly in found if anomaly.kind == "silence")
    assert first < 96 * BLOCK + 10
    assert first + 40 < second < first + PAUSES[0]


def test_a_problem_that_is_no_longer_reported_is_no_silence() -> None:
    fleet = _Fleet(["a", "b", "c"], [ERROR, WARN, NONE])
    fleet.run(slices_of(_day([12.0, 5.0, 9.0])))

    found = fleet.run(slices_of(np.tile([0.0, 0.0, 9.0], (40, 1)), first=96 * BLOCK))

    assert [anomaly for anomaly in found if anomaly.kind == "silence"] == []


def test_that_everything_stopped_is_told_once_and_only_by_the_wall_clock() -> None:
    past, live = (_Fleet(["a", "b"], [NONE, NONE]) for _ in range(2))
    for fleet in (past, live):
        fleet.run(slices_of(_day([12.0, 5.0])))
    nothing = np.zeros((14, 2))

    read = past.run(slices_of(nothing, first=96 * BLOCK, cuts=range(14)))
    watched = live.run(slices_of(nothing, first=96 * BLOCK, cuts=range(14), live=True))

    assert read == []
    assert [(anomaly.kind, anomaly.service, anomaly.keys) for anomaly in watched] == [("silence", -1, [0, 1])]


def test_a_service_that_does_not_come_back_after_everything_stopped_is_told_of_its_own() -> None:
    fleet = _Fleet(["a", "b"], [NONE, NONE])
    fleet.run(slices_of(_day([12.0, 9.0])))
    outage, back = np.zeros((8, 2)), np.tile([12.0, 0.0], (15, 1))

    found = fleet.run(slices_of(outage, first=96 * BLOCK, live=True))
    found += fleet.run(slices_of(back, first=96 * BLOCK + 8, live=True))

    assert [anomaly.service for anomaly in found if anomaly.kind == "silence"] == [-1, 1]


def test_a_release_takes_texts_away_without_a_silence() -> None:
    fleet = _Fleet(["a"] * 14, [NONE] * 14)
    before = np.zeros((96 * BLOCK, 14))
    before[:, :2] = _day([8.0, 8.0])
    fleet.run(slices_of(before), new={0: [0, 1]})
    after = np.zeros((20, 14))
    after[:, [0, *range(2, 14)]] = 4.0

    found = fleet.run(slices_of(after, first=96 * BLOCK), new={96 * BLOCK: list(range(2, 14))})

    assert {anomaly.kind for anomaly in found} == {"release"}


def test_keys_of_open_incidents_do_not_learn() -> None:
    fleet = _Fleet(["a", "a"], [WARN, WARN])
    fleet.run(slices_of(_day([5.0, 5.0])))
    before = fleet.detection.rate.baseline.lately(0)

    fleet.run(slices_of(np.full((2 * BLOCK, 2), 6.0), first=96 * BLOCK), held=(0,))

    assert fleet.detection.rate.baseline.lately(0) == before
    assert fleet.detection.rate.baseline.lately(1) != before


def test_merged_keys_bring_neither_silence_nor_news() -> None:
    fleet = _Fleet(["a", "a", "a"], [NONE, NONE, NONE])
    fleet.run(slices_of(_day([10.0, 10.0, 6.0])), new={0: [0, 1, 2]})
    fleet.detection.merge(0, 1)
    merged = _noise(60, [0.0, 20.0, 6.0], seed=7)

    found = fleet.run(slices_of(merged, first=96 * BLOCK))

    assert found == []


def test_learning_without_judging_first_is_a_mistake_that_shows() -> None:
    fleet = _Fleet(["a"], [NONE])
    (each,) = slices_of(np.ones((1, 1)))

    with pytest.raises(RuntimeError, match="judge"):
        fleet.detection.learn(each, np.zeros(1, np.bool_))


_STEPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1.0, 40.0, 900.0])), max_size=8)


def _tables(steps: list[tuple[int, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counts = _noise(50, [6.0, 0.4, 12.0, 3.0], seed=3)
    for at, (key, value) in enumerate(steps):
        counts[5 * at : 5 * at + 7, key] = value
    return counts, counts * [0, 1, 0, 1]


@given(_STEPS, st.lists(st.integers(0, 50), max_size=6))
@settings(max_examples=25, deadline=None)
def test_anomalies_do_not_depend_on_how_blocks_are_cut_into_slices(
    steps: list[tuple[int, float]], cuts: list[int]
) -> None:
    counts, severe = _tables(steps)
    found = []

    for each in ([], cuts, range(50)):
        fleet = _Fleet(["a", "a", "b", "b"], [NONE, ERROR, NONE, WARN])
        learned = _noise(10 * BLOCK, [6.0, 0.4, 12.0, 3.0])
        fleet.run(slices_of(learned, severe=learned * [0, 1, 0, 1]), new={0: [0, 1, 2]})
        found.append(
            fleet.run(slices_of(counts, severe=severe, first=10 * BLOCK, cuts=each), new={10 * BLOCK + 3: [3]})
        )

    assert _rounded(found[0]) == _rounded(found[1]) == _rounded(found[2])


def _rounded(found: list[Anomaly]) -> list[tuple[Any, ...]]:
    return [
        (
            a.kind,
            a.window,
            a.span,
            a.service,
            a.key,
            a.keys,
            round(a.expected, 6),
            a.seen,
            round(a.surprise, 6),
            a.severity,
        )
        for a in found
    ]


@given(_STEPS, st.integers(0, 49))
@settings(max_examples=25, deadline=None)
def test_a_restored_detection_finds_what_the_saved_one_would_have(steps: list[tuple[int, float]], cut: int) -> None:
    counts, severe = _tables(steps)
    saved, restored = (_Fleet(["a", "a", "b", "b"], [NONE, ERROR, NONE, WARN]) for _ in range(2))
    learned = _noise(10 * BLOCK, [6.0, 0.4, 12.0, 3.0])
    saved.run(slices_of(learned, severe=learned * [0, 1, 0, 1]), new={0: [0, 1, 2, 3]})
    saved.run(slices_of(counts[:cut], severe=severe[:cut], first=10 * BLOCK))

    restored.detection.restore(msgpack.unpackb(msgpack.packb(saved.detection.state())))
    rest = slices_of(counts[cut:], severe=severe[cut:], first=10 * BLOCK + cut)

    assert restored.run(rest) == saved.run(rest)
    assert restored.detection.state() == saved.detection.state()


def test_a_state_of_other_keys_is_refused() -> None:
    fleet, other = _Fleet(["a"], [NONE]), _Fleet(["a"] * 3, [NONE] * 3)
    fleet.run(slices_of(np.ones((20, 1))))
    other.run(slices_of(np.ones((20, 3))))

    with pytest.raises(StateError):
        fleet.detection.restore(fleet.detection.state() | {"severe": other.detection.state()["severe"]})
