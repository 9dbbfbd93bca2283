"""Records on their way: which sessions of a full window are followed, and how odd kinds are counted."""

from __future__ import annotations

import random

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.sessions.arriving import MOST_A_WINDOW, Arriving, Slots
from logllm.detectors.sessions.kinds import COOL_DOWN_WINDOWS, Kinds
from logllm.detectors.sessions.opened import KEY_BITS
from logllm.errors import StateError

NAMES = [f"{number:06d}" for number in range(3 * MOST_A_WINDOW)]


def followed(order: list[int], cut: int) -> tuple[set[str], int]:
    """The sessions of one window that are followed, where they came in this order and in chunks of this size."""
    slots = Slots()
    arriving = Arriving(slots)
    for start in range(0, len(order), cut):
        names = [NAMES[number] for number in order[start : start + cut]]
        n = len(names)
        arriving.add(np.full(n, 7), np.arange(n), names, np.zeros(n, np.int32))
    cells, _, sampling = arriving.of(7, 0)
    return {slots.names[slot] for slot in (cells >> KEY_BITS).tolist()}, sampling


@settings(max_examples=6)
@given(st.integers(0, 1_000), st.integers(200, 9_000))
def test_which_sessions_of_a_full_window_are_followed_depends_on_nothing_but_the_sessions(seed: int, cut: int) -> None:
    order = random.Random(seed).sample(range(len(NAMES)), len(NAMES))

    kept, sampling = followed(order, cut)

    assert sampling == 2
    assert (kept, sampling) == followed(list(range(len(NAMES))), 5_000)
    assert 0.7 * MOST_A_WINDOW < len(kept) <= MOST_A_WINDOW


def test_a_session_followed_in_a_full_window_is_followed_in_a_less_full_one() -> None:
    kept, _ = followed(list(range(len(NAMES))), 5_000)
    fewer, sampling = followed(list(range(2 * MOST_A_WINDOW)), 5_000)

    assert sampling == 1
    assert kept & set(NAMES[: 2 * MOST_A_WINDOW]) <= fewer


def test_records_are_counted_and_kept_by_window() -> None:
    arriving = Arriving(Slots())

    arriving.add(np.array([3, 3, 4, 3, 4]), np.array([0, 1, 0, 0, -1]), ["a", "b"], np.array([5, 5, 5, 5, 5], np.int32))

    assert arriving.waiting(4) == [3]
    cells, counts, _ = arriving.of(3, 0)
    assert (cells.tolist(), counts.tolist()) == ([5, 1 << KEY_BITS | 5], [2, 1])
    arriving.drop(4)
    assert arriving.waiting(9) == [4]


def test_a_slot_is_given_again_when_its_session_is_forgotten() -> None:
    slots = Slots()
    first = slots.number(["a", "b", "c"])

    slots.keep(np.array([True, False, True]))
    again = slots.number(["c", "d"])

    assert (first, again) == ([0, 1, 2], [2, 1])
    assert (slots.names, len(slots)) == (["a", "d", "c"], 3)


def test_ids_that_agree_in_what_is_kept_of_them_are_one_session() -> None:
    slots = Slots()

    assert slots.number(["x" * 128 + "a", "x" * 128 + "b", "x" * 128]) == [0, 0, 0]


def test_the_first_of_a_kind_is_new_and_the_next_when_it_was_away_for_a_day() -> None:
    kinds = Kinds()

    found = [kinds.is_new(4, window, 1e-3) for window in (10, 11, 1_000, 1_000 + COOL_DOWN_WINDOWS, 9_000)]

    assert found == [True, False, False, True, True]
    assert kinds.repeated == 2


def test_the_chance_of_a_kind_is_how_often_new_ones_at_least_as_odd_have_come() -> None:
    kinds = Kinds()
    alone = kinds.chance(1e-3)
    kinds.watch(1_000)
    watched = kinds.chance(1e-3)
    kinds.is_new(1, 5, 1e-4)
    kinds.is_new(2, 5, 1e-2)

    assert alone == pytest.approx(1 / 2_880)
    assert watched == pytest.approx(1 / 3_880)
    assert kinds.chance(1e-3) == pytest.approx(2 / 3_880)
    assert kinds.chance(1e-5) == pytest.approx(1 / 3_880)


def test_new_kinds_every_hour_make_each_of_them_an_ordinary_thing() -> None:
    kinds = Kinds()
    told = 0
    for hour in range(24 * 30):
        kinds.watch(60)
        told += kinds.chance(1e-3) < 1e-3
        kinds.is_new(hour, 60 * hour, 1e-3)

    assert told <= 3


def test_kinds_go_on_from_their_state_and_follow_merges() -> None:
    kinds, restored = Kinds(), Kinds()
    kinds.watch(100)
    kinds.is_new(4, 50, 1e-3)
    restored.restore(msgpack.unpackb(msgpack.packb(kinds.state())))

    restored.merge(4, 6)

    assert restored.chance(1e-3) == kinds.chance(1e-3)
    assert not restored.is_new(6, 60, 1e-3)
    assert restored.is_new(4, 60, 1e-3)


@pytest.mark.parametrize("damage", [{"last": [[1]]}, {"watched": -1.0}, {"spread": {}}, {"repeated": None}])
def test_damaged_kinds_are_refused(damage: dict[str, object]) -> None:
    with pytest.raises(StateError):
        Kinds().restore(Kinds().state() | damage)
