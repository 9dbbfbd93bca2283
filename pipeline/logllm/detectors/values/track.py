"""Levels of some series, window by window: judged, learned once a block, and kept from what is odd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.slices import BLOCK
from logllm.detectors.values.spans import Departure
from logllm.detectors.values.usual import Usual
from logllm.detectors.values.watched import REBASE_BLOCKS
from logllm.errors import StateError
from logllm.events import WINDOW_NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Levels", "Track"]

Levels = tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"]
"""Levels, their sampling variance (infinite for none) and the values they rest on; float64[b, k] each."""


class Track:
    """`Usual` with the block that runs, and what is odd in it."""

    def __init__(self) -> None:
        self.usual = Usual()
        self._odd = np.zeros(0, np.bool_)
        self._odd_blocks = np.zeros(0, np.int64)
        self._block = np.zeros((3, 0, 0))
        self._with: NDArray[np.float64] | None = None

    def grow(self, size: int) -> None:
        """Make room for series up to `size` - 1."""
        more = size - self.usual.size
        if more <= 0:
            return
        self._with = None
        self.usual.grow(size)
        self._odd, self._odd_blocks = np.pad(self._odd, (0, more)), np.pad(self._odd_blocks, (0, more))
        self._block = np.pad(self._block, ((0, 0), (0, 0), (0, more)))
        self._block[1, :, -more:] = np.inf

    def judge(self, levels: Levels) -> Departure:
        """How far the next windows are from what is usual. Nothing changes."""
        if not self.usual.ready.any():
            return Departure.none(*levels[0].shape)
        self._with = np.concatenate([self._block, np.stack(levels)], axis=1)
        level, variance, count = self._with
        return self.usual.judge(level, variance, count, len(levels[0]))

    def learn(self, levels: Levels, odd: NDArray[np.bool_], end: int, *, ends_block: bool) -> None:
        """Take windows in that were judged; `end` is the window after them. Shapes: odd: bool[k]."""
        self._block = np.concatenate([self._block, np.stack(levels)], axis=1) if self._with is None else self._with
        self._with = None
        self._odd |= odd
        if ends_block:
            self.finish(end)

    def finish(self, end: int) -> None:
        """The block is over, whole or not."""
        self._with = None
        if self._block.shape[1]:
            self._odd_blocks = np.where(self._odd, self._odd_blocks + 1, 0)
            anew = self._odd & (self._odd_blocks > REBASE_BLOCKS)
            self._odd_blocks[anew] = 0
            level, variance, count = self._block
            self.usual.learn(end * WINDOW_NS, level, variance, count, ~self._odd, anew)
            self._odd = np.zeros_like(self._odd)
            self._block = np.zeros((3, 0, self.usual.size))

    def merge(self, old: int, new: int) -> None:
        """What is known of series `old` goes to `new`, if that knows less."""
        self._with = None
        self.usual.merge(old, new)
        self._odd[new] |= self._odd[old]
        self._odd_blocks[new] = max(self._odd_blocks[old], self._odd_blocks[new])
        unknown = ~np.isfinite(self._block[1, :, new])
        self._block[:, unknown, new] = self._block[:, unknown, old]
        self.drop([old])

    def drop(self, numbers: list[int]) -> None:
        """Know nothing of some series any more."""
        self._with = None
        self.usual.forget(numbers)
        self._odd[numbers] = False
        self._odd_blocks[numbers] = 0
        self._block[:, :, numbers] = np.array([0.0, np.inf, 0.0])[:, None, None]

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        arrays = {"odd": self._odd, "odd_blocks": self._odd_blocks, "block": self._block}
        return {"usual": self.usual.state(), **{name: pack_array(array) for name, array in arrays.items()}}

    def restore(self, state: dict[str, Any], size: int) -> None:
        """Take a copy back, of `size` series. Raises StateError where it does not fit."""
        self.usual.restore(state["usual"])
        self._odd = unpack_array(state["odd"], np.bool_)
        self._odd_blocks = unpack_array(state["odd_blocks"], np.int64)
        self._block, self._with = unpack_array(state["block"], np.float64), None
        rows = self._block.shape[1] if self._block.ndim == 3 else BLOCK
        shapes = (self.usual.size, self._odd.shape, self._odd_blocks.shape, self._block.shape)
        if shapes != (size, (size,), (size,), (3, rows, size)) or rows >= BLOCK:
            raise StateError(
                f"saved levels have shapes {shapes}, expected {size} series and fewer than {BLOCK} windows"
            )
