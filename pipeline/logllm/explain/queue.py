"""Incidents that wait for their explanation, over restarts: the worst first, the oldest of them first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from logllm.database import Database
from logllm.events import IncidentEvent

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

__all__ = ["ExplainQueue", "Waiting"]

_RANK = {"critical": 0, "warning": 1, "info": 2}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS explain_queue (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    incident TEXT NOT NULL UNIQUE,
    rank INTEGER NOT NULL,
    until REAL NOT NULL,
    due REAL NOT NULL,
    tries INTEGER NOT NULL,
    why TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS explain_queue_by_rank ON explain_queue (rank, number);
"""
_COLUMNS = "number, incident, rank, until, due, tries, why, body"


class Waiting(NamedTuple):
    """An incident in the queue. Times are Unix seconds: not tried before `due`, given up after `until`.

    `why` is what kept it from being explained when it was last tried.
    """

    number: int
    until: float
    due: float
    tries: int
    why: str
    incident: IncidentEvent


class ExplainQueue:
    """At most `max_waiting` incidents in SQLite. Safe to use from several threads.

    Args:
        path: The database; None keeps it in memory, and a restart loses it.

    Raises:
        StateError: From every method: the database cannot be used.
    """

    def __init__(self, path: Path | None = None, *, max_waiting: int = 500) -> None:
        self._max_waiting = max_waiting
        self._db = Database(path, _SCHEMA, what="queue of explanations")

    def __len__(self) -> int:
        with self._db.reading() as db:
            return int(db.execute("SELECT count(*) FROM explain_queue").fetchone()[0])

    def put(self, incident: IncidentEvent, now_s: float, until: float) -> list[IncidentEvent]:
        """Queue an incident, in place of its earlier form, which keeps its deadline; returns what had to go for it.

        That is, where the queue is full, the oldest of the least severe, which may be this one.
        """
        rank = _RANK.get(incident.severity, 2)
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO explain_queue (incident, rank, until, due, tries, why, body) "
                "VALUES (?, ?, ?, ?, 0, '', ?) "
                "ON CONFLICT (incident) DO UPDATE SET rank = excluded.rank, body = excluded.body",
                (incident.id, rank, until, now_s, msgspec.json.encode(incident)),
            )
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM explain_queue ORDER BY rank DESC, number LIMIT max(0, "  # noqa: S608 - constants
                "(SELECT count(*) FROM explain_queue) - ?)",
                (self._max_waiting,),
            ).fetchall()
            db.executemany("DELETE FROM explain_queue WHERE number = ?", [(row[0],) for row in rows])
        return [waiting.incident for row in rows if (waiting := _waiting(row)) is not None]

    def next(self, now_s: float, *, late_only: bool = False) -> Waiting | None:
        """The incident to see to now: one past its deadline, else, unless `late_only`, the worst that is due."""
        with self._db.transaction() as db:
            while row := db.execute(
                f"SELECT {_COLUMNS} FROM explain_queue WHERE until < ? OR (due <= ? AND NOT ?) "  # noqa: S608 - constants
                "ORDER BY until >= ?, rank, number LIMIT 1",
                (now_s, now_s, late_only, now_s),
            ).fetchone():
                waiting = _waiting(row)
                if waiting is not None:
                    return waiting
                # Of another version, or damaged: nobody can explain it.
                db.execute("DELETE FROM explain_queue WHERE number = ?", (row[0],))
        return None

    def wake_s(self) -> float | None:
        """The Unix time at which the next one is due or past its deadline; None where nothing waits."""
        with self._db.reading() as db:
            (when,) = db.execute("SELECT min(min(due, until)) FROM explain_queue").fetchone()
        return None if when is None else float(when)

    def later(self, waiting: Waiting, due: float, until: float, why: str, *, tried: bool) -> None:
        """Try it again at `due`; nothing where it was taken out meanwhile."""
        with self._db.transaction() as db:
            db.execute(
                "UPDATE explain_queue SET due = ?, until = ?, why = ?, tries = tries + ? WHERE number = ?",
                (due, until, why[:500], int(tried), waiting.number),
            )

    def done(self, waiting: Waiting) -> None:
        """It is explained, or given up."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM explain_queue WHERE number = ?", (waiting.number,))

    def close(self) -> None:
        """Close the database; what waits is there when it is opened again. A second call does nothing."""
        self._db.close()


def _waiting(row: sqlite3.Row | tuple[object, ...]) -> Waiting | None:
    number, _, _, until, due, tries, why, body = row
    try:
        incident = msgspec.json.decode(body, type=IncidentEvent)  # type: ignore[arg-type]
    except msgspec.MsgspecError:
        return None
    return Waiting(number, until, due, tries, why, incident)  # type: ignore[arg-type]
