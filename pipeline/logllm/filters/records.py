"""Entries taken apart and put together, and records as JSON and back, as guests of three ABIs want them.

An entry is `[time, record]` or `[[time, metadata], record]`; a record is a msgpack map. A time is an integer, a float
or Fluent's EventTime, an extension of type 0 with seconds and nanoseconds.
"""

from __future__ import annotations

import json
import math
import re
from struct import Struct as Layout
from typing import TYPE_CHECKING, Any, NoReturn

import msgpack  # type: ignore[import-untyped]
import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "entry",
    "fitting",
    "from_json",
    "is_map",
    "is_marker",
    "join_entries",
    "maps_of",
    "object_of",
    "pairs_of",
    "raw_entries",
    "split_entry",
    "time_of",
    "to_json",
    "value_of",
]

# What JSON has a form for, some levels deep. A record that holds anything else (bytes, extensions, keys that are no
# strings, broken UTF-8, deeper levels) is refused by msgspec and takes the slow way.
_Plain = None | bool | int | float | str
_Value = _Plain
for _ in range(5):
    _Value = _Plain | list[_Value] | dict[str, _Value]  # type: ignore[misc]

_RAWS = msgspec.msgpack.Decoder(list[msgspec.Raw])
_RAW_PAIRS = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, msgspec.Raw]])
_RAW_PAIR = msgspec.msgpack.Decoder(tuple[msgspec.Raw, msgspec.Raw])
_MAPS: msgspec.msgpack.Decoder[list[tuple[msgspec.Raw, dict[str, Any]]]] = msgspec.msgpack.Decoder(
    list[tuple[msgspec.Raw, dict[str, _Value]]]
)
_MAP: msgspec.msgpack.Decoder[dict[str, Any]] = msgspec.msgpack.Decoder(dict[str, _Value])
_PACK = msgspec.msgpack.Encoder()
_FROM_TEXT = msgspec.json.Decoder()
_TO_TEXT = msgspec.json.Encoder()
_U32_PAIR = Layout(">II")
_EVENT_TIME = b"\xd7\x00"
_MARKER = re.compile(rb"(?:\x92|\xdc\x00\x02|\xdd\x00\x00\x00\x02)?(?:\xd7|\xc7\x08)\x00\xff{3}[\xfe\xff]\x00{4}")
_BROKEN = (ValueError, RecursionError, OverflowError)  # msgspec's DecodeError and UnicodeDecodeError are ValueErrors


def split_entry(entry: bytes) -> tuple[bytes, bytes]:
    """An entry's head (all before the record) and its record.

    >>> split_entry(b"\\x92\\x92\\x07\\x80\\x81\\xa1a\\x01")
    (b'\\x92\\x92\\x07\\x80', b'\\x81\\xa1a\\x01')

    Raises:
        ValueError: It is no array of two.
    """
    try:
        size = len(memoryview(_RAW_PAIR.decode(entry)[1]))
    except _BROKEN as error:
        raise ValueError(f"no entry: {error}") from error
    return entry[:-size], entry[-size:]


def time_of(head: bytes) -> tuple[int, int]:
    """Seconds and nanoseconds of the time in an entry's head, as they are written there; (0, 0) for what is no time.

    >>> time_of(b"\\x92\\xd7\\x00\\x00\\x00\\x00\\x09\\x00\\x00\\x00\\x01")
    (9, 1)
    """
    for array in (b"\x92", b"\xdc\x00\x02", b"\xdd\x00\x00\x00\x02"):
        if head.startswith(array):
            return value_of(head[len(array) :])
    return 0, 0


def value_of(time: bytes) -> tuple[int, int]:
    """The same of what stands in a head behind its array: a time, or an array of a time and a metadata map."""
    if time[:3] == b"\x92\xd7\x00" and len(time) >= 11:
        seconds, nanoseconds = _U32_PAIR.unpack_from(time, 3)
        return seconds, nanoseconds
    for array in (b"\x92", b"\xdc\x00\x02", b"\xdd\x00\x00\x00\x02"):
        if time.startswith(array):
            time = time[len(array) :]
            break
    if time[:2] == _EVENT_TIME and len(time) >= 10:
        seconds, nanoseconds = _U32_PAIR.unpack_from(time, 2)
        return seconds, nanoseconds
    if time[:3] == b"\xc7\x08\x00" and len(time) >= 11:
        seconds, nanoseconds = _U32_PAIR.unpack_from(time, 3)
        return seconds, nanoseconds
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(time), 16))
    unpacker.feed(time)
    try:
        value = unpacker.unpack()
    except (msgpack.UnpackException, ValueError):
        return 0, 0
    if isinstance(value, float) and math.isfinite(value):
        whole = math.floor(value)
        return whole, min(int((value - whole) * 1e9), 999_999_999)
    return (value, 0) if type(value) is int else (0, 0)


def is_marker(time: bytes) -> bool:
    """Whether what stands in a head behind its array is a group marker's: EventTimes of second -1 and -2.

    Nothing else is one, not the integer -1 either: what the rest of the pipeline takes for a record is filtered.
    """
    return _MARKER.match(time) is not None


def is_map(value: bytes | memoryview) -> bool:
    """Whether a msgpack value is a map, by its first byte."""
    return value[0] & 0xF0 == 0x80 or value[0] in (0xDE, 0xDF)


def entry(sec: int, nsec: int, record: bytes, metadata: bytes = b"\x80") -> bytes:
    """`[[EventTime, metadata], record]`. Seconds are taken modulo 2**32.

    >>> entry(9, 1, b"\\x80").hex(" ")
    '92 92 d7 00 00 00 00 09 00 00 00 01 80 80'
    """
    time = _U32_PAIR.pack(sec & 0xFFFF_FFFF, nsec & 0xFFFF_FFFF)
    return b"\x92\x92" + _EVENT_TIME + time + metadata + record


def pairs_of(block: bytes, count: int) -> list[tuple[msgspec.Raw, msgspec.Raw]]:
    """Each entry's time (with its metadata, if it has any) and record, as they are.

    Raises:
        ValueError: The block does not hold exactly `count` arrays of two.
    """
    try:
        return _RAW_PAIRS.decode(b"\xdd" + count.to_bytes(4, "big") + block)
    except _BROKEN as error:
        raise ValueError(f"no {count} entries: {error}") from error


def raw_entries(block: bytes, count: int) -> list[msgspec.Raw]:
    """Each entry as it is, a view of the block. Raises ValueError: the block does not hold exactly `count` objects."""
    try:
        return _RAWS.decode(b"\xdd" + count.to_bytes(4, "big") + block)
    except _BROKEN as error:
        raise ValueError(f"no {count} entries: {error}") from error


def maps_of(block: bytes, count: int) -> list[dict[str, Any] | None]:
    """Each entry's record as `to_json` means it; None for one that is no map, or is nested too deep.

    Raises:
        ValueError: The block does not hold exactly `count` arrays of two.
    """
    try:
        return [record for _, record in _MAPS.decode(b"\xdd" + count.to_bytes(4, "big") + block)]
    except _BROKEN:
        return [_map_or_none(bytes(record)) for _, record in pairs_of(block, count)]


def join_entries(entries: Sequence[object]) -> bytes:
    """A block of entries, each a `Raw` that is a whole one, or a pair of its time as `Raw` and its record.

    Raises:
        OverflowError: An integer in a record fits no msgpack type; `fitting` makes it a float.
        ValueError: A record is nested too deep, or holds what is no Unicode text.
    """
    try:
        packed = _PACK.encode(entries)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    count = len(entries)
    return packed[1 if count < 16 else 3 if count < 65536 else 5 :]


def _map_or_none(record: bytes) -> dict[str, Any] | None:
    try:
        return _map(record)
    except ValueError:
        return None


def _map(record: bytes) -> dict[str, Any]:
    try:
        return _MAP.decode(record)
    except _BROKEN:
        pass
    try:
        found = msgpack.unpackb(
            record,
            unicode_errors="replace",
            strict_map_key=False,
            object_pairs_hook=_pairs,
            list_hook=_items,
            ext_hook=lambda _, data: data.hex(),
        )
    except (msgpack.UnpackException, *_BROKEN) as error:
        raise ValueError(f"no msgpack map: {error}") from error
    if type(found) is not dict:
        raise ValueError(f"a record is a map, not {type(found).__name__}")
    return found


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    return {key if isinstance(key, str) else _key(_shown(key)): _shown(value) for key, value in pairs}


def _items(items: list[Any]) -> list[Any]:
    return [_shown(item) for item in items]


def _shown(value: Any) -> Any:
    """What JSON has no form for, in the form we give it; values inside have been here already."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, msgpack.Timestamp):
        return value.to_bytes().hex()
    return value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else _TO_TEXT.encode(key).decode()


def to_json(record: bytes) -> bytes:
    """A msgpack map as compact JSON in UTF-8.

    Broken UTF-8 becomes U+FFFD, bin text, an extension the hex of its data, NaN and infinity null, a key that is no
    string its JSON text; of keys that are equal the last one counts.

    >>> to_json(b"\\x82\\xa1a\\xc4\\x02hi\\x07\\xc0")
    b'{"a":"hi","7":null}'

    Raises:
        ValueError: It is no map, or nested more than some hundreds deep.
    """
    try:
        return _TO_TEXT.encode(_map(record))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def from_json(text: bytes | bytearray | memoryview) -> bytes:
    """A JSON object as a msgpack map.

    Integers stay integers, those beyond 64 bits become floats; floats stay floats; broken UTF-8 and halves of
    surrogate pairs become U+FFFD.

    >>> from_json(b'{"n":120,"x":120.0}').hex(" ")
    '82 a1 6e 78 a1 78 cb 40 5e 00 00 00 00 00 00'

    Raises:
        ValueError: It is no JSON object, or nested more than some hundreds deep.
    """
    found = object_of(text)
    try:
        try:
            return _PACK.encode(found)
        except OverflowError:
            return _PACK.encode(fitting(found))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def object_of(text: bytes | bytearray | memoryview, *, controls: bool = False) -> dict[str, Any]:
    """A JSON object as Python's, its integers perhaps too large for msgpack. Raises ValueError as `from_json` does.

    Args:
        controls: Control characters may stand in its strings as they are.
    """
    try:
        found = _FROM_TEXT.decode(text)
    except _BROKEN:
        found = _leniently(bytes(text), controls=controls)
    if type(found) is not dict:
        raise ValueError(f"expected a JSON object, got {_named(found)}")
    return found


def _leniently(text: bytes, *, controls: bool) -> Any:
    """What msgspec takes for broken but is text with broken characters, or a number out of range."""
    try:
        found = json.loads(text.decode("utf-8", "replace"), parse_constant=_refuse, strict=not controls)
        return _clean(found)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def fitting(value: Any) -> Any:
    """A JSON value with integers beyond 64 bits made floats. Raises RecursionError: it is nested too deep."""
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else _float(value)
    if isinstance(value, dict):
        return {key: fitting(item) for key, item in value.items()}
    return [fitting(item) for item in value] if isinstance(value, list) else value


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _named(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
