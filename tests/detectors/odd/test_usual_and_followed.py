"""What a count usually is where the day has a step, and which keys are followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.keys import Keys
from logllm.detectors.odd.followed import MOST_KEYS, MOST_SERVICES, Followed
from logllm.detectors.odd.usual import REACH, SPANS, Usual
from logllm.detectors.slices import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINUTE_NS = 60_000_000_000
HOUR = 60


def _office_hours(days: int, until_hour: float) -> Usual:
    """A count that comes 100 times a minute from 8 to 18 o'clock and once otherwise, and one that is always 100."""
    usual = Usual(2)
    source = np.random.default_rng(1)
    for start in range(0, int((days * 24 + until_hour) * HOUR), BLOCK):
        hour = (np.arange(start - REACH, start + BLOCK) / HOUR) % 24
        mean = np.stack([np.where((hour >= 8) & (hour < 18), 100.0, 1.0), np.full(len(hour), 100.0)], axis=1)
        usual.learn((start + BLOCK) * MINUTE_NS, source.poisson(mean).astype(np.float64), np.ones(2, np.bool_), REACH)
    return usual


def _off(usual: Usual, count: float) -> list[float]:
    found: list[float] = usual.off(np.full((len(SPANS), 1, 2), count))[0, 0].tolist()
    return found


def test_an_hour_before_office_hours_begin_night_and_day_are_usual_and_more_is_not() -> None:
    usual = _office_hours(5, 7.0)

    assert abs(_off(usual, 1.0)[0]) < 1.5
    assert abs(_off(usual, 50.0)[0]) < 1.5
    assert abs(_off(usual, 100.0)[0]) < 1.5
    assert _off(usual, 400.0)[0] > 3.0


def test_where_no_step_is_near_what_comes_at_other_hours_is_not_usual() -> None:
    usual = _office_hours(5, 3.0)

    assert _off(usual, 100.0)[0] > 10.0
    assert _off(_office_hours(5, 13.0), 1.0)[0] < -3.0


def test_a_count_without_steps_is_judged_as_closely_beside_one_with_them() -> None:
    near, far = _office_hours(5, 7.0), _office_hours(5, 3.0)

    assert _off(near, 200.0)[1] > 4.0
    assert abs(_off(near, 200.0)[1] - _off(far, 200.0)[1]) < 0.25 * _off(far, 200.0)[1]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_places_are_given_to_the_busiest_as_if_all_were_looked_at_each_time(days: list[tuple[int, bool]]) -> None:
    services, each = MOST_SERVICES + 3, MOST_KEYS + 6
    keys = Keys()
    for service in range(services):
        templates = np.arange(each, dtype=np.int32) + service * each
        keys.number(np.zeros(each, np.int32), [f"service-{service}"], templates)
    followed = Followed(keys)
    services_held = np.full(MOST_SERVICES, -1)
    keys_held = np.full((MOST_SERVICES, MOST_KEYS), -1)
    for seed, anew in days:
        source = np.random.default_rng(seed)
        counts = source.poisson(3.0, services * each) * (source.random(services * each) < 0.5)
        followed.count(counts[None].astype(np.float64))
        totals = followed.totals.copy()

        followed.choose(anew=anew)

        service_of = keys.service[: len(totals)]
        services_held, moved = _given(services_held, np.bincount(service_of, weights=totals), anew=anew)
        keys_held[moved] = -1
        for place in range(MOST_SERVICES):
            mine = np.where(service_of == services_held[place], totals, 0.0)
            keys_held[place], _ = _given(keys_held[place], mine, anew=anew)
        assert followed.services.tolist() == services_held.tolist()
        assert followed.keys.tolist() == keys_held.tolist()


def _given(held: NDArray[np.int64], totals: NDArray[Any], *, anew: bool) -> tuple[NDArray[np.int64], list[bool]]:
    """The obvious way: those who may stay, then the busiest others from the first free place on."""
    busiest = [each for each in np.argsort(-totals, kind="stable").tolist() if totals[each] > 0.0][: len(held)]
    after = [each if not anew or each in busiest else -1 for each in held.tolist()]
    waiting = [each for each in busiest if each not in after]
    for place, each in enumerate(after):
        if each == -1 and waiting:
            after[place] = waiting.pop(0)
    return np.array(after), [old != new for old, new in zip(held.tolist(), after, strict=True)]
