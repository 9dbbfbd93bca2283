"""What the plugin `parse` makes of a record, slowly, with `json` and `re`: its fields as packed keys and values."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgpack  # type: ignore[import-untyped]

from tests.sdk.conformance import text

__all__ = ["DEFAULTS", "Fields", "reference"]

Fields = list[tuple[bytes, bytes]]
DEFAULTS: dict[str, Any] = {
    "fields": ["log", "message"], "logfmt": True, "json": True, "access": True, "keep_original": False, "prefix": "",
}  # fmt: skip
MOST = 512
DEEPEST = 64
_SPACE = b" \t\r\n"
# Bytes from 128 become characters of their own that no escape is made of, whether they are UTF-8 or not.
_HIGH = 0x10FE00


class _Pairs(list[tuple[str, Any]]):
    """A JSON object, names that come twice included."""


class _No(ValueError):  # noqa: N818 - what a line is
    """It is none of these."""


def _decoded(data: bytes) -> str:
    return "".join(chr(one) if one < 128 else chr(_HIGH + one) for one in data)


def _encoded(string: str) -> bytes:
    return b"".join(
        bytes([ord(one) - _HIGH])
        if ord(one) >= _HIGH
        else "\ufffd".encode()
        if 0xD800 <= ord(one) < 0xE000
        else one.encode()
        for one in string
    )


def _string(data: bytes) -> bytes:
    return bytes(msgpack.packb(data.decode("utf-8", "surrogateescape"), unicode_errors="surrogateescape"))


def _double(written: str) -> float | str:
    made = float(written)
    return made if math.isfinite(made) else written


def _whole(written: str) -> int | float | str:
    if len(written) < 25 and -(1 << 63) <= int(written) < 1 << 64:
        return int(written)
    return _double(written)


def _refuse(_: str) -> Any:
    raise _No


def _packed(value: Any, depth: int = 0) -> bytes:
    if depth >= DEEPEST and isinstance(value, list):
        raise _No
    packer = msgpack.Packer()
    if isinstance(value, _Pairs):
        inner = b"".join(_string(_encoded(key)) + _packed(one, depth + 1) for key, one in value)
        return bytes(packer.pack_map_header(len(value))) + inner
    if isinstance(value, list):
        return bytes(packer.pack_array_header(len(value))) + b"".join(_packed(one, depth + 1) for one in value)
    return _string(_encoded(value)) if isinstance(value, str) else bytes(packer.pack(value))


def _json(line: bytes) -> dict[bytes, bytes]:
    if not (line.startswith(b"{") and line.endswith(b"}")):
        raise _No
    try:
        found = json.loads(
            _decoded(line), parse_int=_whole, parse_float=_double, parse_constant=_refuse, object_pairs_hook=_Pairs
        )
    except RecursionError as error:
        raise _No from error
    return {_encoded(key): _packed(value, 1) for key, value in found}


_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+(?:[eE][-+]?[0-9]+)?)?")
_PAIR = re.compile(
    rb'([A-Za-z_@][A-Za-z0-9_.@/-]{0,127})=(?:"((?:[^"\\]|\\.)*)"|([^ \t"\x00-\x1f]*))(?:[ \t]+|\Z)', re.DOTALL
)
_ESCAPE = re.compile(r'\\u([0-9a-fA-F]{4})|\\(["\\/bfnrt])')
_MEANT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _unescaped(quoted: bytes) -> bytes:
    def meant(found: re.Match[str]) -> str:
        return chr(int(found[1], 16)) if found[1] else _MEANT.get(found[2], found[2])

    made = _ESCAPE.sub(meant, _decoded(quoted))
    return _encoded(re.sub("[\ud800-\udbff][\udc00-\udfff]", _paired, made))


def _paired(found: re.Match[str]) -> str:
    return found[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _plain(written: bytes) -> bytes:
    if written in (b"true", b"false"):
        return bytes(msgpack.packb(written == b"true"))
    number = _NUMBER.fullmatch(written)
    value = None if number is None else _double(written.decode()) if number[1] else _whole(written.decode())
    if isinstance(value, float) and number is not None and not number[1]:
        value = None  # more digits than 64 bits have: an id, not an amount
    return _string(written) if value is None or isinstance(value, str) else bytes(msgpack.packb(value))


def _logfmt(line: bytes) -> dict[bytes, bytes]:
    at, pairs = 0, 0
    found: dict[bytes, bytes] = {}
    while at < len(line):
        pair = _PAIR.match(line, at)
        if pair is None:
            raise _No
        found[pair[1]] = _plain(pair[3]) if pair[2] is None else _string(_unescaped(pair[2]))
        at, pairs = pair.end(), pairs + 1
    if pairs < 2 or line.startswith(b"{"):
        raise _No
    return found


_WORD = rb'((?:\[[:0-9a-fA-F])?[^ "\[\x00-\x1f]+|\[[:0-9a-fA-F])'
_QUOTED = rb'"((?:[^"\\]|\\.)*)"'
_TIME = rb"\[([0-9]{2}/[A-Za-z]{3}/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2} [-+][0-9]{4})\]"
_ACCESS = re.compile(
    rb" ".join((_WORD, _WORD, _WORD, _TIME, _QUOTED, rb"([0-9]{3})", rb"([0-9]+|-)"))
    + rb"(?: %b %b(?: (.+))?)?" % (_QUOTED, _QUOTED),
    re.DOTALL,
)


def _access(line: bytes) -> dict[bytes, bytes]:
    match = _ACCESS.fullmatch(line)
    if match is None or line.startswith(b"{"):
        raise _No
    client, ident, user, time, request, status, size, referer, agent, extra = match.groups()
    request, referer, agent = (re.sub(rb'\\(["\\])', rb"\1", one or b"") for one in (request, referer, agent))
    if size != b"-" and int(size) >= 1 << 64:
        raise _No
    found = {b"client": client}
    found |= {name: one for name, one in ((b"ident", ident), (b"user", user)) if one != b"-"}
    found[b"time"] = time
    parts = request.split(b" ")
    fine = len(parts) in (2, 3) and re.fullmatch(rb"[A-Z_-]{1,20}", parts[0]) and parts[1]
    if fine and (len(parts) == 2 or parts[2].startswith(b"HTTP/")):
        found |= zip((b"method", b"path", b"protocol"), parts, strict=False)
    elif request not in (b"", b"-"):
        found[b"request"] = request
    made = {name: _string(one) for name, one in found.items()}
    made[b"status"] = msgpack.packb(int(status))
    if size != b"-":
        made[b"bytes"] = msgpack.packb(int(size))
    rest = ((b"referer", referer), (b"agent", agent), (b"extra", extra))
    return made | {name: _string(one) for name, one in rest if one not in (None, b"", b"-")}


def _parsed(line: bytes, config: dict[str, Any]) -> dict[bytes, bytes]:
    line = line.strip(_SPACE)
    if len(line) >= 3:
        for name, parse in (("json", _json), ("access", _access), ("logfmt", _logfmt)):
            try:
                found = parse(line) if config[name] else {}
            except ValueError:  # _No, and what json says
                continue
            if 0 < len(found) <= MOST:
                return found
    return {}


def _content(value: bytes) -> bytes | None:
    if value[0] in (0xC4, 0xC5, 0xC6):
        return value[{0xC4: 2, 0xC5: 3, 0xC6: 5}[value[0]] :]
    return text(value)


def reference(fields: Fields, settings: dict[str, Any]) -> Fields:
    """The fields of a record behind the plugin; the very list where nothing changes."""
    config = DEFAULTS | settings
    if len(fields) > MOST:
        return fields
    for source in (name.encode() for name in config["fields"]):
        values = [value for key, value in fields if text(key) == source]
        line = _content(values[-1]) if values else None
        found = _parsed(line, config) if line is not None else {}
        if not found:
            continue
        if len(values) > 1:
            return fields
        return _put(fields, source, found, config)
    return fields


def _put(fields: Fields, source: bytes, found: dict[bytes, bytes], config: dict[str, Any]) -> Fields:
    left = [(key, value) for key, value in fields if config["keep_original"] or text(key) != source]
    there: dict[bytes | None, bytes] = {}
    for key, value in left:
        there[text(key)] = value
    prefixed = {config["prefix"].encode() + name: value for name, value in found.items()}
    added: dict[bytes, bytes] = {}
    for name, value in prefixed.items():
        if there.get(name) == value:
            continue
        final = name
        if name in there:
            final = b"parsed_" + name
            while final in there or final in prefixed or final in added:
                final += b"_"
        added[final] = value
    return left + [(_string(name), value) for name, value in added.items()]
