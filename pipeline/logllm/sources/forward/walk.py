"""A Forward-mode frame read entry by entry while it comes: one pass finds its end, checks it and reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]

from logllm.sources.forward.entries import Entries
from logllm.sources.forward.wire import UNREADABLE
from logllm.sources.scan import scanner
from logllm.sources.scan.host import CUT, ODD, Part

if TYPE_CHECKING:
    from logllm.sources.scan.host import Codes

__all__ = ["Walk"]

# An entry that is not whole is looked at again with every piece that comes, so neither may go on for long.
_LONGEST_REST = 262_144
_SMALL_PIECE = 8192
_MOST_SMALL_PIECES = 8
_LONGEST_OPTION = 4096
_TOO_ODD = (msgpack.FormatError, msgpack.StackError, *UNREADABLE)


class Walk:
    """What is known of the frame that the buffer begins with.

    Attributes:
        at: Bytes of it that have been read.
        ended: Whether that is all of it.
    """

    def __init__(self, tag: bytes, begin: int, count: int, *, two: bool, codes: Codes) -> None:
        self._tag, self._begin, self._count, self._two, self._codes = tag, begin, count, two, codes
        self._left = count
        self._parts: list[Part] = []
        self._option = b""
        self._seen = begin
        self._small = 0
        self.at = begin
        self.ended = False

    @classmethod
    def begin(cls, buffer: bytearray) -> Walk | None:
        """A walk along the frame at the buffer's begin; None for one that is not of Forward mode, or no scan.

        Args:
            buffer: 300 bytes at least.
        """
        if buffer[0] not in (0x92, 0x93):
            return None
        head = buffer[1]
        if 0xA0 <= head < 0xC0:
            end = 2 + (head & 31)
        elif head == 0xD9:
            end = 3 + buffer[2]
        else:
            return None
        kind = buffer[end]
        width = 4 if kind == 0xDD else 2 if kind == 0xDC else 0
        begin = end + 1 + width
        count = int.from_bytes(buffer[end + 1 : begin], "big") if width else kind & 15 if 0x90 <= kind < 0xA0 else 0
        if not count or (found := scanner()) is None:
            return None
        found.refresh()
        return cls(bytes(buffer[1:end]), begin, count, two=buffer[0] == 0x92, codes=found.codes)

    def go_on(self, buffer: bytearray) -> bool:
        """Read on in the same buffer, which may have grown; false where the walk is given up."""
        if self._left and len(buffer) > self._seen and not self._read(buffer):
            return False
        if self._left or self.ended:
            return True
        if not self._two:
            rest = bytes(buffer[self.at : self.at + _LONGEST_OPTION])
            unpacker = msgpack.Unpacker()
            unpacker.feed(rest)
            try:
                unpacker.skip()
            except msgpack.OutOfData:
                return len(rest) < _LONGEST_OPTION
            except _TOO_ODD:
                return False
            self._option = rest[: unpacker.tell()]
        self.at += len(self._option)
        self.ended = True
        return True

    def _read(self, buffer: bytearray) -> bool:
        found = scanner()
        if found is None:
            return False
        if found.codes is not self._codes:
            self._codes = found.codes
            self._parts, self._left, self.at = [], self._count, self._begin
        self._small += len(buffer) - self._seen < _SMALL_PIECE
        self._seen = len(buffer)
        parts, self.at, status = found.read(buffer, self.at, self._left)
        self._parts += parts
        self._left -= sum(map(len, parts))
        if not self._left:
            return True
        too_long = status == CUT and len(buffer) - self.at > _LONGEST_REST
        return status != ODD and not too_long and self._small <= _MOST_SMALL_PIECES

    def size(self, buffer: bytearray) -> int:
        """Bytes the frame has, at least."""
        return self.at if self.ended else len(buffer)

    def done(self, buffer: bytearray) -> tuple[list[bytes], Entries, int] | None:
        """The frame's elements, its entries, and its size; None while it has not ended.

        The second element is not given: it is the entries.
        """
        if not self.ended:
            return None
        scan = Part.joined(self._parts)
        with memoryview(buffer) as view:
            block = bytes(view[self._begin : self._begin + scan.size])
        elements = [self._tag, b""] if self._two else [self._tag, b"", self._option]
        return elements, Entries(block, self._count, scan=scan), self.at
