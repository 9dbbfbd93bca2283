"""The likelihood ratio: a probability, honest on noise, and led by the span that a rise fills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from logllm.detectors.rises import SPANS, rise_tails


def _sums(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[len(SPANS), n]: of the last windows of each column."""
    return np.stack([counts[-windows:].sum(axis=0) for windows in SPANS])


def _noise(mean: float, phi: float, many: int, seed: int = 1) -> NDArray[np.float64]:
    source = np.random.default_rng(seed)
    return source.poisson(mean * source.gamma(1 / phi, phi, (max(SPANS), many))).astype(np.float64)


def _phi(phi: float, many: int) -> NDArray[np.float64]:
    return np.repeat(phi / np.array(SPANS, np.float64)[:, None], many, axis=1)


@given(
    st.lists(st.floats(0, 1e7), min_size=4, max_size=4), st.floats(1e-6, 1e6), st.floats(1e-3, 50), st.floats(1e-3, 50)
)
@settings(max_examples=200, deadline=None)
def test_it_is_a_probability_whatever_the_sums(totals: list[float], mean: float, one: float, other: float) -> None:
    tails, span = rise_tails(np.array([totals]).T, np.array([mean]), np.array([[one], [other], [other], [one]]))

    assert 0.0 < tails[0] <= 1.0
    assert 0 <= span[0] < len(SPANS)


@pytest.mark.parametrize("mean", [0.05, 0.5, 8.0, 120.0])
@pytest.mark.parametrize("phi", [0.05, 0.5])
def test_on_noise_it_is_small_about_as_seldom_as_it_says(mean: float, phi: float) -> None:
    many = 200_000

    tails, _ = rise_tails(_sums(_noise(mean, phi, many)), np.full(many, mean), _phi(phi, many))

    for level in (1e-3, 1e-4):
        assert (tails < level).mean() <= 3.5 * level


@pytest.mark.parametrize("length", SPANS)
def test_the_span_that_a_rise_fills_says_most(length: int) -> None:
    counts = np.full((max(SPANS), 1), 10.0)
    counts[-length:] = 60.0

    tails, span = rise_tails(_sums(counts), np.array([10.0]), _phi(0.3, 1))

    assert tails[0] < 1e-2
    assert SPANS[span[0]] == length


def test_a_fall_is_no_rise() -> None:
    tails, _ = rise_tails(np.zeros((4, 1)), np.array([50.0]), _phi(0.1, 1))

    assert tails[0] == 1.0
