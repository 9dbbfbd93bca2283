"""What an incident's event changes: which destinations have something to be told now, and how it goes to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from logllm.notify.dispatch import escalation, groups
from logllm.notify.dispatch.hold import written_labels
from logllm.notify.dispatch.tellings import SEVERITIES, cleaned

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Mapping

    from logllm.events import IncidentEvent
    from logllm.notify.dispatch.hold import Gate
    from logllm.notify.dispatch.tellings import Router, Traits, Way
    from logllm.notify.routing.plan import Labels, Plan

__all__ = ["News"]

CRITICAL = SEVERITIES.index("critical")


class _Told(msgspec.Struct, frozen=True, gc=False):
    """An incident at a destination before the event."""

    destination: str
    group: str
    severity: int
    way: Way | None
    events: str
    hold: str
    told_s: float | None
    told_severity: int
    own: int


class News:
    """Turns events into what waits. What is waiting already takes in what comes after it: the latest state is told.

    Attributes:
        traits: By destination; one that is not there does not edit.
    """

    def __init__(self, routing: Router, traits: Mapping[str, Traits], gate: Gate, tally: Counter[str]) -> None:
        self.routing = routing
        self.traits = traits
        self._gate = gate
        self._tally = tally

    def take(self, db: sqlite3.Connection, event: IncidentEvent, now_s: float) -> set[str]:
        """Take one event in, unless it is known already; returns the destinations it concerns."""
        event, body = cleaned(event)
        is_new = db.execute(
            "INSERT OR IGNORE INTO dispatch_events VALUES (?, ?, ?)", (event.id, event.event, event.time)
        ).rowcount
        if not is_new:
            self._tally["known"] += 1
            return set()
        self._tally["accepted"] += 1
        labels = self.routing.labels(event)
        before = db.execute("SELECT acknowledged FROM dispatch_incidents WHERE incident = ?", (event.id,)).fetchone()
        self._keep(db, event, body, labels, now_s, is_known=before is not None)
        concerned = set()
        if before is not None:
            for row in db.execute(
                "SELECT destination, grp, severity, way, events, hold, told_s, told_severity, own FROM tellings "
                "WHERE incident = ?",
                (event.id,),
            ).fetchall():
                self._further(db, event, _Told(*row), now_s)
                concerned.add(row[0])
        if event.event == "resolve":
            escalation.stop(db, event.id)
            return concerned
        # What one route would keep silent now another one may tell.
        plans = sorted(self.routing.plans(event, now_s), key=lambda plan: bool(plan.muted))
        for plan in plans:
            for destination in plan.to:
                if destination not in concerned:
                    concerned.add(destination)
                    self._first(db, event, plan, labels, destination, now_s)
            if before is None or not before[0]:
                escalation.expect(db, event.id, plan)
        if not concerned:
            self._tally["unrouted"] += 1
        return concerned

    def _keep(
        self, db: sqlite3.Connection, event: IncidentEvent, body: bytes, labels: Labels, now_s: float, *, is_known: bool
    ) -> None:
        is_open = event.event != "resolve"
        severity = SEVERITIES.index(event.severity)
        values = (int(is_open), now_s, event.service, severity, event.time, written_labels(labels), body, event.id)
        if is_known:
            db.execute(
                "UPDATE dispatch_incidents SET is_open = ?, changed_s = ?, service = ?, severity = ?, time = ?, "
                "labels = ?, body = ? WHERE incident = ?",
                values,
            )
        else:
            db.execute(
                "INSERT INTO dispatch_incidents (is_open, changed_s, service, severity, time, labels, body, incident) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        if is_open:
            self._gate.opened(event.id, labels)
        else:
            self._gate.closed(event.id)

    def _first(
        self, db: sqlite3.Connection, event: IncidentEvent, plan: Plan, labels: Labels, destination: str, now_s: float
    ) -> None:
        """The destination has not heard of the incident."""
        severity = SEVERITIES.index(event.severity)
        key = groups.group_key(plan, labels, event.id)
        way = self._call(db, destination, key, groups.enter(db, destination, key, plan), severity, now_s)
        db.execute(
            "INSERT INTO tellings (destination, incident, route, grp, service, severity, time, way, news, events) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', ?)",
            (destination, event.id, plan.route, key, event.service, severity, event.time, way, event.event),
        )

    @staticmethod
    def _call(
        db: sqlite3.Connection, destination: str, key: str, group: groups.Group, severity: int, now_s: float
    ) -> Way:
        critical = severity == CRITICAL
        if critical and not group.critical and group.next_s(now_s, patient=False) > now_s:
            # The first critical one among warnings does not wait for company.
            groups.alarm(db, destination, key)
            return "urgent"
        groups.call(db, destination, key, group, now_s, critical=critical)
        return "group"

    def _further(self, db: sqlite3.Connection, event: IncidentEvent, told: _Told, now_s: float) -> None:
        """The destination has heard of the incident, or is about to."""
        severity = SEVERITIES.index(event.severity)
        events = told.events if event.event in told.events.split() else f"{told.events} {event.event}".lstrip()
        group = groups.find(db, told.destination, told.group) or groups.Group(30.0, 300.0, 14_400.0)
        way: Way | None = told.way
        hold, due_s = told.hold, None
        if told.told_s is None and event.event == "resolve":
            # It has ended and nobody was disturbed: the next digest accounts for it, or at last one of its own.
            news, due_s = "resolve", now_s + group.repeat_s
            way = "unseen"
            if hold:
                self._tally["ended_held"] += 1
                news, events, way = "", "", None
        elif told.told_s is None:
            news = "open"
            hold = "" if severity != told.severity else hold
            if told.way not in ("group", "urgent") or severity > told.severity or hold != told.hold:
                way = self._call(db, told.destination, told.group, group, severity, now_s)
        else:
            news = "resolve" if event.event == "resolve" else "update"
            hold = "" if news == "resolve" or severity != told.severity else hold
            way = self._way(told, news, severity)
            if way == "group" and not hold:
                groups.call(
                    db,
                    told.destination,
                    told.group,
                    group,
                    now_s,
                    patient=news == "resolve",
                    critical=severity == CRITICAL,
                )
        db.execute(
            "UPDATE tellings SET service = ?, severity = ?, time = ?, way = ?, news = ?, events = ?, due_s = ?, "
            "hold = ? WHERE destination = ? AND incident = ?",
            (event.service, severity, event.time, way, news, events, due_s, hold, told.destination, event.id),
        )

    def _way(self, told: _Told, news: str, severity: int) -> Way:
        if news == "update" and severity == CRITICAL > told.told_severity:
            return "urgent"
        traits = self.traits.get(told.destination)
        return "edit" if told.own and traits is not None and traits.edits else "group"
