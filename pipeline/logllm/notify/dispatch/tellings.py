"""What the dispatcher keeps: incidents, and for each destination what of them was told and what waits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import msgspec

from logllm.errors import StateError
from logllm.events import Explanation, IncidentEvent

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from logllm.notify.notification import Notification
    from logllm.notify.routing.plan import Labels, Plan

__all__ = ["SEVERITIES", "TELLINGS_SCHEMA", "Post", "Router", "Row", "Traits", "Way", "cleaned", "decoded", "rows"]

SEVERITIES: tuple[Literal["info", "warning", "critical"], ...] = ("info", "warning", "critical")
"""By the number that the tables hold."""

Way = Literal["group", "urgent", "edit", "unseen"]
"""How news goes: with its group, by itself and at once, into a message that is there, or in the next digest."""

# way, explain and step are NULL where there is nothing to be told, so that the indexes hold only what waits.
TELLINGS_SCHEMA = """
CREATE TABLE IF NOT EXISTS dispatch_events (
    incident TEXT NOT NULL,
    event TEXT NOT NULL,
    time TEXT NOT NULL,
    PRIMARY KEY (incident, event, time)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dispatch_incidents (
    incident TEXT PRIMARY KEY,
    is_open INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    changed_s REAL NOT NULL,
    service TEXT NOT NULL,
    severity INTEGER NOT NULL,
    time TEXT NOT NULL,
    labels BLOB NOT NULL,
    body BLOB NOT NULL,
    explanation BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS dispatch_incidents_by_age ON dispatch_incidents (is_open, changed_s);
CREATE TABLE IF NOT EXISTS tellings (
    destination TEXT NOT NULL,
    incident TEXT NOT NULL,
    route TEXT NOT NULL,
    grp TEXT NOT NULL,
    service TEXT NOT NULL,
    severity INTEGER NOT NULL,
    time TEXT NOT NULL,
    way TEXT,
    news TEXT NOT NULL DEFAULT '',
    events TEXT NOT NULL DEFAULT '',
    due_s REAL,
    hold TEXT NOT NULL DEFAULT '',
    told_s REAL,
    told_severity INTEGER NOT NULL DEFAULT 0,
    own INTEGER NOT NULL DEFAULT 0,
    thread TEXT,
    explain INTEGER,
    step INTEGER,
    PRIMARY KEY (destination, incident)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tellings_by_incident ON tellings (incident);
CREATE INDEX IF NOT EXISTS tellings_by_group ON tellings (destination, grp);
CREATE INDEX IF NOT EXISTS tellings_by_thread ON tellings (destination, thread) WHERE thread IS NOT NULL;
CREATE INDEX IF NOT EXISTS tellings_waiting ON tellings (destination, way, hold, grp) WHERE way IS NOT NULL;
CREATE INDEX IF NOT EXISTS tellings_held ON tellings (hold) WHERE way IS NOT NULL;
CREATE INDEX IF NOT EXISTS tellings_explained ON tellings (destination, explain) WHERE explain IS NOT NULL;
CREATE INDEX IF NOT EXISTS tellings_escalated ON tellings (destination, step) WHERE step IS NOT NULL;
"""


class Traits(msgspec.Struct, frozen=True):
    """What the dispatcher must know of a destination.

    Args:
        edits: A later message of a thread changes the first one and disturbs nobody.
        burst: Messages that disturb, at most, in any minute.
    """

    edits: bool = False
    burst: int = 5


class Router(Protocol):
    """Decides where incidents go; whether a plan is muted depends only on time and on the incident's route, owner
    and severity."""

    def plans(self, event: IncidentEvent, now_s: float) -> Sequence[Plan]:
        """Where an incident goes; of two plans with the same destination the first one counts."""

    def labels(self, event: IncidentEvent) -> Labels:
        """What matchers see of it."""

    def owner(self, service: str) -> str:
        """The team a service belongs to, empty for none."""


class Post(Protocol):
    """Where messages go: the outbox."""

    def put(
        self, destination: str, notification: Notification, *, now_s: float, covers: Sequence[tuple[str, str]]
    ) -> bool:
        """Take a message, as part of the running transaction; False for one of an id that is known already."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One incident at one destination.

    Args:
        severity: Its place in `SEVERITIES`.
        time: Of its latest event.
        news: What waits to be told: `open`, `update`, `resolve`, or empty.
        events: All events that wait, in order, by spaces.
        own: 1 where it has a message of its own, and so a thread.
        told_s: When it was first told.
        thread: The digest that told it first, None where it was a message of its own.
        step: The escalation's step that waits to be told, None where none does.
    """

    incident: str
    route: str
    group: str
    service: str
    severity: int
    time: str
    way: Way | None
    news: str
    events: str
    own: int
    thread: str | None
    told_s: float | None
    step: int | None


def rows(db: sqlite3.Connection, where: str, *parameters: str | float) -> list[Row]:
    """The tellings of a condition of our own making, gravest first."""
    found = db.execute(
        "SELECT incident, route, grp, service, severity, time, way, news, events, own, thread, told_s, step "  # noqa: S608
        f"FROM tellings WHERE {where} ORDER BY severity DESC, time, incident",
        parameters,
    )
    return [Row(*row) for row in found]


Kept = TypeVar("Kept", IncidentEvent, Explanation)


def cleaned(thing: Kept) -> tuple[Kept, bytes]:
    """An event or explanation as UTF-8 can hold it, and its JSON: half surrogate pairs become "?"."""
    try:
        return thing, msgspec.json.encode(thing)
    except UnicodeEncodeError:
        plain = json.dumps(msgspec.to_builtins(thing), ensure_ascii=False).encode(errors="replace")
        return msgspec.json.decode(plain, type=type(thing)), plain


def decoded(body: bytes, kind: type[Kept]) -> Kept:
    """What was kept. Raises StateError for what cannot be read."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise StateError(f"outbox: a kept {kind.__name__} cannot be read: {error}") from error
