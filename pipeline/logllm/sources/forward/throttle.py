"""Log lines that peers can cause: shown while they are few, counted when they are many."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

__all__ = ["Throttle"]


class Throttle:
    """At most so many warnings in a period, and one that there are more; the next period's first says how many.

    Args:
        log: Where they go.
        lines: Warnings in a period.
        period_s: Its length in seconds.
        clock: Seconds that only grow.
    """

    def __init__(
        self, log: logging.Logger, lines: int = 10, period_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._lines, self._period_s, self._clock = log, lines, period_s, clock
        self._ends_s = clock()
        self._shown = self._hidden = 0

    def warning(self, message: str, *args: object) -> None:
        """One line, if there is room for it."""
        now = self._clock()
        if now >= self._ends_s:
            if self._hidden:
                self._log.warning("%d lines of this kind were left out", self._hidden)
            self._ends_s = now + self._period_s
            self._shown = self._hidden = 0
        if self._shown < self._lines:
            self._shown += 1
            self._log.warning(message, *args)
            return
        if not self._hidden:
            self._log.warning("more lines of this kind are left out for %.0f s", self._ends_s - now)
        self._hidden += 1
