"""Waiting for what another process does: always with an end."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["until"]

_LOOK_S = 0.01


def until(condition: Callable[[], bool], patience_s: float) -> bool:
    """Look until something is so, for at most so long; whether it is.

    >>> until(lambda: True, 0.0), until(lambda: False, 0.0)
    (True, False)
    """
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(_LOOK_S)
    return True
