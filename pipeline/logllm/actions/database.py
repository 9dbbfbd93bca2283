"""The database of actions: one file for its owner alone, each change in a transaction forced to the disk."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Database"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY,
    live TEXT UNIQUE,
    runbook TEXT NOT NULL,
    action TEXT NOT NULL,
    incident TEXT NOT NULL,
    state TEXT NOT NULL,
    created_s REAL NOT NULL,
    expires_s REAL NOT NULL,
    started_s REAL,
    refusals INTEGER NOT NULL DEFAULT 0,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS requests_by_state ON requests (state, created_s);
CREATE INDEX IF NOT EXISTS requests_by_start ON requests (runbook, action, started_s);
CREATE TABLE IF NOT EXISTS offers (
    incident TEXT NOT NULL,
    runbook TEXT NOT NULL,
    action TEXT NOT NULL,
    request TEXT NOT NULL,
    PRIMARY KEY (incident, runbook, action)
) STRICT;
CREATE INDEX IF NOT EXISTS offers_by_request ON offers (request);
CREATE TABLE IF NOT EXISTS declared (
    runbook TEXT NOT NULL,
    action TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (runbook, action)
) STRICT;
CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_not_cut BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;
"""


class Database:
    """SQLite; safe to use from several threads, and beside another process.

    Args:
        path: None keeps everything in memory.

    Raises:
        StateError: It cannot be opened, is of a newer version, or is no such database.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                # SQLite gives its other files the mode of this one.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(
                ":memory:" if path is None else path, check_same_thread=False, isolation_level=None, timeout=2.0
            )
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"{path}: cannot open the database of actions: {error}") from error
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            # What was begun must still be known after a power cut: it is not begun twice.
            self._db.execute("PRAGMA synchronous = FULL")
            with self.transaction() as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version > _VERSION:
                    raise StateError(f"{path}: actions of version {version}, this logllm reads up to {_VERSION}")
                if version < _VERSION:
                    for statement in _statements():
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error as error:
            self._db.close()
            raise StateError(f"{path}: not a database of actions: {error}; move it away to begin anew") from error
        except StateError:
            self._db.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, with nobody else writing meanwhile; entered again within itself it joins the outer one.

        Raises:
            StateError: The disk is full or the file is damaged; nothing of it has happened.
        """
        with self._lock:
            try:
                if self._db.in_transaction:
                    yield self._db
                    return
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._roll_back()
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise StateError(f"{self._path or 'actions'}: cannot be used: {error}") from error

    def _roll_back(self) -> None:
        # SQLite has done it already after some errors, and a closed connection has none.
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.ProgrammingError:
            return

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For queries. Raises StateError."""
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise StateError(f"{self._path or 'actions'}: cannot be used: {error}") from error

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with self._lock:
            self._db.close()


def _statements() -> Iterator[str]:
    whole = ""
    for line in _SCHEMA.splitlines():
        whole += line + "\n"
        if sqlite3.complete_statement(whole):
            yield whole
            whole = ""
