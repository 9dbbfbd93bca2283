"""The tail against scipy's own, and what the baseline takes for normal."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nbinom, poisson

from logllm.detectors.baseline import Baseline
from logllm.detectors.dispersion import negative_binomial_tail
from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.rises import HISTORY, SPANS
from logllm.errors import StateError
from tests.detectors.counts import MINUTE_NS

BLOCK_NS = 15 * MINUTE_NS


def _tail(count: float, mean: float, phi: float) -> float:
    return float(negative_binomial_tail(np.array([count]), np.array([mean]), np.array([phi]))[0])


def _learned(blocks: int, counts: np.ndarray, *, start_ns: int = 0) -> Baseline:
    """A baseline that saw `counts` (one row a window, repeated) for so many blocks."""
    baseline = Baseline()
    baseline.grow(counts.shape[1])
    past = np.zeros((HISTORY, counts.shape[1]))
    for block in range(blocks):
        rows = counts[(15 * block) % len(counts) :][:15]
        history = np.vstack([past, rows])
        end_ns = start_ns + (block + 1) * BLOCK_NS
        known = min(HISTORY, 15 * block)
        baseline.learn(end_ns, history, len(rows), np.ones(counts.shape[1], np.bool_), known)
        past = history[-HISTORY:]
    return baseline


@given(st.integers(0, 5_000), st.floats(0.001, 2_000), st.floats(0.001, 50))
@settings(max_examples=200, deadline=None)
def test_the_tail_is_that_of_scipys_negative_binomial(count: int, mean: float, phi: float) -> None:
    expected = float(nbinom.sf(count - 1, 1 / phi, 1 / (1 + phi * mean)))

    assert _tail(count, mean, phi) == pytest.approx(expected, rel=1e-6, abs=1e-300)


@given(st.integers(0, 60), st.floats(0.01, 30))
@settings(max_examples=60, deadline=None)
def test_without_dispersion_the_tail_is_poissons(count: int, mean: float) -> None:
    assert _tail(count, mean, 1e-9) == pytest.approx(float(poisson.sf(count - 1, mean)), rel=1e-4, abs=1e-14)


@given(st.floats(0, 1e7), st.floats(1e-6, 1e6), st.floats(0.02, 52))
@settings(max_examples=200, deadline=None)
def test_the_tail_is_a_probability_that_falls_with_the_count(count: float, mean: float, phi: float) -> None:
    tail = _tail(count, mean, phi)

    assert 0.0 <= tail <= 1.0
    assert _tail(count + 1.0, mean, phi) <= tail
    assert _tail(0.0, mean, phi) == 1.0


@pytest.mark.parametrize("mean", [0.1, 3.0, 400.0])
def test_a_constant_count_becomes_what_is_expected(mean: float) -> None:
    baseline = _learned(40, np.full((15, 1), mean))

    assert baseline.high[0] == pytest.approx(mean, rel=0.02)
    assert baseline.low[0] == pytest.approx(mean, rel=0.02)
    assert baseline.usual(0) == pytest.approx(mean, rel=0.02)
    assert baseline.seen[0] == 600


def test_the_dispersion_found_is_that_of_the_counts_for_each_span() -> None:
    source = np.random.default_rng(5)
    counts = source.poisson(20.0 * source.gamma(2.0, 0.5, (40_000, 1))).astype(float)

    baseline = _learned(40_000 // 15, counts)

    assert baseline.phi[0, 0] == pytest.approx(0.5, rel=0.35)
    for span, windows in enumerate(SPANS):
        # Of independent minutes the sum's relative variance shrinks with the span.
        assert baseline.phi[span, 0] == pytest.approx(0.5 / windows, rel=0.6)


def test_what_lies_in_a_gap_says_nothing_of_the_dispersion() -> None:
    baseline = _learned(100, np.full((15, 1), 50.0))
    before = baseline.phi.copy()

    history = np.vstack([np.zeros((HISTORY, 1)), np.full((15, 1), 50.0)])
    baseline.learn(200 * BLOCK_NS, history, 15, np.ones(1, np.bool_), known=0)

    assert (baseline.phi <= before).all()


def test_after_some_days_the_hour_of_the_day_is_expected() -> None:
    hours = np.repeat(np.where(np.arange(24) < 8, 2.0, 40.0), 60)
    baseline = _learned(24 * 4 * 6, hours[:, None])
    baseline.expect(6 * 86_400 * 10**9 + 4 * 3_600 * 10**9)
    night = float(baseline.low[0])
    baseline.expect(6 * 86_400 * 10**9 + 14 * 3_600 * 10**9)
    day = float(baseline.high[0])

    assert 2.0 <= night < 5.0
    assert day == pytest.approx(40.0, rel=0.1)


def test_the_counts_of_a_block_belong_to_the_hour_it_lies_in() -> None:
    baseline = Baseline()
    baseline.grow(1)

    baseline.learn(4 * BLOCK_NS, np.full((HISTORY + 15, 1), 9.0), 15, np.ones(1, np.bool_))

    assert baseline.season.mean[0, 0] == 9.0
    assert not baseline.season.mean[1:].any()


def test_one_wild_minute_moves_the_mean_by_no_more_than_a_busy_one_would() -> None:
    calm = np.full((15, 2), 10.0)
    wild = calm.copy()
    wild[7, 1] = 1e6
    baseline = _learned(40, calm)

    baseline.learn(41 * BLOCK_NS, np.vstack([calm[:HISTORY], wild]), 15, np.ones(2, np.bool_))

    assert baseline.lately(1) < 1.25 * baseline.lately(0)


def test_what_must_not_be_learned_is_not_and_does_not_count_as_seen() -> None:
    baseline = _learned(40, np.full((15, 2), 10.0))
    before = baseline.state()

    baseline.learn(41 * BLOCK_NS, np.full((HISTORY + 15, 2), 99.0), 15, np.array([True, False]))

    assert baseline.seen.tolist() == [615, 600]
    assert baseline.lately(0) > 10.5
    assert baseline.lately(1) == unpack_array(before["_fast"], np.float64)[1]


def test_two_merged_keys_are_one_with_the_counts_of_both() -> None:
    source = np.random.default_rng(3)
    each = source.poisson(np.array([6.0, 11.0]) * source.gamma(4.0, 0.25, (6_000, 2))).astype(float)
    baseline, whole = _learned(400, each), _learned(400, each.sum(axis=1)[:, None])

    baseline.merge(0, 1)

    assert baseline.high[1] == pytest.approx(whole.high[0], rel=0.05)
    assert baseline.low[1] == pytest.approx(whole.low[0], rel=0.05)
    assert baseline.phi[0, 1] == pytest.approx(whole.phi[0, 0], rel=0.1)
    assert baseline.seen.tolist() == [0, 6_000]
    assert baseline.usual(0) == baseline.high[0] == 0.0


def test_a_forgotten_key_is_as_a_new_one() -> None:
    baseline, fresh = _learned(10, np.full((15, 1), 7.0)), Baseline()
    fresh.grow(1)

    baseline.forget([0])

    assert baseline.state() == fresh.state()


def test_a_state_goes_through_msgpack_and_back_exactly() -> None:
    baseline, restored = _learned(33, np.random.default_rng(1).poisson(4.0, (150, 5)).astype(float)), Baseline()

    restored.restore(msgpack.unpackb(msgpack.packb(baseline.state())))

    assert restored.state() == baseline.state()
    assert restored.size == 5


def test_a_state_whose_columns_differ_in_length_is_refused() -> None:
    state = _learned(2, np.ones((15, 3))).state()
    state["low"] = pack_array(np.zeros(2))

    with pytest.raises(StateError, match="low"):
        Baseline().restore(state)


@pytest.mark.parametrize(
    "packed",
    [{}, {"dtype": "<i8", "shape": [1], "data": bytes(8)}, {"dtype": "<f8", "shape": [3], "data": bytes(8)}],
)
def test_a_damaged_array_is_refused(packed: dict[str, object]) -> None:
    with pytest.raises(StateError):
        unpack_array(packed, np.float64)
