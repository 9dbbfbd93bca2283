"""The windows of the block that runs, series by series, until it is finished."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.slices import BLOCK
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Measured"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What is judged of the values of some windows.

    Shapes:
        level: float64[b, k], the mean of the winsorised logarithms, in bins.
        squared: float64[b, k], squared deviations from it, summed.
        count: float64[b, k], values.
        beyond: float64[b, k], those beyond the threshold.
    """

    level: NDArray[np.float64]
    squared: NDArray[np.float64]
    count: NDArray[np.float64]
    beyond: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.count)

    @classmethod
    def blank(cls, rows: int, size: int) -> Measured:
        """So many windows of so many series without a value."""
        return cls(*np.zeros((len(_NAMES), rows, size)))

    @classmethod
    def none(cls) -> Measured:
        """No window."""
        return cls(*(np.zeros((0, 0)) for _ in _NAMES))

    def then(self, other: Measured) -> Measured:
        """These windows and others after them, which may have more series."""
        more = other.count.shape[1] - self.count.shape[1]
        if not len(self):
            return other
        if not more:
            return Measured(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in _NAMES))
        return Measured(
            *(np.vstack([np.pad(getattr(self, name), ((0, 0), (0, more))), getattr(other, name)]) for name in _NAMES)
        )

    def replaced(self, number: int, other: Measured) -> Measured:
        """The same with a series as it is in other measurements of the same windows, which are of all series."""
        wider = self.then(Measured.blank(0, other.count.shape[1]))
        for name in _NAMES:
            getattr(wider, name)[:, number] = getattr(other, name)[:, number]
        return wider

    def clear(self, series: list[int]) -> None:
        """Forget some series."""
        for name in _NAMES:
            array = getattr(self, name)
            array[:, [number for number in series if number < array.shape[1]]] = 0.0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in _NAMES}

    @classmethod
    def restored(cls, state: dict[str, Any], size: int) -> Measured:
        """A copy back, of at most `size` series. Raises StateError where it does not fit."""
        arrays = [unpack_array(state.get(name, {}), np.float64) for name in _NAMES]
        shape = arrays[0].shape
        if len(shape) != 2 or shape[0] >= BLOCK or shape[1] > size or any(each.shape != shape for each in arrays):
            raise StateError(f"saved windows have shape {shape}, expected at most {BLOCK - 1} of {size} series")
        return cls(*arrays)


_NAMES = tuple(each.name for each in fields(Measured))
