"""Looking for a value in bytes and files, however it is written there."""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["forms", "pieces_of", "traces"]

_ZSTD = b"\x28\xb5\x2f\xfd"
_SQLITE = b"SQLite format 3\x00"
_MOST_BYTES = 256 << 20
_HALF_CHARS = 24
_PIECE_CHARS = 12


def forms(value: str) -> dict[str, bytes]:
    """The ways in which a value may be written, by what they are called.

    Of a long value its beginning and its end are looked for as well.

    >>> list(forms("a/b"))
    ['raw', 'hex', 'percent', 'base64', 'base64 +1', 'base64 +2', 'hex, capitals']
    """
    raw = value.encode()
    found = {"raw": raw, "hex": raw.hex().encode()}
    if len(value) >= _HALF_CHARS:
        found |= {"its beginning": raw[:_PIECE_CHARS], "its end": raw[-_PIECE_CHARS:]}
    found["percent"] = quote(value, safe="").encode()
    found["percent, plus"] = quote_plus(value).encode()
    found["escaped"] = json.dumps(value)[1:-1].encode()
    found["escaped twice"] = json.dumps(json.dumps(value)[1:-1])[1:-1].encode()
    for offset in range(3):
        name = f"base64 +{offset}" if offset else "base64"
        # Only the characters that the value alone decides.
        whole = base64.b64encode(b"\0" * offset + raw)
        inner = whole[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        found[name] = inner
        found[f"{name}, for URLs"] = inner.translate(bytes.maketrans(b"+/", b"-_"))
    found["hex, capitals"] = raw.hex().upper().encode()
    kept: dict[str, bytes] = {}
    for name, form in found.items():
        if form not in kept.values():
            kept[name] = form
    return kept


def traces(parts: tuple[str, ...], places: list[bytes]) -> list[str]:
    """The forms in which any part stands in any of the byte strings."""
    return sorted({name for part in parts for name, form in forms(part).items() if any(form in one for one in places)})


def pieces_of(path: Path) -> Iterator[bytes]:
    """All that a file holds: its bytes, a database's values too, and what is compressed in either.

    Raises:
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    yield data
    if data.startswith(_ZSTD):
        yield _inflated(data)
    if data.startswith(_SQLITE):
        yield from _values(path)


def _values(path: Path) -> Iterator[bytes]:
    """A long value lies in pieces on the pages of its file, so that the file's bytes alone do not show it."""
    with closing(sqlite3.connect(path)) as db, suppress(sqlite3.DatabaseError):
        db.text_factory = bytes
        tables = [row[0].decode() for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            with suppress(sqlite3.DatabaseError):
                for row in db.execute('SELECT * FROM "{}"'.format(table.replace('"', '""'))):  # noqa: S608 - quoted
                    for value in row:
                        if isinstance(value, bytes):
                            yield value
                            if value.startswith(_ZSTD):
                                yield _inflated(value)


def _inflated(data: bytes) -> bytes:
    import zstandard

    with suppress(zstandard.ZstdError):
        return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read(_MOST_BYTES)
    return b""
