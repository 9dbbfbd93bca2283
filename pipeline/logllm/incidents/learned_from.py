"""From an answer to an incident to what is learned by it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from logllm.errors import StateError
from logllm.events import Severity
from logllm.incidents.learned import ANY, Lesson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.events import Cause, IncidentEvent
    from logllm.incidents.learned import LevelName, Teaching

__all__ = ["TIMES", "Wish", "grown", "lessons_of"]

TIMES = 1.5
"""What was expected once is expected again up to one and a half times as large: no two nights are the same."""

_ITSELF = frozenset(("new", "rare", "plugin", "dominant", "injection"))
"""Kinds in which the message as such is what is odd. It is new only once: what is said of it then holds for whatever
is odd about it later, so the answer is kept for any kind."""

_LONGEST_TEXT = 500
_LONGEST_SAID = 200

_LEVELS: dict[int, LevelName] = {
    Severity.FATAL: "fatal",
    Severity.ERROR: "error",
    Severity.WARN: "warn",
    Severity.INFO: "info",
    Severity.DEBUG: "debug",
    Severity.TRACE: "trace",
}


class Wish(msgspec.Struct, frozen=True):
    """What a person wants beyond the verdict.

    Args:
        until: It holds until then; None: until it is taken back.
        up_to: For `expected`: this many, in place of TIMES as many as were seen; infinity: any number.
        days, hours, zone: For `expected`: only then, see `Hours`.
        everywhere: Whatever the service.
        any_kind: Whatever the kind.
        every_cause: All anomalies of the incident, not only those of the leading one's template.
        always: Fatal ones too.
    """

    note: str = ""
    until: datetime | None = None
    up_to: float | None = None
    days: list[str] = []
    hours: str = ""
    zone: str = "UTC"
    everywhere: bool = False
    any_kind: bool = False
    every_cause: bool = False
    always: bool = False


NOTHING_ELSE = Wish()


def lessons_of(
    event: IncidentEvent, verdict: Teaching, who: str, when: datetime, wish: Wish = NOTHING_ELSE
) -> list[Lesson]:
    """What is learned: an answer for each kind of anomaly of the leading one's template in the incident, or one for
    any kind where the message as such was odd.

    Other templates that were odd at the same time stay as they are, unless `every_cause` is wished: that one message
    is noise says nothing of those that came with it.

    Raises:
        StateError: The incident was kept by a logllm that did not note what it consists of.
    """
    if not event.causes:
        raise StateError(
            f"{event.id}: it was not noted what this incident consists of, so nothing can be learned of it"
        )
    lead = event.causes[0]
    itself = {(cause.service, cause.template) for cause in event.causes if cause.kind in _ITSELF}
    found: dict[tuple[str, str, str], Lesson] = {}
    for cause in event.causes:
        if wish.every_cause or (cause.template == lead.template and (lead.template != ANY or cause.kind == lead.kind)):
            lesson = _lesson(event, cause, verdict, wish, _clean(who), when)
            if wish.any_kind or (cause.service, cause.template) in itself:
                lesson = replace(lesson, kind=ANY)
            before = found.get(lesson.about)
            found[lesson.about] = lesson if before is None else _both(before, lesson)
    return list(found.values())


def _lesson(event: IncidentEvent, cause: Cause, verdict: Teaching, wish: Wish, who: str, when: datetime) -> Lesson:
    lesson = Lesson(
        service=ANY if wish.everywhere else cause.service,
        template=cause.template,
        kind=cause.kind,
        verdict=verdict,
        when=when.astimezone(UTC),
        text=_clean(cause.text, _LONGEST_TEXT),
        level=_level(cause.severity),
        by=who,
        note=_clean(wish.note),
        incident=event.id,
        until=wish.until,
    )
    if verdict == "real":
        return replace(
            lesson,
            severity="critical" if event.severity == "critical" else "warning",
            every_record=cause.template != ANY and cause.kind in _ITSELF,
        )
    if verdict == "noise":
        return replace(lesson, always=wish.always)
    up_to = TIMES * _size(event, cause) if wish.up_to is None else wish.up_to
    return replace(
        lesson,
        up_to=up_to,
        up_to_given=wish.up_to is not None,
        days=wish.days,
        hours=wish.hours,
        zone=wish.zone,
        always=wish.always,
    )


def _both(one: Lesson, other: Lesson) -> Lesson:
    """One answer for what two anomalies call for, where the kind does not matter."""
    levels = [*_LEVELS.values()]
    return replace(
        one,
        up_to=None if one.up_to is None or other.up_to is None else max(one.up_to, other.up_to),
        level=min(one.level, other.level, key=lambda level: levels.index(level) if level in levels else len(levels)),
        every_record=one.every_record or other.every_record,
    )


def grown(lessons: Sequence[Lesson], event: IncidentEvent) -> list[Lesson]:
    """What was expected goes on: the answers as far as they must allow for more by now.

    An incident may be answered while it is still small. It is expected as a whole, so the bound follows it to its end;
    one that was given by hand does not.
    """
    if not event.causes:
        return []
    found = []
    for lesson in lessons:
        if lesson.incident != event.id or lesson.verdict != "expected" or lesson.up_to is None or lesson.up_to_given:
            continue
        sizes = [
            TIMES * _size(event, cause)
            for cause in event.causes
            if lesson.template == cause.template
            and lesson.kind in (ANY, cause.kind)
            and lesson.service in (ANY, cause.service)
        ]
        if max(sizes, default=0.0) > lesson.up_to:
            found.append(replace(lesson, up_to=max(sizes)))
    return found


def _size(event: IncidentEvent, cause: Cause) -> float:
    """How large it was: a new message is seen small at first, and then the incident counts what comes of it."""
    return max(cause.seen, float(event.count)) if cause.kind in _ITSELF else cause.seen


def _level(severity: int) -> LevelName:
    return next((name for level, name in _LEVELS.items() if severity >= level), "unspecified")


def _clean(text: str, longest: int = _LONGEST_SAID) -> str:
    """Foreign text for a file that people read: one line of it."""
    text = text[: 4 * longest].encode("utf-8", "replace").decode()
    return "".join(char if char.isprintable() else " " for char in text)[:longest].strip()
