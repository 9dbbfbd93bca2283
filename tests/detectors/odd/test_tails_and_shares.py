"""What turns scores into probabilities, and shares into deviations, against what it should be by construction."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.odd.followed import MOST_SERVICES
from logllm.detectors.odd.shares import Shares
from logllm.detectors.odd.tails import KEPT_BLOCKS, LEAST_BLOCKS, Tails
from logllm.detectors.packing import pack_array
from logllm.detectors.slices import BLOCK
from logllm.errors import StateError


def _filled(blocks: int, seed: int = 1) -> Tails:
    tails = Tails()
    source = np.random.default_rng(seed)
    for row in source.exponential(10.0, (blocks, MOST_SERVICES)):
        tails.append(row)
    return tails


def _at(tails: Tails, score: float) -> float:
    return float(tails.probability(np.full((1, MOST_SERVICES), score))[0, 0])


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
@settings(max_examples=50, deadline=None)
def test_a_higher_score_is_never_likelier(scores: list[float]) -> None:
    tails = _filled(200)

    found = tails.probability(np.tile(np.sort(scores)[:, None], (1, MOST_SERVICES)))

    assert ((found > 0.0) | (found == 0.0)).all()
    assert (np.diff(found, axis=0) <= 1e-12).all()
    assert (found <= 1.0).all()


def test_the_probability_of_a_window_is_that_of_its_block_shared_out() -> None:
    tails = _filled(400)
    middle = float(np.median(tails.highest[:, 0]))

    assert _at(tails, middle) == pytest.approx(0.5 / BLOCK, rel=0.05)


def test_a_few_troubled_blocks_hardly_move_the_tail() -> None:
    clean, troubled = _filled(400), _filled(400)
    for _ in range(8):
        troubled.append(np.full(MOST_SERVICES, 1e6))

    assert np.log(_at(troubled, 150.0)) == pytest.approx(np.log(_at(clean, 150.0)), rel=0.2)


def test_a_service_with_less_than_a_day_of_blocks_says_nothing() -> None:
    tails = _filled(LEAST_BLOCKS - 1)

    assert not tails.ready.any()
    assert _at(tails, 1e9) == 1.0


def test_only_a_week_is_kept() -> None:
    tails = _filled(KEPT_BLOCKS + 50)

    assert len(tails.highest) == KEPT_BLOCKS


def test_tails_round_trip() -> None:
    tails, restored = _filled(100), Tails()

    restored.restore(msgpack.unpackb(msgpack.packb(tails.state())))

    assert restored.state() == tails.state()
    assert _at(restored, 33.0) == _at(tails, 33.0)


def test_tails_of_another_shape_are_refused() -> None:
    with pytest.raises(StateError, match="highest"):
        Tails().restore({"highest": pack_array(np.zeros((4, 2), np.float32))})


def _learned(blocks: int = 60) -> Shares:
    source = np.random.default_rng(1)
    shares = Shares(2, (1, 5, 15))
    for _ in range(blocks):
        whole = source.negative_binomial(4, 4 / 104, (15, 2)).astype(np.float64)
        part = source.binomial(whole.astype(np.int64), [0.5, 0.1]).astype(np.float64)
        shares.learn(part, whole, np.ones(2, np.bool_), 4.0)
    return shares


def test_a_share_is_learned_however_wild_the_counts_are() -> None:
    assert _learned().share() == pytest.approx([0.5, 0.1], abs=0.01)


def test_deviations_of_a_share_have_a_spread_of_about_one() -> None:
    shares = _learned()
    source = np.random.default_rng(2)
    whole = source.negative_binomial(4, 4 / 104, (4000, 2)).astype(np.float64)
    part = source.binomial(whole.astype(np.int64), [0.5, 0.1]).astype(np.float64)

    off = shares.off(part[None], whole[None])[0]

    assert off.std(axis=0) == pytest.approx([1.0, 1.0], abs=0.35)


def test_a_share_that_halves_stands_out_where_neither_count_does() -> None:
    shares = _learned()

    off = shares.off(np.array([[[125.0, 50.0]]]), np.array([[[500.0, 500.0]]]))[1, 0]

    assert off[0] < -5.0
    assert abs(off[1]) < 1.0


def test_pairs_that_are_held_back_or_cleared_say_nothing_new() -> None:
    shares = _learned()
    before = shares.share()

    shares.learn(np.full((15, 2), 50.0), np.full((15, 2), 50.0), np.zeros(2, np.bool_), 4.0)
    held = shares.share()
    shares.clear(np.array([True, False]))

    assert (held == before).all()
    assert shares.off(np.array([[[90.0, 90.0]]]), np.array([[[100.0, 100.0]]]))[0, 0, 0] == 0.0
    assert shares.share()[1] == before[1]


def test_shares_round_trip_and_others_are_refused() -> None:
    shares, restored = _learned(), Shares(2, (1, 5, 15))

    restored.restore(msgpack.unpackb(msgpack.packb(shares.state())))

    assert restored.state() == shares.state()
    with pytest.raises(StateError, match="part"):
        Shares(3, (1, 5, 15)).restore(shares.state())
