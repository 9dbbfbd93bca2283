"""What is read of a slice for the services that are followed: their totals and keys, their errors, their shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.odd.followed import MOST_KEYS, MOST_SERVICES
from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.running import running_sums
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.detectors.odd.followed import Followed
    from logllm.detectors.slices import Slice

__all__ = ["PLACES", "SHAPES", "Rows", "no_rows", "read", "sums_of"]

PLACES = (MOST_SERVICES, 1 + MOST_KEYS)
SHAPES = 3


@dataclass(frozen=True, slots=True)
class Rows:
    """Some windows in a row.

    Shapes, where S is MOST_SERVICES and K is MOST_KEYS:
        counts: float64[w, S, 1 + K], records of each service, then of each of its keys; 0 where nobody is followed.
        severe: float64[w, S], those of severity ERROR or above.
        shapes: float64[w, S, SHAPES], root of the distinct keys, log of 1 + new keys, entropy of the keys' shares.
    """

    counts: NDArray[np.float64]
    severe: NDArray[np.float64]
    shapes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.severe)

    def __add__(self, other: Rows) -> Rows:
        return Rows(
            np.concatenate([self.counts, other.counts]),
            np.concatenate([self.severe, other.severe]),
            np.concatenate([self.shapes, other.shapes]),
        )

    def last(self, rows: int) -> Rows:
        """The last `rows` windows."""
        start = len(self) - rows
        return Rows(self.counts[start:], self.severe[start:], self.shapes[start:])

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in ("counts", "severe", "shapes")}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Rows:
        """A copy back. Raises StateError where it does not fit."""
        arrays = [unpack_array(state.get(name, {}), np.float64) for name in ("counts", "severe", "shapes")]
        expected = no_rows(len(arrays[1]) if arrays[1].ndim else 0)
        for array, other in zip(arrays, (expected.counts, expected.severe, expected.shapes), strict=True):
            if array.shape != other.shape:
                raise StateError(f"saved odd windows: rows of shape {array.shape}, expected {other.shape}")
        return cls(*arrays)


def no_rows(rows: int = 0) -> Rows:
    """So many windows without a record."""
    return Rows(np.zeros((rows, *PLACES)), np.zeros((rows, MOST_SERVICES)), np.zeros((rows, MOST_SERVICES, SHAPES)))


def read(window_slice: Slice, followed: Followed, service: NDArray[np.int32]) -> Rows:
    """The rows of a slice, without late records: those are odd where they are counted, not where they belong.

    Shapes:
        service: int32[>= k], the service of each key.
    """
    counts, severe_counts = _in_time(window_slice)
    rows, keys = counts.shape
    used = followed.services >= 0
    place_of = np.full(max(int(service[:keys].max(initial=0)), int(followed.services.max())) + 1, MOST_SERVICES)
    place_of[followed.services[used]] = np.flatnonzero(used)
    at = np.flatnonzero(counts.ravel() > 0.0)
    row = np.repeat(np.arange(rows), np.diff(np.searchsorted(at, np.arange(rows + 1) * keys)))
    key = at - row * keys
    place = place_of[service[key]]
    some = np.flatnonzero(place < MOST_SERVICES)
    row, key, place = row[some], key[some], place[some]
    flat, records = row * MOST_SERVICES + place, counts[row, key]

    def of_places(values: NDArray[Any]) -> NDArray[np.float64]:
        sums: NDArray[Any] = np.bincount(flat, weights=values, minlength=rows * MOST_SERVICES)
        return sums.reshape(rows, MOST_SERVICES).astype(np.float64)

    total, logs = of_places(records), of_places(records * np.log(records))
    distinct, new = of_places(np.ones(len(flat))), of_places(_first_seen(key, followed))
    entropy = np.log(np.maximum(total, 1.0)) - logs / np.maximum(total, 1.0)
    inside = (followed.keys >= 0) & (followed.keys < keys)
    mine = np.where(inside, counts[:, np.where(inside, followed.keys, 0)], 0.0)
    both = np.concatenate([total[:, :, None], mine], axis=2)
    return Rows(both, of_places(severe_counts[row, key]), np.stack([np.sqrt(distinct), np.log1p(new), entropy], axis=2))


def _in_time(window_slice: Slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    window, key, records = window_slice.late
    if not len(window):
        return window_slice.counts, window_slice.severe
    counts = window_slice.counts.copy()
    np.subtract.at(counts, (window - window_slice.first, key), records)
    return counts, np.minimum(window_slice.severe, counts)


def _first_seen(key: NDArray[np.int64], followed: Followed) -> NDArray[np.bool_]:
    """bool[n]: which of these keys, in order of time, come for the first time."""
    fresh = np.ones(len(key), np.bool_)
    known = key < len(followed.totals)
    fresh[known] = followed.totals[key[known]] <= 0.0
    at = np.flatnonzero(fresh)
    fresh[at] = False
    fresh[at[np.unique(key[at], return_index=True)[1]]] = True
    return fresh


def sums_of(counts: NDArray[np.float64], spans: tuple[int, ...], rows: int) -> NDArray[np.float64]:
    """float64[len(spans), rows, ...]: the sums over so many windows that end with each of the last `rows`."""
    sums = running_sums(counts)
    end = len(sums)
    return np.stack([sums[end - rows :] - sums[end - rows - windows : end - windows] for windows in spans])
