"""Event time against the wall clock: wrong clocks are set right, and how long records are under way is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from logllm.events import Columns

__all__ = ["FUTURE_NS", "Arrivals"]

FUTURE_NS = 600_000_000_000
LAG_FADES = 0.95


class Arrivals:
    """How late records are of late (`lag_ns`), and how many came from the future (`ahead`)."""

    def __init__(self) -> None:
        self.ahead = 0
        self.lag_ns = 0

    def at_most_now(self, columns: Columns, now_ns: int) -> Columns:
        """Records that have just come; those more than FUTURE_NS ahead of the clock are of now."""
        latest_ns = int(columns.time_ns.max())
        if latest_ns > now_ns + FUTURE_NS:
            ahead = columns.time_ns > now_ns + FUTURE_NS
            self.ahead += int(ahead.sum())
            columns = replace(columns, time_ns=np.where(ahead, now_ns, columns.time_ns))
        # The clock closes windows, so it must wait for what is usually still under way.
        self.lag_ns = int(max(now_ns - latest_ns, LAG_FADES * self.lag_ns))
        return columns
