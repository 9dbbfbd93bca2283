"""How many threads are worth having: the cores that nobody else uses."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Cores"]

_MOST_THREADS = 4
# What the first of the load averages is smoothed over.
_SMOOTH_S = 60.0


class Cores:
    """Shares the cores that other programs leave among our workers.

    llama.cpp's threads wait for each other after every operation: where another program has one of two cores, two
    threads take longer than one. The load average counts ourselves, too; our part of it is followed here and taken off.

    Args:
        fixed: Threads of all workers together, whatever others do; 0: see above, at most four for each.
    """

    def __init__(
        self,
        fixed: int = 0,
        *,
        cores: int | None = None,
        load: Callable[[], float] = lambda: os.getloadavg()[0],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fixed = fixed
        self._cores = cores or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
        self._load = load
        self._clock = clock
        self._busy = 0
        self._ours = 0.0
        self._since_s = clock()

    def take(self, workers: int) -> int:
        """Threads for one of so many workers that compute now; give them back."""
        self._follow()
        free = self._fixed or round((self._cores or 1) - max(0.0, self._load() - self._ours))
        share = max(1, free // max(1, workers))
        threads = share if self._fixed else min(_MOST_THREADS, share)
        self._busy += threads
        return threads

    def give_back(self, threads: int) -> None:
        """The worker is done."""
        self._follow()
        self._busy -= threads

    def _follow(self) -> None:
        now = self._clock()
        kept = math.exp(-(now - self._since_s) / _SMOOTH_S)
        self._ours = self._ours * kept + self._busy * (1.0 - kept)
        self._since_s = now
