"""How people write a time: one regular expression a notation, and the slow way to read one text.

Naive times stay naive here; `clock.py` gives them a zone, a year and a day. Where `17/06/09` may be read in several
ways there is one notation for each; the first lines of a file decide (`header.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date

__all__ = ["MONTHS", "NOTATIONS", "Fields", "Notation", "civil_day", "fields_of"]

MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip

# Only abbreviations that mean one offset nearly everywhere; RFC 2822 fixes the American ones.
_ZONES_H = {
    "Z": 0, "UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3,
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "JST": 9,
}  # fmt: skip

_MON = r"(?P<mon>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_WEEKDAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_FRACTION = r"(?:[.,](?P<f>\d{1,9})|:(?P<ms>\d{3})(?![\d:]))?"
_CLOCK = r"(?P<h>\d{1,2}):(?P<mi>\d{2}):(?P<s>\d{2})" + _FRACTION
_WORD_ZONE = "|".join(sorted(_ZONES_H, key=len, reverse=True))
_ZONE = rf"(?:\s?(?P<z>[+-]\d{{2}}:?\d{{2}}(?![\d:-])|(?:{_WORD_ZONE})\b))?"
_NOON = r"(?:\s?(?P<ap>[AaPp][Mm])\b)?"


@dataclass(slots=True, frozen=True)
class Fields:
    """One time as read: `None` for what the text does not say. `epoch_ns` excludes all others."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    hour: int = 0
    minute: int = 0
    second: int = 0
    nanosecond: int = 0
    offset_s: int | None = None
    epoch_ns: int | None = None


@dataclass(slots=True, frozen=True)
class Notation:
    """One way of writing a time.

    `embed` is the expression without groups, for use inside a header's expression. `dated` and `yearly` tell
    whether the text names a day and a year.
    """

    name: str
    expression: str
    embed: str = field(init=False)
    regex: re.Pattern[str] = field(init=False)
    finder: re.Pattern[str] = field(init=False)
    dated: bool = field(init=False)
    yearly: bool = field(init=False)

    def __post_init__(self) -> None:
        embed = re.sub(r"\(\?P<\w+>", "(?:", self.expression)
        epoch = "?P<e>" in self.expression
        for name, value in {
            "embed": embed,
            "regex": re.compile(self.expression, re.ASCII),
            "finder": re.compile(rf"(?<![\w.:/+-])(?:{embed})(?![\w/])", re.ASCII),
            "dated": epoch or "?P<d>" in self.expression,
            "yearly": epoch or "?P<y>" in self.expression,
        }.items():
            object.__setattr__(self, name, value)

    def read(self, text: str) -> Fields | None:
        """The fields of `text`; None where it is no valid time in this notation (a 13th month, 25 o'clock)."""
        match = self.regex.fullmatch(text)
        return None if match is None else fields_of(match.groupdict())


def civil_day(year: int, month: int, day: int) -> int | None:
    """Days since 1970-01-01; None for a day that does not exist."""
    try:
        return date(year, month, day).toordinal() - 719_163
    except ValueError:
        return None


def fields_of(groups: dict[str, str | None]) -> Fields | None:
    """Fields from the groups of a notation's match, checked for range."""
    text = groups.get("e")
    if text:
        return _epoch(text, groups.get("f"))
    month = _number(groups, "mo")
    if name := groups.get("mon"):
        month = MONTHS[name.lower()[:3]]
    year = _number(groups, "y")
    if year is not None and len(groups["y"] or "") == 2:
        year += 2000 if year < 70 else 1900
    day = _number(groups, "d")
    hour = _number(groups, "h") or 0
    if noon := groups.get("ap"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if noon.lower() == "pm" else 0)
    minute = _number(groups, "mi") or 0
    second = _number(groups, "s") or 0
    # 60: a leap second; it reads as the first second of the next minute.
    if hour > 23 or minute > 59 or second > 60:
        return None
    # 2000 is a leap year: a 29th of February without a year is judged when the year is known.
    if month is not None and day is not None and civil_day(year or 2000, month, day) is None:
        return None
    fraction = groups.get("f")
    nanosecond = int(fraction.ljust(9, "0")[:9]) if fraction else (_number(groups, "ms") or 0) * 1_000_000
    return Fields(year, month, day, hour, minute, second, nanosecond, _offset(groups.get("z")))


def _number(groups: dict[str, str | None], name: str) -> int | None:
    text = groups.get(name)
    return int(text) if text else None


def _offset(text: str | None) -> int | None:
    if not text:
        return None
    if text[0] in "+-":
        digits = text[1:].replace(":", "")
        seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
        return -seconds if text[0] == "-" else seconds
    return _ZONES_H[text.upper()] * 3600


def _epoch(text: str, fraction: str | None) -> Fields | None:
    scale = {10: 1_000_000_000, 13: 1_000_000, 16: 1_000, 19: 1}.get(len(text))
    if scale is None:
        return None
    value = int(text) * scale
    if fraction and scale > 1:
        value += int(fraction.ljust(9, "0")[:9]) * scale // 1_000_000_000
    return Fields(epoch_ns=value) if value < 1 << 62 else None


# Order breaks ties: where two notations read the same texts equally well, the first one is taken.
NOTATIONS: dict[str, Notation] = {
    name: Notation(name, expression)
    for name, expression in {
        "iso": r"(?P<y>\d{4})[-/.](?P<mo>\d{1,2})[-/.](?P<d>\d{1,2})(?:[Tt_:-]|,?\s{1,2})"
        rf"(?P<h>\d{{1,2}})[:.](?P<mi>\d{{2}})(?:[:.](?P<s>\d{{2}}){_FRACTION})?{_ZONE}",
        "compact": r"(?P<y>\d{4})(?P<mo>\d{2})(?P<d>\d{2})[Tt_ -](?:(?P<h>\d{1,2}):(?P<mi>\d{1,2}):(?P<s>\d{1,2})"
        r"(?:[.,](?P<f>\d{1,9})|:(?P<ms>\d{1,3})(?![\d:]))?)" + _ZONE,
        "basic": r"(?P<y>\d{4})(?P<mo>\d{2})(?P<d>\d{2})[Tt_ -]?(?P<h>\d{2})(?P<mi>\d{2})(?P<s>\d{2})"
        r"(?:[.,](?P<f>\d{1,9}))?" + _ZONE,
        "packed": r"(?P<y>\d{2})(?P<mo>\d{2})(?P<d>\d{2})[ _-](?P<h>\d{2})(?P<mi>\d{2})(?P<s>\d{2})"
        r"(?:[.,](?P<f>\d{1,9}))?(?!\d)",
        "packed_clock": rf"(?P<y>\d{{2}})(?P<mo>\d{{2}})(?P<d>\d{{2}})\s{{1,2}}{_CLOCK}",
        "ctime": rf"{_WEEKDAY} {_MON} (?P<d>[ \d]?\d) {_CLOCK}{_ZONE} (?P<y>\d{{4}})",
        "month_year": rf"{_MON} (?P<d>[ \d]?\d),? (?P<y>\d{{4}}),? {_CLOCK}{_NOON}{_ZONE}",
        "clf": rf"(?P<d>\d{{1,2}})/{_MON}/(?P<y>\d{{4}}):{_CLOCK}{_ZONE}",
        "day_month": rf"(?:{_WEEKDAY}, )?(?P<d>\d{{1,2}})[- ]{_MON}[- ](?P<y>\d{{4}})[ T:]{_CLOCK}{_NOON}{_ZONE}",
        "syslog": rf"{_MON} (?P<d>[ \d]?\d) {_CLOCK}{_ZONE}",
        "mdy4": rf"(?P<mo>\d{{1,2}})[/.-](?P<d>\d{{1,2}})[/.-](?P<y>\d{{4}}),?[ T-]{{1,2}}{_CLOCK}{_NOON}{_ZONE}",
        "dmy4": rf"(?P<d>\d{{1,2}})[/.-](?P<mo>\d{{1,2}})[/.-](?P<y>\d{{4}}),?[ T-]{{1,2}}{_CLOCK}{_NOON}{_ZONE}",
        "ymd2": rf"(?P<y>\d{{2}})[/.-](?P<mo>\d{{1,2}})[/.-](?P<d>\d{{1,2}}),?[ T-]{{1,2}}{_CLOCK}{_NOON}",
        "mdy2": rf"(?P<mo>\d{{1,2}})[/.-](?P<d>\d{{1,2}})[/.-](?P<y>\d{{2}}),?[ T-]{{1,2}}{_CLOCK}{_NOON}",
        "dmy2": rf"(?P<d>\d{{1,2}})[/.-](?P<mo>\d{{1,2}})[/.-](?P<y>\d{{2}}),?[ T-]{{1,2}}{_CLOCK}{_NOON}",
        "klog_year": r"(?P<y>\d{4})(?P<mo>\d{2})(?P<d>\d{2}) " + _CLOCK,
        "klog": r"(?P<mo>\d{2})(?P<d>\d{2}) " + _CLOCK,
        "md": rf"(?P<mo>\d{{1,2}})[-./](?P<d>\d{{1,2}})\s{{1,2}}{_CLOCK}{_NOON}",
        "dm": rf"(?P<d>\d{{1,2}})[-./](?P<mo>\d{{1,2}})\s{{1,2}}{_CLOCK}{_NOON}",
        "epoch": r"(?P<e>[12]\d{9}(?:\d{3}|\d{6}|\d{9})?)(?:\.(?P<f>\d{1,9}))?",
        "clock": _CLOCK + _NOON + r"(?:\s?(?P<z>Z|[+-]\d{2}:?\d{2}))?",
    }.items()
}
