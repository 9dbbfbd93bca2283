"""Whether the last blocks of a series stand on another level than those before, and since when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.levels import BLOCKS_A_DAY
from logllm.detectors.slices import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.detectors.levels import Levels

__all__ = ["LEAST_BLOCKS", "LEAST_RATIO", "LevelChange", "find_change"]

LEAST_BLOCKS = 5
"""For good means more than an hour: nearly all incidents' spikes are shorter."""

LEAST_RATIO = 1.15
_MOST_AFTER = _MOST_BEFORE = BLOCKS_A_DAY
_LEAST_BEFORE = 24
_SAME_AS_THEN = 0.25
"""As a part of the change, in logs: how far from a week ago a level may be and count as that of then."""

_SAME_AN_HOUR_OFF = 0.5
"""The same of the day an hour early or late."""

_LEAST_FACTOR = 1e-3
_HOUR = 4
_MOST_SCALE = 8.0


@dataclass(frozen=True, slots=True)
class LevelChange:
    """`rows` blocks on another level: `now` records a window instead of `before`, `ratio` times as many.

    `known`: it stood at about the same height a week before. `hour_off`: it is the day as it was, an hour early or
    late, and no level has changed.
    """

    column: int
    rows: int
    ratio: float
    before: float
    now: float
    log_tail: float
    known: bool
    hour_off: bool


def find_change(levels: Levels, column: int, level: float) -> LevelChange | None:
    """The change that a series shows since its likeliest beginning, if it is one for good; else None.

    The difference of the mean residual after and before the beginning must have less than `level` of a chance, with
    all beginnings counted that were looked at; the deviation is measured on what was before, by hours too, because
    blocks that follow each other are alike. Both halves of the blocks since and the last of them must show it.
    """
    rows = np.flatnonzero(~np.isnan(levels.off[:, column]))
    off = levels.off[rows, column].astype(np.float64)
    after = np.arange(1, min(_MOST_AFTER, len(off) - _LEAST_BEFORE) + 1)
    if not len(after):
        return None
    sums = np.concatenate([[0.0], np.cumsum(off)])
    first = len(off) - after
    least = np.maximum(0, first - _MOST_BEFORE)
    moved = (sums[-1] - sums[first]) / after - (sums[first] - sums[least]) / (first - least)
    spread = np.sqrt(1.0 / after + 1.0 / (first - least))
    best = int(np.argmax(np.abs(moved) / spread))
    if after[best] < LEAST_BLOCKS:
        return None
    begin, end = int(least[best]), int(first[best])
    log_tail = _log_tail(abs(float(moved[best])) / float(spread[best]) / _scale(off[:end])) + math.log(len(after))
    if log_tail > math.log(level) or not _lasts(off[end:], float(off[begin:end].mean()), float(moved[best])):
        return None
    was, now = (float(levels.sums[part, column].sum(dtype=np.float64)) for part in (rows[begin:end], rows[end:]))
    due, next_due = (
        float(levels.expected[part, column].sum(dtype=np.float64)) for part in (rows[begin:end], rows[end:])
    )
    before = max(next_due * was / max(due, 1e-9), 1e-9)
    ratio = max(now / before, _LEAST_FACTOR)
    since = len(levels.blocks) - int(rows[end])
    a_week = levels.week_ago(column, since)
    known = a_week > 0.0 and abs(math.log(a_week)) < _SAME_AS_THEN * abs(math.log(ratio))
    if 1.0 / LEAST_RATIO < ratio < LEAST_RATIO:
        return None
    size = abs(math.log(ratio))
    due_then = [each for each in levels.hour_off(column, rows[end:]) if each > 0.0]
    left = min((abs(math.log(max(now, 1e-9) / each)) for each in due_then), default=size)
    windows = (len(off) - end) * BLOCK
    return LevelChange(
        column, since, ratio, before / windows, now / windows, log_tail, known, left < _SAME_AN_HOUR_OFF * size
    )


def _lasts(off: NDArray[np.float64], usual: float, moved: float) -> bool:
    half = len(off) // 2
    parts = (off[:half], off[half:], off[-LEAST_BLOCKS:], off[-2:])
    return (off[-1] - usual) / moved >= 0.25 and all((float(part.mean()) - usual) / moved >= 0.5 for part in parts)


def _scale(off: NDArray[np.float64]) -> float:
    """The deviation of residuals, at least 1; as much more as means of an hour vary more than those of its blocks."""
    hours = off[len(off) % _HOUR :].reshape(-1, _HOUR).mean(axis=1)
    return math.sqrt(min(_MOST_SCALE, max(1.0, float(off.var()), _HOUR * float(hours.var()))))


def _log_tail(deviations: float) -> float:
    """log P(|X| >= this) of a normal X."""
    from scipy.special import log_ndtr

    return math.log(2.0) + float(log_ndtr(-deviations))
