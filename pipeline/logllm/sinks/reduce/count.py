"""The field that says how many records one stands for: one pair more in a record's map, every other byte as it came."""

from __future__ import annotations

from logllm.sinks.json_value import end_at, head_at

__all__ = ["Counter", "tail_at"]

_MAP16, _MAP32 = 0xDE, 0xDF
_FIX_MAP = range(0x80, 0x90)


class Counter:
    """Adds the field to entries, `[time, record]` or `[[time, metadata], record]`.

    Args:
        field: Its name; "": entries stay as they are.

    >>> Counter("n").counted(b"\\x92\\x01\\x81\\xa1k\\x02", 300)
    b'\\x92\\x01\\x82\\xa1k\\x02\\xa1n\\xcd\\x01,'
    """

    def __init__(self, field: str) -> None:
        name = field.encode("utf-8", "replace")
        head = bytes((0xA0 | len(name),)) if len(name) < 32 else b"\xd9" + bytes((len(name),))
        self.mark = head + name if name else b""
        """The field's name as it stands in a block, for those that have the field already."""

    def counted(self, entry: bytes, count: int) -> bytes:
        """The entry with the field behind its others. Raises ValueError: it is no entry, or its map is full."""
        if not self.mark:
            return entry
        at = record_at(entry)
        return entry[:at] + _one_more(entry, at) + self.mark + _unsigned(count)


def record_at(entry: bytes) -> int:
    """Where the record of an entry begins. Raises ValueError: it is no entry."""
    # EventTime, alone or with an empty map of metadata: what Fluent Bit sends.
    if entry.startswith(b"\x92\xd7"):
        return 11
    if entry.startswith(b"\x92\x92\xd7") and entry[12:13] == b"\x80":
        return 13
    kind, at, items = head_at(entry, 0)
    if (kind, items) != ("array", 2):
        raise ValueError(f"entry: {kind} of {items}, expected an array of two")
    return end_at(entry, at)


def tail_at(entry: bytes) -> int:
    """Where an entry's time ends; what follows is its metadata and its record. Raises ValueError: it is no entry."""
    kind, at, items = head_at(entry, 0)
    if (kind, items) != ("array", 2):
        raise ValueError(f"entry: {kind} of {items}, expected an array of two")
    kind, inner, items = head_at(entry, at)
    return end_at(entry, inner if (kind, items) == ("array", 2) else at)


def _one_more(entry: bytes, at: int) -> bytes:
    """A map from its head on, with a head for one pair more."""
    kind, body, pairs = head_at(entry, at)
    if kind != "map" or pairs == 0xFFFF_FFFF:
        raise ValueError(f"entry: {kind} of {pairs}, expected a map with room")
    pairs += 1
    if pairs < 16 and entry[at] in _FIX_MAP:
        head = bytes((0x80 | pairs,))
    elif pairs <= 0xFFFF and entry[at] != _MAP32:
        head = bytes((_MAP16,)) + pairs.to_bytes(2, "big")
    else:
        head = bytes((_MAP32,)) + pairs.to_bytes(4, "big")
    return head + entry[body:]


def _unsigned(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    for first, width in ((0xCC, 1), (0xCD, 2), (0xCE, 4)):
        if value < 1 << 8 * width:
            return bytes((first,)) + value.to_bytes(width, "big")
    return b"\xcf" + value.to_bytes(8, "big")
