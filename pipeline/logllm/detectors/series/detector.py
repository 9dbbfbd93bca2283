"""The detector of one numeric series, point by point."""

from __future__ import annotations

from datetime import datetime
from math import isfinite, log, sqrt
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from logllm.detectors.series.novelty import Contexts, Gaps
from logllm.detectors.series.scale import FIT_POINTS, Scale
from logllm.detectors.series.season import DAY_S, Season
from logllm.detectors.series.tail import TAIL_POINTS, Cooldown, Tail
from logllm.errors import StateError

__all__ = ["ALERT", "SeriesDetector"]

ALERT = 0.5
"""The score from which a point is worth an alert, chosen once for all series and without a label of the user's."""

_HALF = 1.5
"""Times the square root of a record's surprise: the surprise that scores ALERT. That is about a record of one kind, or
high ranks in several. Records of a longer series surprise more. With one threshold for all, it gives as many alerts a
point as a short one; with the surprise as a share of a record's, no more in all. The root stands between.
"""

_LEARN_POINTS = FIT_POINTS // 2
"""Points that only fill the tables: nearly all is new among them, and would be no measure for what comes."""

_QUIET_POINTS = 150
"""Points before the first score above 0."""

_SHORT = 6
_LONG = 24
"""Points of the two recent means. A change of level shows in them before it is rare."""


class _State(msgspec.Struct, forbid_unknown_fields=True):
    """All a detector knows."""

    season: Season = msgspec.field(default_factory=Season)
    contexts: Contexts = msgspec.field(default_factory=Contexts)
    gaps: Annotated[list[Gaps], Meta(min_length=3, max_length=3)] = msgspec.field(
        default_factory=lambda: [Gaps() for _ in range(3)]
    )
    tails: Annotated[list[Tail], Meta(min_length=4, max_length=4)] = msgspec.field(
        default_factory=lambda: [Tail() for _ in range(4)]
    )
    cooldown: Cooldown = msgspec.field(default_factory=Cooldown)
    scale: Scale | None = None
    first: Annotated[list[tuple[float, float]], Meta(max_length=FIT_POINTS - 1)] = msgspec.field(default_factory=list)
    recent: Annotated[list[float], Meta(min_length=_LONG, max_length=_LONG)] = msgspec.field(
        default_factory=lambda: [0.0] * _LONG
    )
    points: Annotated[int, Meta(ge=0)] = 0
    skipped: Annotated[int, Meta(ge=0)] = 0
    second: Annotated[float, Meta(ge=0, lt=DAY_S)] = 0.0


class SeriesDetector:
    """Scores each point of a numeric series by how new it is against the points before; 0 is usual, 1 unheard of.

    Nothing need be known of the series: not its range, its length, its pace. Four kinds of novelty are each ranked in
    their own past (`Tail`) and joined by their quadratic mean, so that a record of one or high ranks of several count:
    how rare the value is, alone, after the one before and under the recent mean (`Contexts`); how far it is from any
    value seen (`Gaps`); and the same for the mean of the last 6 and of the last 24 residuals of the daily course
    (`Season`). What follows a surprise is damped for a while (`Cooldown`).

    It does not work for: a value stuck where it often is; a spike as high as one before, within 8,192 points; what is
    odd only for a weekday; a trend (each new height is new: it is told, at ever longer distances); fewer than 150
    points, which score 0. A level that stays is told once and is then normal.

    Points are taken in their order; of their times only the hour of the day is read, as it is written for a datetime,
    in UTC for seconds. A time that is not finite stands for the one before. A value that is not finite scores 0 and
    is not learned; `skipped` counts them.

    Cost: about 6 microseconds a point; at most 150,000 table entries (a few MB) for values without any habit.

    Args of `score`:
        time: A datetime, or seconds since 1970.
        value: A number; what is too large for a double is not finite.

    >>> detector = SeriesDetector()
    >>> scores = [detector.score(300 * at, 90.0 if at == 900 else at % 7) for at in range(1000)]
    >>> max(range(1000), key=scores.__getitem__), scores[900] > ALERT
    (900, True)
    """

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = _State()

    @property
    def skipped(self) -> int:
        """Values that were no numbers."""
        return self._state.skipped

    def score(self, time: datetime | float, value: float) -> float:
        """The point's score, from 0 to 1; then it is learned. Alert from ALERT on."""
        state = self._state
        try:
            value = float(value)
        except OverflowError:
            value = float("inf")
        if not isfinite(value):
            state.skipped += 1
            return 0.0
        if isinstance(time, datetime):
            second = time.hour * 3600.0 + time.minute * 60.0 + time.second
        else:
            second = _second_of_day(time, state.second)
        state.second = second
        if state.scale is None:
            state.first.append((second, value))
            if len(state.first) == FIT_POINTS:
                self._fit()
            return 0.0
        surprise = self._surprise(second, state.scale.scaled(value))
        if surprise <= 0.0 or state.points <= _QUIET_POINTS:
            return 0.0
        surprise = state.cooldown.apply(surprise, state.points)
        record = log(2.0 * min(state.points, TAIL_POINTS))
        return surprise / (surprise + _HALF * sqrt(record))

    def _fit(self) -> None:
        state = self._state
        state.scale = Scale.fit([value for _, value in state.first])
        for second, value in state.first[:_LEARN_POINTS]:
            self._novelty(second, state.scale.scaled(value))
        for tail in state.tails:
            tail.points = _LEARN_POINTS
        for second, value in state.first[_LEARN_POINTS:]:
            self._surprise(second, state.scale.scaled(value))
        state.first = []

    def _surprise(self, second: float, scaled: float) -> float:
        rare, gap, short, long = self._novelty(second, scaled)
        first, other, third, fourth = self._state.tails
        a, b, c, d = first.surprise(rare), other.surprise(gap), third.surprise(short), fourth.surprise(long)
        return 0.5 * sqrt(a * a + b * b + c * c + d * d)

    def _novelty(self, second: float, scaled: float) -> tuple[float, float, float, float]:
        state = self._state
        recent = state.recent
        recent[state.points % _LONG] = state.season.residual(second, scaled)
        state.points = points = state.points + 1
        place = points % _LONG
        newest = recent[place - _SHORT : place] if place >= _SHORT else recent[place - _SHORT :] + recent[:place]
        short = sum(newest) / min(points, _SHORT)
        long = sum(recent) / min(points, _LONG)
        gaps = state.gaps
        return state.contexts.rareness(scaled, short), gaps[0].gap(scaled), gaps[1].gap(short), gaps[2].gap(long)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        state: dict[str, Any] = msgspec.to_builtins(self._state)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it is not one."""
        try:
            restored = msgspec.convert(state, _State)
        except msgspec.ValidationError as error:
            raise StateError(f"saved series detector: {error}") from error
        _check(restored)
        self._state = restored


def _second_of_day(time_s: float, before: float) -> float:
    """Seconds since midnight; `before` where the time says nothing."""
    try:
        second = float(time_s) % DAY_S
    except OverflowError:
        return before
    # A tiny negative time leaves exactly DAY_S.
    return (0.0 if second == DAY_S else second) if isfinite(second) else before


def _check(state: _State) -> None:
    """What the types do not say."""
    for gaps in state.gaps:
        if gaps.steps != sorted(gaps.seen):
            raise StateError("saved series detector: the steps of a gap are not those that were seen")
    for tail in state.tails:
        if tail.largest != sorted(tail.largest):
            raise StateError("saved series detector: the largest values are not in order")
    numbers = [*state.recent, *state.season.levels, state.season.level, state.season.total, state.cooldown.last]
    numbers += [number for pair in state.first for number in pair]
    numbers += [value for tail in state.tails for value, _ in tail.largest]
    if state.scale is not None:
        numbers += [state.scale.middle, state.scale.spread]
    if not all(map(isfinite, numbers)):
        raise StateError("saved series detector: a number is not finite")
