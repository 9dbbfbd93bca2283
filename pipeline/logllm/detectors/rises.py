"""Is a sum better explained by a rise? One likelihood ratio over all spans, instead of a tail for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HISTORY", "MIN_SPIKE", "SPANS", "rise_tails"]

SPANS = (1, 5, 9, 15)
"""Sums are judged over this many windows: one window sees the tall spike, fifteen the long low one."""

HISTORY = max(SPANS) - 1
"""Windows before the one judged that the longest sum reaches back to."""

MIN_SPIKE = 5
"""Records that a sum must hold to be worth a test: three of them are news, not a rate."""

_WEIGHTS = tuple(weight / 2.6 for weight in (0.1, 1.0, 1.0, 0.5))
"""Belief in a rise of each length: one window alone is a fluke more often than news, and must say more."""

_RISES = (3.0, 5.0, 9.0, 30.0)
"""Times the usual that a rise is imagined to be; what lies between or above is seen by its neighbours."""

_CHANCE = 0.02
"""Runs of windows above a ratio of A begin by chance this many times as often as 1 / A, the bound that holds for any
mixture: measured on independent negative binomial counts of 0.05 to 120 a window."""

_LARGEST = 650.0
"""exp() of more than this is no number."""


def rise_tails(
    totals: NDArray[np.float64], mean: NDArray[np.float64], phi: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How improbable the sums of a key are, all spans together, and the span that says most.

    The statistic is the weighted mean, over spans and over rises, of the likelihood ratio of the sum under that rise
    to the sum as usual. Under what is usual its expectation is 1, so it exceeds A with probability 1 / A at most,
    whatever the dependence between the spans (Ville; see Vovk and Wang, E-values, 2021). Where a tail gives every key
    the same chance of a false alert, a ratio gives it to those keys on which a rise would show: at one rate of false
    alerts it finds the most (Neyman and Pearson). It relies on mean and dispersion being right; falls are not seen.

    Shapes:
        totals: float64[len(SPANS), n], records in each span. mean: float64[n], of one window, > 0.
        phi: float64[len(SPANS), n], dispersion of the sums over each span, > 0.
        returns: float64[n] in (0, 1], and int64[n], index into SPANS.

    >>> import numpy as np
    >>> calm, wild = np.array([4.0, 20, 36, 60]), np.array([16.0, 70, 86, 110])
    >>> tails, spans = rise_tails(np.stack([calm, wild], 1), np.full(2, 4.0), np.full((4, 2), 0.1))
    >>> bool(tails[0] > 0.01), bool(tails[1] < 1e-4), SPANS[spans[1]]
    (True, True, 5)
    """
    evidence = np.zeros(totals.shape)
    for span, windows in enumerate(SPANS):
        size = 1.0 / phi[span]
        usual = windows * mean
        odds = usual / (size + usual)
        both = totals[span] + size
        for rise in _RISES:
            ratio = totals[span] * np.log(rise) - both * np.log1p(odds * (rise - 1.0))
            evidence[span] += np.exp(np.minimum(ratio, _LARGEST))
        evidence[span] *= _WEIGHTS[span] / len(_RISES)
    ratio = evidence.sum(axis=0)
    tails: NDArray[np.float64] = np.minimum(_CHANCE / np.maximum(ratio, _CHANCE), 1.0)
    return tails, evidence.argmax(axis=0)
