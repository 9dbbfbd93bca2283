"""One call's messages on their way through the miner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Batch"]


class Batch:
    """Template indices, `raw` as looked up, `out` as given out, the first `done` of them final; `at` is looked at."""

    __slots__ = ("at", "done", "first", "out", "raw", "services")

    def __init__(self, raw: NDArray[np.int32], first: int, services: NDArray[np.int32] | None) -> None:
        self.raw = raw
        self.out = np.empty_like(raw)
        self.first = first
        self.services = services
        self.done = 0
        self.at = 0

    def service(self, at: int) -> int:
        """The code of the service of the message at this place."""
        return 0 if self.services is None else int(self.services[at])
