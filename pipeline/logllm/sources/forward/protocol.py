"""The forward protocol as pure computation: bytes in, chunks and notices out.

Implements the Fluentd Forward Protocol Specification v1.5 with the entries of Fluent Bit (`[[time, metadata],
record]`) on the receiving side. No I/O: `forward.py` owns the sockets.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm.errors import ProtocolError
from logllm.events import Chunk, Origin
from logllm.sources.forward.entries import Entries, Fault
from logllm.sources.forward.frame import Item, Notice, Received, Single, Skipped, read_frame
from logllm.sources.forward.walk import Walk
from logllm.sources.forward.wire import KINDS, LONG_FORMS, NAMES, ack_bytes, declared, stranger
from logllm.sources.scan import FEWEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fault", "Item", "Limits", "Notice", "Received", "Receiver", "Skipped", "ack_bytes"]

# The scanner is fed in steps, so that its own buffer never exceeds a frame by more than this.
_STEP = 1 << 20
# Message-mode frames that arrive together are joined up to this size: one chunk, one pass through the pipeline.
_JOIN_BYTES = 1 << 20


class Limits(msgspec.Struct, frozen=True):
    """What one connection may ask for.

    Args:
        frame_bytes: A frame may be this long; Fluent Bit sends about 2 MB, more after a single large append.
        inflated_bytes: A compressed payload may inflate to this.
    """

    frame_bytes: int = 32 << 20
    inflated_bytes: int = 64 << 20


class Receiver:
    """One connection's incoming side.

    Bytes may come in any pieces: the end of a frame is found by a scan that goes on where it stopped, so the work is
    linear and nothing depends on how the bytes were cut. What is buffered is at most one unfinished frame and what
    was fed since.

    >>> receiver = Receiver(peer="127.0.0.1:5000")
    >>> receiver.feed(b"\\x93\\xa3app\\xce\\x65\\x53\\xf1\\x00\\x81\\xa3log\\xa2hi")
    >>> [(item.chunk.tag, item.chunk.count) for item in receiver.items()]
    [('app', 1)]

    Args:
        peer: The sender's address, for `Origin`.
        limits: Sizes past which the connection is refused.
    """

    def __init__(self, peer: str = "", limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._peer = peer
        self._limits = limits
        self._buffer = bytearray()
        self._base = 0  # stream offset of the buffer's first byte
        self._fed = 0  # bytes of the buffer the scanner has
        self._scanner: Any = None
        self._scanned_from = 0  # stream offset of the first byte the scanner was fed
        self._cuts: list[int] = []  # stream offsets: the frame's begin, then of its first element, then their ends
        self._left = 0
        self._walk: Walk | None = None
        self._walked = False
        self._error: ProtocolError | None = None
        self.frames = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes held: fed and not yet given out as items."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes from the peer; they are copied. `items` reads them."""
        self._buffer += data

    def items(self) -> Iterator[Item]:
        """Whatever is complete, in order of arrival; frames before a malformed one are given out first.

        More may be fed while an item is being dealt with.

        Raises:
            ProtocolError: the peer broke the protocol or a limit; the connection is of no more use.
        """
        joined = _Joined(self._peer)
        while self._error is None:
            try:
                found = self._next_frame()
            except ProtocolError as error:
                self._error = error
                self._buffer.clear()
                break
            if found is None:
                if not self._buffer:
                    # 50 KB, for a connection that may be silent from now on.
                    self._scanner = None
                break
            for item in found:
                if isinstance(item, Single):
                    if not joined.takes(item):
                        yield joined.flush()
                    joined.add(item)
                    continue
                if joined:
                    yield joined.flush()
                yield item
        if joined:
            yield joined.flush()
        if self._error is not None:
            raise self._error

    def _next_frame(self) -> list[Item | Single] | None:
        base = self._base
        entries: Entries | None = None
        if self._goes_on_walking():
            walked = self._walk.done(self._buffer) if self._walk is not None else None
            if walked is None:
                return None
            elements, entries, size = walked
            self._walk = None
            # What the scanner had of this frame it cannot pass over.
            self._scanner, self._fed = None, 0
        else:
            if not self._scan():
                return None
            cuts = self._cuts
            with memoryview(self._buffer) as view:
                elements = [bytes(view[start - base : end - base]) for start, end in pairwise(cuts[1:])]
            size = cuts[-1] - base
            self._fed -= size
        self._walked = False
        self._base += size
        del self._buffer[:size]
        self.frames += 1
        if not elements:
            return [Notice("heartbeat")]
        try:
            return read_frame(elements, size, self._peer, self._limits.inflated_bytes, entries)
        except ProtocolError as error:
            raise ProtocolError(f"{error} (in the frame at byte {base})") from error

    def _goes_on_walking(self) -> bool:
        """Whether the frame that has begun is read entry by entry as it comes; if not, or no longer, `_scan` reads it.

        The walk reads plain Forward mode only, and gives up at whatever is odd or large, so the limits are `_scan`'s.
        """
        if self._walk is None:
            if self._walked or self._left or len(self._buffer) < FEWEST_BYTES:
                return False
            self._walked = True
            self._walk = Walk.begin(self._buffer)
            if self._walk is None:
                return False
        if not self._walk.go_on(self._buffer) or self._walk.size(self._buffer) > self._limits.frame_bytes:
            self._walk = None
        return self._walk is not None

    def _scan(self) -> bool:
        """Whether a whole frame is here; then `_cuts` are its bounds."""
        limit = self._limits.frame_bytes
        if self._scanner is None:
            self._scanner = msgpack.Unpacker(max_buffer_size=limit + 2 * _STEP)
            self._scanned_from = self._base
        while True:
            try:
                if not self._left:
                    self._begin()
                while self._left:
                    self._look(len(self._cuts) - 2)
                    self._scanner.skip()
                    self._cuts.append(self._scanned_from + self._scanner.tell())
                    self._left -= 1
            except msgpack.OutOfData:
                if self._fed > limit:
                    raise self._broken(f"a frame of more than {limit} bytes, expected at most that") from None
                if self._fed == len(self._buffer):
                    return False
                step = self._buffer[self._fed : self._fed + _STEP]
                self._scanner.feed(step)
                self._fed += len(step)
                continue
            except msgpack.StackError as error:
                raise self._broken("values nested more than a thousand deep, expected a record") from error
            except msgpack.FormatError as error:
                raise self._broken(f"{NAMES['x']} inside a frame") from error
            if self._cuts[-1] - self._base > limit:
                raise self._broken(f"a frame of {self._cuts[-1] - self._base} bytes, expected at most {limit}")
            return True

    def _begin(self) -> None:
        if not self._buffer:
            raise msgpack.OutOfData
        first = self._buffer[0]
        if first == 0xC0:
            self._scanner.skip()
            self._cuts = [self._base, self._scanned_from + self._scanner.tell()]
            return
        if KINDS[first] != "a":
            raise self._broken(f"{stranger(bytes(self._buffer[:64]))}, expected a MessagePack array")
        elements = self._scanner.read_array_header()
        if not 2 <= elements <= 5:
            ping = " (a PING, but no shared key is set here)" if b"PING" in self._buffer[:8] else ""
            raise self._broken(f"an array of {elements} elements{ping}, expected 2 to 5")
        self._cuts = [self._base, self._scanned_from + self._scanner.tell()]
        self._left = elements

    def _look(self, element: int) -> None:
        """Refuse an element that can only be wrong, or be longer than a frame may, as soon as its header is here."""
        at = self._cuts[-1] - self._base
        if at >= len(self._buffer):
            raise msgpack.OutOfData
        first = self._buffer[at]
        kind = KINDS[first]
        if (element == 0 and kind not in "sB") or (element == 1 and kind not in "asBife"):
            expected = "a string as tag" if element == 0 else "entries or a time"
            raise self._broken(f"{NAMES[kind]}, expected {expected}", at)
        if first in LONG_FORMS and (length := declared(self._buffer, at)) > self._limits.frame_bytes:
            what = f"{NAMES[kind]} that declares a length of {length}"
            raise self._broken(f"{what}, expected at most {self._limits.frame_bytes} bytes in a frame", at)

    def _broken(self, got: str, at: int = 0) -> ProtocolError:
        return ProtocolError(f"got {got} (at byte {self._base + at})")


class _Joined:
    """Message-mode frames of one tag on their way into one chunk.

    Frames that want an ack are never mixed with such that do not, so `acks` has an id for each record or none.
    """

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._singles: list[Single] = []
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._singles)

    def takes(self, single: Single) -> bool:
        if not self._singles:
            return True
        first = self._singles[0]
        return first.tag == single.tag and bool(first.acks) == bool(single.acks) and self._size < _JOIN_BYTES

    def add(self, single: Single) -> None:
        self._singles.append(single)
        self._size += single.size_bytes

    def flush(self) -> Received:
        singles, size = self._singles, self._size
        self._singles, self._size = [], 0
        acks = tuple(ack for single in singles for ack in single.acks)
        origin = Origin(self._peer, acks[0] if len(acks) == 1 else None)
        block = b"".join([single.entry for single in singles])
        return Received(Chunk(singles[0].tag, len(singles), size, origin, block=block), acks, "Message")
