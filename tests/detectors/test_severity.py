"""Laws of the severity shift, and what it must find and must not."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from logllm.detectors.packing import pack_array
from logllm.detectors.rises import SPANS
from logllm.detectors.severity import REBASE_BLOCKS, SeverityShift, ShiftScores
from logllm.detectors.slices import BLOCK, Slice
from logllm.errors import StateError
from tests.detectors.counts import slices_of

FIELDS = ("tail", "span", "errors", "expected")


def _traffic(
    windows: int, records: float, share: float, seed: int = 1, services: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    source = np.random.default_rng(seed)
    counts = source.poisson(records, (windows, services)).astype(np.float64)
    return counts, source.binomial(counts.astype(np.int64), share).astype(np.float64)


def _run(shift: SeverityShift, slices: list[Slice], odd: bool = False) -> list[ShiftScores]:
    found = []
    for each in slices:
        services = each.counts.shape[1]
        service = np.arange(services, dtype=np.int32)
        shift.enter(each, services)
        scores = shift.score(each, service)
        shift.learn(each, service, np.full(services, odd))
        found.append(scores)
    return found


def _learned(share: float = 0.02, services: int = 1, blocks: int = 60) -> SeverityShift:
    counts, severe = _traffic(blocks * BLOCK, 100.0, share, services=services)
    shift = SeverityShift()
    _run(shift, slices_of(counts, severe=severe))
    return shift


def _joined(scores: list[ShiftScores], field: str) -> NDArray[Any]:
    return np.concatenate([getattr(each, field) for each in scores])


_TABLES = st.lists(
    st.tuples(st.sampled_from([0, 1, 20, 5_000]), st.sampled_from([0.0, 0.01, 0.5, 1.0])), min_size=1, max_size=40
).map(lambda rows: (np.array([[n] for n, _ in rows]), np.array([[int(n * share)] for n, share in rows])))


@given(_TABLES, st.booleans())
@settings(max_examples=50, deadline=None)
def test_scores_are_finite_and_tails_are_probabilities(tables: tuple[NDArray[Any], NDArray[Any]], gap: bool) -> None:
    counts, severe = tables

    scores = _run(_learned(blocks=4), slices_of(counts, severe=severe, first=60, gap=int(gap)))

    tail = _joined(scores, "tail")
    assert ((tail >= 0) & (tail <= 1)).all()
    for field in FIELDS:
        assert np.isfinite(_joined(scores, field)).all()


@given(_TABLES, st.lists(st.integers(0, 40), max_size=6))
@settings(max_examples=50, deadline=None)
def test_nothing_depends_on_how_a_block_is_cut_into_slices(
    tables: tuple[NDArray[Any], NDArray[Any]], cuts: list[int]
) -> None:
    counts, severe = tables
    whole, cut = _learned(blocks=4), _learned(blocks=4)

    one = _run(whole, slices_of(counts, severe=severe, first=60))
    two = _run(cut, slices_of(counts, severe=severe, first=60, cuts=cuts))

    for field in FIELDS:
        assert np.allclose(_joined(one, field), _joined(two, field)), field
    assert np.allclose(whole.share(), cut.share())


@given(_TABLES)
@settings(max_examples=30, deadline=None)
def test_scoring_changes_nothing(tables: tuple[NDArray[Any], NDArray[Any]]) -> None:
    shift = _learned(blocks=4)
    (each, *_) = slices_of(tables[0], severe=tables[1], first=60)
    shift.enter(each, 1)
    before = shift.state()

    first = shift.score(each, np.zeros(1, np.int32))
    second = shift.score(each, np.zeros(1, np.int32))

    assert shift.state() == before
    assert all(np.array_equal(getattr(first, field), getattr(second, field)) for field in FIELDS)


@given(st.permutations(range(4)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_services_is_irrelevant(order: list[int]) -> None:
    counts, severe = _traffic(100, 50.0, 0.02, services=4)
    severe[95:, 2] += 30
    counts[95:, 2] += 30

    straight = _run(SeverityShift(), slices_of(counts, severe=severe))
    mixed = _run(SeverityShift(), slices_of(counts[:, order], severe=severe[:, order]))

    assert np.allclose(_joined(straight, "tail")[:, order], _joined(mixed, "tail"))


def test_a_state_round_trips_and_scores_stay_equal() -> None:
    saved, restored = _learned(services=3, blocks=5), SeverityShift()
    counts, severe = _traffic(40, 100.0, 0.3, services=3, seed=5)

    restored.restore(msgpack.unpackb(msgpack.packb(saved.state())))
    one = _run(saved, slices_of(counts, severe=severe, first=75))
    two = _run(restored, slices_of(counts, severe=severe, first=75))

    assert restored.state() == saved.state()
    assert np.array_equal(_joined(one, "tail"), _joined(two, "tail"))


def test_a_share_that_grows_is_found_with_the_errors_of_its_span() -> None:
    shift = _learned(share=0.02)
    counts = np.full((15, 1), 100.0)
    severe = np.full((15, 1), 12.0)

    scores = _run(shift, slices_of(counts, severe=severe, first=60 * BLOCK, cuts=range(15)))

    at = int(_joined(scores, "tail")[:, 0].argmin())
    span = SPANS[int(_joined(scores, "span")[at, 0])]
    assert _joined(scores, "tail").min() < 1e-4
    assert _joined(scores, "errors")[at, 0] == 12.0 * span
    assert _joined(scores, "expected")[at, 0] == pytest.approx(0.02 * 100.0 * span, rel=0.2)


def test_a_busy_hour_with_the_usual_share_of_errors_is_nothing() -> None:
    shift = _learned(share=0.02)
    counts, severe = _traffic(30, 5_000.0, 0.02, seed=8)

    scores = _run(shift, slices_of(counts, severe=severe, first=60 * BLOCK))

    assert _joined(scores, "tail").min() > 1e-3


def test_a_service_unknown_till_now_says_nothing() -> None:
    scores = _run(SeverityShift(), slices_of(np.full((29, 1), 50.0), severe=np.full((29, 1), 50.0)))

    assert (_joined(scores, "tail") == 1.0).all()


def test_what_is_odd_does_not_train_until_it_has_lasted_long_enough_to_be_normal() -> None:
    shift = _learned(share=0.02)
    usual = float(shift.share()[0])
    counts, severe = np.full((BLOCK, 1), 100.0), np.full((BLOCK, 1), 40.0)

    for block in range(REBASE_BLOCKS):
        _run(shift, slices_of(counts, severe=severe, first=(60 + block) * BLOCK), odd=True)
    held = float(shift.share()[0])
    for block in range(60):
        _run(shift, slices_of(counts, severe=severe, first=(70 + block) * BLOCK), odd=True)

    assert held == usual
    assert float(shift.share()[0]) > 0.2


def test_no_sum_reaches_over_a_gap() -> None:
    shift = _learned(share=0.02)
    before = slices_of(np.full((15, 1), 100.0), severe=np.full((15, 1), 5.0), first=60 * BLOCK)
    after = slices_of(np.full((1, 1), 100.0), severe=np.full((1, 1), 5.0), first=90 * BLOCK, gap=400)

    _run(shift, before)
    scores = _run(shift, after)

    assert _joined(scores, "tail")[0, 0] == 1.0


def test_a_state_whose_arrays_do_not_fit_is_refused() -> None:
    state = _learned(blocks=2).state()
    state["_errors"] = pack_array(np.zeros(9))

    with pytest.raises(StateError, match="_errors"):
        SeverityShift().restore(state)
