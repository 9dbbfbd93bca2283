"""The outbox's database: one file, a connection a process, each change in a transaction forced to the disk."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Database"]

VERSION = 1


class Database:
    """SQLite, for the parts of `notify`; safe to use from several threads, and beside another process.

    Args:
        path: None keeps everything in memory.
        schemas: `CREATE ... IF NOT EXISTS` statements of the parts.

    Raises:
        StateError: It cannot be opened, is of a newer version, or is no such database.
    """

    def __init__(self, path: Path | None, *schemas: str) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._is_closed = False
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                ":memory:" if path is None else path, check_same_thread=False, isolation_level=None, timeout=5.0
            )
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"{path}: cannot open the outbox: {error}") from error
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            # What was told to be kept must outlive a power cut.
            self._db.execute("PRAGMA synchronous = FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise StateError(f"{path}: outbox of version {version}, this logllm reads up to {VERSION}")
            for schema in schemas:
                self._db.executescript(schema)
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.Error as error:
            self._db.close()
            what = "cannot open the outbox" if isinstance(error, sqlite3.OperationalError) else "not an outbox"
            raise StateError(f"{path}: {what}: {error}") from error
        except StateError:
            self._db.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; may be entered again within itself, which joins the outer one.

        Raises:
            StateError: The disk is full or the file is damaged; nothing of it has happened.
        """
        with self._lock:
            if self._is_closed:
                raise StateError(f"{self._path or 'outbox'}: the outbox is closed")
            if self._db.in_transaction:
                yield self._db
                return
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._roll_back()
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise StateError(f"{self._path or 'outbox'}: the outbox cannot be used: {error}") from error

    def _roll_back(self) -> None:
        # SQLite has done it already after some errors.
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For queries. Raises StateError."""
        with self._lock:
            if self._is_closed:
                raise StateError(f"{self._path or 'outbox'}: the outbox is closed")
            try:
                yield self._db
            except sqlite3.Error as error:
                raise StateError(f"{self._path or 'outbox'}: the outbox cannot be used: {error}") from error

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with self._lock:
            self._is_closed = True
            self._db.close()
