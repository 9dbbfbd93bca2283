"""One entry of the ledger, and how it is sealed to the one before."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CUT", "GAP", "GENESIS", "SCHEMA", "Entry", "digest_of", "entries", "packed", "sealed", "unpacked"]

GENESIS = "0" * 64
"""What the first entry follows."""

GAP = "gap"
"""The kind of an entry that tells how many others could not be written."""

CUT = "cut"
"""The kind of an entry that tells up to which one, and its hash, the oldest were taken away to make room."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS sent (
    number INTEGER PRIMARY KEY,
    time_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    whither TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    kept_sha256 TEXT NOT NULL,
    about TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS bodies (number INTEGER PRIMARY KEY, packed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS room (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT OR IGNORE INTO room VALUES (1, 0, 0);
"""

# A body is at most what a request of ours holds; what says it is longer was not written by us.
_MOST_BYTES = 64 << 20


class Entry(msgspec.Struct, frozen=True):
    """A byte string that was about to leave: it may have been the last thing a crash let happen.

    Args:
        number: From 1, without gaps.
        time_ns: Since the epoch.
        kind: `slack`, `webhook`, `alertmanager`, `pagerduty`, `apprise`, `model`, `action`; or `gap`, `cut`.
        name: As the configuration calls the receiver.
        to: `host:port`.
        size: Bytes of the body.
        sha256: Of the body, as it was sent.
        kept_sha256: Of the body as it was kept: secrets of ours in it are blanked; empty where it was not kept.
        about: Ids of incidents and of the message.
        previous: Hash of the entry before.
        hash: Of all of this; BLAKE2b, 256 bits.
    """

    number: int
    time_ns: int
    kind: str
    name: str
    to: str
    size: int
    sha256: str
    kept_sha256: str
    about: str
    previous: str
    hash: str = ""

    @property
    def is_blanked(self) -> bool:
        """Whether what was kept differs from what was sent."""
        return bool(self.kept_sha256) and self.kept_sha256 != self.sha256


def sealed(entry: Entry) -> Entry:
    """With its hash. Without a key: it shows a change to whoever kept a later hash elsewhere."""
    fields = msgspec.msgpack.encode(msgspec.structs.astuple(msgspec.structs.replace(entry, hash="")))
    digest = hashlib.blake2b(fields, digest_size=32, person=b"logllm-egress-1")
    return msgspec.structs.replace(entry, hash=digest.hexdigest())


def digest_of(body: bytes) -> str:
    """SHA-256, so that `sha256sum` of a capture finds it."""
    return hashlib.sha256(body).hexdigest()


def packed(body: bytes) -> bytes:
    """Compressed with zstandard."""
    import zstandard

    return zstandard.ZstdCompressor(level=3).compress(body)


def unpacked(data: bytes, size: int) -> bytes | None:
    """What `packed` was given; None where it is no such thing, or not of this size."""
    import zstandard

    if not 0 <= size <= _MOST_BYTES:
        return None
    try:
        parameters = zstandard.get_frame_parameters(data)
        if parameters.content_size != size:
            return None
        body = zstandard.ZstdDecompressor().decompress(data, max_output_size=max(1, size))
    except zstandard.ZstdError:
        return None
    return body if len(body) == size else None


def entries(
    db: sqlite3.Connection, after: int = 0, where: str = "", values: tuple[object, ...] = ()
) -> Iterator[Entry]:
    """Entries in order, a page at a time, so that nobody is kept from writing meanwhile.

    Args:
        where: A condition more, with the `values` of its question marks.
    """
    condition = f" AND {where}" if where else ""
    while True:
        rows = db.execute(
            f"SELECT * FROM sent WHERE number > ?{condition} ORDER BY number LIMIT 1000",  # noqa: S608 - ours
            (after, *values),
        ).fetchall()
        for row in rows:
            yield Entry(*row)
        if not rows:
            return
        after = rows[-1][0]
