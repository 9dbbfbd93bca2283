"""What a sink has already, on disk: the chunks it holds, and how far its file reaches, committed together.

A sink that writes a file makes the bytes durable first and then commits their keys and the file's new size in one
transaction. So a crash in between leaves bytes that no key stands for, and they are cut off; a sender that had no ack
sends the chunk again, and its key tells whether it is here. Nothing is lost and nothing is there twice.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from logllm.errors import DeliveryError

__all__ = ["Ledger", "Position"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (key BLOB PRIMARY KEY, times INTEGER NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS position (id INTEGER PRIMARY KEY CHECK (id = 0), body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS identity (id INTEGER PRIMARY KEY CHECK (id = 0), body BLOB NOT NULL);
INSERT OR IGNORE INTO identity VALUES (0, randomblob(16));
"""
_PRUNE_EVERY = 64
_BUSY_S = 10.0
# SQLite's own bound on the parameters of one statement was 999 for long.
_LOOK_UP = 900

_log = logging.getLogger("logllm.sinks")


class Position(msgspec.Struct, frozen=True):
    """How far a file is committed. What lies behind `size` was never acknowledged.

    Args:
        device, inode: Which file it is, whatever its name is now.
        size: Bytes.
        begun_s: When its first record was written, Unix time.
        renaming_to: The name it is about to get; empty but during a rotation.
    """

    device: int
    inode: int
    size: int
    begun_s: float
    renaming_to: str = ""


class Ledger:
    """The keys of the chunks a sink has made durable, for a while, and its file's position.

    One thread commits (the sink's), any may look up.

    Args:
        path: A SQLite file; None keeps everything in memory, until the process ends.
        window_s: Keys are forgotten after so long: a sender that comes again later is taken at its word.
        most: Keys that are kept; beyond it the oldest go.
        clock: Unix time in seconds.

    Raises:
        DeliveryError: It cannot be opened now (a full disk, a read-only one).
    """

    def __init__(
        self,
        path: Path | None,
        *,
        window_s: float = 172_800.0,
        most: int = 1_000_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._window_s, self._most, self._clock = window_s, most, clock
        self._commits = 0
        self._lock = threading.Lock()
        self._file = (0, 0)
        self._writer = self._open()
        # While one connection waits for the disk the other reads; in memory there is nothing to wait for.
        self._reader = self._writer if path is None else self._connect()
        self._reader_lock = self._lock if path is None else threading.Lock()

    def _connect(self) -> sqlite3.Connection:
        name = ":memory:" if self.path is None else str(self.path)
        try:
            return sqlite3.connect(name, check_same_thread=False, isolation_level=None, timeout=_BUSY_S)
        except sqlite3.Error as error:
            raise self._failed("open", error) from error

    def _open(self) -> sqlite3.Connection:
        for last in (False, True):
            db = self._connect()
            try:
                db.execute("PRAGMA journal_mode = WAL")
                # Each commit is forced to the disk: an ack rests on it, and a file is cut to what it says.
                db.execute("PRAGMA synchronous = FULL")
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version > _VERSION:
                    db.close()
                    raise DeliveryError(f"{self.path}: a ledger of version {version}, expected at most {_VERSION}")
                db.executescript(_SCHEMA)
                db.execute(f"PRAGMA user_version = {_VERSION}")
                db.execute("SELECT key FROM chunk LIMIT 1").fetchall()
            except sqlite3.DatabaseError as error:
                db.close()
                damaged = type(error) is sqlite3.DatabaseError
                if last or not damaged or self.path is None:
                    raise self._failed("open", error) from error
                self._set_aside(error)
            else:
                self._file = self._on_disk()
                return db
        raise AssertionError("not reached")

    def _on_disk(self) -> tuple[int, int]:
        """Which file has the ledger's name now."""
        if self.path is None:
            return 0, 0
        try:
            found = self.path.stat()
        except OSError:
            return -1, -1
        return found.st_dev, found.st_ino

    def _begin_anew(self) -> None:
        """The file has been deleted or replaced: commits to the old one would be lost with this process."""
        _log.error("%s: deleted while in use; it is begun anew, what is sent again may now be stored twice", self.path)
        assert self.path is not None  # noqa: S101 - what is in memory does not change
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DeliveryError(f"{self.path}: cannot make its folder: {error.strerror or error}") from error
        with self._reader_lock:
            self._writer.close()
            self._reader.close()
            self._writer, self._reader = self._open(), self._connect()

    def _set_aside(self, reason: Exception) -> None:
        assert self.path is not None  # noqa: S101 - the caller has looked
        aside = self.path.with_name(self.path.name + ".damaged")
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.path.replace(aside)
        _log.error("%s: damaged (%s), kept as %s; chunks sent again may now be stored twice", self.path, reason, aside)

    def _failed(self, what: str, error: sqlite3.Error) -> DeliveryError:
        text = str(error)
        kind = "full" if "full" in text else "read_only" if "readonly" in text else "io"
        return DeliveryError(f"{self.path or 'ledger'}: cannot {what}: {text}", kind=kind)

    def times(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """How often each key was committed; those never seen are left out. Raises DeliveryError."""
        found: dict[bytes, int] = {}
        with self._reader_lock:
            try:
                for at in range(0, len(keys), _LOOK_UP):
                    some = keys[at : at + _LOOK_UP]
                    marks = ",".join("?" * len(some))
                    rows = self._reader.execute(f"SELECT key, times FROM chunk WHERE key IN ({marks})", some)  # noqa: S608
                    found.update(rows.fetchall())
            except sqlite3.Error as error:
                raise self._failed("read", error) from error
        return found

    @property
    def position(self) -> Position | None:
        """Where the sink's file ends; None where nothing was committed yet. Raises DeliveryError."""
        with self._reader_lock:
            try:
                row = self._reader.execute("SELECT body FROM position").fetchone()
            except sqlite3.Error as error:
                raise self._failed("read", error) from error
        try:
            return None if row is None else msgspec.json.decode(row[0], type=Position)
        except msgspec.MsgspecError as error:
            raise DeliveryError(f"{self.path}: a position that cannot be read: {error}") from error

    @property
    def identity(self) -> bytes:
        """16 bytes by which it is told from every other ledger. Raises DeliveryError."""
        with self._reader_lock:
            try:
                (body,) = self._reader.execute("SELECT body FROM identity").fetchone()
            except sqlite3.Error as error:
                raise self._failed("read", error) from error
        return bytes(body)

    def commit(self, keys: Sequence[bytes], position: Position | None = None) -> None:
        """Make keys, and the file's new position, durable: all of it or nothing.

        Raises:
            DeliveryError: It could not be done; the very same may be tried again.
        """
        with self._committing() as db:
            if keys:
                now = int(self._clock())
                db.executemany(
                    "INSERT INTO chunk (key, times, at) VALUES (?, 1, ?) "
                    "ON CONFLICT (key) DO UPDATE SET times = times + 1, at = excluded.at",
                    [(key, now) for key in keys],
                )
            if position is not None:
                # Deleted first: of a row that stays as it is SQLite writes nothing, and what a commit that failed has
                # left in its log would still be there for a crash to find.
                db.execute("DELETE FROM position")
                db.execute("INSERT INTO position VALUES (0, ?)", (msgspec.json.encode(position),))
            self._commits += 1
            if self._commits % _PRUNE_EVERY == 0:
                self._prune(db)

    def _prune(self, db: sqlite3.Connection) -> None:
        # Rows lie in the order they came, so the old ones are at the front.
        (newest,) = db.execute("SELECT coalesce(max(rowid), 0) FROM chunk").fetchone()
        db.execute("DELETE FROM chunk WHERE rowid <= ?", (newest - self._most,))
        old = int(self._clock() - self._window_s)
        row = db.execute("SELECT rowid FROM chunk WHERE at >= ? ORDER BY rowid LIMIT 1", (old,)).fetchone()
        db.execute("DELETE FROM chunk WHERE rowid < ?", (newest + 1 if row is None else row[0],))

    @contextmanager
    def _committing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._on_disk() != self._file:
                self._begin_anew()
            db = self._writer
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except sqlite3.Error as error:
                if db.in_transaction:
                    try:
                        db.execute("ROLLBACK")
                    except sqlite3.Error as second:
                        _log.warning("%s: %s", self.path, second)
                raise self._failed("commit", error) from error

    def __len__(self) -> int:
        with self._reader_lock:
            (count,) = self._reader.execute("SELECT count(*) FROM chunk").fetchone()
        return int(count)

    def close(self) -> None:
        """Close the database. A second call does nothing."""
        with self._lock:
            self._writer.close()
        if self._reader is not self._writer:
            with self._reader_lock:
                self._reader.close()
