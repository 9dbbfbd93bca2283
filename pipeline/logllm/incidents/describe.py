"""An incident in plain words, from numbers alone: title, expected, seen. No model has a part in this."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logllm.events import Anomaly

__all__ = ["KNOWN", "count_of", "expected", "happened", "quantity", "rate_of", "seen", "span_of", "title", "top_values"]

KNOWN = "known"
"""`Anomaly.about` where a record is told because people have called its message a real problem."""

MAX_TEMPLATE = 110


def quantity(value: float) -> str:
    """A count for reading.

    >>> [quantity(x) for x in (0, 0.034, 1, 2.25, 5.98, 640, 12_300)]
    ['0', '0.03', '1', '2.2', '6', '640', '12,300']
    """
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}".removesuffix(".0") if value >= 1 else f"{value:.1g}"


def count_of(value: float, noun: str) -> str:
    """A count with its noun.

    >>> count_of(1, "record"), count_of(3, "record")
    ('1 record', '3 records')
    """
    return f"{quantity(value)} {noun}" if value == 1 else f"{quantity(value)} {noun}s"


def span_of(minutes: float) -> str:
    """Minutes in words.

    >>> span_of(1), span_of(5), span_of(200), span_of(3000)
    ('a minute', '5 minutes', '3 h 20 min', '2 days')
    """
    if minutes == 1:
        return "a minute"
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    if minutes < 2880:
        hours, rest = divmod(round(minutes), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} hours"
    return f"{minutes / 1440:.0f} days"


def rate_of(count: float, minutes: float) -> str:
    """A usual count in a span; small ones by the hour or the day, where they can be read.

    >>> rate_of(12.4, 5), rate_of(0.02, 1), rate_of(0.0001, 1)
    ('about 12 in 5 minutes', 'about 1.2 an hour', 'less than one a day')
    """
    if count >= 0.5:
        return f"about {quantity(count)} in {span_of(minutes)}"
    an_hour = 60.0 * count / minutes
    if an_hour >= 0.5:
        return f"about {quantity(an_hour)} an hour"
    a_day = 24.0 * an_hour
    return f"about {quantity(a_day)} a day" if a_day >= 1.0 else "less than one a day"


def _short(template: str) -> str:
    first = " ".join(template.split("\n", 1)[0].split())
    return first if len(first) <= MAX_TEMPLATE else first[: MAX_TEMPLATE - 1] + "…"


def _field(anomaly: Anomaly) -> str:
    return _short(anomaly.about) or "its values"


def _compared(anomaly: Anomaly, what: str = "") -> str:
    """What was seen against what was expected, in so many times or percent."""
    times = anomaly.seen / max(anomaly.expected, 1e-9)
    of = f" {what}" if what else ""
    if times >= 1000:
        return f"far more{of} than usual"
    if times >= 1.1:
        return (
            f"{quantity(round(times, 1))} times as many{of} as usual"
            if what
            else f"{quantity(round(times, 1))} times the usual"
        )
    return f"{quantity(round(100 * times))} % of the usual{of}"


def title(anomaly: Anomaly, template: str, *, others: int = 0, records: int = 0) -> str:
    """One line that says what changed. `records`: of the whole file, for "dominant"."""
    text = _short(template)
    more = f" (and {others} more)" if others else ""
    match anomaly.kind:
        case _ if anomaly.about == KNOWN:
            return f"Known problem again: {text}{more}"
        case "rate":
            times = anomaly.seen / max(anomaly.expected, 1e-9)
            often = f"{quantity(round(times))} times as often as usual" if times < 1000 else "far more often than usual"
            return f"{text} — {often}{more}"
        case "silence" if anomaly.service < 0:
            return "Nothing comes in any more"
        case "silence" if anomaly.span == 0:
            return f"Silent: {text} and all else of this service stopped"
        case "silence":
            return f"No longer comes: {text}{more}"
        case "new":
            return f"New: {text}{more}"
        case "severity":
            return f"Errors are up, first of all: {text}{more}"
        case "release":
            return f"{count_of(anomaly.seen, 'new template')} at once, as after a release: {text}"
        case "plugin":
            return f"{text[:1].upper()}{text[1:]}{more}"
        case "injection":
            return f"Reads like an instruction to a language model: {text}{more}"
        case "heartbeat":
            return f"Did not come: {text}{more}"
        case "value":
            return f"{_field(anomaly)} {_compared(anomaly)}: {text}{more}"
        case "distinct":
            return f"{_field(anomaly)}: {_compared(anomaly, 'different values')}: {text}{more}"
        case "session":
            return f"Odd course of {_short(anomaly.about)}: {text}"
        case "change":
            return f"New normal: {text} — {_compared(anomaly)}{more}"
        case "odd":
            return f"Unusual mix ({_short(anomaly.about)}), first of all: {text}"
        case "dominant":
            return f"{text} makes up {100 * anomaly.seen / max(records, 1):.0f} % of the log{more}"
        case _:
            return f"Rare: {text}{more}"


def happened(anomaly: Anomaly, template: str, service: str) -> str:
    """What began, of which service, as a part of a sentence: "orders: new: connection refused"."""
    if anomaly.kind == "rate" and anomaly.about != KNOWN:
        much = "more often than usual" if anomaly.seen >= anomaly.expected else "more seldom than usual"
        told = f"{much}: {_short(template)}"
    else:
        told = title(anomaly, template)
    words = told.split(" ", 1)[0]
    # An abbreviation, or a message's own first word, keeps its capital.
    told = told[:1].lower() + told[1:] if words[1:].islower() or words.endswith(":") else told
    return f"{service}: {told}" if service else told


def expected(anomaly: Anomaly, *, watched: float, records: int = 0) -> str:
    """What would have been normal. `watched`: windows the source had been watched for."""
    match anomaly.kind:
        case _ if anomaly.about == KNOWN:
            return "none: people have called it a real problem"
        case "rate":
            return rate_of(anomaly.expected, anomaly.span)
        case "silence":
            return f"about {quantity(anomaly.expected)} a minute"
        case "new" if anomaly.expected < 0.1:
            return f"none: not seen in {span_of(watched)}" if watched >= 1.0 else "none: not seen before in this log"
        case "new":
            return f"none of its kind; of late {count_of(anomaly.expected, 'new problem message')} a day"
        case "severity":
            return f"about {quantity(anomaly.expected)} errors in {span_of(anomaly.span)}, from the usual share"
        case "release":
            return f"about {quantity(anomaly.expected)} new templates a day"
        case "plugin":
            return "none: a plugin raises what it takes to be odd"
        case "injection":
            return "none: log text tells of machines, it does not speak to a language model"
        case "heartbeat":
            return f"once in {span_of(max(1.0, round(anomaly.expected)))}"
        case "value":
            return f"{_field(anomaly)} of about {quantity(anomaly.expected)}"
        case "distinct":
            return f"about {quantity(anomaly.expected)} different {_field(anomaly)} in {span_of(anomaly.span)}"
        case "session":
            return f"about {count_of(anomaly.expected, 'record')} and the usual course"
        case "change":
            return f"about {quantity(anomaly.expected)} a minute, as before"
        case "odd":
            return f"{_short(anomaly.about)}: the first about {quantity(anomaly.expected)}"
        case "dominant":
            return f"a problem message to be under 5 % of the log ({quantity(0.05 * records)} of {records:,})"
        case _:
            return "no message of this severity in an ordinary stretch"


def seen(anomaly: Anomaly, *, records: int = 0) -> str:
    """What came instead."""
    match anomaly.kind:
        case _ if anomaly.about == KNOWN:
            return f"{count_of(anomaly.seen, 'record')} in {span_of(anomaly.span)}"
        case "rate":
            return f"{quantity(anomaly.seen)} in {span_of(anomaly.span)}"
        case "silence":
            return f"nothing for {span_of(anomaly.seen)}"
        case "severity":
            return f"{count_of(anomaly.seen, 'error')} in {span_of(anomaly.span)}"
        case "release":
            return f"{count_of(anomaly.seen, 'new template')} close together"
        case "heartbeat":
            return f"nothing for {span_of(anomaly.seen)}"
        case "value":
            return f"{quantity(anomaly.seen)} in {span_of(anomaly.span)}"
        case "distinct":
            return f"{quantity(anomaly.seen)} in {span_of(anomaly.span)}"
        case "session":
            return f"{count_of(anomaly.seen, 'record')} in {_short(anomaly.about)}"
        case "change":
            return f"about {quantity(anomaly.seen)} a minute for {span_of(anomaly.span)}"
        case "odd":
            return f"{quantity(anomaly.seen)} in {span_of(anomaly.span)}"
        case "dominant":
            return f"{quantity(anomaly.seen)} of {records:,} records"
        case "plugin":
            return f"raised {count_of(anomaly.seen, 'time')} in {span_of(anomaly.span)}"
        case "rare":
            return f"{count_of(anomaly.seen, 'record')} of {records:,}"
        case _:
            return f"{count_of(anomaly.seen, 'record')} in {span_of(anomaly.span)}"


def top_values(parameters: Iterable[list[str]]) -> list[str]:
    """Facts such as "183.62.140.253 in 286 of 420 lines", for the values that stand out.

    Args:
        parameters: The values at the template's variable places, one list a line.
    """
    columns: dict[int, Counter[str]] = {}
    lines = 0
    for values in parameters:
        lines += 1
        for place, value in enumerate(values[:12]):
            if 1 < len(value) <= 80:
                columns.setdefault(place, Counter())[value] += 1
    facts = []
    for counter in columns.values():
        value, times = counter.most_common(1)[0]
        if lines >= 5 and times >= 3 and 0.15 * lines <= times < lines:
            facts.append(f"{value} in {times} of {lines} lines")
    return facts[:4]
