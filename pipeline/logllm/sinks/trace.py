"""The trace a record belongs to, as loggers write it down."""

from __future__ import annotations

import re
from typing import NamedTuple

from logllm.sinks.entries import Fields, text_of
from logllm.sinks.json_value import head_at, number_at

__all__ = ["NO_TRACE", "TRACE_KEYS", "Trace", "trace_of"]

_TRACE_IDS = ("trace_id", "traceId", "TraceId", "traceID", "trace.id")
_SPAN_IDS = ("span_id", "spanId", "SpanId", "spanID", "span.id")
_FLAGS = ("trace_flags", "traceFlags", "TraceFlags")
TRACE_KEYS = (*_TRACE_IDS, *_SPAN_IDS, *_FLAGS, "traceparent")
"""Fields that are read for it."""

_TRACE_BYTES, _SPAN_BYTES = 16, 8
_HEX = re.compile(rb"[0-9a-fA-F]+")
# https://www.w3.org/TR/trace-context/, of version 00 and those to come.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL)
_PLAIN = 55


class Trace(NamedTuple):
    """Where in which trace.

    Args:
        trace_id, span_id: 16 and 8 bytes; b"" where they are not known.
        flags: W3C's, 0 to 255.
        moved: The fields that say nothing beyond it.
    """

    trace_id: bytes
    span_id: bytes
    flags: int
    moved: frozenset[str]


NO_TRACE = Trace(b"", b"", 0, frozenset())


def trace_of(fields: Fields) -> Trace:
    r"""The trace that fields name: ids in hexadecimal, as bytes, or in a W3C `traceparent`.

    An id of zeros is none. One of 64 bits, as B3 has them, gets zeros in front.

    Args:
        fields: Those of TRACE_KEYS that a record has.

    >>> trace_of({"trace_id": b"\xb0" + b"0af7651916cd43dd"}).trace_id.hex()
    '00000000000000000af7651916cd43dd'
    """
    trace_key, trace_id = _first(fields, _TRACE_IDS, _TRACE_BYTES)
    span_key, span_id = _first(fields, _SPAN_IDS, _SPAN_BYTES)
    if trace_id or span_id:
        moved = {trace_key, span_key} - {""}
        for key in _FLAGS:
            if key in fields and (flags := _flags(fields[key])) is not None:
                return Trace(trace_id, span_id, flags, frozenset((*moved, key)))
        return Trace(trace_id, span_id, 0, frozenset(moved))
    match = _TRACEPARENT.fullmatch(text_of(fields["traceparent"]) or b"") if "traceparent" in fields else None
    if match is None:
        return NO_TRACE
    trace_id, span_id = (bytes.fromhex(part.decode()) for part in match.groups()[:2])
    if not any(trace_id) or not any(span_id):
        return NO_TRACE
    # What a version to come has behind the flags is kept with the field.
    whole = {"traceparent"} if len(match[0]) == _PLAIN else set()
    return Trace(trace_id, span_id, int(match[3], 16), frozenset(whole))


def _first(fields: Fields, keys: tuple[str, ...], size: int) -> tuple[str, bytes]:
    for key in keys:
        if key in fields and (found := _id(fields[key], size)):
            return key, found
    return "", b""


def _id(value: bytes, size: int) -> bytes:
    kind, body, length = head_at(value, 0)
    data = value[body : body + length]
    if kind == "bin" and length == size:
        found = data
    elif kind in ("str", "bin") and length in ((2 * size, size) if size == _TRACE_BYTES else (2 * size,)):
        if not _HEX.fullmatch(data):
            return b""
        found = bytes.fromhex(data.decode()).rjust(size, b"\0")
    else:
        return b""
    return found if any(found) else b""


def _flags(value: bytes) -> int | None:
    kind, body, _ = head_at(value, 0)
    if kind == "str" and _HEX.fullmatch(value[body:]) and len(value) - body <= 2:
        return int(value[body:], 16)
    number = number_at(value, 0) if kind == "number" else None
    return number if isinstance(number, int) and 0 <= number < 256 else None
