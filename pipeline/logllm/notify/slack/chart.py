"""Times, spans and counts in the few characters a message has for them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

__all__ = ["amount", "at", "chart", "clock", "duration", "moment", "span_s"]

_BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 30  # columns: a telephone shows so many
_SHORTEST = 3  # of fewer counts there is no shape to be seen


def moment(rfc3339: str) -> datetime | None:
    """The instant that an RFC 3339 text names, in UTC; None where it is none."""
    try:
        found = datetime.fromisoformat(rfc3339[:40])
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def at(rfc3339: str) -> str:
    """Day, hour and minute; empty for no time.

    >>> at("2023-11-14T22:13:20.123Z"), at("soon")
    ('14 Nov 22:13 UTC', '')
    """
    found = moment(rfc3339)
    return f"{found.day} {found:%b %H:%M} UTC" if found else ""


def clock(rfc3339: str) -> str:
    """The time of day, for a line of log; dashes for no time.

    >>> clock("2023-11-14T22:13:20.123Z")
    '22:13:20'
    """
    found = moment(rfc3339)
    return f"{found:%H:%M:%S}" if found else "--:--:--"


def span_s(started: str, ended: str) -> float:
    """Seconds from one time to the other; 0 where either is none or they run backwards."""
    first, last = moment(started), moment(ended)
    return max(0.0, (last - first).total_seconds()) if first and last else 0.0


def duration(seconds: float) -> str:
    """A span in its two largest units.

    >>> duration(41), duration(308), duration(7_380), duration(200_000)
    ('41 s', '5 min 8 s', '2 h 3 min', '2 d 7 h')
    """
    whole = round(seconds)
    for unit, size_s, small, small_s in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size_s:
            rest = whole % size_s // small_s
            return f"{whole // size_s:,} {unit} {rest} {small}" if rest else f"{whole // size_s:,} {unit}"
    return f"{whole} s"


def amount(count: int, noun: str) -> str:
    """A count with its noun.

    >>> amount(1, "incident"), amount(12_000, "record")
    ('1 incident', '12,000 records')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def chart(series: Sequence[int], ended: str) -> str:
    """Counts by the minute as bars in a span of code, with their bounds and times; empty where there is no shape.

    Nothing at all is the lowest bar and everything else is above it, so a silence shows.

    Args:
        series: The latest one last.
        ended: When the last of these minutes ended.

    >>> chart([0, 1, 50, 100], "2023-11-14T22:14:00Z")
    '`▁▂▅█`  0 to 100 a minute, 22:10 to 22:14 UTC'
    """
    counts = [max(0, count) for count in series[-1_440:]]
    if len(counts) < _SHORTEST or not any(counts):
        return ""
    groups = min(_WIDEST, len(counts))
    edges = [round(i * len(counts) / groups) for i in range(groups + 1)]
    peaks = [max(counts[a:b]) for a, b in itertools.pairwise(edges)]
    top = max(peaks)
    bars = "".join(_BARS[0] if n == 0 else _BARS[max(1, round((len(_BARS) - 1) * n / top))] for n in peaks)
    told = f"`{bars}`  {min(counts):,} to {top:,} a minute"
    last = moment(ended)
    if last is None:
        return told
    try:
        first = last - timedelta(minutes=len(counts))
    except OverflowError:
        return told
    return f"{told}, {first:%H:%M} to {last:%H:%M} UTC"
