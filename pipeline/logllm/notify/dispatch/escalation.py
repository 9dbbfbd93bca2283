"""Who is told when nobody acknowledges: timers on the disk, counted from when the incident was first told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from logllm.errors import StateError
from logllm.notify.dispatch.groups import enter, group_key
from logllm.notify.dispatch.hold import read_labels
from logllm.notify.routing.plan import Plan

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from logllm.notify.dispatch.hold import Gate

__all__ = ["ESCALATIONS_SCHEMA", "begin", "expect", "fire", "next_s", "stop"]

ESCALATIONS_SCHEMA = """
CREATE TABLE IF NOT EXISTS escalations (
    incident TEXT NOT NULL,
    route TEXT NOT NULL,
    plan BLOB NOT NULL,
    first_s REAL NOT NULL,
    base_s REAL,
    step INTEGER NOT NULL DEFAULT 0,
    due_s REAL,
    PRIMARY KEY (incident, route)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS escalations_due ON escalations (due_s) WHERE due_s IS NOT NULL;
"""

# What is silenced when its step is due is looked at again after so long; that time does not count.
_HELD_S = 60.0


def expect(db: sqlite3.Connection, incident: str, plan: Plan) -> None:
    """An incident has steps that begin when it is told. They stay as they were configured then."""
    if plan.steps:
        db.execute(
            "INSERT OR IGNORE INTO escalations (incident, route, plan, first_s) VALUES (?, ?, ?, ?)",
            (incident, plan.route, msgspec.json.encode(plan), plan.steps[0].after_s),
        )


def begin(db: sqlite3.Connection, incidents: Iterable[str], now_s: float) -> None:
    """Incidents were told; timers that run already are not changed."""
    db.executemany(
        "UPDATE escalations SET base_s = ?1, due_s = ?1 + first_s WHERE incident = ?2 AND base_s IS NULL",
        [(now_s, incident) for incident in incidents],
    )


def stop(db: sqlite3.Connection, incident: str) -> None:
    """Somebody acknowledged it, or it is over."""
    db.execute("DELETE FROM escalations WHERE incident = ?", (incident,))
    db.execute("UPDATE tellings SET step = NULL WHERE incident = ? AND step IS NOT NULL", (incident,))


def next_s(db: sqlite3.Connection) -> float | None:
    """When the next step is due."""
    (due_s,) = db.execute("SELECT min(due_s) FROM escalations WHERE due_s IS NOT NULL").fetchone()
    return None if due_s is None else float(due_s)


def fire(db: sqlite3.Connection, gate: Gate, now_s: float) -> set[str]:
    """Make the steps that are due news of their destinations, which are returned. Raises StateError."""
    reached: set[str] = set()
    due = db.execute(
        "SELECT incident, route, plan, base_s, step, labels FROM escalations JOIN dispatch_incidents USING (incident) "
        "WHERE due_s <= ? ORDER BY due_s",
        (now_s,),
    ).fetchall()
    for incident, route, kept, base_s, step, kept_labels in due:
        try:
            plan = msgspec.json.decode(kept, type=Plan)
        except msgspec.MsgspecError as error:
            raise StateError(f"outbox: a kept escalation cannot be read: {error}") from error
        labels = read_labels(kept_labels)
        if gate.reason(incident, labels, route):
            late_s = now_s + _HELD_S - (base_s + plan.steps[step].after_s)
            db.execute(
                "UPDATE escalations SET base_s = base_s + ?1, due_s = due_s + ?1 WHERE incident = ?2 AND route = ?3",
                (late_s, incident, route),
            )
            continue
        while step < len(plan.steps) and base_s + plan.steps[step].after_s <= now_s:
            for destination in plan.steps[step].to:
                reached.add(destination)
                _reach(db, destination, incident, plan, group_key(plan, labels, incident), step + 1)
            step += 1
        if step == len(plan.steps):
            db.execute("DELETE FROM escalations WHERE incident = ? AND route = ?", (incident, route))
        else:
            db.execute(
                "UPDATE escalations SET step = ?, due_s = ? WHERE incident = ? AND route = ?",
                (step, base_s + plan.steps[step].after_s, incident, route),
            )
    return reached


def _reach(db: sqlite3.Connection, destination: str, incident: str, plan: Plan, key: str, step: int) -> None:
    enter(db, destination, key, plan)
    db.execute(
        "INSERT INTO tellings (destination, incident, route, grp, service, severity, time, step) "
        "SELECT ?1, incident, ?2, ?3, service, severity, time, ?4 FROM dispatch_incidents WHERE incident = ?5 "
        "ON CONFLICT DO UPDATE SET step = excluded.step",
        (destination, plan.route, key, step, incident),
    )
