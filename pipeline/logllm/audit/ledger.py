"""What left the process, written down before it does."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import astuple, replace

from logllm.audit.entry import CUT, GAP, GENESIS, SCHEMA, Entry, digest_of, packed, sealed
from logllm.database import Database
from logllm.egress import about_now
from logllm.errors import ConfigError, StateError
from logllm.events import rfc3339

if TYPE_CHECKING:
    import sqlite3

    from logllm.egress import EgressConfig, Sent

__all__ = ["FILE", "Ledger"]

FILE = "egress.db"
"""Its name in the data folder."""

_PATIENCE_S = 2.0
# Rows are taken away so many at once, so that an entry that tells of it comes with them, not with each one.
_CUT_SHARE = 0.05
_TEXT_CHARS = 500

_log = logging.getLogger("logllm.audit")


class Ledger:
    """Entries that each seal the one before. Safe to use from several threads, and beside another process.

    An entry is on the disk when `append` returns, and takes as long as the disk takes to say so: a tenth of a
    millisecond to some ten. It says that something was about to leave, not that it arrived. Whoever may write the file
    may also write all of it anew: keep a hash of it elsewhere.

    Args:
        path: None keeps it in memory.
        required: What cannot be written down raises StateError. Otherwise it is counted, told once, and an entry of
            the kind `gap` tells of it when writing is possible again.
        keep_bytes: Of bodies, compressed.
        keep_rows: Of entries.
        tell: Told when writing begins to fail.
        clock: Nanoseconds since the epoch.

    Attributes:
        written: Entries by kind, since the start.
        failed: Bodies that could not be written down, since the start.

    Raises:
        StateError: Required, and the file cannot be opened.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        required: bool = False,
        keep_bytes: int = 64 << 20,
        keep_rows: int = 200_000,
        tell: Callable[[str], None] = _log.error,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = path
        self._required = required
        self._keep_bytes = keep_bytes
        self._keep_rows = keep_rows
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._is_closed = False
        self._is_failing = False
        self.written: Counter[str] = Counter()
        self.failed = 0
        self._missed = 0
        self._missed_bytes = 0
        self._missed_since_ns = 0
        try:
            self._opened()
        except StateError as error:
            if required:
                raise
            self._fails(error)

    @classmethod
    def of(cls, config: EgressConfig, data_dir: Path | None, tell: Callable[[str], None] = _log.error) -> Ledger | None:
        """As `[egress]` says; None where it is off, or where there is no data folder to keep it in.

        Raises:
            ConfigError: It is required, and there is no data folder.
            StateError: It is required, and cannot be opened.
        """
        required = config.ledger == "required"
        if data_dir is None and required:
            raise ConfigError('egress.ledger: "required" needs a place to keep it: expected a data_dir')
        if data_dir is None or config.ledger == "off":
            return None
        path = data_dir / FILE
        return cls(path, required=required, keep_bytes=config.keep_bytes, keep_rows=config.keep_rows, tell=tell)

    def __call__(self, kind: str, name: str, secrets: Sequence[str] = ()) -> Sent:
        """See `Recorder`."""
        return partial(self._sent, kind, name, tuple(filter(None, secrets)))

    @property
    def missed(self) -> int:
        """What left since the last entry without one."""
        return self._missed

    def _sent(self, kind: str, name: str, secrets: tuple[str, ...], to: str, body: bytes) -> None:
        self.append(kind, name, to, body, secrets=secrets, about=about_now())

    def append(
        self, kind: str, name: str, to: str, body: bytes, *, secrets: Sequence[str] = (), about: str = ""
    ) -> None:
        """Write down that `body` is about to leave. Raises StateError where that is required and cannot be done."""
        kept = body
        for secret in secrets:
            kept = kept.replace(secret.encode(), b"*" * len(secret.encode()))
        small = packed(kept)
        is_kept = len(small) <= self._keep_bytes
        entry = Entry(
            number=0,
            time_ns=self._clock(),
            kind=kind[:_TEXT_CHARS],
            name=name[:_TEXT_CHARS],
            to=to[:_TEXT_CHARS],
            size=len(body),
            sha256=digest_of(body),
            kept_sha256=digest_of(kept) if is_kept else "",
            about=about[:_TEXT_CHARS],
            previous="",
        )
        with self._lock:
            try:
                self._write(entry, small if is_kept else None)
            except StateError as error:
                self.failed += 1
                if self._required:
                    raise
                self._missed += 1
                self._missed_bytes += len(body)
                self._missed_since_ns = self._missed_since_ns or entry.time_ns
                self._fails(error)
            else:
                self._missed = self._missed_bytes = self._missed_since_ns = 0
                self._is_failing = False
                self.written[entry.kind] += 1

    def _fails(self, error: StateError) -> None:
        if not self._is_failing:
            self._tell(f"{error}; what leaves meanwhile is not written down, and a gap in the ledger will say so")
        self._is_failing = True

    def _opened(self) -> Database:
        if self._is_closed:
            raise StateError(f"{self._path or 'memory'}: the ledger is closed")
        if self._database is None:
            self._database = Database(self._path, SCHEMA, what="ledger of what left", patience_s=_PATIENCE_S)
        return self._database

    def _write(self, entry: Entry, body: bytes | None) -> None:
        database = self._opened()
        if database.put_back():
            self._tell(f"{self._path}: was deleted; it has been written anew, nothing of it is lost")
        with database.transaction() as db:
            if self._missed:
                _append(db, self._gap(entry.time_ns), None)
            _append(db, entry, body)
            self._make_room(db)

    def _gap(self, time_ns: int) -> Entry:
        told = f"{self._missed} not written down since {rfc3339(self._missed_since_ns)}"
        return Entry(0, time_ns, GAP, "", "", self._missed_bytes, "", "", told, "")

    def _make_room(self, db: sqlite3.Connection) -> None:
        last, size = db.execute("SELECT last, bytes FROM room").fetchone() or (0, 0)
        while size > self._keep_bytes:
            oldest = db.execute("SELECT number, length(packed) FROM bodies ORDER BY number LIMIT 1").fetchone()
            if oldest is None:
                size = 0
                break
            db.execute("DELETE FROM bodies WHERE number = ?", oldest[:1])
            size -= oldest[1]
        db.execute("UPDATE room SET bytes = ?", (size,))
        (first,) = db.execute("SELECT min(number) FROM sent").fetchone()
        if last - first + 1 > self._keep_rows * (1 + _CUT_SHARE):
            # One row less than is to be kept, for the entry that tells of it.
            through = last - self._keep_rows + 1
            (cut,) = db.execute("SELECT hash FROM sent WHERE number = ?", (through,)).fetchone()
            db.execute("DELETE FROM sent WHERE number <= ?", (through,))
            freed = "SELECT coalesce(sum(length(packed)), 0) FROM bodies WHERE number <= ?"
            db.execute(f"UPDATE room SET bytes = bytes - ({freed})", (through,))  # noqa: S608 - a text of ours
            db.execute("DELETE FROM bodies WHERE number <= ?", (through,))
            _append(db, Entry(0, self._clock(), CUT, "", "", 0, "", "", f"{through} {cut}", ""), None)

    def close(self) -> None:
        """Let go of the file. A second call does nothing."""
        with self._lock:
            self._is_closed = True
            if self._database is not None:
                self._database.close()


def _append(db: sqlite3.Connection, entry: Entry, body: bytes | None) -> None:
    found = db.execute("SELECT number, hash FROM sent ORDER BY number DESC LIMIT 1").fetchone()
    number, previous = found or (0, GENESIS)
    entry = sealed(replace(entry, number=number + 1, previous=previous))
    db.execute(
        "INSERT INTO sent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        astuple(entry),
    )
    if body is not None:
        db.execute("INSERT INTO bodies VALUES (?, ?)", (entry.number, body))
    db.execute("UPDATE room SET last = ?, bytes = bytes + ?", (entry.number, len(body or b"")))
