"""Requests: what may be run once, when a person or the policy says so. SQLite, one change at a time.

    pending ──▶ approved ──▶ running ──▶ done | failed
       │            │           └──────▶ unknown   logllm was killed meanwhile, or nobody knows: never run again
       └─▶ rejected └─▶ refused                    the policy said no when it was to begin
       └─▶ expired ◀┘

Each step is taken from the state before it, or not at all; its entry in the audit is written with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from logllm.actions.audit import Audit, What
from logllm.actions.parameters import settled
from logllm.actions.request import Recent, Request, State, cleaned, entry_of, late, read_request, request_key
from logllm.errors import ActionError, StateError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from logllm.actions.run import Outcome
    from logllm.database import Database

__all__ = ["Requests"]

_MAX_LIVE = 1_000
_MAX_REFUSALS = 20
_KEPT = 20_000
_BY_ITSELF = "its runbook says auto"
_LIVE = "('pending', 'approved', 'running')"


class Requests:
    """The table of requests, for the service and for the command line beside it.

    Raises, from every method:
        StateError: The database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.audit = Audit(database)

    def offer(self, request: Request, now_s: float) -> Request:
        """Keep a request, once for an incident's action, and once for what would run the same at the moment.

        Returns:
            The one that is kept: it may have been there already, and be of another incident.

        Raises:
            ActionError: Too many wait already.
        """
        key = request_key(request.runbook, request.action, request.known)
        with self._database.transaction() as db:
            mine = db.execute(
                "SELECT body FROM requests WHERE id = "
                "(SELECT request FROM offers WHERE incident = ? AND runbook = ? AND action = ?)",
                (request.incident, request.runbook, request.action),
            ).fetchone()
            kept = read_request(mine) if mine else None
            if kept is None or (kept.state == "expired" and request.state == "pending"):
                same = db.execute("SELECT body FROM requests WHERE live = ?", (key,)).fetchone()
                kept = read_request(same) if same else self._new(db, request, key, now_s)
                db.execute(
                    "INSERT OR REPLACE INTO offers (incident, runbook, action, request) VALUES (?, ?, ?, ?)",
                    (request.incident, request.runbook, request.action, kept.id),
                )
            if kept.state == "pending" and request.mode == "auto":
                # What waits for a person has become grave enough to go by itself.
                graver = replace(request, id=kept.id, created_s=kept.created_s, expires_s=kept.expires_s)
                kept = self._move(db, kept, graver, "approved", now_s, reason=_BY_ITSELF)
        return kept

    def _new(self, db: sqlite3.Connection, request: Request, key: str, now_s: float) -> Request:
        (live,) = db.execute(f"SELECT count(*) FROM requests WHERE state IN {_LIVE}").fetchone()  # noqa: S608 - a constant
        if live >= _MAX_LIVE:
            raise ActionError(f"{live} requests wait already")
        db.execute(
            "INSERT INTO requests (id, live, runbook, action, incident, state, created_s, expires_s, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                request.id,
                key,
                request.runbook,
                request.action,
                request.incident,
                request.state,
                request.created_s,
                request.expires_s,
                msgspec.json.encode(request),
            ),
        )
        db.execute(
            f"DELETE FROM requests WHERE state NOT IN {_LIVE} "  # noqa: S608 - a constant
            "AND rowid <= (SELECT max(rowid) FROM requests) - ?",
            (_KEPT,),
        )
        self._tell(db, request, "requested", now_s, reason=request.result)
        if request.state == "approved":
            self._tell(db, request, "approved", now_s, reason=_BY_ITSELF)
        return request

    def decide(
        self,
        request_id: str,
        verdict: Literal["approve", "reject"],
        who: str,
        now_s: float,
        given: Mapping[str, str] | None = None,
        reason: str = "",
    ) -> Request:
        """Approve or reject a pending request; of several who do so at once, one does.

        Args:
            who: Who says so, for the audit.
            given: Values of parameters.

        Raises:
            ActionError: There is none, it is not pending any more, or a value is missing or refused.
        """
        who, reason = cleaned(who) or "unnamed", cleaned(reason)
        self.expire(now_s)
        refused: ActionError | None = None
        with self._database.transaction() as db:
            request = self._get(db, request_id)
            try:
                return self._decided(db, request, verdict, who, now_s, given or {}, reason)
            except ActionError as error:
                refused = error
                self._refusal(db, request, who, now_s, str(error))
        raise refused

    def _decided(
        self,
        db: sqlite3.Connection,
        request: Request,
        verdict: Literal["approve", "reject"],
        who: str,
        now_s: float,
        given: Mapping[str, str],
        reason: str,
    ) -> Request:
        if request.state != "pending":
            by = f" by {request.who}" if request.who else ""
            raise ActionError(f"{request.id}: is {request.state}{by} already")
        if verdict == "reject":
            done = replace(request, state="rejected", who=who, decided_s=now_s, result=reason)
            return self._move(db, request, done, "rejected", now_s, reason=reason)
        missing = {name: why for name, why in request.missing.items() if name not in given}
        values = settled(request.parameters, request.known, given)
        for why in (missing | values.missing).values():
            names = " ".join(f"--param {name}=..." for name in missing | values.missing)
            raise ActionError(f"{request.id}: {why}; give {names}")
        key = request_key(request.runbook, request.action, values.known)
        other = db.execute("SELECT id FROM requests WHERE live = ? AND id != ?", (key, request.id)).fetchone()
        if other:
            raise ActionError(f"{request.id}: the same is under way as {other[0]}")
        approved = replace(request, state="approved", who=who, decided_s=now_s, known=values.known, missing={})
        return self._move(db, request, approved, "approved", now_s, key=key, reason=reason)

    def claim(self, now_s: float, judge: Callable[[Request, Recent], str]) -> Request | None:
        """Begin the oldest approved request: it is `running` from here on, for the caller alone.

        Args:
            judge: Why it must not begin, empty where it may. What must not is refused, and the next one is looked at.
        """
        with self._database.transaction() as db:
            rows = db.execute("SELECT body FROM requests WHERE state = 'approved' ORDER BY created_s, id").fetchall()
            for row in rows:
                request = read_request(row)
                why = judge(request, self._recent(db, request, now_s))
                if not why:
                    return self._move(db, request, replace(request, state="running", started_s=now_s), None, now_s)
                self._move(db, request, replace(request, state="refused", result=why), "refused", now_s, reason=why)
        return None

    def finish(self, request: Request, outcome: Outcome, argv: list[str], now_s: float) -> Request:
        """A running request has ended, as told."""
        ended = replace(
            request, state=outcome.state, ended_s=now_s, exit_status=outcome.exit_status, result=outcome.reason
        )
        with self._database.transaction() as db:
            current = self._get(db, request.id)
            if current.state not in ("running", "unknown"):
                raise StateError(f"{request.id}: ended twice")
            return self._move(db, current, ended, "finished", now_s, argv=argv, outcome=outcome, reason=outcome.reason)

    def note(self, request: Request, what: What, now_s: float, argv: list[str], outcome: Outcome | None = None) -> None:
        """An entry of the audit that changes nothing: what is about to run, how a dry run ended."""
        with self._database.transaction() as db:
            self._tell(db, request, what, now_s, argv=argv, outcome=outcome, reason=outcome.reason if outcome else "")

    def recover(self, now_s: float) -> list[Request]:
        """At the start: what was running when logllm ended is `unknown` from now on. Only the service calls it."""
        why = "logllm ended while it ran; it may have run, or run still"
        with self._database.transaction() as db:
            rows = db.execute("SELECT body FROM requests WHERE state = 'running'").fetchall()
            return [
                self._move(db, request, replace(request, state="unknown", result=why), "unknown", now_s, reason=why)
                for request in map(read_request, rows)
            ]

    def expire(self, now_s: float) -> list[Request]:
        """What nobody answered in time, and what was approved and has not begun in time."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT body FROM requests WHERE state = 'approved' OR state = 'pending' AND expires_s <= ?", (now_s,)
            ).fetchall()
            return [
                self._move(db, request, replace(request, state="expired", result=why), "expired", now_s, reason=why)
                for request in map(read_request, rows)
                if (why := late(request, now_s))
            ]

    def withdraw(self, incident: str, now_s: float) -> list[Request]:
        """The incident has ended: what it alone asked for is not pending any more."""
        why = "the incident ended"
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT body FROM requests WHERE state = 'pending' AND id IN "
                "(SELECT request FROM offers WHERE incident = ?) AND "
                "(SELECT count(*) FROM offers WHERE request = requests.id) = 1",
                (incident,),
            ).fetchall()
            return [
                self._move(db, request, replace(request, state="expired", result=why), "expired", now_s, reason=why)
                for request in map(read_request, rows)
            ]

    def get(self, request_id: str) -> Request:
        """Raises ActionError where there is none."""
        with self._database.reading() as db:
            return self._get(db, request_id)

    def latest(self, limit: int = 50, *, state: State | None = None) -> Iterator[Request]:
        """Requests, latest first."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT body FROM requests WHERE ? IS NULL OR state = ? ORDER BY created_s DESC, id LIMIT ?",
                (state, state, limit),
            ).fetchall()
        yield from map(read_request, rows)

    def _get(self, db: sqlite3.Connection, request_id: str) -> Request:
        known = request_id if request_id.isascii() else ""
        row = db.execute("SELECT body FROM requests WHERE id = ?", (known,)).fetchone()
        if row is None:
            raise ActionError(f"{request_id[:40]!a}: no such request")
        return read_request(row)

    def _move(
        self,
        db: sqlite3.Connection,
        before: Request,
        after: Request,
        what: What | None,
        now_s: float,
        *,
        key: str | None = None,
        argv: Sequence[str] = (),
        outcome: Outcome | None = None,
        reason: str = "",
    ) -> Request:
        key = key or request_key(after.runbook, after.action, after.known)
        is_live = after.state in ("pending", "approved", "running")
        moved = db.execute(
            "UPDATE requests SET state = ?, live = ?, started_s = ?, body = ? WHERE id = ? AND state = ?",
            (
                after.state,
                key if is_live else None,
                after.started_s,
                msgspec.json.encode(after),
                after.id,
                before.state,
            ),
        )
        if moved.rowcount != 1:
            raise ActionError(f"{after.id}: is not {before.state} any more")
        if what is not None:
            self._tell(db, after, what, now_s, argv=argv, outcome=outcome, reason=reason)
        return after

    def _recent(self, db: sqlite3.Connection, request: Request, now_s: float) -> Recent:
        # Beginnings after now, by a clock that was set back, count as well: rather too few than too many.
        hour, day, last_s = db.execute(
            "SELECT count(*) FILTER (WHERE started_s > ?1 - 3600), count(*) FILTER (WHERE started_s > ?1 - 86400), "
            "max(started_s) FROM requests WHERE runbook = ?2 AND action = ?3 AND started_s IS NOT NULL",
            (now_s, request.runbook, request.action),
        ).fetchone()
        return Recent(hour, day, last_s)

    def _refusal(self, db: sqlite3.Connection, request: Request, who: str, now_s: float, reason: str) -> None:
        # A button can be pressed for ever: the audit holds the first few.
        (count,) = db.execute(
            "UPDATE requests SET refusals = refusals + 1 WHERE id = ? RETURNING refusals", (request.id,)
        ).fetchone()
        if count <= _MAX_REFUSALS:
            self._tell(db, replace(request, who=who), "refused", now_s, reason=reason)

    def _tell(
        self,
        db: sqlite3.Connection,
        request: Request,
        what: What,
        now_s: float,
        *,
        argv: Sequence[str] = (),
        outcome: Outcome | None = None,
        reason: str = "",
    ) -> None:
        self.audit.append(db, entry_of(request, what, now_s, argv=argv, outcome=outcome, reason=reason))
