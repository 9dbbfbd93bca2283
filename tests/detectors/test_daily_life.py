"""What happens to real logs and is no incident: jobs, daylight saving, weekends, pauses of the source, deploys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from logllm.detectors.rate import Rate
from logllm.detectors.slices import BLOCK, Slice
from logllm.detectors.windows import Windows
from tests.detectors.counts import MINUTE_NS, slices_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY = 1440
LEVEL = 5e-6
"""Of a budget of some alerts a day over a thousand keys."""


class _Life:
    """A rate detector that holds what it finds odd back from learning, as in service; it notes which keys spiked."""

    def __init__(self) -> None:
        self.rate = Rate()
        self.now = 0
        self.spikes: list[tuple[int, int]] = []

    def live(self, counts: NDArray[np.float64], *, gap: int = 0) -> set[tuple[int, int]]:
        """Let windows pass; returns the (key, window) that spiked in them."""
        self.now += gap
        begun = len(self.spikes)
        for each in slices_of(counts, first=self.now, gap=gap):
            self.rate.enter(each)
            scores = self.rate.score(each)
            self.spikes += [(int(key), each.first + int(row)) for row, key in np.argwhere(scores.spike < LEVEL)]
            odd: NDArray[np.bool_] = np.atleast_1d(np.any(scores.spike < 100 * LEVEL, axis=0))
            self.rate.learn(each, scores, odd)
        self.now += len(counts)
        return set(self.spikes[begun:])


def _noise(mean: NDArray[np.float64], seed: int = 1, shape: float = 6.0) -> NDArray[np.float64]:
    source = np.random.default_rng(seed)
    return source.poisson(mean * source.gamma(shape, 1 / shape, mean.shape)).astype(np.float64)


def _wave(days: int, keys: int, depth: float = 0.8, shift_h: float = 0.0) -> NDArray[np.float64]:
    """float64[windows, keys]: means of one wave a day."""
    hour = np.arange(days * DAY)[:, None] / 60.0 + shift_h
    return np.geomspace(0.5, 60.0, keys) * (1.0 + depth * np.sin(2 * np.pi * hour / 24.0))


def _office(days: int, keys: int, shift: int = 0) -> NDArray[np.float64]:
    """float64[windows, keys]: hardly anything by night, and twenty times of it from 8 to 18 h, at once."""
    hour = (np.arange(days * DAY) // 60 + shift) % 24
    return np.geomspace(0.5, 60.0, keys) * np.where((hour >= 8) & (hour < 18), 1.0, 0.05)[:, None]


def _with_job(days: int, at: int, lasting: int = 10, height: float = 120.0, seed: int = 1) -> NDArray[np.float64]:
    counts = _noise(np.full((days * DAY, 1), 0.05), seed)
    for day in range(days):
        counts[day * DAY + at : day * DAY + at + lasting] += height
    return counts


def test_a_nightly_job_is_told_twice_and_then_no_more() -> None:
    life = _Life()
    life.live(_noise(np.full((2 * DAY, 1), 0.05)))

    told = [bool(life.live(_with_job(1, at=127 + day % 4, seed=day))) for day in range(8)]

    assert told == [True, True] + 6 * [False]


def test_a_job_that_does_twenty_times_more_than_on_other_nights_is_told() -> None:
    life = _Life()
    life.live(_noise(np.full((2 * DAY, 1), 0.05)))
    life.live(_with_job(3, at=127))

    assert not life.live(_with_job(1, at=127, height=150.0))
    assert life.live(_with_job(1, at=127, height=2400.0))


def test_a_burst_at_another_time_than_the_jobs_is_told() -> None:
    life = _Life()
    life.live(_with_job(4, at=127))

    assert life.live(_with_job(1, at=900))


def test_a_job_of_working_days_is_known_again_after_the_weekend() -> None:
    life = _Life()
    life.live(_with_job(5, at=127))
    life.live(_noise(np.full((2 * DAY, 1), 0.05)))

    assert not life.live(_with_job(1, at=127))


def test_a_weekly_job_is_no_news_in_its_third_week() -> None:
    life = _Life()
    life.live(_noise(np.full((2 * DAY, 1), 0.05)))

    told = []
    for week in range(4):
        told.append(bool(life.live(_with_job(1, at=200, seed=week))))
        life.live(_noise(np.full((6 * DAY, 1), 0.05), seed=week))

    assert told == [True, True, False, False]


def test_an_hourly_job_is_no_news_from_its_fourth_hour_on() -> None:
    life = _Life()
    life.live(_noise(np.full((DAY, 1), 0.05)))
    counts = _noise(np.full((DAY, 1), 0.05), seed=2)
    counts[10::60] += 80.0

    hours = {window % DAY // 60 for _, window in life.live(counts)}

    assert 0 in hours
    assert max(hours) <= 4


def test_a_habit_survives_a_restart() -> None:
    life, again = _Life(), _Life()
    life.live(_with_job(3, at=127))

    again.rate.restore(msgpack.unpackb(msgpack.packb(life.rate.state())))
    again.now = life.now

    assert again.rate.state() == life.rate.state()
    assert not again.live(_with_job(1, at=127))


@pytest.mark.parametrize("shift", [-1, 1])
@pytest.mark.parametrize("sudden", [False, True])
def test_a_daily_pattern_that_moves_by_an_hour_does_not_flood(shift: int, sudden: bool) -> None:
    life = _Life()
    life.live(_noise(_office(5, 40) if sudden else _wave(5, 40), seed=5))

    moved = life.live(_noise(_office(2, 40, shift) if sudden else _wave(2, 40, shift_h=shift), seed=2))

    assert len({key for key, _ in moved}) <= 1


def test_a_spike_within_a_daily_pattern_is_found_all_the_same() -> None:
    life = _Life()
    life.live(_noise(_office(5, 4)))
    today = _office(1, 4)
    today[4 * 60 : 4 * 60 + 10, 3] *= 8.0
    today[12 * 60 : 12 * 60 + 10, 2] *= 4.0

    spiked = life.live(_noise(today, seed=7))

    assert {key for key, window in spiked} == {2, 3}


@pytest.mark.parametrize(("hours", "down", "sudden"), [(6, 6, True), (120, 9, True), (30, 16, False), (6, 6, False)])
def test_after_hours_without_the_source_nothing_floods(hours: int, down: int, sudden: bool) -> None:
    means = _office(7, 40) if sudden else _wave(7, 40)
    life = _Life()
    life.live(_noise(means[: hours * 60]))

    back = life.live(_noise(means[(hours + down) * 60 :][: DAY // 2], seed=3), gap=down * 60)

    assert len({key for key, _ in back}) <= 1


def test_a_weekend_and_the_monday_after_it_do_not_flood() -> None:
    means = _wave(14, 40, depth=0.6)
    means.reshape(14, DAY, 40)[[5, 6, 12, 13]] *= 0.3
    life = _Life()

    life.live(_noise(means))

    later = {key for key, window in life.spikes if window >= 3 * DAY}
    assert len(later) <= 2


def test_a_deploy_that_changes_rates_for_good_is_learned_within_some_hours() -> None:
    means = _wave(12, 10)
    means[4 * DAY + 600 :] *= 8.0
    life = _Life()

    life.live(_noise(means))

    after = [window for _, window in life.spikes if window >= 4 * DAY]
    assert after
    assert max(after) < 4 * DAY + 600 + 6 * 60
    assert life.rate.baseline.high[5] > 2.0 * means[: 4 * DAY, 5].mean()


def test_a_quiet_fleet_leaves_hardly_anything_to_remember() -> None:
    life = _Life()

    life.live(_noise(np.full((60 * BLOCK, 50), 0.3)))

    assert len(msgpack.packb(life.rate.habits.state())) < 50_000


def _arriving(held_back: range, until: int, extra: int = 0) -> list[Slice]:
    """Twelve records a minute of two sources, one of which sends what it held back all at once."""
    windows, slices = Windows(), []
    for minute in range(until):
        waiting = minute in held_back
        own = [] if waiting else [minute] * (12 + (extra if minute == held_back.stop else 0))
        own += list(held_back) * 12 if minute == held_back.stop else []
        times = [minute * MINUTE_NS + 30 * 10**9] * 12 + [each * MINUTE_NS + 40 * 10**9 for each in own]
        keys = np.array([0] * 12 + [1] * len(own), np.int32)
        slices += windows.add(np.array(times, np.int64), keys, np.zeros(len(keys), np.bool_), 2)
    return slices


def _spiking(slices: list[Slice]) -> set[int]:
    rate, found = Rate(), set()
    for each in slices:
        rate.enter(each)
        scores = rate.score(each)
        found |= {each.first + int(row) for row in np.flatnonzero(scores.spike[:, 1] < LEVEL)}
        rate.learn(each, scores, np.zeros(2, np.bool_))
    return found


def test_records_that_were_held_up_and_come_all_at_once_are_no_spike() -> None:
    slices = _arriving(range(1000, 1010), 1100)

    assert sum(int(each.late[2].sum()) for each in slices) == 10 * 12
    assert max(float(each.counts[:, 1].max()) for each in slices) >= 100
    assert not _spiking(slices)


def test_a_spike_is_found_also_where_late_records_pile_up() -> None:
    assert _spiking(_arriving(range(1000, 1010), 1100, extra=2_000))


def test_how_late_records_are_cut_into_slices_does_not_matter() -> None:
    slices = _arriving(range(1000, 1010), 1100)
    single = [
        Slice(
            each.first + row,
            each.counts[row : row + 1],
            each.severe[row : row + 1],
            0 if row else each.gap,
            each.ends_block and row == len(each) - 1,
            late=each.late[:, each.late[0] == each.first + row],
        )
        for each in slices
        for row in range(len(each))
    ]

    assert _spiking(single) == _spiking(slices)
