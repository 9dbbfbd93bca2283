from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import StateError
from logllm.events import IncidentEvent
from logllm.explain.queue import ExplainQueue, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., IncidentEvent]


def taken(queue: ExplainQueue, now_s: float = 0.0) -> list[str]:
    """Everything that is due, in the order in which it is given out."""
    found = []
    while (waiting := queue.next(now_s)) is not None:
        found.append(waiting.incident.id)
        queue.done(waiting)
    return found


def the_next(queue: ExplainQueue, now_s: float) -> Waiting:
    waiting = queue.next(now_s)
    assert waiting is not None
    return waiting


def test_what_waits_is_there_after_a_restart(tmp_path: Path, incident: Make) -> None:
    path = tmp_path / "explanations.db"
    queue = ExplainQueue(path)
    queue.put(incident(id="a", severity="info"), 0.0, 600.0)
    queue.put(incident(id="b", severity="critical"), 1.0, 601.0)
    queue.close()

    again = ExplainQueue(path)

    assert len(again) == 2
    assert again.next(2.0) == Waiting(2, 601.0, 1.0, 0, "", incident(id="b", severity="critical"))
    assert taken(again, 2.0) == ["b", "a"]
    again.close()


def test_what_is_put_off_is_due_later_and_others_go_before_it(incident: Make) -> None:
    queue = ExplainQueue()
    queue.put(incident(id="worst", severity="critical"), 0.0, 600.0)
    queue.put(incident(id="small", severity="info"), 0.0, 600.0)

    queue.later(the_next(queue, 0.0), 30.0, 630.0, "the model is away", tried=True)

    assert the_next(queue, 0.0).incident.id == "small"
    assert queue.wake_s() == 0.0
    assert the_next(queue, 30.0)[1:5] == (630.0, 30.0, 1, "the model is away")
    queue.close()


def test_what_is_past_its_deadline_comes_first_and_alone_where_only_that_is_asked_for(incident: Make) -> None:
    queue = ExplainQueue()
    queue.put(incident(id="late", severity="info"), 0.0, 10.0)
    queue.put(incident(id="worst", severity="critical"), 0.0, 600.0)

    assert queue.next(5.0, late_only=True) is None
    assert the_next(queue, 11.0).incident.id == "late"
    queue.done(the_next(queue, 11.0))
    assert queue.next(11.0, late_only=True) is None
    assert the_next(queue, 11.0).incident.id == "worst"
    queue.close()


def test_a_newer_form_takes_the_place_and_keeps_the_deadline(incident: Make) -> None:
    queue = ExplainQueue()
    queue.put(incident(id="a", severity="info", count=1), 0.0, 600.0)
    queue.put(incident(id="b", severity="warning"), 0.0, 600.0)

    gone = queue.put(incident(id="a", severity="critical", count=2), 100.0, 700.0)

    assert gone == []
    assert len(queue) == 2
    first = the_next(queue, 0.0)
    assert (first.incident.id, first.incident.count, first.until) == ("a", 2, 600.0)
    queue.close()


def test_what_was_taken_out_meanwhile_is_not_put_off(incident: Make) -> None:
    queue = ExplainQueue()
    queue.put(incident(id="a"), 0.0, 600.0)
    waiting = the_next(queue, 0.0)
    queue.done(waiting)

    queue.later(waiting, 1.0, 600.0, "", tried=True)

    assert len(queue) == 0
    assert queue.wake_s() is None
    queue.close()


def test_a_row_that_nobody_can_read_is_passed_over(tmp_path: Path, incident: Make) -> None:
    path = tmp_path / "explanations.db"
    queue = ExplainQueue(path)
    queue.put(incident(id="bad", severity="critical"), 0.0, 600.0)
    queue.put(incident(id="good"), 0.0, 600.0)
    db = sqlite3.connect(path)
    db.execute("UPDATE explain_queue SET body = ? WHERE incident = 'bad'", (b'{"id": 3}',))
    db.commit()
    db.close()

    assert taken(queue) == ["good"]
    assert len(queue) == 0
    queue.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "explanations.db"
    path.write_bytes(b"not a database at all" * 100)

    with pytest.raises(StateError, match=r"explanations\.db.*queue of explanations"):
        ExplainQueue(path)


@given(st.lists(st.sampled_from(["critical", "warning", "info"]), min_size=1, max_size=30), st.integers(1, 12))
def test_the_worst_stay_and_nothing_is_lost_without_being_named(severities: list[str], room: int) -> None:
    order = ["critical", "warning", "info"]
    queue = ExplainQueue(max_waiting=room)
    gone: list[str] = []

    for number, severity in enumerate(severities):
        gone += [each.id for each in queue.put(_incident(str(number), severity), 0.0, 600.0)]

    stayed = taken(queue)
    assert len(stayed) == min(room, len(severities))
    assert sorted(stayed + gone, key=int) == [str(number) for number in range(len(severities))]
    assert stayed == sorted(stayed, key=lambda name: (order.index(severities[int(name)]), int(name)))
    left_worst = max(order.index(severities[int(name)]) for name in stayed)
    assert all(order.index(severities[int(name)]) >= left_worst for name in gone)
    queue.close()


def _incident(name: str, severity: str) -> IncidentEvent:
    return IncidentEvent(
        id=name,
        event="open",
        time="2026-01-01T00:00:00Z",
        severity=severity,  # type: ignore[arg-type]
        service="",
        kinds=["rate"],
        title="",
        expected="",
        seen="",
        template="",
        count=1,
        runbook=None,
        evidence=[],
    )
