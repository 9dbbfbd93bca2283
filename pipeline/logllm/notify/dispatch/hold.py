"""What keeps an incident from being told now: a silence, another incident, the time of day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from logllm.errors import StateError
from logllm.events import IncidentEvent
from logllm.notify.dispatch.inhibit import Inhibition
from logllm.notify.dispatch.silences import Silences
from logllm.notify.dispatch.tellings import decoded

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from logllm.database import Database
    from logllm.notify.dispatch.inhibit import InhibitRule
    from logllm.notify.dispatch.silences import Silence
    from logllm.notify.dispatch.tellings import Router
    from logllm.notify.routing.matchers import Matchers
    from logllm.notify.routing.plan import Labels

__all__ = ["Gate", "Hold", "open_incidents", "open_labels", "read_labels", "written_labels"]

Hold = Literal["", "silenced", "inhibited", "muted"]

_MINUTE_S = 60.0
_LABELS = msgspec.json.Decoder(dict[str, tuple[str, ...]])


def read_labels(kept: bytes) -> Labels:
    """The labels of an incident as they are kept. Raises StateError."""
    try:
        return _LABELS.decode(kept)
    except msgspec.MsgspecError as error:
        raise StateError(f"outbox: kept labels cannot be read: {error}") from error


def written_labels(labels: Labels) -> bytes:
    """Labels as they are kept."""
    return msgspec.json.encode(labels)


def open_incidents(database: Database, matchers: Matchers) -> list[IncidentEvent]:
    """What is open now and matches, latest first; of a database with `DISPATCH_SCHEMA`. Raises StateError."""
    with database.reading() as db:
        found = db.execute("SELECT labels, body FROM dispatch_incidents WHERE is_open = 1 ORDER BY changed_s DESC")
        return [decoded(body, IncidentEvent) for labels, body in found if matchers.match(read_labels(labels))]


def open_labels(database: Database) -> list[tuple[str, Labels]]:
    """The ids of what is open now, each with its labels; of such a database. Raises StateError."""
    with database.reading() as db:
        found = db.execute("SELECT incident, labels FROM dispatch_incidents WHERE is_open = 1").fetchall()
    return [(incident, read_labels(labels)) for incident, labels in found]


class Gate:
    """Holds back what is not to be told now, and lets it go again.

    Time intervals have the grain of a minute: what is muted is looked at once a minute.
    """

    def __init__(self, database: Database, routing: Router, rules: Sequence[InhibitRule], tally: Counter[str]) -> None:
        self._database = database
        self._silences = Silences(database)
        self._tally = tally
        self._active: Sequence[Silence] = ()
        self._seen: set[int] | None = None
        self._now_s = 0.0
        self._minute = -1
        self._muted: dict[tuple[str, tuple[str, ...] | None, tuple[str, ...] | None], bool] = {}
        self._routing = routing
        self._rules = rules
        self.inhibition = Inhibition(rules)
        self._stale = True
        self._uninhibited = True

    def replace(self, routing: Router, rules: Sequence[InhibitRule]) -> None:
        """Other routes and rules, from the next look on. Raises ConfigError and changes nothing."""
        self.inhibition, self._rules, self._routing = Inhibition(rules), rules, routing
        self.forget()

    def forget(self) -> None:
        """What is known of the database may be wrong: it is read again at the next look."""
        self._stale, self._uninhibited, self._seen, self._minute = True, True, None, -1

    def opened(self, incident: str, labels: Labels) -> None:
        """An incident is open, or its labels have changed."""
        if self._rules and not self._stale:
            self._uninhibited |= self.inhibition.open(incident, labels)

    def closed(self, incident: str) -> None:
        """An incident is over."""
        if self._rules and not self._stale:
            self._uninhibited |= self.inhibition.close(incident)

    def look(self, db: sqlite3.Connection, now_s: float) -> None:
        """See what holds now, and let go of what was held for what has ended since the last look."""
        self._now_s = now_s
        if self._stale:
            self._read_again(db)
        self._active = self._silences.active(now_s)
        ids = {silence.id for silence in self._active}
        is_new_minute = int(now_s // _MINUTE_S) != self._minute
        if is_new_minute:
            self._minute = int(now_s // _MINUTE_S)
            self._muted.clear()
        if self._seen is None or self._seen - ids:
            self._release(db, "silenced")
        self._seen = ids
        if is_new_minute:
            self._release(db, "muted")
        if self._uninhibited:
            self._uninhibited = False
            self._release(db, "inhibited")

    def reason(self, incident: str, labels: Labels, route: str, *, quietly: bool = False, ended: bool = False) -> Hold:
        """Why an incident is not to be told now, empty where it is.

        Args:
            quietly: It would disturb nobody, so that the time of day does not matter.
            ended: Only that it has ended is to be told, which no silence and no other incident holds back.
        """
        if not ended and self._active and self._silences.matching(self._active, labels) is not None:
            return "silenced"
        if not ended and self.inhibition and self.inhibition.holds(labels):
            return "inhibited"
        if not quietly and self._is_muted(incident, labels, route):
            return "muted"
        return ""

    def sift(self, db: sqlite3.Connection, destination: str) -> None:
        """Put on hold what waits for a destination and is not to be told now."""
        if not (self._active or self.inhibition or self._any_muted(db, destination)):
            return
        held = [
            (reason, destination, incident)
            for _, incident, _, reason in self._cases(db, "destination = ? AND hold = ''", destination)
            if reason
        ]
        if not held:
            return
        self._tally.update(reason for reason, _, _ in held)
        db.executemany("UPDATE tellings SET hold = ? WHERE destination = ? AND incident = ?", held)

    def next_s(self, db: sqlite3.Connection) -> float | None:
        """When to look again because of what is held."""
        held = "EXISTS (SELECT 1 FROM tellings WHERE way IS NOT NULL AND hold = ?)"
        muted, silenced = db.execute(f"SELECT {held}, {held}", ("muted", "silenced")).fetchone()
        times = [(self._minute + 1) * _MINUTE_S] if muted else []
        if silenced:
            # Another process may expire it at any time.
            times.append(min([self._now_s + 1.0, *(silence.ends_s for silence in self._active)]))
        return min(times, default=None)

    def _release(self, db: sqlite3.Connection, hold: Hold) -> None:
        changed = [case for case in self._cases(db, "hold = ?", hold) if case[3] != hold]
        db.executemany(
            "UPDATE tellings SET hold = ? WHERE destination = ? AND incident = ?",
            [(reason, destination, incident) for destination, incident, _, reason in changed],
        )
        db.executemany(
            "UPDATE groups SET due_s = ?1, first = max(first, last_s IS NULL OR last_s > ?1 "
            "OR last_s + interval_s <= ?1) WHERE destination = ?2 AND grp = ?3",
            {(self._now_s, destination, group) for destination, _, group, reason in changed if not reason},
        )

    def _cases(self, db: sqlite3.Connection, where: str, parameter: str) -> Iterator[tuple[str, str, str, Hold]]:
        found = db.execute(
            "SELECT destination, incident, grp, route, way, told_s IS NOT NULL AND news = 'resolve', labels "  # noqa: S608
            f"FROM tellings JOIN dispatch_incidents USING (incident) WHERE way IS NOT NULL AND {where}",
            (parameter,),
        ).fetchall()
        for destination, incident, group, route, way, ended, labels in found:
            reason = self.reason(incident, read_labels(labels), route, quietly=way == "edit", ended=bool(ended))
            yield destination, incident, group, reason

    def _any_muted(self, db: sqlite3.Connection, destination: str) -> bool:
        kinds = db.execute(
            "SELECT incident, labels, route FROM dispatch_incidents JOIN (SELECT min(incident) AS incident, route "
            "FROM tellings WHERE destination = ? AND way IS NOT NULL AND hold = '' GROUP BY route, severity, service) "
            "USING (incident)",
            (destination,),
        ).fetchall()
        return any(self._is_muted(incident, read_labels(labels), route) for incident, labels, route in kinds)

    def _is_muted(self, incident: str, labels: Labels, route: str) -> bool:
        kind = (route, labels.get("owner"), labels.get("severity"))
        if kind not in self._muted:
            with self._database.reading() as db:
                row = db.execute("SELECT body FROM dispatch_incidents WHERE incident = ?", (incident,)).fetchone()
            plans = self._routing.plans(decoded(row[0], IncidentEvent), self._now_s) if row else ()
            self._muted[kind] = next((bool(plan.muted) for plan in plans if plan.route == route), False)
        return self._muted[kind]

    def _read_again(self, db: sqlite3.Connection) -> None:
        """Labels as the routes say them now, and from them what inhibits."""
        self._stale = False
        self.inhibition = Inhibition(self._rules)
        changed = []
        for incident, body, kept in db.execute(
            "SELECT incident, body, labels FROM dispatch_incidents WHERE is_open = 1"
        ):
            labels = self._routing.labels(decoded(body, IncidentEvent))
            written = written_labels(labels)
            if written != kept:
                changed.append((written, incident))
            if self._rules:
                self.inhibition.open(incident, labels)
        db.executemany("UPDATE dispatch_incidents SET labels = ? WHERE incident = ?", changed)
