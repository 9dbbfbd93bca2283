"""The entries of a frame: counted, looked over, the unreadable ones taken out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm.sources.forward_wire import ARRAY_OF_TWO, KINDS, UNREADABLE, is_marker, may_hold_marker
from logllm.sources.scan import scan_block

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.sources.scan.host import Part

__all__ = ["NOT_A_MAP", "Entries", "Fault", "cut_entries", "entries_of_array", "entries_of_stream"]


class Fault(msgspec.Struct, frozen=True):
    """Neighbouring entries that are no records, for one reason."""

    entry: bytes
    reason: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Entries:
    """The good entries of a frame as one block, what is known of them, and what was left out of it."""

    block: bytes
    count: int
    faults: tuple[Fault, ...] = ()
    markers: int = 0
    scan: Part | None = None


# These three only check: a map is walked, none of its values is built. 0.08 us an entry.
class _AnyMap(msgspec.Struct, gc=False):
    pass


class _Head(msgspec.Struct, array_like=True, gc=False):
    pass


class _Entry(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    time: _Head | int | float
    record: _AnyMap


class _EventTimeEntry(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    time: msgspec.Raw
    record: _AnyMap


_ENTRIES = msgspec.msgpack.Decoder(list[_Entry])
_EVENT_TIME_ENTRIES = msgspec.msgpack.Decoder(list[_EventTimeEntry])

NOT_A_MAP = "record is not a map"


def entries_of_array(array: bytes) -> Entries:
    """The entries of a Forward-mode array, one whole MessagePack value."""
    body = {0xDC: 3, 0xDD: 5}.get(array[0], 1)
    block = array[body:]
    if (scan := scan_block(block)) is not None:
        return Entries(block, len(scan), scan=scan)
    if may_hold_marker(block) or (count := _count_if_good(array)) is None:
        return _sift(block)
    return Entries(block, count)


def entries_of_stream(stream: bytes, hint: int) -> Entries:
    """The entries of a packed payload, any bytes.

    Args:
        stream: Entries one after the other, as the peer sent them.
        hint: How many it says there are; a wrong number only costs time.
    """
    if (scan := scan_block(stream)) is not None:
        return Entries(stream, len(scan), scan=scan)
    if not may_hold_marker(stream):
        for known in (hint, 0):
            count = known or _values(stream)
            if 0 < count <= len(stream) and _count_if_good(b"\xdd" + count.to_bytes(4, "big") + stream) == count:
                return Entries(stream, count)
    return _sift(stream)


def cut_entries(block: bytes) -> list[bytes]:
    r"""The entries of a good block, each by itself.

    >>> cut_entries(b"\x92\x01\x80\x92\x02\x80")
    [b'\x92\x01\x80', b'\x92\x02\x80']
    """
    unpacker = msgpack.Unpacker(max_buffer_size=len(block) + 1)
    unpacker.feed(block)
    cuts = [0]
    while cuts[-1] < len(block):
        unpacker.skip()
        cuts.append(unpacker.tell())
    return [block[start:end] for start, end in pairwise(cuts)]


def _values(stream: bytes) -> int:
    """How many values there are one after the other; 0 where they are not whole."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(stream) + 1)
    unpacker.feed(stream)
    count = 0
    try:
        while unpacker.tell() < len(stream):
            unpacker.skip()
            count += 1
    except (msgpack.OutOfData, msgpack.StackError, msgpack.FormatError):
        return 0
    return count


def _count_if_good(array: bytes) -> int | None:
    looks: tuple[Callable[[bytes], list[_Entry] | list[_EventTimeEntry]], ...]
    looks = (_ENTRIES.decode, _EVENT_TIME_ENTRIES.decode)
    for look in looks:
        try:
            return len(look(array))
        except UNREADABLE:
            continue
    return None


def _sift(stream: bytes) -> Entries:
    unpacker = msgpack.Unpacker(max_buffer_size=len(stream) + 1)
    unpacker.feed(stream)
    good: list[bytes] = []
    faults: list[tuple[int, int, str, int]] = []
    markers = at = 0
    while at < len(stream):
        try:
            unpacker.skip()
            end, reason = unpacker.tell(), None
        except msgpack.OutOfData:
            end, reason = len(stream), "cut off"
        except msgpack.StackError:
            end, reason = len(stream), "nested too deeply"
        except msgpack.FormatError:
            end, reason = len(stream), "not MessagePack"
        entry = stream[at:end]
        reason = reason or _fault(entry)
        if reason is not None:
            if faults and faults[-1][1] == at and faults[-1][2] == reason:
                start, _, _, count = faults[-1]
                faults[-1] = (start, end, reason, count + 1)
            else:
                faults.append((at, end, reason, 1))
        elif is_marker(entry):
            markers += 1
        else:
            good.append(entry)
        at = end
    found = tuple(Fault(stream[start:end], reason, count) for start, end, reason, count in faults)
    return Entries(b"".join(good), len(good), found, markers)


def _fault(entry: bytes) -> str | None:
    if not entry.startswith(ARRAY_OF_TWO):
        return "not an array of two"
    unpacker = msgpack.Unpacker(max_buffer_size=len(entry) + 1)
    unpacker.feed(entry)
    unpacker.read_array_header()
    unpacker.skip()
    if KINDS[entry[unpacker.tell()]] != "m":
        return NOT_A_MAP
    try:
        msgspec.msgpack.decode(entry, type=msgspec.Raw)
    except RecursionError:
        return "nested too deeply"
    return None
