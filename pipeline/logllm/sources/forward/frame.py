"""One frame of the forward protocol, already cut into its elements, read into records, notices and faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm.errors import ProtocolError
from logllm.events import Chunk, Origin
from logllm.sources.forward.entries import (
    HUGE,
    NOT_A_MAP,
    Entries,
    Fault,
    entries_of_array,
    entries_of_stream,
    unreadable,
)
from logllm.sources.forward.inflate import compression_of, inflate
from logllm.sources.forward.wire import KINDS, NAMES, UNREADABLE, is_marker, payload

__all__ = ["Item", "Mode", "Notice", "NoticeKind", "Received", "Single", "Skipped", "read_frame"]

Mode = Literal["Message", "Forward", "PackedForward", "CompressedPackedForward"]
NoticeKind = Literal["heartbeat", "empty", "group_marker", "metrics", "traces", "blobs", "profiles"]

_SIGNALS: dict[int, NoticeKind] = {1: "metrics", 2: "traces", 3: "blobs", 4: "profiles"}
_MAX_NAME_BYTES = 65_535


class Received(msgspec.Struct, frozen=True):
    """Records, and the chunk ids to acknowledge once they are safe.

    `acks` is empty where the sender wants none, else it holds one id, which is also `chunk.origin.chunk_id`; only
    Message-mode frames that were joined have several, one for each record in order. `mode` is how it was sent.
    """

    chunk: Chunk
    acks: tuple[bytes, ...] = ()
    mode: Mode = "Forward"


class Skipped(msgspec.Struct, frozen=True):
    """Entries of a good frame that are no records: their bytes as they came, and why.

    `held_bytes` is what the whole frame takes in memory, said once, by its first.
    """

    tag: str
    fault: Fault
    held_bytes: int = 0


class Notice(msgspec.Struct, frozen=True):
    """A frame or entry that carries no log records but may want an ack all the same."""

    kind: NoticeKind
    count: int = 1
    acks: tuple[bytes, ...] = ()


class Single(msgspec.Struct, frozen=True, gc=False):
    """A Message-mode frame: one entry, to be joined with its neighbours."""

    tag: str
    entry: bytes
    acks: tuple[bytes, ...]
    size_bytes: int


Item = Received | Skipped | Notice


class _Option(msgspec.Struct, gc=False):
    chunk: msgspec.Raw = msgspec.Raw(b"\xc0")
    compressed: msgspec.Raw = msgspec.Raw(b"\xc0")
    fluent_signal: msgspec.Raw = msgspec.Raw(b"\xc0")
    metadata: msgspec.Raw = msgspec.Raw(b"\xc0")
    size: msgspec.Raw = msgspec.Raw(b"\xc0")


_NO_OPTION = _Option()
_OPTION = msgspec.msgpack.Decoder(_Option)


def read_frame(
    elements: list[bytes], size_bytes: int, peer: str, inflated_bytes: int, entries: Entries | None = None
) -> list[Item | Single]:
    """What the elements of a frame's array say.

    Args:
        elements: Two to five whole MessagePack values.
        size_bytes: Length of the frame on the wire.
        peer: For the chunk's origin.
        inflated_bytes: A compressed payload may inflate to this.
        entries: The second element, where it has been read already.

    Raises:
        ProtocolError: the frame is not of the forward protocol, or its compressed payload inflates to too much.
    """
    tag = _tag(_name(elements[0], "tag"))
    message = entries is None and KINDS[elements[1][0]] in "ife"
    if message and len(elements) < 3:
        raise ProtocolError("got a tag and a time without a record, expected [tag, time, record]")
    place = 3 if message else 2
    option = _option(elements[place]) if len(elements) > place else _NO_OPTION
    chunk_id, signal_number = bytes(option.chunk), bytes(option.fluent_signal)
    acks = () if chunk_id == b"\xc0" else (_name(chunk_id, "chunk id"),)
    if signal_number not in (b"\xc0", b"\0"):
        signal = _integer(signal_number, "fluent_signal")
        if signal != 0:
            if signal not in _SIGNALS:
                raise ProtocolError(f"got fluent_signal {signal}, expected 0 (logs) to {max(_SIGNALS)}")
            return [Notice(_SIGNALS[signal], acks=acks)]
    if message:
        return _single(tag, elements[1], elements[2], option, acks, size_bytes)
    mode: Mode = "Forward"
    if entries is None and KINDS[elements[1][0]] == "a":
        entries = entries_of_array(elements[1])
    elif entries is None:
        entries, mode = _packed(payload(elements[1]) or b"", option, inflated_bytes)
    return _items(tag, entries, acks, size_bytes, peer, mode)


def _items(
    tag: str, entries: Entries, acks: tuple[bytes, ...], size_bytes: int, peer: str, mode: Mode
) -> list[Item | Single]:
    held = max(size_bytes, len(entries.block))
    items: list[Item | Single] = [Skipped(tag, fault, 0 if at else held) for at, fault in enumerate(entries.faults)]
    if entries.markers:
        items.append(Notice("group_marker", entries.markers))
    if entries.count:
        origin = Origin(peer, acks[0] if acks else None)
        chunk = Chunk(tag, entries.count, size_bytes, origin, block=entries.block, scan=entries.scan)
        items.append(Received(chunk, acks, mode))
    else:
        items.append(Notice("empty", acks=acks))
    return items


def _single(
    tag: str, time: bytes, record: bytes, option: _Option, acks: tuple[bytes, ...], size_bytes: int
) -> list[Item | Single]:
    if b"\xff\xff\xff" in time and is_marker(time):
        return [Notice("group_marker", acks=acks)]
    if KINDS[record[0]] != "m":
        return [Skipped(tag, Fault(b"\x92" + time + record, NOT_A_MAP), size_bytes), Notice("empty", acks=acks)]
    metadata = bytes(option.metadata)
    if KINDS[metadata[0]] == "m":
        time = b"\x92" + time + metadata
    entry = b"\x92" + time + record
    if HUGE in entry and (reason := unreadable(entry)) is not None:
        return [Skipped(tag, Fault(entry, reason), size_bytes), Notice("empty", acks=acks)]
    return [Single(tag, entry, acks, size_bytes)]


def _packed(stream: bytes, option: _Option, inflated_bytes: int) -> tuple[Entries, Mode]:
    compression = compression_of(stream)
    if compression is not None:
        inflated = inflate(stream, compression, inflated_bytes)
        entries = entries_of_stream(inflated.data, _size(option))
        if inflated.fault:
            entries = _damaged(entries, Fault(stream, inflated.fault))
        return entries, "CompressedPackedForward"
    named = payload(bytes(option.compressed)) or b"text"
    if named != b"text" and stream:
        known = f"not {named.decode()}" if named in (b"gzip", b"zstd") else "compressed, not with gzip or zstd"
        return _damaged(Entries(b"", 0), Fault(stream, f"payload is {known}")), "CompressedPackedForward"
    return entries_of_stream(stream, _size(option)), "PackedForward"


def _damaged(entries: Entries, fault: Fault) -> Entries:
    """What came whole of a payload, and the payload: a sender that gets no ack would send it for ever."""
    # What else is wrong with the entries comes of the damage, and is in the payload.
    return replace(entries, faults=(fault,))


def _size(option: _Option) -> int:
    size = bytes(option.size)
    return _integer(size, "size") if KINDS[size[0]] == "i" else 0


def _option(element: bytes) -> _Option:
    if element in (b"\x80", b"\xc0"):
        return _NO_OPTION
    if KINDS[element[0]] != "m":
        raise ProtocolError(f"got {NAMES[KINDS[element[0]]]} as option, expected a map or nil")
    try:
        return _OPTION.decode(element)
    except UNREADABLE:
        return _odd_option(element)


def _odd_option(element: bytes) -> _Option:
    """An option map with keys that are not strings: those are passed over."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(element) + 1)
    unpacker.feed(element)
    found: dict[str, msgspec.Raw] = {}
    for _ in range(unpacker.read_map_header()):
        spans = []
        for _ in range(2):
            start = unpacker.tell()
            unpacker.skip()
            spans.append(element[start : unpacker.tell()])
        key = payload(spans[0]) or b""
        if key.decode("utf-8", "replace") in _Option.__struct_fields__:
            found[key.decode()] = msgspec.Raw(spans[1])
    return _Option(**found)


def _tag(name: bytes) -> str:
    r"""As text. What is not UTF-8 is replaced by what is longer, and must not become too long for the next receiver.

    >>> _tag(b"app.\xff"), len(_tag(b"\xff" * 65_535).encode())
    ('app.\ufffd', 65535)
    """
    text = name.decode("utf-8", "replace")
    return text if len(name) * 3 <= _MAX_NAME_BYTES else text.encode()[:_MAX_NAME_BYTES].decode("utf-8", "ignore")


def _name(value: bytes, what: str) -> bytes:
    text = payload(value)
    if text is None:
        raise ProtocolError(f"got {NAMES[KINDS[value[0]]]} as {what}, expected a string")
    if len(text) > _MAX_NAME_BYTES:
        raise ProtocolError(f"got a {what} of {len(text)} bytes, expected at most {_MAX_NAME_BYTES}")
    return text


def _integer(value: bytes, what: str) -> int:
    try:
        return msgspec.msgpack.decode(value, type=int)
    except msgspec.DecodeError:
        raise ProtocolError(f"got {NAMES[KINDS[value[0]]]} as {what}, expected an integer") from None
