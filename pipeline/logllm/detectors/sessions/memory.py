"""All that is learned of sessions, moved on by one window at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.sessions.arriving import MOST_SAMPLING, followed
from logllm.detectors.sessions.kinds import Kinds
from logllm.detectors.sessions.opened import Courses, Opened
from logllm.detectors.sessions.rarity import Rarity, Strangeness
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Memory"]

REMEMBERED_WINDOWS = 1_440
"""A session that was judged and shows nothing new for a day is forgotten: its id may mean another one by then."""

_LOOK_EVERY = 5
"""Windows; it costs as much as all that is remembered is large, and half an hour has gone by already."""

_THIN_UNTIL = 1_440
"""Once so many windows it is looked at whether more sessions can be followed again: rarely, for those that have begun
by then are known from their middle on."""

_EASED = 8


class Memory:
    """Sessions, what is usual in them, and the kinds of odd ones; copied before a slice is judged.

    Args:
        idle_windows: Windows without a record after which a session is judged.
        max_open: Sessions remembered, seen to every LOOK_EVERY windows: those judged longest ago go, then every second
            one is followed.

    Attributes:
        sampling: Each 2**sampling-th session is followed.
        thinned: Windows in which that was not every one.
    """

    def __init__(self, idle_windows: int, max_open: int) -> None:
        self._idle_windows, self._max_open = idle_windows, max_open
        self.opened, self.rarity, self.kinds = Opened(), Rarity(), Kinds()
        self.sampling = self.thinned = 0

    def copy(self) -> Memory:
        """One that goes on for itself."""
        other = Memory(self._idle_windows, self._max_open)
        other.opened, other.rarity, other.kinds = self.opened.copy(), self.rarity.copy(), self.kinds.copy()
        other.sampling, other.thinned = self.sampling, self.thinned
        return other

    def end(self, window: int) -> tuple[Courses, Strangeness] | None:
        """Judge the sessions that have been idle for long enough when this window begins; None where there are none.

        It is looked every LOOK_EVERY windows.
        """
        if window % _LOOK_EVERY:
            return None
        idle = self.opened.idle(window, self._idle_windows)
        if not len(idle):
            return None
        courses = self.opened.courses(idle)
        found = self.rarity.judge(courses)
        self.opened.judged[idle] = True
        return courses, found

    def take(
        self,
        window: int,
        cells: NDArray[np.int64],
        counts: NDArray[np.int64],
        sampling: int,
        checks: NDArray[np.int64],
        service: NDArray[np.int32],
    ) -> None:
        """Take in what a window brought.

        Shapes:
            cells, counts: int64[c], of the sessions that are followed, each cell once and in order.
            checks: int64[slots], the checksum of each session's id. service: int32[at least all keys], of each key.
        """
        if sampling > self.sampling:
            self._thin(sampling, checks)
        begun, shown, came = self.opened.take(window, cells, counts, service)
        self.rarity.show(begun, shown, int(counts.sum()), came, service)

    def tidy(self, window: int, checks: NDArray[np.int64]) -> None:
        """This window is over: forget what is old, and what there is no room for, every LOOK_EVERY windows.

        Shapes:
            checks: int64[slots], the checksum of each session's id.
        """
        self.thinned += self.sampling > 0
        if window % _LOOK_EVERY:
            return
        old = self.opened.judged & (self.opened.records > 0) & (window - self.opened.last > REMEMBERED_WINDOWS)
        self.opened.drop(np.flatnonzero(old))
        over = len(self.opened.slots) - self._max_open
        if over > 0:
            self._make_room(over, checks)
        elif window % _THIN_UNTIL == 0 and self.sampling and -over > self._max_open * (1 - 1 / _EASED):
            self.sampling -= 1

    def _make_room(self, over: int, checks: NDArray[np.int64]) -> None:
        opened = self.opened
        judged = np.flatnonzero(opened.judged & (opened.records > 0))
        oldest = judged[np.lexsort((checks[judged], opened.last[judged]))]
        opened.drop(oldest[:over])
        while len(opened.slots) > self._max_open and self.sampling < MOST_SAMPLING:
            self._thin(self.sampling + 1, checks)
        opened.drop(opened.slots[self._max_open :])

    def _thin(self, sampling: int, checks: NDArray[np.int64]) -> None:
        self.sampling = sampling
        slots = self.opened.slots
        self.opened.drop(slots[~followed(checks[slots], sampling)])

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        self.opened.merge(old, new)
        self.rarity.merge(old, new)
        for missing in (0, 1):
            self.kinds.merge(old << 1 | missing, new << 1 | missing)

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone, and their numbers may be given to others."""
        self.opened.forget(keys)
        self.rarity.forget(keys)
        for key in keys:
            for missing in (0, 1):
                self.kinds.forget(key << 1 | missing)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "opened": self.opened.state(),
            "rarity": self.rarity.state(),
            "kinds": self.kinds.state(),
            "sampling": self.sampling,
            "thinned": self.thinned,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        self.opened.restore(state["opened"])
        self.rarity.restore(state["rarity"])
        self.kinds.restore(state["kinds"])
        self.sampling, self.thinned = int(state["sampling"]), int(state["thinned"])
        if self.opened.largest_key >= len(self.rarity.has):
            raise StateError("saved sessions: they show an event that was never counted")
        if not 0 <= self.sampling <= MOST_SAMPLING:
            raise StateError(f"saved sessions: sampling is {self.sampling}, expected 0 to {MOST_SAMPLING}")
