"""Which services, and which keys of each, are looked at as a whole: the busiest, chosen anew each day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.largest import largest
from logllm.detectors.packing import pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from logllm.detectors.keys import Keys

__all__ = ["MOST_KEYS", "MOST_SERVICES", "Followed"]

MOST_SERVICES = 20
MOST_KEYS = 24
"""Of each service."""

_DAY_DECAY = 0.5
_NOBODY = -1


class Followed:
    """Places for MOST_SERVICES services and MOST_KEYS keys of each, filled with the busiest.

    Shapes:
        services: int64[MOST_SERVICES], service number in each place, -1 where it is free.
        keys: int64[MOST_SERVICES, MOST_KEYS], key numbers, -1 where free.
        totals: float64[k], records of each key, halved each day.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.services = np.full(MOST_SERVICES, _NOBODY, np.int64)
        self.keys = np.full((MOST_SERVICES, MOST_KEYS), _NOBODY, np.int64)
        self.totals = np.zeros(0)

    def count(self, counts: NDArray[np.float64]) -> None:
        """Add up what came. Shapes: counts: float64[b, k]."""
        self.grow(counts.shape[1])
        self.totals[: counts.shape[1]] += counts.sum(axis=0)

    def grow(self, size: int) -> None:
        """Make room for keys up to `size` - 1."""
        more = size - len(self.totals)
        if more > 0:
            self.totals = np.pad(self.totals, (0, more))

    @property
    def places(self) -> int:
        """Places up to the last one that is taken by a service."""
        return int(np.flatnonzero(self.services != _NOBODY).max(initial=-1)) + 1

    def choose(self, *, anew: bool) -> NDArray[np.bool_]:
        """Fill free places, and once a day give those of others to who is busier now.

        Shapes:
            returns: bool[MOST_SERVICES, 1 + MOST_KEYS], places that changed hands: the service's own, then its keys'.
        """
        before = np.column_stack([self.services, self.keys])
        if anew or (self.services == _NOBODY).any():
            totals = np.bincount(self._keys.service[: len(self.totals)], weights=self.totals, minlength=1)
            self.services = _fill(self.services, largest(totals, MOST_SERVICES), anew=anew)
            self.keys[self.services != before[:, 0]] = _NOBODY
        for place, waiting in self._waiting(anew=anew):
            busiest = waiting[largest(self.totals[waiting], MOST_KEYS)]
            self.keys[place] = _fill(self.keys[place], busiest, anew=anew)
        if anew:
            self.totals *= _DAY_DECAY
        changed: NDArray[np.bool_] = np.column_stack([self.services, self.keys]) != before
        return changed

    def _waiting(self, *, anew: bool) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Places of services, and keys that could be followed there: those that are not yet, or `anew` all of them.

        Most services have either all places taken or no such key, and then are not among them.
        """
        open_ = np.flatnonzero((self.services != _NOBODY) & (anew | (self.keys == _NOBODY).any(axis=1)))
        if not len(open_):
            return
        place_of = np.full(max(len(self._keys.services), int(self.services.max()) + 1), _NOBODY)
        place_of[self.services[open_]] = open_
        some = self.totals > 0.0
        if not anew:
            some[self.keys[(self.keys >= 0) & (self.keys < len(some))]] = False
        keys = np.flatnonzero(some)
        places = place_of[self._keys.service[keys]]
        for place in np.unique(places[places != _NOBODY]).tolist():
            yield place, keys[places == place]

    def busiest(self, place: int) -> list[int]:
        """The busiest key of a service, if one is followed."""
        keys = self.keys[place][self.keys[place] >= 0]
        return [int(keys[np.argmax(self.totals[keys])])] if len(keys) else []

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of `new`."""
        self.grow(max(old, new) + 1)
        self.totals[new] += self.totals[old]
        self.forget([old])

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone for good."""
        self.totals[[key for key in keys if key < len(self.totals)]] = 0.0
        self.keys[np.isin(self.keys, keys)] = _NOBODY

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in ("services", "keys", "totals")}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        services, keys = (
            unpack_array(state.get("services", {}), np.int64),
            unpack_array(state.get("keys", {}), np.int64),
        )
        totals = unpack_array(state.get("totals", {}), np.float64)
        if services.shape != self.services.shape or keys.shape != self.keys.shape or totals.ndim != 1:
            raise StateError(f"saved odd windows: {services.shape} services, {keys.shape} keys, {totals.shape} totals")
        self.services, self.keys, self.totals = services, keys, totals


def _fill(places: NDArray[np.int64], wanted: NDArray[np.int64], *, anew: bool) -> NDArray[np.int64]:
    filled = places.copy()
    if anew:
        filled[~np.isin(filled, wanted)] = _NOBODY
    free = np.flatnonzero(filled == _NOBODY)
    new = wanted[~np.isin(wanted, filled)][: len(free)]
    filled[free[: len(new)]] = new
    return filled
