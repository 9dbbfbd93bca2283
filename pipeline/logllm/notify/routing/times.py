"""Times of day, days, months and dates: when a route is silent, when a team can be asked."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["TimeInterval", "TimeIntervalConfig"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MOST = 64
_HORIZONS_DAYS = (9, 400)
_DAY = timedelta(days=1)
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_YEARLY = re.compile(r"(\d\d)-(\d\d)", re.ASCII)


class TimeIntervalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """`[notify.times.NAME]`, or several as `[[notify.times.NAME]]`: it is such a time when one of them holds.

    What is left empty holds always; days, months, dates and the time of day must all hold. From a later to an earlier
    time of day is over midnight, and belongs to the day on which it begins.

    Args:
        days: `"sat"`, or `"mon-fri"`, in English.
        from_: `from` in the file: the first minute, `"09:00"`.
        to: The minute at which it is over, up to `"24:00"`.
        zone: Of the IANA database, as `"Europe/Berlin"`. When clocks change, a time that occurs twice is the first
            of the two, and one that does not occur is the moment at which they are set forward.
        months: `"dec"`, or `"nov-feb"`.
        dates: `"2026-12-24"`, `"2026-12-24/2027-01-01"` with both its ends, or each year `"12-25"`.
    """

    days: list[str] = []
    from_: str = "00:00"
    to: str = "24:00"
    zone: str = "UTC"
    months: list[str] = []
    dates: list[str] = []


class TimeInterval:
    """Intervals under one name.

    Args:
        configs: One must hold.
        where: Where they stand, for errors: `notify.times.business`.

    Raises:
        ConfigError: A day, a time, a date or a zone is none; or this machine has no data on time zones.
    """

    def __init__(self, configs: Sequence[TimeIntervalConfig], where: str) -> None:
        if not 0 < len(configs) <= _MOST:
            raise ConfigError(f"{where}: {len(configs)} intervals, expected 1 to {_MOST}")
        self._parts = [
            _Part(config, where if len(configs) == 1 else f"{where}[{number}]") for number, config in enumerate(configs)
        ]

    def holds(self, now_s: float) -> bool:
        """Whether it is such a time, `now_s` in seconds since the epoch, of the years 1970 to 2999."""
        return any(part.holds(now_s) for part in self._parts)

    def next_change_s(self, now_s: float) -> float | None:
        """When `holds` next says something else, in seconds since the epoch; None: not within 400 days."""
        for horizon in _HORIZONS_DAYS:
            spans = sorted(span for part in self._parts for span in part.spans(now_s, horizon))
            over_s = now_s
            for start, end in spans:
                if start <= over_s < end:
                    over_s = end
            found = over_s if over_s > now_s else min((start for start, _ in spans if start > now_s), default=None)
            if found is not None and found <= now_s + horizon * 86_400:
                return found
        return None


class _Part:
    """One interval, read."""

    def __init__(self, config: TimeIntervalConfig, where: str) -> None:
        self._days = _numbers(config.days, _DAYS, f"{where}.days")
        self._months = _numbers(config.months, _MONTHS, f"{where}.months")
        if len(config.dates) > 366:
            raise ConfigError(f"{where}.dates: {len(config.dates)} dates, expected at most 366")
        self._dates = [_dates(text, f"{where}.dates") for text in config.dates]
        self._from_min = _minutes(config.from_, f"{where}.from")
        self._to_min = _minutes(config.to, f"{where}.to")
        if self._from_min == self._to_min or self._from_min == 24 * 60:
            raise ConfigError(f"{where}: from {config.from_} to {config.to} is no time at all, expected two times")
        self._zone = _zone(config.zone, f"{where}.zone")

    def holds(self, now_s: float) -> bool:
        today = datetime.fromtimestamp(now_s, self._zone).date()
        # Yesterday's may reach over midnight; tomorrow's begins today where clocks are set back over midnight.
        return any(
            start <= now_s < end
            for day in (today - _DAY, today, today + _DAY)
            if self._on(day)
            for start, end in (self._span(day),)
        )

    def spans(self, now_s: float, days: int) -> Iterator[tuple[float, float]]:
        """The spans of the days from the one before `now_s`."""
        first = datetime.fromtimestamp(now_s, self._zone).date() - _DAY
        for number in range(days + 2):
            day = first + number * _DAY
            if self._on(day):
                start, end = self._span(day)
                # Nothing is left of one that clocks leap over.
                if start < end:
                    yield start, end

    def _span(self, day: date) -> tuple[float, float]:
        over_midnight = self._to_min < self._from_min
        return self._instant_s(day, self._from_min), self._instant_s(day + over_midnight * _DAY, self._to_min)

    def _instant_s(self, day: date, minutes: int) -> float:
        if minutes == 24 * 60:
            day, minutes = day + _DAY, 0
        wanted = datetime.combine(day, time(minutes // 60, minutes % 60))
        first = wanted.replace(tzinfo=self._zone).timestamp()
        if datetime.fromtimestamp(first, self._zone).replace(tzinfo=None) == wanted:
            return first
        # Clocks leap over it; fold=1 is an instant before they do, fold=0 one after.
        before_s, after_s = int(wanted.replace(tzinfo=self._zone, fold=1).timestamp()), int(first)
        offset = datetime.fromtimestamp(before_s, self._zone).utcoffset()
        while after_s - before_s > 1:
            middle_s = (before_s + after_s) // 2
            if datetime.fromtimestamp(middle_s, self._zone).utcoffset() == offset:
                before_s = middle_s
            else:
                after_s = middle_s
        return float(after_s)

    def _on(self, day: date) -> bool:
        return (
            (not self._days or day.weekday() in self._days)
            and (not self._months or day.month - 1 in self._months)
            and (not self._dates or any(_within(day, first, last) for first, last in self._dates))
        )


def _numbers(texts: list[str], names: tuple[str, ...], where: str) -> frozenset[int]:
    found: set[int] = set()
    for text in texts:
        first, dash, last = text.strip().lower().partition("-")
        if first not in names or (dash and last not in names):
            raise ConfigError(f"{where}: {text[:40]!r}, expected {names[0]} to {names[-1]}, or two of them as "
                              f"{names[0]}-{names[4]}")  # fmt: skip
        start = names.index(first)
        count = (names.index(last) - start) % len(names) if dash else 0
        found.update((start + more) % len(names) for more in range(count + 1))
    return frozenset(found)


def _minutes(text: str, where: str) -> int:
    if not _TIME.fullmatch(text):
        raise ConfigError(f"{where}: {text[:40]!r}, expected a time from 00:00 to 24:00")
    return int(text[:2]) * 60 + int(text[3:])


_Date = date | tuple[int, int]
"""A date, or a month and a day of every year."""


def _dates(text: str, where: str) -> tuple[_Date, _Date]:
    first, slash, last = text.partition("/")
    try:
        found = _date(first), _date(last if slash else first)
    except ValueError:
        found = None
    if found is None or isinstance(found[0], date) is not isinstance(found[1], date):
        raise ConfigError(
            f"{where}: {text[:40]!r}, expected a date as 2026-12-24, two as 2026-12-24/2027-01-01, or of every year "
            "as 12-24 or 12-24/01-01"
        )
    if isinstance(found[0], date) and isinstance(found[1], date) and found[1] < found[0]:
        raise ConfigError(f"{where}: {text!r} ends before it begins")
    return found


def _date(text: str) -> _Date:
    if yearly := _YEARLY.fullmatch(text):
        # A leap year, so that 02-29 is a date.
        checked = date(2000, int(yearly[1]), int(yearly[2]))
        return checked.month, checked.day
    # fromisoformat takes weeks too.
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _within(day: date, first: _Date, last: _Date) -> bool:
    if isinstance(first, date) and isinstance(last, date):
        return first <= day <= last
    of_year = (day.month, day.day)
    if isinstance(first, date) or isinstance(last, date):
        return False
    return first <= of_year <= last if first <= last else of_year >= first or of_year <= last


def _zone(name: str, where: str) -> tzinfo:
    # Without data on time zones there is still this one.
    if name == "UTC":
        return UTC
    try:
        if len(name) > 64:
            raise ValueError(name)
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        if not zoneinfo.available_timezones():
            raise ConfigError(
                f"{where}: {name[:40]!r} cannot be looked up, this machine has no data on time zones; expected the "
                'package tzdata (pip install tzdata), or zone = "UTC"'
            ) from None
        raise ConfigError(f"{where}: no time zone {name[:40]!r}, expected one as Europe/Berlin or UTC") from None
