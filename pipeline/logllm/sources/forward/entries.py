"""The entries of a frame: counted, looked over, the unreadable ones taken out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm.sources.forward.wire import ARRAY_OF_TWO, KINDS, UNREADABLE, is_marker, may_hold_marker
from logllm.sources.scan import scan_block

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.sources.scan.host import Part

__all__ = [
    "HUGE",
    "NOT_A_MAP",
    "Entries",
    "Fault",
    "cut_entries",
    "entries_of_array",
    "entries_of_stream",
    "unreadable",
]


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
HUGE = b"\xc9\xff\xff\xff\xff"
"""The head of an extension that msgpack passes over as if it had no length; where it may be, ask `unreadable`."""

_BATCH = 4096
_FEW = 16
# At 4 us each. A small payload may inflate to sixty million values; all other connections wait meanwhile.
_MOST_SINGLY = 200_000


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
    if 0 < hint <= len(stream) and not may_hold_marker(stream):
        count = _count_if_good(b"\xdd" + hint.to_bytes(4, "big") + stream)
        if count is not None:
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
    sieve = _Sieve(stream)
    unpacker = msgpack.Unpacker(max_buffer_size=len(stream) + 1)
    unpacker.feed(stream)
    while sieve.at < len(stream):
        ends, reason = _next_ends(unpacker, len(stream))
        sieve.take(ends)
        if sieve.singly > _MOST_SINGLY:
            reason = f"behind {_MOST_SINGLY} that had to be looked at one by one"
        if reason is not None and sieve.at < len(stream):
            sieve.refuse(len(stream), reason)
    return sieve.entries()


def _next_ends(unpacker: Any, size: int) -> tuple[list[int], str | None]:
    """Where the next values end, and why the one behind them cannot be read."""
    ends: list[int] = []
    try:
        while len(ends) < _BATCH and unpacker.tell() < size:
            unpacker.skip()
            ends.append(unpacker.tell())
    except msgpack.OutOfData:
        return ends, "cut off"
    except msgpack.StackError:
        return ends, "nested too deeply"
    except msgpack.FormatError:
        return ends, "not MessagePack"
    return ends, None


class _Sieve:
    """Takes a stream apart. Good entries pass in long runs, so that a single bad one does not make all of them dear.

    Attributes:
        at: Bytes that have been looked at.
        singly: Entries that had to be looked at one by one.
    """

    def __init__(self, stream: bytes) -> None:
        self.at = self.singly = 0
        self._stream = stream
        self._good: list[bytes] = []
        self._count = self._markers = 0
        self._faults: list[tuple[int, int, str, int]] = []

    def take(self, ends: list[int]) -> None:
        """Look at whole values in a row: where each ends, the first beginning at `at`."""
        if len(ends) > 1 and self._all_good(ends):
            self._pass(ends[-1], len(ends))
        elif len(ends) > _FEW:
            middle = len(ends) // 2
            self.take(ends[:middle])
            self.take(ends[middle:])
        else:
            for end in ends:
                self._take_one(end)

    def _all_good(self, ends: list[int]) -> bool:
        block = self._stream[self.at : ends[-1]]
        array = b"\xdd" + len(ends).to_bytes(4, "big") + block
        return not may_hold_marker(block) and _count_if_good(array) is not None

    def refuse(self, end: int, reason: str) -> None:
        """What comes next, up to `end`, is no record."""
        if self._faults and self._faults[-1][1] == self.at and self._faults[-1][2] == reason:
            start, _, _, count = self._faults[-1]
            self._faults[-1] = (start, end, reason, count + 1)
        else:
            self._faults.append((self.at, end, reason, 1))
        self.at = end

    def entries(self) -> Entries:
        """What has come of it."""
        if self._count and not self._faults and not self._markers:
            return Entries(self._stream, self._count)
        faults = tuple(Fault(self._stream[start:end], reason, count) for start, end, reason, count in self._faults)
        return Entries(b"".join(self._good), self._count, faults, self._markers)

    def _take_one(self, end: int) -> None:
        self.singly += 1
        entry = self._stream[self.at : end]
        reason = _fault(entry)
        if reason is not None:
            self.refuse(end, reason)
        elif is_marker(entry):
            self._markers += 1
            self.at = end
        else:
            self._pass(end, 1)

    def _pass(self, end: int, count: int) -> None:
        self._good.append(self._stream[self.at : end])
        self._count += count
        self.at = end


def _fault(entry: bytes) -> str | None:
    if not entry.startswith(ARRAY_OF_TWO):
        return "not an array of two"
    unpacker = msgpack.Unpacker(max_buffer_size=len(entry) + 1)
    unpacker.feed(entry)
    unpacker.read_array_header()
    unpacker.skip()
    if KINDS[entry[unpacker.tell()]] != "m":
        return NOT_A_MAP
    return unreadable(entry)


def unreadable(entry: bytes) -> str | None:
    """Why nobody can read a value that msgpack has found to be whole; None where they can."""
    try:
        msgspec.msgpack.decode(entry, type=msgspec.Raw)
    except RecursionError:
        return "nested too deeply"
    except msgspec.DecodeError:
        # An extension that declares 4 GB: msgpack adds the byte of its type, and is back at none (see `HUGE`).
        return "not MessagePack"
    return None
