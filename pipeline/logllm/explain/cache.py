"""Explained once: what the model answered, by incident fingerprint, in SQLite."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import StateError
from logllm.explain.checks import ModelAnswer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["CachedAnswer", "ExplanationCache"]


class CachedAnswer(msgspec.Struct, frozen=True):
    """The model's part of an explanation, before any check, in masked text; `tokens` are what it cost.

    `local`: of our own child, whose likelihoods were asked for where words left the runbook open.

    Kept raw on purpose: another incident of the same fingerprint has other addresses, other evidence; its explanation
    is composed anew and goes through all checks again.
    """

    answer: ModelAnswer
    likelihoods: dict[str, float]
    tokens: int = 0
    local: bool = False


class ExplanationCache:
    """At most `max_rows` answers, the oldest go first. In memory without a path. Safe to call from several threads.

    Raises:
        StateError: the database cannot be opened or is damaged.
    """

    def __init__(
        self, path: Path | None = None, *, max_rows: int = 10_000, clock: Callable[[], float] = time.time
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._max_rows = max_rows
        self._where = str(path or "explanation cache")
        try:
            self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None, timeout=5.0)
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS explanation_cache "
                    "(key TEXT PRIMARY KEY, stored REAL NOT NULL, answer BLOB NOT NULL) WITHOUT ROWID"
                )
            except sqlite3.Error:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise StateError(f"{self._where}: {error}") from None

    def get(self, key: str) -> CachedAnswer | None:
        """The answer stored under `key`, or None; an entry of another version counts as none."""
        with self._lock:
            row = self._execute("SELECT answer FROM explanation_cache WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        try:
            return msgspec.msgpack.decode(row[0], type=CachedAnswer)
        except msgspec.DecodeError:
            return None

    def put(self, key: str, answer: CachedAnswer) -> None:
        """Store `answer`, in place of what was there."""
        with self._lock:
            self._execute(
                "INSERT OR REPLACE INTO explanation_cache VALUES (?, ?, ?)",
                (key, self._clock(), msgspec.msgpack.encode(answer)),
            )
            self._execute(
                "DELETE FROM explanation_cache WHERE key IN "
                "(SELECT key FROM explanation_cache ORDER BY stored DESC LIMIT -1 OFFSET ?)",
                (self._max_rows,),
            )

    def __len__(self) -> int:
        with self._lock:
            return int(self._execute("SELECT count(*) FROM explanation_cache", ()).fetchone()[0])

    def close(self) -> None:
        """Close the database. A second call does nothing."""
        with self._lock:
            self._db.close()

    def _execute(self, sql: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            return self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise StateError(f"{self._where}: {error}") from None
