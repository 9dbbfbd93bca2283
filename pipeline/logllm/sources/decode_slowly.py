"""Records that the typed decoder refuses, one at a time: whatever they hold, they become a message."""

from __future__ import annotations

from typing import NamedTuple

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm.fields import MESSAGE_KEYS, SERVICE_KEYS, SEVERITY_KEYS, service_of, severity_of
from logllm.sources.decode_fields import text_of
from logllm.sources.forward.wire import UNREADABLE

__all__ = ["Plain", "head_of", "read_slowly", "split_block"]

# Told by other columns, or the same for every record of a stream.
_NOT_SHOWN = frozenset((*SEVERITY_KEYS, *SERVICE_KEYS, "stream", "time", "@timestamp", "timestamp", "date"))
_DEEPEST = 4
_MOST_CHARS = 8192

_RAWS = msgspec.msgpack.Decoder(list[msgspec.Raw])


class Plain(NamedTuple):
    """What one record says; severity 0 and service "" where it does not; `written` if its message is a field's text."""

    message: str
    severity: int
    service: str
    written: bool


def split_block(block: bytes, count: int) -> list[bytes]:
    """The entries of a block, each as its bytes."""
    try:
        return [bytes(raw) for raw in _RAWS.decode(b"\xdd" + count.to_bytes(4, "big") + block)]
    except UNREADABLE:
        entries = []
        unpacker = msgpack.Unpacker(max_buffer_size=len(block) + 1)
        unpacker.feed(block)
        for _ in range(count):
            start = unpacker.tell()
            unpacker.skip()
            entries.append(block[start : unpacker.tell()])
        return entries


def head_of(entry: bytes) -> bytes:
    """The encoded time, or `[time, metadata]`, of an entry."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(entry) + 1)
    unpacker.feed(entry)
    unpacker.read_array_header()
    start = unpacker.tell()
    unpacker.skip()
    return entry[start : unpacker.tell()]


def read_slowly(entry: bytes) -> Plain:
    """An entry's record, read value by value; about 5 us.

    Its message is the first text among the fields that carry one, else `key=value` of every scalar field in order,
    maps inside with dotted names (of a record with nothing but lists, what is in them); bytes that no decoder takes
    are shown with their text kept.
    """
    try:
        record = msgpack.unpackb(entry, unicode_errors="replace", strict_map_key=False)[1]
    except (ValueError, TypeError):
        # Nested too deeply, or a map as a key: nothing to look up, yet the text in it may matter.
        return Plain(entry.decode("utf-8", "replace")[:_MOST_CHARS], 0, "", written=False)
    severity = next((code for key in SEVERITY_KEYS if key in record and (code := severity_of(key, record[key]))), 0)
    service = next((name for key in SERVICE_KEYS if key in record and (name := service_of(key, record[key]))), "")
    inner = record.get("log")
    if not severity and isinstance(inner, dict):
        severity = severity_of("level", inner.get("level"))
    for key in MESSAGE_KEYS:
        if key in record and (text := text_of(record[key])) is not None:
            return Plain(text, severity, service, written=True)
    pairs: list[str] = []
    _flatten(record, "", pairs, _DEEPEST)
    return Plain(" ".join(pairs or _leaves(record))[:_MOST_CHARS], severity, service, written=False)


def _flatten(record: dict[object, object], prefix: str, pairs: list[str], depth: int) -> None:
    for key, value in record.items():
        name = text_of(key) or "?"
        if not prefix and name in _NOT_SHOWN:
            continue
        if isinstance(value, dict):
            if depth:
                _flatten(value, f"{prefix}{name}.", pairs, depth - 1)
        elif (text := text_of(value)) is not None:
            pairs.append(f"{prefix}{name}={text}")


def _leaves(record: dict[object, object]) -> list[str]:
    """The scalars at any depth, in order."""
    found: list[str] = []
    waiting: list[object] = [value for key, value in record.items() if key not in _NOT_SHOWN][::-1]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))
        elif (text := text_of(value)) is not None:
            found.append(text)
    return found
