"""What answers do to the anomalies that come after them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from msgspec.structs import replace

from logllm.events import WINDOW_NS, Cause, Severity
from logllm.incidents.describe import KNOWN
from logllm.incidents.feedback import AGAIN_WINDOWS, NEAR, Feedback
from logllm.incidents.grouper import Grouper
from logllm.incidents.learned import Lesson, latest
from tests.incidents.parts import Full, HandMadeKeys, event, odd

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = 30_000_000
"""A window of January 2027."""
TEXTS = ["link lost on port <num>", "disk slow", "query slow", "link up", "mail sent", "mail lost"]


class Rig:
    """Answers over keys made by hand; template `k` has the id `t<k>`."""

    def __init__(self, *lessons: Lesson) -> None:
        self.keys = HandMadeKeys()
        self.became: dict[str, int] = {}
        self.feedback = Feedback(self.keys, lambda key: (f"t{key}", TEXTS[key]), self.resolve)
        self.feedback.use(latest(lessons))

    def resolve(self, template_id: str) -> int | None:
        number = int(template_id[1:])
        return self.became.get(template_id, number if number in self.keys.template else None)

    def told(
        self, *anomalies: object, counts: np.ndarray | None = None, first: int = FIRST
    ) -> list[tuple[int, str, int]]:
        given = np.zeros((1, 6)) if counts is None else counts
        found = self.feedback.heed(list(anomalies), first, given)  # type: ignore[arg-type]
        return [(each.window, each.kind, each.key) for each in found]


def said(verdict: str, template: str = "t0", kind: str = "rate", service: str = "web", **more: object) -> Lesson:
    return Lesson(service, template, kind, verdict, WHEN, **more)  # type: ignore[arg-type]


def came(key: int, *windows: int, length: int = 1) -> np.ndarray:
    counts = np.zeros((length, 6))
    counts[list(windows), key] = 1.0
    return counts


def test_noise_holds_back_its_kind_of_its_template_of_its_service_and_counts_it() -> None:
    noise = said("noise")
    rig = Rig(noise)

    told = rig.told(
        odd("rate", FIRST, key=0),
        odd("value", FIRST, key=0),
        odd("rate", FIRST, key=1),
        odd("rate", FIRST, key=2, service=1),
    )

    assert told == [(FIRST, "value", 0), (FIRST, "rate", 1), (FIRST, "rate", 2)]
    assert rig.feedback.held == {noise.id: 1}


@pytest.mark.parametrize(("always", "told"), [(False, 1), (True, 0)])
def test_a_fatal_record_is_held_back_only_by_an_answer_that_says_always(always: bool, told: int) -> None:
    rig = Rig(said("noise", always=always))

    assert len(rig.told(odd("rate", FIRST, severity=int(Severity.FATAL)))) == told


def test_what_is_expected_is_held_back_up_to_its_bound_and_told_beyond_it() -> None:
    rig = Rig(said("expected", up_to=30.0))

    assert rig.told(odd("rate", FIRST, seen=30.0)) == []
    assert rig.told(odd("rate", FIRST, seen=31.0)) == [(FIRST, "rate", 0)]


def test_what_is_expected_at_certain_hours_is_told_at_others() -> None:
    hour = FIRST // 60 % 24
    rig = Rig(said("expected", hours=f"{hour:02d}:00-{(hour + 1) % 24:02d}:00"))
    begin = FIRST - FIRST % 60

    assert rig.told(odd("rate", begin), first=begin) == []
    assert rig.told(odd("rate", begin + 59), first=begin + 59) == []
    assert rig.told(odd("rate", begin + 60), first=begin + 60) == [(begin + 60, "rate", 0)]
    assert rig.told(odd("rate", begin - 1), first=begin - 1) == [(begin - 1, "rate", 0)]


def test_an_answer_holds_until_its_end_by_the_time_of_the_records() -> None:
    ends = datetime.fromtimestamp((FIRST + 1) * WINDOW_NS / 1e9, UTC)
    rig = Rig(said("noise", until=ends))

    assert rig.told(odd("rate", FIRST - 1), first=FIRST - 1) == []
    assert rig.told(odd("rate", FIRST)) == [(FIRST, "rate", 0)]


def test_the_most_particular_answer_counts() -> None:
    rig = Rig(
        said("noise", kind="*", service="*"),
        said("real", kind="*"),
        said("noise", template="*"),
        said("expected", up_to=5.0),
    )

    assert rig.told(odd("rate", FIRST, seen=5.0)) == []
    assert rig.told(odd("rate", FIRST, seen=6.0)) == [(FIRST, "rate", 0)]
    assert rig.told(odd("value", FIRST)) == [(FIRST, "value", 0)]
    assert rig.told(odd("rate", FIRST, key=1)) == []


def test_silence_of_a_service_and_of_the_source_are_answered_without_a_template() -> None:
    rig = Rig(said("noise", "*", "silence"), said("noise", "*", "silence", service="*"))

    assert rig.told(odd("silence", FIRST, span=0), odd("silence", FIRST, service=-1)) == []
    assert Rig(said("noise", "t0", "silence")).told(odd("silence", FIRST, span=0)) == [(FIRST, "silence", 0)]


def test_an_answer_follows_its_template_into_the_one_it_becomes_part_of() -> None:
    rig = Rig(said("noise", "t9"))
    assert rig.told(odd("rate", FIRST)) == [(FIRST, "rate", 0)]

    rig.became["t9"] = 0
    rig.feedback.merge(5, 0)

    assert rig.told(odd("rate", FIRST)) == []


def test_the_later_answer_holds_where_two_templates_have_become_one() -> None:
    later = replace(said("real", "t9"), when=datetime(2026, 2, 1, tzinfo=UTC))
    rig = Rig(said("noise", "t0"), later)
    rig.became["t9"] = 0

    assert rig.told(odd("rate", FIRST)) == [(FIRST, "rate", 0)]


def test_a_number_that_is_given_to_another_template_takes_no_answer_along() -> None:
    rig = Rig(said("noise"))
    assert rig.told(odd("rate", FIRST)) == []

    rig.keys.template[0] = 7

    assert rig.told(odd("rate", FIRST)) == [(FIRST, "rate", 0)]


@pytest.mark.parametrize(("severity", "least"), [("warning", Severity.WARN), ("critical", Severity.FATAL)])
def test_what_is_real_is_told_at_least_as_badly_as_it_was(severity: str, least: int) -> None:
    rig = Rig(said("real", severity=severity))

    (told,) = rig.feedback.heed([odd("rate", FIRST, severity=int(Severity.INFO))], FIRST, np.zeros((1, 6)))

    assert told.severity == least


def test_what_is_real_is_told_although_the_purse_is_empty() -> None:
    rig = Rig(said("real"))
    purse = Full(covers=False, covers_critical=False)
    grouper = Grouper(rig.keys, purse, lambda key: f"t{key}", rig.feedback.is_real)

    told, _ = grouper.take([odd("rate", FIRST), odd("rate", FIRST, key=2, service=1)], FIRST, np.ones((1, 6)))

    assert [(what, incident.service) for what, incident in told] == [("open", 0)]


def test_an_incident_the_purse_did_not_cover_is_told_when_something_real_joins_it() -> None:
    rig = Rig(said("real", "t1"))
    grouper = Grouper(rig.keys, Full(covers=False), lambda key: f"t{key}", rig.feedback.is_real)

    first, _ = grouper.take([odd("rate", FIRST)], FIRST, np.ones((1, 6)))
    then, _ = grouper.take([odd("rate", FIRST + 1, key=1)], FIRST + 1, np.ones((1, 6)))

    assert first == []
    assert [what for what, _ in then] == ["open"]


def test_each_record_of_a_known_problem_is_told_where_no_detector_speaks_of_it() -> None:
    rig = Rig(said("real", kind="*", every_record=True, level="error"))

    found = rig.feedback.heed([odd("rate", FIRST + 2, key=1)], FIRST, came(0, 1, length=3))

    assert [(each.window, each.kind, each.key) for each in found] == [(FIRST + 1, "new", 0), (FIRST + 2, "rate", 1)]
    assert found[0].severity == Severity.ERROR
    assert found[0].about == KNOWN


def test_a_known_problem_that_a_detector_speaks_of_is_told_once() -> None:
    rig = Rig(said("real", kind="*", every_record=True))

    assert rig.told(odd("rate", FIRST), counts=came(0, 0)) == [(FIRST, "rate", 0)]


def test_a_known_problem_of_another_service_is_not_this_ones() -> None:
    rig = Rig(said("real", "t2", "*", every_record=True))

    assert rig.told(counts=came(2, 0)) == []


def test_a_known_problem_opens_one_incident_an_hour_and_goes_on_in_it_meanwhile() -> None:
    real = said("real", kind="*", every_record=True)
    rig = Rig(real)

    windows = [0, 10, 20, 40, AGAIN_WINDOWS - 1, AGAIN_WINDOWS]
    told = [window for window in windows if rig.told(counts=came(0, 0), first=FIRST + window)]

    assert told == [0, 10, 20, AGAIN_WINDOWS]
    assert rig.feedback.held == {real.id: 2}


def test_the_pause_of_a_known_problem_outlives_a_restart_and_a_merge() -> None:
    real = said("real", kind="*", every_record=True)
    rig, other = Rig(real), Rig(real)
    rig.told(counts=came(0, 0))

    other.feedback.restore(rig.feedback.state())
    rig.feedback.merge(0, 1)
    rig.keys.template[:2] = [7, 0]

    assert other.told(counts=came(0, 0), first=FIRST + 30) == []
    assert rig.told(counts=came(1, 0), first=FIRST + 30) == []
    assert other.told(counts=came(0, 0), first=FIRST - 5) == [(FIRST - 5, "new", 0)]


def test_a_new_template_like_three_harmless_ones_is_held_back_and_counted_apart() -> None:
    alike = [said("noise", f"t{n}", text=f"link down on port <num> of rack {word}") for n, word in ((7, "a"), (8, "b"))]
    two, three = Rig(*alike), Rig(*alike, said("expected", "t9", text="link off on port <num>"))
    new = odd("new", FIRST, severity=int(Severity.WARN))

    assert two.told(new) == [(FIRST, "new", 0)]
    assert three.told(new, replace(new, key=4), replace(new, severity=int(Severity.FATAL))) == [
        (FIRST, "new", 4),
        (FIRST, "new", 0),
    ]
    assert three.feedback.held == {NEAR: 1}


def test_an_incident_of_a_look_back_is_held_back_when_all_of_it_is_answered() -> None:
    rig = Rig(said("noise", kind="dominant"), said("expected", "t1", up_to=10.0))
    both = [Cause("dominant", "web", "t0", "", 0.0, 5.0, 13), Cause("rate", "web", "t1", "", 1.0, 10.0, 13)]
    more = [both[0], replace(both[1], seen=11.0)]

    assert rig.feedback.holds_back(replace(event(1), causes=both), FIRST * WINDOW_NS)
    assert not rig.feedback.holds_back(replace(event(1), causes=more), FIRST * WINDOW_NS)
    assert not rig.feedback.holds_back(event(1), FIRST * WINDOW_NS)


def test_without_answers_the_anomalies_are_the_very_same() -> None:
    anomalies = [odd("rate", FIRST)]

    assert Rig().feedback.heed(anomalies, FIRST, np.ones((1, 6))) is anomalies
