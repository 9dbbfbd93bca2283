"""What is told of sessions: the first of a kind that few show or that lacks what nearly all show."""

from __future__ import annotations

import pytest

from logllm.detectors.sessions.config import SessionsConfig
from logllm.detectors.sessions.kinds import COOL_DOWN_WINDOWS
from logllm.detectors.sessions.rarity import WARM_UP
from logllm.events import Severity
from tests.detectors.sessions.streams import Event, Watched, usual, with_odd

LATE_S = 8_000.0
"""By then the usual sessions have warmed it up: one every ten seconds, and half an hour for the first ones to end."""

END_S = 40_000.0


def odd(name: str, second: float, *keys: int) -> list[Event]:
    return [Event(second + place, name, key) for place, key in enumerate(keys)]


def day(days: float) -> float:
    return days * 86_400.0


def test_a_session_that_shows_what_no_other_does_is_told_with_its_id_its_records_and_the_event() -> None:
    watched = Watched(severities={7: int(Severity.ERROR)})

    found = watched.feed(with_odd(usual(1_500), *odd("broken", LATE_S, 0, 1, 7, 2, 3)))

    assert [(one.kind, one.about, one.key, one.keys) for one in found] == [("session", "broken", 7, [7])]
    assert (found[0].seen, found[0].severity) == (5.0, Severity.ERROR)
    assert found[0].expected == pytest.approx(4.33, abs=0.05)
    assert found[0].surprise > 3.0


def test_a_session_is_told_when_it_has_been_idle_and_not_before() -> None:
    events = with_odd(usual(1_500), *odd("broken", LATE_S, 0, 1, 7, 2, 3))
    watched = Watched(SessionsConfig(idle_s=1_800))

    early = list(watched.feed([event for event in events if event.second < LATE_S + 1_700.0]))
    later = watched.feed([event for event in events if event.second >= LATE_S + 1_700.0])

    assert early == []
    assert [one.about for one in later] == ["broken"]
    assert later[0].window - (later[0].window - later[0].span + 1) >= 30


def test_a_session_that_lacks_what_nearly_all_show_is_told_as_a_warning_with_what_it_lacks() -> None:
    watched = Watched()

    found = watched.feed(with_odd(usual(1_500), *odd("cut", LATE_S, 0, 1)))

    assert [(one.about, sorted(one.keys), one.seen) for one in found] == [("cut", [2, 3], 2.0)]
    assert found[0].severity == Severity.WARN


def test_what_a_third_of_the_sessions_show_is_neither_odd_nor_missed() -> None:
    watched = Watched()

    found = watched.feed(usual(1_500))

    assert found == []
    assert watched.detector.counts["ended"] > WARM_UP


def test_nothing_is_told_until_enough_sessions_have_ended() -> None:
    watched = Watched()

    found = watched.feed(with_odd(usual(WARM_UP - 50), *odd("broken", 2_000.0, 0, 1, 7), Event(END_S, "last", 0)))

    assert found == []
    assert watched.detector.learning


def test_further_sessions_of_a_kind_are_counted_and_told_again_when_a_day_has_passed_without_one() -> None:
    events = usual(int(day(2.6)) // 100, every_s=100.0)
    broken = [event for number in range(10) for event in odd(f"b{number}", day(1) + 600.0 * number, 0, 1, 7, 2, 3)]
    watched = Watched(level=0.01)

    found = watched.feed(with_odd(events, *broken, *odd("again", day(2.5), 0, 1, 7, 2, 3)))

    assert [one.about for one in found] == ["b0", "again"]
    assert watched.detector.counts["repeated"] == 9
    assert found[1].window - found[0].window > COOL_DOWN_WINDOWS


def test_two_kinds_are_told_each() -> None:
    watched = Watched(level=0.01)

    found = watched.feed(
        with_odd(usual(1_500), *odd("broken", LATE_S, 0, 1, 7, 2, 3), *odd("other", LATE_S + 900.0, 0, 8, 1, 2, 3))
    )

    assert [(one.about, one.key) for one in found] == [("broken", 7), ("other", 8)]


def test_the_more_kinds_come_the_odder_one_must_be_to_be_told() -> None:
    kinds = [odd(f"k{key}", LATE_S + 600.0 * key, 0, 1, 2, 3, key) for key in range(5, 12)]
    watched = Watched(level=5e-4)

    found = watched.feed(with_odd(usual(1_500), *(event for kind in kinds for event in kind)))

    assert [one.about for one in found] == ["k5"]


def test_what_becomes_common_is_told_once_and_is_odd_no_longer() -> None:
    new = [Event(LATE_S + 50.0 * number + 3.5, f"s{800 + 5 * number}", 9) for number in range(240)]
    events = with_odd(usual(2_000), *new)
    watched = Watched(level=0.05)

    watched.feed([event for event in events if event.second < 14_000.0])
    by_then = watched.detector.counts["repeated"]
    found = watched.feed([event for event in events if event.second >= 14_000.0])

    assert [one.key for one in found] == [9]
    assert 5 < by_then < 100
    assert watched.detector.counts["repeated"] == by_then


def test_a_session_that_goes_on_is_judged_again_by_its_whole_course() -> None:
    resumed = [*odd("slow", LATE_S, 0, 1, 2, 3), *odd("slow", LATE_S + 7_200.0, 7)]
    watched = Watched()

    found = watched.feed(with_odd(usual(2_500), *resumed))

    assert [(one.about, one.seen, one.keys) for one in found] == [("slow", 5.0, [7])]


def test_a_session_that_goes_on_with_nothing_new_is_not_judged_again() -> None:
    watched = Watched(level=0.05)
    events = usual(2_500)
    plain = Watched(level=0.05)

    watched.feed(with_odd(events, *odd("slow", LATE_S, 0, 1, 2, 3), Event(LATE_S + 7_200.0, "slow", 3)))
    plain.feed(with_odd(events, *odd("slow", LATE_S, 0, 1, 2, 3)))

    assert watched.detector.counts["ended"] == plain.detector.counts["ended"]


def test_only_what_the_level_covers_is_told() -> None:
    events = with_odd(usual(1_500), *odd("broken", LATE_S, 0, 1, 7, 2, 3))

    assert Watched(level=1e-3).feed(events) != []
    assert Watched(level=1e-4).feed(events) == []


def test_records_without_a_session_belong_to_none() -> None:
    stray = [Event(5.0 * number, "", 7) for number in range(1_000)]
    watched = Watched()

    found = watched.feed(with_odd(usual(1_500), *stray, *odd("broken", LATE_S, 0, 1, 7, 2, 3)))

    assert [one.about for one in found] == ["broken"]


def test_switched_off_it_follows_nothing() -> None:
    watched = Watched(SessionsConfig(key="off"))

    found = watched.feed(with_odd(usual(1_500), *odd("broken", LATE_S, 0, 1, 7, 2, 3)))

    assert found == []
    assert watched.detector.counts == {"open": 0, "ended": 0, "repeated": 0, "thinned": 0}


def test_where_time_goes_back_sessions_end_all_the_same() -> None:
    watched = Watched()
    late = with_odd(usual(1_500, first_s=200_000.0), *odd("broken", 200_000.0 + LATE_S, 0, 1, 7, 2, 3))
    watched.feed(usual(600, first_s=400_000.0, name="t"))

    found = watched.feed(late)

    assert [one.about for one in found] == ["broken"]


def test_a_session_that_is_open_when_time_goes_back_is_judged_half_an_hour_later_all_the_same() -> None:
    watched = Watched()
    watched.feed(with_odd(usual(900, first_s=400_000.0, name="t"), *odd("broken", 408_985.0, 0, 1, 7, 2, 3)))

    found = watched.feed(usual(600, first_s=200_000.0))

    assert [one.about for one in found] == ["broken"]


def test_an_id_that_comes_again_after_a_day_is_another_session() -> None:
    first, second = odd("again", 9_000.0, 0, 1, 2, 3), odd("again", 9_000.0 + day(1.2), 0, 1, 7, 2, 3)
    watched = Watched(level=0.01)

    found = watched.feed(with_odd(usual(int(day(1.5)) // 100, every_s=100.0), *first, *second))

    assert [(one.about, one.seen) for one in found] == [("again", 5.0)]
    assert watched.detector.counts["open"] < 1_000
