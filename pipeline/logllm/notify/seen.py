"""What is told of the time before an incident: what came first, what was changed, earlier incidents like it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logllm.events import Explanation, IncidentEvent

__all__ = ["around", "seen_before"]

_MOST = 3
_CALLED = {"real": "a real problem", "expected": "expected", "noise": "noise"}


def around(incident: IncidentEvent) -> list[str]:
    """What was noticed first, and what was changed near the beginning; empty where nothing is known of either."""
    first = [f"First: {incident.timeline[0]}"] if incident.timeline else []
    return first + [f"Changed ({one.id[:8]}, {one.time[11:19]}): {one.text}" for one in incident.changes[:_MOST]]


def seen_before(explanation: Explanation) -> list[str]:
    """A sentence each, the likest first, at most three; outcome and title as they were kept.

    >>> from logllm.events import Explanation, SeenBefore
    >>> before = SeenBefore("inc-1", "2026-05-03T10:00:00Z", "New: too many clients", outcome="raised max_connections")
    >>> seen_before(Explanation("inc-2", "ok", "", None, [], [], 0.0, "none", seen_before=[before]))
    ['seen on 3 May 2026, fixed by: raised max_connections (inc-1: New: too many clients)']
    """
    told = []
    for one in explanation.seen_before[:_MOST]:
        try:
            day = datetime.fromisoformat(one.time)
            when = f"seen on {day.day} {day:%B %Y}"
        except ValueError:
            when = "seen before"
        if one.outcome:
            when += f", fixed by: {one.outcome}"
        elif one.verdict in _CALLED:
            when += f", called {_CALLED[one.verdict]}"
        told.append(f"{when} ({one.incident}: {one.title[:120]})")
    return told
