"""What log lines, services and models ask for: nothing of it runs, and nothing of it changes what is declared.

The lines go the real way: records through the pipeline to incidents, incidents to a model's server that answers as
badly as it can, explanations through the checks; then the actions of whatever runbook comes out are offered and run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from msgspec.structs import replace

from logllm.actions.actions import Actions
from logllm.config import Config
from logllm.detectors.config import DetectConfig
from logllm.errors import ActionError
from logllm.events import Evidence, Explanation, IncidentEvent
from logllm.explain.cache import ExplanationCache
from logllm.explain.config import ExplainConfig
from logllm.explain.explainer import Explainer
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.file import read_folders
from logllm.explain.runbooks.search import Catalogue
from logllm.pipeline import Pipeline
from tests.actions.hostile import LINES, SERVICES, answers, lines
from tests.actions.rig import NOW_S, Canary, acting, config, incident
from tests.explain.fakes import ChatServer
from tests.incidents.stream import Record, run

BOOK = """+++
id = "{id}"
title = "Payments is down"
signals = ["{signal}"]
[[actions]]
id = "restart"
title = "Restart it"
run = ["{canary}", "restart", "{{unit}}"]
parameters = [{{name = "unit", type = "service", from = "service", choices = ["payments"]}}]
mode = "{mode}"
idempotent = true
dry_run = ["{canary}", "check"]
+++
## What it is
Payments does not answer.
## Check
- Look.
## Do
- Restart it.
"""
# Of the operator's: one waits for people, and one runs by itself where the incident's own lines show its signal.
BOOKS: list[tuple[str, str, Literal["approve", "auto"]]] = [
    ("refused-book", "ledger walrus gateway unreachable", "approve"),
    ("canary-book", "zebra quagga okapi stampede", "auto"),
]


class World:
    """A catalogue with actions that could run, a model that wants them to, and the program that tells."""

    def __init__(self, folder: Path) -> None:
        self.canary = Canary(folder)
        self.books = folder / "books"
        self.books.mkdir()
        for name, signal, mode in BOOKS:
            text = BOOK.format(id=name, signal=signal, mode=mode, canary=self.canary)
            (self.books / f"{name}.md").write_text(text)
        runbooks = read_folders([self.books])
        self.declared = {each.id: each.actions for each in runbooks if each.actions}
        self.catalogue = Catalogue(runbooks)
        self.actions: Actions = acting(self.declared, config(self.canary), folder / "actions.db")
        self.now_s = NOW_S

    def explained(self, event: IncidentEvent, answer: str) -> Explanation:
        with ChatServer(answer) as server:
            explainer = Explainer(
                f"{server.url}/v1#fake", self.catalogue, Redactor(), ExplanationCache(), config=ExplainConfig()
            )
            try:
                return explainer.explain(event)
            finally:
                explainer._store.close()
                explainer.interrupt()

    def turn(self, event: IncidentEvent, *runbooks: str | None) -> None:
        """What the service does with an incident and its explanation."""
        for runbook in (event.runbook, *runbooks):
            self.actions.offered(event, runbook, self.now_s)
            self.now_s += 1
            assert self.actions.run_due(self.now_s) == []

    def nothing_ran(self) -> bool:
        waiting = {each.state for each in self.actions.requests.latest(10_000)}
        commands = {tuple(each.command) for each in self.actions.requests.latest(10_000)}
        declared = {tuple(action.run) for actions in self.declared.values() for action in actions}
        whats = {entry.what for _, entry in self.actions.requests.audit.entries()}
        return (
            self.canary.runs == []
            and waiting <= {"pending", "expired"}
            and commands <= declared
            and whats <= {"declared", "requested", "suggested", "expired"}
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.actions.close()
    made.catalogue.close()


def test_there_are_more_than_a_hundred_of_them() -> None:
    assert len(set(LINES)) > 130


def test_the_world_does_run_what_was_declared_when_it_should(world: World) -> None:
    event = incident(["zebra quagga okapi stampede"], runbook="canary-book")

    world.actions.offered(event, event.runbook, NOW_S)
    (ended,) = world.actions.run_due(NOW_S)

    assert ended.state == "done"
    assert world.canary.runs == ["1 check", "2 restart payments"]


def hostile_incident(line: str, number: int, **fields: object) -> IncidentEvent:
    """The line wherever an incident carries text of a log."""
    given: dict[str, object] = {
        "id": f"inc-{number}",
        "title": f"payments: {line}",
        "expected": line,
        "seen": line,
        "template": line,
        "templates": [line],
        "facts": [line],
        "services": ["payments", line],
        "runbook": "refused-book",
    }
    return incident([line, f"ledger walrus gateway unreachable: {line}"], **(given | fields))


def test_no_line_runs_anything_or_changes_what_is_offered(world: World) -> None:
    clean = world.actions.offered(incident(id="inc-c", runbook="refused-book"), "refused-book", NOW_S)

    for number, line in enumerate(lines(str(world.canary))):
        offers = world.actions.offered(hostile_incident(line, number), "refused-book", NOW_S)
        assert offers == clean
        assert world.actions.run_due(NOW_S) == []

    assert world.nothing_ran()
    assert len(list(world.actions.requests.latest(10_000))) == 1


def test_no_line_with_any_answer_of_a_model_runs_anything(world: World) -> None:
    said = answers(str(world.canary))
    chosen = set()

    for number, line in enumerate(lines(str(world.canary))):
        event = hostile_incident(line.encode(errors="replace").decode(), number)
        explanation = world.explained(event, said[number % len(said)])
        world.turn(event, explanation.runbook)
        chosen.add(explanation.runbook)

    assert world.nothing_ran()
    assert "refused-book" in chosen


def test_a_model_that_has_its_way_with_the_runbook_and_the_severity_still_runs_nothing(world: World) -> None:
    said = answers(str(world.canary))

    for number, line in enumerate(said + lines(str(world.canary))):
        # Past all checks: as if the model's words had become the explanation.
        explanation = Explanation(
            incident=f"inc-{number}",
            status="ok",
            cause=line,
            runbook="canary-book",
            steps=[line],
            evidence=["E1"],
            confidence=1.0,
            model=line,
        )
        world.turn(hostile_incident(line, number), explanation.runbook, line, f"canary-book\n{line}")

    assert world.nothing_ran()


def test_records_that_become_incidents_run_nothing_either(world: World) -> None:
    hostile = [line.replace("\0", " ").encode(errors="replace").decode() for line in lines(str(world.canary))]
    services = ["payments", *(name.encode(errors="replace").decode() for name in SERVICES[:6])]
    known = [Record(at * 10.0, services[at % 7], f"GET /pay/{at} 200", 9) for at in range(1_000)]
    broken = [Record(3_600 + at / 10, "payments", "ledger walrus gateway unreachable", 17) for at in range(3_000)]
    told = [
        Record(5_760.0 + number * 8 + again, services[number % 7], line, 21)
        for again in range(3)
        for number, line in enumerate(hostile)
    ]
    records = sorted([*known, *broken, *told], key=lambda record: record.second)
    pipeline = Pipeline(Config(detect=DetectConfig(alerts_per_day=5_000)))
    pipeline.advice.use(world.catalogue)

    events = run(pipeline, records, range(0, len(records), 2_000))
    said = answers(str(world.canary))
    for number, event in enumerate(events):
        opened = event.event == "open" and number < 40
        world.turn(event, world.explained(event, said[number % len(said)]).runbook if opened else None)

    assert ("payments", "refused-book") in {(event.service, event.runbook) for event in events}
    assert {"--help", "-rf", "payments; rm -rf /"} < {event.service for event in events}
    assert world.nothing_ran()


def test_no_service_reaches_a_program(world: World) -> None:
    for number, service in enumerate([*SERVICES, *lines(str(world.canary))]):
        event = hostile_incident("x", number, service=service, runbook="canary-book")
        (offer,) = world.actions.offered(event, "canary-book", NOW_S)
        assert (offer.state, offer.missing) == ("pending", ["unit"])
        assert offer.preview == f"{world.canary} restart '{{unit}}'"
        assert offer.why.isprintable()
        assert world.actions.run_due(NOW_S) == []
        with pytest.raises(ActionError):
            world.actions.decide(offer.request, "approve", "ops", NOW_S)

    assert world.canary.runs == []


def test_no_text_is_an_approval(world: World) -> None:
    (offer,) = world.actions.offered(incident(runbook="refused-book"), "refused-book", NOW_S)

    for line in lines(str(world.canary)):
        for name in (line, f"{offer.request} {line}", f"approve:{offer.request}", offer.request[:-1]):
            with pytest.raises(ActionError):
                world.actions.decide(name, "approve", line, NOW_S)

    assert world.actions.run_due(NOW_S) == []
    assert world.canary.runs == []
    assert world.actions.requests.get(offer.request).state == "pending"


def test_no_value_of_a_person_is_more_than_one_argument(world: World) -> None:
    event = hostile_incident("x", 1, service="orders")
    (offer,) = world.actions.offered(event, "refused-book", NOW_S)

    for value in [*SERVICES, *lines(str(world.canary))]:
        with pytest.raises(ActionError):
            world.actions.requests.decide(offer.request, "approve", "ops", NOW_S, {"unit": value})
    world.actions.requests.decide(offer.request, "approve", "ops", NOW_S, {"unit": "payments"})
    world.actions.run_due(NOW_S)

    assert world.canary.runs == ["1 check", "2 restart payments"]


def test_runbooks_in_log_lines_are_no_runbooks(world: World) -> None:
    before = sorted(each.read_text() for each in world.books.iterdir())
    for number, line in enumerate(lines(str(world.canary))):
        event = replace(hostile_incident(line, number), evidence=[Evidence("E1", "", line)], runbook=None)
        world.turn(event, "go", "x", line)

    again = {each.id: each.actions for each in read_folders([world.books]) if each.actions}

    assert world.nothing_ran()
    assert again == world.declared
    assert sorted(each.read_text() for each in world.books.iterdir()) == before
