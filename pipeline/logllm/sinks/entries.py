"""The entries of a block, opened as far as sinks need it that give fields places of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from struct import Struct

import msgspec

from logllm.sinks.json_value import end_at, head_at, number_at, signed, value_at

__all__ = ["Fields", "end_at", "fields_of", "opened", "places", "text_of", "time_and_metadata"]

Fields = Mapping[str, bytes]
"""A record's fields: names, and values as MessagePack. Of a name that comes twice the last one counts."""

_BILLION = 1_000_000_000
_LARGEST_NS = (1 << 63) - 1
_EVENT_TIME = Struct(">II")
# `Raw` is no `bytes` and no copy, but goes wherever a buffer does.
_BLOCK = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, dict[str, msgspec.Raw]]])
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def opened(block: bytes, count: int) -> Iterator[tuple[bytes, Fields]]:
    """Each entry's head (its time, or `[time, metadata]`, as MessagePack) and its fields, in order.

    Costs 0.5 us an entry of one field, and ten times that for entries whose names are no texts of UTF-8.

    Raises:
        ValueError: The block is something else.
    """
    try:
        yield from _BLOCK.decode(b"\xdd" + count.to_bytes(4, "big") + block)
    except _UNREADABLE:
        for start, end in places(block, count):
            head = head_at(block, start)[1]
            record = end_at(block, head)
            yield block[head:record], fields_of(block[record:end])


def places(block: bytes, count: int) -> Iterator[tuple[int, int]]:
    """Where each entry begins and ends. Raises ValueError."""
    at = 0
    for _ in range(count):
        kind, _, items = head_at(block, at)
        if (kind, items) != ("array", 2):
            raise ValueError(f"block: {kind} at byte {at}, expected an entry, an array of two")
        end = end_at(block, at)
        yield at, end
        at = end


def fields_of(value: bytes) -> dict[str, bytes]:
    r"""A map's fields, whatever its keys are: those that are no texts are named by their JSON.

    >>> fields_of(b"\x82\x05\xc3\xa1a\xc0")
    {'5': b'\xc3', 'a': b'\xc0'}

    Raises:
        ValueError: It is no map.
    """
    kind, at, pairs = head_at(value, 0)
    if kind != "map":
        raise ValueError(f"a {kind}, expected a map")
    fields = {}
    for _ in range(pairs):
        kind, body, size = head_at(value, at)
        if kind in ("str", "bin"):
            name, at = value[body : body + size].decode("utf-8", "replace"), body + size
        else:
            name, at = value_at(value, at)
        end = end_at(value, at)
        fields[name.strip('"') if kind == "number" else name] = value[at:end]
        at = end
    return fields


def time_and_metadata(head: bytes) -> tuple[int, bytes]:
    """An entry's time in nanoseconds, 0 where it has none that lies in 1970 to 2262; its metadata, b"" for none."""
    if len(head) == 12 and head[:3] == b"\x92\xd7\0" and head[11] == 0x80:
        seconds, nanoseconds = _EVENT_TIME.unpack_from(head, 3)
        return seconds * _BILLION + nanoseconds, b""
    kind, body, items = head_at(head, 0)
    if kind != "array" or items != 2:
        return _time(head), b""
    end = end_at(head, body)
    metadata = head[end:]
    is_some = head_at(metadata, 0)[0] == "map" and head_at(metadata, 0)[2] > 0
    return _time(head[body:end]), metadata if is_some else b""


def _time(value: bytes) -> int:
    kind, body, size = head_at(value, 0)
    time_ns = 0
    if kind == "number":
        number = number_at(value, 0)
        if isinstance(number, int):
            time_ns = number * _BILLION
        elif isfinite(number) and abs(number) < _BILLION * 16:
            time_ns = round(number * _BILLION)
    elif kind == "ext":
        time_ns = _of_extension(signed(value[body]), value[body + 1 : body + size])
    return time_ns if 0 < time_ns <= _LARGEST_NS else 0


def _of_extension(kind: int, data: bytes) -> int:
    """Fluent's EventTime, and MessagePack's timestamps as its specification has them."""
    if (kind, len(data)) == (0, 8):
        seconds, nanoseconds = _EVENT_TIME.unpack(data)
    elif (kind, len(data)) == (-1, 4):
        seconds, nanoseconds = int.from_bytes(data, "big"), 0
    elif (kind, len(data)) == (-1, 8):
        both = int.from_bytes(data, "big")
        seconds, nanoseconds = both & (1 << 34) - 1, both >> 34
    elif (kind, len(data)) == (-1, 12):
        seconds, nanoseconds = int.from_bytes(data[4:], "big", signed=True), int.from_bytes(data[:4], "big")
    else:
        return 0
    return int(seconds) * _BILLION + int(nanoseconds)


def text_of(value: bytes) -> bytes | None:
    r"""A field's value as text in UTF-8, each stretch of it that is none as U+FFFD; None for a map, a list, nil.

    >>> text_of(b"\xa2hi"), text_of(b"\xa1\xe9"), text_of(b"\x07"), text_of(b"\xc3"), text_of(b"\x80")
    (b'hi', b'\xef\xbf\xbd', b'7', b'True', None)
    """
    first = value[0]
    if first == 0xD9:
        text = value[2:]
    elif 0xA0 <= first < 0xC0:
        text = value[1:]
    else:
        kind, body, _ = head_at(value, 0)
        if kind == "number":
            return str(number_at(value, 0)).encode()
        if first in (0xC2, 0xC3):
            return b"True" if first == 0xC3 else b"False"
        if kind not in ("str", "bin"):
            return None
        text = value[body:]
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("utf-8", "replace").encode()
    return text
