"""What happened, in plain words, without any model."""

from __future__ import annotations

import collections
import re
from datetime import datetime
from typing import TYPE_CHECKING

from logllm.events import Explanation
from logllm.explain.runbooks.search import FITS, LEAST_SHOWN

if TYPE_CHECKING:
    from logllm.events import Evidence, IncidentEvent
    from logllm.explain.runbooks.search import Catalogue, Runbook

__all__ = [
    "cause_from",
    "cited",
    "confidence",
    "explain_without_model",
    "facts_text",
    "first_sentence",
    "lasting",
    "logged",
]

_KINDS = {
    "rate": "a known message came far more often than it does",
    "silence": "a message that comes regularly stopped",
    "new": "a message that was never seen before",
    "rare": "a message that is seldom seen",
    "severity": "more of the messages are errors than usual",
    "release": "many new messages began at once, as after a release",
    "heartbeat": "a message that comes by the clock did not come",
    "value": "a number in its records is not what it usually is",
    "distinct": "far more or fewer different values than usual",
    "session": "a request or job took a course that others do not take",
    "change": "its rate changed and stayed there: a new normal",
    "odd": "the mix of its messages is unusual",
    "dominant": "one message makes up most of the log",
}
_TOP = (
    ("address", re.compile(r"<ip_\w+>|(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")),
    ("host", re.compile(r"<host_\w+>")),
    ("user", re.compile(r"<user_\w+>")),
    ("status", re.compile(r"(?<![\d.:])[45]\d\d(?![\d.:])")),
)


def facts_text(incident: IncidentEvent) -> list[str]:
    """The incident as sentences: what changed, since when, expected against seen, where, which values stand out.

    At most about 12 lines, none longer than 300 characters. What the incident's own `facts` say is not said twice.
    """
    lines = [incident.title]
    where = f" on {incident.service}" if incident.service else ""
    kinds = [_KINDS[kind] for kind in incident.kinds if kind in _KINDS]
    if kinds:
        lines.append(f"What is odd{where}: {'; '.join(kinds)}.")
    began = incident.started or incident.time
    if incident.ended:
        lines.append(f"From {began} to {incident.ended}{_comma(lasting(began, incident.ended))}.")
    else:
        lines.append(f"Since {began}{_comma(lasting(began, incident.time))}.")
    if incident.expected or incident.seen:
        lines.append(f"Expected: {incident.expected or 'nothing'}. Seen: {incident.seen or 'nothing'}.")
    if incident.count:
        lines.append(f"{incident.count} records belong to it.")
    shape = _shape(incident.series)
    if shape:
        lines.append(shape)
    others = [service for service in incident.services if service and service != incident.service]
    if others:
        lines.append(f"Also on: {', '.join(others[:5])}{' and others' if len(others) > 5 else ''}.")
    if incident.timeline:
        lines.append(f"Noticed first: {incident.timeline[0]}.")
    lines.extend(f"{change.id} was {logged(change, incident)}" for change in incident.changes)
    lines.extend(_top_values([evidence.text for evidence in incident.evidence]))
    said = " ".join(lines).lower()
    lines.extend(fact for fact in incident.facts if fact.lower().rstrip(".") not in said)
    return [line[:300] for line in lines if line.strip()][:16]


def explain_without_model(
    incident: IncidentEvent, runbook: Runbook | None, catalogue: Catalogue, *, margin: float = 0.0
) -> Explanation:
    """What can be said from the facts and the runbook that matches: `model` is "none".

    Without a runbook the status is "insufficient" and the cause says only what was seen.

    Args:
        margin: How far the runbook is ahead of the second, see `confidence`; 0 where that is not known.
    """
    ids = cited(incident, runbook, catalogue)
    if not ids and incident.kinds == ["silence"]:
        ids = [evidence.id for evidence in incident.evidence]  # the last of what no longer comes
    if runbook is None:
        return Explanation(
            incident=incident.id,
            status="insufficient",
            cause="No runbook fits what was seen; the facts stand alone.",
            runbook=None,
            steps=[],
            evidence=[],
            confidence=0.0,
            model="none",
        )
    share = len(ids) / len(incident.evidence) if incident.evidence else 0.0
    return Explanation(
        incident=incident.id,
        status="ok",
        cause=cause_from(runbook, ids),
        runbook=runbook.id,
        steps=runbook.steps,
        evidence=ids,
        confidence=confidence(coverage=share, margin=margin, has_runbook=True),
        model="none",
    )


def confidence(*, coverage: float, margin: float, has_runbook: bool) -> float:
    """How far the answer can be trusted, from what can be counted; about how often the runbook is right.

    `0.35 + 0.4 * min(1, 2 * margin) + 0.2 * coverage`, without a runbook `0.3 * coverage`. Chosen on the labelled
    excerpts and held against others (docs/explanations.md). Whether the model, asked in words, named the same runbook
    has no part in it: with the default model it is right as often where it did not.

    Args:
        coverage: Share of the incident's evidence lines that carry one of the runbook's signals (without a runbook:
            of the cause's words), 0 to 1.
        margin: How far the chosen runbook is ahead of the second in retrieval and likelihood, 0 to 1.
    """
    if not has_runbook:
        return round(0.3 * coverage, 2)
    return round(0.35 + 0.4 * min(1.0, 2.0 * margin) + 0.2 * coverage, 2)


def cited(incident: IncidentEvent, runbook: Runbook | None, catalogue: Catalogue) -> list[str]:
    """The ids of the evidence lines that carry one of the runbook's signals, in full or as well as any of them does."""
    if runbook is None:
        return []
    shown = {evidence.id: catalogue.shows(runbook, evidence.text) for evidence in incident.evidence}
    least = min(FITS, max(LEAST_SHOWN, 0.9 * max(shown.values(), default=0.0)))
    return [name for name, share in shown.items() if share >= least]


def cause_from(runbook: Runbook, ids: list[str]) -> str:
    """The cause in the runbook's words, with the evidence that matched it."""
    seen = f" Seen in {', '.join(ids[:5])}." if ids else ""
    return f"Matches runbook {runbook.id} ({runbook.title}): {first_sentence(runbook.what)}{seen}"


def logged(change: Evidence, incident: IncidentEvent) -> str:
    """A change with when it was logged, by the beginning of the incident: when, never why."""
    try:
        began = datetime.fromisoformat(incident.started or incident.time)
        minutes = round((began - datetime.fromisoformat(change.time)).total_seconds() / 60)
    except (ValueError, TypeError):
        return f"logged near its beginning: {change.text}"
    if minutes > 0:
        return f"logged {minutes} minute{'s' if minutes > 1 else ''} before it began: {change.text}"
    return f"logged as it began: {change.text}"


def first_sentence(text: str, limit: int = 260) -> str:
    """Up to the first full stop that ends a sentence, never cut inside a word."""
    match = re.match(r".{20,}?[.!?](?=\s|$)", text, re.DOTALL)
    sentence = match[0] if match else text
    if len(sentence) > limit:
        sentence = sentence[:limit].rsplit(" ", 1)[0] + "…"
    return sentence


def lasting(began: str, ended: str) -> str:
    """From one RFC 3339 time to another in words, "" where that is not known or under a second.

    >>> lasting("2026-03-10T14:26:00Z", "2026-03-10T15:22:00Z"), lasting("", "2026-03-10T15:22:00Z")
    ('56 minutes', '')
    """
    try:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    except (ValueError, TypeError):
        return ""
    if seconds < 1:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _comma(words: str) -> str:
    return f", {words}" if words else ""


def _shape(series: list[int]) -> str:
    if len(series) < 3 or not any(series):
        return ""
    peak = max(range(len(series)), key=series.__getitem__)
    return (
        f"Count a window: from {series[0]} to {series[-1]}, most {series[peak]} in window {peak + 1} of {len(series)}."
    )


def _top_values(texts: list[str]) -> list[str]:
    lines = []
    for name, pattern in _TOP:
        counts = collections.Counter(value for text in texts for value in set(pattern.findall(text)))
        top = [(value, number) for value, number in counts.most_common(3) if number > 1]
        if top and len(texts) > 1:
            named = ", ".join(f"{value} ({number} of {len(texts)} lines)" for value, number in top)
            lines.append(f"Most frequent {name} in the evidence: {named}.")
    return lines
