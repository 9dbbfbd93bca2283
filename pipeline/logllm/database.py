"""A database in one file of SQLite: a connection a process, each change in a transaction forced to the disk."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Database"]

VERSION = 1

_ADVICE = "move it away to begin anew, without what is in it"


class Database:
    """SQLite, for its owner alone; safe to use from several threads, and beside another process.

    Args:
        path: None keeps everything in memory.
        schemas: `CREATE ... IF NOT EXISTS` statements.
        what: What errors call it.
        patience_s: For so long another process may be writing.

    Raises:
        StateError: It cannot be opened, is of a newer version, or is no such database.
    """

    def __init__(self, path: Path | None, *schemas: str, what: str = "outbox", patience_s: float = 5.0) -> None:
        self._path = path
        self._what = what
        self._patience_s = patience_s
        self._lock = threading.RLock()
        self._is_closed = False
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._connected()
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"{path}: cannot open the {what}: {error}") from error
        try:
            _set_up(self._db)
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise StateError(f"{path}: {what} of version {version}, this logllm reads up to {VERSION}")
            for schema in schemas:
                self._db.executescript(schema)
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.Error as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError):
                raise StateError(f"{path}: cannot open the {what}: {error}") from error
            raise StateError(f"{path}: not a database ({what}): {error}; {_ADVICE}") from error
        except StateError:
            self._db.close()
            raise
        self._file = self._present()

    def _connected(self) -> sqlite3.Connection:
        path = ":memory:" if self._path is None else self._path
        if self._path is not None:
            # SQLite gives its other files the mode of this one.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=self._patience_s)

    def _present(self) -> tuple[int, int] | None:
        """Which file is at the path; None where there is none."""
        try:
            status = None if self._path is None else self._path.stat()
        except OSError:
            return None
        return None if status is None else (status.st_dev, status.st_ino)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; may be entered again within itself, which joins the outer one.

        Raises:
            StateError: The disk is full or the file is damaged; nothing of it has happened.
        """
        with self._lock:
            if self._is_closed:
                raise StateError(f"{self._path or 'memory'}: the {self._what} is closed")
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
                raise StateError(f"{self._path or 'memory'}: the {self._what} cannot be used: {error}") from error

    def _roll_back(self) -> None:
        # SQLite has done it already after some errors, and after others cannot.
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For queries. Raises StateError."""
        with self._lock:
            if self._is_closed:
                raise StateError(f"{self._path or 'memory'}: the {self._what} is closed")
            try:
                yield self._db
            except sqlite3.Error as error:
                raise StateError(f"{self._path or 'memory'}: the {self._what} cannot be used: {error}") from error

    def put_back(self) -> bool:
        """Write the file anew where somebody has deleted it; whether that was so. Until then nothing is missing, but
        a restart would find nothing and other processes see nothing.

        Raises:
            StateError: It cannot be written, or another file is in its place.
        """
        path = self._path
        present = self._present()
        if path is None or present == self._file:
            return False
        if present is not None:
            raise StateError(f"{path}: another file is in its place, restart to use that one")
        with self._lock:
            try:
                # Their locks would be shared with the new file.
                for rest in ("-wal", "-shm"):
                    path.with_name(path.name + rest).unlink(missing_ok=True)
                fresh = self._connected()
            except (sqlite3.Error, OSError) as error:
                raise StateError(f"{path}: the {self._what} was deleted and cannot be put back: {error}") from error
            try:
                self._db.backup(fresh)
                _set_up(fresh)
            except sqlite3.Error as error:
                fresh.close()
                raise StateError(f"{path}: the {self._what} was deleted and cannot be put back: {error}") from error
            self._db.close()
            self._db, self._file = fresh, self._present()
        return True

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with self._lock:
            self._is_closed = True
            self._db.close()


def _set_up(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    # What was told to be kept, and what was begun, must outlive a power cut.
    db.execute("PRAGMA synchronous = FULL")
