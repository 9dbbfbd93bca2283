"""The JSON of any MessagePack value, read byte by byte: nothing is built, so nothing is lost or too deep.

What is written is told in `ndjson.py`.
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from math import isfinite, isnan

__all__ = ["end_at", "head_at", "number_at", "quoted", "signed", "value_at"]

_SIZED = {
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4), 0xC7: ("ext", 1), 0xC8: ("ext", 2), 0xC9: ("ext", 4),
    0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4), 0xDC: ("array", 2), 0xDD: ("array", 4),
    0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip
_FIXED_EXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_NUMBERS = {
    first: struct.Struct(">" + letter) for first, letter in zip((*range(0xCA, 0xD4),), "fdBHIQbhiq", strict=True)
}
_CONSTANTS = {0xC0: "null", 0xC2: "false", 0xC3: "true"}

quoted = json.JSONEncoder(ensure_ascii=False).encode
"""The JSON of a str."""


def head_at(block: bytes, at: int) -> tuple[str, int, int]:
    """The kind of the value at a place, where its body begins, and how many bytes (or items, or pairs) that has.

    The body of an extension begins with its type; a number of one byte is its own body.

    Raises:
        ValueError: None is there, or not the whole of it, as far as its own bytes go.
    """
    if at >= len(block):
        raise ValueError(f"block: ends at byte {at}, expected a value")
    first = block[at]
    body, size = at + 1, 0
    if first < 0x80 or first >= 0xE0:
        kind, body, size = "number", at, 1
    elif first < 0xA0:
        kind, size = "map" if first < 0x90 else "array", first & 15
    elif first < 0xC0:
        kind, size = "str", first & 31
    elif first in _SIZED:
        kind, width = _SIZED[first]
        body += width
        if body > len(block):
            raise ValueError(f"block: cut off in the {kind} at byte {at}")
        size = int.from_bytes(block[at + 1 : body], "big") + (kind == "ext")
    elif first in _FIXED_EXT:
        kind, size = "ext", _FIXED_EXT[first] + 1
    elif first in _NUMBERS:
        kind, size = "number", _NUMBERS[first].size
    elif first in _CONSTANTS:
        kind = "constant"
    else:
        raise ValueError(f"block: the byte c1 at byte {at}, which MessagePack never uses")
    # Items take a byte at least, so nothing is begun that cannot end.
    if size > len(block) - body:
        raise ValueError(f"block: cut off in the {kind} at byte {at}")
    return kind, body, size


def end_at(block: bytes, at: int) -> int:
    """Where the value at a place ends, however deep it nests. Raises ValueError."""
    todo = 1
    while todo:
        kind, at, size = head_at(block, at)
        todo -= 1
        if kind in ("array", "map"):
            todo += size if kind == "array" else 2 * size
        else:
            at += size
    return at


def number_at(block: bytes, at: int) -> int | float:
    """The number at a place, where `head_at` has found one."""
    first = block[at]
    if first in _NUMBERS:
        value: int | float = _NUMBERS[first].unpack_from(block, at + 1)[0]
        return value
    return first if first < 0x80 else first - 0x100


def value_at(block: bytes, at: int, *, in_key: bool = False) -> tuple[str, int]:
    r"""The JSON of the value at a place, and where it ends; 5 us and more.

    Args:
        block, at: Where it is.
        in_key: It is part of a map's key, so that keys which are no texts are not written within it.

    Raises:
        ValueError: None is there, or not the whole of it.

    >>> value_at(b"\x82\xa1a\x92\x01\xc0\x02\xc4\x01x", 0)
    ('{"a":[1,null],"2":"eA=="}', 10)
    """
    out: list[str] = []
    outer: list[tuple[int, str]] = []
    todo, closing = 1, ""
    while True:
        if closing == "}" and todo % 2 == 0:
            key, at = _key(block, at, in_key=in_key)
            out += (key, ":")
            todo -= 1
        kind, body, size = head_at(block, at)
        if kind in ("array", "map"):
            outer.append((todo, closing))
            at, todo, closing = body, size, "]"
            if kind == "map":
                todo, closing = 2 * size, "}"
            out.append("[" if kind == "array" else "{")
        else:
            out.append(_scalar(block, at, kind, body, size))
            at = body + size
            todo -= 1
        while todo == 0:
            if not outer:
                return "".join(out), at
            out.append(closing)
            todo, closing = outer.pop()
            todo -= 1
        if kind not in ("array", "map") or size == 0:
            out.append(",")


def _scalar(block: bytes, at: int, kind: str, body: int, size: int) -> str:
    data = block[body : body + size]
    if kind == "str":
        return quoted(data.decode("utf-8", "replace"))
    if kind == "number":
        value = number_at(block, at)
        if isinstance(value, int) or isfinite(value):
            return repr(value)
        return '"NaN"' if isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    if kind == "bin":
        return f'"{b64encode(data).decode()}"'
    if kind == "ext":
        return f'{{"ext_type":{signed(data[0])},"data":"{b64encode(data[1:]).decode()}"}}'
    return _CONSTANTS[block[at]]


def signed(byte: int) -> int:
    """A byte as a number from -128 on, as types of extensions are meant."""
    return byte - 0x100 if byte >= 0x80 else byte


def _key(block: bytes, at: int, *, in_key: bool) -> tuple[str, int]:
    kind, body, size = head_at(block, at)
    if kind in ("str", "bin"):
        return quoted(block[body : body + size].decode("utf-8", "replace")), body + size
    if kind in ("number", "constant"):
        return f'"{_scalar(block, at, kind, body, size)}"'.replace('""', '"'), body + size
    if in_key:
        end = end_at(block, at)
        return f'"{b64encode(block[at:end]).decode()}"', end
    text, end = value_at(block, at, in_key=True)
    return quoted(text), end
