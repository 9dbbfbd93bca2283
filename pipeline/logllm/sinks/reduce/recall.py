"""What an incident needs of the records that were culled before it was known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logllm.sinks.reduce.grouped import spent_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.sinks.reduce.protect import Protection, Told
    from logllm.sinks.reduce.ring import Ring, Source

__all__ = ["recalled"]

_FAR = np.iinfo(np.int64).max
_NEAR = np.dtype([(name, np.int64) for name in ("slab", "row", "time_ns", "size", "service")])


def recalled(
    ring: Ring, told: Sequence[Told], protection: Protection, keys: int
) -> list[tuple[NDArray[np.void], list[Source]]]:
    """Takes out of the ring what some incidents cite, what else is of their templates, and what was said around it.

    All incidents are looked for in one pass. What is cited comes whatever it takes; of the templates come the oldest
    records since the incident began, of the context those nearest to what is cited, each as far as the incident's
    budget goes.

    Args:
        keys: How many keys there are.
    """
    config = protection.config
    search = _Search(told, protection, keys, int(config.context_s * 1e9))
    masks: list[NDArray[np.bool_] | None] = []
    near: list[NDArray[np.void]] = []
    for number, slab in enumerate(ring.slabs()):
        masks.append(None)
        if slab.latest_ns < search.earliest_ns:
            continue
        rows = slab.rows
        # Columns of a row are far apart in memory; a copy of those that are asked more than once is faster.
        key, time_ns = rows["key"].astype(np.int64), rows["time_ns"].copy()
        taken = masks[-1] = search.cited(key, time_ns)
        mine = np.flatnonzero(search.of_keys(key, time_ns) & ~taken)
        if len(mine):
            slots, sizes = search.slot_of_key[key[mine]], rows["size"][mine].astype(np.int64)
            taken[mine[spent_within(slots, sizes, protection.on_keys, config.incident_bytes)]] = True
        around = np.flatnonzero(search.of_services(rows["service"].astype(np.int64), time_ns) & ~taken)
        if len(around):
            near.append(np.zeros(len(around), _NEAR))
            near[-1]["slab"], near[-1]["row"] = number, around
            for name in ("time_ns", "size", "service"):
                near[-1][name] = rows[name][around]
    if near:
        candidates = np.concatenate(near)
        chosen = candidates[_nearest(told, protection, candidates)]
        for number in np.unique(chosen["slab"]).tolist():
            mask = masks[number]
            if mask is not None:
                mask[chosen["row"][chosen["slab"] == number]] = True
    return ring.take(masks)


class _Search:
    """Tables by key and by service for all that is looked for at once. The last row of each is for "none"."""

    def __init__(self, told: Sequence[Told], protection: Protection, keys: int, around_ns: int) -> None:
        self.slot_of_key = np.full(keys + 1, -1, np.int64)
        self._since = np.full(keys + 1, _FAR, np.int64)
        self._is_cited = np.zeros(keys + 1, np.bool_)
        self._pairs = {pair for one in told for pair in one.cited}
        self._times = np.unique(np.array([time_ns for _, time_ns in self._pairs], np.int64))
        self._is_cited[[key for key, _ in self._pairs if 0 <= key < keys]] = True
        services = max((one.service for one in told), default=-1) + 1
        self._from = np.full(services + 1, _FAR, np.int64)
        self._to = np.full(services + 1, -_FAR, np.int64)
        self._all = _FAR, -_FAR
        for one in told:
            mine = np.array([key for key in one.keys if self.slot_of_key[key] < 0], np.int64)
            self.slot_of_key[mine], self._since[mine] = protection.slot(one.id), one.since_ns
            anchors = one.anchors
            if not len(anchors):
                continue
            start, end = int(anchors[0]) - around_ns, int(anchors[-1]) + around_ns
            if one.service < 0:
                self._all = min(self._all[0], start), max(self._all[1], end)
            else:
                self._from[one.service] = min(self._from[one.service], start)
                self._to[one.service] = max(self._to[one.service], end)
        begins = [self._all[0], *(one.since_ns for one in told), *self._from.tolist(), *self._times[:1].tolist()]
        self.earliest_ns = min(begins)
        """Before this nothing is looked for."""

    def cited(self, key: NDArray[np.int64], time_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n]: whether each row is one that an incident cites."""
        found = np.zeros(len(key), np.bool_)
        places = np.flatnonzero(self._is_cited[key])
        places = places[np.isin(time_ns[places], self._times)]
        pairs = zip(key[places].tolist(), time_ns[places].tolist(), strict=True)
        found[places[[pair in self._pairs for pair in pairs]]] = True
        return found

    def of_keys(self, key: NDArray[np.int64], time_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n]: whether each row is of an incident's own template since it began."""
        return (self.slot_of_key[key] >= 0) & (time_ns >= self._since[key])

    def of_services(self, service: NDArray[np.int64], time_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n]: whether each row may be near to what is cited in its service."""
        at = np.minimum(service, len(self._from) - 1)
        within = (time_ns >= self._from[at]) & (time_ns <= self._to[at])
        return within | ((time_ns >= self._all[0]) & (time_ns <= self._all[1]))


def _nearest(told: Sequence[Told], protection: Protection, candidates: NDArray[np.void]) -> NDArray[np.bool_]:
    """bool[n]: the rows, of those that may be near to something, that incidents' context is made of."""
    time_ns, sizes, services = (candidates[name] for name in ("time_ns", "size", "service"))
    config = protection.config
    around_ns = int(config.context_s * 1e9)
    chosen = np.zeros(len(time_ns), np.bool_)
    by_service = np.argsort(services, kind="stable")
    ordered = services[by_service]
    for one in told:
        anchors = one.anchors
        if not len(anchors):
            continue
        first, last = (
            np.searchsorted(ordered, [one.service, one.service + 1]) if one.service >= 0 else (0, len(ordered))
        )
        mine = by_service[first:last]
        mine = mine[~chosen[mine]]
        distance = _distance(time_ns[mine], anchors)
        mine = mine[np.argsort(distance, kind="stable")][: int((distance <= around_ns).sum())]
        slots = np.full(len(mine), protection.slot(one.id), np.int64)
        if len(mine):
            chosen[mine[spent_within(slots, sizes[mine], protection.on_past, config.context_bytes)]] = True
    return chosen


def _distance(times: NDArray[np.int64], anchors: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n]: how far each time is from the nearest of some, which are ascending."""
    after = np.searchsorted(anchors, times)
    right = np.abs(anchors[np.minimum(after, len(anchors) - 1)] - times)
    left = np.abs(times - anchors[np.maximum(after - 1, 0)])
    distance: NDArray[np.int64] = np.minimum(left, right)
    return distance
