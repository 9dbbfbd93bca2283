"""Hours and days of a week: when something is expected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["Hours"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Hours:
    """Some hours of some days, by the clock of a place, its summer time included.

    Args:
        days: "mon" to "sun"; every day where empty.
        hours: "22:00-04:00", the end not included; the whole day where empty. What goes past midnight belongs to the
            day it began on.
        zone: A name of the IANA time zone database.

    Raises:
        ValueError: One of them is none of these; the message says what was expected.

    >>> night = Hours(["sat"], "22:00-04:00", "UTC")
    >>> sunday_three = 1_767_495_600  # 2026-01-04 03:00, a Sunday
    >>> sunday_three * 10**9 in night, (sunday_three + 3_600) * 10**9 in night
    (True, False)
    """

    def __init__(self, days: Sequence[str], hours: str, zone: str) -> None:
        odd = [day for day in days if day not in _DAYS]
        if odd:
            raise ValueError(f"{odd[0]!r} is no day, expected one of {', '.join(_DAYS)}")
        self._days = {_DAYS.index(day) for day in days} or set(range(7))
        found = _HOURS.fullmatch(hours) if hours else None
        if hours and found is None:
            raise ValueError(f"{hours!r} are no hours, expected some as 22:00-04:00")
        begin_h, begin_m, end_h, end_m = map(int, found.groups()) if found else (0, 0, 24, 0)
        self._begin, self._end = 60 * begin_h + begin_m, 60 * end_h + end_m
        if self._begin > 1440 or self._end > 1440 or self._begin == self._end:
            raise ValueError(f"{hours!r} are no hours, expected some as 22:00-04:00")
        try:
            self._zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{zone!r} is no time zone, expected a name as Europe/Berlin") from None

    def __contains__(self, now_ns: int) -> bool:
        try:
            local = (_EPOCH + timedelta(microseconds=now_ns // 1000)).astimezone(self._zone)
        except OverflowError:
            return False
        minute = 60 * local.hour + local.minute
        today, yesterday = local.weekday() in self._days, (local.weekday() - 1) % 7 in self._days
        if self._begin < self._end:
            return today and self._begin <= minute < self._end
        return (today and minute >= self._begin) or (yesterday and minute < self._end)
