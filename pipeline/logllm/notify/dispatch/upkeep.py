"""Keeps the dispatcher's tables small, and its times sensible when the clock was put back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import StateError
from logllm.events import Explanation, IncidentEvent
from logllm.notify.dispatch.hold import read_labels
from logllm.notify.dispatch.tellings import decoded
from logllm.notify.routing.plan import Plan

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

    from logllm.notify.dispatch.hold import Gate

__all__ = ["care", "forget_unreadable", "out_of_sight", "put_back", "without_edits"]

# So long after its end an incident may still be explained, answered, or come again from a repeated input.
_ENDED_S = 86_400.0

_LOST = "Not watched any more since a restart, it may go on"

_log = logging.getLogger("logllm.notify")

_WAITS = (
    "EXISTS (SELECT 1 FROM tellings WHERE tellings.incident = dispatch_incidents.incident "
    "AND (way IS NOT NULL OR step IS NOT NULL))"
)


def care(db: sqlite3.Connection, gate: Gate, keep: int, now_s: float) -> int:
    """Forget what ended long ago and what is too much; returns how many had not been told."""
    ended = db.execute(
        f"SELECT incident, 0 FROM dispatch_incidents WHERE NOT is_open AND changed_s < ? AND NOT {_WAITS}",  # noqa: S608
        (now_s - _ENDED_S,),
    ).fetchall()
    _drop(db, gate, ended)
    (count,) = db.execute("SELECT count(*) FROM dispatch_incidents").fetchone()
    untold = 0
    if count > keep:
        much = db.execute(
            f"SELECT incident, {_WAITS} AS waits FROM dispatch_incidents ORDER BY waits, is_open, changed_s LIMIT ?",  # noqa: S608
            (count - keep,),
        ).fetchall()
        untold = sum(waits for _, waits in much)
        _drop(db, gate, much)
        ended += much
    if ended:
        db.execute(
            "DELETE FROM groups WHERE NOT EXISTS (SELECT 1 FROM tellings WHERE tellings.destination = "
            "groups.destination AND tellings.grp = groups.grp)"
        )
    return untold


def forget_unreadable(db: sqlite3.Connection, gate: Gate) -> int:
    """Forget what is damaged or of another version, so that one row does not keep all others; returns how many."""
    lost: list[tuple[str, int]] = []
    for incident, labels, body, explanation in db.execute(
        "SELECT incident, labels, body, explanation FROM dispatch_incidents"
    ):
        try:
            read_labels(labels)
            decoded(body, IncidentEvent)
            if explanation is not None:
                decoded(explanation, Explanation)
        except StateError as error:
            _log.error("%s; %s is forgotten", error, incident)
            lost.append((incident, 0))
    _drop(db, gate, lost)
    for incident, route, plan in db.execute("SELECT incident, route, plan FROM escalations").fetchall():
        try:
            msgspec.json.decode(plan, type=Plan)
        except msgspec.MsgspecError as error:
            _log.error("outbox: a kept escalation of %s cannot be read and is forgotten: %s", incident, error)
            db.execute("DELETE FROM escalations WHERE incident = ? AND route = ?", (incident, route))
    return len(lost)


def out_of_sight(db: sqlite3.Connection, watched: Collection[str], before_s: float) -> list[IncidentEvent]:
    """An end for each open incident of which nothing was heard since then, and which nobody watches any more.

    A kill takes the incidents with it that were opened since the last snapshot: they would be told again for ever,
    escalated, and inhibit others. Raises StateError.
    """
    found = db.execute(
        "SELECT incident, body FROM dispatch_incidents WHERE is_open AND changed_s < ? ORDER BY changed_s", (before_s,)
    ).fetchall()
    events = [decoded(body, IncidentEvent) for incident, body in found if incident not in watched]
    return [msgspec.structs.replace(each, event="resolve", title=f"{_LOST}: {each.title}") for each in events]


def without_edits(db: sqlite3.Connection, destinations: Iterable[str], now_s: float) -> None:
    """What waits to be an edit is news of its group where the destination does not edit (any more)."""
    for destination in destinations:
        db.execute(
            "UPDATE groups SET due_s = min(coalesce(due_s, ?1), ?1) WHERE destination = ?2 AND grp IN "
            "(SELECT grp FROM tellings WHERE destination = ?2 AND way = 'edit')",
            (now_s, destination),
        )
        db.execute("UPDATE tellings SET way = 'group' WHERE destination = ? AND way = 'edit'", (destination,))


def _drop(db: sqlite3.Connection, gate: Gate, incidents: list[tuple[str, int]]) -> None:
    for incident, _ in incidents:
        gate.closed(incident)
    names = [(incident,) for incident, _ in incidents]
    for table in ("tellings", "escalations", "dispatch_events", "dispatch_incidents"):
        db.executemany(f"DELETE FROM {table} WHERE incident = ?", names)  # noqa: S608


def put_back(db: sqlite3.Connection, now_s: float) -> None:
    """A clock that was wrong by a year must not keep anything silent for a year."""
    db.execute("UPDATE groups SET due_s = ?1 WHERE due_s > ?1 + wait_s + interval_s", (now_s,))
    db.execute("UPDATE groups SET repeat_due_s = ?1 + repeat_s WHERE repeat_due_s > ?1 + repeat_s", (now_s,))
    db.execute("UPDATE tellings SET due_s = ?1 WHERE way = 'unseen' AND due_s > ?1 + 86400 * 7", (now_s,))
    db.execute("UPDATE escalations SET due_s = due_s + ?1 - base_s, base_s = ?1 WHERE base_s > ?1 + 60", (now_s,))
    db.execute("UPDATE dispatch_incidents SET changed_s = ?1 WHERE changed_s > ?1", (now_s,))
