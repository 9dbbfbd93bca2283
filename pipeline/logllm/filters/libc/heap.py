"""Memory that the host gives out to a guest: what `malloc` is for modules built without a libc.

Pieces are cut from pages at the end of the guest's memory, and what is known of them is known here: a guest that writes
past its piece spoils only its own data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logllm.wasm.guest import Guest

__all__ = ["MOST_PIECES", "Heap"]

MOST_PIECES = 1 << 18
"""Pieces that have been given out and not got back; then there is no more memory."""

_SMALLEST = 256  # what is known of a piece takes some hundred bytes here
_PAGE = 65536
_GROWTH_PAGES = 4


class Heap:
    """What `malloc` has given to one guest."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._free: dict[int, list[int]] = {}
        self._next = 0
        self._end = 0

    @property
    def crowded(self) -> bool:
        """Whether half of the pieces there may be are out."""
        return len(self._sizes) > MOST_PIECES // 2

    def allocate(self, guest: Guest, size: int) -> int:
        """A piece of memory; 0 where there is none."""
        size = _rounded(size)
        waiting = self._free.get(size)
        if len(self._sizes) >= MOST_PIECES:
            return 0
        if waiting:
            place = waiting.pop()
        else:
            if self._next + size > self._end and not self._grow(guest, size):
                return 0
            place = self._next
            self._next += size
        self._sizes[place] = size
        return place

    def _grow(self, guest: Guest, size: int) -> bool:
        pages = -(-size // _PAGE)
        begin = guest.grow(max(pages, _GROWTH_PAGES))
        if begin is None:
            return False
        if begin != self._end:
            self._next = begin
        self._end = begin + max(pages, _GROWTH_PAGES) * _PAGE
        return True

    def size(self, place: int) -> int:
        """How large a piece is; 0 for what is none."""
        return self._sizes.get(place, 0)

    def free(self, place: int) -> None:
        """Take a piece back; what is none is left alone."""
        size = self._sizes.pop(place, 0)
        if size:
            self._free.setdefault(size, []).append(place)


def _rounded(size: int) -> int:
    step = max(_SMALLEST, 1 << max(size.bit_length() - 3, 0))
    return max(-(-size // step), 1) * step
