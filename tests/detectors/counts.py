"""Slices made by hand, and what runs over them."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.slices import BLOCK, Slice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from logllm.detectors.rate import Rate, RateScores
    from logllm.detectors.windows import Windows

__all__ = ["MINUTE_NS", "add", "counted", "run_rate", "slices_of"]

MINUTE_NS = 60_000_000_000


def slices_of(
    counts: NDArray[Any],
    *,
    first: int = 0,
    severe: NDArray[Any] | None = None,
    cuts: Iterable[int] = (),
    gap: int = 0,
    live: bool = False,
) -> list[Slice]:
    """Windows from `first` on as slices: cut at the ends of blocks, and before the rows in `cuts`.

    Shapes:
        counts, severe: [windows, keys].
    """
    counts = np.asarray(counts, np.float64)
    if not len(counts):
        return []
    severe = np.zeros_like(counts) if severe is None else np.asarray(severe, np.float64)
    ends = {row for row in range(1, len(counts)) if (first + row) % BLOCK == 0 or row in set(cuts)} | {len(counts)}
    slices = []
    start = 0
    for end in sorted(ends):
        whole = (first + end) % BLOCK == 0
        slices.append(Slice(first + start, counts[start:end], severe[start:end], 0 if start else gap, whole, live))
        start = end
    return slices


def run_rate(rate: Rate, slices: Iterable[Slice], odd: NDArray[np.bool_] | None = None) -> list[RateScores]:
    """Enter, score and learn each slice; returns the scores."""
    found = []
    for each in slices:
        rate.enter(each)
        scores = rate.score(each)
        rate.learn(each, scores, np.zeros(each.counts.shape[1], np.bool_) if odd is None else odd)
        found.append(scores)
    return found


def add(windows: Windows, records: list[tuple[int, int, bool]], keys: int = 4, cuts: Iterable[int] = ()) -> list[Slice]:
    """Records (ns, key, severe) in chunks that begin at `cuts`."""
    slices: list[Slice] = []
    edges = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    for start, end in itertools.pairwise(edges):
        part = records[start:end]
        times = np.array([ns for ns, _, _ in part], np.int64)
        numbers = np.array([key for _, key, _ in part], np.int32)
        severe = np.array([bad for _, _, bad in part], np.bool_)
        slices += windows.add(times, numbers, severe, keys)
    return slices


def counted(slices: Iterable[Slice]) -> Counter[tuple[int, int, str]]:
    """(window, key, "records" or "severe") -> how many, zeros left out."""
    found: Counter[tuple[int, int, str]] = Counter()
    for each in slices:
        for name, table in (("records", each.counts), ("severe", each.severe)):
            for row, key in zip(*np.nonzero(table), strict=True):
                found[each.first + int(row), int(key), name] += int(table[row, key])
    return found
