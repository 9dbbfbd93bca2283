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

    __slots__ = ("_hashes", "_heads", "_mask", "_next", "_values")

    def __init__(self) -> None:
        self._link(np.empty(0, np.uint32), np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self._values)

    def add(self, key: int, value: int) -> None:
        """Enter `value` under a hash in [0, 2**32)."""
        self.add_all([key], value)

    def add_all(self, keys: list[int], value: int) -> list[list[int]]:
        """Enter `value` under hashes one after the other; what `get` gave for each before that."""
        at = len(self._values)
        if at + len(keys) > 2 * self._mask:
            self._link(np.frombuffer(self._hashes, np.uint32), np.frombuffer(self._values, np.int32), len(keys))
        mask, heads, link = self._mask, self._heads, self._next.append
        self._hashes.fromlist(keys)
        self._values.fromlist([value] * len(keys))
        found = []
        for key in keys:
            slot = key & mask
            head = heads[slot]
            link(head)
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
            keys = np.concatenate([np.frombuffer(self._hashes, np.uint32), keys])
            values = np.concatenate([np.frombuffer(self._values, np.int32), values])
        self._link(keys, values)

    def keep(self, kept: NDArray[np.bool_], renumbered: NDArray[np.int32] | None = None) -> None:
        """Drop every entry whose value `kept` is false at; the others become `renumbered[value]`. One pass over all."""
        values = np.frombuffer(self._values, np.int32)
        mask = kept[values]
        values = values[mask]
        self._link(np.frombuffer(self._hashes, np.uint32)[mask], values if renumbered is None else renumbered[values])

    def _link(self, hashes: NDArray[np.uint32], values: NDArray[np.int32], more: int = 0) -> None:
        n = len(values)
        size = max(_LEAST_HEADS, 1 << (n + n // 4 + more + 1).bit_length() - 1)
        # Sorted by slot, then by place: one number each, since a stable argsort takes ten times as long.
        both = (hashes & np.uint32(size - 1)).astype(np.int64) << 32
        both |= np.arange(n)
        both.sort()
        order = both.astype(np.int32)
        both >>= 32
        nexts = np.full(n, -1, np.int32)
        heads = np.full(size, -1, np.int32)
        if n:
            same = both[1:] == both[:-1]
            nexts[order[1:][same]] = order[:-1][same]
            ends = np.append(~same, True)
            heads[both[ends]] = order[ends]
        self._mask = size - 1
        self._heads = array("i", heads.tobytes())
        self._hashes = array("I", hashes.tobytes())
        self._values = array("i", values.tobytes())
        self._next = array("i", nexts.tobytes())
