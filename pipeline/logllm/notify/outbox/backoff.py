"""How long a destination is left alone after a failure."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

__all__ = ["Backoff"]


class Backoff(msgspec.Struct, frozen=True):
    """Pauses between tries: doubled each time, half of each is jitter, never longer than `longest_s`.

    >>> Backoff().pause_s(0, lambda: 1.0), Backoff().pause_s(0, lambda: 0.0), Backoff().pause_s(99, lambda: 1.0)
    (0.5, 0.25, 300.0)
    """

    first_s: float = 0.5
    longest_s: float = 300.0

    def pause_s(self, failures: int, jitter: Callable[[], float] = random.random) -> float:
        """How long to wait after so many failures before this one. `jitter` gives 0 to 1."""
        whole = min(self.longest_s, self.first_s * 2.0 ** min(failures, 30))
        return whole * (0.5 + 0.5 * jitter())
