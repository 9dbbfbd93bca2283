"""Actions as the service has them: what an alert offers, what runs, when, and what is told of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from logllm.actions.actions import Actions
from logllm.actions.config import ActionsConfig
from logllm.actions.declare import Declaration, Limit, Webhook
from logllm.actions.parameters import Parameter
from logllm.errors import ActionError, ConfigError
from tests.actions.rig import NOW_S, UNIT, Canary, acting, config, incident, restart
from tests.actions.test_run import serving


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path, then="echo out; echo err >&2")


def by_itself(canary: Canary, trial: Canary, **fields: object) -> Declaration:
    given = {"mode": "auto", "idempotent": True, "dry_run": [str(trial), "check", "{unit}"]}
    return restart(canary, **(given | fields))


def told(actions: Actions) -> list[str]:
    return [entry.what for _, entry in actions.requests.audit.entries()]


def test_a_suggestion_needs_no_configuration_and_runs_nothing(canary: Canary) -> None:
    actions = acting(restart(canary, mode="suggest"), ActionsConfig())

    for _ in range(3):
        (offer,) = actions.offered(incident(), "refused", NOW_S)

    assert (offer.mode, offer.request, offer.state, offer.why) == ("suggest", "", "", "")
    assert offer.preview == f"{canary} restart payments"
    assert not offer.needs_approval
    assert actions.run_due(NOW_S) == []
    assert (canary.runs, told(actions)) == ([], ["declared", "suggested"])
    actions.close()


def test_an_approved_action_runs_once_with_its_parameters_and_all_of_it_is_on_record(canary: Canary) -> None:
    actions = acting(restart(canary), config(canary))
    (offer,) = actions.offered(incident(), "refused", NOW_S)
    before = actions.run_due(NOW_S)

    actions.decide(offer.request, "approve", "slack:U1", NOW_S + 5)
    (ended,) = actions.run_due(NOW_S + 6)
    after = [*actions.run_due(NOW_S + 7), *actions.run_due(NOW_S + 9_000)]

    assert (before, after, offer.needs_approval) == ([], [], True)
    assert canary.runs == ["2 restart payments"]
    assert (ended.state, ended.exit_status, ended.who, ended.id) == ("done", 0, "slack:U1", offer.request)
    entries = [entry for _, entry in actions.requests.audit.entries()]
    assert [entry.what for entry in entries] == ["declared", "requested", "approved", "run", "finished"]
    finished = entries[-1]
    assert finished.argv == [str(canary), "restart", "payments"]
    assert finished.parameters == {"unit": "payments"}
    assert (finished.exit_status, finished.output, finished.output_bytes) == (0, "out\nerr\n", 8)
    assert (finished.incident, finished.request, finished.who) == ("inc-1", offer.request, "slack:U1")
    actions.requests.audit.verify()
    actions.close()


def test_a_rejected_action_never_runs(canary: Canary) -> None:
    actions = acting(restart(canary), config(canary))
    (offer,) = actions.offered(incident(), "refused", NOW_S)

    actions.decide(offer.request, "reject", "ops", NOW_S, "not now")

    with pytest.raises(ActionError, match="is rejected by ops already"):
        actions.decide(offer.request, "approve", "ops", NOW_S)
    assert actions.offered(incident(event="update"), "refused", NOW_S)[0].state == "rejected"
    assert (actions.run_due(NOW_S), canary.runs) == ([], [])
    actions.close()


def test_an_action_that_fails_is_told_with_its_status_and_not_run_again(tmp_path: Path) -> None:
    canary = Canary(tmp_path, then="exit 9")
    actions = acting(restart(canary), config(canary))
    (offer,) = actions.offered(incident(), "refused", NOW_S)
    actions.decide(offer.request, "approve", "ops", NOW_S)

    (ended,) = actions.run_due(NOW_S)

    assert (ended.state, ended.exit_status, ended.result) == ("failed", 9, "exit status 9")
    assert actions.offered(incident(event="update"), "refused", NOW_S)[0].state == "failed"
    assert (actions.run_due(NOW_S), len(canary.runs)) == ([], 1)
    actions.close()


def test_what_may_run_by_itself_runs_after_its_dry_run(tmp_path: Path, canary: Canary) -> None:
    trial = Canary(tmp_path, name="trial")
    actions = acting(by_itself(canary, trial), config(canary, trial))

    (offer,) = actions.offered(incident(), "refused", NOW_S)
    (ended,) = actions.run_due(NOW_S)
    again = actions.offered(incident(event="update"), "refused", NOW_S + 60)

    assert (offer.mode, offer.state, offer.needs_approval) == ("auto", "approved", False)
    assert (trial.runs, canary.runs) == (["2 check payments"], ["2 restart payments"])
    assert (ended.state, ended.who) == ("done", "logllm")
    assert (again[0].state, actions.run_due(NOW_S + 60), len(canary.runs)) == ("done", [], 1)
    assert told(actions) == ["declared", "requested", "approved", "dry-run", "run", "finished"]
    actions.close()


def test_a_dry_run_that_fails_keeps_it_from_running(tmp_path: Path, canary: Canary) -> None:
    trial = Canary(tmp_path, name="trial", then="exit 1")
    actions = acting(by_itself(canary, trial), config(canary, trial))
    actions.offered(incident(), "refused", NOW_S)

    (ended,) = actions.run_due(NOW_S)

    assert (ended.state, ended.result) == ("failed", "the dry run did not succeed: exit status 1")
    assert (len(trial.runs), canary.runs) == (1, [])
    assert told(actions)[-2:] == ["dry-run", "finished"]
    actions.close()


def test_what_runs_by_itself_keeps_to_its_limit_over_incidents_and_restarts(tmp_path: Path, canary: Canary) -> None:
    trial = Canary(tmp_path, name="trial")
    declaration = by_itself(canary, trial, limit=Limit(per_hour=2, per_day=3, cooldown_s=10))
    path = tmp_path / "actions.db"

    for number, at in enumerate([0, 5, 20, 40, 3_700, 3_800, 90_000]):
        actions = acting(declaration, config(canary, trial), path, now_s=NOW_S + at)
        actions.offered(incident(id=f"inc-{number}"), "refused", NOW_S + at)
        actions.run_due(NOW_S + at)
        actions.close()

    actions = acting(declaration, config(canary, trial), path, now_s=NOW_S + 90_000)
    results = [(each.state, each.result) for each in actions.requests.latest()][::-1]
    actions.close()
    assert [state for state, _ in results] == ["done", "refused", "done", "refused", "done", "refused", "done"]
    assert [result.split(",")[0] for state, result in results if state == "refused"] == [
        "it ran 5 s ago",
        "at most 2 an hour",
        "at most 3 a day",
    ]
    assert len(canary.runs) == 4


@pytest.mark.parametrize(
    ("incident_fields", "why"),
    [
        ({"severity": "warning"}, "the incident is warning"),
        ({"runbook": "other"}, "own lines"),
        ({"runbook": None}, "own lines"),
        ({"service": "payments; rm -rf /"}, "expected a service's name"),
        ({"service": "--help"}, "no leading"),
        ({"service": "orders"}, "expected one of payments, checkout"),
    ],
)
def test_what_may_not_go_by_itself_waits_for_a_person(
    tmp_path: Path, canary: Canary, incident_fields: dict[str, object], why: str
) -> None:
    trial = Canary(tmp_path, name="trial")
    actions = acting(by_itself(canary, trial), config(canary, trial))

    (offer,) = actions.offered(incident(("x",), **incident_fields), "refused", NOW_S)

    assert (offer.mode, offer.state) == ("approve", "pending")
    assert why in offer.why
    assert (actions.run_due(NOW_S), canary.runs, trial.runs) == ([], [], [])
    actions.close()


def test_an_incident_that_becomes_critical_lets_it_go(tmp_path: Path, canary: Canary) -> None:
    trial = Canary(tmp_path, name="trial")
    actions = acting(by_itself(canary, trial), config(canary, trial))
    (first,) = actions.offered(incident(severity="warning"), "refused", NOW_S)

    (graver,) = actions.offered(incident(event="update"), "refused", NOW_S + 60)
    actions.run_due(NOW_S + 60)

    assert (graver.request, graver.state, graver.mode) == (first.request, "approved", "auto")
    assert len(canary.runs) == 1
    actions.close()


def test_an_incident_that_ends_offers_nothing_and_withdraws(canary: Canary) -> None:
    actions = acting(restart(canary), config(canary))
    (offer,) = actions.offered(incident(), "refused", NOW_S)

    ended = actions.offered(incident(event="resolve"), "refused", NOW_S + 60)

    assert ended == []
    with pytest.raises(ActionError, match="is expired already"):
        actions.decide(offer.request, "approve", "ops", NOW_S + 61)
    actions.close()


@pytest.mark.parametrize("runbook", [None, "", "other", "refused\0", "Refused", "../refused"])
def test_a_runbook_that_declares_nothing_offers_nothing(canary: Canary, runbook: str | None) -> None:
    actions = acting(restart(canary), config(canary))

    assert actions.offered(incident(runbook=runbook), runbook, NOW_S) == []
    actions.close()


def test_what_was_approved_does_not_run_when_its_runbook_was_changed(tmp_path: Path, canary: Canary) -> None:
    path = tmp_path / "actions.db"
    actions = acting(restart(canary), config(canary), path)
    (offer,) = actions.offered(incident(), "refused", NOW_S)
    actions.decide(offer.request, "approve", "ops", NOW_S)
    actions.close()

    changed = restart(canary, run=[str(canary), "stop", "{unit}"])
    after = acting(changed, config(canary), path)
    ended = after.run_due(NOW_S)

    assert (ended, canary.runs) == ([], [])
    assert (after.requests.get(offer.request).state, told(after)[-1]) == ("refused", "refused")
    assert told(after).count("declared") == 2
    after.close()


def test_values_from_the_database_are_looked_at_again(tmp_path: Path, canary: Canary) -> None:
    path = tmp_path / "actions.db"
    actions = acting(restart(canary), config(canary), path)
    (offer,) = actions.offered(incident(), "refused", NOW_S)
    actions.decide(offer.request, "approve", "ops", NOW_S)
    request = actions.requests.get(offer.request)
    with actions._database.transaction() as db:
        forged = replace(request, known={"unit": "payments; rm -rf /"}, command=["/bin/rm", "-rf", "/"])
        db.execute("UPDATE requests SET body = ?", (msgspec.json.encode(forged),))

    (ended,) = actions.run_due(NOW_S)

    assert (ended.state, canary.runs) == ("failed", [])
    assert "expected a service's name" in ended.result
    actions.close()


def test_a_program_that_is_not_listed_is_only_suggested_and_that_is_said_at_the_start(canary: Canary) -> None:
    actions = acting(restart(canary), config("/bin/true"))

    (offer,) = actions.offered(incident(), "refused", NOW_S)

    assert (offer.mode, offer.request) == ("suggest", "")
    assert actions.notices == [
        f"runbook refused: action restart is only suggested: {canary} is not in [actions] allow_programs"
    ]
    actions.close()


def test_a_program_that_is_gone_is_told(canary: Canary) -> None:
    actions = acting(restart(canary), config(canary))
    (offer,) = actions.offered(incident(), "refused", NOW_S)
    actions.decide(offer.request, "approve", "ops", NOW_S)
    canary.program.unlink()

    (ended,) = actions.run_due(NOW_S)

    assert ended.state == "failed"
    assert "expected a program that exists" in ended.result
    actions.close()


def test_named_variables_and_the_folder_are_passed_on(tmp_path: Path) -> None:
    canary = Canary(tmp_path, then='echo "$KUBECONFIG ${TOKEN:-none} $(pwd)"')
    settings = replace(config(canary), env=["KUBECONFIG"], work_dir=str(tmp_path))
    actions = acting(restart(canary), settings, environ={"KUBECONFIG": "/k", "TOKEN": "s3cret"})
    (offer,) = actions.offered(incident(), "refused", NOW_S)
    actions.decide(offer.request, "approve", "ops", NOW_S)

    actions.run_due(NOW_S)

    *_, finished = [entry for _, entry in actions.requests.audit.entries()]
    assert finished.output == f"/k none {tmp_path}\n"
    actions.close()


def test_a_webhook_is_called_with_its_values_and_its_address_stays_secret(tmp_path: Path) -> None:
    with serving(200) as (url, taken):
        hook = Webhook(url, body={"unit": "{unit}", "n": "{n}"})
        declaration = restart("/x", run=[], webhook=hook, parameters=[UNIT, Parameter("n", "integer", default=2)])
        actions = acting(declaration, config(), tmp_path / "actions.db")
        (offer,) = actions.offered(incident(), "refused", NOW_S)
        actions.decide(offer.request, "approve", "ops", NOW_S)
        (ended,) = actions.run_due(NOW_S)
        actions.close()

    assert (ended.state, ended.result, len(taken)) == ("done", "HTTP 200", 1)
    assert taken[0][3] == b'{"unit":"payments","n":2}'
    assert "s3cret" not in offer.preview + repr(ended)
    assert not any(b"s3cret" in each.read_bytes() for each in tmp_path.iterdir())


def test_what_is_declared_wrong_is_told_before_anything_has_started(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="runbook refused: action restart"):
        acting(restart("/x", parameters=[Parameter("unit", "integer", default="x")]), ActionsConfig())
    with pytest.raises(ConfigError, match="allow_programs"):
        acting(restart("/x"), config("x"), tmp_path / "actions.db")
    assert list(tmp_path.iterdir()) == []


def test_the_end_ends_what_runs_and_runs_nothing_more(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    slow = Canary(tmp_path, then=f"echo begun > {gate}; exec sleep 60")
    actions = acting({"refused": [restart(slow), restart(slow, id="again")]}, config(slow), tmp_path / "actions.db")
    for offer in actions.offered(incident(), "refused", NOW_S):
        actions.decide(offer.request, "approve", "ops", NOW_S)
    thread = threading.Thread(target=actions.run_due, args=(NOW_S,))
    thread.start()

    assert gate.read_text() == "begun\n"
    actions.close()
    thread.join(20)
    assert actions.run_due(NOW_S) == []

    after = acting(restart(slow), config(slow), tmp_path / "actions.db")
    assert sorted((each.state, each.result) for each in after.requests.latest()) == [
        ("approved", ""),
        ("failed", "ended, because logllm ends"),
    ]
    assert len(slow.runs) == 1
    after.close()
