"""How much of one count goes with another: the started and the finished, the errors and all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import check_shapes, pack_array, unpack_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Shares"]

_HALF_LIFE_BLOCKS = 96.0
_KEEP = 0.5 ** (1.0 / _HALF_LIFE_BLOCKS)
_PRIOR_RECORDS, _PRIOR_SHARE = 20.0, 0.5
_PRIOR_RHO, _PRIOR_BLOCKS = 0.02, 12.0
_LEAST_VARIANCE = 1.0
"""Where fewer records than this are open to chance nothing is said."""


class Shares:
    """The share `q` of a part in a whole, for `size` pairs at once, and how far sums of some windows are off it.

    A part among `n` records is taken as over-dispersed binomial: variance `n q (1 - q) (1 + rho n)`. Two counts that
    rise and fall together are as noisy as each alone, but their share is not: this is what finds a ratio that breaks.

    Shapes:
        seen: float64[size], records of the whole that taught the share.
    """

    def __init__(self, size: int, spans: tuple[int, ...]) -> None:
        self._spans = spans
        self.part, self.seen = np.zeros(size), np.zeros(size)
        self.excess, self.base = np.zeros((len(spans), size)), np.zeros((len(spans), size))
        self.blocks = np.zeros(size)
        self._usual: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def share(self) -> NDArray[np.float64]:
        """float64[size]: the usual share."""
        share: NDArray[np.float64] = (self.part + _PRIOR_RECORDS * _PRIOR_SHARE) / (self.seen + _PRIOR_RECORDS)
        return share

    def off(self, part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
        """Deviations of sums over windows from the usual share.

        Shapes:
            part, whole, returns: float64[len(spans), rows, n], of the first n pairs; part <= whole.
        """
        if self._usual is None:
            prior = _PRIOR_BLOCKS * self.base / np.maximum(self.blocks, 1.0) + 1e-9
            rho = np.clip((self.excess + prior * _PRIOR_RHO) / (self.base + prior), 0.0, 5.0)
            self._usual = self.share(), rho[:, None]
        some = slice(part.shape[2])
        q, rho = self._usual[0][some], self._usual[1][:, :, some]
        expected = whole * q
        chance = expected * (1.0 - q)
        off = (part - expected) / np.sqrt(np.maximum(chance * (1.0 + rho * whole), _LEAST_VARIANCE))
        return np.where((chance >= _LEAST_VARIANCE) & (self.blocks[some] > 0), off, 0.0)

    def learn(
        self, part: NDArray[np.float64], whole: NDArray[np.float64], ready: NDArray[np.bool_], cut: float
    ) -> None:
        """Take a block in. Shapes: part, whole: float64[rows, size], its windows. ready: bool[size]."""
        q = self.share()
        for span, windows in enumerate(self._spans):
            rows = len(part) // windows * windows
            if not rows:
                continue
            some, all_ = (each[:rows].reshape(-1, windows, each.shape[1]).sum(axis=1) for each in (part, whole))
            chance = all_ * q * (1.0 - q)
            most = cut * cut * np.maximum(chance * (1.0 + _PRIOR_RHO * all_), _LEAST_VARIANCE)
            excess = np.minimum((some - all_ * q) ** 2, most) - chance
            known = ready & (self.blocks > 0)
            for array, new in (
                (self.excess[span], excess.mean(axis=0)),
                (self.base[span], (chance * all_).mean(axis=0)),
            ):
                array[known] = array[known] * _KEEP + new[known]
        for array, new in ((self.part, part.sum(axis=0)), (self.seen, whole.sum(axis=0))):
            array[ready] = array[ready] * _KEEP + new[ready]
        self.blocks[ready] += 1.0
        self._usual = None

    def clear(self, columns: NDArray[np.bool_]) -> None:
        """Know nothing of some pairs any more. Shapes: columns: bool[size]."""
        for name in _ARRAYS:
            getattr(self, name)[..., columns] = 0.0
        self._usual = None

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in _ARRAYS}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state.get(name, {}), np.float64) for name in _ARRAYS}
        check_shapes("shares", arrays, {name: getattr(self, name).shape for name in arrays})
        for name, array in arrays.items():
            setattr(self, name, array)
        self._usual = None


_ARRAYS = ("part", "seen", "excess", "base", "blocks")
