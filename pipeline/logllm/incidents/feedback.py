"""What people have said of incidents decides on the anomalies that come after: held back, let by, or told for sure.

No answer teaches a detector anything: what is found stays the same, only what is told of it changes, by rules that
can be read in `learned.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from logllm.events import WINDOW_NS, Anomaly, Severity
from logllm.incidents.describe import KNOWN
from logllm.incidents.incident import of_whole_service
from logllm.incidents.learned import ANY, Lesson
from logllm.incidents.learned_near import Near

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.events import IncidentEvent
    from logllm.incidents.grouper import KeyNames
    from logllm.incidents.learned_times import Hours

__all__ = ["AGAIN_WINDOWS", "NEAR", "Feedback"]

AGAIN_WINDOWS = 60
"""A known problem opens one incident an hour at most; what comes between goes to the open one, or is held back."""

NEAR = "near"
"""The name under which those are counted that several answers for templates like theirs have held back."""

_JOINS_WINDOWS = 15
"""For so long after the last record the incident of a known problem is still open."""

_SURE = 6.0
"""The surprise, -log10 of a tail probability, of what is told because a person has said so: one in a million."""

_ANY_TEMPLATE = -1
_MOST_HELD = 20_000


class Feedback:
    """Holds the answers in force against each anomaly, and says what is told of them.

    The most particular answer counts: of one service before any, then of one template before any, then of one kind
    before any. Fatal records are held back only by an answer that says `always`. An answer for a template holds for
    what the template becomes when it is merged. Time is event time throughout: the same records and answers give the
    same incidents. The answers themselves are no part of its state, only what they have done.

    Args:
        name: Id and text of a key's template.
        resolve: The index of the template of an id, also of one that became part of another; None: not known here.

    Attributes:
        held: Anomalies that were held back, by `Lesson.id`; under NEAR those of new templates that are like several
            that people called harmless.
    """

    def __init__(
        self, keys: KeyNames, name: Callable[[int], tuple[str, str]], resolve: Callable[[str], int | None]
    ) -> None:
        self._keys = keys
        self._name = name
        self._resolve = resolve
        self._lessons: list[Lesson] = []
        self._hours: dict[str, Hours] = {}
        self._near = Near()
        self._by_place: dict[tuple[str, int, str], Lesson] = {}
        self._every: dict[int, Lesson] = {}
        self._placed_for: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
        self._told: dict[int, tuple[int, int]] = {}
        self.held: dict[str, int] = {}

    def use(self, lessons: Iterable[Lesson]) -> None:
        """Go on by these answers, one for each thing (see `latest`)."""
        self._lessons = list(lessons)
        self._hours = {lesson.id: hours for lesson in self._lessons if (hours := lesson.schedule()) is not None}
        self._placed_for = None
        self._near = Near()
        for lesson in self._lessons:
            if lesson.text:
                real = lesson.verdict == "real"
                self._near.learn(lesson.id, lesson.text, lesson.level_number, lesson.service, is_real=real)

    def heed(self, anomalies: list[Anomaly], first: int, counts: NDArray[np.float64]) -> list[Anomaly]:
        """What is told of the anomalies of consecutive windows, in order of time; with known problems that came again.

        Shapes:
            counts: float64[b, k], records of each key in the windows from `first` on.
        """
        if not self._lessons:
            return anomalies
        self._place(counts.shape[1])
        told: list[Anomaly] = []
        for anomaly in anomalies:
            lesson = self._lesson_for(anomaly)
            if lesson is not None and lesson.verdict == "real":
                told.append(replace(anomaly, severity=max(anomaly.severity, _least(lesson))))
            elif lesson is not None and self._covers(lesson, anomaly.seen, anomaly.severity, _end_ns(anomaly.window)):
                self._count(lesson.id)
            elif lesson is None and anomaly.kind == "new" and self._sounds_harmless(anomaly):
                self._count(NEAR)
            else:
                told.append(anomaly)
        again = self._again(told, first, counts)
        return sorted([*told, *again], key=lambda anomaly: anomaly.window) if again else told

    def is_real(self, anomaly: Anomaly) -> bool:
        """Whether a person has said that such a thing is a real problem, so that no budget holds it back."""
        if not self._lessons:
            return False
        self._place(None)
        lesson = self._lesson_for(anomaly)
        return lesson is not None and lesson.verdict == "real"

    def holds_back(self, event: IncidentEvent, now_ns: int) -> bool:
        """Whether answers cover all that an incident of a look back consists of."""
        if not self._lessons or not event.causes:
            return False
        self._place(None)
        found = []
        for cause in event.causes:
            index = _ANY_TEMPLATE if cause.template == ANY else self._resolve(cause.template)
            lesson = self._in_force(cause.service, _ANY_TEMPLATE if index is None else index, cause.kind, now_ns)
            if lesson is None or not self._covers(lesson, cause.seen, cause.severity, now_ns):
                return False
            found.append(lesson.id)
        for name in dict.fromkeys(found):
            self._count(name)
        return True

    def _lesson_for(self, anomaly: Anomaly) -> Lesson | None:
        service = self._keys.services[anomaly.service] if anomaly.service >= 0 else ANY
        index = _ANY_TEMPLATE if of_whole_service(anomaly) else int(self._keys.template[anomaly.key])
        return self._in_force(service, index, anomaly.kind, _end_ns(anomaly.window))

    def _in_force(self, service: str, index: int, kind: str, now_ns: int) -> Lesson | None:
        for by_service in dict.fromkeys((service, ANY)):
            for by_template in dict.fromkeys((index, _ANY_TEMPLATE)):
                for by_kind in (kind, ANY):
                    lesson = self._by_place.get((by_service, by_template, by_kind))
                    if lesson is not None and lesson.holds(now_ns):
                        return lesson
        return None

    def _covers(self, lesson: Lesson, seen: float, severity: int, now_ns: int) -> bool:
        """Whether an answer that is no `real` holds something back."""
        if lesson.verdict == "real" or (severity >= Severity.FATAL and not lesson.always):
            return False
        if lesson.verdict == "noise":
            return True
        hours = self._hours.get(lesson.id)
        if hours is not None and now_ns - WINDOW_NS not in hours:
            return False
        return lesson.up_to is None or seen <= lesson.up_to

    def _sounds_harmless(self, anomaly: Anomaly) -> bool:
        if anomaly.severity >= Severity.FATAL:
            return False
        service = self._keys.services[anomaly.service] if anomaly.service >= 0 else ANY
        return self._near.harmless(self._name(anomaly.key)[1], anomaly.severity, service)

    def _again(self, told: list[Anomaly], first: int, counts: NDArray[np.float64]) -> list[Anomaly]:
        """Records of known problems that no detector speaks of."""
        known = sorted(key for key in self._every if key < counts.shape[1])
        if not known:
            return []
        spoken_of = {(anomaly.window, anomaly.key) for anomaly in told}
        again = []
        for row, at in np.argwhere(counts[:, known] > 0).tolist():
            window, key = first + row, known[at]
            lesson = self._every[key]
            if not lesson.holds(_end_ns(window)):
                continue
            began, last = self._told.get(key, (window - AGAIN_WINDOWS, window - AGAIN_WINDOWS))
            goes_on = 0 <= window - last <= _JOINS_WINDOWS
            if not goes_on and 0 <= window - began < AGAIN_WINDOWS:
                self._count(lesson.id)
                continue
            self._told[key] = (began if goes_on else window, window)
            if (window, key) not in spoken_of:
                again.append(self._known(lesson, key, window, float(counts[row, key])))
        return again

    def _known(self, lesson: Lesson, key: int, window: int, came: float) -> Anomaly:
        return Anomaly(
            kind="new" if lesson.kind == ANY else lesson.kind,
            window=window,
            span=1,
            service=int(self._keys.service[key]),
            key=key,
            keys=[key],
            expected=0.0,
            seen=came,
            surprise=_SURE,
            severity=max(lesson.level_number, _least(lesson)),
            about=KNOWN,
        )

    def _count(self, name: str) -> None:
        if name in self.held or len(self.held) < _MOST_HELD:
            self.held[name] = self.held.get(name, 0) + 1

    def _place(self, count: int | None) -> None:
        """Find out which templates and keys the answers mean now, where keys have come, gone or been merged."""
        present = (self._keys.template[:count], self._keys.service[:count])
        before = self._placed_for
        if before is not None and (count is None or all(map(np.array_equal, before, present))):
            return
        self._placed_for = (present[0].copy(), present[1].copy())
        self._by_place, self._every = {}, {}
        placed: dict[tuple[str, int, str], Lesson] = {}
        for lesson in self._lessons:
            index = _ANY_TEMPLATE if lesson.template == ANY else self._resolve(lesson.template)
            if index is None:
                continue
            place = (lesson.service, index, lesson.kind)
            have = placed.get(place)
            # Two templates may have become one.
            if have is None or (lesson.when, lesson.id) > (have.when, have.id):
                placed[place] = lesson
        self._by_place = placed
        services = {name: number for number, name in enumerate(self._keys.services)}
        for (service, index, _), lesson in placed.items():
            if lesson.every_record and lesson.verdict == "real" and index != _ANY_TEMPLATE:
                mine = present[0] == index
                if service != ANY:
                    mine &= present[1] == services.get(service, -1)
                for key in np.flatnonzero(mine).tolist():
                    self._every.setdefault(key, lesson)
        self._told = {key: told for key, told in self._told.items() if key in self._every}

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        self._placed_for = None
        told = self._told.pop(old, None)
        if told is not None:
            self._told[new] = max(told, self._told.get(new, told), key=lambda each: each[1])

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone, and their templates' numbers may be given to others."""
        self._placed_for = None
        for key in keys:
            self._told.pop(key, None)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"held": dict(self.held), "told": [[key, *told] for key, told in self._told.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back."""
        self.held = {str(name): int(count) for name, count in state.get("held", {}).items()}
        self._told = {int(key): (int(began), int(last)) for key, began, last in state.get("told", [])}
        self._placed_for = None


def _end_ns(window: int) -> int:
    return (window + 1) * WINDOW_NS


def _least(lesson: Lesson) -> int:
    """How bad something is at least that a person called real."""
    return int(Severity.FATAL if lesson.severity == "critical" else Severity.WARN)
