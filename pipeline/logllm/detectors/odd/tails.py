"""From a score to a tail probability, by the highest scores of each block so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.odd.followed import MOST_SERVICES
from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.rolling import Rolling
from logllm.detectors.slices import BLOCK
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEAST_BLOCKS", "Tails"]

KEPT_BLOCKS = 672
"""A week."""

LEAST_BLOCKS = 80
"""Of the 96 of a day."""

_TOP_SHARE = 0.3
_LEAST_TOP = 8
_WIDENED = 1.4
"""The far tail of a squared distance is heavier than what its upper third promises: without this a budget of one alert
a day gave four on simulated fleets."""


class Tails:
    """P(a window scores as high), for each service, measured on its own blocks.

    Ranks among the highest scores of the blocks of a week; above their upper _TOP_SHARE an exponential (a generalised
    Pareto of shape 0) with their median excess, widened. Windows that follow each other score
    alike, so it is blocks that are counted: a window's probability is its block's divided by BLOCK, and a level of
    `a / (1440 * services)` gives about `a` odd blocks a day. Not exact: past what a week has shown it is a guess, and a
    service whose highest scores change with the day of the week is judged by all of them.

    Shapes:
        highest: float32[n, MOST_SERVICES], n <= KEPT_BLOCKS; NaN where a block had no window to count.
        ready: bool[MOST_SERVICES], services with LEAST_BLOCKS blocks.
    """

    def __init__(self) -> None:
        self._kept = Rolling(np.full((0, MOST_SERVICES), np.nan, np.float32), KEPT_BLOCKS)
        self._measure()

    @property
    def highest(self) -> NDArray[np.float32]:
        """The highest scores of the blocks so far."""
        return self._kept.rows

    def append(self, highest: NDArray[np.float64]) -> None:
        """Take a block in. Shapes: highest: float64[MOST_SERVICES], NaN where nothing counts."""
        self._kept.append(highest[None].astype(np.float32))
        self._measure()

    def clear(self, places: NDArray[np.bool_]) -> None:
        """Know nothing of some services any more."""
        self.highest[:, places] = np.nan
        self._measure()

    def _measure(self) -> None:
        # What is NaN is sorted to the end.
        self._sorted = np.sort(self.highest.astype(np.float64), axis=0)
        self._many = np.count_nonzero(~np.isnan(self._sorted), axis=0)
        self.ready = self._many >= LEAST_BLOCKS
        top = np.where(self.ready, np.maximum(_LEAST_TOP, (_TOP_SHARE * self._many).astype(np.int64)), 1)
        self._share = top / np.maximum(self._many, 1)
        self._upper, self._above = np.full(MOST_SERVICES, np.inf), np.ones(MOST_SERVICES)
        if self.ready.any():
            places = np.flatnonzero(self.ready)
            many, top = self._many[places], top[places]
            upper = self._sorted[many - top, places]
            middle = 0.5 * (self._sorted[many - 1 - top // 2, places] + self._sorted[many - 1 - (top - 1) // 2, places])
            # Of an exponential the median is log 2 means; it does not mind the troubled blocks that are among them.
            above = _WIDENED * (middle - upper) / math.log(2.0) * (1.0 + 1.0 / np.sqrt(top))
            self._upper[places], self._above[places] = upper, np.maximum(1e-6, above)

    def probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[b, MOST_SERVICES]: of the scores of that shape; 1.0 where a service is not ready."""
        if not self.ready.any():
            return np.ones(scores.shape)
        above = np.count_nonzero(self._sorted >= scores[:, None, :], axis=1)
        tail = (above + 1.0) / (self._many + 1.0)
        over = (scores - self._upper) / self._above
        tail = np.where(over > 0.0, self._share * np.exp(-np.maximum(over, 0.0)), np.maximum(tail, self._share))
        known = self.ready & ~np.isnan(scores) & (tail < 1.0)
        return np.where(known, tail / BLOCK, 1.0)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"highest": pack_array(self.highest)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        highest = unpack_array(state.get("highest", {}), np.float32)
        if highest.ndim != 2 or highest.shape[1] != MOST_SERVICES or len(highest) > KEPT_BLOCKS:
            raise StateError(f"saved odd windows: highest scores have shape {highest.shape}")
        self._kept = Rolling(highest, KEPT_BLOCKS)
        self._measure()
