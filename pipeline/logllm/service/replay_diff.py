"""What would have been told under another configuration, against what was told or would have been under this one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from logllm.events import IncidentEvent
from logllm.incidents.store import IncidentStore, incidents_in
from logllm.service.replay import replay

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from logllm.config import Config
    from logllm.events import Explanation, Summary
    from logllm.service.replay import ReplayOptions

__all__ = ["DiffSummary", "Difference", "compare", "told_by", "told_in"]

NEAR_S = 900.0
"""Two incidents this close in time that are about the same are the same."""

_MOST_KEPT = 1_000_000


class Difference(msgspec.Struct, frozen=True, tag_field="type", tag="difference"):
    """One incident and on which side it is told; `before` is its severity there where both tell it."""

    change: Literal["added", "removed", "same", "severity"]
    incident: IncidentEvent
    before: str = ""


class DiffSummary(msgspec.Struct, frozen=True, tag_field="type", tag="diff"):
    """The whole of it; incidents a day are over the days that are compared, at least one."""

    added: int
    removed: int
    same: int
    severity: int
    days: float
    per_day_before: float
    per_day_after: float


@dataclass(slots=True)
class _Collected:
    """An outlet that keeps the latest of each incident. Notices go on to the one behind it."""

    latest: dict[str, IncidentEvent]
    notices: list[str]

    def incident(self, event: IncidentEvent) -> None:
        self.latest[event.id] = event

    def explanation(self, explanation: Explanation, incident: IncidentEvent) -> None:
        pass

    def status(self, lines: int, lines_per_s: float, templates: int, learning: str | None, incidents: int) -> None:
        pass

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def summary(self, summary: Summary) -> None:
        pass


def told_by(options: ReplayOptions, config: Config, notices: list[str]) -> list[IncidentEvent]:
    """What a replay under this configuration tells, each incident as it ended, in order of time. Raises as `replay`."""
    collected = _Collected({}, [])
    replay(options, config, collected)
    notices += [notice for notice in collected.notices if notice not in notices]
    return _in_order(collected.latest.values())


def told_in(data_dir: Path) -> list[IncidentEvent]:
    """What was told by whoever kept this data folder. Raises SourceError, StateError."""
    store = IncidentStore(incidents_in(data_dir))
    try:
        return _in_order(event for event, _ in store.latest(_MOST_KEPT))
    finally:
        store.close()


def compare(
    before: Sequence[IncidentEvent], after: Sequence[IncidentEvent], since_s: float | None, until_s: float | None
) -> tuple[list[Difference], DiffSummary]:
    """Pair the incidents of both sides, each at most once, nearest first.

    Args:
        since_s, until_s: Only incidents that began in this time are compared; None: no bound.
    """
    old = [event for event in before if _within(event, since_s, until_s)]
    new = [event for event in after if _within(event, since_s, until_s)]
    pairs = _pairs(old, new)
    differences = [_difference(event, None if at not in pairs else old[pairs[at]]) for at, event in enumerate(new)]
    paired = set(pairs.values())
    differences += [Difference("removed", event) for at, event in enumerate(old) if at not in paired]
    differences.sort(key=lambda one: (_start(one.incident), one.incident.id))
    starts = [_start(one.incident) for one in differences]
    first, last = (min(starts), max(starts)) if starts else (0.0, 0.0)
    days = max(1.0, ((last if until_s is None else until_s) - (first if since_s is None else since_s)) / 86_400.0)
    counts = {change: sum(one.change == change for one in differences) for change in ("added", "removed", "same")}
    return differences, DiffSummary(
        **counts,
        severity=len(differences) - sum(counts.values()),
        days=round(days, 3),
        per_day_before=round(len(old) / days, 3),
        per_day_after=round(len(new) / days, 3),
    )


def _difference(event: IncidentEvent, before: IncidentEvent | None) -> Difference:
    if before is None:
        return Difference("added", event)
    return Difference("same" if before.severity == event.severity else "severity", event, before.severity)


def _pairs(old: Sequence[IncidentEvent], new: Sequence[IncidentEvent]) -> dict[int, int]:
    """Index of each new incident that has a partner -> index of that."""
    by_service: dict[str, list[int]] = {}
    for at, event in enumerate(old):
        by_service.setdefault(event.service, []).append(at)
    found = []
    for at, event in enumerate(new):
        for other in by_service.get(event.service, ()):
            apart = _apart(event, old[other])
            if apart <= NEAR_S and _alike(event, old[other]):
                found.append((event.fingerprint != old[other].fingerprint, apart, at, other))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, at, other in sorted(found):
        if at not in pairs and other not in taken:
            pairs[at] = other
            taken.add(other)
    return pairs


def _alike(one: IncidentEvent, other: IncidentEvent) -> bool:
    if one.fingerprint and one.fingerprint == other.fingerprint:
        return True
    return not {one.template, *one.templates}.isdisjoint({other.template, *other.templates} - {""})


def _apart(one: IncidentEvent, other: IncidentEvent) -> float:
    """Seconds between the two, 0 where they overlap."""
    return max(0.0, _start(one) - _end(other), _start(other) - _end(one))


def _within(event: IncidentEvent, since_s: float | None, until_s: float | None) -> bool:
    start = _start(event)
    return (since_s is None or start >= since_s) and (until_s is None or start <= until_s)


def _start(event: IncidentEvent) -> float:
    return datetime.fromisoformat(event.started or event.time).timestamp()


def _end(event: IncidentEvent) -> float:
    return datetime.fromisoformat(event.ended or event.time).timestamp()


def _in_order(events: Iterable[IncidentEvent]) -> list[IncidentEvent]:
    return sorted(events, key=lambda event: (_start(event), event.id))
