"""HyperLogLog against the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from logllm.detectors.values.hyperloglog import REGISTERS, RELATIVE_ERROR, add, distinct, hashes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sketch(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    found = np.zeros((1, REGISTERS), np.uint8)
    add(found, np.zeros(len(hashes), np.int64), hashes)
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 10, 100, 1_000, 2_500, 5_000, 10_000, 100_000, 1_000_000])
def test_an_estimate_is_within_three_standard_errors(count: int) -> None:
    # Hashing is tested below; a million texts would take a second.
    hashes = np.random.default_rng(count).integers(0, 2**64, count, dtype=np.uint64)
    if count <= 10_000:
        hashes = hashes_of(f"user-{number}" for number in range(count))

    estimate = float(distinct(sketch(hashes))[0])

    assert abs(estimate - count) <= 3 * RELATIVE_ERROR * count + 0.02


def test_estimates_are_unbiased_where_linear_counting_ends() -> None:
    rng = np.random.default_rng(3)

    errors = [float(distinct(sketch(rng.integers(0, 2**64, 3_000, dtype=np.uint64)))[0]) / 3_000 - 1 for _ in range(60)]

    assert abs(np.mean(errors)) < 3 * RELATIVE_ERROR / np.sqrt(60)
    assert np.std(errors) < 1.3 * RELATIVE_ERROR


def test_repetition_order_and_merging_make_no_difference() -> None:
    hashes = hashes_of(f"w{number}" for number in range(500))
    halves = np.maximum(sketch(hashes[250:]), sketch(hashes[:300]))

    assert np.array_equal(sketch(np.concatenate([hashes[::-1], hashes])), halves)


def test_hashes_are_the_same_in_every_process() -> None:
    assert hashes_of(["ann", "\ud800", ""]).tolist() == [
        16671475741577407222,
        hashes_of(["\ud800"])[0],
        16294208416658607535,
    ]
