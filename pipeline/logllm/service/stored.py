"""Files of records read back as chunks of entries: what a file sink wrote, and plain logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import ProtocolError, SourceError
from logllm.events import Chunk, Origin
from logllm.filters.records import from_json
from logllm.sources.file import read_file
from logllm.sources.file_block import FileBlock
from logllm.sources.file_inflate import compression_of, inflate
from logllm.sources.file_open import blocks_of, open_binary
from logllm.sources.forward.protocol import Limits, Received, Receiver

if TYPE_CHECKING:
    from logllm.sources.file_stats import ReadStats

__all__ = ["Kind", "frames", "kind_of", "lines", "stored_chunks"]

CHUNK_BYTES = 1 << 20
MOST_LINES = 5_000
MOST_SPAN_S = 2
"""Lines of several tags are put together by tag, over so much of event time at most."""

_LOOK_BYTES = 1 << 16
_EVENT_TIME = Struct(">II")
_LARGEST_FRAME = 1 << 31
_LARGEST_LINE = 1 << 28
_SINKS_LINE = b'{"tag":'
# A float is written without an exponent.
_TIME = re.compile(r"(-?)(\d{1,320})(?:\.(\d{1,9}))?", re.ASCII)
_pack = msgspec.msgpack.Encoder().encode

Kind = str
"""`msgpack` and `ndjson` as a file sink writes them, else `log`."""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    tag: str
    time: str
    record: msgspec.Raw
    metadata: msgspec.Raw = msgspec.Raw(b"")
    odd_time: msgspec.Raw = msgspec.Raw(b"")


_LINE = msgspec.json.Decoder(_Line)


def kind_of(path: str, stats: ReadStats) -> Kind:
    """How a file's records are written. Raises SourceError: it cannot be read."""
    blocks: list[bytes] = []
    size = 0
    for block in _inflated(path, stats):
        blocks.append(block)
        size += len(block)
        most = _LARGEST_LINE if blocks[0].startswith(_SINKS_LINE) else _LOOK_BYTES
        if size >= most or b"\n" in block:
            break
    head = b"".join(blocks)
    if head[:1] in (b"\x92", b"\x93"):
        return "msgpack"
    try:
        _LINE.decode(head.partition(b"\n")[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "log"
    return "ndjson"


def stored_chunks(
    path: str, kind: Kind, stats: ReadStats, *, format_name: str = "auto", tz: str = "UTC"
) -> Iterator[Chunk]:
    """The records of a file as chunks with a block; those of a plain log have columns too.

    Args:
        kind: As `kind_of` says.
        stats: Lines, records and bytes are counted here.
        format_name, tz: Of the lines of a plain log, as for `read_file`.

    Raises:
        SourceError: It cannot be read, or is not what `kind` says.
    """
    if kind == "msgpack":
        yield from frames(path, stats)
        return
    if kind == "ndjson":
        yield from _by_tag(path, stats)
        return
    for chunk in read_file(path, format=format_name, tz=tz, stats=stats, keep_raw=True):
        if chunk.columns is not None and len(chunk.columns):
            block = FileBlock(chunk.columns)
            yield replace(chunk, block=block.block, size_bytes=len(block.block))


def frames(path: str, stats: ReadStats) -> Iterator[Chunk]:
    """The chunks of a file of the forward protocol's frames. Raises SourceError: it is none."""
    name = Path(path).name
    receiver = Receiver(name, Limits(frame_bytes=_LARGEST_FRAME, inflated_bytes=_LARGEST_FRAME))
    try:
        for block in _inflated(path, stats):
            stats.bytes += len(block)
            receiver.feed(block)
            for item in receiver.items():
                if isinstance(item, Received):
                    stats.lines += item.chunk.count
                    stats.records += item.chunk.count
                    yield item.chunk
    except ProtocolError as error:
        raise SourceError(f"{name}: not frames of the forward protocol: {error}") from error
    if receiver.pending_bytes:
        stats.notices.append(f"{name}: ends within a frame; {receiver.pending_bytes} bytes are left out")


def lines(path: str, stats: ReadStats) -> Iterator[bytes]:
    """The lines of a text file with their ends; the last may have none.

    Raises:
        SourceError: It cannot be read, or a line is longer than 256 MiB.
    """
    begun: list[bytes] = []
    size = 0
    for block in blocks_of(path, chunk_bytes=CHUNK_BYTES, stats=stats):
        *whole, rest = block.split(b"\n")
        for line in whole:
            yield b"".join((*begun, line, b"\n"))
            begun, size = [], 0
        if rest:
            begun.append(rest)
            size += len(rest)
        if size > _LARGEST_LINE:
            raise SourceError(f"{Path(path).name}: a line of more than {_LARGEST_LINE >> 20} MiB")
    if begun:
        yield b"".join(begun)


def _by_tag(path: str, stats: ReadStats) -> Iterator[Chunk]:
    name = Path(path).name
    waiting: dict[str, list[bytes]] = {}
    count, began_s = 0, 0
    for number, line in enumerate(lines(path, stats), 1):
        stats.lines += 1
        stats.bytes += len(line)
        if not line.strip():
            continue
        try:
            tag, seconds, entry = _entry(line)
        except (ValueError, RecursionError) as error:
            if not line.endswith(b"\n"):
                stats.notices.append(f"{name}: ends within a line; {len(line)} bytes are left out")
                break
            raise SourceError(f"{name}: line {number} is not what a file sink writes: {error}") from error
        if count >= MOST_LINES or (count and abs(seconds - began_s) > MOST_SPAN_S):
            yield from _chunks(waiting, name)
            waiting, count = {}, 0
        began_s = began_s if count else seconds
        waiting.setdefault(tag, []).append(entry)
        count += 1
        stats.records += 1
    yield from _chunks(waiting, name)


def _chunks(waiting: dict[str, list[bytes]], name: str) -> Iterator[Chunk]:
    for tag, entries in waiting.items():
        block = b"".join(entries)
        yield Chunk(tag, len(entries), len(block), Origin(name), block=block)


def _entry(line: bytes) -> tuple[str, int, bytes]:
    """Tag, seconds and entry of a line. Raises ValueError."""
    said = _LINE.decode(line)
    seconds, time = _time(said.time)
    head = b"\x92" + time + from_json(bytes(said.metadata)) if said.metadata else time
    return said.tag, seconds, b"\x92" + head + from_json(bytes(said.record))


def _time(text: str) -> tuple[int, bytes]:
    """Whole seconds, and the time as MessagePack: what cannot be an EventTime as a number. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"time {text[:40]!r}, expected seconds.nanoseconds")
    sign, whole, rest = match.groups()
    seconds, nanoseconds = int(whole), int((rest or "").ljust(9, "0"))
    if not sign and seconds < 1 << 32:
        return seconds, b"\xd7\0" + _EVENT_TIME.pack(seconds, nanoseconds)
    seconds = -seconds if sign else seconds
    if not nanoseconds and -(1 << 63) <= seconds < 1 << 64:
        return seconds, _pack(seconds)
    if not isfinite(value := float(text)):
        raise ValueError(f"time {text[:40]!r}, expected one that a float can hold")
    return seconds, _pack(value)


def _inflated(path: str, stats: ReadStats) -> Iterator[bytes]:
    """A file's bytes, decompressed. Raises SourceError."""
    name = Path(path).name
    with open_binary(path) as file:
        head = file.read(16) or b""
        kind = compression_of(head)
        blocks = _blocks(head, iter(lambda: file.read(CHUNK_BYTES) or b"", b""))
        yield from inflate(kind, blocks, CHUNK_BYTES, name, stats) if kind is not None else blocks


def _blocks(head: bytes, more: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from more
