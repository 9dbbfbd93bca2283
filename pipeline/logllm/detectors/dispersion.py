"""How much more counts vary than a Poisson process does: estimated for each key, from all keys where it cannot tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.rises import SPANS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NO_FLEET", "PRIOR_PHI", "dispersions", "lasting", "negative_binomial_tail"]

PRIOR_PHI = 0.3
"""The tails of young keys are calibrated by this and the next two."""

_PRIOR_SQUARES = 0.05
_PRIOR_WINDOWS = 60.0
_MIN_PHI = 0.02

# Of sums: at least that of independent windows, and until enough keys tell, between those and windows all alike.
_INDEPENDENT = np.array([1.0 / windows for windows in SPANS], np.float32)
NO_FLEET = np.sqrt(_INDEPENDENT)
_TELLING_KEYS, _TELLING_WINDOWS, _TELLING_SQUARES = 8, 1000, 0.5


def negative_binomial_tail(
    count: NDArray[np.float64], mean: NDArray[np.float64], phi: NDArray[np.float64]
) -> NDArray[np.float64]:
    """P(X >= count) for a negative binomial of this mean and variance `mean + phi * mean**2`.

    Shapes:
        count, mean, phi: float64[k], count >= 0, mean > 0, phi > 0.
        returns: float64[k], 1.0 where count is 0.

    >>> import numpy as np
    >>> p = negative_binomial_tail(np.array([0.0, 3.0]), np.array([1.0, 1.0]), np.array([1e-6, 1e-6]))
    >>> [round(float(x), 4) for x in p]   # the Poisson limit: 1 - exp(-1) * (1 + 1 + 1/2)
    [1.0, 0.0803]
    """
    from scipy.special import betainc

    tail = np.ones(len(count))
    some = count > 0
    if some.any():
        mean_s, phi_s = mean[some], phi[some]
        tail[some] = betainc(count[some], 1.0 / phi_s, phi_s * mean_s / (1.0 + phi_s * mean_s))
    return tail


def lasting(
    excess: NDArray[np.float32], squares: NDArray[np.float32], seen: NDArray[np.float64]
) -> NDArray[np.float32]:
    """float32[len(SPANS)]: dispersion of sums as a part of that of one window, the median of the keys that can tell."""
    telling = squares > _TELLING_SQUARES
    telling &= (seen > _TELLING_WINDOWS) & (excess[0] > _MIN_PHI * squares)
    if np.count_nonzero(telling) < _TELLING_KEYS:
        return NO_FLEET.copy()
    ratio = np.median(excess[:, telling] / excess[0, telling], axis=1)
    return np.asarray(np.clip(ratio, _INDEPENDENT, 1.0), np.float32)


def dispersions(
    excess: NDArray[np.float32],
    squares: NDArray[np.float32],
    seen: NDArray[np.float64],
    lasting: NDArray[np.float32],
) -> NDArray[np.float32]:
    """What was found, drawn to the prior where it rests on few records or few windows.

    Shapes:
        excess: float32[len(SPANS), k], mean of (sum - mean)^2 - mean over the square of the span. squares: float32[k],
            mean square of the mean. seen: float64[k], windows they rest on. lasting: as `lasting` gives it.
        returns: float32[len(SPANS), k].
    """
    weight = _PRIOR_SQUARES + squares * _PRIOR_WINDOWS / np.maximum(seen, 1.0)
    phi = np.empty_like(excess)
    for span, least in enumerate(_INDEPENDENT):
        prior = lasting[span] * phi[0] if span else PRIOR_PHI
        phi[span] = np.clip((excess[span] + weight * prior) / (squares + weight), least * _MIN_PHI, 50.0)
    return phi
