"""How strange a session is: its rarest event, or the most usual one that it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.detectors.sessions.opened import KEY_BITS, Courses, Opened
from logllm.detectors.sessions.rarity import MOST_ODD, RARE, REMEMBERED, WARM_UP, Rarity, Strangeness
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

USUAL = (0, 1, 2)


# Keys from five thousand on are of another service.
SERVICE = (np.arange(6_000, dtype=np.int32) >= 5_000).astype(np.int32)


def counted(rarity: Rarity, begun: int, keys: NDArray[np.int64], records: int) -> None:
    """Sessions of the first service that have begun, and what they have shown."""
    rarity.show(begun, keys, records, np.zeros(begun, np.int64), SERVICE)


def shown(rarity: Rarity, sessions: Sequence[tuple[int, ...]]) -> Courses:
    """Sessions that begin, show these keys and are complete."""
    opened = Opened()
    rows = [at << KEY_BITS | key for at, keys in enumerate(sessions) for key in keys]
    cells, counts = np.unique(np.array(rows, np.int64), return_counts=True)
    begun, keys, came = opened.take(0, cells, counts, SERVICE)
    rarity.show(begun, keys, len(rows), came, SERVICE)
    return opened.courses(opened.slots)


def judged(rarity: Rarity, sessions: Sequence[tuple[int, ...]]) -> Strangeness:
    found = rarity.judge(shown(rarity, sessions))
    rarity.learn(found)
    return found


def grown(sessions: int = 1_000) -> Rarity:
    rarity = Rarity()
    judged(rarity, [USUAL] * sessions)
    return rarity


def test_an_event_is_as_rare_as_the_share_of_other_sessions_that_show_it() -> None:
    rarity = grown(996)

    found = judged(rarity, [(*USUAL, 5)] * 4)

    assert found.tail == pytest.approx([3.5 / 1_000] * 4)
    assert found.lead.tolist() == [5] * 4
    assert not found.missing.any()
    assert found.odd.all()


def test_what_a_session_lacks_is_as_rare_as_the_share_of_others_that_lack_it() -> None:
    rarity = grown(996)

    found = judged(rarity, [(0, 1)] * 4)

    assert found.tail == pytest.approx([3.5 / 1_000] * 4)
    assert (found.lead.tolist(), found.missing.tolist()) == ([2] * 4, [True] * 4)
    assert found.odd.all()


def test_a_session_like_all_others_is_not_odd() -> None:
    found = judged(grown(), [USUAL])

    assert found.tail[0] > 0.99
    assert not found.odd[0]


def test_what_open_sessions_have_yet_to_show_is_not_missed_in_one_that_ends() -> None:
    rarity = grown()
    counted(rarity, 200, np.repeat([0, 1], 200), 400)

    found = judged(rarity, [(0, 1)])

    assert found.tail[0] > 0.1
    assert not found.odd[0]


def test_those_that_end_first_are_not_taken_for_the_usual_ones() -> None:
    """At a start the broken sessions end before any other does."""
    rarity = Rarity(warm_up=0)
    counted(rarity, 1_000, np.repeat(USUAL, 1_000), 3_000)

    found = judged(rarity, [(0, 1, 7)] * 20)

    assert found.odd.all()


def test_where_a_fifth_of_the_sessions_are_strange_of_late_they_are_not_odd() -> None:
    """Each of these holds another event that nobody has shown: a path for each request, say."""
    rarity = grown(2_000)
    odd = [judged(rarity, [*[USUAL] * 4, (*USUAL, 10 + number)]).odd[-1] for number in range(600)]

    assert odd[0]
    assert not any(odd[-100:])
    assert rarity.level < RARE
    assert 0.01 < np.mean(odd) / 5 < MOST_ODD


def test_after_the_crowd_the_level_is_what_it_was() -> None:
    rarity = grown(2_000)
    for number in range(600):
        judged(rarity, [*[USUAL] * 4, (*USUAL, 10 + number)])

    for _ in range(40):
        judged(rarity, [USUAL] * 100)

    assert rarity.level == RARE


def test_it_is_warm_when_enough_have_ended() -> None:
    rarity = grown(WARM_UP - 1)

    before, after = rarity.is_warm, (judged(rarity, [USUAL]), rarity.is_warm)[1]

    assert (before, after) == (False, True)


def test_why_names_all_that_is_rare_and_all_that_is_missing_the_rarest_first() -> None:
    rarity = grown(980)
    judged(rarity, [(*USUAL, 6)] * 20)
    judged(rarity, [(0, 7, 6)])

    assert rarity.why(np.array([0, 6, 7])) == ([7, 6], [1, 2])


def test_each_service_has_its_own_usual_course() -> None:
    """Of forty services each shows its events in one session of forty: they are usual all the same."""
    rarity = grown(20_000)
    other = (5_000, 5_001, 5_002)
    judged(rarity, [other] * 600)

    found = judged(rarity, [other, other[:2], (*other, 5_003), USUAL, (0, 1), (*USUAL, *other[:2])])

    assert found.odd.tolist() == [False, True, True, False, True, True]
    assert found.missing.tolist() == [False, True, False, False, True, True]
    assert (found.lead[1], found.lead[2], found.lead[4], found.lead[5]) == (5_002, 5_003, 2, 5_002)


def test_a_service_that_few_sessions_have_passed_is_not_judged() -> None:
    rarity = grown(20_000)
    judged(rarity, [(5_050, 5_051, 5_052)] * 100)

    found = judged(rarity, [(5_050, 5_051), (5_050, 5_060)])

    assert not found.odd.any()


def test_what_was_usual_long_ago_is_forgotten() -> None:
    rarity = grown(1_000)

    for _ in range(5):
        counted(rarity, REMEMBERED, np.zeros(0, np.int64), 0)

    assert rarity.begun <= REMEMBERED
    assert rarity.has[0] < 50
    assert rarity.typical_records < 0.1


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=20))
def test_scores_are_probabilities_and_do_not_depend_on_the_order_of_sessions(sessions: list[list[int]]) -> None:
    ordered, backwards = grown(600), grown(600)
    rows = [tuple(sorted(set(keys))) for keys in sessions]

    found, turned = judged(ordered, rows), judged(backwards, rows[::-1])

    assert ((found.tail > 0) & (found.tail <= 1)).all()
    assert found.tail.tolist() == turned.tail[::-1].tolist()
    assert found.lead.tolist() == turned.lead[::-1].tolist()


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=20))
def test_it_goes_on_from_a_copy_and_from_its_state_as_if_nothing_had_been(sessions: list[list[int]]) -> None:
    rarity = grown(600)
    copy, restored = rarity.copy(), Rarity()
    restored.restore(msgpack.unpackb(msgpack.packb(rarity.state())))
    rows = [tuple(sorted(set(keys))) for keys in sessions]

    tails = [judged(one, rows).tail.tolist() for one in (rarity, copy, restored)]

    assert tails[0] == tails[1] == tails[2]
    assert rarity.state() == copy.state() == restored.state()


def test_a_merged_key_holds_what_both_held_and_a_forgotten_one_nothing() -> None:
    rarity = grown(600)
    judged(rarity, [*[(*USUAL, 5)] * 10, *[(*USUAL, 6)] * 20])

    rarity.merge(5, 6)
    rarity.forget([2])

    assert rarity.has.tolist() == [630, 630, 0, 0, 0, 0, 30]


@pytest.mark.parametrize(
    "damage",
    [{"begun": -1.0}, {"ended": "x"}, {"has": {}}, {"spread": Rarity().state()["has"]}, {"begun": float("nan")}],
)
def test_damaged_state_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(StateError):
        Rarity().restore(Rarity().state() | damage)
