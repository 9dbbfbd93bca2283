"""When to stop calling what keeps failing."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WINDOW_S", "Breaker"]

WINDOW_S = 60.0


class Breaker:
    """Open after so many failures within a minute; tries once again after a while, and closes when that goes well.

    Args:
        failures: How many open it.
        open_s: Seconds until it lets one try through.
        clock_s: A monotonic clock.

    >>> now = 0.0
    >>> breaker = Breaker(2, 30, lambda: now)
    >>> breaker.failed(), breaker.failed(), breaker.lets_through()
    (False, True, False)
    >>> now = 31.0
    >>> breaker.lets_through(), breaker.trying, breaker.went_well(), breaker.open
    (True, True, True, False)
    """

    def __init__(self, failures: int, open_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.open = False
        self.trying = False
        self._open_s = open_s
        self._clock_s = clock_s
        self._since_s = 0.0
        self._times_s: deque[float] = deque(maxlen=failures)

    def lets_through(self) -> bool:
        """Whether a call may be made now. The one try of an open breaker is `trying` until it failed or went well."""
        if not self.open:
            return True
        if not self.trying and self._clock_s() - self._since_s >= self._open_s:
            self.trying = True
        return self.trying

    def failed(self) -> bool:
        """A call failed. True where that opened it; a try that failed keeps it open and is no news."""
        now_s = self._clock_s()
        if self.open:
            self.trying, self._since_s = False, now_s
            return False
        times = self._times_s
        times.append(now_s)
        if len(times) < (times.maxlen or 1) or now_s - times[0] > WINDOW_S:
            return False
        self.open, self._since_s = True, now_s
        times.clear()
        return True

    def went_well(self) -> bool:
        """A call went well. True where that closed it."""
        if not self.trying:
            return False
        self.open = self.trying = False
        return True
