"""What each sign of a runbook weighs: log-odds against "none fits", fitted on labelled excerpts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.explain.runbooks.signals import Shown

__all__ = ["WEIGHTS", "features", "log_odds"]

_BM25_SCALE = 20.0

WEIGHTS = (-7.91, 0.64, 2.38, 0.75, 0.8, 3.95, 1.03, 2.79, 1.3, 0.78)


def features(shown: Shown, bm25: float, top: float) -> list[float]:
    """A candidate's signs in the order of `WEIGHTS`; `top` is the largest BM25 of the search."""
    return [
        1.0,
        shown.best,
        shown.first,
        shown.more,
        shown.order,
        bm25 / top if top > 0.0 else 0.0,
        min(2.0, bm25 / _BM25_SCALE),
        shown.meant / 4.0,
        shown.worded,
        shown.trouble,
    ]


def log_odds(signs: Sequence[float]) -> float:
    """Above 0: rather this runbook than none."""
    return sum(weight * sign for weight, sign in zip(WEIGHTS, signs, strict=True))
