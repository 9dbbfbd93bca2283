"""Protobuf's bytes for what every log record has: MessagePack values as OpenTelemetry's `AnyValue`.

Written by hand since the published classes take an object for each value; `tests/sinks/test_otlp_values.py` reads all
of it with them. Values become what OpenTelemetry's "Mapping arbitrary data to AnyValue" says: integers beyond 64 bits
with a sign are texts, texts that are no UTF-8 are bytes, nil is a value that is not set. An extension is the map of
its `ext_type` and `data`. What nests deeper than DEEPEST is text, its JSON: readers of protobuf stop at 100 messages
inside each other, and a map in a map takes three.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from logllm.sinks.entries import fields_of
from logllm.sinks.json_value import end_at, head_at, number_at, signed, value_at

__all__ = ["DEEPEST", "any_value", "delimited", "key_value", "text_value", "varint"]

DEEPEST = 16
"""So many maps and lists may be inside each other."""

_DOUBLE = Struct("<d")
_ALL_64 = (1 << 64) - 1
# Of AnyValue.
_STRING, _BOOL, _INT, _DOUBLE_VALUE = b"\x0a", b"\x10", b"\x18", b"\x21"
_ARRAY, _KVLIST, _BYTES = b"\x2a", b"\x32", b"\x3a"
# Of KeyValue; and of the items in ArrayValue and KeyValueList.
_KEY, _VALUE = b"\x0a", b"\x12"
_ITEM = b"\x0a"


@lru_cache(1 << 14)
def varint(number: int) -> bytes:
    r"""A number of 0 to 64 bits, seven bits a byte.

    >>> varint(1), varint(300)
    (b'\x01', b'\xac\x02')
    """
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def delimited(tag: bytes, data: bytes) -> bytes:
    """A field of texts, bytes or a message: its tag (number and wire type 2), length, and what it holds."""
    return tag + varint(len(data)) + data


def text_value(text: bytes) -> bytes:
    """An AnyValue of a text in UTF-8."""
    return _STRING + varint(len(text)) + text


def key_value(key: bytes, value: bytes) -> bytes:
    """A KeyValue of a name in UTF-8 and an AnyValue."""
    return _KEY + varint(len(key)) + key + _VALUE + varint(len(value)) + value


def any_value(value: bytes, deepest: int = DEEPEST) -> bytes:
    r"""The AnyValue of a MessagePack value.

    Args:
        value: The whole of it and no more.
        deepest: How many maps and lists may still be inside each other.

    >>> any_value(b"\xa2hi"), any_value(b"\x05"), any_value(b"\xc0")
    (b'\n\x02hi', b'\x18\x05', b'')
    """
    kind, body, size = head_at(value, 0)
    data = value[body:]
    if kind == "str":
        try:
            data.decode()
        except UnicodeDecodeError:
            return delimited(_BYTES, data)
        return text_value(data)
    if kind == "number":
        return _number(number_at(value, 0))
    if kind == "constant":
        return b"" if value[0] == 0xC0 else _BOOL + (b"\1" if value[0] == 0xC3 else b"\0")
    if kind == "bin":
        return delimited(_BYTES, data)
    if kind == "ext":
        of_type = key_value(b"ext_type", _number(signed(data[0])))
        return delimited(_KVLIST, _items([of_type, key_value(b"data", delimited(_BYTES, data[1:]))]))
    if not deepest:
        return text_value(value_at(value, 0)[0].encode())
    if kind == "array":
        return delimited(_ARRAY, _items([any_value(item, deepest - 1) for item in _array(value, body, size)]))
    pairs = fields_of(value).items()
    return delimited(_KVLIST, _items([key_value(name.encode(), any_value(item, deepest - 1)) for name, item in pairs]))


def _number(value: int | float) -> bytes:
    if isinstance(value, float):
        return _DOUBLE_VALUE + _DOUBLE.pack(value)
    if not -(1 << 63) <= value < 1 << 63:
        return text_value(str(value).encode())
    return _INT + varint(value & _ALL_64)


def _items(items: list[bytes]) -> bytes:
    return b"".join([delimited(_ITEM, item) for item in items])


def _array(value: bytes, at: int, count: int) -> list[bytes]:
    items = []
    for _ in range(count):
        end = end_at(value, at)
        items.append(value[at:end])
        at = end
    return items
