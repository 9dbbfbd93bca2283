"""What is remembered of bursts, and how much of it."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from logllm.detectors.habits import MOST_KEYS, Habits
from logllm.errors import StateError

DAY = 1440


def _learn(habits: Habits, key: int, window: int, peak: float = 50.0) -> None:
    habits.learn(np.array([key]), np.array([window]), np.array([peak]))


def _usual(habits: Habits, key: int, window: int) -> float:
    return float(habits.usual(np.array([key]), np.array([window]))[0])


def test_one_burst_is_no_habit_and_two_at_the_same_time_of_day_are() -> None:
    habits = Habits()

    _learn(habits, 3, 100)
    once = _usual(habits, 3, 100 + DAY)
    _learn(habits, 3, 100 + DAY)

    assert once == 0.0
    assert _usual(habits, 3, 100 + 2 * DAY + 9) == 50.0
    assert _usual(habits, 3, 100 + 2 * DAY + 40) == 0.0
    assert _usual(habits, 4, 100 + 2 * DAY) == 0.0


def test_what_is_usual_is_the_second_highest_that_came() -> None:
    habits = Habits()

    for day, peak in enumerate((40.0, 60.0, 900.0)):
        _learn(habits, 0, 100 + day * DAY, peak)

    assert _usual(habits, 0, 100 + 3 * DAY) == 60.0


def test_the_windows_of_a_burst_are_one_burst() -> None:
    habits = Habits()

    for window in range(500, 900):
        _learn(habits, 0, window, float(window))

    assert int((habits._peak > 0).sum()) == 1
    assert habits._last[0, 0] - habits._first[0, 0] == 399


def test_a_merged_key_keeps_its_habits_under_its_new_number_and_a_forgotten_one_has_none() -> None:
    habits = Habits()
    for key in (1, 2):
        for day in range(2):
            _learn(habits, key, 100 + day * DAY, 10.0 * key)

    habits.merge(1, 7)
    habits.forget([2])

    assert [_usual(habits, key, 100 + 2 * DAY) for key in (1, 2, 7)] == [0.0, 0.0, 10.0]


def test_past_its_bound_keys_whose_last_burst_is_longest_ago_are_forgotten() -> None:
    habits = Habits()
    for key in range(MOST_KEYS):
        _learn(habits, key, 1000 + (key * 7) % MOST_KEYS)

    _learn(habits, MOST_KEYS, 9_000)

    kept = habits.state()["keys"]
    assert habits.forgotten == MOST_KEYS - len(kept) + 1 > 0
    assert 0 not in kept
    assert MOST_KEYS in kept


def test_a_state_goes_through_msgpack_and_back() -> None:
    habits, again = Habits(), Habits()
    for key in (9, 4):
        _learn(habits, key, 100 * key)

    again.restore(msgpack.unpackb(msgpack.packb(habits.state())))

    assert again.state() == habits.state()


@pytest.mark.parametrize("keys", [[4], [4, 4]])
def test_a_state_that_does_not_fit_is_refused(keys: list[int]) -> None:
    habits = Habits()
    for key in (9, 4):
        _learn(habits, key, 100 * key)

    with pytest.raises(StateError):
        Habits().restore({**habits.state(), "keys": keys})
