"""A scale for numbers of which nothing is known: fitted once, on the first values."""

from __future__ import annotations

from math import asinh
from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["FIT_POINTS", "LIMIT", "Scale"]

FIT_POINTS = 128
"""Values the scale is fitted on: the fewer, the sooner a short series is judged; with 64 the tails are guesswork."""

LIMIT = 32.0
"""Scaled values end here. asinh(4e13) is 32: what is further away is as far."""

_TAIL = 0.02
"""Share of the values at either end that the spread does not rest on."""

_LEAST_SPREAD = 1e-6
"""Of the median: what a constant series moves by this share of its value is no news."""

_SMALLEST = 1e-300


class Scale(msgspec.Struct, forbid_unknown_fields=True):
    """Maps values to asinh((value - middle) / spread): linear about the middle, logarithmic in the tails.

    So a series of bytes, one of percent and one that is zero but for its peaks are judged by the same constants. The
    spread is half the way between the 2 % and the 98 % quantile. It is not fitted again: values that come to live on
    a larger scale are then seen with the logarithm's resolution, those that shrink to a smaller one hardly at all.
    """

    middle: float
    spread: Annotated[float, Meta(gt=0)]

    @classmethod
    def fit(cls, values: list[float]) -> Scale:
        """The scale of some finite values, at least one. Their order does not matter."""
        ordered = sorted(values)
        last = len(ordered) - 1
        middle = ordered[last // 2]
        # Halved first: the difference of two doubles may be too large for one.
        spread = ordered[round(last * (1.0 - _TAIL))] / 2.0 - ordered[round(last * _TAIL)] / 2.0
        mean_deviation = sum(abs(value / 2.0 - middle / 2.0) / len(ordered) for value in ordered)
        return cls(middle, max(spread, mean_deviation, _LEAST_SPREAD * abs(middle), _SMALLEST))

    def scaled(self, value: float) -> float:
        """The scaled value, within +-LIMIT."""
        # Doubles so far apart that their difference is infinite end at the limit all the same.
        return min(max(asinh((value - self.middle) / self.spread), -LIMIT), LIMIT)
