"""From a number without a scale to a tail probability, and from that to something that one threshold fits."""

from __future__ import annotations

from bisect import bisect_left, insort
from math import log
from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["TAIL_POINTS", "Cooldown", "Tail"]

_LARGEST = 100
"""How many of the largest values are kept. What is below them is not told apart: it is no news at any threshold."""

TAIL_POINTS = 8192
"""Points after which a large value no longer stands in the way of others."""

_PURGE_POINTS = 256

_PRIOR_EXCESS = 1.0
"""Excess, in nats, that one of the largest is taken to have had: no tail is infinitely steep, flat as it was so far."""

_RESOLUTION = 0.01
"""Nats that are no difference. The rounding of halved counts must not be a record of a series that is constant."""

_SHARE = 0.035
"""A pause of this share of the points so far: a series that is short so far is watched at a quicker pace."""

_SHORTEST_POINTS = 30
_LONGEST_POINTS = 300

_CLEARLY = 1.2
"""A surprise larger by this factor than the last one is not held back by it."""

_DAMPED = 0.3

Entry = tuple[float, Annotated[int, Meta(ge=0)]]


class Tail(msgspec.Struct, forbid_unknown_fields=True):
    """-log of the share of the past that was at least as large, in nats, from the largest values alone.

    A conformal rank: it assumes that the past is like the present, and nothing of how the values are distributed.
    Beyond the largest there is an exponential tail, with the mean excess of those that are kept. A value is learned
    after it was ranked. Values are 0 or more.

    Cost: a comparison for all but the largest, a bisection of 100 for those.
    """

    points: Annotated[int, Meta(ge=0)] = 0
    largest: Annotated[list[Entry], Meta(min_length=_LARGEST, max_length=_LARGEST)] = msgspec.field(
        default_factory=lambda: [(0.0, 0)] * _LARGEST
    )

    def surprise(self, value: float) -> float:
        """0.0 for what is not among the largest."""
        self.points = points = self.points + 1
        if points % _PURGE_POINTS == 0:
            self._purge()
        largest = self.largest
        least = largest[0][0]
        if value <= least + _RESOLUTION:
            return 0.0
        seen = points if points < TAIL_POINTS else TAIL_POINTS
        place = bisect_left(largest, (value, -1))
        if place < _LARGEST:
            surprise = log((_LARGEST + 0.5) / (_LARGEST - place + 0.5) * seen / _LARGEST)
        else:
            excess = (sum(each for each, _ in largest) - _LARGEST * least + _PRIOR_EXCESS) / _LARGEST
            surprise = log(2.0 * seen) + (value - largest[-1][0]) / excess
        insort(largest, (value, points))
        del largest[0]
        return surprise if surprise > 0.0 else 0.0

    def _purge(self) -> None:
        oldest = self.points - TAIL_POINTS
        kept = [each for each in self.largest if each[1] > oldest]
        self.largest = [(0.0, self.points)] * (_LARGEST - len(kept)) + kept


class Cooldown(msgspec.Struct, forbid_unknown_fields=True):
    """Lets through what is surprising anew: for a while after a surprise, what is not clearly larger is damped.

    It knows no threshold: whichever is put on what comes out, alerts keep their distance.
    """

    last: float = 0.0
    until: int = 0

    def apply(self, surprise: float, points: int) -> float:
        """The surprise, or the damped one.

        Args:
            points: Points seen so far.
        """
        if surprise <= 0.0:
            return 0.0
        if points < self.until and surprise <= self.last * _CLEARLY:
            return surprise * _DAMPED
        self.last = surprise
        self.until = points + int(min(max(_SHARE * points, _SHORTEST_POINTS), _LONGEST_POINTS))
        return surprise
