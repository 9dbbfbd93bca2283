"""What is usual among a service's windows, as it was at one time: scales and neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.odd.followed import MOST_SERVICES
from logllm.detectors.odd.neighbours import Neighbours, have_pyod
from logllm.detectors.odd.vectors import LEAST_SPREAD
from logllm.detectors.packing import check_shapes, pack_array, unpack_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MOST_OFF", "Model"]

MOST_OFF = 8.0
"""Deviations to which an entry is cut."""

LEAST_ROWS = 1200
"""Windows of a service, of 1,440 in a day, that must be known."""

_MOST_TRAINED = 1000
_TO_DEVIATIONS = 2.563
"""What lies between the first and the last tenth of a normal, in deviations."""


class Model:
    """Scores windows by what the last day or two of all services' windows were, each scaled for its own service.

    The score is the squared distance to the nearest neighbours among those windows (`Neighbours`); where pyod is not
    installed, to what is usual. Both are near the number of entries for a usual window and grow without a bound that
    the past sets, which half-space and isolation trees and ranks (ECOD, COPOD) have: of what is far out they
    cannot tell how far.

    Shapes, where S is MOST_SERVICES and f the entries of a vector:
        median, spread: float64[S, f]. ready: bool[S], services with LEAST_ROWS windows.
        train: float32[n, f], scaled windows, n <= _MOST_TRAINED.
    """

    def __init__(
        self,
        median: NDArray[np.float64],
        spread: NDArray[np.float64],
        ready: NDArray[np.bool_],
        train: NDArray[np.float32],
    ) -> None:
        self.median, self.spread, self.ready, self.train = median, spread, ready, train
        self._near = Neighbours(train) if have_pyod() and len(train) else None

    @classmethod
    def of(cls, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> Model:
        """Begin to fit. Shapes: windows: float32[n, S, f]. known: bool[n, S], windows to learn from."""
        ready = known.sum(axis=0) >= LEAST_ROWS
        entries = windows.shape[2]
        median, spread = np.zeros((MOST_SERVICES, entries)), np.ones((MOST_SERVICES, entries))
        for place in np.flatnonzero(ready).tolist():
            ordered = np.sort(windows[known[:, place], place], axis=0)
            low, mid, high = ordered[[(len(ordered) - 1) * tenths // 10 for tenths in (1, 5, 9)]].astype(np.float64)
            median[place], spread[place] = mid, np.maximum((high - low) / _TO_DEVIATIONS, LEAST_SPREAD)
        row, places = np.nonzero(known & ready)
        some = slice(None, None, max(1, -(-len(row) // _MOST_TRAINED)))
        row, places = row[some], places[some]
        train = _scaled(windows[row, places], median[places], spread[places])
        return cls(median, spread, ready, train.astype(np.float32))

    def scaled(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Deviations from what is usual. Shapes: float64[b, S, f] both."""
        return _scaled(vectors, self.median, self.spread)

    def score(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[b, S]: how odd each window is; NaN for services that are not ready. Shapes: vectors: [b, S, f]."""
        found = np.full(vectors.shape[:2], np.nan)
        places = np.flatnonzero(self.ready)
        if len(places):
            scaled = self.scaled(vectors)[:, places].reshape(-1, vectors.shape[2])
            squares = (scaled**2).sum(axis=1) if self._near is None else self._near.distance(scaled) ** 2
            found[:, places] = squares.reshape(len(vectors), len(places))
        return found

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy: what it was fitted on; the fit is made again."""
        return {name: pack_array(getattr(self, name)) for name in _ARRAYS}

    @classmethod
    def restored(cls, state: dict[str, Any], entries: int) -> Model:
        """Fit the same again. Raises StateError where the state does not fit."""
        arrays = {name: unpack_array(state.get(name, {}), dtype) for name, dtype in _ARRAYS.items()}
        shapes = {
            "median": (MOST_SERVICES, entries),
            "spread": (MOST_SERVICES, entries),
            "ready": (MOST_SERVICES,),
            "train": (len(arrays["train"]) if arrays["train"].ndim else 0, entries),
        }
        check_shapes("odd windows", arrays, shapes)
        return cls(**arrays)


def _scaled(vectors: NDArray[Any], median: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = np.clip((vectors - median) / spread, -MOST_OFF, MOST_OFF)
    return scaled


_ARRAYS: dict[str, Any] = {"median": np.float64, "spread": np.float64, "ready": np.bool_, "train": np.float32}
