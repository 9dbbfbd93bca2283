"""Records of a chunk that are equal but for their time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logllm.sinks.reduce.count import tail_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["equals"]


def equals(
    block: bytes, rows: NDArray[np.int64], keys: NDArray[np.int32], at: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[list[int], list[int]]:
    """Of some rows of a block, those that are equal to an earlier one, and for each the first that it is equal to.

    Only those of one key and one size are compared; metadata must be equal too.

    Shapes:
        rows: int64[m], ascending, index into the others.
    """
    pairs = keys[rows].astype(np.int64) << 32 | sizes[rows]
    _, which, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    later: list[int] = []
    firsts: list[int] = []
    seen: dict[bytes, int] = {}
    candidates = rows[counts[which] > 1]
    for row, start, size in zip(candidates.tolist(), at[candidates].tolist(), sizes[candidates].tolist(), strict=True):
        entry = block[start : start + size]
        first = seen.setdefault(entry[tail_at(entry) :], row)
        if first != row:
            later.append(row)
            firsts.append(first)
    return later, firsts
