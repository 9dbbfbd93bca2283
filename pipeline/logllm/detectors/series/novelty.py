"""How new a point is: by how often its like was seen, and by how far off the nearest one is."""

from __future__ import annotations

from bisect import bisect_left
from math import log
from typing import Annotated

import msgspec
from msgspec import Meta

from logllm.detectors.series.scale import LIMIT

__all__ = ["MEMORY_POINTS", "Contexts", "Gaps"]

MEMORY_POINTS = 16384
"""Points after which counts are halved, so that the old counts less and the tables stay bounded."""

_STEPS = 8.0
"""Steps of the value in a scaled unit. From 6 to 9 it makes no difference."""

_MEAN_STEPS = 1.5 * _STEPS
"""Steps of the recent mean, which moves less."""

_UNSEEN = 0.05
"""What was never seen counts as a twentieth of what was seen once: the new must outweigh the rare."""

_ORIGIN = 1 << 10
_ROW = 1 << 11
"""More than the steps between the scale's limits: a mean of residuals is within twice the limit, 2 x 32 x 12."""

_STEP = 0.01
_NEAR = 0.05
"""A gap of so many scaled units is where distance begins to matter."""

_FAR_STEPS = int(4 * LIMIT / _STEP)
_FORGET_POINTS = 4 * MEMORY_POINTS

_TABLES = 6

Count = Annotated[int, Meta(ge=1, le=MEMORY_POINTS)]


class Contexts(msgspec.Struct, forbid_unknown_fields=True):
    """Rareness of a value, of it after the value before, and of it under the recent mean, by counts.

    Values are rounded to steps, twice, half a step apart, so that none suffers from an edge. What is summed is -log of
    the three shares (the idea of context-novelty detectors, CAD-OSE of the NAB contest among them). It says only that
    something is new, not how far off: see `Gaps`.

    Cost: six dictionary entries a point; at most 6 x 1.5 x MEMORY_POINTS entries.
    """

    counts: Annotated[list[dict[int, Count]], Meta(min_length=_TABLES, max_length=_TABLES)] = msgspec.field(
        default_factory=lambda: [{} for _ in range(_TABLES)]
    )
    before: Annotated[list[int], Meta(min_length=2, max_length=2)] = msgspec.field(default_factory=lambda: [0, 0])
    points: Annotated[int, Meta(ge=0, lt=MEMORY_POINTS)] = 0

    def rareness(self, scaled: float, mean: float) -> float:
        """Mean of the two roundings' -log of the three shares, in nats; then the point is learned."""
        alone, after, under, alone_2, after_2, under_2 = self.counts
        before = self.before
        place, mean_place = scaled * _STEPS + _ORIGIN, mean * _MEAN_STEPS + _ORIGIN
        step, step_2 = int(place), int(place + 0.5)
        key, key_2 = step * _ROW + before[0], step_2 * _ROW + before[1]
        # The rows of the mean do not mix with those of the value before: they are other tables.
        mean_key, mean_key_2 = step * _ROW + int(mean_place), step_2 * _ROW + int(mean_place + 0.5)
        a, b, c = alone.get(step, 0), after.get(key, 0), under.get(mean_key, 0)
        d, e, f = alone_2.get(step_2, 0), after_2.get(key_2, 0), under_2.get(mean_key_2, 0)
        alone[step], after[key], under[mean_key] = a + 1, b + 1, c + 1
        alone_2[step_2], after_2[key_2], under_2[mean_key_2] = d + 1, e + 1, f + 1
        before[0], before[1] = step, step_2
        self.points = points = self.points + 1
        # One logarithm for six: their product is below (1.7e4)^6, far from a double's end.
        shares = (a + _UNSEEN) * (b + _UNSEEN) * (c + _UNSEEN) * (d + _UNSEEN) * (e + _UNSEEN) * (f + _UNSEEN)
        rare = 3.0 * log(points - 1 + _UNSEEN) - 0.5 * log(shares)
        if points >= MEMORY_POINTS:
            self._halve()
        return rare

    def _halve(self) -> None:
        self.points //= 2
        self.counts = [{key: count >> 1 for key, count in table.items() if count > 1} for table in self.counts]


class Gaps(msgspec.Struct, forbid_unknown_fields=True):
    """Distance to the nearest value ever seen.

    One value apart from all others is news; where values lie close this says nothing, however rare they are. What has
    not been seen for _FORGET_POINTS is forgotten.

    Cost: a look-up where the step of 0.01 is known, else a bisection; at most 4 x LIMIT / 0.01 entries.
    """

    steps: list[int] = msgspec.field(default_factory=list)
    seen: dict[int, int] = msgspec.field(default_factory=dict)
    points: Annotated[int, Meta(ge=0)] = 0

    def gap(self, scaled: float) -> float:
        """log(1 + distance / 0.05), 0.0 within the same step; then the value is learned."""
        step = int(scaled / _STEP + _FAR_STEPS)
        self.points = points = self.points + 1
        if points % MEMORY_POINTS == 0:
            self._forget()
        known = step in self.seen
        self.seen[step] = points
        if known:
            return 0.0
        steps = self.steps
        place = bisect_left(steps, step)
        near = step - steps[place - 1] if place else _FAR_STEPS
        if place < len(steps):
            near = min(near, steps[place] - step)
        steps.insert(place, step)
        return log(1.0 + near * (_STEP / _NEAR))

    def _forget(self) -> None:
        self.seen = {step: last for step, last in self.seen.items() if self.points - last <= _FORGET_POINTS}
        self.steps = sorted(self.seen)
