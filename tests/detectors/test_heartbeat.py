"""What comes by the clock and did not come: when that is told, and when it must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.heartbeat import Heartbeat
from logllm.detectors.keys import Keys
from logllm.errors import StateError
from tests.detectors.counts import slices_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from logllm.detectors.slices import Slice
    from logllm.events import Anomaly

LEVEL = 1e-4


def _keys(count: int) -> Keys:
    keys = Keys()
    keys.number(np.zeros(count, np.int32), ["cron"], np.arange(count, dtype=np.int32))
    return keys


def _beating(windows: int, every: int, *, jitter: int = 0, wide: int = 1, traffic: bool = True) -> NDArray[np.float64]:
    """Counts of a job that writes for `wide` minutes each `every` minutes, beside a key that always comes."""
    source = np.random.default_rng(3)
    counts = np.zeros((windows, 2))
    for start in range(7, windows, every):
        at = start + (int(source.integers(0, jitter + 1)) if jitter else 0)
        counts[at : at + wide, 0] = 1.0
    if traffic:
        counts[:, 1] = 5.0
    return counts


def _run(heartbeat: Heartbeat, slices: Iterable[Slice], level: float = LEVEL) -> list[Anomaly]:
    found: list[Anomaly] = []
    for each in slices:
        found += heartbeat.judge(each, level)
        heartbeat.learn(each, np.zeros(each.counts.shape[1], np.bool_))
    return found


@pytest.mark.parametrize(("every", "jitter", "wide", "within"), [(60, 0, 1, 12), (60, 5, 3, 30), (1440, 20, 8, 240)])
def test_a_job_that_does_not_come_is_told_soon_and_until_it_comes(
    every: int, jitter: int, wide: int, within: int
) -> None:
    counts = _beating(13 * every, every, jitter=jitter, wide=wide)
    due = 7 + 10 * every
    counts[due - 5 : due + every - 5, 0] = 0.0

    found = _run(Heartbeat(_keys(2)), slices_of(counts))

    assert found
    assert {anomaly.key for anomaly in found} == {0}
    assert due < found[0].window <= due + jitter + within
    assert found[-1].window <= due + every + jitter
    assert found[0].expected == pytest.approx(every, rel=0.1)
    assert found[-1].seen - found[0].seen == found[-1].window - found[0].window


@pytest.mark.parametrize("every", [5, 15, 60, 720])
def test_what_comes_as_always_is_not_told(every: int) -> None:
    assert _run(Heartbeat(_keys(2)), slices_of(_beating(30 * every, every, jitter=every // 8, wide=1))) == []


def test_what_comes_at_any_time_is_not_watched() -> None:
    source = np.random.default_rng(5)
    counts = np.ones((20_000, 41))
    counts[:, :40] = source.random((20_000, 40)) < np.linspace(0.002, 0.15, 40)

    assert len(_run(Heartbeat(_keys(41)), slices_of(counts))) == 0


def test_while_everything_is_silent_no_single_job_is_missed() -> None:
    counts = _beating(13 * 60, 60)
    counts[10 * 60 : 12 * 60] = 0.0

    assert _run(Heartbeat(_keys(2)), slices_of(counts)) == []


def test_behind_a_gap_nothing_is_overdue() -> None:
    heartbeat = Heartbeat(_keys(2))
    _run(heartbeat, slices_of(_beating(10 * 60, 60)))

    later = slices_of(_beating(60, 10_000, traffic=True), first=3_000, gap=2_400)

    assert _run(heartbeat, later) == []


def test_a_new_clock_is_learned_after_three_beats() -> None:
    counts = np.vstack([_beating(20 * 60, 60), _beating(40 * 120, 120)])

    found = _run(Heartbeat(_keys(2)), slices_of(counts))

    assert found
    assert found[-1].window < 20 * 60 + 5 * 120


def test_a_service_key_that_merges_is_watched_under_its_new_number() -> None:
    heartbeat = Heartbeat(_keys(3))
    counts = np.hstack([_beating(10 * 60, 60), np.zeros((600, 1))])
    _run(heartbeat, slices_of(counts))

    heartbeat.merge(0, 2)
    found = _run(heartbeat, slices_of(np.tile([[0.0, 5.0, 0.0]], (120, 1)), first=600))

    assert {anomaly.key for anomaly in found} == {2}


def test_a_forgotten_key_is_missed_by_nobody() -> None:
    heartbeat = Heartbeat(_keys(2))
    _run(heartbeat, slices_of(_beating(10 * 60, 60)))

    heartbeat.forget([0])

    assert _run(heartbeat, slices_of(np.tile([[0.0, 5.0]], (200, 1)), first=600)) == []


def _overdue() -> NDArray[np.float64]:
    """Two jobs that miss a while, the second often enough to be late twice within a block."""
    counts = np.hstack([_beating(390, 30, jitter=2), _beating(390, 5)[:, :1]])
    counts[300:340, 0] = counts[200:207, 2] = counts[209:217, 2] = 0.0
    return counts


@settings(max_examples=30)
@given(st.lists(st.integers(1, 389), max_size=8), st.integers(1, 25))
def test_neither_cuts_nor_restarts_change_what_is_told(cuts: list[int], restart: int) -> None:
    whole = _run(Heartbeat(_keys(3)), slices_of(_overdue()))
    slices = slices_of(_overdue(), cuts=cuts)
    restart = min(restart, len(slices))
    first, second = Heartbeat(_keys(3)), Heartbeat(_keys(3))

    found = _run(first, slices[:restart])
    second.restore(msgpack.unpackb(msgpack.packb(first.state())))
    found += _run(second, slices[restart:])

    assert whole
    assert found == whole


def test_the_order_of_keys_does_not_matter() -> None:
    counts = np.hstack([_overdue(), _beating(390, 45)])
    there = _run(Heartbeat(_keys(5)), slices_of(counts))
    back = _run(Heartbeat(_keys(5)), slices_of(counts[:, ::-1]))

    assert sorted((one.window, one.key, one.surprise) for one in there) == sorted(
        (one.window, 4 - one.key, one.surprise) for one in back
    )


@pytest.mark.parametrize("damage", [{"mean": {}}, {"gaps": "short"}])
def test_a_damaged_state_is_refused(damage: dict[str, Any]) -> None:
    heartbeat = Heartbeat(_keys(3))
    _run(heartbeat, slices_of(_overdue()))
    state = heartbeat.state()
    if "gaps" in damage:
        other = Heartbeat(_keys(1))
        _run(other, slices_of(_overdue()[:, :1]))
        damage = {"gaps": other.state()["gaps"]}

    with pytest.raises(StateError):
        Heartbeat(_keys(2)).restore(state | damage)
