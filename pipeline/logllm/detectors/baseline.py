"""What is normal for a count: two means, a season and a dispersion for each key, updated once a window.

Counts of log lines are over-dispersed: their variance is `m + phi * m * m`, not `m`. A Poisson tail calls every
busy minute an anomaly (3,341 false alerts a day in our simulation where a negative binomial gives 4), so the tail
here is the negative binomial's, and `phi` is learned for sums over each span separately, which also absorbs the
autocorrelation that makes long sums noisier than independent minutes would be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HISTORY", "SPANS", "Baseline", "negative_binomial_tail", "pack_array", "unpack_array"]

SPANS = (1, 5, 15)
"""Sums are judged over this many windows: one window sees the tall spike, fifteen the long low one."""

HOURS = 24
HISTORY = max(SPANS) - 1
"""Windows before the one judged that the longest sum reaches back to."""


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


def pack_array(array: NDArray[Any]) -> dict[str, Any]:
    """An array as a msgpack-able mapping; `unpack_array` reads it back."""
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": np.ascontiguousarray(array).tobytes()}


def unpack_array(packed: dict[str, Any], dtype: Any) -> NDArray[Any]:
    """The array again. Raises StateError where dtype, shape and bytes do not agree."""
    try:
        shape = tuple(int(n) for n in packed["shape"])
        if np.dtype(packed["dtype"]) != np.dtype(dtype):
            raise StateError(f"saved array is {packed['dtype']}, expected {np.dtype(dtype).str}")
        return np.frombuffer(packed["data"], dtype=dtype).reshape(shape).copy()
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"saved array is damaged: {error}") from error


class Baseline:
    """Means, hour-of-day season and dispersion of `k` counts, each in its own column.

    What is expected stays the same within a block of windows and is learned anew at its end, from all its windows,
    zeros too. It does not know why a count changed; the caller says which keys must not learn now.

    Args:
        fast_half_life: Windows after which a past one weighs half in the fast mean.
        slow_half_life: The same for the slow mean that the season is shrunk to.

    Shapes:
        high, low: float64[k], mean count of a window: the larger and the smaller of the fast mean and the season.
            A spike must be unlikely under `high` and a silence under `low`: where the two disagree nobody knows
            what is normal.
        phi: float64[len(SPANS), k], dispersion of sums over each span.
        seen: float64[k], windows a key has learned from; what it was held back from does not count.
    """

    def __init__(self, *, fast_half_life: float = 120.0, slow_half_life: float = 2880.0) -> None:
        self._fast_rate = 1.0 - 0.5 ** (1.0 / fast_half_life)
        self._slow_rate = 1.0 - 0.5 ** (1.0 / slow_half_life)
        self.size = 0
        for name in _ARRAYS:
            setattr(self, name, np.zeros((*_LEADING.get(name, ()), 0)))

    seen: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    phi: NDArray[np.float64]
    _latest: NDArray[np.float64]
    _fast: NDArray[np.float64]
    _slow: NDArray[np.float64]
    _hour: NDArray[np.float64]
    _hour_seen: NDArray[np.float64]
    _excess: NDArray[np.float64]
    _squares: NDArray[np.float64]

    def grow(self, size: int) -> None:
        """Make room for keys up to `size` - 1; new ones start knowing nothing."""
        more = size - self.size
        if more > 0:
            for name in _ARRAYS:
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros((*old.shape[:-1], more))], axis=-1))
            self.phi[:, self.size :] = _PRIOR_PHI
            self.size = size

    def usual(self, key: int) -> float:
        """A key's mean count over days."""
        return float(self._slow[key])

    def lately(self, key: int) -> float:
        """A key's mean count over the last hours."""
        return float(self._fast[key])

    def regularity(self) -> NDArray[np.float64]:
        """float64[k]: the dispersion of single windows as it was found, not drawn to the prior; small is regular."""
        found: NDArray[np.float64] = (self._excess[0] + 0.05 * 0.3) / (self._squares[0] + 0.05)
        return found

    def change(self, key: int, least_seen: int) -> str:
        """The mean of the last hours against that of days, in words; empty for keys seen for fewer windows."""
        if key >= self.size or self.seen[key] < least_seen:
            return ""
        usual, now = self.usual(key), self.lately(key)
        if usual <= 0.0 or 0.67 <= now / usual <= 1.5:
            return "steady"
        return f"{now / usual:.1f} times as often lately" if now > usual else f"down to {100 * now / usual:.0f} %"

    def uncertainty(self) -> NDArray[np.float64]:
        """float64[k]: extra dispersion because the mean is itself estimated, from few events in few windows."""
        windows = np.maximum(np.minimum(self.seen, 1.0 / self._fast_rate), 1.0)
        extra: NDArray[np.float64] = 1.0 / (self.high * windows + 0.5) + self.phi[0] / windows
        return extra

    def learn(
        self, end_ns: int, history: NDArray[np.float64], rows: int, quiet: NDArray[np.bool_], known: int = HISTORY
    ) -> None:
        """Take a finished block in and set what is expected of the one that follows it.

        Args:
            end_ns: End of the block.
            known: How many of the windows before the block were seen at all; the others lie in a gap.

        Shapes:
            history: float64[HISTORY + rows, k], counts of the windows before the block and of the block itself.
            quiet: bool[k], False for keys that must not learn (an incident is open on them) or do not exist yet.
        """
        mean = self.high
        spread = np.sqrt(mean + self.phi[0] * mean * mean)
        young = self.seen < 20
        # Winsorised: one wild minute moves the mean by what a merely busy one would.
        clipped = np.where(young, history, np.minimum(history, mean + 4.0 * spread + 3.0))
        block_mean = clipped[-rows:].mean(axis=0)
        self._learn_dispersion(clipped, rows, quiet & ~young, known)
        hour = int((end_ns - 1) // 3_600_000_000_000) % HOURS
        after = self.seen + rows
        for array, slowest in (
            (self._latest, _LATEST_RATE),
            (self._fast, self._fast_rate),
            (self._slow, self._slow_rate),
        ):
            rate = np.maximum(1.0 - (1.0 - slowest) ** rows, rows / after)
            array += np.where(quiet, rate * (block_mean - array), 0.0)
        hour_after = self._hour_seen[hour] + rows
        rate = np.maximum(1.0 - (1.0 - 1.0 / 420.0) ** rows, rows / hour_after)
        self._hour[hour] += np.where(quiet, rate * (block_mean - self._hour[hour]), 0.0)
        self._hour_seen[hour] += np.where(quiet, rows, 0)
        self.seen += np.where(quiet, rows, 0)
        self.expect(end_ns)

    def _learn_dispersion(self, clipped: NDArray[np.float64], rows: int, ready: NDArray[np.bool_], known: int) -> None:
        rate = np.maximum(1.0 - (1.0 - self._slow_rate) ** rows, rows / (self.seen + rows))
        sums = np.cumsum(clipped, axis=0)
        for span, windows in enumerate(SPANS):
            total = sums[-rows:].copy()
            past = len(clipped) - rows - windows
            total -= sums[past : past + rows] if past >= 0 else np.vstack([np.zeros(self.size), sums[: rows - 1]])
            whole = total[max(0, windows - 1 - known) :]
            if not len(whole):
                continue
            mean = windows * self.high
            excess = ((whole - mean) ** 2).mean(axis=0) - mean
            self._excess[span] += np.where(ready, rate * (excess - self._excess[span]), 0.0)
            self._squares[span] += np.where(ready, rate * (mean * mean - self._squares[span]), 0.0)
        self.phi = _phi(self._excess, self._squares, self.seen + rows)

    def expect(self, start_ns: int) -> None:
        """Set what is expected of a block that starts now, from the means and the season."""
        hour_exact = (start_ns / 3.6e12) + BLOCK_HOURS / 2 - 0.5
        before = int(np.floor(hour_exact)) % HOURS
        weight = hour_exact - np.floor(hour_exact)
        season = np.zeros(self.size)
        for hour, share in ((before, 1.0 - weight), ((before + 1) % HOURS, weight)):
            # Sixty windows are one day's worth of an hour: two days of it count four fifths.
            trust = self._hour_seen[hour] / (self._hour_seen[hour] + 30.0)
            season += share * (trust * self._hour[hour] + (1.0 - trust) * self._slow)
        # The season leads once it has been seen for about two days; until then the fast mean is all there is.
        known = np.minimum(self.seen / 2880.0, 1.0)
        season = known * season + (1.0 - known) * self._fast
        # Without a season, a morning's rise is told from a spike by what the last blocks brought.
        self.high = np.maximum(np.maximum(self._fast, season), (1.0 - known) * self._latest)
        self.low = np.minimum(self._fast, season)

    def merge(self, old: int, new: int) -> None:
        """Add the column `old` to the column `new` and forget it."""
        self.seen[new] = max(self.seen[new], self.seen[old])
        self._hour_seen[:, new] = np.maximum(self._hour_seen[:, new], self._hour_seen[:, old])
        for array in (self.high, self.low, self._latest, self._fast, self._slow, self._hour, self._excess):
            array[..., new] += array[..., old]
        # Of independent counts the means and the excess variances add up, so the mean of the squared mean does not.
        self._squares[:, new] = (np.sqrt(self._squares[:, new]) + np.sqrt(self._squares[:, old])) ** 2
        self.phi[:, new] = _phi(self._excess[:, new], self._squares[:, new], self.seen[new])
        self.forget(old)

    def forget(self, key: int) -> None:
        """Know nothing of a key any more."""
        for name in _ARRAYS:
            getattr(self, name)[..., key] = 0.0
        self.phi[:, key] = _PRIOR_PHI

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in _ARRAYS}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state.get(name, {}), np.float64) for name in _ARRAYS}
        size = arrays["seen"].shape[-1]
        for name, array in arrays.items():
            if array.shape != (*_LEADING.get(name, ()), size):
                raise StateError(f"saved baseline: {name} has shape {array.shape}, expected {size} columns")
            setattr(self, name, array)
        self.size = size


def _phi(excess: NDArray[np.float64], squares: NDArray[np.float64], seen: Any) -> NDArray[np.float64]:
    """Dispersions: what was found, drawn to the prior where it rests on few records or few windows."""
    weight = _PRIOR_SQUARES + squares * _PRIOR_WINDOWS / np.maximum(seen, 1.0)
    phi: NDArray[np.float64] = np.clip((excess + weight * _PRIOR_PHI) / (squares + weight), _MIN_PHI, 50.0)
    return phi


_ARRAYS = ("seen", "high", "low", "phi", "_latest", "_fast", "_slow", "_hour", "_hour_seen", "_excess", "_squares")
_LEADING = {
    "phi": (len(SPANS),),
    "_hour": (HOURS,),
    "_hour_seen": (HOURS,),
    "_excess": (len(SPANS),),
    "_squares": (len(SPANS),),
}
BLOCK_HOURS = 0.25
_LATEST_RATE = 1.0 - 0.5 ** (1.0 / 20.0)
# The tails of young keys are calibrated by these: with less, a key of an hour was called odd 100 times too often.
_PRIOR_PHI = 0.8
_PRIOR_SQUARES = 0.05
_PRIOR_WINDOWS = 60.0
_MIN_PHI = 0.02
