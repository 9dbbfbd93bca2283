"""Sums of blocks of a bounded number of series over days: what each is expected to be, and how far off it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.detectors.rolling import Rolling
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLOCKS_A_DAY", "Levels"]

BLOCKS_A_DAY = 96
KEPT_BLOCKS = 8 * BLOCKS_A_DAY
"""A week and a day: a weekend is known on the next one."""

MOST_OFF = 4.0
"""Standard deviations to which a residual is cut: one wild block weighs no more than a merely odd one."""

_NEIGHBOURS = (1.0, 2.0, 3.0, 2.0, 1.0)
"""Weights of the blocks of the same time of day and half an hour around it."""

_HOUR, _HALF_WIDTH = 4, len(_NEIGHBOURS) // 2
_LATER = (0, _HOUR, -_HOUR, _HOUR + _HALF_WIDTH, -_HOUR - _HALF_WIDTH)
"""Blocks later than this one, at which is looked as well: an hour off, and as far again as a step is blurred."""

_REACH = max(_LATER) + _HALF_WIDTH
_WEIGHTS = np.stack(
    [np.pad(_NEIGHBOURS, (_REACH - later - _HALF_WIDTH, _REACH + later - _HALF_WIDTH)) for later in _LATER]
)

_STEP = 1.5
"""What is expected an hour apart and differs by this factor is a step; smooth days differ by less."""

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
    Where the day has a step, what lies between its two sides is as expected for an hour before and after it: we count
    by UTC, and the clocks that people live by are changed twice a year. Blind until a time of day has been seen on two
    days. A season longer than a day shows as residuals; `week_ago` knows what stood a week before. Costs about 0.5 ms a
    block at 220 series.

    Shapes, where r is the number of blocks kept:
        blocks: int64[r], number of each block (its start / block length).
        sums, expected: float32[r, size], records, those before a change drawn to the new level; NaN where not known.
        came: float32[r, size], the sums as they were.
        off: float32[r, size], residuals in standard deviations, within MOST_OFF; NaN where not known.
        usual: bool[r, size], whether a block is an example of what is normal.
    """

    def __init__(self) -> None:
        self._set(np.zeros(0, np.int64), {name: np.zeros((0, 0), dtype) for name, dtype in _TABLES.items()})

    blocks: NDArray[np.int64]
    sums: NDArray[np.float32]
    came: NDArray[np.float32]
    expected: NDArray[np.float32]
    off: NDArray[np.float32]
    usual: NDArray[np.bool_]
    _spreads: NDArray[np.float32]

    def _set(self, blocks: NDArray[np.int64], tables: dict[str, NDArray[Any]]) -> None:
        spreads = _spreads_of(tables["sums"], tables["expected"], tables["usual"])
        every = {"blocks": blocks, **tables, "_spreads": spreads}
        self._kept = {name: Rolling(table, KEPT_BLOCKS) for name, table in every.items()}
        self._show()

    def _show(self) -> None:
        for name, recent in self._kept.items():
            setattr(self, name, recent.rows)

    @property
    def size(self) -> int:
        """Series there is room for."""
        return int(self.sums.shape[1])

    def grow(self, size: int) -> None:
        """Make room for series up to `size` - 1, of which nothing is known."""
        more = ((0, 0), (0, max(0, size - self.size)))
        if size > self.size:
            tables = {name: np.pad(getattr(self, name), more, constant_values=_UNKNOWN[name]) for name in _TABLES}
            self._set(self.blocks, tables)

    def expect(self, block: int, phi: NDArray[np.float32], columns: slice = slice(None)) -> NDArray[np.float32]:
        """What a block of this number should bring, and the blocks that are _LATER.

        Shapes:
            phi: float32[size], see `dispersion`.
            returns: float32[len(_LATER), size], or of `columns` alone; NaN where that is not known yet.
        """
        age = block - self.blocks
        distance = (age + _REACH) % BLOCKS_A_DAY
        rows = np.flatnonzero((distance <= 2 * _REACH) & (np.abs(age) > _OTHER_DAY))
        sums, expected = self.sums[rows, columns], self.expected[rows, columns]
        spread = np.float32(MOST_OFF) * np.sqrt(expected + phi[columns] * expected * expected)
        # These pass over what is NaN: where nothing was expected, what came stays.
        cut = np.fmax(np.fmin(sums, expected + spread), expected - spread)
        example = self.usual[rows, columns] & ~np.isnan(sums)
        aged = 0.5 ** (np.abs(age[rows]) / (BLOCKS_A_DAY * _AGE_HALF_LIFE_DAYS))
        weights = (aged * _WEIGHTS[:, distance[rows]]).astype(np.float32)
        total = np.einsum("er,rs->es", weights, example.astype(np.float32))
        mean = np.einsum("er,rs->es", weights, np.where(example, cut, 0.0)) / np.maximum(total, 1e-9)
        return np.where(total >= _LEAST_WEIGHT, mean, np.nan).astype(np.float32)

    def dispersion(self) -> NDArray[np.float32]:
        """float32[size]: `phi` of block sums, drawn to a prior while few are known."""
        excess, squares, known = self._spreads.sum(axis=0).astype(np.float64)
        prior = (squares + 1e-9) * _PRIOR_ROWS / np.maximum(known, 1.0)
        phi: NDArray[np.float64] = np.clip((excess + prior * _PRIOR_PHI) / (squares + prior), _LEAST_PHI, _MOST_PHI)
        return phi.astype(np.float32)

    def append(self, block: int, sums: NDArray[np.float64], usual: NDArray[np.bool_]) -> None:
        """Take a block in. Shapes: sums: float64[size], NaN where not known. usual: bool[size]."""
        phi = self.dispersion()
        came = sums.astype(np.float32)
        around = self.expect(block, phi)
        an_hour_off = around[:3]
        now = np.where(around[0] >= _LEAST_EXPECTED, around[0], np.float32(np.nan))
        most = np.where(np.fmax.reduce(an_hour_off) > _STEP * now, np.fmax.reduce(around), now)
        least = np.where(_STEP * np.fmin.reduce(an_hour_off) < now, np.fmin.reduce(around), now)
        expected = np.where(np.isnan(came), now, np.clip(came, least, most))
        spread = np.maximum(np.sqrt(expected + phi * expected * expected), np.float32(1e-9))
        row = {
            "sums": came,
            "came": came,
            "expected": expected,
            "off": np.clip((came - expected) / spread, -MOST_OFF, MOST_OFF),
            "usual": usual,
            "_spreads": _spreads_of(came, expected, usual),
        }
        self._kept["blocks"].append(np.array([block]))
        for name, values in row.items():
            self._kept[name].append(values[None])
        self._show()

    def hour_off(self, column: int, rows: NDArray[np.int64]) -> tuple[float, float]:
        """What some blocks of a series should have brought in all, were the day an hour early, or late; NaN if unknown.

        Costs 0.1 ms a block.
        """
        phi = self.dispersion()
        each = [self.expect(block, phi, slice(column, column + 1))[1:3, 0] for block in self.blocks[rows].tolist()]
        due = np.array(each, np.float64).sum(axis=0)
        return float(due[0]), float(due[1])

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
        self.accept(column, rows)
        expected = self.expected[since:, column]
        spread = np.maximum(np.sqrt(expected + self.dispersion()[column] * expected * expected), np.float32(1e-9))
        self.off[since:, column] = np.clip((self.sums[since:, column] - expected) / spread, -MOST_OFF, MOST_OFF)

    def accept(self, column: int, rows: int) -> None:
        """The last `rows` blocks are examples of what is normal after all."""
        self.usual[len(self.blocks) - rows :, column] = True
        spreads = _spreads_of(self.sums[:, column], self.expected[:, column], self.usual[:, column])
        self._spreads[:, :, column] = spreads.T

    def clear(self, column: int) -> None:
        """Know nothing of a series any more, if a block of it has been taken in at all."""
        if column < self.size:
            for name, nothing in _UNKNOWN.items():
                getattr(self, name)[:, column] = nothing
            self._spreads[:, :, column] = 0.0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in ("blocks", *_TABLES)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        blocks = unpack_array(state.get("blocks", {}), np.int64)
        tables = {name: unpack_array(state.get(name, {}), dtype) for name, dtype in _TABLES.items()}
        size = tables["sums"].shape[-1] if tables["sums"].ndim else 0
        if blocks.ndim != 1 or len(blocks) > KEPT_BLOCKS:
            raise StateError(f"saved levels: blocks have shape {blocks.shape}, expected ({KEPT_BLOCKS},) at most")
        check_shapes("levels", tables, dict.fromkeys(tables, (len(blocks), size)))
        self._set(blocks, tables)


def _spreads_of(
    sums: NDArray[np.float32], expected: NDArray[np.float32], usual: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """float32[..., 3, size]: what blocks say of the dispersion: excess variance, its base, and 1; 0 where nothing."""
    known = usual & ~np.isnan(sums) & ~np.isnan(expected)
    squares = expected * expected
    most = np.float32(9.0 * MOST_OFF * MOST_OFF) * (expected + np.float32(_PRIOR_PHI) * squares)
    excess = np.minimum((sums - expected) ** 2, most) - expected
    return np.where(known[..., None, :], np.stack([excess, squares, np.ones_like(sums)], axis=-2), np.float32(0.0))


_TABLES: dict[str, Any] = {
    "sums": np.float32,
    "came": np.float32,
    "expected": np.float32,
    "off": np.float32,
    "usual": np.bool_,
}
_UNKNOWN = {name: False if name == "usual" else np.nan for name in _TABLES}
