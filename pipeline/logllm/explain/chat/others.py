"""Answers over several incidents: the list of them, and one beside another."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from logllm.explain.chat.case import Item, moment
from logllm.explain.chat.events import Sentence
from logllm.explain.chat.find import find, firm_in
from logllm.explain.chat.topics import subjects_of
from logllm.explain.runbooks.words import WEAK, stem, terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.events import Explanation, IncidentEvent

    Kept = tuple[IncidentEvent, Explanation | None]

__all__ = ["compared", "incident_named", "listed"]

_MOST_LISTED = 10
_WEAK = frozenset(stem(word) for word in WEAK)
_NEAR_S = 900.0


def incident_named(question: str, kept: Sequence[Kept], besides: str = "") -> IncidentEvent | None:
    """The incident a question names: by its id or the beginning of it, else by words of service and title."""
    lower = question.lower()
    for event, _ in kept:
        for word in lower.replace("?", " ").split():
            if event.id != besides and len(word) >= 7 and event.id.lower().startswith(word.strip(".,;:\"'()")):
                return event
    items = [
        Item(event.id, "incident", f"{event.service} {event.title} {event.template}")
        for event, _ in kept
        if event.id != besides
    ]
    found = find(items, [*subjects_of(question), *firm_in(question)])
    by_id = {event.id: event for event, _ in kept}
    return by_id[found[0].item.id] if found else None


def listed(question: str, kept: Sequence[Kept]) -> list[Sentence]:
    """The incidents, the latest first; only open ones, or of one severity or service, where the question says so."""
    if not kept:
        return [Sentence("No incident is kept here.", [], unknown=True)]
    events = [event for event, _ in kept]
    lower = question.lower()
    chosen = events
    if "open" in lower or "ongoing" in lower:
        chosen = [event for event in chosen if event.event != "resolve" and not event.ended]
    for severity in ("critical", "warning", "info"):
        if severity in lower.split() or f"{severity}s" in lower.split():
            chosen = [event for event in chosen if event.severity == severity]
    services = {event.service.lower() for event in events if event.service}
    asked = [word for word in lower.replace("?", " ").split() if word in services]
    if asked:
        chosen = [event for event in chosen if event.service.lower() in asked]
    if not chosen:
        return [Sentence(f"None of the {len(events)} incidents kept here is of that kind.", [], unknown=True)]
    told = [
        Sentence(
            f"{event.id}: {event.severity}, {event.service or 'the whole log'}, since "
            f"{moment(event.started or event.time)}: {event.title}.",
            [event.id],
        )
        for event in chosen[:_MOST_LISTED]
    ]
    if len(chosen) > _MOST_LISTED:
        more = [event.id for event in chosen[_MOST_LISTED:]]
        told.append(Sentence(f"And {len(more)} more.", more[:5]))
    return told


def compared(
    question: str, one: IncidentEvent, kept: Sequence[Kept], runbooks: dict[str, str | None]
) -> list[Sentence]:
    """One incident beside another: the one that is named, else the one that is nearest in time.

    Args:
        runbooks: The runbook of each incident by its id, where one fits.
    """
    others = [event for event, _ in kept if event.id != one.id]
    other = incident_named(question, kept, besides=one.id) or min(
        others, key=lambda event: (abs(_apart_s(one, event)), event.id), default=None
    )
    if other is None:
        return [Sentence("No other incident is kept here to compare it with.", [], unknown=True)]
    told = [
        Sentence(
            f"{other.id} is {other.severity}, on {other.service or 'the whole log'}: {other.title}.",
            [other.id],
        )
    ]
    apart = _apart_s(one, other)
    if abs(apart) < 1:
        told.append(Sentence("Both began in the same minute.", ["I1", other.id]))
    else:
        which = "began later" if apart > 0 else "began earlier"
        told.append(Sentence(f"{other.id} {which}, by {_span(abs(apart))}.", ["I1", other.id]))
    mine, its = runbooks.get(one.id), runbooks.get(other.id)
    if mine and mine == its:
        told.append(Sentence(f"Both match runbook {mine}: the cause may be the same.", ["I1", other.id]))
    elif mine and its:
        told.append(Sentence(f"They match different runbooks: {mine} and {its}.", ["I1", other.id]))
    shared = sorted(_words(one) & _words(other))
    if shared:
        told.append(Sentence(f"Words of both: {', '.join(shared[:8])}.", ["I1", other.id]))
    elif abs(apart) > _NEAR_S and not (mine and mine == its):
        told.append(Sentence("Nothing here says that they have to do with each other.", ["I1", other.id], unknown=True))
    return told


def _words(event: IncidentEvent) -> set[str]:
    texts = [event.template, *(line.text for line in event.evidence)]
    return {
        word for text in texts for word in terms(text) if stem(word) not in _WEAK and word.isalpha() and len(word) > 3
    }


def _apart_s(one: IncidentEvent, other: IncidentEvent) -> float:
    try:
        began = datetime.fromisoformat(one.started or one.time)
        return (datetime.fromisoformat(other.started or other.time) - began).total_seconds()
    except (ValueError, TypeError):
        return float("inf")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
