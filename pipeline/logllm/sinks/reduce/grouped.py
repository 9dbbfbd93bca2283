"""A stretch of records by key: the same arrays once more, in the order of keys, so that each key's rows are a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Grouped", "spent_within"]

_SMALL = 1 << 16


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows sorted by key, those of one key in the order they came.

    Shapes:
        order: int64[n], the row at each place. group: int64[n], the group at each place.
        keys: int64[g], ascending. starts, ends: int64[g], the places of each group.
    """

    order: NDArray[np.int64]
    group: NDArray[np.int64]
    keys: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, keys: NDArray[np.int32]) -> Grouped:
        """Of at least one row; keys are not negative."""
        n = len(keys)
        # Sixteen bits are sorted by radix, four times as fast.
        small = keys.astype(np.uint16) if int(keys.max()) < _SMALL else keys
        order = np.argsort(small, kind="stable")
        ordered = keys[order]
        is_first = np.empty(n, np.bool_)
        is_first[0] = True
        np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
        starts = is_first.nonzero()[0]
        ends = np.empty_like(starts)
        ends[:-1] = starts[1:]
        ends[-1] = n
        return cls(
            order, np.repeat(np.arange(len(starts)), ends - starts), ordered[starts].astype(np.int64), starts, ends
        )

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64[g]: rows of each group."""
        counts: NDArray[np.int64] = self.ends - self.starts
        return counts

    def sums(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """int64[g]: of values by place, the sum of each group."""
        sums: NDArray[np.int64] = np.add.reduceat(values, self.starts, dtype=np.int64)
        return sums

    def rank(self, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places that are wanted, and how many of the same group are wanted before each."""
        places = wanted.nonzero()[0]
        before: NDArray[np.int64] = np.cumsum(wanted) - wanted
        return places, before[places] - before[self.starts][self.group[places]]


def spent_within(
    slots: NDArray[np.int64], sizes: NDArray[np.int64], spent: NDArray[np.int64], most: int
) -> NDArray[np.bool_]:
    """Which of some rows, in their order, their slots still have room for; what they take is added to `spent`.

    A row is let in as long as the rows before it have not used up what its slot may spend, so the last one may go
    beyond it.

    Shapes:
        slots: int64[m], index into spent. sizes: int64[m]. spent: int64[s], changed. returns: bool[m].
    """
    order = np.argsort(slots, kind="stable")
    slot, size = slots[order], sizes[order]
    running = np.cumsum(size) - size
    starts = np.flatnonzero(np.append(True, slot[1:] != slot[:-1])[: len(slot)])
    runs = np.append(starts[1:], len(slot)) - starts
    before = running - np.repeat(running[starts], runs) + spent[slot]
    fits_in_order = before < most
    np.add.at(spent, slot[fits_in_order], size[fits_in_order])
    fits = np.empty(len(slots), np.bool_)
    fits[order] = fits_in_order
    return fits
