"""What is read of a slice for the services that are followed: their totals and keys, their errors, their shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.odd.followed import MOST_KEYS, MOST_SERVICES
from logllm.detectors.packing import pack_array, unpack_array
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
    at = np.where(used, followed.services, 0)
    many = max(int(service[:keys].max(initial=0)), int(at.max())) + 1
    flat = (np.arange(rows)[:, None] * many + service[None, :keys]).ravel()
    total, severe, logs, distinct, new = (
        np.bincount(flat, weights=values.ravel(), minlength=rows * many).reshape(rows, many)[:, at]
        for values in (
            counts,
            severe_counts,
            counts * np.log(np.maximum(counts, 1.0)),
            counts > 0.0,
            _first_seen(counts, followed),
        )
    )
    entropy = np.log(np.maximum(total, 1.0)) - logs / np.maximum(total, 1.0)
    table = np.concatenate([counts, np.zeros((rows, 1))], axis=1)
    mine = np.where((followed.keys >= 0) & (followed.keys < keys), followed.keys, keys)
    both = np.concatenate([np.where(used, total, 0.0)[:, :, None], table[:, mine]], axis=2)
    shapes = np.stack([np.sqrt(distinct), np.log1p(new), entropy], axis=2)
    return Rows(both, np.where(used, severe, 0.0), np.where(used[:, None], shapes, 0.0))


def _in_time(window_slice: Slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    window, key, records = window_slice.late
    if not len(window):
        return window_slice.counts, window_slice.severe
    counts = window_slice.counts.copy()
    np.subtract.at(counts, (window - window_slice.first, key), records)
    return counts, np.minimum(window_slice.severe, counts)


def _first_seen(counts: NDArray[np.float64], followed: Followed) -> NDArray[np.bool_]:
    first = np.zeros(counts.shape, np.bool_)
    some: NDArray[np.bool_] = np.asarray(counts.any(axis=0), np.bool_)
    known = min(len(followed.totals), len(some))
    some[:known] &= followed.totals[:known] <= 0.0
    fresh = np.flatnonzero(some)
    first[np.argmax(counts[:, fresh] > 0.0, axis=0), fresh] = True
    return first


def sums_of(counts: NDArray[np.float64], spans: tuple[int, ...], rows: int) -> NDArray[np.float64]:
    """float64[len(spans), rows, ...]: the sums over so many windows that end with each of the last `rows`."""
    end = len(counts) + 1
    sums = np.zeros((end, *counts.shape[1:]))
    np.cumsum(counts, axis=0, out=sums[1:])
    return np.stack([sums[end - rows :] - sums[end - rows - windows : end - windows] for windows in spans])
