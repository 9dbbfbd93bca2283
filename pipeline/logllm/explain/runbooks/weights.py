"""What each sign of a runbook weighs: log-odds against "none fits", fitted on labelled excerpts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.explain.runbooks.signals import Shown

__all__ = ["WEIGHTS", "features", "log_odds"]

_BM25_SCALE = 20.0
_MEANT_SCALE = 4.0

# Printed by tests/bench/fit_runbooks.py.
WEIGHTS = (-8.82, 0.0, 2.9, 0.82, 0.82, 5.03, 0.8, 2.89, 2.35, 0.89)


def features(shown: Shown, bm25: float, top: float) -> tuple[float, ...]:
    """A candidate's signs in the order of `WEIGHTS`; `top` is the largest BM25 of the search."""
    return (
        1.0,
        shown.best,
        shown.first,
        shown.more,
        shown.order,
        bm25 / top if top > 0.0 else 0.0,
        min(2.0, bm25 / _BM25_SCALE),
        shown.meant / _MEANT_SCALE,
        shown.worded,
        shown.trouble,
    )


def log_odds(signs: Sequence[float]) -> float:
    """Above 0: rather this runbook than none."""
    return sum(weight * sign for weight, sign in zip(WEIGHTS, signs, strict=True))
