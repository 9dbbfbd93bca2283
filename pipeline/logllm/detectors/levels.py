"""Sums of blocks of a bounded number of series over days: what each is expected to be, and how far off it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLOCKS_A_DAY", "Levels"]

BLOCKS_A_DAY = 96
KEPT_BLOCKS = 8 * BLOCKS_A_DAY
"""A week and a day: a weekend is known on the next one."""

MOST_OFF = 4.0
"""Standard deviations to which a residual is cut: one wild block weighs no more than a merely odd one."""

_NEIGHBOURS = np.array([1.0, 2.0, 3.0, 2.0, 1.0])
"""Weights of the blocks of the same time of day and half an hour around it."""

_AGE_HALF_LIFE_DAYS = 4.0
_LEAST_WEIGHT = 9.0
"""Two whole days' blocks around a time of day, less what they have aged and a few that are missing."""

_OTHER_DAY = BLOCKS_A_DAY // 2
_PRIOR_PHI, _PRIOR_ROWS = 0.02, 24.0
_LEAST_PHI, _MOST_PHI = 1e-4, 5.0
_LEAST_EXPECTED = 1.0
"""Records a block under which a series says too little of itself to be judged."""


class Levels:
    """The last KEPT_BLOCKS block sums of some series, each expected by its own blocks of that time of other days.

    A sum is taken as over-dispersed (variance `m + phi * m * m`, `phi` measured on what was expected at the time).
    Blind until a time of day has been seen on two days. A season longer than a day shows as residuals; `week_ago` knows
    what stood a week before. Costs about 2 ms a block at 220 series.

    Shapes, where r is the number of blocks kept:
        blocks: int64[r], number of each block (its start / block length).
        sums, expected: float32[r, size], records, those before a change drawn to the new level; NaN where not known.
        came: float32[r, size], the sums as they were.
        off: float32[r, size], residuals in standard deviations, within MOST_OFF; NaN where not known.
        usual: bool[r, size], whether a block is an example of what is normal.
    """

    def __init__(self) -> None:
        self.blocks = np.zeros(0, np.int64)
        for name, dtype in _TABLES.items():
            setattr(self, name, np.zeros((0, 0), dtype))

    @property
    def size(self) -> int:
        """Series there is room for."""
        return int(self.sums.shape[1])

    def grow(self, size: int) -> None:
        """Make room for series up to `size` - 1, of which nothing is known."""
        more = max(0, size - self.size)
        for name in _TABLES:
            table = getattr(self, name)
            empty = np.full((len(table), more), False if name == "usual" else np.nan, table.dtype)
            setattr(self, name, np.concatenate([table, empty], axis=1))

    sums: NDArray[np.float32]
    came: NDArray[np.float32]
    expected: NDArray[np.float32]
    off: NDArray[np.float32]
    usual: NDArray[np.bool_]

    def expect(self, block: int, phi: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[size]: what a block of this number should bring; NaN where that is not known yet.

        Shapes: phi: float64[size], see `dispersion`.
        """
        age = block - self.blocks
        distance = (age + 2) % BLOCKS_A_DAY
        rows = np.flatnonzero((distance < len(_NEIGHBOURS)) & (np.abs(age) > _OTHER_DAY))
        if not len(rows):
            return np.full(self.size, np.nan)
        sums, expected = self.sums[rows].astype(np.float64), self.expected[rows].astype(np.float64)
        spread = MOST_OFF * np.sqrt(expected + phi * expected * expected)
        cut = np.where(np.isnan(expected), sums, np.clip(sums, expected - spread, expected + spread))
        aged = _NEIGHBOURS[distance[rows]] * 0.5 ** (np.abs(age[rows]) / (BLOCKS_A_DAY * _AGE_HALF_LIFE_DAYS))
        weight = np.where(self.usual[rows] & ~np.isnan(sums), aged[:, None], 0.0)
        total = weight.sum(axis=0)
        mean = (weight * np.nan_to_num(cut)).sum(axis=0) / np.maximum(total, 1e-9)
        known = (total >= _LEAST_WEIGHT) & (mean >= _LEAST_EXPECTED)
        return np.where(known, mean, np.nan)

    def dispersion(self) -> NDArray[np.float64]:
        """float64[size]: `phi` of block sums, drawn to a prior while few are known."""
        sums, expected = self.sums.astype(np.float64), self.expected.astype(np.float64)
        known = self.usual & ~np.isnan(sums) & ~np.isnan(expected)
        expected = np.where(known, expected, 0.0)
        most = 9.0 * MOST_OFF * MOST_OFF * (expected + _PRIOR_PHI * expected * expected)
        excess = np.where(known, np.minimum((np.nan_to_num(sums) - expected) ** 2, most) - expected, 0.0).sum(axis=0)
        squares = (expected * expected).sum(axis=0)
        prior = (squares + 1e-9) * _PRIOR_ROWS / np.maximum(known.sum(axis=0), 1.0)
        phi: NDArray[np.float64] = np.clip((excess + prior * _PRIOR_PHI) / (squares + prior), _LEAST_PHI, _MOST_PHI)
        return phi

    def append(self, block: int, sums: NDArray[np.float64], usual: NDArray[np.bool_]) -> None:
        """Take a block in. Shapes: sums: float64[size], NaN where not known. usual: bool[size]."""
        phi = self.dispersion()
        expected = self.expect(block, phi)
        spread = np.sqrt(expected + phi * expected * expected)
        off = np.clip((sums - expected) / np.maximum(spread, 1e-9), -MOST_OFF, MOST_OFF)
        self.blocks = np.append(self.blocks, block)[-KEPT_BLOCKS:]
        for name, row in (("sums", sums), ("came", sums), ("expected", expected), ("off", off), ("usual", usual)):
            table = np.concatenate([getattr(self, name), row[None].astype(_TABLES[name])])
            setattr(self, name, table[-KEPT_BLOCKS:])

    def week_ago(self, column: int, rows: int) -> float:
        """The last `rows` sums of a series over those of the same times a week before; 0.0 where few are known."""
        now = self.came[-rows:, column].astype(np.float64)
        place = np.searchsorted(self.blocks, self.blocks[-rows:] - 7 * BLOCKS_A_DAY)
        same = self.blocks[np.minimum(place, len(self.blocks) - 1)] == self.blocks[-rows:] - 7 * BLOCKS_A_DAY
        then = np.where(same, self.came[np.minimum(place, len(self.blocks) - 1), column].astype(np.float64), np.nan)
        both = ~np.isnan(now) & ~np.isnan(then)
        if 4 * int(both.sum()) < 3 * rows or float(then[both].sum()) <= 0.0:
            return 0.0
        return float(now[both].sum() / then[both].sum())

    def rebase(self, column: int, rows: int, ratio: float) -> None:
        """The last `rows` blocks stand on a new level, `ratio` times the old: what was before them is drawn to it."""
        since = len(self.blocks) - rows
        self.sums[:since, column] *= ratio
        self.expected[:, column] *= ratio
        self.usual[since:, column] = True
        expected = self.expected[since:, column].astype(np.float64)
        spread = np.sqrt(expected + self.dispersion()[column] * expected * expected)
        off = (self.sums[since:, column] - expected) / np.maximum(spread, 1e-9)
        self.off[since:, column] = np.clip(off, -MOST_OFF, MOST_OFF)

    def clear(self, column: int) -> None:
        """Know nothing of a series any more, if a block of it has been taken in at all."""
        if column < self.sums.shape[-1]:
            for name in _TABLES:
                getattr(self, name)[:, column] = False if name == "usual" else np.nan

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in ("blocks", *_TABLES)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        blocks = unpack_array(state.get("blocks", {}), np.int64)
        tables = {name: unpack_array(state.get(name, {}), dtype) for name, dtype in _TABLES.items()}
        size = tables["sums"].shape[-1] if tables["sums"].ndim else 0
        for name, table in tables.items():
            if blocks.ndim != 1 or len(blocks) > KEPT_BLOCKS or table.shape != (len(blocks), size):
                raise StateError(f"saved levels: {name} has shape {table.shape}, expected {len(blocks)} x {size}")
        self.blocks = blocks
        for name, table in tables.items():
            setattr(self, name, table)


_TABLES: dict[str, Any] = {
    "sums": np.float32,
    "came": np.float32,
    "expected": np.float32,
    "off": np.float32,
    "usual": np.bool_,
}
