"""Reading the ledger: what is in it, and whether anybody has changed it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from logllm.audit.entry import CUT, GENESIS, SCHEMA, Entry, digest_of, entries, sealed, unpacked
from logllm.database import Database
from logllm.errors import SourceError, StateError

__all__ = ["Reading", "Verdict"]


class Verdict(NamedTuple):
    """What a walk along the chain found.

    Args:
        wrong: The first thing that does not fit, with its entry's number; empty where all does.
        number: Of the last entry; 0 where there is none.
        head: Its hash, which vouches for all before it.
        entries: Seen.
        bodies: Seen and as they were kept.
        dropped: Entries whose bodies have made room for later ones.
    """

    wrong: str
    number: int
    head: str
    entries: int
    bodies: int
    dropped: int


class Reading:
    """A ledger as another process reads it, also while it is written.

    Raises:
        SourceError: There is none.
        StateError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise SourceError(f"{path}: nothing was written down here (use --data-dir, and see [egress] ledger)")
        self._path = path
        self._database = Database(path, SCHEMA, what="ledger of what left")

    def entries(self, *, kind: str = "", to: str = "", since_ns: int = 0) -> Iterator[Entry]:
        """Those of a kind, to a host (with or without its port) or a destination's name, since a time; oldest first.

        Raises StateError.
        """
        where = ["time_ns >= ?"]
        asked: list[object] = [since_ns]
        if kind:
            where.append("kind = ?")
            asked.append(kind)
        if to:
            where.append("(whither = ? OR name = ? OR substr(whither, 1, length(?) + 1) = ? || ':')")
            asked += [to] * 4
        with self._database.reading() as db:
            for entry in entries(db, 0, " AND ".join(where), tuple(asked)):
                yield self._checked(entry)

    def entry(self, number: int) -> Entry | None:
        """One of them. Raises StateError."""
        with self._database.reading() as db:
            row = db.execute("SELECT * FROM sent WHERE number = ?", (number,)).fetchone()
        return None if row is None else self._checked(Entry(*row))

    def _checked(self, entry: Entry) -> Entry:
        """Raises StateError for values that none of ours has."""
        try:
            return msgspec.convert(msgspec.structs.asdict(entry), Entry)
        except msgspec.ValidationError as error:
            raise StateError(f"{self._path}: entry {entry.number}: it was changed: {error}") from error

    def body(self, entry: Entry) -> bytes | None:
        """What was kept of what was sent; None where it has made room for later ones, or was changed."""
        with self._database.reading() as db:
            row = db.execute("SELECT packed FROM bodies WHERE number = ?", (entry.number,)).fetchone()
        return None if row is None else _body(row[0], entry)

    def verify(self, head: str = "") -> Verdict:
        """Walk the chain from the oldest entry that is left to the last one.

        Args:
            head: A hash that was the last one once, and was kept elsewhere: it must be there still. Without it an end
                that was cut off is seen only where it was done carelessly, and a chain that was made anew is not.
        """
        with self._database.reading() as db:
            walk = _Walk(db)
            wrong = walk.run()
            if not wrong and head and not walk.has(head):
                wrong = f"no entry has the hash {head[:64]}: the end was cut off, or the ledger was written anew"
        return Verdict(wrong, walk.number, walk.head, walk.count, walk.bodies, walk.dropped)

    def close(self) -> None:
        """Let go of the file. A second call does nothing."""
        self._database.close()


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """Nothing that is written meanwhile is seen."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


class _Walk:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.number = 0
        self.head = GENESIS
        self.count = self.bodies = self.dropped = 0
        self._cut = ""
        self._bodiless = 0
        self._first: Entry | None = None

    def has(self, head: str) -> bool:
        """Whether the oldest entry follows one of this hash, or one is it."""
        before = GENESIS if self._first is None else self._first.previous
        found = self._db.execute("SELECT 1 FROM sent WHERE hash = ?", (head,)).fetchone()
        return head == before or found is not None

    def run(self) -> str:
        """What is wrong first."""
        with _snapshot(self._db):
            return self._along() or self._ends()

    def _along(self) -> str:
        for entry in entries(self._db):
            if self._first is None:
                self._first = entry
                self.number, self.head = entry.number - 1, entry.previous
            if entry.number != self.number + 1:
                return f"entry {self.number + 1}: it is missing"
            try:
                fits = sealed(entry).hash == entry.hash
            except (TypeError, ValueError, OverflowError):
                fits = False
            if not fits:
                return f"entry {entry.number}: it was changed"
            if entry.previous != self.head:
                return f"entry {entry.number}: it follows another entry than the one before it"
            wrong = self._body_of(entry)
            if wrong:
                return wrong
            if entry.kind == CUT:
                self._cut = entry.about
            self.number, self.head, self.count = entry.number, entry.hash, self.count + 1
        return ""

    def _body_of(self, entry: Entry) -> str:
        row = self._db.execute("SELECT packed FROM bodies WHERE number = ?", (entry.number,)).fetchone()
        if row is None:
            if entry.kept_sha256 and self.bodies:
                # Room is made from the oldest on.
                return f"entry {entry.number}: its body is missing"
            if entry.kept_sha256:
                self.dropped += 1
                self._bodiless = entry.number
            return ""
        body = _body(row[0], entry)
        if body is None or digest_of(body) != entry.kept_sha256:
            return f"entry {entry.number}: its body was changed"
        self.bodies += 1
        return ""

    def _ends(self) -> str:
        first = self._first
        begins = first is None or (first.number, first.previous) == (1, GENESIS)
        if first is not None and not begins and self._cut != f"{first.number - 1} {first.previous}":
            return f"entry {first.number - 1}: it is missing, and no entry says that it made room"
        if self.dropped and not self.bodies:
            return f"entry {self._bodiless}: its body is missing"
        (last,) = self._db.execute("SELECT last FROM room").fetchone()
        if last < self.number:
            return f"entry {self.number}: the note of the last entry was changed"
        if last > self.number:
            return f"entry {self.number + 1}: it is missing, and so are all to {last}"
        (strays,) = self._db.execute(
            "SELECT count(*) FROM bodies WHERE number NOT IN (SELECT number FROM sent)"
        ).fetchone()
        return f"{strays} bodies belong to no entry" if strays else ""


def _body(data: object, entry: Entry) -> bytes | None:
    return unpacked(data, entry.size) if isinstance(data, bytes) else None
