"""The time of day: what is left of a value when its hour's usual level is taken off."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["DAY_S", "Season"]

DAY_S = 86400.0

_HOURS = 24
_HOUR_S = 3600.0

_DAYS_KNOWN = 2
"""Days an hour must have been seen on before it is taken as a habit."""

_DAY_RATE = 0.2
"""What the latest day moves an hour's level by: five days make the habit."""

_LEVEL_RATE = 0.0005
"""What a value moves the level by that stands in where there is no habit yet."""


class Season(msgspec.Struct, forbid_unknown_fields=True):
    """Levels of the 24 hours of the day, read off in between by a straight line.

    A series without a daily course loses little by it: its 24 levels are alike. No week and no year: the weekday added
    more noise than knowledge. Of points further apart than an hour, those of an hour not yet known are compared with
    the long mean. Times may repeat, go back or jump.
    """

    levels: Annotated[list[float], Meta(min_length=_HOURS, max_length=_HOURS)] = msgspec.field(
        default_factory=lambda: [0.0] * _HOURS
    )
    days: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=_HOURS, max_length=_HOURS)] = msgspec.field(
        default_factory=lambda: [0] * _HOURS
    )
    level: float = 0.0
    seen: Annotated[int, Meta(ge=0)] = 0
    hour: Annotated[int, Meta(ge=-1, lt=_HOURS)] = -1
    total: float = 0.0
    count: Annotated[int, Meta(ge=0)] = 0

    def residual(self, second: float, scaled: float) -> float:
        """What is left of a scaled value; then it is learned.

        Args:
            second: Seconds since midnight, 0 <= second < DAY_S.
        """
        hour = int(second / _HOUR_S)
        if hour != self.hour:
            self._close()
            self.hour = hour
        self.seen = seen = self.seen + 1
        self.level += (scaled - self.level) * max(1.0 / seen, _LEVEL_RATE)
        self.total += scaled
        self.count += 1
        days = self.days
        if days[hour] < _DAYS_KNOWN:
            return scaled - self.level
        levels = self.levels
        offset = second / _HOUR_S - hour - 0.5
        neighbour = (hour + 1 if offset > 0.0 else hour - 1) % _HOURS
        if days[neighbour] < _DAYS_KNOWN:
            return scaled - levels[hour]
        share = abs(offset)
        return scaled - levels[hour] * (1.0 - share) - levels[neighbour] * share

    def _close(self) -> None:
        if self.count:
            hour = self.hour
            self.days[hour] += 1
            rate = max(_DAY_RATE, 1.0 / self.days[hour])
            self.levels[hour] += rate * (self.total / self.count - self.levels[hour])
        self.total = 0.0
        self.count = 0
