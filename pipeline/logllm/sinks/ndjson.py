"""Blocks of MessagePack entries as lines of JSON, for files, standard output and whoever reads those.

A line is `{"tag":"app.web","time":"1700000000.123456789","record":{...}}`, without blanks, in this order. `metadata`
comes behind it where an entry has some (nil and an empty map are none), and `odd_time` where its time is none.

* `time` is seconds with nine digits: of an EventTime, a MessagePack timestamp (type -1), an integer (also negative), or
  a finite float, rounded to the nearest nanosecond. A surplus of nanoseconds is carried. Of anything else it is
  "0.000000000", and `odd_time` is that value, as values are written; so is a head that is an array of other than two.
* Texts are UTF-8; each stretch that is not becomes U+FFFD, as Python's "replace" does it. Binaries are base64, always,
  extensions `{"ext_type":5,"data":"base64"}`. Floats are written as Python writes them, those of 32 bits as the double
  they are equal to; NaN and the infinities as the texts "NaN", "Infinity" and "-Infinity".
* Keys of maps are texts: of a binary what it says in UTF-8, of any other value its JSON. A key may come twice and stays
  twice. A list, map or extension in such a key, itself a key, is base64 of its MessagePack, lest quotes quote quotes.

No line holds a line end but its last byte. It nests as deeply as its entry does: some 1000 levels can come in, which
not every reader of JSON takes.
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]

from logllm.sinks.json_value import head_at, number_at, quoted, signed, value_at
from logllm.sinks.transcode import FEWEST_BYTES, LONGEST_HEAD, transcoder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["in_python", "line_at", "line_head", "ndjson"]

_BILLION = 1_000_000_000
_NO_TIME = "0.000000000"
_EVENT_TIME = struct.Struct(">II")
_MAPS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))


def ndjson(tag: str, block: bytes, count: int) -> bytes:
    r"""The entries of a block as lines of JSON, one each, in their order.

    Args:
        tag: Fluent's tag.
        block: Concatenated entries, `[time, record]` or `[[time, metadata], record]`, whose records are maps.
        count: How many there are.

    Raises:
        ValueError: The block is something else.

    >>> ndjson("app.web", b"\x92\x92\xd7\0\x65\x53\xf1\0\0\0\0\7\x80\x81\xa3log\xa2hi", 1)
    b'{"tag":"app.web","time":"1700000000.000000007","record":{"log":"hi"}}\n'
    """
    head = line_head(tag)
    if len(block) >= FEWEST_BYTES and len(head) <= LONGEST_HEAD and (found := transcoder()) is not None:
        return found.lines(head, block, count, partial(line_at, head))
    return in_python(head, block, count)


def line_head(tag: str) -> bytes:
    """What each line of a tag begins with, up to the time."""
    # A tag that came over the wire holds no surrogates; one from elsewhere must not stop its records.
    text = tag.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return f'{{"tag":{quoted(text)},"time":"'.encode()


def in_python(head: bytes, block: bytes, count: int) -> bytes:
    """What `ndjson` gives, without the transcoder: 3 us an entry with one short field.

    Args:
        head: `line_head` of the tag.
        block, count: As for `ndjson`, which also says what is raised.
    """
    lines: list[bytes] = []
    at = 0
    for end in _ends(block, count):
        lines.append(_line_quickly(head, block[at:end]) or line_at(head, block, at)[0])
        at = end
    while len(lines) < count:
        line, at = line_at(head, block, at)
        lines.append(line)
    if at != len(block):
        raise ValueError(f"block: {len(block) - at} bytes behind entry {count}, expected none")
    return b"".join(lines)


def _ends(block: bytes, count: int) -> Iterator[int]:
    """Where entries end, up to the first that msgpack does not take."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(block) + 1)
    unpacker.feed(block)
    try:
        for _ in range(count):
            unpacker.skip()
            yield unpacker.tell()
    except (msgpack.OutOfData, msgpack.FormatError, msgpack.StackError):
        return


def _base64_of(value: object) -> str:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _distinct(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key that comes twice")
    return made


def _extension(kind: int, data: bytes) -> dict[str, object]:
    return {"ext_type": kind, "data": b64encode(data).decode()}


_dumps = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), default=_base64_of
).encode


def _line_quickly(head: bytes, entry: bytes) -> bytes | None:
    """The line of an entry that Python's libraries write as we do; None for others."""
    if entry.startswith(b"\x92\x92\xd7\0") and entry[12:13] == b"\x80":
        time_at, record_at = 4, 13
    elif entry.startswith(b"\x92\xd7\0"):
        time_at, record_at = 3, 11
    else:
        return None
    # An extension in its place would become a dict too.
    if entry[record_at] not in _MAPS:
        return None
    seconds, nanoseconds = _EVENT_TIME.unpack_from(entry, time_at)
    try:
        record = msgpack.unpackb(entry[record_at:], object_pairs_hook=_distinct, ext_hook=_extension)
        if nanoseconds >= _BILLION:
            return None
        return head + f'{seconds}.{nanoseconds:09d}","record":{_dumps(record)}}}\n'.encode()
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def line_at(head: bytes, block: bytes, at: int) -> tuple[bytes, int]:
    """The line of any entry, byte by byte, and where the entry ends.

    Args:
        head: `line_head` of the tag.
        block, at: Where the entry is. How deeply it nests does not matter.

    Raises:
        ValueError: None is there.
    """
    start = at
    at, two = _opened(block, at, "array")
    if two != 2:
        raise ValueError(f"block: array of {two} at byte {start}, expected an entry, an array of two")
    metadata = "null"
    kind, body, items = head_at(block, at)
    if kind == "array" and items == 2:
        time, odd, at = _time(block, body)
        metadata, at = value_at(block, at)
    else:
        time, odd, at = _time(block, at)
    _opened(block, at, "map")
    record, at = value_at(block, at)
    more = f',"metadata":{metadata}' if metadata not in ("null", "{}") else ""
    if odd is not None:
        more += f',"odd_time":{odd}'
    return head + f'{time}","record":{record}{more}}}\n'.encode(), at


def _opened(block: bytes, at: int, wanted: str) -> tuple[int, int]:
    kind, body, items = head_at(block, at)
    if kind != wanted:
        raise ValueError(f"block: {kind} at byte {at}, expected an entry's {wanted}")
    return body, items


def _time(block: bytes, at: int) -> tuple[str, str | None, int]:
    """The time at a place; the JSON of what is there instead, if it is none; where it ends."""
    kind, body, size = head_at(block, at)
    data = block[body : body + size]
    if kind == "number":
        value = number_at(block, at)
        if isinstance(value, int):
            return f"{value}.000000000", None, body + size
        if isfinite(value):
            return f"{value:.9f}", None, body + size
    elif kind == "ext" and (total := _time_of_extension(data)) is not None:
        seconds, nanoseconds = divmod(abs(total), _BILLION)
        return f"{'-' if total < 0 else ''}{seconds}.{nanoseconds:09d}", None, body + size
    odd, end = value_at(block, at)
    return _NO_TIME, odd, end


def _time_of_extension(data: bytes) -> int | None:
    """Nanoseconds; None where it is no time. Timestamps as in MessagePack's specification, the section of that name."""
    kind, rest = signed(data[0]), data[1:]
    if (kind, len(rest)) == (0, 8):
        seconds, nanoseconds = _EVENT_TIME.unpack(rest)
    elif (kind, len(rest)) == (-1, 4):
        seconds, nanoseconds = int.from_bytes(rest, "big"), 0
    elif (kind, len(rest)) == (-1, 8):
        both = int.from_bytes(rest, "big")
        seconds, nanoseconds = both & (1 << 34) - 1, both >> 34
    elif (kind, len(rest)) == (-1, 12):
        seconds, nanoseconds = int.from_bytes(rest[4:], "big", signed=True), int.from_bytes(rest[:4], "big")
    else:
        return None
    return int(seconds) * _BILLION + int(nanoseconds)
