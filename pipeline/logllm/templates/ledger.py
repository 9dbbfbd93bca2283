"""What is kept of each template index ever given out: what it is now, its id, its count, when it was last seen."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ledger"]


class Ledger:
    """Indices from 0 on, never used twice. One that was merged leads to what it became; one that was evicted, nowhere.

    Shapes:
        canonical: int32[at least size], the index each index is now.
        counts: int64[at least size], messages, under the canonical index.
        last: int64[at least size], number of the last message.
    """

    def __init__(self) -> None:
        self.size = 0
        self.canonical: NDArray[np.int32] = np.arange(1024, dtype=np.int32)
        self.counts: NDArray[np.int64] = np.zeros(1024, np.int64)
        self.last: NDArray[np.int64] = np.zeros(1024, np.int64)
        self.ids: dict[int, str] = {}
        self.names: dict[str, int] = {}
        self.merged: list[tuple[int, int]] = []
        self.evicted: list[int] = []
        self.moved = False

    def add(self, shape: str) -> int:
        """A new index; its id is a hash of `shape`, and of a number too where another template has that hash."""
        index = self.size
        self.reserve(index + 1)
        self.size += 1
        salt, name = 0, _hash(shape)
        while name in self.names:
            salt += 1
            name = _hash(f"{shape}\0{salt}")
        self.ids[index] = name
        self.names[name] = index
        return index

    def reserve(self, size: int) -> None:
        have = len(self.counts)
        if size > have:
            more = max(have, size - have)
            self.canonical = np.concatenate([self.canonical, np.arange(have, have + more, dtype=np.int32)])
            self.counts = np.concatenate([self.counts, np.zeros(more, np.int64)])
            self.last = np.concatenate([self.last, np.zeros(more, np.int64)])

    def count(self, indices: NDArray[np.int32], first: int) -> NDArray[np.int32]:
        """Count messages, number `first` and on, by what their indices are now; returns that."""
        if self.moved:
            indices = self.canonical[indices]
        if len(indices) * 16 < self.size:
            np.add.at(self.counts, indices, 1)
        else:
            counts = np.bincount(indices)
            self.counts[: len(counts)] += counts
        self.last[indices] = np.arange(first, first + len(indices))
        return indices

    def merge(self, old: int, new: int) -> None:
        canonical = self.canonical[: self.size]
        canonical[canonical == old] = new
        self.moved = True
        self.counts[new] += self.counts[old]
        self.counts[old] = 0
        self.last[new] = max(self.last[new], self.last[old])
        del self.ids[old]
        self.merged.append((old, new))

    def oldest(self, number: int, keep: int) -> set[int]:
        """The `number` templates, other than `keep`, that have been unused for longest."""
        alive = np.fromiter((index for index in self.ids if index != keep), np.int32)
        order = np.argsort(self.last[alive], kind="stable")
        return set(alive[order[:number]].tolist())

    def evict(self, gone: set[int]) -> set[int]:
        """Forget templates; returns their indices with all that had become theirs."""
        dead = set(np.flatnonzero(np.isin(self.canonical[: self.size], list(gone))).tolist())
        self.names = {name: index for name, index in self.names.items() if index not in dead}
        for index in gone:
            del self.ids[index]
        self.evicted += sorted(gone)
        return dead


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
