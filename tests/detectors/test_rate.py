"""Laws of the rate detector, and what it must find and must not."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from logllm.detectors.packing import pack_array
from logllm.detectors.rate import REBASE_BLOCKS, Rate, RateScores
from logllm.detectors.rises import SPANS
from logllm.detectors.slices import BLOCK
from logllm.errors import StateError
from tests.detectors.counts import run_rate, slices_of

FIELDS = ("spike", "span", "total", "silence", "zeros", "unheard", "source_zeros")


def _noise(windows: int, means: list[float], seed: int = 1, shape: float = 3.0) -> NDArray[np.float64]:
    source = np.random.default_rng(seed)
    return source.poisson(np.array(means) * source.gamma(shape, 1 / shape, (windows, len(means)))).astype(np.float64)


def _joined(scores: list[RateScores], field: str) -> NDArray[Any]:
    return np.concatenate([getattr(each, field) for each in scores])


def _learned(counts: NDArray[np.float64], first: int = 0) -> Rate:
    rate = Rate()
    run_rate(rate, slices_of(counts, first=first))
    return rate


_COUNTS = st.integers(1, 4).flatmap(
    lambda keys: st.lists(
        st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 9, 60, 4_000]), min_size=keys, max_size=keys),
        min_size=1,
        max_size=50,
    )
)


@given(_COUNTS, st.integers(0, 40), st.booleans())
@settings(max_examples=60, deadline=None)
def test_scores_are_finite_and_tails_are_probabilities(counts: list[list[int]], first: int, gap: bool) -> None:
    rate = _learned(_noise(90, [3.0] * len(counts[0])))

    scores = run_rate(rate, slices_of(np.array(counts), first=90 + first, gap=int(gap)))

    for field in FIELDS:
        assert np.isfinite(_joined(scores, field)).all()
    spike = _joined(scores, "spike")
    assert ((spike >= 0) & (spike <= 1)).all()
    assert (_joined(scores, "silence") <= 0).all()
    assert (_joined(scores, "total") >= 0).all()
    assert set(np.unique(_joined(scores, "span"))) <= set(range(len(SPANS)))


@given(_COUNTS, st.lists(st.integers(0, 50), max_size=6))
@settings(max_examples=80, deadline=None)
def test_what_is_found_and_learned_does_not_depend_on_how_a_block_is_cut_into_slices(
    counts: list[list[int]], cuts: list[int]
) -> None:
    table = np.array(counts)
    whole, cut, single = (_learned(_noise(95, [2.0] * table.shape[1])) for _ in range(3))

    one = run_rate(whole, slices_of(table, first=95))
    two = run_rate(cut, slices_of(table, first=95, cuts=cuts))
    three = run_rate(single, slices_of(table, first=95, cuts=range(50)))

    for field in FIELDS:
        assert np.allclose(_joined(one, field), _joined(two, field), rtol=1e-9), field
        assert np.allclose(_joined(one, field), _joined(three, field), rtol=1e-9), field
    assert whole.baseline.seen.tolist() == cut.baseline.seen.tolist() == single.baseline.seen.tolist()
    assert np.allclose(whole.baseline.high, single.baseline.high)
    assert np.allclose(whole.baseline.phi, single.baseline.phi)


def test_sums_reach_back_over_the_windows_just_before_also_within_a_block() -> None:
    rate = _learned(np.ones((60 * BLOCK, 1)))
    long_and_low = np.full((10, 1), 12.0)

    scores = run_rate(rate, slices_of(long_and_low, first=60 * BLOCK, cuts=range(10)))

    total, span = _joined(scores, "total")[:, 0], _joined(scores, "span")[:, 0]
    sums = {1: 12.0, 5: 60.0, 9: 108.0, 15: 10 * 12.0 + 5 * 1.0}
    assert total[9] == sums[SPANS[int(span[9])]]
    assert SPANS[int(span[9])] > 1
    assert total[4] in {60.0, 5 * 12.0 + 4 * 1.0, 5 * 12.0 + 10 * 1.0}


@given(_COUNTS)
@settings(max_examples=40, deadline=None)
def test_scoring_changes_nothing(counts: list[list[int]]) -> None:
    rate = _learned(_noise(100, [3.0] * len(counts[0])))
    (each, *_) = slices_of(np.array(counts), first=100)
    rate.enter(each)
    before = rate.state()

    first, second = rate.score(each), rate.score(each)

    assert rate.state() == before
    for field in FIELDS:
        assert np.array_equal(getattr(first, field), getattr(second, field))


@given(st.permutations(range(5)), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_order_of_keys_is_irrelevant(order: list[int], seed: int) -> None:
    counts = _noise(200, [0.05, 0.7, 4.0, 30.0, 900.0], seed)
    counts[170:180, seed % 5] *= 8
    counts[185:, (seed + 1) % 5] = 0

    straight = run_rate(Rate(), slices_of(counts))
    mixed = run_rate(Rate(), slices_of(counts[:, order]))

    for field in FIELDS[:-1]:
        assert np.allclose(_joined(straight, field)[:, order], _joined(mixed, field), rtol=1e-9), field


@given(st.integers(0, 130), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_state_round_trips_and_scores_stay_equal(cut: int, seed: int) -> None:
    counts = _noise(160, [0.3, 8.0, 50.0], seed)
    saved = _learned(counts[:cut])
    restored = Rate()

    restored.restore(msgpack.unpackb(msgpack.packb(saved.state())))
    one = run_rate(saved, slices_of(counts[cut:], first=cut))
    two = run_rate(restored, slices_of(counts[cut:], first=cut))

    assert restored.state() == saved.state()
    for field in FIELDS:
        assert np.array_equal(_joined(one, field), _joined(two, field))


def test_memory_does_not_grow_with_time() -> None:
    rate = Rate()

    run_rate(rate, slices_of(_noise(5 * BLOCK, [2.0] * 20)))
    early = len(msgpack.packb(rate.state()))
    run_rate(rate, slices_of(_noise(200 * BLOCK, [2.0] * 20), first=5 * BLOCK))

    assert len(msgpack.packb(rate.state())) <= early + 64


def test_a_key_not_yet_known_says_nothing_and_is_known_from_its_first_record_on() -> None:
    counts = _noise(150, [5.0, 5.0])
    counts[:120, 1] = 0

    rate = Rate()
    scores = run_rate(rate, slices_of(counts))

    assert (_joined(scores, "spike")[:, 1] == 1.0).all()
    assert (_joined(scores, "zeros")[:120, 1] == 0).all()
    assert rate.baseline.seen.tolist() == [150, 30]


@pytest.mark.parametrize("mean", [1.0, 10.0, 500.0])
@pytest.mark.parametrize("length", [1, 5, 15])
def test_a_spike_is_found_and_its_best_span_is_about_as_long_as_it_lasts(mean: float, length: int) -> None:
    rate = _learned(_noise(96 * BLOCK, [mean], shape=8.0))
    spike = np.full((15, 1), mean)
    spike[:length] = np.ceil(mean * {1: 20.0, 5: 9.0, 15: 6.0}[length])

    scores = run_rate(rate, slices_of(spike, first=96 * BLOCK, cuts=range(15)))

    assert _joined(scores, "spike").min() < 1e-6
    at = int(_joined(scores, "spike")[:, 0].argmin())
    assert abs(at - (length - 1)) <= 1


def test_on_noise_of_its_own_kind_tails_are_no_smaller_than_they_say() -> None:
    rate = Rate()
    counts = _noise(60 * 24 * 4, [0.5, 2.0, 8.0, 30.0, 120.0] * 8, seed=9)

    scores = _joined(run_rate(rate, slices_of(counts)), "spike")[60 * 24 :]

    for level in (1e-3, 1e-4, 1e-5):
        assert (scores < level).mean() <= 3.5 * level


def test_the_tails_of_keys_of_an_hour_are_honest_too() -> None:
    rate = Rate()
    counts = _noise(12 * BLOCK, [0.5, 2.0, 9.0, 50.0] * 100, seed=3)

    scores = _joined(run_rate(rate, slices_of(counts)), "spike")[20:]

    for level in (1e-3, 1e-4):
        assert (scores < level).mean() <= 3.0 * level


def test_silence_of_a_busy_key_is_improbable_within_minutes_and_of_a_rare_one_after_hours() -> None:
    rate = _learned(_noise(96 * BLOCK, [20.0, 0.3, 5.0]))
    quiet = np.column_stack([np.zeros(30), np.zeros(30), np.full(30, 5.0)])

    silence = _joined(run_rate(rate, slices_of(quiet, first=96 * BLOCK)), "silence")

    assert silence[5, 0] < np.log(1e-6)
    assert silence[5, 1] > np.log(0.1)
    assert (silence[:, 2] == 0).all()


def test_a_pause_that_came_twice_is_a_habit_and_one_that_came_once_is_not() -> None:
    counts = _noise(40 * BLOCK, [15.0, 15.0, 15.0])
    counts[200:240, :2] = 0
    counts[400:440, 0] = 0
    rate = _learned(counts)

    scores = run_rate(rate, slices_of(np.tile([0.0, 0.0, 15.0], (45, 1)), first=40 * BLOCK))

    unheard = _joined(scores, "unheard")
    assert not unheard[:, 0].any()
    assert unheard[10:, 1].all()


def test_the_silence_of_everything_says_nothing_about_one_key() -> None:
    rate = _learned(_noise(96 * BLOCK, [20.0, 6.0]))
    outage = np.zeros((10, 2))
    back = np.column_stack([np.full(5, 20.0), np.zeros(5)])

    scores = run_rate(rate, slices_of(np.vstack([outage, back]), first=96 * BLOCK, live=True))

    assert _joined(scores, "source_zeros").tolist() == [*range(1, 11), 0, 0, 0, 0, 0]
    assert _joined(scores, "zeros")[:, 1].tolist() == [*range(1, 11), 1, 2, 3, 4, 5]


def test_a_gap_of_the_source_is_no_silence_and_no_sum_reaches_over_it() -> None:
    rate = _learned(_noise(50 * BLOCK, [4.0]))
    (after, *_) = slices_of(np.array([[0.0], [0.0], [30.0]]), first=52 * BLOCK, gap=30)

    rate.enter(after)
    scores = rate.score(after)

    assert scores.zeros[:, 0].tolist() == [1, 2, 0]
    assert scores.total[2, 0] == 30.0


def test_after_a_gap_what_is_expected_is_of_the_hour_it_ends_in() -> None:
    day = np.repeat(np.where((np.arange(24) >= 8) & (np.arange(24) < 20), 30.0, 1.0), 60)[:, None]
    rate = _learned(np.vstack([day] * 6)[: 5 * 1440 + 60 * 4])
    (after, *_) = slices_of(np.full((1, 1), 30.0), first=5 * 1440 + 60 * 12, gap=480)

    rate.enter(after)

    assert rate.baseline.high[0] == pytest.approx(30.0, rel=0.2)


def test_incidents_do_not_train() -> None:
    counts = _noise(96 * BLOCK, [10.0, 10.0])
    rate = _learned(counts)
    usual = rate.baseline.lately(0)
    flood = np.full((4 * BLOCK, 2), 200.0)

    run_rate(rate, slices_of(flood, first=96 * BLOCK), odd=np.array([True, False]))

    assert rate.baseline.lately(0) == usual
    assert rate.baseline.lately(1) > 1.2 * usual


def test_a_level_that_stays_is_the_new_normal_some_time_after_the_rebase() -> None:
    rate = _learned(_noise(96 * BLOCK, [10.0]))
    shifted = _noise(60 * BLOCK, [60.0], seed=4)
    spiking = []

    for each in slices_of(shifted, first=96 * BLOCK):
        rate.enter(each)
        scores = rate.score(each)
        odd = np.atleast_1d(scores.spike.min(axis=0) < 1e-4)
        spiking.append(bool(odd[0]))
        rate.learn(each, scores, odd)

    assert all(spiking[: REBASE_BLOCKS + 1])
    assert not any(spiking[-10:])


def test_a_key_held_from_its_birth_is_not_judged_by_what_it_was_never_allowed_to_learn() -> None:
    rate = Rate()
    counts = _noise(30 * BLOCK, [9.0])

    held = run_rate(rate, slices_of(counts[: 6 * BLOCK]), odd=np.ones(1, np.bool_))
    free = run_rate(rate, slices_of(counts[6 * BLOCK :], first=6 * BLOCK))

    assert (_joined(held, "spike") == 1.0).all()
    assert _joined(free, "spike").min() > 1e-5


def test_merged_keys_count_together_and_the_silence_of_one_is_forgotten() -> None:
    counts = _noise(60 * BLOCK, [10.0, 10.0])
    counts[-20:, 1] = 0
    rate = _learned(counts)

    rate.merge(0, 1)
    scores = run_rate(rate, slices_of(np.array([[0.0, 20.0], [0.0, 0.0], [0.0, 0.0]]), first=60 * BLOCK))

    assert rate.baseline.high[0] == 0.0
    assert rate.baseline.high[1] == pytest.approx(20.0, rel=0.3)
    assert _joined(scores, "zeros")[:, 1].tolist() == [0, 1, 2]
    assert not _joined(scores, "zeros")[:, 0].any()
    assert rate.tested == 1


def test_a_merge_into_a_key_that_is_still_silent_starts_no_false_silence() -> None:
    counts = _noise(60 * BLOCK, [10.0, 10.0])
    counts[-20:, 1] = 0
    rate = _learned(counts)

    rate.merge(0, 1)
    silence = _joined(run_rate(rate, slices_of(np.zeros((2, 2)), first=60 * BLOCK)), "silence")[:, 1]

    assert silence[0] < 0.0
    assert silence[1] == pytest.approx(2.0 * silence[0])


def test_a_forgotten_key_can_be_given_to_another() -> None:
    counts = _noise(60 * BLOCK, [10.0, 4.0])
    rate, other = _learned(counts), _learned(counts[:, 1:])

    rate.forget([0])

    assert rate.baseline.high.tolist() == [0.0, *other.baseline.high.tolist()]
    assert rate.born.tolist() == [False, True]
    assert rate.tested == 1


@pytest.mark.parametrize("name", ["_past", "_block", "born", "_odd_blocks"])
def test_a_state_whose_arrays_do_not_fit_is_refused(name: str) -> None:
    state = _learned(np.ones((20, 3))).state()
    dtype = np.dtype(state[name]["dtype"])
    state[name] = pack_array(np.zeros((1, 2), dtype))

    with pytest.raises(StateError, match=name):
        Rate().restore(state)
