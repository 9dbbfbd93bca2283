"""Learns the columns of a header from the first lines of a file.

The time is looked for in every notation at every column; what follows it is taken column by column as long as nearly
all lines agree: further times, a level, numbers, brackets, a component with its colon. The result is one expression
(`header.py`). Nothing here knows a product: `2005-06-03-15.42.50 R02 RAS KERNEL INFO text`, `03-17 16:13:38.811
1702 2395 D Tag: text` and `20171223-22:15:29:606|Step|3000|text` all come out of the same rules.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from logllm.sources.formats.columns import Column, next_column
from logllm.sources.formats.header import Header
from logllm.sources.formats.notations import NOTATIONS, Notation
from logllm.sources.multiline import record_starts

__all__ = ["TimePlace", "find_time", "learn_header"]

_HEAD = 120
_MOST_COLUMNS = 14
# Of the lines that are not continuations, the share that must agree.
_AGREE = 0.9
_SOME = 0.5
_digits = re.compile(r"\d+")
_letters = re.compile(r"(?<![A-Za-z\\])[A-Z][a-z]{2}(?![A-Za-z])")
# A day of the month after its name is padded with a blank.
_day = re.compile(r"(\{2\}\\ )(?:\\ \\d\{1\}|\\d\{2\})(?=\\ )")
_DAY_NS = 86_400_000_000_000


@dataclass(slots=True, frozen=True)
class TimePlace:
    """Where the time of most lines stands: after `tokens` words and the brackets in `opening`."""

    notation: Notation
    tokens: int
    opening: str
    share: float


def find_time(lines: list[str], *, reference_ns: int) -> TimePlace | None:
    """The notation and column of the time of most lines; None where fewer than half have one.

    Of several times in a header the first is taken, which is how log collectors put theirs in front; a number that
    looks like an epoch but disagrees with a written date in the same line is no time.
    """
    votes: Counter[tuple[str, int]] = Counter()
    longest: Counter[tuple[str, int]] = Counter()
    openings: dict[tuple[str, int], Counter[str]] = {}
    for line in lines:
        head = line[:_HEAD]
        seen: set[tuple[str, int]] = set()
        epochs: list[tuple[tuple[str, int], int]] = []
        dates: list[int] = []
        for name, notation in NOTATIONS.items():
            if name.startswith("klog"):
                continue
            for match in notation.finder.finditer(head):
                fields = notation.read(match.group())
                before = head[: match.start()]
                opening = re.search(r"[\[(<{\"'|]*$", before)
                opened = opening.group() if opening else ""
                words = before[: len(before) - len(opened)]
                if fields is None or (words and not words[-1].isspace()):
                    continue
                key = (name, len(words.split()))
                if key in seen or key[1] > 8:
                    continue
                if fields.epoch_ns is not None:
                    if fields.epoch_ns > reference_ns + 366 * _DAY_NS:
                        continue
                    epochs.append((key, fields.epoch_ns))
                elif fields.year and fields.month and fields.day:
                    dates.append(_rough_day(fields.year, fields.month, fields.day))
                seen.add(key)
                longest[key] = max(longest[key], len(match.group()))
                openings.setdefault(key, Counter())[opened] += 1
        for key, value in epochs:
            if dates and all(abs(value // _DAY_NS - day) > 40 for day in dates):
                seen.discard(key)
        votes.update(seen)
    if not votes or not lines:
        return None
    order = {name: place for place, name in enumerate(NOTATIONS)}
    top = max(votes.values())
    good = [key for key, count in votes.items() if count >= 0.95 * top]
    name, tokens = min(good, key=lambda key: (key[1], -votes[key], -longest[key], order[key[0]]))
    share = votes[name, tokens] / len(lines)
    if share < _SOME:
        return None
    return TimePlace(NOTATIONS[name], tokens, openings[name, tokens].most_common(1)[0][0], share)


def _rough_day(year: int, month: int, day: int) -> int:
    year += (2000 if year < 70 else 1900) if year < 100 else 0
    return int((year - 1970) * 365.25 + (month - 1) * 30.4 + day)


def learn_header(lines: list[str], *, reference_ns: int) -> Header | None:
    """The header that nearly all of `lines` begin with (stack traces aside); None where there is no such thing."""
    starts = record_starts(lines) if lines else None
    sample = lines if starts is None else [lines[start] for start in starts.tolist()]
    if not sample:
        return None
    place = find_time(sample, reference_ns=reference_ns)
    if place is None:
        return _without_time(sample)
    opening = re.escape(place.opening)
    prefix = rf"(?:\S+\s+){{{place.tokens}}}{opening}" if place.tokens else rf"\s?{opening}"
    start = re.compile(rf"{prefix}(?:{place.notation.embed})", re.ASCII)
    rests = [line[match.end() :] for line in sample if (match := start.match(line))]
    if not rests:
        return None
    expression, found = _columns(rests, timed=True)
    time = rf"(?P<time>{place.notation.embed})"
    texts = [match["time"] for line in sample if (match := re.match(prefix + time, line, re.ASCII))]
    level = r"(?:\[?(?P<level>[A-Z]{3,11})\]?[\s:]+)?" if "level" in found else ""
    return Header(
        name=_name(found),
        expression=rf"{prefix}(?P<time>{_shape(texts) or place.notation.embed}){expression}",
        notation=place.notation,
        others=(prefix + time + expression, rf"{prefix}{time}[\])}}>,;:|]*\s*{level}"),
        strict=len(rests) < _SOME * len(sample),
    )


def _shape(texts: list[str]) -> str | None:
    """An expression for times of just these shapes, quicker than the notation's own; None if there are many."""
    shapes = {_digits.sub(lambda run: rf"\d{{{len(run.group())}}}", re.escape(text)) for text in texts}
    shapes = {_letters.sub(r"[A-Z][a-z]{2}", shape) for shape in shapes}
    shapes = {_day.sub(r"\1[ \\d]\\d", shape) for shape in shapes}
    return "|".join(sorted(shapes, key=len, reverse=True)) if 0 < len(shapes) <= 2 else None


def _without_time(sample: list[str]) -> Header | None:
    """A header that begins with a level: `INFO:root:text`, `[ERROR] text`, .NET's `info: Category[0]`."""
    for expression in (
        r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):[\w.]+:",
        r"(?P<level>trce|dbug|info|warn|fail|crit): (?P<message>\S+\[\d+\].*)",
    ):
        fitting = sum(1 for line in sample if re.match(expression, line))
        if fitting >= _SOME * len(sample):
            return Header(
                name="python" if "message" not in expression else "plain", expression=expression, notation=None
            )
    expression, found = _columns(sample, timed=False)
    if "level" not in found:
        return None
    return Header(name=_name(found), expression=expression, notation=None, strict=True)


def _columns(rests: list[str], *, timed: bool) -> tuple[str, list[str]]:
    """The expression for what follows the time, and the kinds of columns in it."""
    parts: list[str] = []
    found: list[str] = ["time"] if timed else []
    for _ in range(_MOST_COLUMNS):
        column: Column | None = next_column(rests, found, agree=_AGREE)
        if column is None:
            break
        compiled = re.compile(column.expression, re.ASCII)
        rests = [rest[match.end() :] for rest in rests if (match := compiled.match(rest))]
        parts.append(column.expression)
        found.append(column.kind)
        if not timed and "level" not in found:
            return "", []
    return "".join(parts), found


def _name(found: list[str]) -> str:
    """What people call such a header; only a label."""
    if "level" in found and "dash" in found[: found.index("level")]:
        return "python"
    if "level" in found and ("bracket" in found or "logger" in found):
        return "log4j"
    return "plain"
