"""Whose turn it is: the first of each key, a few an hour, and then one in so many; and who carries the count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.sinks.reduce.config import ReduceConfig
    from logllm.sinks.reduce.grouped import Grouped

__all__ = ["NEVER", "Turns"]

HOUR_NS = 3_600_000_000_000
NEVER = -1


class Turns:
    """What is remembered of each key, as arrays.

    The few an hour are a bucket: it holds `per_hour` and is filled at that rate, by the clock of closed windows, so
    that what is taken out of it depends on no record's own time. Where that clock goes back, the bucket is full.

    Shapes:
        seen: int32[k], records so far, at most `burst`. turn: int64[k], of those that are sampled, since the last
        that was kept. full_ns: int64[k], when the bucket will be full. pending: int64[k], culled records that no
        record has carried yet. carried: int64[k], the number of the record that carried last. last: int64[k], that
        of the latest culled one, while something is pending.
    """

    def __init__(self, config: ReduceConfig) -> None:
        self._burst, self._sample, self._most = config.burst, config.sample, config.per_hour
        self._token_ns = HOUR_NS // config.per_hour if config.per_hour else 0
        for name, (dtype, value) in _ARRAYS.items():
            setattr(self, name, np.full(0, value, dtype))

    seen: NDArray[np.int32]
    turn: NDArray[np.int64]
    full_ns: NDArray[np.int64]
    pending: NDArray[np.int64]
    carried: NDArray[np.int64]
    last: NDArray[np.int64]

    def reserve(self, keys: int) -> None:
        """Make room for so many keys."""
        more = keys - len(self.seen)
        if more > 0:
            more = max(more, len(self.seen), 256)
            for name, (dtype, value) in _ARRAYS.items():
                setattr(self, name, np.concatenate([getattr(self, name), np.full(more, value, dtype)]))

    def first(self, grouped: Grouped) -> NDArray[np.int64]:
        """int64[m]: the places of rows that are among the first of their key. All rows count as seen."""
        seen = self.seen[grouped.keys].astype(np.int64)
        self.seen[grouped.keys] = np.minimum(seen + grouped.counts, self._burst)
        young = seen < self._burst
        if not young.any():
            return np.zeros(0, np.int64)
        places = young[grouped.group].nonzero()[0]
        group = grouped.group[places]
        found: NDArray[np.int64] = places[places - grouped.starts[group] + seen[group] < self._burst]
        return found

    def take(
        self, grouped: Grouped, rest: NDArray[np.bool_], clock_ns: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of the rows that nothing else keeps: the places of the few an hour, and of those whose turn it is.

        Shapes:
            rest: bool[n], by place.
        """
        places, rank = grouped.rank(rest)
        if not len(places):
            return places, places
        group = grouped.group[places]
        waiting = np.bincount(group, minlength=len(grouped.keys))
        taken = np.zeros(len(grouped.keys), np.int64)
        if self._most:
            taken = self._out_of_the_bucket(grouped.keys, waiting, clock_ns)
        few = rank < taken[group]
        before = self.turn[grouped.keys]
        self.turn[grouped.keys] = (before + waiting - taken) % self._sample
        others = (~few).nonzero()[0]
        group = group[others]
        turn = before[group] + rank[others] - taken[group] + 1
        return places[few], places[others[turn % self._sample == 0]]

    def _out_of_the_bucket(
        self, keys: NDArray[np.int64], waiting: NDArray[np.int64], clock_ns: int
    ) -> NDArray[np.int64]:
        whole_ns = self._most * self._token_ns
        full = np.maximum(self.full_ns[keys], clock_ns)
        full[full > clock_ns + whole_ns] = clock_ns
        taken: NDArray[np.int64] = np.minimum((clock_ns + whole_ns - full) // self._token_ns, waiting)
        self.full_ns[keys] = np.where(taken > 0, full + taken * self._token_ns, self.full_ns[keys])
        return taken

    def carry(
        self, grouped: Grouped, kept: NDArray[np.bool_], able: NDArray[np.bool_], first: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which kept rows stand for culled ones before them: their places, and how many.

        Args:
            first: The number of row 0.

        Shapes:
            kept: bool[n] by place. able: bool[n] by place, kept rows that may carry a count.
        """
        keys, group = grouped.keys, grouped.group
        culled = ~kept
        if not culled.any() and not self.pending[keys].any():
            self.carried[keys] = first + grouped.order[grouped.ends - 1]
            return grouped.order[:0], grouped.order[:0]
        upto = np.cumsum(culled)
        begin = upto[grouped.starts] - culled[grouped.starts] - self.pending[keys]
        carriers = able.nonzero()[0]
        of = group[carriers]
        mark = begin.copy()
        mark[of] = upto[carriers]  # of several assignments to one place the last one stays
        self.carried[keys[of]] = first + grouped.order[carriers]
        gone = culled.nonzero()[0]
        self.last[keys[group[gone]]] = first + grouped.order[gone]
        self.pending[keys] = left = upto[grouped.ends - 1] - mark
        self.last[keys[left == 0]] = NEVER
        previous = np.empty(len(carriers), np.int64)
        previous[1:] = upto[carriers[:-1]]
        is_first = np.empty(len(of), np.bool_)
        is_first[:1] = True
        np.not_equal(of[1:], of[:-1], out=is_first[1:])
        previous[is_first] = begin[of[is_first]]
        stands_for = upto[carriers] - previous
        some = stands_for > 0
        return carriers[some], stands_for[some]

    def owed(self, keys: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[m]: what culled records that go on after all stand for.

        That is 0 where a record has told of them since, 1 where none has; and the last that was culled of its key
        tells of all that are pending.

        Shapes:
            keys: int64[m], -1 for keys that are gone. numbers: int64[m].
        """
        counts = np.zeros(len(keys), np.int64)
        known = np.flatnonzero(keys >= 0)
        key, number = keys[known], numbers[known]
        is_last = number == self.last[key]
        counts[known[~is_last & (number > self.carried[key])]] = 1
        np.subtract.at(self.pending, key, counts[known])
        last, of = known[is_last], key[is_last]
        counts[last] = self.pending[of]
        self.pending[of], self.last[of] = 0, NEVER
        self.carried[of] = np.maximum(self.carried[of], number[is_last])
        return counts

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        self.reserve(max(old, new) + 1)
        self.seen[new] = min(int(self.seen[new]) + int(self.seen[old]), self._burst)
        self.full_ns[new] = max(self.full_ns[new], self.full_ns[old])
        self.pending[new] += self.pending[old]
        self.carried[new] = max(self.carried[new], self.carried[old])
        self.last[new] = max(self.last[new], self.last[old])
        self.reset([old])

    def reset(self, keys: Sequence[int]) -> None:
        """The numbers of keys may be given to others."""
        gone = [key for key in keys if key < len(self.seen)]
        for name, (_, value) in _ARRAYS.items():
            getattr(self, name)[gone] = value


_ARRAYS: dict[str, tuple[Any, int]] = {
    "seen": (np.int32, 0),
    "turn": (np.int64, 0),
    "full_ns": (np.int64, 0),
    "pending": (np.int64, 0),
    "carried": (np.int64, NEVER),
    "last": (np.int64, NEVER),
}
