"""The same alert again: held back for longer each time, unless it is clearly worse."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from msgspec.structs import replace

from logllm.detectors.cooldown import FORGOTTEN, MOST, PAUSES, SAME_EPISODE, Cooldown
from logllm.events import Anomaly, Severity

SPIKE = Anomaly("rate", 1000, 1, 0, 7, [7], 2.0, 40.0, 8.0, int(Severity.WARN))


def _at(window: int, like: Anomaly = SPIKE, **changes: Any) -> Anomaly:
    return replace(like, window=window, **changes)


def _told_at(cooldown: Cooldown, step: int, until: int) -> list[int]:
    return [at for at in range(0, until, step) if cooldown.judge(_at(1000 + at)) == "told"]


def test_what_comes_every_half_hour_is_told_after_pauses_that_grow() -> None:
    cooldown = Cooldown()

    told = _told_at(cooldown, 30, 3 * 1440)

    assert told == [0, PAUSES[0], PAUSES[0] + PAUSES[1], PAUSES[0] + PAUSES[1] + PAUSES[2]]


def test_what_goes_on_is_the_same_and_its_pause_begins_when_it_ends() -> None:
    cooldown = Cooldown()

    verdicts = [cooldown.judge(_at(1000 + minute)) for minute in range(0, 90, SAME_EPISODE)]
    after = cooldown.judge(_at(1000 + 75 + PAUSES[0] - 1))
    later = cooldown.judge(_at(1000 + 75 + PAUSES[0] + SAME_EPISODE))

    assert verdicts == ["told", *["same"] * 5]
    assert (after, later) == ("held", "told")
    assert cooldown.held_back == 1


def test_an_episode_that_is_held_back_counts_once_and_is_told_when_the_pause_is_over_and_it_still_lasts() -> None:
    cooldown = Cooldown()
    cooldown.judge(_at(1000))

    verdicts = [cooldown.judge(_at(1000 + minute)) for minute in range(30, PAUSES[0] + 10, 5)]

    assert verdicts == ["held"] * 6 + ["told", "same"]
    assert cooldown.held_back == 1


@pytest.mark.parametrize(
    "worse", [{"surprise": 12.0}, {"seen": 120.0}, {"severity": int(Severity.ERROR)}], ids=["chance", "seen", "level"]
)
def test_what_is_clearly_worse_is_told_at_once(worse: dict[str, Any]) -> None:
    cooldown = Cooldown()
    cooldown.judge(_at(1000))

    assert cooldown.judge(_at(1030, surprise=10.0, seen=80.0)) == "held"
    assert cooldown.judge(_at(1050, **worse)) == "told"


@pytest.mark.parametrize("other", [{"service": 1}, {"key": 8}, {"kind": "value"}])
def test_another_service_template_or_kind_is_another_alert(other: dict[str, Any]) -> None:
    cooldown = Cooldown()
    cooldown.judge(_at(1000))

    assert cooldown.judge(_at(1030, **other)) == "told"


def test_two_fields_are_two_alerts_and_two_sessions_of_one_kind_are_one() -> None:
    cooldown = Cooldown()
    fields = [cooldown.judge(_at(1000, kind="value", about=about)) for about in ("took_ms", "bytes")]
    sessions = [cooldown.judge(_at(1000 + 20 * n, kind="session", about=f"s{n}")) for n in range(2)]

    assert (fields, sessions) == (["told", "told"], ["told", "held"])


@pytest.mark.parametrize("kind", ["new", "release", "plugin"])
def test_what_comes_once_by_its_nature_is_always_told(kind: str) -> None:
    cooldown = Cooldown()

    assert [cooldown.judge(_at(1000 + n, kind=kind)) for n in (0, 20, 40)] == ["told"] * 3


def test_that_a_service_has_stopped_is_told_each_time_and_that_one_template_has_is_not() -> None:
    whole, single = Cooldown(), Cooldown()

    assert [whole.judge(_at(1000 + n, kind="silence", span=0)) for n in (0, 30)] == ["told", "told"]
    assert [single.judge(_at(1000 + n, kind="silence", span=1)) for n in (0, 30)] == ["told", "held"]


def test_after_weeks_and_when_time_goes_back_everything_is_as_if_it_had_never_been() -> None:
    cooldown = Cooldown()
    _told_at(cooldown, 30, 1440)

    later, back = cooldown.judge(_at(1000 + 1440 + FORGOTTEN + 1)), cooldown.judge(_at(10))
    again = cooldown.judge(_at(10 + PAUSES[0]))

    assert (later, back, again) == ("told", "told", "told")


def test_of_more_alerts_than_it_remembers_the_one_told_longest_ago_makes_room() -> None:
    cooldown = Cooldown()
    for key in range(MOST + 1):
        cooldown.judge(_at(1000, key=key))

    assert len(cooldown.state()["told"]) == MOST
    assert [cooldown.judge(_at(1030, key=key)) for key in (MOST, 0)] == ["held", "told"]


def test_a_merged_template_is_held_back_for_what_was_told_of_either_and_a_forgotten_one_is_not() -> None:
    cooldown = Cooldown()
    cooldown.judge(_at(1000))
    cooldown.judge(_at(1000, key=3))
    cooldown.merge(7, 9)
    cooldown.forget([3])

    assert [cooldown.judge(_at(1030, key=key)) for key in (9, 3)] == ["held", "told"]


def test_a_restored_one_goes_on_where_the_saved_one_was() -> None:
    saved, restored = Cooldown(), Cooldown()
    _told_at(saved, 25, 400)

    restored.restore(msgpack.unpackb(msgpack.packb(saved.state())))

    rest = [_at(1400 + n) for n in range(0, 2000, 25)]
    assert [restored.judge(each) for each in rest] == [saved.judge(each) for each in rest]
    assert restored.state() == saved.state()
