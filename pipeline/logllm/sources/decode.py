"""Blocks of MessagePack entries to columns, typed and in bulk.

The block is decoded once, with an array header put in front of it, by a decoder made for exactly the keys its tag's
records have: the fields that are read as what they are, all others passed over without being built. A key not met
before makes that decoder refuse the block; then the keys are learned anew. So no field is missed and none is
searched for: 0.3 us for a record of one field. Where the scan (`sources.scan`) has read the block, all this is done
for the records alone that it left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from logllm.events import Chunk, Columns, TextCodes
from logllm.fields import MESSAGE_KEYS, SERVICE_KEYS, SEVERITY_KEYS, Wanted, service_of, service_of_tag, severity_of
from logllm.sources.decode_blocks import BlockFields
from logllm.sources.decode_fields import Lookup
from logllm.sources.decode_headers import KnownLines
from logllm.sources.decode_known import Known, Meanings
from logllm.sources.decode_lines import Lines
from logllm.sources.decode_slowly import head_of, read_slowly, split_block
from logllm.sources.decode_texts import Texts
from logllm.sources.decode_times import settled, times_of
from logllm.sources.decode_values import merged
from logllm.sources.forward.wire import UNREADABLE
from logllm.sources.scan import scan_block
from logllm.sources.scan.host import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.sources.decode_lines import LineFormatFor

__all__ = ["Decoder"]

_MOST_KEYS = 64
_MOST_SHAPES = 256
_MOST_TAGS = 4096
_KNOWN = frozenset((*MESSAGE_KEYS, *SEVERITY_KEYS, *SERVICE_KEYS))

# What msgspec takes in no field's name.
_UNNAMEABLE = re.compile(r'[\x00-\x1f"\\]')

_KEYS = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, dict[str, msgspec.Raw]]])


class _Shape:
    """A decoder for records that have no other keys than these."""

    def __init__(self, keys: frozenset[str], *, closed: bool) -> None:
        self.keys = keys
        names = {key: f"field_{number}" for number, key in enumerate(sorted(keys))}
        fields: list[tuple[str, Any, Any]] = [
            (name, str | None if key in MESSAGE_KEYS else msgspec.Raw, None if key in MESSAGE_KEYS else msgspec.Raw())
            for key, name in names.items()
        ]
        record = msgspec.defstruct(
            "Record",
            fields,
            rename={name: key for key, name in names.items()},
            forbid_unknown_fields=closed,
            gc=False,
        )
        entry = msgspec.defstruct("Entry", [("time", msgspec.Raw), ("record", record)], array_like=True, gc=False)
        self.record = record
        self.entry = entry
        self.block: msgspec.msgpack.Decoder[list[Any]] = msgspec.msgpack.Decoder(list[entry])  # type: ignore[valid-type]
        self.one: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(entry)
        self.messages = [attrgetter(names[key]) for key in MESSAGE_KEYS if key in keys]
        self.severities = [
            (attrgetter(names[key]), Lookup(key, severity_of, 0)) for key in SEVERITY_KEYS if key in keys
        ]
        self.services = [(attrgetter(names[key]), Lookup(key, service_of, "")) for key in SERVICE_KEYS if key in keys]


@dataclass(frozen=True, slots=True)
class _Read:
    """A block's records; services are names, none at all where no record says one, or `known`."""

    times: NDArray[np.int64]
    messages: Sequence[str]
    severity: NDArray[np.uint8]
    services: list[str]
    written: NDArray[np.bool_]
    known: Known | None = None
    text_codes: TextCodes | None = None


class _Stream:
    """What is remembered of a tag."""

    __slots__ = ("fields", "last_ns", "lines", "service", "shape", "sure")

    def __init__(self, tag: str, shape: _Shape, lines: Lines, wanted: Wanted) -> None:
        self.fields = BlockFields(wanted)
        self.shape = shape
        self.service, self.sure = service_of_tag(tag)
        self.last_ns: int | None = None
        self.lines = lines


class Decoder:
    """Turns chunks with a block into columns; keeps what it learned of each tag, bounded.

    Not for several threads at once.

    Args:
        line_format: Asked once for a tag, with its first messages that came without a level, for the format those
            lines are written in; it fills the severity, service and bare message the record itself did not say.
            The record's own time wins. `decode_lines.detected` is the usual one; None leaves all messages as they are.
        wanted: The further fields that are read; by default those that are well known.
    """

    def __init__(self, line_format: LineFormatFor | None = None, wanted: Wanted | None = None) -> None:
        self._line_format = line_format
        self._wanted = wanted or Wanted()
        self._empty = _Shape(frozenset(), closed=True)
        self._open = _Shape(_KNOWN, closed=False)
        self._shapes: dict[frozenset[str], _Shape] = {}
        self._streams: dict[str, _Stream] = {}
        self._meanings = Meanings(self._means)
        self._known_lines = KnownLines()

    def decode(self, chunk: Chunk, observed_ns: int) -> Columns:
        """The columns of a chunk's block; every entry is there, in order, whatever it holds.

        Args:
            chunk: With `block`, whose entries are arrays of two with a map (the receiver sees to that).
            observed_ns: Now, for records whose own time is missing or impossible; 0 if that is not known.
        """
        block = chunk.block or b""
        stream = self._stream(chunk.tag)
        scan = chunk.scan if isinstance(chunk.scan, Part) else scan_block(block)
        if scan is None or (len(scan), scan.size) != (chunk.count, len(block)):
            read = self._read(stream, block, chunk.count)
            fields = stream.fields.read(block, chunk.count)
        else:
            read = self._look_up(stream, block, scan)
            fields = stream.fields.read(block, chunk.count, scan.entry_at)
        times = settled(read.times, stream.last_ns, observed_ns)
        if len(times):
            stream.last_ns = int(times[-1])
        texts: Sequence[str] = read.messages
        text_codes = read.text_codes
        quick = None
        if text_codes is not None and read.known is not None and isinstance(texts, Texts):
            quick = self._known_lines.read(stream.lines, texts, text_codes, read.severity, read.written)
        if quick is not None:
            texts, text_codes, told = quick
            if read.known is not None and not stream.sure:
                read = replace(read, known=told.name(read.known))
        elif not stream.lines.free:
            services = read.services if read.known is None else read.known.each()
            texts, said = stream.lines.read(
                chunk.tag, texts, read.severity, services, observed_ns, read.written, fixed=stream.sure
            )
            fields = merged(fields, stream.lines.fields)
            if texts is not read.messages:
                text_codes = None
            if said is not services:
                read = replace(read, services=said, known=None)
        if read.known is None:
            codes, names = _codes(read.services, stream.service, len(texts))
        else:
            codes, names = read.known.codes(stream.service)
        return Columns(times, texts, read.severity, codes, names, text_codes=text_codes, fields=fields)

    def state(self) -> dict[str, Any]:
        """Which further fields the tags have, msgpack-able: what is read of a record must not change with a restart."""
        return {tag: stream.fields.finder.state() for tag, stream in self._streams.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back, before the first chunk. Raises StateError where it does not fit."""
        for tag, found in state.items():
            self._stream(str(tag)).fields.finder.restore(found)

    def _stream(self, tag: str) -> _Stream:
        if tag not in self._streams:
            if len(self._streams) >= _MOST_TAGS:
                del self._streams[next(iter(self._streams))]
            self._streams[tag] = _Stream(tag, self._empty, Lines(self._line_format), self._wanted)
        return self._streams[tag]

    def _read(self, stream: _Stream, block: bytes, count: int) -> _Read:
        shape, entries = self._entries(stream, block, count)
        records = [entry.record for entry in entries]
        messages = _first([list(map(get, records)) for get in shape.messages], len(records))
        severity = _severity(shape, records)
        services = _services(shape, records)
        written = np.ones(len(records), np.bool_)
        if None in messages:
            slow = split_block(block, count)
            for index, message in enumerate(messages):
                if message is None:
                    plain = read_slowly(slow[index])
                    messages[index] = plain.message
                    severity[index] = plain.severity
                    written[index] = plain.written
                    if plain.service:
                        services = services or [""] * len(records)
                        services[index] = plain.service
        texts = _tidy(messages)  # type: ignore[arg-type]
        return _Read(times_of([entry.time for entry in entries]), texts, severity, services, written)

    def _look_up(self, stream: _Stream, block: bytes, scan: Part) -> _Read:
        """The same from what the scan found; only the records it left out are read one by one."""
        meanings = self._meanings.of(scan.codes)
        severity = meanings.severities(scan, block)
        known = Known(meanings.services(scan, block), meanings.names)
        written = np.ones(len(scan), np.bool_)
        others: dict[int, str] = {}
        if scan.slow.any():
            places = np.flatnonzero(scan.slow)
            ends = np.append(scan.entry_at[1:], scan.size)
            entries = [
                block[start:end]
                for start, end in zip(scan.entry_at[places].tolist(), ends[places].tolist(), strict=True)
            ]
            read = self._read(stream, b"".join(entries), len(entries))
            severity[places] = read.severity
            written[places] = read.written
            if read.services:
                known = known.but(places, read.services)
            others = dict(zip(places.tolist(), read.messages, strict=True))
        texts = Texts(block, scan.text_at, scan.text_at + scan.text_bytes, others)
        return _Read(scan.time_ns, texts, severity, [], written, known, TextCodes(scan.text_code, scan.codes))

    def _means(self, entry: bytes) -> tuple[int, str]:
        """What the fields of an entry say of its level and service."""
        record = [self._open.one.decode(entry).record]
        return int(_severity(self._open, record)[0]), (_services(self._open, record) or [""])[0]

    def _entries(self, stream: _Stream, block: bytes, count: int) -> tuple[_Shape, list[Any]]:
        array = b"\xdd" + count.to_bytes(4, "big") + block
        try:
            return stream.shape, stream.shape.block.decode(array)
        except UNREADABLE:
            pass
        if stream.shape is not self._open:
            try:
                keys = stream.shape.keys.union(*(keys for _, keys in _KEYS.decode(array)))
                if keys != stream.shape.keys:
                    stream.shape = self._shape(keys)
                    return stream.shape, stream.shape.block.decode(array)
            except UNREADABLE:
                pass
        # With the shape that takes any keys, so that what a record comes to does not depend on its neighbours.
        return self._open, [_one(self._open, entry) for entry in split_block(block, count)]

    def _shape(self, keys: frozenset[str]) -> _Shape:
        if len(keys) > _MOST_KEYS or _UNNAMEABLE.search("".join(keys)):
            return self._open
        if keys not in self._shapes:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes[keys] = _Shape(keys, closed=True)
        return self._shapes[keys]


def _one(shape: _Shape, entry: bytes) -> Any:
    try:
        return shape.one.decode(entry)
    except UNREADABLE:
        # A record without any field has no message, and so is read slowly.
        return shape.entry(msgspec.Raw(head_of(entry)), shape.record())


def _first(columns: list[list[str | None]], count: int) -> list[str | None]:
    if not columns:
        return [None] * count
    messages = columns[0]
    for column in columns[1:]:
        if None not in messages:
            break
        messages = [other if message is None else message for message, other in zip(messages, column, strict=True)]
    return messages


def _severity(shape: _Shape, records: list[Any]) -> NDArray[np.uint8]:
    severity = np.zeros(len(records), np.uint8)
    for get, lookup in shape.severities:
        found = np.fromiter(map(lookup.__getitem__, map(bytes, map(get, records))), np.uint8, len(records))
        severity = np.where(severity, severity, found)
    return severity


def _services(shape: _Shape, records: list[Any]) -> list[str]:
    """A name for each record, "" where it says none; empty where none does."""
    services: list[str] = []
    for get, lookup in shape.services:
        found: list[str] = list(map(lookup.__getitem__, map(bytes, map(get, records))))
        services = [name or other for name, other in zip(services, found, strict=True)] if services else found
        if "" not in services:
            break
    return services


def _tidy(messages: list[str]) -> list[str]:
    """Without NULs, which separate messages later on, and without the line end that container logs keep."""
    joined = "".join(messages)
    if "\0" in joined:
        messages = [message.replace("\0", "") for message in messages]
    if "\n" in joined or "\r" in joined:
        messages = [message.rstrip("\r\n") for message in messages]
    return messages


def _codes(services: list[str], default: str, count: int) -> tuple[NDArray[np.int32], list[str]]:
    if not services:
        return np.zeros(count, np.int32), [default] if count else []
    if "" in services:
        services = [name or default for name in services]
    names = list(dict.fromkeys(services))
    index = {name: number for number, name in enumerate(names)}
    return np.fromiter(map(index.__getitem__, services), np.int32, count), names
