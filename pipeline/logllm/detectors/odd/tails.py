"""From a score to a tail probability, by the highest scores of each block so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.odd.followed import MOST_SERVICES
from logllm.detectors.packing import pack_array, unpack_array
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
    """

    def __init__(self) -> None:
        self.highest = np.full((0, MOST_SERVICES), np.nan, np.float32)
        self._measure()

    @property
    def ready(self) -> NDArray[np.bool_]:
        """bool[MOST_SERVICES]: services with LEAST_BLOCKS blocks."""
        ready: NDArray[np.bool_] = (~np.isnan(self.highest)).sum(axis=0) >= LEAST_BLOCKS
        return ready

    def append(self, highest: NDArray[np.float64]) -> None:
        """Take a block in. Shapes: highest: float64[MOST_SERVICES], NaN where nothing counts."""
        self.highest = np.concatenate([self.highest, highest[None].astype(np.float32)])[-KEPT_BLOCKS:]
        self._measure()

    def clear(self, places: NDArray[np.bool_]) -> None:
        """Know nothing of some services any more."""
        self.highest[:, places] = np.nan
        self._measure()

    def _measure(self) -> None:
        self._sorted = np.sort(self.highest.astype(np.float64), axis=0)
        self._upper, self._above = np.full(MOST_SERVICES, np.inf), np.ones(MOST_SERVICES)
        for place in np.flatnonzero(self.ready).tolist():
            mine = self._sorted[: int((~np.isnan(self._sorted[:, place])).sum()), place]
            top = mine[-max(_LEAST_TOP, int(_TOP_SHARE * len(mine))) :]
            self._upper[place] = top[0]
            # Of an exponential the median is log 2 means; it does not mind the troubled blocks that are among them.
            above = float(np.median(top - top[0])) / math.log(2.0)
            self._above[place] = max(1e-6, _WIDENED * above * (1.0 + 1.0 / math.sqrt(len(top))))

    def probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[b, MOST_SERVICES]: of the scores of that shape; 1.0 where a service is not ready."""
        found = np.ones(scores.shape)
        for place in np.flatnonzero(self.ready).tolist():
            score = scores[:, place]
            many = int((~np.isnan(self._sorted[:, place])).sum())
            above = many - np.searchsorted(self._sorted[:many, place], score, side="left")
            tail = (above + 1.0) / (many + 1.0)
            share = max(_LEAST_TOP, int(_TOP_SHARE * many)) / many
            over = (score - self._upper[place]) / self._above[place]
            tail = np.where(over > 0.0, share * np.exp(-np.maximum(over, 0.0)), np.maximum(tail, share))
            found[:, place] = np.where(np.isnan(score), 1.0, np.where(tail < 1.0, tail / BLOCK, 1.0))
        return found

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"highest": pack_array(self.highest)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        highest = unpack_array(state.get("highest", {}), np.float32)
        if highest.ndim != 2 or highest.shape[1] != MOST_SERVICES or len(highest) > KEPT_BLOCKS:
            raise StateError(f"saved odd windows: highest scores have shape {highest.shape}")
        self.highest = highest
        self._measure()
