"""Messages out of what waits: of one incident, or a digest of several."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from logllm.events import Explanation, IncidentEvent
from logllm.notify.dispatch.tellings import SEVERITIES, decoded
from logllm.notify.notification import Answer, Count, Notification, notification_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from logllm.notify.dispatch.tellings import Router
    from logllm.notify.notification import Kind, RunbookNote

__all__ = ["MOST_COUNTS", "MOST_SHOWN", "Composer", "Item", "last_answer"]

MOST_SHOWN = 20
MOST_COUNTS = 200

_ORDER = {"escalation": 0, "open": 1, "update": 2, "reminder": 3, "resolve": 4, "unseen": 5}


class Item(msgspec.Struct, frozen=True, gc=False):
    """One incident of a message.

    Args:
        severity: Its place in `SEVERITIES`.
        time: Of its latest event.
        word: What happened, for the counts of a digest: `open`, `update`, `resolve`, `unseen` (it had ended before it
            was told), `reminder`, `escalation`.
        events: All that the message accounts for.
        number: Tells apart what may be told several times: which reminder, which step.
    """

    incident: str
    route: str
    service: str
    severity: int
    time: str
    word: str
    events: tuple[str, ...]
    number: int = 0


class Composer:
    """Writes notifications.

    Args:
        runbook: What the runbook of an incident says and offers; None where it has none.
    """

    def __init__(self, routing: Router, runbook: Callable[[IncidentEvent], RunbookNote | None]) -> None:
        self.routing = routing
        self._runbook = runbook

    def single(
        self, db: sqlite3.Connection, destination: str, item: Item, kind: Kind, *, news: str = "", raised: bool = False
    ) -> Notification:
        """A message of one incident, in its thread, with all that is known by now. Raises StateError.

        Args:
            news: What tells its id apart from others of this kind about the same event.
            raised: See `Notification`.
        """
        body, kept = db.execute(
            "SELECT body, explanation FROM dispatch_incidents WHERE incident = ?", (item.incident,)
        ).fetchone()
        event = decoded(body, IncidentEvent)
        if kind == "open" and event.event != "open":
            event = msgspec.structs.replace(event, event="open")
        explanation = None if kept is None else decoded(kept, Explanation)
        if kind == "explanation" and explanation is not None:
            news = "\n".join((explanation.cause, *explanation.steps))
        return Notification(
            id=notification_id(destination, kind, event.id, item.word, event.time, news),
            kind=kind,
            thread=event.id,
            incidents=[event],
            route=item.route,
            step=item.number if kind == "escalation" else 0,
            owner=self.routing.owner(event.service),
            runbook=self._runbook(event),
            explanation=explanation,
            answer=last_answer(db, event.id),
            raised=raised,
        )

    def several(
        self, db: sqlite3.Connection, destination: str, items: Sequence[Item], kind: Kind, thread: str = ""
    ) -> Notification:
        """One message of several incidents: the gravest in full, all of them counted. Raises StateError.

        Args:
            thread: Empty: one of its own.
        """
        items = sorted(items, key=lambda item: (-item.severity, _ORDER[item.word], item.time, item.incident))
        shown = list(dict.fromkeys(item.incident for item in items))
        counts = Counter((item.service, SEVERITIES[item.severity], item.word) for item in items)
        told = "\n".join(f"{item.incident} {item.events} {item.time} {item.number}" for item in items)
        identity = notification_id(destination, kind, told)
        owners = {self.routing.owner(service) for service in {service for service, _, _ in counts}}
        routes = {item.route for item in items}
        return Notification(
            id=identity,
            kind=kind,
            thread=thread or identity,
            incidents=[_incident(db, incident) for incident in shown[:MOST_SHOWN]],
            total=len(shown),
            counts=[Count(*what, count) for what, count in counts.most_common(MOST_COUNTS)],
            route=routes.pop() if len(routes) == 1 else "",
            step=max((item.number for item in items if item.word == "escalation"), default=0),
            owner=owners.pop() if len(owners) == 1 else "",
        )


def last_answer(db: sqlite3.Connection, incident: str) -> Answer | None:
    """What a person said of an incident last. Raises StateError."""
    row = db.execute(
        "SELECT incident, verdict, who, time FROM answers WHERE incident = ? ORDER BY number DESC LIMIT 1", (incident,)
    ).fetchone()
    return None if row is None else Answer(*row)


def _incident(db: sqlite3.Connection, incident: str) -> IncidentEvent:
    (body,) = db.execute("SELECT body FROM dispatch_incidents WHERE incident = ?", (incident,)).fetchone()
    return decoded(body, IncidentEvent)
