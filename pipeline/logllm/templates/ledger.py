"""What is kept of each template index given out: what it is now, its id, its count, when it was last seen."""

from __future__ import annotations

import hashlib
from collections import deque

import numpy as np
from numpy.typing import NDArray

from logllm.templates.chains import Chains

__all__ = ["ALIVE", "GONE", "MERGED", "OWN", "Ledger", "id_text"]

ALIVE, OWN, MERGED, GONE = 0, 1, 2, 3
_COLUMNS = (
    ("canonical", np.int32),
    ("counts", np.int64),
    ("last", np.int64),
    ("ids", np.int64),
    ("state", np.int8),
    ("owner", np.int32),
)
_ID_BYTES = 6
_SPREAD = 16
_MOST_AT_ONCE = 4096


class Ledger:
    """Indices from 0 on. One that was merged leads to what it became; one that was evicted, nowhere, until it is given
    out again, which is not before `reuse` says that nobody means the old one by it.

    `held` is the number of mined templates alive by the service that met them first. Cost: an index takes 29 bytes
    and its entry under its id 18; a merge costs what had become part of the merged one, an eviction a pass of numpy.

    Shapes:
        canonical: int32[at least size], the index each index is now.
        counts: int64[at least size], messages, under the canonical index.
        last: int64[at least size], number of the last message.
        ids: int64[at least size], the id's 48 bits.
        state: int8[at least size], ALIVE (mined), OWN (of no message, or the user's: never evicted for room), MERGED
            or GONE.
        owner: int32[at least size], the service it was first met in.
    """

    def __init__(self) -> None:
        self.size = 0
        self.canonical: NDArray[np.int32] = np.empty(0, np.int32)
        self.counts: NDArray[np.int64] = np.empty(0, np.int64)
        self.last: NDArray[np.int64] = np.empty(0, np.int64)
        self.ids: NDArray[np.int64] = np.empty(0, np.int64)
        self.state: NDArray[np.int8] = np.empty(0, np.int8)
        self.owner: NDArray[np.int32] = np.empty(0, np.int32)
        self.reserve(1024)
        self.alive = 0
        self.held: dict[int, int] = {}
        self.members: dict[int, list[int]] = {}
        self.merged: list[tuple[int, int]] = []
        self.evicted: list[int] = []
        self.told: list[int] = []
        self.free: deque[int] = deque()
        self.moved = False
        self.names = Chains()
        self._named_gone = 0

    def add(self, shape: str, owner: int = 0, state: int = ALIVE) -> int:
        """A new index; its id is a hash of `shape`, and of a number too where another template has that hash."""
        if self.free:
            index = self.free.popleft()
            self.counts[index] = self.last[index] = 0
        else:
            index = self.size
            self.reserve(index + 1)
            self.size += 1
        salt, name = 0, _hash(shape)
        while self.by_id(name) is not None:
            salt += 1
            name = _hash(f"{shape}\0{salt}")
        self.canonical[index] = index
        self.ids[index] = name
        self.state[index] = state
        self.owner[index] = owner
        self.alive += 1
        if state == ALIVE:
            self.held[owner] = self.held.get(owner, 0) + 1
        self.names.add(_spread(name), index)
        return index

    def reserve(self, size: int) -> None:
        """Have room for this many indices."""
        have = len(self.counts)
        if size > have:
            more = max(have, size - have)
            for column, dtype in _COLUMNS:
                setattr(self, column, np.concatenate([getattr(self, column), np.zeros(more, dtype)]))

    def by_id(self, name: int) -> int | None:
        """The index that was given this id, whatever it has become since; None where none is or it was evicted."""
        found = self.names.get(_spread(name))
        return next((index for index in found if self.ids[index] == name and self.state[index] != GONE), None)

    def is_alive(self, index: int) -> bool:
        return bool(self.state[index] <= OWN)

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
        """`old` becomes `new`, with all that had become `old`. Both are alive and not the same."""
        moved = [old, *self.members.pop(old, ())]
        self.canonical[moved] = new
        self.members.setdefault(new, []).extend(moved)
        self.moved = True
        self.counts[new] += self.counts[old]
        self.counts[old] = 0
        self.last[new] = max(self.last[new], self.last[old])
        self._leave(old, MERGED)
        self.merged.append((old, new))

    def oldest(self, wanted: dict[int, int]) -> list[int]:
        """Of each service that many mined templates at most, those that have been unused for longest."""
        alive = np.flatnonzero(self.state[: self.size] == ALIVE)
        owners, last = self.owner[alive], self.last[alive]
        found: list[int] = []
        for owner, number in wanted.items():
            mine = np.flatnonzero(owners == owner)
            number = min(number, _MOST_AT_ONCE, len(mine))
            order = np.argpartition(last[mine], number - 1) if number < len(mine) else np.arange(number)
            found += sorted(alive[mine[order[:number]]].tolist())
        return found

    def evict(self, gone: list[int]) -> list[int]:
        """Forget templates that are alive; returns their indices with all that had become theirs.

        All those are `evicted`.
        """
        dead = []
        for index in gone:
            dead += [index, *self.members.pop(index, ())]
            self._leave(index, GONE)
        self.state[dead] = GONE
        self.evicted += sorted(dead)
        self._named_gone += len(dead)
        if self._named_gone > 1000 + len(self.names) // 2:
            self._name_all()
        return dead

    def drain(self) -> tuple[list[tuple[int, int]], list[int]]:
        """What was merged and evicted since this was last asked."""
        merged, evicted = self.merged, self.evicted
        self.told += evicted
        self.merged, self.evicted = [], []
        return merged, evicted

    def reuse(self) -> None:
        """What `drain` has told of as evicted may be given out again, the first first."""
        self.free += self.told
        self.told = []

    def _leave(self, index: int, state: int) -> None:
        if self.state[index] == ALIVE:
            owner = int(self.owner[index])
            left = self.held[owner] - 1
            if left:
                self.held[owner] = left
            else:
                del self.held[owner]
        self.state[index] = state
        self.alive -= 1

    def take_back(self) -> None:
        """Make the rest from the columns and `size`."""
        state, canonical = self.state[: self.size], self.canonical[: self.size]
        self.alive = int((state <= OWN).sum())
        owners, counts = np.unique(self.owner[: self.size][state == ALIVE], return_counts=True)
        self.held = dict(zip(owners.tolist(), counts.tolist(), strict=True))
        self.members = {}
        for index in np.flatnonzero(state == MERGED).tolist():
            self.members.setdefault(int(canonical[index]), []).append(index)
        self.moved = bool((state == MERGED).any())
        self._name_all()

    def _name_all(self) -> None:
        """Enter all under their ids that are not gone: an index given out again may still stand under its old one."""
        named = np.flatnonzero(self.state[: self.size] != GONE).astype(np.int32)
        self.names = Chains()
        self.names.extend((self.ids[named] >> _SPREAD).astype(np.uint32), named)
        self._named_gone = 0


def id_text(number: int) -> str:
    """An id as it is shown: 12 hexadecimal digits."""
    return f"{number:012x}"


def _spread(name: int) -> int:
    return name >> _SPREAD


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_ID_BYTES).digest(), "big")
