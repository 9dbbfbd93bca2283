"""Incidents and their explanations in SQLite: what happened, for `logllm incidents` and after a restart."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import SourceError, StateError
from logllm.events import Explanation, IncidentEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["IncidentStore", "incidents_in"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS incidents (
    id TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL,
    started TEXT NOT NULL,
    updated TEXT NOT NULL,
    body BLOB NOT NULL,
    explanation BLOB,
    verdict TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX IF NOT EXISTS incidents_by_time ON incidents (started);
CREATE INDEX IF NOT EXISTS incidents_by_fingerprint ON incidents (fingerprint);
"""
_TO_VERSION_2 = (
    "ALTER TABLE incidents ADD COLUMN verdict TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE incidents ADD COLUMN outcome TEXT NOT NULL DEFAULT ''",
)
_VERSION = 2
MAX_OUTCOME = 400
"""Characters of what helped: a sentence or two."""


class IncidentStore:
    """One row an incident, its latest event in it. Safe to use from several threads.

    Args:
        path: The database file; ":memory:" for none. Created, with its folder, where it is missing.
        keep: Incidents kept; the oldest beyond that are dropped.

    Raises:
        StateError: The file is no database of ours, or of a newer version; from every method: the disk is full,
            the file is gone, the store is closed.
    """

    def __init__(self, path: Path | str, *, keep: int = 20_000) -> None:
        self._path = path
        self._keep = keep
        self._lock = threading.Lock()
        try:
            if str(path) != ":memory:":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"{path}: cannot open the incident store: {error}") from error
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise StateError(f"{path}: incident store of version {version}, this logllm reads up to {_VERSION}")
            if version == 1:
                self._to_version_2()
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error as error:
            self._db.close()
            fault = (
                "cannot open the incident store" if isinstance(error, sqlite3.OperationalError) else "no incident store"
            )
            raise StateError(f"{path}: {fault}: {error}") from error
        except StateError:
            self._db.close()
            raise

    def _to_version_2(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        # Another process may have been here in between.
        have = {row[1] for row in self._db.execute("PRAGMA table_info(incidents)")}
        for statement, column in zip(_TO_VERSION_2, ("verdict", "outcome"), strict=True):
            if column not in have:
                self._db.execute(statement)
        self._db.execute("PRAGMA user_version = 2")
        self._db.execute("COMMIT")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise StateError(f"{self._path}: the incident store cannot be used: {error}") from error

    def put(self, event: IncidentEvent) -> None:
        """Keep an incident's latest event; an explanation already there stays."""
        body = msgspec.json.encode(event)
        state = "resolved" if event.event == "resolve" else "open"
        with self._locked():
            self._db.execute(
                "INSERT INTO incidents (id, fingerprint, state, started, updated, body) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET state = excluded.state, updated = excluded.updated, "
                "body = excluded.body",
                (event.id, event.fingerprint, state, event.started or event.time, event.time, body),
            )
            if event.event == "open":
                self._db.execute(
                    "DELETE FROM incidents WHERE id IN "
                    "(SELECT id FROM incidents ORDER BY started DESC LIMIT -1 OFFSET ?)",
                    (self._keep,),
                )

    def explain(self, explanation: Explanation) -> None:
        """Keep the explanation of an incident that is here."""
        with self._locked():
            self._db.execute(
                "UPDATE incidents SET explanation = ? WHERE id = ?",
                (msgspec.json.encode(explanation), explanation.incident),
            )

    def judge(self, incident_id: str, verdict: str) -> None:
        """Keep what somebody called an incident: "expected", "noise", "real", or "" for none of them any more."""
        with self._locked():
            self._db.execute("UPDATE incidents SET verdict = ? WHERE id = ?", (verdict[:20], incident_id))

    def solve(self, incident_id: str, outcome: str) -> bool:
        """Keep what helped, masked already; its first `MAX_OUTCOME` characters. False: there is no such incident."""
        with self._locked():
            done = self._db.execute(
                "UPDATE incidents SET outcome = ? WHERE id = ?",
                (outcome.encode(errors="replace").decode()[:MAX_OUTCOME], incident_id),
            )
        return done.rowcount > 0

    def said(self, incident_id: str) -> list[str]:
        """What people said of an incident, in words: what they called it, what helped."""
        with self._locked():
            row = self._db.execute("SELECT verdict, outcome FROM incidents WHERE id = ?", (incident_id,)).fetchone()
        verdict, outcome = row or ("", "")
        return [*([f"called {verdict}"] if verdict else []), *([f"fixed by: {outcome}"] if outcome else [])]

    def after(self, row: int, limit: int) -> list[tuple[int, IncidentEvent]]:
        """The latest `limit` of the incidents kept after row `row`, in that order, each with its row."""
        with self._locked():
            rows = self._db.execute(
                "SELECT rowid, body FROM incidents WHERE rowid > ? ORDER BY rowid DESC LIMIT ?", (row, limit)
            ).fetchall()
        return [(number, event) for number, body in reversed(rows) if (event := _event(body)) is not None]

    def told(self, rows: Iterable[int], fingerprint: str, limit: int) -> list[tuple[IncidentEvent, str, str]]:
        """The incidents of these rows, and the latest `limit` of a fingerprint, with verdict and outcome."""
        numbers = list(rows)[:limit]
        marks = ", ".join("?" * len(numbers))
        with self._locked():
            found = self._db.execute(
                f"SELECT body, verdict, outcome FROM incidents WHERE rowid IN ({marks}) OR rowid IN "  # noqa: S608
                "(SELECT rowid FROM incidents WHERE fingerprint = ? AND ? != '' ORDER BY started DESC LIMIT ?)",
                (*numbers, fingerprint, fingerprint, limit),
            ).fetchall()
        events = ((_event(body), verdict, outcome) for body, verdict, outcome in found)
        return [(event, verdict, outcome) for event, verdict, outcome in events if event is not None]

    def get(self, incident_id: str) -> tuple[IncidentEvent, Explanation | None] | None:
        """An incident by its id, or by the beginning of it where that is unambiguous."""
        with self._locked():
            rows = self._db.execute(
                "SELECT body, explanation FROM incidents WHERE id = ? OR substr(id, 1, length(?)) = ? LIMIT 2",
                (incident_id, incident_id, incident_id),
            ).fetchall()
        return _row(rows[0]) if len(rows) == 1 else None

    def latest(
        self, limit: int = 50, *, state: str | None = None
    ) -> Iterator[tuple[IncidentEvent, Explanation | None]]:
        """Incidents, latest first; `state` "open" or "resolved" picks."""
        with self._locked():
            rows = self._db.execute(
                "SELECT body, explanation FROM incidents WHERE ? IS NULL OR state = ? "
                "ORDER BY started DESC, id LIMIT ?",
                (state, state, limit),
            ).fetchall()
        for row in rows:
            yield _row(row)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()


def _event(body: bytes) -> IncidentEvent | None:
    """None where it cannot be read: what is looked up among many must not fail for one."""
    try:
        return msgspec.json.decode(body, type=IncidentEvent)
    except msgspec.MsgspecError:
        return None


def _row(row: tuple[bytes, bytes | None]) -> tuple[IncidentEvent, Explanation | None]:
    try:
        event = msgspec.json.decode(row[0], type=IncidentEvent)
        explanation = msgspec.json.decode(row[1], type=Explanation) if row[1] else None
    except msgspec.MsgspecError as error:
        raise StateError(f"incident store: a row cannot be read: {error}") from error
    return event, explanation


def incidents_in(data_dir: Path | str) -> Path:
    """Where a data folder keeps its incidents. Raises SourceError where it has none; makes nothing."""
    path = Path(data_dir) / "logllm.db"
    if not path.is_file():
        raise SourceError(f"{path}: no incidents were kept here (use --data-dir with tail or serve)")
    return path
