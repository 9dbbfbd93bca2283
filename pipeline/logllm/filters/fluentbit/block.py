"""A block on its way through a guest of Fluent Bit's ABI: records as the guest takes them, and what it makes of them.

Nothing is decoded twice, and what the guest leaves alone is never encoded again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from logllm.errors import PluginTrap
from logllm.filters.instance import Filtered, RecordFailed
from logllm.filters.records import fitting, is_map, join_entries, object_of, pairs_of, raw_entries

__all__ = ["Made", "as_object", "as_packed", "as_text"]

_TEXT = msgspec.json.Encoder()


class Made:
    """What becomes of a block, record by record."""

    def __init__(self, block: bytes, count: int) -> None:
        self._block = block
        self._count = count
        self.pairs = pairs_of(block, count)
        self._entries = raw_entries(block, count)
        self._kept: list[Any] = []
        self._places: list[int] = []
        self._changed = False

    def leave(self, index: int) -> None:
        """An entry stays as it was."""
        self._kept.append(self._entries[index])
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
        try:
            packed = join_entries(self._kept)
        except (OverflowError, ValueError):
            packed = self._one_by_one(broken)
        return Filtered(packed, len(self._kept), index - len(self._kept))

    def _one_by_one(self, broken: bool) -> bytes:
        """Among them is an integer that must become a float, or a record too deep to pack."""
        done: list[bytes] = []
        for one, place in zip(self._kept, self._places, strict=True):
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


def as_text(record: dict[str, Any] | None, raw: msgspec.Raw) -> bytes:
    """A record as JSON; b"" for what is no map. Raises PluginTrap: it is one, but too deep."""
    try:
        if record is not None:
            return _TEXT.encode(record)
    except RecursionError:
        pass
    if is_map(bytes(raw)):
        raise PluginTrap("bad_record", "the record is nested too deep, or holds what has no form in JSON")
    return b""


def as_object(answer: bytes) -> dict[str, Any]:
    """An answer in JSON. Raises PluginTrap: it is no object."""
    try:
        return object_of(answer)
    except ValueError as error:
        begin = answer[:60].decode("utf-8", "replace")
        raise PluginTrap("bad_result", f"its answer is no JSON object: {error}: {begin!r}") from error
