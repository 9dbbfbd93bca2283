"""The chunk at hand: which of its records go on, and what each of those stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logllm.sinks.reduce.ring import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.sinks.reduce.count import Counter

__all__ = ["AtHand"]


class AtHand:
    """A chunk while its records are judged.

    Args:
        at: Where each entry begins, int64[n].
        first: The number of its first record among all that came.
        mark: The name of the field that counts, as it stands in a block.

    Shapes:
        sizes: int64[n]. kept: bool[n]. count: int64[n], what a kept record stands for. counted: bool[n], records that
        came with a count. keys, services: int32[n]. time_ns: int64[n].
    """

    def __init__(self, tag: str, block: bytes, at: NDArray[np.int64], first: int, mark: bytes) -> None:
        n = len(at)
        self.block = block
        self.source = Source(tag, block, first)
        self.at = at
        self.sizes = np.empty(n, np.int64)
        self.sizes[:-1] = at[1:]
        self.sizes[-1:] = len(block)
        self.sizes -= at
        self.kept = np.ones(n, np.bool_)
        self.count = np.ones(n, np.int64)
        self.counted = _holding(block, mark, at)
        self.has_counted = bool(self.counted.any())
        self.keys = np.full(n, -1, np.int32)
        self.services = np.zeros(n, np.int32)
        self.time_ns = np.zeros(n, np.int64)
        self.foldable = True
        self.seen = self.revived = 0
        self._sampled: list[NDArray[np.int64]] = []

    def next(self, count: int) -> slice:
        """The rows of the records that are judged next."""
        part = slice(self.seen, self.seen + count)
        self.seen += count
        return part

    def keep(
        self,
        part: slice,
        kept: NDArray[np.bool_],
        sampled: NDArray[np.int64],
        keys: NDArray[np.int32],
        services: NDArray[np.int32],
        time_ns: NDArray[np.int64],
    ) -> None:
        """What was decided of some rows; `sampled` are those that were kept because it was their turn."""
        self.kept[part], self.keys[part] = kept, keys
        self.services[part], self.time_ns[part] = services, time_ns
        self._sampled.append(part.start + sampled)

    def stand(self, rows: NDArray[np.int64], more: NDArray[np.int64]) -> None:
        """Kept rows stand for so many others too."""
        self.count[rows] += more

    def revive(self, row: int, count: int) -> None:
        """A row that was culled goes on after all."""
        self.kept[row], self.count[row] = True, count
        self.revived += 1

    @property
    def sampled(self) -> NDArray[np.int64]:
        """int64[m]: rows that go on because it was their turn, ascending."""
        return np.sort(np.concatenate([np.zeros(0, np.int64), *self._sampled]))

    def rename(self, old: int, new: int) -> None:
        """Key `old` is called `new` now."""
        self.keys[self.keys == old] = new

    def forget(self, keys: Sequence[int]) -> None:
        """Some keys are none that is known any more."""
        self.keys[np.isin(self.keys, keys)] = -1

    def result(self, counter: Counter) -> tuple[bytes, int]:
        """The block that goes on, and how many entries it has; the very block that came if that is all of it."""
        says = self.kept & (self.count != 1)
        said = says.nonzero()[0] if counter.mark else says[:0]
        count = int(np.count_nonzero(self.kept))
        if count == len(self.kept) and not len(said):
            return self.block, count
        if not count:
            return b"", 0
        # Runs of entries that go on as they are; one that says a count is a run of its own.
        kind = self.kept.astype(np.int64)
        kind[said] = 2 + np.arange(len(said))
        begins = np.concatenate([[0], (kind[1:] != kind[:-1]).nonzero()[0] + 1])
        ends = np.concatenate([begins[1:], [len(kind)]])
        edges = np.concatenate([self.at, [len(self.block)]])
        pieces = []
        for what, row, start, end in zip(
            kind[begins].tolist(), begins.tolist(), edges[begins].tolist(), edges[ends].tolist(), strict=True
        ):
            if what == 1:
                pieces.append(self.block[start:end])
            elif what:
                pieces.append(counter.counted(self.block[start:end], int(self.count[row])))
        return b"".join(pieces), count


def _holding(block: bytes, mark: bytes, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool[n]: which entries hold some bytes."""
    found = np.zeros(len(at), np.bool_)
    place = block.find(mark) if mark else -1
    while place >= 0:
        row = int(np.searchsorted(at, place, side="right")) - 1
        found[row] = True
        if row + 1 >= len(at):
            break
        place = block.find(mark, int(at[row + 1]))
    return found
