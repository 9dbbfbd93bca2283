"""Sessions of late: which events each has shown, when, how many records, and whether that has been judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["KEY_BITS", "Courses", "Opened"]

KEY_BITS = 24
"""A cell is `slot << KEY_BITS | key`; keys are far fewer than this allows."""

_KEY_MASK = (1 << KEY_BITS) - 1


@dataclass(frozen=True, slots=True)
class Courses:
    """What some sessions have shown so far.

    Shapes:
        slots, first, last, records: int64[m], the number of each, its first and last window, and its records.
        keys: int64[c], the events each has shown, the first session's first. starts: int64[m], where each begins.
        owners: int64[c], the session of each key, as an index into `slots`.
    """

    slots: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    records: NDArray[np.int64]
    keys: NDArray[np.int64]
    starts: NDArray[np.int64]
    owners: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.slots)

    def keys_of(self, at: int) -> NDArray[np.int64]:
        """The keys of one session."""
        end = self.starts[at + 1] if at + 1 < len(self.starts) else len(self.keys)
        return self.keys[self.starts[at] : end]


class Opened:
    """The sessions that are remembered, by slot: a small number that the caller gives each.

    One that was judged stays until it is dropped: when it shows an event it has not shown before, it is open again
    and will be judged by its whole course.

    Cost: a merge of sorted arrays a window. Memory: 25 bytes a slot, 8 bytes an event that a session has shown.

    Shapes:
        records: int64[slots], 0 where there is no session. first, last: int64[slots], windows.
        judged: bool[slots], whether it has been judged since it last showed something new.
    """

    def __init__(self) -> None:
        self._cells = np.zeros(0, np.int64)
        self.first = np.zeros(0, np.int64)
        self.last = np.zeros(0, np.int64)
        self.records = np.zeros(0, np.int64)
        self.judged = np.zeros(0, np.bool_)

    def copy(self) -> Opened:
        """One that goes on for itself."""
        other = Opened()
        other._cells = self._cells
        for name in _COLUMNS:
            setattr(other, name, getattr(self, name).copy())
        return other

    @property
    def slots(self) -> NDArray[np.int64]:
        """The slots that hold a session, in order."""
        return np.flatnonzero(self.records)

    @property
    def largest_key(self) -> int:
        """The largest key that any of them has shown, -1 where there is none."""
        return int((self._cells & _KEY_MASK).max(initial=-1))

    def take(
        self, window: int, cells: NDArray[np.int64], counts: NDArray[np.int64], service: NDArray[np.int32]
    ) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
        """What a window brought: how many sessions began, the keys and the services that were new in theirs.

        Shapes:
            cells: int64[c], each once and in order. counts: int64[c], records of each. service: int32[at least all
            keys], the service of each. returns: int64[f] and int64[d], one entry for each session.
        """
        if not len(cells):
            return 0, np.zeros(0, np.int64), np.zeros(0, np.int64)
        slots = cells >> KEY_BITS
        more = int(slots[-1]) + 1 - len(self.records)
        if more > 0:
            room = max(more, len(self.records) // 2)
            for name in _COLUMNS:
                setattr(self, name, np.pad(getattr(self, name), (0, room)))
        starts = np.flatnonzero(np.append(True, slots[1:] != slots[:-1]))
        present = slots[starts]
        begun = present[self.records[present] == 0]
        self.first[begun] = window
        self.judged[begun] = False
        self.last[present] = window
        self.records[present] += np.add.reduceat(counts, starts)
        places = np.searchsorted(self._cells, cells)
        known = np.zeros(len(cells), np.bool_)
        inside = places < len(self._cells)
        known[inside] = self._cells[places[inside]] == cells[inside]
        new = cells[~known]
        came = self._passed(new, service)
        if len(new):
            self._cells = _inserted(self._cells, places[~known], new)
            self.judged[slots[~known]] = False
        return len(begun), new & _KEY_MASK, came

    def _passed(self, new: NDArray[np.int64], service: NDArray[np.int32]) -> NDArray[np.int64]:
        """The services of new cells, each once for a session, that none of its cells so far is of."""
        pairs = np.unique(new >> KEY_BITS << KEY_BITS | service[new & _KEY_MASK])
        slots = np.unique(new >> KEY_BITS)
        start, end = (np.searchsorted(self._cells, each << KEY_BITS) for each in (slots, slots + 1))
        long = end - start
        places = np.repeat(start - np.cumsum(long) + long, long) + np.arange(long.sum())
        before = self._cells[places]
        before = before >> KEY_BITS << KEY_BITS | service[before & _KEY_MASK]
        return pairs[~np.isin(pairs, before)] & _KEY_MASK

    def idle(self, window: int, idle_windows: int) -> NDArray[np.int64]:
        """The slots of open sessions that showed nothing for more than `idle_windows` before this window."""
        return np.flatnonzero((self.records > 0) & ~self.judged & (window - self.last > idle_windows))

    def courses(self, slots: NDArray[np.int64]) -> Courses:
        """What the sessions at these slots have shown; the slots are in order."""
        of_slot = np.full(len(self.records), -1, np.int64)
        of_slot[slots] = np.arange(len(slots))
        owners = of_slot[self._cells >> KEY_BITS]
        mine = owners >= 0
        owners = owners[mine]
        return Courses(
            slots,
            self.first[slots],
            self.last[slots],
            self.records[slots],
            self._cells[mine] & _KEY_MASK,
            np.searchsorted(owners, np.arange(len(slots))),
            owners,
        )

    def drop(self, slots: NDArray[np.int64]) -> None:
        """Forget the sessions at these slots."""
        if len(slots):
            self.records[slots] = 0
            self._cells = self._cells[self.records[self._cells >> KEY_BITS] > 0]

    def turn_back(self, window: int) -> None:
        """Time went back to before `window`: nothing was seen later than that."""
        self.first, self.last = np.minimum(self.first, window), np.minimum(self.last, window)

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        keys = self._cells & _KEY_MASK
        if (keys == old).any():
            self._cells = np.unique(np.where(keys == old, self._cells - old + new, self._cells))

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone: so are the sessions that have shown nothing else."""
        self._cells = self._cells[~np.isin(self._cells & _KEY_MASK, keys)]
        held = np.zeros(len(self.records), np.bool_)
        held[self._cells >> KEY_BITS] = True
        self.records[~held] = 0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"cells": pack_array(self._cells), **{name: pack_array(getattr(self, name)) for name in _COLUMNS}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        cells = unpack_array(state.get("cells", {}), np.int64)
        columns = {name: unpack_array(state.get(name, {}), dtype) for name, dtype in _COLUMNS.items()}
        size = columns["records"].size
        if cells.ndim != 1 or any(column.shape != (size,) for column in columns.values()):
            raise StateError("saved sessions: columns differ in length")
        slots = cells >> KEY_BITS
        held = np.zeros(size, np.bool_)
        if len(cells):
            if int(cells[0]) < 0 or int(slots[-1]) >= size or (np.diff(cells) <= 0).any():
                raise StateError("saved sessions: events are out of order, or of sessions that are not there")
            held[slots] = True
        if (held != (columns["records"] > 0)).any():
            raise StateError("saved sessions: a session has no events, or an event no session")
        self._cells = cells
        for name, column in columns.items():
            setattr(self, name, column)


def _inserted(cells: NDArray[np.int64], places: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.int64]:
    """`new` before the cells at `places`, both in order; what np.insert does, without sorting them again."""
    both = np.empty(len(cells) + len(new), np.int64)
    old = np.ones(len(both), np.bool_)
    at = places + np.arange(len(new))
    old[at] = False
    both[at] = new
    both[old] = cells
    return both


_COLUMNS: dict[str, Any] = {"first": np.int64, "last": np.int64, "records": np.int64, "judged": np.bool_}
