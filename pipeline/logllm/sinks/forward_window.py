"""Frames on their way and acks owed for them. Knows no sockets."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import islice

from logllm.sinks.forward_frames import Frame, Packing
from logllm.sinks.parcel import Parcel

__all__ = ["MOST_BYTES", "MOST_FRAMES", "Window"]

MOST_FRAMES = 64
"""So many frames may be unacknowledged: a receiver that is slow to write acks has at most so many to write."""

MOST_BYTES = 8 << 20
"""No further frame is made while so many bytes are unacknowledged."""

_Placed = tuple[int, Frame]


class Window:
    """The parcels of one call, as frames: some still to be made, some to be sent, some to be acknowledged.

    Args:
        parcels: In the order they are to go.
        packing: How frames are made; each is made when there is room for it.

    Attributes:
        done: Parcels from the front of which every frame is acknowledged.
        frames, bytes: What has been made and is not acknowledged.
    """

    def __init__(self, parcels: Sequence[Parcel], packing: Packing) -> None:
        self.done = 0
        self.frames = 0
        self.bytes = 0
        # Frames without an ack, and one more until all of a parcel's frames are made.
        self._owed = [1] * len(parcels)
        self._to_make = self._made(parcels, packing)
        self._outbox: deque[memoryview] = deque()
        # The frame that ends with a piece can be acknowledged once that piece is sent; with None one goes on.
        self._ending: deque[_Placed | None] = deque()
        self._sent: defaultdict[bytes, deque[_Placed]] = defaultdict(deque)

    def _made(self, parcels: Sequence[Parcel], packing: Packing) -> Iterator[_Placed]:
        for place, parcel in enumerate(parcels):
            for frame in packing.frames(parcel):
                self._owed[place] += 1
                yield place, frame
            self._settle(place)

    def _settle(self, place: int) -> None:
        self._owed[place] -= 1
        while not self.complete and self._owed[self.done] == 0:
            self.done += 1

    @property
    def complete(self) -> bool:
        """Whether every parcel is done."""
        return self.done == len(self._owed)

    def fill(self) -> None:
        """Make frames while there is room for them."""
        while self.frames < MOST_FRAMES and self.bytes < MOST_BYTES:
            placed = next(self._to_make, None)
            if placed is None:
                return
            frame = placed[1]
            self.frames += 1
            self.bytes += frame.size_bytes
            self._outbox.extend(map(memoryview, frame.pieces))
            self._ending.extend([None] * (len(frame.pieces) - 1))
            self._ending.append(placed)

    def to_send(self, most: int) -> list[memoryview]:
        """The next pieces, at most so many."""
        return list(islice(self._outbox, most))

    def sent(self, count: int) -> None:
        """So many bytes of them have gone out."""
        while count:
            piece = self._outbox.popleft()
            if count < len(piece):
                self._outbox.appendleft(piece[count:])
                return
            count -= len(piece)
            placed = self._ending.popleft()
            if placed is not None:
                self._sent[placed[1].chunk_id].append(placed)

    def acked(self, chunk_id: bytes) -> bool:
        """An ack has come; False where none is owed for this id: no whole frame with it is unacknowledged.

        The same id may be under way several times (it is a hash of the records): each ack counts for the oldest.
        """
        waiting = self._sent.get(chunk_id)
        if not waiting:
            return False
        place, frame = waiting.popleft()
        if not waiting:
            del self._sent[chunk_id]
        self.frames -= 1
        self.bytes -= frame.size_bytes
        self._settle(place)
        return True
