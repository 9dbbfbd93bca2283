"""What was changed shortly before something went wrong: deployments, restarts, settings, as the log itself tells them.

A template is looked at once, when it is new; a record costs one look into an array of bools. What such templates bring
is kept in a short list, so that it is there however many records have come since, and after a restart.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from logllm.events import WINDOW_NS
from logllm.incidents.recent import cut_between_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from logllm.events import Columns

__all__ = ["Change", "ChangeWatch", "tells_of_change"]

BEFORE_NS = 30 * WINDOW_NS
"""How long before an incident a change is still near its beginning."""

AFTER_NS = 2 * WINDOW_NS
"""What a deployment brings is often counted a window before the deployment says that it is done."""

MOST_TOLD = 3
MOST_KEPT = 256
MOST_KEYS = 2_000
"""Past these many templates of changes, further ones are not watched: a log of nothing but changes tells of none."""

MAX_TEXT = 1000
_SLOT_NS = 15 * WINDOW_NS
_SLOTS_BACK = 12
USUAL_SLOTS = 4
"""What came in four of the twelve quarter hours before is routine: sessions, timers, a pod in a crash loop."""

_FEW = 64

_GRAVE = re.compile(
    r"""
    \b(?:re)?deploy(?:ed|ing|ments?)\b | \bdeploy\ (?:of|to|started|finished|complete\w*|succe\w+)\b
    | \broll(?:ed|ing)?[ -]?(?:out|back)\b | \brolling[ -](?:update|restart)
    | \b(?:release|version|image)\b.{0,40}\b(?:to\ production|promoted|rolled|switched|activated|installed|changed)
    | \b(?:new|running|now\ at|switch\w*\ to|starting|started)\b.{0,40}\b(?:version|release|build|image)\b
    | \bupgrad(?:ed|ing|e)\b.{0,40}\b(?:to|from|complete\w*|finished|started)\b | \bsuccessfully\ pulled\ image
    | \bscal(?:ed|ing)\b.{0,30}\b(?:up|down|in|out|to|from|replica)|\bScalingReplicaSet\b
    | \breplicas?\b.{0,20}\b(?:from|changed|set\ to)\b | \bautoscal\w+
    | \b(?:flyway|liquibase|alembic)\b
    | \bmigrat\w+\b.{0,60}\b(?:appl\w+|schema|database|version|complete\w*|start\w*|finish\w*)
    | \b(?:schema|database|db|applying|applied|running)\b.{0,40}\bmigrat\w+ | \balter\ table\b
    | \bfeature[ _-]?(?:flag|toggle|gate|switch)s?\b | \bflag\b.{0,60}\b(?:enabled|disabled|turned|switched|set)\b
    | \b(?:re)?load(?:ed|ing)?\b.{0,40}\b(?:config\w*|settings?|rules)\b | \bSIGHUP\b
    | \b(?:config\w*|settings?|parameter|policy|rules?)\b.{0,60}
        \b(?:reload\w*|changed|updated|applied|refreshed|pushed)\b
    | \b(?:changed|updated|applied|pushed)\b.{0,20}\b(?:config\w*|settings?|policy)\b
    | \b(?:certificates?|certs?|keys?|secrets?|credentials)\b.{0,40}\b(?:renew\w*|rotat\w*|replaced|reissued)\b
    | \b(?:renew\w*|rotat\w*|reissued)\b.{0,40}\b(?:certificates?|certs?|keys?|secrets?|credentials)\b
    | \bfail(?:ed)?[ -]?over\b
    | \bmaintenance\ (?:mode|window)\b.{0,20}\b(?:on|off|enter\w*|start\w*|enabled|begin\w*)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_START = re.compile(
    r"""
    (?<![.\w])(?:server|service|application|app|daemon|container|pod|broker|database(?:\ system)?|instance|kernel)\b
        .{0,60}\b(?:restart(?:ed|ing)|start(?:ed|ing)|booted|is\ (?:up|starting|ready)|shut(?:ting)?\ ?down|ready\ to)\b
    | \b(?:restart|start|boot|stopp)(?:ed|ing)?\b.{0,40}
        (?<![.\w])(?:server|service|application|daemon|container|pod|broker|database)\b
    | ^\W*(?:restart(?:ed|ing)|booting)\b | \bstarted\ \w*(?:application|server)\b | \blinux\ version\b
    | \blistening\ (?:on|at)\b | \breceived\ sig(?:term|int)\b | \bgraceful(?:ly)?\ (?:shut|stop)
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Work that is done all day, and what went wrong with a change: the incident itself, or its consequence.
_ROUTINE = re.compile(
    r"\b(?:session|request|transaction|query|job|task|thread|timer|scan|backup|checkpoint|vacuum|transfer|upload|"
    r"download|connection pool|heartbeat|back-?off|health ?check|probe)\b",
    re.IGNORECASE,
)


def tells_of_change(template: str) -> int:
    """How plainly a template's words tell of a change: 2 of what runs or its settings, 1 of a start or stop, 0 not.

    >>> [tells_of_change(text) for text in ("Deployed orders <*>", "server <*> started", "started job <*>")]
    [2, 1, 0]
    """
    text = " ".join(template[:MAX_TEXT].replace("_", " ").split())
    if _GRAVE.search(text):
        return 2
    return 1 if _START.search(text) and not _ROUTINE.search(text) else 0


class Change(NamedTuple):
    """A record that tells of a change, masked. `line` is its number in the file `source`, 0 where it has none."""

    time_ns: int
    key: int
    service: int
    weight: int
    text: str
    source: str
    line: int


@dataclass(slots=True)
class _Watched:
    weight: int
    slots: deque[int] = field(default_factory=lambda: deque(maxlen=_SLOTS_BACK + 4))
    window: int = -(2**63)

    def usual(self, slot: int) -> bool:
        """Whether it came again and again in the hours before this quarter of an hour and the one before it."""
        return sum(slot - _SLOTS_BACK <= other < slot - 1 for other in self.slots) >= USUAL_SLOTS


class ChangeWatch:
    """The latest records that tell of a change, one a minute of each key, whatever their service.

    Args:
        text: A key's template, for reading.
        mask: Replaces secrets, addresses and names: nothing is kept that may not be told.
    """

    def __init__(self, text: Callable[[int], str], mask: Callable[[str], str]) -> None:
        self._text = text
        self._mask = mask
        self._marked: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._watched: dict[int, _Watched] = {}
        self._kept: deque[Change] = deque(maxlen=MOST_KEPT)

    def see(
        self, columns: Columns, keys: NDArray[np.int32], services: NDArray[np.int32], source: str, new: Iterable[int]
    ) -> None:
        """Take some records in.

        Args:
            new: Keys first seen with them.

        Shapes:
            keys: int32[n]. services: int32[k], the service of each key.
        """
        for key in new:
            self._listen(key)
        if not self._watched or not len(keys):
            return
        if len(self._marked) < len(services):
            self._marked = np.pad(self._marked, (0, len(services) - len(self._marked)))
        hits = np.flatnonzero(self._marked[keys])
        if len(hits) > _FEW:
            # Minutes fit 29 bits: they are of nanoseconds in 64.
            minutes = (keys[hits].astype(np.int64) << 32) + columns.time_ns[hits] // WINDOW_NS
            hits = hits[np.sort(np.unique(minutes, return_index=True)[1])]
        for at in hits.tolist():
            key, time_ns = int(keys[at]), int(columns.time_ns[at])
            watched = self._watched[key]
            # Only forwards: then it does not matter where a chunk ends.
            if time_ns // WINDOW_NS <= watched.window:
                continue
            watched.window = time_ns // WINDOW_NS
            slot = time_ns // _SLOT_NS
            if not watched.slots or watched.slots[-1] != slot:
                watched.slots.append(slot)
            if not watched.usual(slot):
                text = self._mask(cut_between_words(columns.messages[at], MAX_TEXT))
                line = 0 if columns.position is None else int(columns.position[at])
                self._kept.append(Change(time_ns, key, int(services[key]), watched.weight, text, source, line))

    def _listen(self, key: int) -> None:
        if key >= len(self._marked):
            self._marked = np.pad(self._marked, (0, key + 1024 - len(self._marked)))
        weight = tells_of_change(self._text(key))
        self._marked[key] = weight > 0 and len(self._watched) < MOST_KEYS
        self._watched.pop(key, None)
        if self._marked[key]:
            self._watched[key] = _Watched(weight)

    def near(self, began_ns: int, service: int, lead: int) -> list[Change]:
        """What tells of a change around this time, oldest first, at most three, one a template.

        Of more, those that tell it plainest stay, then those of the service itself, then those nearest in time.

        Args:
            lead: The key that the incident is about: it says so itself.
        """
        found: dict[int, Change] = {}
        for change in self._kept:
            if -BEFORE_NS <= change.time_ns - began_ns < AFTER_NS and change.key != lead:
                found.setdefault(change.key, change)

        def worth(change: Change) -> tuple[int, bool, int, int]:
            return -change.weight, change.service != service, abs(change.time_ns - began_ns), change.key

        return sorted(sorted(found.values(), key=worth)[:MOST_TOLD], key=lambda change: (change.time_ns, change.key))

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        watched = self._watched.pop(old, None)
        if watched is None:
            return
        self._marked[old] = False
        there = self._watched.get(new)
        if there is not None:
            there.slots = deque(sorted({*there.slots, *watched.slots}), there.slots.maxlen)
            there.window = max(there.window, watched.window)
        else:
            self._marked = np.pad(self._marked, (0, max(0, new + 1 - len(self._marked))))
            self._watched[new] = watched
            self._marked[new] = True
        self._kept = deque((kept._replace(key=new) if kept.key == old else kept for kept in self._kept), MOST_KEPT)

    def forget(self, keys: Sequence[int]) -> None:
        """The numbers of keys are given to others; what they told stays."""
        gone = {key for key in keys if self._watched.pop(key, None) is not None}
        if gone:
            self._marked[sorted(gone)] = False
            self._kept = deque((kept._replace(key=-1) if kept.key in gone else kept for kept in self._kept), MOST_KEPT)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "watched": [[key, one.weight, list(one.slots), one.window] for key, one in self._watched.items()],
            "kept": [list(kept) for kept in self._kept],
        }

    def restore(self, state: dict[str, Any], keys: int, services: int) -> None:
        """Take a copy back; an empty one is none. Raises ValueError where it does not fit so many keys and services."""
        watched = {
            int(key): _Watched(int(weight), deque(map(int, slots), _SLOTS_BACK + 4), int(window))
            for key, weight, slots, window in state.get("watched", [])
        }
        kept = [
            Change(int(time_ns), int(key), int(service), int(weight), str(text), str(source), int(line))
            for time_ns, key, service, weight, text, source, line in state.get("kept", [])
        ]
        numbers = [*watched, *(one.key for one in kept)]
        if not all(-1 <= key < keys for key in numbers) or not all(0 <= one.service < services for one in kept):
            raise ValueError("changes of keys or services that are not there")
        if -1 in watched or len(watched) > MOST_KEYS:
            raise ValueError("changes of more keys than there can be")
        self._watched, self._kept = watched, deque(kept, MOST_KEPT)
        self._marked = np.zeros(keys, np.bool_)
        self._marked[list(watched)] = True
