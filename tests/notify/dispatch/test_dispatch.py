"""From an incident to its messages: explanations, answers, reminders, mute times, reloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from logllm.errors import ConfigError
from logllm.events import SeenBefore
from logllm.notify.dispatch.dispatcher import InhibitRule, Traits
from logllm.notify.notification import Answer, Count, RunbookNote
from logllm.notify.routing.plan import Step
from logllm.notify.routing.routes import RoutingConfig
from logllm.notify.routing.times import TimeIntervalConfig
from tests.notify.dispatch.dispatching import EDITING, PLAIN, START_S, Bench, explanation, incident, route

BOTH = RoutingConfig(to=[EDITING, PLAIN])
HOUR = 3_600.0


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(config=BOTH)
    yield bench
    bench.close()


def acknowledge(bench: Bench, number: int = 1, verdict: str = "acknowledge", who: str = "ana") -> bool:
    answer = Answer(f"inc-{number}", verdict, who, f"2026-11-30T13:00:{int(bench.now_s) % 60:02d}Z")  # type: ignore[arg-type]
    known = bench.dispatcher.answer(answer, START_S + bench.now_s)
    bench.tick()
    return known


def test_an_explanation_follows_into_the_thread_and_later_messages_have_it(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.explain(explanation(1))
    bench.accept(incident(1, "resolve", minute=16), after_s=960)
    bench.tick(30)

    for destination in (EDITING, PLAIN):
        assert bench.new(destination) == ["open inc-1", "explanation inc-1", "resolve inc-1"]
        first, second, third = bench.messages(destination)
        assert {message.thread for message in (first, second, third)} == {"inc-1"}
        assert first.explanation is None
        assert second.explanation == third.explanation == explanation(1)


def test_an_explanation_that_comes_before_the_message_is_in_it_and_does_not_come_again(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2), after_s=10)
    bench.explain(explanation(2))
    bench.tick(20)

    assert bench.new() == ["open inc-1", "open inc-2"]
    assert bench.messages()[-1].explanation == explanation(2)


def test_what_was_told_in_a_digest_is_not_explained(bench: Bench) -> None:
    bench.accept(incident(1), incident(2), incident(3))
    bench.tick(30)
    bench.explain(explanation(2))

    assert bench.new(EDITING) == bench.new(PLAIN) == ["open inc-1", "digest 2"]


@pytest.mark.parametrize(
    "said", [explanation(1, status="failed"), explanation(1, cause="", status="insufficient"), explanation(9)]
)
def test_an_explanation_that_failed_says_nothing_or_is_of_no_incident_is_not_told(bench: Bench, said: object) -> None:
    bench.accept(incident(1))
    bench.explain(said)  # type: ignore[arg-type]

    assert bench.new() == ["open inc-1"]


def test_one_that_failed_but_knows_of_an_earlier_incident_is_told(bench: Bench) -> None:
    before = [SeenBefore("inc-0", "2026-05-03T10:00:00Z", "disk full", outcome="grew the volume")]
    bench.accept(incident(1))
    bench.explain(replace(explanation(1, status="failed"), seen_before=before))

    assert bench.new() == ["open inc-1", "explanation inc-1"]


def test_the_same_explanation_again_is_not_told_and_another_one_is(bench: Bench) -> None:
    bench.accept(incident(1))
    for cause in ("the disk is full", "the disk is full", "the disk is slow"):
        bench.explain(explanation(1, cause=cause))

    assert bench.new() == ["open inc-1", "explanation inc-1", "explanation inc-1"]


def test_explanations_wait_for_room_where_each_is_a_message_and_never_become_a_digest() -> None:
    bench = Bench(traits={PLAIN: Traits(burst=3)})
    for number in range(3):
        bench.accept(incident(number, service=f"s{number}"), after_s=1)
    for number in range(3):
        bench.explain(explanation(number))
    waiting = bench.new()
    bench.tick(60)

    shown = bench.new()
    bench.close()

    assert waiting == ["open inc-0", "open inc-1", "open inc-2"]
    assert shown == ["explanation inc-0", "explanation inc-1", "explanation inc-2"]


def test_a_runbooks_note_and_the_owner_are_in_the_message() -> None:
    note = RunbookNote("disk", "Disk full", steps=["df -h"])
    bench = Bench(runbooks={"disk": note})
    bench.accept(incident(1, runbook="disk"), incident(2, service="checkout", runbook="gone"))

    first, second = bench.messages()
    bench.close()

    assert (first.runbook, second.runbook) == (note, None)


def test_an_answer_is_kept_and_goes_to_the_threads(bench: Bench) -> None:
    bench.accept(incident(1), incident(2, service="checkout"))
    known = acknowledge(bench)

    assert known
    assert bench.new() == bench.new(EDITING) == ["open inc-1", "open inc-2", "answer inc-1"]
    message = bench.messages()[-1]
    assert message.thread == "inc-1"
    assert message.answer == Answer("inc-1", "acknowledge", "ana", "2026-11-30T13:00:00Z")
    assert bench.dispatcher.answers("inc-1") == [message.answer]


def test_the_same_answer_again_is_one_and_another_one_is_told(bench: Bench) -> None:
    bench.accept(incident(1))
    for verdict, who in (("acknowledge", "ana"), ("acknowledge", "ana"), ("noise", "ana"), ("noise", "ben")):
        acknowledge(bench, verdict=verdict, who=who)

    assert bench.new() == ["open inc-1", *["answer inc-1"] * 3]
    assert [(answer.verdict, answer.who) for answer in bench.dispatcher.answers("inc-1")] == [
        ("acknowledge", "ana"),
        ("noise", "ana"),
        ("noise", "ben"),
    ]


def test_answers_without_end_are_bounded_and_those_of_unknown_incidents_kept(bench: Bench) -> None:
    bench.accept(incident(1))
    known = [acknowledge(bench, who=f"\x1b\ud800{number}" + "x" * 9_999) for number in range(130)]
    unknown = acknowledge(bench, 77)

    assert all(known)
    assert not unknown
    assert len(bench.new()) == 1 + 20
    assert len(bench.dispatcher.answers("inc-1")) == 100
    assert max(len(answer.who) for answer in bench.dispatcher.answers("inc-1")) <= 200
    assert len(bench.dispatcher.answers("inc-77")) == 1


def test_what_is_open_and_not_acknowledged_is_told_again_after_repeat_interval(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.tick(4 * HOUR - 1)
    early = bench.new()
    bench.tick(1)
    once = bench.new()
    bench.tick(4 * HOUR)
    twice = bench.new()
    acknowledge(bench)
    bench.tick(9 * HOUR)

    assert (early, once, twice) == (["open inc-1"], ["reminder inc-1"], ["reminder inc-1"])
    assert bench.new() == ["answer inc-1"]
    assert len({message.id for message in bench.messages()}) == 4


def test_a_group_has_one_reminder_of_what_of_it_is_still_open(bench: Bench) -> None:
    bench.accept(*(incident(number) for number in range(4)))
    bench.accept(incident(0, "resolve", minute=1), after_s=60)
    acknowledge(bench, 1)
    bench.tick(240)
    bench.new()
    bench.tick(4 * HOUR)

    assert bench.new() == ["reminder 2"]
    reminder = bench.messages()[-1]
    assert reminder.counts == [Count("payments", "warning", "reminder", 2)]
    assert [shown.id for shown in reminder.incidents] == ["inc-2", "inc-3"]


def night(**changes: object) -> RoutingConfig:
    """Nothing is told from noon to one o'clock."""
    times = {"lunch": TimeIntervalConfig(from_="12:00", to="13:00")}
    grave = route("grave", ["severity=critical"], mute=[])
    muted = route("muted", ["service=payments"], mute=["lunch"])
    return RoutingConfig(to=[PLAIN], times=times, routes=[grave, muted], **changes)  # type: ignore[arg-type]


def test_a_muted_incident_is_told_when_the_interval_is_over_and_it_is_still_open(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "notify.db", night())
    bench.accept(incident(1), incident(2), incident(3, service="checkout"))
    bench.accept(incident(2, "resolve", minute=16), after_s=960)
    muted = bench.new()
    bench.restart()
    bench.tick(HOUR - 960 - 1)
    waiting = bench.new()
    bench.tick(1)

    shown, counts = bench.new(), bench.dispatcher.counts()
    bench.close()

    assert (muted, waiting) == (["open inc-3"], [])
    assert shown == ["open inc-1"]
    assert (counts["held"], counts["waiting"]) == (0, 0)


def test_a_muted_incident_that_becomes_critical_and_so_takes_a_route_that_is_not_muted_is_told() -> None:
    bench = Bench(config=night())
    bench.accept(incident(1))
    bench.accept(incident(1, "update", severity="critical", minute=2), after_s=120)

    shown, counts = bench.new(), bench.dispatcher.counts()
    bench.close()

    assert shown == ["open inc-1"]
    assert (counts["muted"], counts["held"]) == (1, 0)


def test_the_end_of_what_was_told_waits_for_the_mute_interval_too() -> None:
    bench = Bench(config=night())
    bench.now_s = -300.0
    bench.accept(incident(1))
    bench.accept(incident(1, "resolve", minute=5), after_s=600)
    bench.tick(60)
    waiting = bench.new()
    bench.tick(HOUR - 360)

    shown = bench.new()
    bench.close()

    assert (waiting, shown) == (["open inc-1"], ["resolve inc-1"])


INHIBIT = [InhibitRule(source=["severity=critical"], target=["severity!=critical"], equal=["service"])]


def test_what_follows_from_an_open_incident_is_told_only_if_it_outlives_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "notify.db", inhibit=INHIBIT)
    bench.accept(incident(1, severity="critical"), incident(2), incident(3), incident(4, service="checkout"))
    first = bench.new()
    bench.accept(incident(3, "resolve", minute=5), after_s=300)
    bench.restart()
    bench.tick(300)
    inhibited = bench.new()
    bench.accept(incident(1, "resolve", minute=20), after_s=600)
    bench.tick(60)

    shown, covered, counts = bench.new(), bench.covered(), bench.dispatcher.counts()
    bench.close()

    assert (first, inhibited) == (["open inc-1", "open inc-4"], [])
    assert shown == ["open inc-2", "resolve inc-1"]
    assert {("inc-2", "open"), ("inc-1", "resolve")} <= covered
    assert counts["held"] == 0


def test_an_incident_that_is_both_sides_of_a_rule_does_not_inhibit_itself_or_its_like() -> None:
    rule = InhibitRule(source=["kind=rate"], target=["service=payments"])
    bench = Bench(inhibit=[rule])
    bench.accept(incident(1), incident(2), incident(3, kinds=["new"]))
    bench.tick(30)

    shown = bench.new()
    bench.close()

    assert shown == ["open inc-1", "open inc-2"]


def test_an_inhibited_incident_is_neither_repeated_nor_its_update_told_but_its_end_is() -> None:
    bench = Bench(inhibit=INHIBIT)
    bench.accept(incident(1))
    bench.accept(incident(2, severity="critical"), after_s=400)
    bench.accept(incident(1, "update", minute=8), after_s=400)
    bench.tick(4 * HOUR)
    during = bench.new()
    bench.accept(incident(1, "resolve", minute=300), after_s=400)
    bench.tick(400)

    shown = bench.new()
    bench.close()

    assert during == ["open inc-1", "open inc-2", "reminder inc-2"]
    assert shown == ["resolve inc-1"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (InhibitRule([], ["severity=info"]), "inhibit 1, source: empty"),
        (InhibitRule(["severity=info"], []), "inhibit 1, target: empty"),
        (InhibitRule(["severity"], ["severity=info"]), "inhibit 1, source: matcher 'severity'"),
        (InhibitRule(["kind=rate"], ["kind=new"], ["pod"]), "inhibit 1, equal: no label 'pod'"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_and_says_where(rule: InhibitRule, expected: str) -> None:
    bench = Bench()

    with pytest.raises(ConfigError) as refused:
        bench.dispatcher.replace(bench.routing(BOTH), inhibit=[rule], traits={})

    bench.accept(incident(1))
    shown = bench.new()
    bench.close()
    assert str(refused.value).startswith(expected)
    assert shown == ["open inc-1"]


def test_after_a_reload_new_incidents_take_the_new_routes_and_old_ones_keep_theirs_too() -> None:
    bench = Bench(config=RoutingConfig(to=[EDITING]))
    bench.accept(incident(1))
    bench.dispatcher.replace(
        bench.routing(RoutingConfig(to=[PLAIN])), inhibit=[], traits={PLAIN: Traits(), EDITING: Traits(edits=False)}
    )
    bench.accept(incident(2), incident(1, "update", minute=1), after_s=400)
    bench.tick(400)

    both = bench.new(EDITING), bench.new()
    bench.close()

    assert both == (["open inc-1", "update inc-1"], ["open inc-2", "open inc-1"])


def test_half_characters_of_a_log_do_no_harm(bench: Bench) -> None:
    bench.accept(incident("\ud800", service="pay\udfffments\0"))
    bench.explain(explanation("\ud800", cause="disk \ud800"))
    bench.accept(incident("\ud800", "resolve", service="pay\udfffments\0", minute=9), after_s=400)
    bench.tick(30)

    assert [message.kind for message in bench.messages()] == ["open", "explanation", "resolve"]


def test_what_was_kept_and_cannot_be_read_any_more_is_forgotten_and_keeps_nothing_else_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "notify.db", RoutingConfig(to=[PLAIN], escalate=[Step(60.0, [EDITING])]))
    bench.dispatcher.accept([incident(n, service=f"s{n}") for n in range(4)], START_S)
    with bench.database.transaction() as db:
        db.execute("UPDATE dispatch_incidents SET body = X'7b7d' WHERE incident = 'inc-0'")
        db.execute("UPDATE dispatch_incidents SET labels = X'ff' WHERE incident = 'inc-1'")
        db.execute("UPDATE escalations SET plan = X'' WHERE incident = 'inc-2'")
    bench.restart()
    bench.tick(60)

    shown, escalated, counts = bench.new(), bench.new(EDITING), bench.dispatcher.counts()
    bench.close()

    assert shown == ["open inc-2", "open inc-3"]
    assert escalated == ["escalation inc-3"]
    assert counts["forgotten"] == 2
