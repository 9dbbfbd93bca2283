"""Odd sessions: a request, trace or block that shows what few others do, or lacks what nearly all show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.sessions.arriving import Arriving, Slots
from logllm.detectors.sessions.memory import Memory
from logllm.detectors.sessions.naming import Naming
from logllm.errors import StateError
from logllm.events import WINDOW_NS, Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from logllm.detectors.contract import Seen
    from logllm.detectors.keys import Keys
    from logllm.detectors.sessions.config import SessionsConfig
    from logllm.detectors.sessions.opened import Courses
    from logllm.detectors.sessions.rarity import Strangeness
    from logllm.detectors.slices import Slice

__all__ = ["SessionNovelty"]

_MOST_KEYS = 20
_LONGEST_WINDOWS = 1_440


class SessionNovelty:
    """Follows sessions by their ids and judges each once nothing has come of it for a while.

    The score is in `Rarity`. Of what it finds odd, the first session of a kind is told where the level given covers
    it (`Kinds`); others like it are counted for a day. An anomaly's `about` is the session's id, `seen` its records
    and `expected` those of the average session; `keys` are what is rare in it and what it lacks, the rarest first.

    It says nothing in its first WARM_UP sessions, nor of sessions that are open. A session that is known from its
    middle on only, as after a start, may seem to lack its beginning; there are many of those at once, so what they
    lack is not taken to be usual yet. Everything is learned, also what is odd and what incidents are open on: a kind
    that a twentieth of all sessions show is no longer odd.

    Bounded: `max_open` sessions, and MOST_A_WINDOW more of each window since that was last seen to. Past that every
    second, fourth... is followed, the same whole ones throughout.

    Args:
        keys: Whose service each key is.
        severity_of: The effective severity of a key.
        seal: Ids as they are followed, told and saved, given what names them too: other texts for ids that are secrets.
    """

    kind = "session"

    def __init__(
        self,
        config: SessionsConfig,
        keys: Keys,
        severity_of: Callable[[int], int],
        seal: Callable[[str, list[str]], list[str]] = lambda name, ids: ids,
    ) -> None:
        self._config = config
        self._keys = keys
        self._severity_of = severity_of
        self._naming = Naming(config.key, seal)
        self._slots = Slots()
        self._arriving = Arriving(self._slots)
        self._memory = self._nothing()
        self._judged: Memory | None = None

    def _nothing(self) -> Memory:
        return Memory(-(-self._config.idle_s * 1_000_000_000 // WINDOW_NS), self._config.max_open)

    @property
    def field(self) -> str:
        """The field that must be read as words for this to find sessions; "" where none was configured."""
        return self._naming.field

    @property
    def pattern(self) -> str:
        """What messages are searched for, configured or discovered; "" where they are not, or not yet."""
        return self._naming.pattern

    @property
    def tested(self) -> int:
        """One: whether a window brings a new kind of odd session, whatever the number of sessions."""
        return 1

    @property
    def learning(self) -> bool:
        """Whether too few sessions have ended for any to be judged."""
        return not self._memory.rarity.is_warm

    @property
    def counts(self) -> dict[str, int]:
        """For metrics: sessions remembered and ended, odd ones that were not told, windows that were thinned."""
        memory = self._memory
        return {
            "open": len(memory.opened.slots),
            "ended": memory.rarity.ended,
            "repeated": memory.kinds.repeated,
            "thinned": memory.thinned,
        }

    def see(self, seen: Seen) -> None:
        """Take some records in."""
        if self._config.key == "off" or not len(seen.keys):
            return
        codes, names = self._naming.read(seen.columns, seen.keys)
        if names:
            self._arriving.add(seen.window, codes, names, seen.keys)

    def judge(self, window_slice: Slice, level: float) -> list[Anomaly]:
        """The odd sessions that ended in a slice and are of a kind not told lately, by window, the oddest first."""
        memory = self._judged = self._memory.copy()
        if self._config.key == "off":
            return []
        if window_slice.gap < 0:
            memory.opened.turn_back(window_slice.first)
        found: list[Anomaly] = []
        for window in range(window_slice.first, window_slice.first + len(window_slice)):
            ended = memory.end(window)
            if memory.rarity.is_warm:
                memory.kinds.watch()
                if ended is not None:
                    found.extend(self._tell(memory, window, *ended, level))
            if ended is not None:
                memory.rarity.learn(ended[1])
            # What is of an earlier window came too late for it.
            late = self._arriving.waiting(window) if window == window_slice.first else []
            for each in (*late, window):
                arrived = self._arriving.of(each, memory.sampling)
                memory.take(window, *arrived, self._slots.checks, self._keys.service)
            memory.tidy(window, self._slots.checks)
        return found

    def _tell(
        self, memory: Memory, window: int, courses: Courses, found: Strangeness, level: float
    ) -> Iterator[Anomaly]:
        odd = np.flatnonzero(found.odd).tolist()
        names = self._slots.names
        for at in sorted(odd, key=lambda at: (found.tail[at], names[int(courses.slots[at])])):
            kind = int(found.lead[at]) << 1 | int(found.missing[at])
            tail = float(found.tail[at])
            chance = memory.kinds.chance(tail)
            if memory.kinds.is_new(kind, window, tail) and chance < level:
                yield self._anomaly(memory, window, courses, found, at, chance)

    def _anomaly(
        self, memory: Memory, window: int, courses: Courses, found: Strangeness, at: int, chance: float
    ) -> Anomaly:
        rare, absent = memory.rarity.why(courses.keys_of(at))
        lead = int(found.lead[at])
        severity = max([self._severity_of(key) for key in rare] + [int(Severity.WARN)] * bool(absent), default=0)
        return Anomaly(
            kind=self.kind,
            window=window,
            span=min(max(window - int(courses.first[at]) + 1, 1), _LONGEST_WINDOWS),
            service=int(self._keys.service[lead]),
            key=lead,
            keys=list(dict.fromkeys([lead, *rare, *absent]))[:_MOST_KEYS],
            expected=memory.rarity.typical_records,
            seen=float(courses.records[at]),
            surprise=min(300.0, max(0.0, -math.log10(chance))),
            severity=severity,
            about=self._slots.names[int(courses.slots[at])],
        )

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """Take the slice in that was just judged, all of it."""
        memory, self._judged = self._judged, None
        if memory is None:
            raise RuntimeError("learn() must follow judge() of the same slice")
        self._memory = memory
        self._arriving.drop(window_slice.first + len(window_slice))
        used = np.zeros(len(self._slots.names), np.bool_)
        used[memory.opened.slots] = True
        self._arriving.use(used)
        self._slots.keep(used)

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        self._naming.merge(old, new)
        self._arriving.merge(old, new)
        self._memory.merge(old, new)

    def forget(self, keys: Sequence[int]) -> None:
        """See `Detector.forget`."""
        self._memory.forget(keys)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy, windows that have not been judged included."""
        return {
            "naming": self._naming.state(),
            "names": self._slots.state(),
            "arriving": self._arriving.state(),
            "memory": self._memory.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back; sessions of another `key` are not known again. Raises StateError where it does not fit."""
        self._judged = None
        try:
            if state["naming"]["key"] != self._config.key:
                self._slots, self._memory = Slots(), self._nothing()
                self._arriving = Arriving(self._slots)
                return
            self._naming.restore(state["naming"])
            self._slots.restore([str(name) for name in state["names"]])
            self._arriving.restore(state["arriving"])
            self._memory.restore(state["memory"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(f"saved sessions are damaged: {error}") from error
        opened = self._memory.opened.slots
        if len(opened) and (opened[-1] >= len(self._slots.names) or not all(self._slots.names[at] for at in opened)):
            raise StateError("saved sessions: a session without an id")
