"""What is usual of a level: the last hours, the season, and how far windows stray."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from logllm.detectors.slices import BLOCK
from logllm.detectors.values.sketches import SAMPLE, Sketches
from logllm.detectors.values.usual import Usual

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE_NS = 60_000_000_000
DAY = 1440


def learned(level: Callable[[int], float], minutes: int, *, spread: float = 0.02) -> Usual:
    rng = np.random.default_rng(4)
    usual = Usual()
    usual.grow(1)
    for start in range(0, minutes, BLOCK):
        levels = np.array([[level(start + row) + rng.normal(0, spread)] for row in range(BLOCK)])
        ones, quiet = np.ones_like(levels), np.array([True])
        usual.learn((start + BLOCK) * MINUTE_NS, levels, 1e-6 * ones, 20 * ones, quiet, ~quiet)
    return usual


def test_a_day_like_all_before_is_usual_at_every_hour() -> None:
    def wave(minute: int) -> float:
        return float(np.sin(2 * np.pi * minute / DAY))

    for minutes in range(4 * DAY, 5 * DAY, 4 * 60):
        assert learned(wave, minutes).middle[0] == pytest.approx(wave(minutes + BLOCK // 2), abs=0.12)


def test_a_day_that_is_off_by_some_is_followed() -> None:
    usual = learned(lambda minute: 1.0 if minute < 4 * DAY else 1.1, 4 * DAY + 6 * 60, spread=0.05)

    assert usual.high[0] == pytest.approx(1.09, abs=0.03)
    assert usual.low[0] == pytest.approx(1.0, abs=0.03)


def test_the_spread_of_windows_is_found() -> None:
    assert np.sqrt(learned(lambda _: 2.0, 2 * DAY, spread=0.07).spread[0]) == pytest.approx(0.07, rel=0.15)


def test_the_sample_of_words_is_bounded_and_does_not_depend_on_chunks() -> None:
    hashes = np.arange(1, 2001, dtype=np.uint64)
    series, codes = np.arange(2000) % 3, np.arange(2000)
    window, whole, cut = np.full(2000, 9), Sketches(), Sketches()

    whole.add(window, series, codes, hashes, series)
    for at in range(0, 2000, 77):
        part = slice(at, at + 77)
        cut.add(window[part], series[part], codes[part], hashes, series[part])

    assert whole.repeats(9, 3)[1].tolist() == [SAMPLE] * 3
    assert {key: value for key, value in whole.state().items() if key != "open"} == {"since": -1, "closed": []}
    assert [each.tolist() for each in whole.together(9, 3)] == [each.tolist() for each in cut.together(9, 3)]
    assert sorted(whole._open[9].sample.T.tolist()) == sorted(cut._open[9].sample.T.tolist())
