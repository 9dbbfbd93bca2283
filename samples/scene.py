"""A stretch of invented time on which log lines are placed, and traffic that varies as real traffic does."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Expected", "Scene", "iso"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

Rate = Callable[[int], float] | float


@dataclass(frozen=True)
class Expected:
    """One incident that must be found; the fields are explained in `samples/README.md`."""

    kind: str
    service: str
    about: str
    start: str
    end: str
    runbook: str | None
    severity: str | None = None
    optional: bool = False

    def as_dict(self) -> dict[str, str | bool | None]:
        """As it is written to `NAME.incidents.json`; `severity` and `optional` only where they say something."""
        row: dict[str, str | bool | None] = {
            "kind": self.kind,
            "service": self.service,
            "about": self.about,
            "from": self.start,
            "to": self.end,
            "runbook": self.runbook,
        }
        if self.severity:
            row["severity"] = self.severity
        if self.optional:
            row["optional"] = True
        return row


class Scene:
    """Lines at times. The same seed gives the same bytes: nothing but `random.Random` and arithmetic decides.

    Args:
        start: RFC 3339, UTC.
        hours: Length of the scene.
        seed: Of the one random stream everything is drawn from, in the order of the calls.
    """

    def __init__(self, start: str, hours: float, seed: int) -> None:
        self.random = random.Random(seed)
        self.start_ms = _ms(start)
        self.end_ms = self.start_ms + round(hours * HOUR_MS)
        self._lines: list[tuple[int, int, str]] = []

    def at(self, clock: str) -> int:
        """Milliseconds since the epoch of `HH:MM` or `HH:MM:SS` on the day the scene starts."""
        day = self.start_ms - self.start_ms % (24 * HOUR_MS)
        hours, minutes, seconds = (*clock.split(":"), "0")[:3]
        return day + int(hours) * HOUR_MS + int(minutes) * MINUTE_MS + int(seconds) * 1000

    def put(self, time_ms: int, line: str) -> None:
        """Place a line (several, if it holds line breaks) unless it is outside the scene."""
        if self.start_ms <= time_ms < self.end_ms:
            self._lines.append((time_ms, len(self._lines), line))

    def render(self) -> str:
        """All lines in time order; lines of one millisecond stay in the order they were placed."""
        return "".join(line + "\n" for _, _, line in sorted(self._lines))

    def traffic(
        self, per_minute: Rate, *, start_ms: int | None = None, end_ms: int | None = None, shape: float = 4.0
    ) -> Iterator[int]:
        """Times of independent happenings whose rate wanders, so that counts a minute are over-dispersed.

        Each minute's mean is multiplied by a gamma variate (mean 1, variance 1/shape) and by a slow drift of some
        15 per cent: the counts are about negative binomial, as in production, and not Poisson.
        """
        drift = 0.0
        begin = self.start_ms if start_ms is None else start_ms
        end = self.end_ms if end_ms is None else end_ms
        for minute in range(begin, end, MINUTE_MS):
            drift = 0.97 * drift + 0.035 * (self.random.random() * 2 - 1)
            mean = per_minute(minute) if callable(per_minute) else per_minute
            mean *= self.random.gammavariate(shape, 1 / shape) * math.exp(drift)
            if mean <= 0:
                continue
            offset = self.random.expovariate(mean / MINUTE_MS)
            while offset < MINUTE_MS and minute + offset < end:
                yield minute + int(offset)
                offset += self.random.expovariate(mean / MINUTE_MS)

    def every(
        self, period_s: float, *, jitter_ms: int = 400, start_ms: int | None = None, end_ms: int | None = None
    ) -> Iterator[int]:
        """Times of a periodic job, each late by up to `jitter_ms`."""
        time_ms = float(self.start_ms if start_ms is None else start_ms)
        end = self.end_ms if end_ms is None else end_ms
        while time_ms < end:
            yield int(time_ms) + self.random.randrange(jitter_ms + 1)
            time_ms += period_s * 1000

    def hex(self, digits: int) -> str:
        """A random identifier in hexadecimal."""
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"

    def pick(self, choices: Sequence[str]) -> str:
        """One of them, each as likely."""
        return choices[self.random.randrange(len(choices))]

    def around(self, middle: float, spread: float = 0.5) -> float:
        """A positive quantity with a long tail (latency, size): log-normal about `middle`."""
        return middle * math.exp(self.random.gauss(0.0, spread))


def _ms(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)


def iso(time_ms: int, *, zone: str = "Z", micros: int | None = None) -> str:
    """RFC 3339 in UTC; with `micros` (0 to 999) six decimals instead of three.

    >>> iso(1_773_129_600_123), iso(1_773_129_600_123, zone="+00:00", micros=7)
    ('2026-03-10T08:00:00.123Z', '2026-03-10T08:00:00.123007+00:00')
    """
    seconds, millis = divmod(time_ms, 1000)
    rest = f"{millis:03d}" + ("" if micros is None else f"{micros:03d}")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest}{zone}"
