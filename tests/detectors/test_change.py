"""Laws of the change point, what it must find, how soon, and what it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from logllm.detectors.change import MOST_KEYS, MOST_SERVICES, TOLD_A_DAY, ChangePoint
from logllm.detectors.keys import Keys
from logllm.detectors.packing import pack_array
from logllm.detectors.slices import BLOCK, Slice
from logllm.errors import StateError
from logllm.events import Anomaly, Severity
from tests.detectors.counts import slices_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

DAY = 1440
LEVEL = 1e-6


def _keys(services: int, keys_each: int = 1) -> Keys:
    keys = Keys()
    for service in range(services):
        templates = np.arange(keys_each, dtype=np.int32) + service * keys_each
        keys.number(np.zeros(keys_each, np.int32), [f"service-{service}"], templates)
    return keys


def _traffic(
    windows: int, rates: NDArray[np.float64], seed: int = 1, depth: float = 0.6, phi: float = 0.3
) -> NDArray[np.float64]:
    """Counts with a daily sine of a phase of its own for each key, negative binomial."""
    source = np.random.default_rng(seed)
    at = np.arange(windows)[:, None]
    mean = rates * (1.0 + depth * np.sin(2 * np.pi * (at / DAY + source.random(len(rates)))))
    return source.negative_binomial(1.0 / phi, 1.0 / (1.0 + phi * mean)).astype(np.float64)


def _changed(rate: float, times: float, seed: int = 1, days: int = 6, keys: int = 8) -> tuple[NDArray[np.float64], int]:
    """Counts whose mean is multiplied on the fifth day, for good."""
    at = 4 * DAY + 700
    before = _traffic(at, np.full(keys, rate), seed, depth=0.4)
    after = _traffic(days * DAY, np.full(keys, rate * times), seed, depth=0.4)[at:]
    return np.concatenate([before, after]), at


def _run(
    change: ChangePoint, slices: Iterable[Slice], held: NDArray[np.bool_] | None = None, level: float = LEVEL
) -> list[Anomaly]:
    found: list[Anomaly] = []
    for each in slices:
        found += change.judge(each, level)
        change.learn(each, np.zeros(each.counts.shape[1], np.bool_) if held is None else held)
    return found


def test_daily_seasons_of_two_hundred_keys_give_at_most_one_false_change_a_day() -> None:
    rates = np.exp(np.random.default_rng(5).uniform(np.log(0.1), np.log(300.0), 200))
    change = ChangePoint(_keys(1, 200))

    found = _run(change, slices_of(_traffic(14 * DAY, rates)))

    assert len(found) + change.untold <= 7


def test_a_spike_of_three_quarters_of_an_hour_is_no_new_level() -> None:
    counts = _traffic(6 * DAY, np.full(8, 20.0))
    counts[5 * DAY + 100 : 5 * DAY + 145] *= 10.0

    assert _run(ChangePoint(_keys(8)), slices_of(counts)) == []


@pytest.mark.parametrize(
    ("rate", "times", "minutes"),
    [(1.0, 2.0, 300), (10.0, 2.0, 120), (10.0, 0.5, 180), (10.0, 1.3, 780), (100.0, 2.0, 120), (100.0, 0.5, 180)],
)
def test_a_level_that_changes_for_good_is_told_once_with_the_old_and_the_new(
    rate: float, times: float, minutes: int
) -> None:
    counts, at = _changed(rate, times)
    change = ChangePoint(_keys(8), told_a_day=100)

    found = _run(change, slices_of(counts))

    services = [each.service for each in found]
    assert len(set(services)) >= 7
    assert len(services) == len(set(services))
    for each in found:
        assert 0 < each.window - at <= minutes
        assert each.seen / each.expected == pytest.approx(times, rel=0.35)
        assert abs(each.window - each.span - at) <= 90
        assert each.severity == Severity.INFO
        assert each.kind == "change"


def test_the_total_of_a_service_speaks_for_its_keys() -> None:
    counts = _traffic(6 * DAY, np.full(4, 30.0), depth=0.2)
    counts[4 * DAY + 60 :] *= 2.0

    (told,) = _run(ChangePoint(_keys(1, 4)), slices_of(counts))

    assert told.about == "all records"
    assert told.service == 0
    assert told.keys
    assert told.seen / told.expected == pytest.approx(2.0, rel=0.2)


def test_keys_on_a_new_level_are_to_learn_for_a_block_and_their_ratio_is_given_once() -> None:
    counts, _ = _changed(50.0, 2.0, keys=2)
    change = ChangePoint(_keys(2))
    rebased: list[tuple[int, list[bool]]] = []
    ratios = []

    for each in slices_of(counts, cuts=range(0, len(counts), 5)):
        told = change.judge(each, LEVEL)
        if change.rebased(each).any():
            rebased.append((each.first, change.rebased(each).tolist()))
        ratios.append(change.ratios(each))
        assert bool(told) <= bool(change.rebased(each).any())
        change.learn(each, np.full(2, each.first > 4 * DAY))

    first = rebased[0][0]
    moved = np.array(ratios).prod(axis=0)
    assert first % BLOCK == 0
    assert [window for window, _ in rebased if window < first + BLOCK] == [first, first + 5, first + 10]
    assert moved == pytest.approx([2.0, 2.0], rel=0.2)


def test_after_a_change_the_new_level_is_normal_and_what_comes_then_is_a_change_of_it() -> None:
    counts, at = _changed(50.0, 3.0, keys=1, days=9)
    back = 7 * DAY
    counts[back:] = _traffic(len(counts), np.array([20.0]), depth=0.4)[back:]

    found = _run(ChangePoint(_keys(1)), slices_of(counts))

    assert [round(each.seen / each.expected, 1) > 1 for each in found] == [True, False]
    assert found[0].window > at
    assert back < found[1].window < back + 300


def test_a_weekend_is_known_from_the_second_one_on() -> None:
    counts = _traffic(23 * DAY, np.full(1, 60.0), depth=0.3)
    weekend = np.isin(np.arange(len(counts)) // DAY % 7, (5, 6))
    counts[weekend] = np.floor(counts[weekend] * 0.4)

    found = _run(ChangePoint(_keys(1)), slices_of(counts))

    assert {each.window // DAY for each in found} <= {5, 6, 7, 8}
    assert found


def _day(shape: str, hour: NDArray[np.float64]) -> NDArray[np.float64]:
    if shape == "office hours":
        return np.where((hour % 24.0 >= 8.0) & (hour % 24.0 < 18.0), 1.0, 0.05)
    wave: NDArray[np.float64] = 1.0 + 0.7 * np.sin(2 * np.pi * hour / 24.0)
    return wave


@pytest.mark.parametrize(("shape", "most"), [("office hours", 0), ("a wave", 1)])
@pytest.mark.parametrize("shift_h", [1.0, -1.0])
def test_a_day_that_comes_an_hour_early_or_late_is_no_new_level_and_is_learned(
    shape: str, most: int, shift_h: float
) -> None:
    minute, moved = np.arange(12 * DAY), 5 * DAY
    usual = _day(shape, minute / 60.0 + np.where(minute >= moved, shift_h, 0.0))
    mean = 20.0 * np.tile(usual[:, None], (1, 6))
    counts = np.random.default_rng(3).negative_binomial(5, 5 / (5 + mean)).astype(np.float64)
    change = ChangePoint(_keys(6), told_a_day=100)

    found = _run(change, slices_of(counts))

    assert len({each.service for each in found}) <= most
    last = slice(-DAY // BLOCK, None)
    assert np.nanmean(np.abs(change.levels.off[last])) < 1.0


def test_a_new_level_on_the_slope_of_a_day_is_told_within_that_day() -> None:
    minute = np.arange(7 * DAY)
    mean = 100.0 * np.tile(_day("a wave", minute / 60.0)[:, None], (1, 6))
    at = 5 * DAY + 15 * 60
    mean[at:] *= 1.4
    counts = np.random.default_rng(4).negative_binomial(5, 5 / (5 + mean)).astype(np.float64)

    found = _run(ChangePoint(_keys(6), told_a_day=100), slices_of(counts))

    assert {each.service for each in found} == set(range(6))
    assert all(0 < each.window - at < DAY for each in found)


def test_no_more_is_told_a_day_than_a_few_but_all_is_learned() -> None:
    counts, _ = _changed(100.0, 3.0, keys=8)
    change = ChangePoint(_keys(8))

    found = _run(change, slices_of(counts))

    assert len(found) == TOLD_A_DAY
    assert change.untold == 8 - TOLD_A_DAY


def test_held_keys_are_watched_too() -> None:
    counts, _ = _changed(50.0, 2.0, keys=1)
    change = ChangePoint(_keys(1))
    until = 4 * DAY + 690

    _run(change, slices_of(counts[:until]))
    found = _run(change, slices_of(counts[until:], first=until), held=np.ones(1, np.bool_))

    assert len(found) == 1


def _cut(counts: NDArray[np.float64], source: np.random.Generator) -> list[Slice]:
    return slices_of(counts, cuts=source.integers(0, len(counts), 900).tolist())


def test_nothing_depends_on_how_blocks_are_cut_into_slices() -> None:
    counts, _ = _changed(50.0, 2.0, keys=3)

    whole, cut = ChangePoint(_keys(3)), ChangePoint(_keys(3))
    one = _run(whole, slices_of(counts))
    two = _run(cut, _cut(counts, np.random.default_rng(2)))

    assert one
    assert one == two
    assert whole.state() == cut.state()


def test_a_restart_anywhere_changes_nothing() -> None:
    counts, _ = _changed(50.0, 2.0, keys=3)
    slices = _cut(counts, np.random.default_rng(4))
    straight = ChangePoint(_keys(3))
    expected = _run(straight, slices)

    change, found = ChangePoint(_keys(3)), []
    for at, each in enumerate(slices):
        if at % 97 == 0 or at > len(slices) - 300:
            saved = msgpack.unpackb(msgpack.packb(change.state()), strict_map_key=False)
            change = ChangePoint(_keys(3))
            change.restore(saved)
        found += _run(change, [each])

    assert expected
    assert found == expected
    assert change.state() == straight.state()


def test_judging_changes_nothing() -> None:
    counts, _ = _changed(50.0, 2.0, keys=1)
    change = ChangePoint(_keys(1))
    for each in slices_of(counts):
        before = change.state()
        if change.judge(each, LEVEL):
            break
        change.learn(each, np.zeros(1, np.bool_))

    assert change.judge(each, LEVEL) == change.judge(each, LEVEL) != []
    assert change.state() == before


def test_the_order_of_keys_is_irrelevant() -> None:
    counts, _ = _changed(50.0, 2.0, keys=4)
    counts[:, :] *= np.array([1.0, 2.0, 3.0, 5.0])
    order = [2, 0, 3, 1]

    straight = _run(ChangePoint(_keys(4)), slices_of(counts))
    mixed = _run(ChangePoint(_keys(4)), slices_of(counts[:, order]))

    def told(found: list[Anomaly], names: list[int]) -> list[tuple[int, int, int, float]]:
        return sorted((each.window, names[each.key], each.span, round(each.seen, 9)) for each in found)

    assert straight
    assert told(straight, [0, 1, 2, 3]) == told(mixed, order)


def test_however_many_keys_there_are_only_the_busiest_are_followed() -> None:
    many = 5 * MOST_KEYS
    counts = np.tile(np.arange(many, dtype=np.float64) % 7, (40, 1))
    change = ChangePoint(_keys(100, many // 100))

    _run(change, slices_of(counts))

    assert change.tested == MOST_KEYS + MOST_SERVICES


def test_a_gap_and_a_clock_that_goes_back_are_survived() -> None:
    counts, _ = _changed(20.0, 1.0, keys=2)
    change = ChangePoint(_keys(2))

    found = _run(change, slices_of(counts[: 2 * DAY + 7]))
    found += _run(change, slices_of(counts[:DAY], first=3 * DAY, gap=DAY - 7))
    found += _run(change, slices_of(counts[: 3 * DAY], first=0, gap=-1))

    assert found == []
    assert not np.isinf(np.nan_to_num(change.levels.off)).any()


def test_a_key_that_becomes_part_of_another_brings_no_new_level() -> None:
    counts, _ = _changed(40.0, 1.0, keys=2)
    change = ChangePoint(_keys(1, 2))
    until = 4 * DAY
    merged = np.stack([np.zeros(len(counts)), counts.sum(axis=1)], axis=1)

    _run(change, slices_of(counts[:until]))
    change.merge(0, 1)
    found = _run(change, slices_of(merged[until:], first=until))

    assert found == []


def test_a_forgotten_keys_number_starts_anew() -> None:
    counts, _ = _changed(40.0, 1.0, keys=1)
    change = ChangePoint(_keys(1))
    _run(change, slices_of(counts[: 3 * DAY]))

    change.forget([0])

    assert change.tested == 1  # the service
    assert np.isnan(change.levels.sums).sum() >= len(change.levels.blocks)


@pytest.mark.parametrize("name", ["ids", "fed", "candidate"])
def test_a_state_whose_arrays_do_not_fit_is_refused(name: str) -> None:
    change = ChangePoint(_keys(1))
    state: dict[str, Any] = change.state()
    state[name] = pack_array(np.zeros(3, np.int64))

    with pytest.raises(StateError):
        ChangePoint(_keys(1)).restore(state)


def test_a_damaged_state_is_refused() -> None:
    state: dict[str, Any] = ChangePoint(_keys(1)).state()
    del state["levels"]

    with pytest.raises(StateError, match="damaged"):
        ChangePoint(_keys(1)).restore(state)


def test_keys_may_merge_and_go_before_their_first_block_has_ended() -> None:
    keys = _keys(1, 4)
    change = ChangePoint(keys)
    _run(change, slices_of(np.ones((3, 4))))

    change.merge(0, 1)
    change.forget([2])

    assert _run(change, slices_of(np.ones((BLOCK, 4)))) == []
