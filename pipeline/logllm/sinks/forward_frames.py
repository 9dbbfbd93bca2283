"""Parcels as frames of the forward protocol: bytes in, bytes out."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from hashlib import sha512
from itertools import pairwise
from typing import Literal, NamedTuple

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm.sinks.parcel import Parcel

__all__ = ["Frame", "Packing", "content_id"]

# At level 1 zlib takes a third of the time of its default, for logs that come out a fifth longer.
_GZIP_LEVEL = 1
_ZSTD_LEVEL = 3

# A frame that is shorter is copied into one piece: cheaper than a system call or a TLS record for each part.
_JOIN_BYTES = 65_536

_EVENT_TIME_BYTES = 10
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Frame(NamedTuple):
    """One message of the protocol.

    Args:
        chunk_id: What its ack must say.
        pieces: Its bytes, one piece after the other.
        size_bytes: Their sum.
    """

    chunk_id: bytes
    pieces: tuple[bytes, ...]
    size_bytes: int


class Part(NamedTuple):
    """What one frame holds of a block: so many entries, from byte `start` to byte `end`."""

    chunk_id: bytes
    start: int
    end: int
    entries: int


class Packing(msgspec.Struct, frozen=True):
    """How a receiver likes its frames.

    Args:
        packed: PackedForward: the entries go as one binary value, not as an array.
        compress: Entries are compressed, which makes a frame packed.
        legacy_entries: `[time, record]` in place of `[[time, metadata], record]`; metadata are left out.
        max_frame_bytes: A longer block goes as several frames, cut between entries; a longer entry goes as it is.
    """

    packed: bool = False
    compress: Literal["", "gzip", "zstd"] = ""
    legacy_entries: bool = False
    max_frame_bytes: int = 4 << 20

    def frames(self, parcel: Parcel) -> Iterator[Frame]:
        """A parcel's frames, the same ones each time, made as they are asked for; none where it has no entries.

        A parcel with one id for each of its entries becomes as many frames, since that is how its acks are owed.
        """
        if not parcel.count:
            return
        block = _legacy(parcel) if self.legacy_entries else parcel.block
        head = b"\x93" + _text(parcel.tag.encode("utf-8", "surrogatepass"))
        for part in _parts(parcel, block, self.max_frame_bytes):
            whole = part.end - part.start == len(block)
            yield self._frame(head, part, block if whole else block[part.start : part.end])

    def _frame(self, head: bytes, part: Part, entries: bytes) -> Frame:
        options: dict[bytes, bytes | int] = {b"chunk": part.chunk_id, b"size": part.entries}
        if self.compress:
            entries = _compressed(entries, self.compress)
            options[b"compressed"] = self.compress.encode()
        options[b"fluent_signal"] = 0
        packed = self.packed or self.compress
        head += _bin_header(len(entries)) if packed else _array_header(part.entries)
        tail = _text(options)
        size = len(head) + len(entries) + len(tail)
        pieces = (head, entries, tail) if size > _JOIN_BYTES else (head + entries + tail,)
        return Frame(part.chunk_id, pieces, size)


def content_id(block: bytes) -> bytes:
    """Fluent Bit's id of a chunk: equal on a retry, because it is a hash of the entries.

    >>> content_id(b"")
    b'z4PhNX7vuL3xVChQ1m2ABw=='
    """
    return b64encode(sha512(block).digest()[:16])


def _parts(parcel: Parcel, block: bytes, most: int) -> list[Part]:
    ids, count = parcel.chunk_ids, parcel.count
    name = ids[0] if len(ids) == 1 else b""
    for_each = len(ids) == count
    if count > 1 and (for_each or len(block) > most):
        ends = _entry_ends(block)
        if len(ends) == count:
            starts = [0, *ends[:-1]]
            if for_each:
                return [Part(*part, 1) for part in zip(ids, starts, ends, strict=True)]
            return _grouped(name, block, ends, most)
    return [Part(name or content_id(block), 0, len(block), count)]


def _grouped(name: bytes, block: bytes, ends: list[int], most: int) -> list[Part]:
    cuts, start, end = [], 0, 0
    for place, following in enumerate(ends):
        if following - start > most and end > start:
            cuts.append(place)
            start = end
        end = following
    parts = []
    for first, last in pairwise([0, *cuts, len(ends)]):
        start, end = (ends[first - 1] if first else 0), ends[last - 1]
        # No part may have the id of the whole, nor two of them the same: a receiver would take one for the other.
        chunk_id = content_id(b"%b %d " % (name, start) + block[start:end])
        parts.append(Part(chunk_id, start, end, last - first))
    return parts


def _entry_ends(block: bytes) -> list[int]:
    """Where each entry ends; fewer than there are, where one cannot be walked (nested a thousand deep)."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(block)
    ends = []
    try:
        while True:
            unpacker.skip()
            ends.append(unpacker.tell())
    except (msgpack.UnpackException, ValueError):
        return ends


@cache
def _pairs() -> msgspec.msgpack.Decoder[list[tuple[msgspec.Raw, msgspec.Raw]]]:
    return msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, msgspec.Raw]])


def _legacy(parcel: Parcel) -> bytes:
    try:
        entries = _pairs().decode(_array_header(parcel.count) + parcel.block)
        return b"".join([b"\x92%b%b" % (_time_alone(bytes(head)), record) for head, record in entries])
    except _UNREADABLE:
        # Better as it is than never: a receiver that cannot read it skips it.
        return parcel.block


def _time_alone(head: bytes) -> bytes:
    """The time in an entry's head, which is a time or `[time, metadata]`."""
    if head.startswith(b"\x92\xd7"):
        return head[1 : 1 + _EVENT_TIME_BYTES]
    if not (0x90 <= head[0] <= 0x9F or head[0] in b"\xdc\xdd"):
        return head
    parts = msgspec.msgpack.decode(head, type=list[msgspec.Raw])
    # Any other array is an odd time that was let in; its first element might even look like a group marker.
    return bytes(parts[0]) if len(parts) == 2 else head


def _compressed(entries: bytes, kind: str) -> bytes:
    if kind == "gzip":
        return gzip.compress(entries, _GZIP_LEVEL, mtime=0)
    import zstandard

    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(entries)


def _text(value: object) -> bytes:
    # Strings in, strings out, also where they are not UTF-8: an id goes back byte for byte.
    return bytes(msgpack.packb(value, use_bin_type=False))


def _array_header(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    return b"\xdc" + count.to_bytes(2, "big") if count < 65_536 else b"\xdd" + count.to_bytes(4, "big")


def _bin_header(length: int) -> bytes:
    if length < 256:
        return bytes((0xC4, length))
    return b"\xc5" + length.to_bytes(2, "big") if length < 65_536 else b"\xc6" + length.to_bytes(4, "big")
