"""Hours of the week: when a model is kept warm, or may work at all."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import TYPE_CHECKING, NamedTuple

from logllm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Schedule"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(r"(?:(?P<days>[a-z,-]+)\s+)?(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d)(?:\s+(?P<zone>[\w/+-]+))?")
_MOST_WINDOWS = 64
# A week and a day: a window that began before midnight is found from the day after.
_LOOK_DAYS = 8


class _Window(NamedTuple):
    days: frozenset[int]
    begin: dt.time
    length: dt.timedelta
    zone: zoneinfo.ZoneInfo


class Schedule:
    """Windows of the week, each as `DAYS HH:MM-HH:MM ZONE`; days and zone may be left out (each day, UTC).

    A window that ends before it begins lasts past midnight and belongs to the day it begins on. By the wall clock of
    its zone: a window is an hour shorter or longer where clocks change within it. Without windows it is always open.

    >>> night = Schedule(["mon-fri 22:00-06:00"])
    >>> night.opens_in_s(1_764_547_200.0), night.opens_in_s(1_764_590_400.0)  # Monday 0:00 and 12:00
    (79200.0, 36000.0)

    Raises:
        ConfigError: naming `key` and the window.
    """

    def __init__(self, windows: Sequence[str], key: str = "windows") -> None:
        if len(windows) > _MOST_WINDOWS:
            raise ConfigError(f"{key}: {len(windows)} windows, expected at most {_MOST_WINDOWS}")
        self._windows = [_parsed(window, key) for window in windows]

    def opens_in_s(self, now_s: float) -> float:
        """Seconds from `now_s` (Unix time) until a window is open; 0.0 in one, and where there are none."""
        if not self._windows:
            return 0.0
        waits = []
        for window in self._windows:
            today = dt.datetime.fromtimestamp(now_s, window.zone).date()
            for offset in range(-1, _LOOK_DAYS + 1):
                day = today + dt.timedelta(days=offset)
                if day.weekday() not in window.days:
                    continue
                # Without a zone first: the end is by the wall clock, too.
                begin = dt.datetime.combine(day, window.begin)
                end_s = (begin + window.length).replace(tzinfo=window.zone).timestamp()
                if now_s < end_s:
                    waits.append(max(0.0, begin.replace(tzinfo=window.zone).timestamp() - now_s))
                    break
        return min(waits)


def _parsed(text: str, key: str) -> _Window:
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f'{key}: {text!r}, expected a window such as "mon-fri 07:00-20:00 Europe/Berlin"')
    days = _days(match["days"], text, key)
    begin, end = (_minutes(match[part], text, key) for part in ("begin", "end"))
    if begin >= 24 * 60 or begin == end:
        raise ConfigError(f"{key}: {text!r}, expected a beginning before 24:00 and another end")
    try:
        zone = zoneinfo.ZoneInfo(match["zone"] or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"{key}: {text!r}, expected a zone such as Europe/Berlin, got {match['zone']}") from None
    length = (end - begin) % (24 * 60) or 24 * 60
    return _Window(days, dt.time(begin // 60, begin % 60), dt.timedelta(minutes=length), zone)


def _days(text: str | None, whole: str, key: str) -> frozenset[int]:
    if text is None or text == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ConfigError(f"{key}: {whole!r}, expected days such as mon-fri or sat,sun, got {part!r}")
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        found |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(found)


def _minutes(text: str, whole: str, key: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours > 24 or (hours == 24 and minutes):
        raise ConfigError(f"{key}: {whole!r}, expected times from 00:00 to 24:00, got {text}")
    return hours * 60 + minutes
