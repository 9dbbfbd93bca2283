"""A map from hashes to many numbers each, in flat arrays."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chains"]

_LEAST_HEADS = 1024


class Chains:
    """Numbers (int32, from 0) under hashes of 32 bits: some 18 bytes an entry, where a dict of lists takes 200.

    Two keys of one hash are one key to it: whoever asks looks at what is found. Adding and looking up cost one step
    for each entry of a chain (there are one or two), growing one pass of numpy each time the number doubles.
    """

    __slots__ = ("_hashes", "_heads", "_mask", "_next", "_size", "_values")

    _heads: memoryview
    _hashes: memoryview
    _values: memoryview
    _next: memoryview
    _size: int

    def __init__(self) -> None:
        self._link(np.empty(0, np.uint32), np.empty(0, np.int32))

    def __len__(self) -> int:
        return self._size

    def add(self, key: int, value: int) -> None:
        """Enter `value` under a hash in [0, 2**32)."""
        self.add_all([key], value)

    def add_all(self, keys: list[int], value: int) -> list[list[int]]:
        """Enter `value` under hashes one after the other; what `get` gave for each before that."""
        at = self._size
        end = at + len(keys)
        if end > 2 * self._mask:
            self._link(self._all_hashes, self._all_values, len(keys))
        mask, heads, nexts = self._mask, self._heads, self._next
        self._hashes[at:end] = array("I", keys)
        self._values[at:end] = array("i", [value]) * len(keys)
        self._size = end
        found = []
        for key in keys:
            slot = key & mask
            head = heads[slot]
            nexts[at] = head
            heads[slot] = at
            at += 1
            found.append(self._from(head, key) if head >= 0 else [])
        return found

    def get(self, key: int) -> list[int]:
        """What was entered under a hash, the newest first."""
        return self._from(self._heads[key & self._mask], key)

    def _from(self, at: int, key: int) -> list[int]:
        found = []
        hashes, nexts = self._hashes, self._next
        while at >= 0:
            if hashes[at] == key:
                found.append(self._values[at])
            at = nexts[at]
        return found

    def extend(self, keys: NDArray[np.uint32], values: NDArray[np.int32]) -> None:
        """Enter many, in order."""
        if len(self):
            keys = np.concatenate([self._all_hashes, keys])
            values = np.concatenate([self._all_values, values])
        self._link(keys, values)

    def keep(self, kept: NDArray[np.bool_], renumbered: NDArray[np.int32] | None = None) -> None:
        """Drop every entry whose value `kept` is false at; the others become `renumbered[value]`. One pass over all."""
        values = self._all_values
        mask = kept[values]
        values = values[mask]
        self._link(self._all_hashes[mask], values if renumbered is None else renumbered[values])

    @property
    def _all_hashes(self) -> NDArray[np.uint32]:
        return np.frombuffer(self._hashes, np.uint32)[: self._size]

    @property
    def _all_values(self) -> NDArray[np.int32]:
        return np.frombuffer(self._values, np.int32)[: self._size]

    def _link(self, hashes: NDArray[np.uint32], values: NDArray[np.int32], more: int = 0) -> None:
        n = len(values)
        size = max(_LEAST_HEADS, 1 << (n + n // 4 + more + 1).bit_length() - 1)
        # Sorted by slot, then by place: one number each, since a stable argsort takes ten times as long.
        both = (hashes & np.uint32(size - 1)).astype(np.int64) << 32
        both |= np.arange(n)
        both.sort()
        order = both.astype(np.int32)
        both >>= 32
        # Room for all that comes before the next time: growing bit by bit would leave holes as large in the heap. What
        # is not yet written to takes no memory.
        room = max(2 * (size - 1), n + more)
        all_hashes, all_values, nexts = np.empty(room, np.uint32), np.empty(room, np.int32), np.empty(room, np.int32)
        all_hashes[:n], all_values[:n], nexts[:n] = hashes, values, -1
        heads = np.full(size, -1, np.int32)
        if n:
            same = both[1:] == both[:-1]
            nexts[order[1:][same]] = order[:-1][same]
            ends = np.append(~same, True)
            heads[both[ends]] = order[ends]
        self._mask, self._size = size - 1, n
        # One number at a time is read and written twice as fast through a view as through the array.
        self._heads, self._hashes, self._values, self._next = heads.data, all_hashes.data, all_values.data, nexts.data
