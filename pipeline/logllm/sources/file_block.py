"""A file's records as a block, as Fluent Bit's tail would send them, and back to columns when filters are done.

An entry is `[[time, {"line": N}], record]`; the record is `{"log": "the raw line"}`, or the JSON object that the line
is. What a filter leaves alone keeps the columns that the file's own format gave it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from logllm.events import Chunk, Columns
from logllm.sources.decode_slowly import head_of, split_block
from logllm.sources.decode_values import joined
from logllm.sources.decode_values import picked as chosen
from logllm.sources.forward.wire import UNREADABLE

if TYPE_CHECKING:
    from logllm.sources.decode import Decoder

__all__ = ["FileBlock"]

_EVENT_TIME = struct.Struct(">II")
_encode = msgspec.msgpack.Encoder().encode
_parse = msgspec.json.Decoder().decode


class _Metadata(msgspec.Struct):
    line: int = -1


class _Head(msgspec.Struct, array_like=True):
    time: msgspec.Raw
    metadata: _Metadata


_HEAD = msgspec.msgpack.Decoder(_Head)


class FileBlock:
    """The records of one chunk of a file, ready for filters.

    Args:
        columns: With `raw` and `position`.

    >>> from logllm.sources.file import read_file
    >>> chunk = next(read_file("samples/disk.log", keep_raw=True))
    >>> block = FileBlock(chunk.columns)
    >>> block.count == chunk.count and len(block.block) > 0
    True
    """

    def __init__(self, columns: Columns) -> None:
        raw, position = columns.raw, columns.position
        if raw is None or position is None:
            raise ValueError("a file's columns without their lines: read it with keep_raw")
        self._columns = columns
        self._lines: list[int] = position.tolist()
        self._entries = [
            _entry(time_ns, line, text)
            for time_ns, line, text in zip(columns.time_ns.tolist(), self._lines, raw, strict=True)
        ]
        self.block = b"".join(self._entries)
        self.count = len(self._entries)

    def columns(self, block: bytes, count: int, decoder: Decoder) -> Columns:
        """What filters made of the records, as columns.

        A record that was changed keeps what it does not say itself: the message without its header, where the header
        is still there; level, service and line number.

        Args:
            block: `count` well-formed entries.
            decoder: One without a line format.
        """
        if block is self.block:
            return self._columns
        rows = {entry: row for row, entry in enumerate(self._entries)}
        after = split_block(block, count)
        row_of = [rows.get(entry, -1) for entry in after]
        changed = [at for at, row in enumerate(row_of) if row < 0]
        untouched = self._taken([row for row in row_of if row >= 0])
        if not changed:
            return untouched
        return _interleaved(untouched, self._decoded([after[at] for at in changed], decoder), changed, count)

    def _taken(self, rows: list[int]) -> Columns:
        before = self._columns
        picked = np.array(rows, np.int64)
        return Columns(
            before.time_ns[picked],
            [before.messages[row] for row in rows],
            before.severity[picked],
            before.service_codes[picked],
            before.service_names,
            None if before.position is None else before.position[picked],
            fields=chosen(before.fields, picked),
        )

    def _decoded(self, entries: list[bytes], decoder: Decoder) -> Columns:
        before = self._columns
        found = _decode(entries, decoder)
        row_of_line = {line: row for row, line in enumerate(self._lines)}
        lines = [_line_of(entry) for entry in entries]
        rows = [row_of_line.get(line, -1) for line in lines]
        known = sorted({row for row in rows if row >= 0})
        texts = dict(zip(known, _decode([self._entries[row] for row in known], decoder).messages, strict=True))
        messages = [
            text if row < 0 else _message(text, texts[row], before.messages[row])
            for text, row in zip(found.messages, rows, strict=True)
        ]
        names: dict[str, int] = {name: number for number, name in enumerate(before.service_names)}
        codes = np.zeros(len(rows), np.int32)
        severity = found.severity.copy()
        for at, row in enumerate(rows):
            name = found.service_names[int(found.service_codes[at])]
            if row >= 0:
                severity[at] = severity[at] or before.severity[row]
                name = name or before.service_names[int(before.service_codes[row])]
            codes[at] = names.setdefault(name, len(names))
        position = np.array([line if row >= 0 else 0 for line, row in zip(lines, rows, strict=True)], np.int64)
        return Columns(found.time_ns, messages, severity, codes, list(names), position, fields=found.fields)


def _entry(time_ns: int, line: int, text: str) -> bytes:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    time = b"\xd7\0" + _EVENT_TIME.pack(seconds, rest) if 0 <= seconds < 1 << 32 else _encode(seconds)
    return b"\x92\x92" + time + b"\x81\xa4line" + _encode(line) + _record(text)


def _record(text: str) -> bytes:
    if text.startswith("{"):
        try:
            record = _parse(text)
            if isinstance(record, dict):
                return _encode(record)
        except (msgspec.DecodeError, OverflowError, RecursionError):
            pass
    return b"\x81\xa3log" + _encode(text)


def _decode(entries: list[bytes], decoder: Decoder) -> Columns:
    block = b"".join(entries)
    return decoder.decode(Chunk("", len(entries), len(block), block=block), 0)


def _line_of(entry: bytes) -> int:
    try:
        return _HEAD.decode(head_of(entry)).metadata.line
    except UNREADABLE:
        return -1


def _message(text: str, whole: str, message: str) -> str:
    """A filter's text without what the file's format took off before and behind `message` in the text as it was."""
    if text == whole:
        return message
    before, found, behind = whole.rpartition(message) if message else ("", "", "")
    if not found or not text.startswith(before) or not text.endswith(behind) or len(text) < len(before) + len(behind):
        return text
    return text[len(before) : len(text) - len(behind)]


def _interleaved(first: Columns, second: Columns, places: list[int], count: int) -> Columns:
    """Both as one, those of `second` at `places` of the `count`. The names of `second` begin with those of `first`."""
    mine = np.zeros(count, np.bool_)
    mine[places] = True
    order = np.argsort(np.concatenate([np.flatnonzero(~mine), np.flatnonzero(mine)]), kind="stable")
    messages = [*first.messages, *second.messages]
    position = None
    if first.position is not None and second.position is not None:
        position = np.concatenate([first.position, second.position])[order]
    return Columns(
        np.concatenate([first.time_ns, second.time_ns])[order],
        [messages[at] for at in order.tolist()],
        np.concatenate([first.severity, second.severity])[order],
        np.concatenate([first.service_codes, second.service_codes])[order],
        second.service_names,
        position,
        fields=joined([(first.fields, np.flatnonzero(~mine)), (second.fields, np.flatnonzero(mine))], count),
    )
