"""What open incidents keep from being culled: their own templates, and for a while all that their service says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from logllm.events import WINDOW_NS
from logllm.sinks.reduce.grouped import spent_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.sinks.reduce.config import ReduceConfig

__all__ = ["Cited", "Concern", "Protection", "Told"]

LATE_NS = 15 * WINDOW_NS
_FAR = np.iinfo(np.int64).max


class Concern(Protocol):
    """An open incident. `service` -1 is the whole source; `started` is a window's number."""

    id: str
    service: int
    keys: list[int]
    started: int


class Cited(Protocol):
    """A record that an incident rests on."""

    @property
    def time_ns(self) -> int:
        """Its event time."""

    @property
    def key(self) -> int:
        """Its template in its service."""


@dataclass(slots=True)
class Told:
    """What one incident has been told to rest on, since the ring was last asked for it."""

    id: str
    service: int
    since_ns: int
    keys: list[int]
    cited: set[tuple[int, int]] = field(default_factory=set)

    @property
    def anchors(self) -> NDArray[np.int64]:
        """int64[a]: the times of what is cited, ascending."""
        return np.unique(np.array([time_ns for _, time_ns in self.cited], np.int64))


class Protection:
    """Which records incidents keep, and what each incident has spent on it.

    An incident has a slot, where its budgets are counted. A key belongs to the oldest open incident that speaks of it
    and has something left; a service to the one that was told last.
    """

    def __init__(self, config: ReduceConfig) -> None:
        self.config = config
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self.on_keys = np.zeros(0, np.int64)
        self.on_past = np.zeros(0, np.int64)
        self.on_coming = np.zeros(0, np.int64)
        self._slot_of_key = np.zeros(0, np.int64)
        self.has_keys = False
        # By service: from when to when, and for whom. The last row is the whole source.
        self._context = np.zeros((3, 1), np.int64)
        self._context[:, -1] = _FAR, -_FAR, 0
        self.has_context = False

    def slot(self, incident: str) -> int:
        """The place of an incident's budgets."""
        slot = self._slots.get(incident)
        if slot is None:
            if not self._free:
                have = len(self.on_keys)
                self._free = list(range(2 * have + 15, have - 1, -1))
                for name in ("on_keys", "on_past", "on_coming"):
                    setattr(self, name, np.pad(getattr(self, name), (0, have + 16)))
            slot = self._slots[incident] = self._free.pop()
            self.on_keys[slot] = self.on_past[slot] = self.on_coming[slot] = 0
        return slot

    def follow(self, incidents: Sequence[Concern], keys: int, clock_ns: int) -> None:
        """These incidents are open now, oldest first.

        Args:
            keys: How many there are.
            clock_ns: What is open of event time begins here.
        """
        self._slot_of_key = np.full(keys, -1, np.int64)
        self.has_keys = False
        for incident in incidents:
            slot = self.slot(incident.id)
            if self.on_keys[slot] >= self.config.incident_bytes:
                continue
            mine = np.array(incident.keys, np.int64)
            mine = mine[self._slot_of_key[mine] < 0]
            self._slot_of_key[mine] = slot
            self.has_keys |= bool(len(mine))
        lo, hi, slots = self._context
        over = (hi >= 0) & (hi + LATE_NS < clock_ns)
        lo[over], hi[over] = _FAR, -_FAR
        has = hi >= 0
        self.has_context = bool(has.any())
        named = {incident.id for incident in incidents}
        in_use = set(slots[has].tolist())
        for name, slot in [each for each in self._slots.items() if each[0] not in named and each[1] not in in_use]:
            del self._slots[name]
            self._free.append(slot)

    def rename(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        if self.has_keys and old < len(self._slot_of_key):
            if new < len(self._slot_of_key) and self._slot_of_key[new] < 0:
                self._slot_of_key[new] = self._slot_of_key[old]
            self._slot_of_key[old] = -1

    def watch(self, told: Told) -> None:
        """From now on keep what comes of an incident's service close to what it cites."""
        anchors = told.anchors
        if not len(anchors):
            return
        around_ns = int(self.config.context_s * 1e9)
        more = told.service + 2 - self._context.shape[1]
        if more > 0:
            unset = np.array([[_FAR], [-_FAR], [0]], np.int64)
            whole = self._context[:, -1:]
            self._context = np.hstack([self._context[:, :-1], np.repeat(unset, more, axis=1), whole])
        at = self._context[:, told.service]
        at[0] = min(int(at[0]), int(anchors[0]) - around_ns)
        at[1] = max(int(at[1]), int(anchors[-1]) + around_ns)
        at[2] = self.slot(told.id)
        self.has_context = True

    def of_incidents(
        self, rows: NDArray[np.int64], keys: NDArray[np.int32], sizes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Of some rows, those of open incidents' own templates.

        Shapes:
            rows: int64[m], ascending, index into keys and sizes. returns: a part of them.
        """
        key = keys[rows]
        slot = np.full(len(rows), -1, np.int64)
        known = key < len(self._slot_of_key)
        slot[known] = self._slot_of_key[key[known]]
        return self._within(rows, slot, sizes, self.on_keys, self.config.incident_bytes)

    def of_context(
        self, rows: NDArray[np.int64], services: NDArray[np.int32], time_ns: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Of some rows, those close in time to what an incident of their service cites."""
        time, service = time_ns[rows], services[rows].astype(np.int64)
        last = self._context.shape[1] - 1
        slot = np.full(len(rows), -1, np.int64)
        for place in (np.full(1, last), np.where(service < last, service, last)):
            lo, hi, mine = self._context[:, place]
            slot = np.where((lo <= time) & (time <= hi), mine, slot)
        return self._within(rows, slot, sizes, self.on_coming, self.config.context_bytes)

    @staticmethod
    def _within(
        rows: NDArray[np.int64], slot: NDArray[np.int64], sizes: NDArray[np.int64], spent: NDArray[np.int64], most: int
    ) -> NDArray[np.int64]:
        mine = np.flatnonzero(slot >= 0)
        found = rows[mine]
        return found[spent_within(slot[mine], sizes[found], spent, most)] if len(found) else found
