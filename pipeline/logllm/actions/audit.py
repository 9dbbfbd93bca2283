"""What was decided and what was run, in the order it happened; an entry that is changed later shows.

Each entry's hash is taken over the one before and its own bytes. Who can write the file can write a whole new chain:
keep the last hash elsewhere to be sure of what stands before it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import msgspec

from logllm.errors import StateError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from logllm.database import Database

__all__ = ["Audit", "Entry", "What"]

What = Literal[
    "declared",
    "suggested",
    "requested",
    "approved",
    "rejected",
    "expired",
    "refused",
    "dry-run",
    "run",
    "finished",
    "unknown",
]

_BATCH = 500
_OFFERS_KEPT = 20_000


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One decision or deed.

    Args:
        time: RFC 3339.
        who: Who decided: `cli:NAME`, what a button's sender is called, or `logllm`. Text from outside, cleaned.
        argv: What was really run; of a webhook its method, its address without path, and the body.
        exit_status: A program's; of a webhook the HTTP status.
        signal: Which ended the program, 0 for none.
        output_sha256: Over all of the output, also what is not kept.
        output: Standard output and standard error as they came, its middle left out where it is long. It stays in
            this database and is never sent anywhere.
    """

    time: str
    what: What
    runbook: str
    action: str
    request: str = ""
    incident: str = ""
    parameters: dict[str, str] = {}
    who: str = ""
    reason: str = ""
    argv: list[str] = []
    exit_status: int | None = None
    signal: int = 0
    seconds: float | None = None
    output_bytes: int = 0
    output_sha256: str = ""
    output: str = ""


class Audit:
    """The audit's table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, db: sqlite3.Connection, entry: Entry) -> None:
        """Add an entry, within the transaction of what it tells of."""
        last = db.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
        seq, before = (last[0] + 1, last[1]) if last else (1, b"")
        body = msgspec.json.encode(entry)
        db.execute("INSERT INTO audit (seq, body, hash) VALUES (?, ?, ?)", (seq, body, _hash(before, seq, body)))

    def once(self, entry: Entry) -> None:
        """An entry for an incident's action that is only suggested: told of once, and not for what was requested."""
        with self._database.transaction() as db:
            added = db.execute(
                "INSERT OR IGNORE INTO offers (incident, runbook, action, request) VALUES (?, ?, ?, '')",
                (entry.incident, entry.runbook, entry.action),
            )
            if added.rowcount == 1:
                self.append(db, entry)
                db.execute("DELETE FROM offers WHERE rowid <= (SELECT max(rowid) FROM offers) - ?", (_OFFERS_KEPT,))

    def declared(self, entry: Entry, digest: str) -> None:
        """An action is declared, or declared otherwise than before: told of when it changes."""
        with self._database.transaction() as db:
            changed = db.execute(
                "INSERT INTO declared (runbook, action, digest) VALUES (?, ?, ?) ON CONFLICT (runbook, action) "
                "DO UPDATE SET digest = excluded.digest WHERE digest != excluded.digest",
                (entry.runbook, entry.action, digest),
            )
            if changed.rowcount == 1:
                self.append(db, entry)

    def entries(self, *, request: str = "", after: int = 0) -> Iterator[tuple[int, Entry]]:
        """All entries, or those of one request, in order, with their numbers from 1.

        Raises:
            StateError: One of them cannot be read.
        """
        for seq, body, _ in self._rows(after):
            try:
                entry = msgspec.json.decode(body, type=Entry)
            except msgspec.MsgspecError as error:
                raise StateError(f"the audit's entry {seq} cannot be read: {error}") from None
            if not request or entry.request == request:
                yield seq, entry

    def verify(self, known: str = "") -> tuple[int, str]:
        """How many entries there are, and the last one's hash in hexadecimal digits.

        Args:
            known: A last hash that was kept elsewhere: it must still be in the chain.

        Raises:
            StateError: An entry was changed, taken out or put in, or `known` is not there.
        """
        count, before, found = 0, b"", not known
        for seq, body, digest in self._rows(0):
            count += 1
            if seq != count or digest != _hash(before, seq, body):
                raise StateError(f"the audit was changed: entry {count} does not follow from the one before it")
            before = digest
            found = found or digest.hex() == known.lower()
        if not found:
            raise StateError(f"the audit was cut or written anew: no entry has the hash {known[:64]!a}")
        return count, before.hex()

    def _rows(self, after: int) -> Iterator[tuple[int, bytes, bytes]]:
        while True:
            with self._database.reading() as db:
                rows = db.execute(
                    "SELECT seq, body, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?", (after, _BATCH)
                ).fetchall()
            if not rows:
                return
            yield from rows
            after = rows[-1][0]


def _hash(before: bytes, seq: int, body: bytes) -> bytes:
    return hashlib.sha256(before + seq.to_bytes(8, "big") + body).digest()
