"""The states of a request: each step once, from the one before it, and on record."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from msgspec.structs import replace

from logllm.actions.database import opened
from logllm.actions.parameters import Parameter
from logllm.actions.request import BEGIN_WITHIN_S, Recent, Request, request_id
from logllm.actions.requests import Requests
from logllm.actions.run import Outcome
from logllm.database import Database
from logllm.errors import ActionError, StateError
from tests.actions.rig import NOW_S, UNIT

DONE = Outcome("done", "exit status 0", 0, seconds=1.0, output="well", output_bytes=4)
STEPS = ("approve", "reject", "claim", "finish", "expire", "recover", "withdraw")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = opened(tmp_path / "actions.db")
    yield found
    found.close()


@pytest.fixture
def requests(database: Database) -> Requests:
    return Requests(database)


def asked(incident: str = "inc-1", action: str = "restart", *, now_s: float = NOW_S, **fields: object) -> Request:
    given: dict[str, object] = {
        "id": request_id(incident, "refused", action, now_s),
        "runbook": "refused",
        "action": action,
        "title": "Restart the unit",
        "mode": "approve",
        "risk": "low",
        "incident": incident,
        "severity": "critical",
        "digest": "d",
        "command": ["/bin/x", "restart", "{unit}"],
        "parameters": [UNIT],
        "created_s": now_s,
        "expires_s": now_s + 3600,
        "known": {"unit": "payments"},
    }
    return Request(**(given | fields))  # type: ignore[arg-type]


def may(_: Request, __: Recent) -> str:
    return ""


def told(requests: Requests) -> list[tuple[str, str, str]]:
    return [(entry.what, entry.who, entry.reason) for _, entry in requests.audit.entries()]


def test_the_whole_way_of_a_request_is_on_record(requests: Requests) -> None:
    request = requests.offer(asked(), NOW_S)
    requests.decide(request.id, "approve", "cli:ops", NOW_S + 1)
    running = requests.claim(NOW_S + 2, may)
    assert running is not None
    requests.note(running, "run", NOW_S + 2, ["/bin/x", "restart", "payments"])
    ended = requests.finish(running, DONE, ["/bin/x", "restart", "payments"], NOW_S + 3)

    assert (ended.state, ended.exit_status, ended.who) == ("done", 0, "cli:ops")
    assert requests.get(request.id) == ended
    assert told(requests) == [
        ("requested", "logllm", ""),
        ("approved", "cli:ops", ""),
        ("run", "cli:ops", ""),
        ("finished", "cli:ops", "exit status 0"),
    ]
    last = [entry for _, entry in requests.audit.entries(request=request.id)][-1]
    assert (last.incident, last.parameters, last.argv[2]) == ("inc-1", {"unit": "payments"}, "payments")
    assert (last.exit_status, last.output, last.time) == (0, "well", "2023-11-14T22:13:23.000Z")


def reach(requests: Requests, state: str) -> Request:
    request = requests.offer(asked(), NOW_S)
    if state == "rejected":
        requests.decide(request.id, "reject", "a", NOW_S)
    elif state == "expired":
        requests.expire(NOW_S + 3600)
    elif state != "pending":
        requests.decide(request.id, "approve", "a", NOW_S)
        if state == "refused":
            requests.claim(NOW_S, lambda *_: "no")
        elif state != "approved":
            running = requests.claim(NOW_S, may)
            assert running is not None
            if state == "unknown":
                requests.recover(NOW_S)
            elif state != "running":
                outcome: Literal["done", "failed"] = "done" if state == "done" else "failed"
                requests.finish(running, DONE._replace(state=outcome), [], NOW_S)
    found = requests.get(request.id)
    assert found.state == state
    return found


def step(requests: Requests, request: Request, what: str) -> None:
    later = NOW_S + 1
    if what == "approve":
        requests.decide(request.id, "approve", "b", later)
    elif what == "reject":
        requests.decide(request.id, "reject", "b", later)
    elif what == "claim":
        requests.claim(later, may)
    elif what == "finish":
        requests.finish(request, DONE, [], later)
    elif what == "expire":
        requests.expire(NOW_S + 7200)
    elif what == "recover":
        requests.recover(later)
    else:
        requests.withdraw(request.incident, later)


WAYS = {
    ("pending", "approve"): "approved",
    ("pending", "reject"): "rejected",
    ("pending", "expire"): "expired",
    ("pending", "withdraw"): "expired",
    ("approved", "claim"): "running",
    ("approved", "expire"): "expired",
    ("running", "finish"): "done",
    ("running", "recover"): "unknown",
    ("unknown", "finish"): "done",
}


@pytest.mark.parametrize("what", STEPS)
@pytest.mark.parametrize(
    "state", ["pending", "approved", "running", "done", "failed", "unknown", "rejected", "expired", "refused"]
)
def test_each_step_leads_only_from_its_own_state(requests: Requests, state: str, what: str) -> None:
    request = reach(requests, state)

    try:
        step(requests, request, what)
        refused = False
    except (ActionError, StateError):
        refused = True

    assert requests.get(request.id).state == WAYS.get((state, what), state)
    assert refused is ((state, what) not in WAYS and what in ("approve", "reject", "finish"))
    requests.audit.verify()


def test_of_many_who_approve_at_once_one_does(tmp_path: Path) -> None:
    path = tmp_path / "actions.db"
    databases = [opened(path) for _ in range(6)]
    request = Requests(databases[0]).offer(asked(), NOW_S)
    start = threading.Barrier(len(databases))
    results: list[str] = []

    def answer(database: Database, verdict: Literal["approve", "reject"]) -> None:
        start.wait(10)
        try:
            results.append(Requests(database).decide(request.id, verdict, "x", NOW_S).state)
        except ActionError as error:
            results.append(str(error))

    threads = [
        threading.Thread(target=answer, args=(database, "approve" if number % 2 else "reject"))
        for number, database in enumerate(databases)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    state = Requests(databases[0]).get(request.id).state
    assert state in ("approved", "rejected")
    assert sorted(results) == [*[f"{request.id}: is {state} by x already"] * 5, state]
    claimed = [Requests(database).claim(NOW_S, may) for database in databases]
    assert sum(each is not None for each in claimed) == (state == "approved")
    for database in databases:
        database.close()


def test_one_incident_asks_once_and_one_deed_is_asked_for_once(requests: Requests) -> None:
    first = requests.offer(asked(), NOW_S)
    again = requests.offer(asked(now_s=NOW_S + 60), NOW_S + 60)
    other_incident = requests.offer(asked("inc-2"), NOW_S)
    other_deed = requests.offer(asked("inc-3", known={"unit": "checkout"}), NOW_S)

    assert first.id == again.id == other_incident.id != other_deed.id
    assert [each.state for each in requests.latest()] == ["pending", "pending"]


def test_what_was_done_for_an_incident_is_not_asked_for_again_but_for_the_next_it_is(requests: Requests) -> None:
    done = reach(requests, "done")

    again = requests.offer(asked(now_s=NOW_S + 60), NOW_S + 60)
    another = requests.offer(asked("inc-2", now_s=NOW_S + 60), NOW_S + 60)

    assert again.id == done.id
    assert (another.id != done.id, another.state) == (True, "pending")


def test_an_incident_that_goes_on_asks_again_when_nobody_answered(requests: Requests) -> None:
    first = reach(requests, "expired")

    again = requests.offer(asked(now_s=NOW_S + 4000), NOW_S + 4000)

    assert (again.id != first.id, again.state) == (True, "pending")
    with pytest.raises(ActionError, match="is expired already"):
        requests.decide(first.id, "approve", "late", NOW_S + 4000)


def test_a_request_that_has_become_grave_enough_goes_by_itself_unless_a_person_said_no(requests: Requests) -> None:
    waiting = requests.offer(asked(), NOW_S)
    auto = asked(mode="auto", state="approved", who="logllm", decided_s=NOW_S + 9, now_s=NOW_S + 9)

    graver = requests.offer(auto, NOW_S + 9)

    assert (graver.id, graver.state, graver.mode) == (waiting.id, "approved", "auto")
    third = requests.offer(asked("inc-3", known={"unit": "third"}), NOW_S)
    fourth = requests.offer(replace(auto, incident="inc-4", known={"unit": "third"}), NOW_S + 9)
    assert (fourth.id, fourth.state, fourth.incident) == (third.id, "approved", "inc-4")
    refused = requests.offer(asked("inc-2", known={"unit": "checkout"}), NOW_S)
    requests.decide(refused.id, "reject", "ops", NOW_S)
    same = replace(auto, incident="inc-2", known={"unit": "checkout"})
    assert requests.offer(same, NOW_S + 9).state == "rejected"


def test_nobody_approves_after_the_time_and_nothing_begins_long_after_approval(requests: Requests) -> None:
    late = requests.offer(asked(), NOW_S)
    forgotten = requests.offer(asked("inc-2", known={"unit": "checkout"}), NOW_S)
    requests.decide(forgotten.id, "approve", "ops", NOW_S + 10)

    with pytest.raises(ActionError, match="is expired already"):
        requests.decide(late.id, "approve", "ops", NOW_S + 3600)
    requests.expire(NOW_S + 10 + BEGIN_WITHIN_S)

    assert requests.get(late.id).state == "expired"
    assert requests.get(forgotten.id).state == "expired"
    assert requests.claim(NOW_S + 10 + BEGIN_WITHIN_S, may) is None


def test_an_incident_that_ends_takes_back_what_it_alone_asked_for(requests: Requests) -> None:
    alone = requests.offer(asked(), NOW_S)
    shared = requests.offer(asked("inc-2", known={"unit": "checkout"}), NOW_S)
    requests.offer(asked("inc-3", known={"unit": "checkout"}), NOW_S)

    requests.withdraw("inc-1", NOW_S)
    requests.withdraw("inc-2", NOW_S)

    assert (requests.get(alone.id).state, requests.get(alone.id).result) == ("expired", "the incident ended")
    assert requests.get(shared.id).state == "pending"


def test_a_missing_value_must_be_given_and_be_of_its_type(requests: Requests) -> None:
    request = requests.offer(asked(known={}, missing={"unit": "parameter unit: expected one of"}), NOW_S)

    for given in ({}, {"unit": "--help"}, {"unit": "payments; x"}, {"other": "x"}, {"unit": "payments", "b": "c"}):
        with pytest.raises(ActionError):
            requests.decide(request.id, "approve", "ops", NOW_S, given)
    approved = requests.decide(request.id, "approve", "ops", NOW_S, {"unit": "checkout"})

    assert (approved.state, approved.known, approved.preview) == (
        "approved",
        {"unit": "checkout"},
        "/bin/x restart checkout",
    )
    assert [what for what, _, _ in told(requests)] == ["requested", *["refused"] * 5, "approved"]


def test_a_missing_value_is_not_made_up_from_a_default(requests: Requests) -> None:
    unit = Parameter("unit", "service", choices=["payments"], default="payments", source="service")
    request = requests.offer(asked(parameters=[unit], known={}, missing={"unit": "odd"}), NOW_S)

    with pytest.raises(ActionError, match="give --param unit="):
        requests.decide(request.id, "approve", "ops", NOW_S)


def test_the_same_deed_is_not_approved_twice_under_two_names(requests: Requests) -> None:
    requests.offer(asked(), NOW_S)
    open_one = requests.offer(asked("inc-2", known={}, missing={"unit": "odd"}), NOW_S)

    with pytest.raises(ActionError, match="the same is under way"):
        requests.decide(open_one.id, "approve", "ops", NOW_S, {"unit": "payments"})


def test_refusals_are_on_record_up_to_a_bound(requests: Requests) -> None:
    request = reach(requests, "rejected")

    for _ in range(50):
        with pytest.raises(ActionError, match="is rejected by a already"):
            requests.decide(request.id, "approve", "again\x1b[31m\n", NOW_S)

    refused = [who for what, who, _ in told(requests) if what == "refused"]
    assert refused == ["again [31m"] * 20


def test_waiting_requests_are_bounded(requests: Requests, database: Database) -> None:
    with database.transaction():
        for number in range(1_000):
            requests.offer(asked(f"inc-{number}", known={"unit": f"u{number}"}), NOW_S)

    with pytest.raises(ActionError, match="1000 requests wait already"):
        requests.offer(asked("inc-x", known={"unit": "ux"}), NOW_S)


def test_what_must_not_begin_is_refused_and_the_next_one_is_looked_at(requests: Requests) -> None:
    first = requests.offer(asked(), NOW_S)
    second = requests.offer(asked("inc-2", known={"unit": "checkout"}, now_s=NOW_S + 1), NOW_S)
    for each in (first, second):
        requests.decide(each.id, "approve", "ops", NOW_S + 2)

    begun = requests.claim(NOW_S + 3, lambda request, _: "no" if request.id == first.id else "")

    assert begun is not None
    assert begun.id == second.id
    assert (requests.get(first.id).state, requests.get(first.id).result) == ("refused", "no")


def test_beginnings_are_counted_by_hour_and_day_also_after_a_clock_was_set_back(requests: Requests) -> None:
    seen: list[Recent] = []
    for number, at in enumerate([0, 50_000, 86_000, 89_000]):
        requests.offer(asked(f"inc-{number}", now_s=NOW_S + at), NOW_S + at)
        requests.decide(request_id(f"inc-{number}", "refused", "restart", NOW_S + at), "approve", "x", NOW_S + at)
        begun = requests.claim(NOW_S + at, lambda _, recent: seen.append(recent) or "")  # type: ignore[func-returns-value]
        assert begun is not None
        requests.finish(begun, DONE, [], NOW_S + at)

    assert seen == [
        Recent(0, 0, None),
        Recent(0, 1, NOW_S),
        Recent(0, 2, NOW_S + 50_000),
        Recent(1, 2, NOW_S + 86_000),
    ]
    requests.offer(asked("inc-9", now_s=NOW_S - 9), NOW_S - 9)
    requests.decide(request_id("inc-9", "refused", "restart", NOW_S - 9), "approve", "x", NOW_S - 9)
    requests.claim(NOW_S - 9, lambda _, recent: seen.append(recent) or "no")  # type: ignore[func-returns-value]
    assert seen[-1] == Recent(4, 4, NOW_S + 89_000)


@pytest.mark.parametrize("name", ["", "act-0", "'; DROP TABLE requests; --", "%", "\ud800", "x" * 10_000])
def test_a_name_of_no_request_is_told(requests: Requests, name: str) -> None:
    reach(requests, "pending")

    with pytest.raises((ActionError, StateError)):
        requests.decide(name, "approve", "x", NOW_S)
    assert [each.state for each in requests.latest()] == ["pending"]
