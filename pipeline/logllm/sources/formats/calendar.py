"""Dates of whole columns: civil days, zones, and the years and days that a text leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from numpy.typing import NDArray

    from logllm.sources.formats.line_format import Reading
    from logllm.sources.formats.notations import Fields

__all__ = ["Calendar", "CivilTimes", "days_from_civil", "latest_year"]

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
# Zones change by whole quarters of an hour.
_QUARTER = 900 * _SECOND
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
# A clock in the reference's future by less than this is a matter of zones, not of the year.
_YEAR_SLACK = _DAY
_DAY_SLACK = 300 * _SECOND


@dataclass(slots=True)
class CivilTimes:
    """The fields of n times as read from their texts.

    Shapes: all int64[n] but `ok` and `zoned`, bool[n]. `within` is the nanosecond of the day, or the whole time where
    the text was an epoch (then `month` is 0). Year, month and day are 0 where the text does not say.
    """

    ok: NDArray[np.bool_]
    year: NDArray[np.int64]
    month: NDArray[np.int64]
    day: NDArray[np.int64]
    within: NDArray[np.int64]
    offset_s: NDArray[np.int64]
    zoned: NDArray[np.bool_]

    @classmethod
    def empty(cls, count: int) -> CivilTimes:
        """`count` times of which nothing is known yet."""
        year, month, day, within, offset_s = np.zeros((5, count), np.int64)
        return cls(np.zeros(count, np.bool_), year, month, day, within, offset_s, np.zeros(count, np.bool_))

    def take(self, rows: NDArray[np.bool_]) -> CivilTimes:
        """The chosen rows only."""
        return self if rows.all() else CivilTimes(*(getattr(self, name)[rows] for name in self.__slots__))

    def put(self, rows: NDArray[np.intp], part: CivilTimes) -> None:
        """Store `part` at `rows` (ascending, so all rows are the rows in order)."""
        for name in self.__slots__:
            if len(rows) == len(self.ok):
                setattr(self, name, getattr(part, name))
            else:
                getattr(self, name)[rows] = getattr(part, name)

    def put_one(self, row: int, fields: Fields) -> None:
        """Store one time that was read by itself."""
        self.ok[row] = True
        self.year[row] = fields.year or 0
        self.month[row] = fields.month or 0
        self.day[row] = fields.day or 0
        seconds = fields.hour * 3600 + fields.minute * 60 + fields.second
        self.within[row] = fields.epoch_ns or (seconds * _SECOND + fields.nanosecond)
        self.offset_s[row] = fields.offset_s or 0
        self.zoned[row] = fields.offset_s is not None or fields.epoch_ns is not None


def days_from_civil(
    year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Days since 1970-01-01 in the Gregorian calendar, and which of the dates exist.

    Shapes: int64[n] each in; int64[n] and bool[n] out. Howard Hinnant's algorithm.
    """
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    exists = (month >= 1) & (month <= 12) & (day >= 1) & (year >= 1)
    last = _MONTH_DAYS[np.where(exists, month, 0)] + (leap & (month == 2))
    exists &= day <= last
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468, exists


def latest_year(fields: Fields, reference_ns: int) -> int:
    """The latest year that does not put a date (with month and day) after the reference time."""
    within = (fields.hour * 3600 + fields.minute * 60 + fields.second) * _SECOND
    return _latest(fields.month or 1, fields.day or 1, within, reference_ns + _YEAR_SLACK)


def _latest(month: int, day: int, within: int, limit: int) -> int:
    start = datetime.fromtimestamp(limit // _SECOND, UTC).year
    # Eight: a 29th of February around 1900 or 2100.
    for year in range(start, start - 9, -1):
        days, exists = days_from_civil(*(np.array([part], np.int64) for part in (year, month, day)))
        if exists[0] and int(days[0]) * _DAY + within <= limit:
            return year
    return start


class Calendar:
    """Gives civil times their year, their day and their zone.

    A year that is not named is the latest that leaves the first time of a file before the reference time, or the one
    that is known (`Reading.first_year`); after that it goes on from record to record, December to January
    into the next year, a late December record after New Year back into the old one, and never into the reference's
    future. A day that is not named goes the same way by midnights.
    """

    def __init__(self, reading: Reading, *, dated: bool, yearly: bool) -> None:
        self._reading = reading
        self._dated = dated
        self._yearly = yearly

    def place(self, times: CivilTimes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """int64[n] nanoseconds since the epoch, and bool[n]: False where there was no valid time."""
        if self._yearly:
            epoch = times.month == 0
            days, exists = days_from_civil(times.year, times.month, times.day)
            placed = np.where(epoch, 0, days) * _DAY + times.within
            return self._to_utc(placed, times), times.ok & (exists | epoch)
        rows = np.flatnonzero(times.ok)
        result = np.zeros(len(times.ok), np.int64)
        if not len(rows):
            return result, times.ok
        chosen = times.take(times.ok)
        days, exists = self._by_year(chosen) if self._dated else self._by_day(chosen.within)
        result[rows] = self._to_utc(days * _DAY + chosen.within, chosen)
        ok = times.ok
        if not exists.all():
            ok = ok.copy()
            ok[rows[~exists]] = False
        return result, ok

    def _by_year(self, times: CivilTimes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        year = np.full(len(times.ok), 2000, np.int64)
        # The moment within a year that has a 29th of February, only for comparing.
        moment = (days_from_civil(year, times.month, times.day)[0] - 10_957) * _DAY + times.within
        limit = self._reading.reference_ns + _YEAR_SLACK
        before = np.empty_like(moment)
        before[1:] = moment[:-1]
        if self._reading.last_ns is None:
            before[0] = moment[0]
            first = self._reading.first_year or _latest(
                int(times.month[0]), int(times.day[0]), int(times.within[0]), limit
            )
        else:
            last = datetime.fromtimestamp(self._reading.last_ns // _SECOND, UTC)
            first = last.year
            before[0] = (datetime(2000, last.month, last.day, tzinfo=UTC).timetuple().tm_yday - 1) * _DAY
            before[0] += self._reading.last_ns % _DAY
        step = (before - moment > 183 * _DAY).astype(np.int64) - (moment - before > 363 * _DAY)
        year = first + np.cumsum(step)
        days, exists = days_from_civil(year, times.month, times.day)
        for _ in range(4):
            late = days * _DAY + times.within > limit
            if not late.any():
                break
            year = year - late
            days, exists = days_from_civil(year, times.month, times.day)
        return days, exists

    def _by_day(self, within: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        limit = self._reading.reference_ns + _DAY_SLACK
        before = np.empty_like(within)
        before[1:] = within[:-1]
        if self._reading.last_ns is None:
            before[0] = within[0]
            first = (limit - int(within[0])) // _DAY
        else:
            first, before[0] = divmod(self._reading.last_ns, _DAY)
        step = (before - within > _DAY // 2).astype(np.int64) - (within - before > _DAY - _DAY // 24)
        days: NDArray[np.int64] = first + np.cumsum(step)
        late = (days * _DAY + within - limit + _DAY - 1) // _DAY
        # A clock ahead of the reference by less than a day is a zone's doing once the file has started.
        days = days - np.maximum(late - (self._reading.last_ns is not None), 0)
        return days, np.ones(len(days), np.bool_)

    def _to_utc(self, placed: NDArray[np.int64], times: CivilTimes) -> NDArray[np.int64]:
        if times.zoned.all():
            return placed - times.offset_s * _SECOND
        if self._reading.zone is None:
            return np.where(times.zoned, placed - times.offset_s * _SECOND, placed)
        offset = np.where(times.zoned, times.offset_s * _SECOND, _offsets(placed, self._reading.zone))
        return placed - offset


def _offsets(naive: NDArray[np.int64], zone: ZoneInfo) -> NDArray[np.int64]:
    """The zone's offset from UTC in nanoseconds at each local time; the first of two where a clock was set back."""
    quarters, inverse = np.unique(naive // _QUARTER, return_inverse=True)
    found = []
    for quarter in quarters.tolist():
        try:
            local = datetime.fromtimestamp(quarter * 900, UTC).replace(tzinfo=zone)
        except (ValueError, OverflowError, OSError):
            found.append(0)
            continue
        offset = local.utcoffset()
        found.append(0 if offset is None else int(offset.total_seconds()) * _SECOND)
    offsets: NDArray[np.int64] = np.array(found, np.int64)[inverse]
    return offsets
