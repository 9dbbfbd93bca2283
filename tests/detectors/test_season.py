"""What is taken for usual at an hour of the day."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray

from logllm.detectors.packing import pack_array
from logllm.detectors.season import HOURS, Season
from logllm.errors import StateError

HOUR_NS = 3_600_000_000_000


def _learned(means: NDArray[np.float64], days: int = 4) -> Season:
    """A season that saw these means, one row an hour, for so many days."""
    season = Season()
    season.grow(means.shape[1])
    for quarter in range(days * HOURS * 4):
        hour = quarter // 4 % HOURS
        season.learn((quarter + 1) * HOUR_NS // 4, means[hour], 15, np.ones(means.shape[1], np.bool_))
    return season


def _at(season: Season, hour: float, phi: float = 0.02) -> tuple[float, float, float]:
    keys = season.mean.shape[1]
    now, most, least = season.at(int(hour * HOUR_NS), np.full(keys, season.mean.mean()), np.full(keys, phi, np.float32))
    return float(now[0]), float(most[0]), float(least[0])


def test_a_wave_is_followed_and_has_no_steps() -> None:
    wave = 10.0 + 6.0 * np.sin(2 * np.pi * (np.arange(HOURS) + 0.5) / HOURS)
    season = _learned(wave[:, None])

    for hour in (0.0, 5.5, 11.25, 18.75):
        now, most, least = _at(season, hour)
        assert now == pytest.approx(10.0 + 6.0 * np.sin(2 * np.pi * hour / HOURS), abs=0.4)
        assert most == now == least


def test_a_step_is_expected_an_hour_early_and_an_hour_late() -> None:
    season = _learned(np.where(np.arange(HOURS) < 8, 2.0, 40.0)[:, None])

    now, most, least = _at(season, 7.4)
    assert now < 6.0
    assert most > 25.0
    assert least == now
    now, most, least = _at(season, 8.6)
    assert now > 30.0
    assert most == now
    assert least < 10.0
    assert _at(season, 13.0) == pytest.approx((40.0, 40.0, 40.0), rel=0.05)


def test_hours_that_differ_by_chance_alone_are_taken_for_alike() -> None:
    source = np.random.default_rng(2)
    means = source.poisson(0.5 * 60, (HOURS, 200)) / 60.0
    season = _learned(means, days=1)

    now, _, _ = season.at(6 * HOUR_NS, means.mean(axis=0), np.full(200, 0.1, np.float32))

    assert np.abs(now - 0.5).mean() < 0.5 * np.abs(means[6] - 0.5).mean()


def test_hours_that_were_not_seen_are_as_the_days_are() -> None:
    season = Season()
    season.grow(1)

    now, most, least = season.at(0, np.array([3.0], np.float32), np.array([0.1], np.float32))

    assert now[0] == most[0] == least[0] == pytest.approx(3.0)


def test_a_state_goes_through_msgpack_and_back_and_one_that_does_not_fit_is_refused() -> None:
    season, again = _learned(np.ones((HOURS, 3))), Season()
    state = msgpack.unpackb(msgpack.packb(season.state()))

    again.restore(state, 3)

    assert again.state() == season.state()
    with pytest.raises(StateError):
        Season().restore(state, 4)
    with pytest.raises(StateError):
        Season().restore({**state, "seen": pack_array(np.zeros((2, 3), np.float32))}, 3)
