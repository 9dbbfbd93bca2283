"""A block on its way through a guest of Fluent Bit's ABI: records as the guest takes them, and what it makes of them.

Nothing is decoded twice, and what the guest leaves alone is never encoded again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from logllm.errors import PluginTrap
from logllm.filters.instance import Filtered, RecordFailed
from logllm.filters.records import fitting, is_map, join_entries, object_of, pairs_of, raw_entries

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Made", "as_object", "as_packed", "checked_text", "texts"]

_TEXT = msgspec.json.Encoder()
_NO_RECORD = b"null"


class Made:
    """What becomes of a block, record by record."""

    def __init__(self, block: bytes, count: int) -> None:
        self._block = block
        self._count = count
        self.pairs = pairs_of(block, count)
        self._kept: list[Any] = []
        self._places: list[int] = []
        self._changed = False

    def leave(self, index: int) -> None:
        """An entry stays as it was."""
        self._kept.append(None)
        self._places.append(index)

    def put(self, index: int, time: msgspec.Raw, record: object) -> None:
        """An entry has another record."""
        self._kept.append((time, record))
        self._places.append(index)
        self._changed = True

    def until(self, index: int, *, broken: bool = False) -> Filtered:
        """What was made of the entries before one. Raises RecordFailed: a record cannot be packed."""
        if not self._changed and len(self._kept) == self._count:
            return Filtered(self._block, self._count)
        entries = raw_entries(self._block, self._count)
        kept = [entries[place] if one is None else one for one, place in zip(self._kept, self._places, strict=True)]
        try:
            packed = join_entries(kept)
        except (OverflowError, ValueError):
            packed = self._one_by_one(kept, broken)
        return Filtered(packed, len(self._kept), index - len(self._kept))

    def _one_by_one(self, kept: list[Any], broken: bool) -> bytes:
        """Among them is an integer that must become a float, or a record too deep to pack."""
        done: list[bytes] = []
        for one, place in zip(kept, self._places, strict=True):
            try:
                done.append(join_entries([(one[0], fitting(one[1])) if isinstance(one, tuple) else one]))
            except (ValueError, RecursionError) as error:
                before = Filtered(b"".join(done), len(done), place - len(done))
                cause = PluginTrap("bad_result", f"its answer cannot be packed: {error}")
                raise RecordFailed(cause, before, place, broken=broken) from error
        return b"".join(done)


def as_packed(raw: msgspec.Raw) -> bytes:
    """A record as it is; b"" for what is no map."""
    record = bytes(raw)
    return record if is_map(record) else b""


def texts(records: Sequence[dict[str, Any] | None]) -> list[bytes]:
    """Records as JSON, character for character as Fluent Bit gives it unless told otherwise: all of it is ASCII.

    Some guests rely on that without knowing: a library for Go writes a string that holds a quote and U+007F or a flag
    as Go would, which is no JSON. What is no record, or one that is too deep, is `null`; see `checked_text`.
    """
    try:
        lines = _TEXT.encode_lines(records)
    except RecursionError:
        lines = b"\n".join(_text_or_null(record) for record in records)
    return _as_ascii(lines).split(b"\n")


def _text_or_null(record: dict[str, Any] | None) -> bytes:
    try:
        return _TEXT.encode(record)
    except RecursionError:
        return _NO_RECORD


def _as_ascii(lines: bytes) -> bytes:
    if not lines.isascii():
        # The whole as one JSON string, with the backslashes that this put before others taken away again.
        whole = json.dumps(lines.decode())[1:-1].replace("\\\\", "\0")
        lines = whole.replace('\\"', '"').replace("\\n", "\n").replace("\0", "\\").encode()
    return lines.replace(b"\x7f", b"\\u007f")


def checked_text(text: bytes, raw: msgspec.Raw) -> bytes:
    """One of `texts`, with its record; b"" for what is no map. Raises PluginTrap: it is one, but too deep."""
    if text != _NO_RECORD:
        return text
    if is_map(bytes(raw)):
        raise PluginTrap("bad_record", "the record is nested too deep, or holds what has no form in JSON")
    return b""


def as_object(answer: bytes) -> dict[str, Any]:
    """An answer in JSON, as leniently as Fluent Bit reads it. Raises PluginTrap: it is no object."""
    try:
        return object_of(answer, controls=True)
    except ValueError as error:
        begin = answer[:60].decode("utf-8", "replace")
        raise PluginTrap("bad_result", f"its answer is no JSON object: {error}: {begin!r}") from error
