"""Escalation: the next step at its time, by the clock that is passed in, over restarts, until somebody answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logllm.notify.dispatch.dispatcher import Traits
from logllm.notify.notification import Answer
from logllm.notify.routing.plan import Step
from logllm.notify.routing.routes import RoutingConfig
from tests.notify.dispatch.dispatching import START_S, Bench, explanation, incident, route

STEPS = [Step(900.0, ["second"]), Step(1_800.0, ["third", "second"])]
CONFIG = RoutingConfig(to=["first"], routes=[route("grave", ["severity=critical"], escalate=STEPS)])
TRAITS = {"first": Traits(), "second": Traits(edits=True), "third": Traits()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "notify.db", CONFIG, traits=TRAITS)
    yield bench
    bench.close()


def answer(bench: Bench, verdict: str) -> None:
    said = Answer("inc-1", verdict, "ana", "2026-11-30T12:20:00Z")  # type: ignore[arg-type]
    bench.dispatcher.answer(said, START_S + bench.now_s)
    bench.tick()


def told(bench: Bench) -> tuple[list[str], list[str], list[str]]:
    return bench.new("first"), bench.new("second"), bench.new("third")


@pytest.mark.parametrize("restarts", [False, True])
def test_an_unacknowledged_critical_incident_reaches_the_second_step_at_the_configured_time(
    bench: Bench, restarts: bool
) -> None:
    seen = []
    bench.accept(incident(1, severity="critical"))
    for after_s in (899.0, 1.0, 899.0, 1.0, 100_000.0):
        if restarts:
            bench.restart()
        seen.append(told(bench))
        bench.tick(after_s)
    first, second, third = told(bench)

    assert seen == [
        (["open inc-1"], [], []),
        ([], [], []),
        ([], ["escalation inc-1"], []),
        ([], [], []),
        ([], ["escalation inc-1"], ["escalation inc-1"]),
    ]
    assert {*first, *second, *third} == {"reminder inc-1"}
    assert [message.step for message in bench.messages("second")[:2]] == [1, 2]
    assert bench.messages("third")[0].step == 2
    assert bench.messages("third")[0].thread == "inc-1"


def test_the_dispatcher_asks_to_come_again_when_the_step_is_due(bench: Bench) -> None:
    bench.accept(incident(1, severity="critical"))

    assert bench.next_s == START_S + 900


def test_the_time_counts_from_when_it_was_told_not_from_when_it_came(bench: Bench) -> None:
    bench.silence("service=payments", for_s=600)
    bench.accept(incident(1, severity="critical"))
    bench.tick(600 + 899)
    before = told(bench)
    bench.tick(1)

    assert before == (["open inc-1"], [], [])
    assert told(bench) == ([], ["escalation inc-1"], [])


@pytest.mark.parametrize("verdict", ["acknowledge", "expected", "noise", "real"])
def test_an_answer_stops_it(bench: Bench, verdict: str) -> None:
    bench.accept(incident(1, severity="critical"))
    bench.tick(1_000)
    answer(bench, verdict)
    bench.tick(100_000)

    assert told(bench) == (["open inc-1", "answer inc-1"], ["escalation inc-1", "answer inc-1"], [])


def test_an_answer_before_it_was_told_stops_it_too_and_a_later_change_does_not_begin_it(bench: Bench) -> None:
    bench.accept(incident(1))
    answer(bench, "acknowledge")
    bench.accept(incident(1, "update", severity="critical", minute=1), after_s=60)
    bench.tick(100_000)

    assert told(bench) == (["open inc-1", "answer inc-1", "update inc-1"], [], [])


def test_its_end_stops_it_and_goes_to_all_who_were_called(bench: Bench) -> None:
    bench.accept(incident(1, severity="critical"))
    bench.tick(1_000)
    bench.explain(explanation(1))
    bench.accept(incident(1, "resolve", severity="critical", minute=17), after_s=20)
    bench.tick(100_000)

    first, second, third = told(bench)
    assert first == ["open inc-1", "explanation inc-1", "resolve inc-1"]
    assert second == ["escalation inc-1", "explanation inc-1", "resolve inc-1"]
    assert third == []


def test_an_incident_that_becomes_critical_takes_the_steps_of_its_new_route(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(1, "update", severity="critical", minute=20), after_s=1_200)
    bench.tick(899)
    before = told(bench)
    bench.tick(1)

    assert before == (["open inc-1", "update inc-1"], [], [])
    assert told(bench) == ([], ["escalation inc-1"], [])


def test_silenced_time_does_not_count_for_the_steps_after_it(bench: Bench) -> None:
    bench.accept(incident(1, severity="critical"))
    bench.tick(800)
    bench.silence("service=payments", for_s=3_000)
    bench.tick(3_000 - 1)
    during = told(bench)
    bench.tick(61)
    after = told(bench)
    at_s = bench.messages("second")[0]
    bench.tick(800)
    early = told(bench)
    bench.tick(160)

    assert at_s.step == 1
    assert during == (["open inc-1"], [], [])
    assert after == ([], ["escalation inc-1"], [])
    assert early == ([], [], [])
    assert told(bench) == ([], ["escalation inc-1"], ["escalation inc-1"])


def test_after_a_long_stop_the_last_step_that_is_due_is_told_once(bench: Bench) -> None:
    bench.accept(incident(1, severity="critical"))
    bench.close()
    bench.now_s = 10_000.0
    bench.restart()
    bench.tick()

    assert told(bench) == (["open inc-1"], ["escalation inc-1"], ["escalation inc-1"])
    assert bench.messages("second")[0].step == 2


def test_escalations_of_a_storm_are_collected_and_each_is_accounted_for(bench: Bench) -> None:
    everything = [incident(n, service=f"s{n % 40}", severity="critical") for n in range(200)]
    bench.accept(*everything)
    bench.tick(900)
    storm = bench.messages("second")
    covered = bench.covered("second")
    bench.tick(60)

    assert len(storm) <= 5
    assert [message.kind for message in storm] == [*["escalation"] * 4, "digest"]
    assert storm[-1].step == 1
    assert {count.event for count in storm[-1].counts} == {"escalation"}
    assert covered == {(one.id, "escalation") for one in everything}
