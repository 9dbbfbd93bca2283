"""What is normal for a count: means, a season and a dispersion for each key, learned once a block.

Counts of log lines are over-dispersed: their variance is `m + phi * m * m`, not `m`. A Poisson tail calls every
busy minute an anomaly (3,341 false alerts a day in our simulation where a negative binomial gives 4), so counts are
negative binomial here, and `phi` is learned for sums over each span separately, which also absorbs the
autocorrelation that makes long sums noisier than independent minutes would be. Where a key itself has too few
records to tell, it is taken to be as autocorrelated as the fleet is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.dispersion import NO_FLEET, PRIOR_PHI, dispersions, lasting
from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.detectors.rises import HISTORY, MIN_SPIKE, SPANS
from logllm.detectors.running import running_sums
from logllm.detectors.season import Season
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["YOUNG", "Baseline"]


class Baseline:
    """Means, hour-of-day season and dispersion of `k` counts, each in its own column.

    What is expected stays the same within a block of windows and is learned anew at its end, from all its windows,
    zeros too. It does not know why a count changed; the caller says which keys must not learn now.

    Args:
        fast_half_life: Windows after which a past one weighs half in the fast mean.
        slow_half_life: The same for the slow mean that the season is shrunk to.

    Shapes:
        high, low: float64[k], mean count of a window: the season, raised or lowered by what the last hours were above
            or below it. A spike must be unlikely under `high` and a silence under `low`: where the season and the
            last hours disagree nobody knows what is normal.
        phi: float32[len(SPANS), k], dispersion of sums over each span.
        limit: float32[len(SPANS), k], sums up to this are surely no spike.
        seen: float64[k], windows a key has learned from; what it was held back from does not count.
    """

    def __init__(self, *, fast_half_life: float = 120.0, slow_half_life: float = 2880.0) -> None:
        self._fast_rate = 1.0 - 0.5 ** (1.0 / fast_half_life)
        self._slow_rate = 1.0 - 0.5 ** (1.0 / slow_half_life)
        self.size = 0
        self.season = Season()
        self._lasting = NO_FLEET.copy()
        self._fresh = _LONG
        for name, dtype in _ARRAYS.items():
            setattr(self, name, np.zeros((*_LEADING.get(name, ()), 0), dtype))

    seen: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    phi: NDArray[np.float32]
    limit: NDArray[np.float32]
    _latest: NDArray[np.float64]
    _fast: NDArray[np.float64]
    _foreseen: NDArray[np.float64]
    _slow: NDArray[np.float64]
    _expected: NDArray[np.float64]
    _excess: NDArray[np.float32]
    _squares: NDArray[np.float32]

    def grow(self, size: int) -> None:
        """Make room for keys up to `size` - 1; new ones start knowing nothing."""
        more = size - self.size
        if more > 0:
            for name in _ARRAYS:
                array = getattr(self, name)
                setattr(self, name, np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, more)]))
            self.season.grow(more)
            self.phi[:, self.size :] = PRIOR_PHI
            self.size = size

    def usual(self, key: int) -> float:
        """A key's mean count over days."""
        return float(self._slow[key])

    def lately(self, key: int) -> float:
        """A key's mean count over the last hours."""
        return float(self._fast[key])

    def regularity(self) -> NDArray[np.float64]:
        """float64[k]: the dispersion of single windows as it was found, not drawn to the prior; small is regular."""
        found: NDArray[np.float64] = (self._excess[0].astype(np.float64) + 0.05 * 0.3) / (self._squares + 0.05)
        return found

    def change(self, key: int, least_seen: int) -> str:
        """The mean of the last hours against that of days, in words; empty for keys seen for fewer windows."""
        if key >= self.size or self.seen[key] < least_seen:
            return ""
        usual, now = self.usual(key), self.lately(key)
        if usual <= 0.0 or 0.67 <= now / usual <= 1.5:
            return "steady"
        return f"{now / usual:.1f} times as often lately" if now > usual else f"down to {100 * now / usual:.0f} %"

    def uncertainty(self, keys: NDArray[np.int64]) -> NDArray[np.float64]:
        """float64[n]: extra dispersion because the means of these keys are estimated, from few events in few windows.

        Shapes:
            keys: int64[n].
        """
        windows = np.maximum(np.minimum(self.seen[keys], 1.0 / self._slow_rate), 1.0)
        extra: NDArray[np.float64] = 1.0 / (self.high[keys] * windows + 0.5) + self.phi[0, keys] / windows
        return extra

    def learn(
        self, end_ns: int, history: NDArray[Any], rows: int, quiet: NDArray[np.bool_], known: int = HISTORY
    ) -> None:
        """Take a finished block in and set what is expected of the one that follows it.

        Args:
            end_ns: End of the block.
            known: How many of the windows before the block were seen at all; the others lie in a gap.

        Shapes:
            history: [HISTORY + rows, k], counts of the windows before the block and of the block itself.
            quiet: bool[k], False for keys that must not learn (an incident is open on them) or do not exist yet.
        """
        block_mean = np.empty(self.size)
        for start in range(0, self.size, _STRIP):
            strip = slice(start, start + _STRIP)
            block_mean[strip] = self._learn_dispersion(history[:, strip], rows, quiet[strip], known, strip)
        after = self.seen + rows
        # After a long gap the last hours are of another time of the day; only a season knows what is usual now.
        lately = np.where(self.seen < _SEASON_WINDOWS, np.minimum(self.seen, self._fresh), self.seen) + rows
        for array, value, slowest in (
            (self._latest, block_mean, _LATEST_RATE),
            (self._fast, block_mean, self._fast_rate),
            (self._foreseen, self._expected, self._fast_rate),
            (self._slow, block_mean, self._slow_rate),
        ):
            rate = np.maximum(1.0 - (1.0 - slowest) ** rows, rows / (after if array is self._slow else lately))
            array += quiet * rate * (value - array)
        self.season.learn(end_ns, block_mean, rows, quiet)
        self.seen += quiet * float(rows)
        self._fresh = min(self._fresh + rows, _LONG)
        self._lasting = lasting(self._excess, self._squares, self.seen)
        self.phi = dispersions(self._excess, self._squares, self.seen, self._lasting)
        self.expect(end_ns)

    def _learn_dispersion(
        self, history: NDArray[Any], rows: int, quiet: NDArray[np.bool_], known: int, strip: slice
    ) -> NDArray[np.float64]:
        """Dispersions of some keys from a block; returns float64[n], their mean in it, wild windows cut."""
        mean, seen = self.high[strip], self.seen[strip]
        young = ~self.settled(strip)
        # Winsorised: one wild minute moves the mean by what a merely busy one would.
        most = mean + _WILD * np.sqrt(mean + self.phi[0, strip] * mean * mean) + 3.0
        clipped = np.minimum(history, np.where(young, np.inf, most).astype(np.float32), dtype=np.float32)
        ready = quiet & ~young
        rate = np.maximum(1.0 - (1.0 - self._slow_rate) ** rows, rows / (seen + rows)).astype(np.float32)
        rate *= ready
        usual = mean.astype(np.float32)
        sums = running_sums(clipped)
        for span, windows in enumerate(SPANS):
            ends = len(sums) - rows + max(0, windows - 1 - known)
            whole = sums[ends:] - sums[ends - windows : len(sums) - windows]
            if len(whole):
                off = whole - windows * usual
                excess = np.einsum("rk,rk->k", off, off) / np.float32(len(whole)) - windows * usual
                self._excess[span, strip] += rate * (excess / np.float32(windows**2) - self._excess[span, strip])
        self._squares[strip] += rate * (usual * usual - self._squares[strip])
        block_mean: NDArray[np.float64] = clipped[-rows:].mean(axis=0, dtype=np.float64)
        return block_mean

    def settled(self, keys: slice = slice(None)) -> NDArray[np.bool_]:
        """bool[k]: of which keys enough is known to call a count too high."""
        known: NDArray[np.bool_] = self.seen[keys] >= (YOUNG if self._fresh >= YOUNG else _SEASON_WINDOWS)
        return known

    def resume(self, start_ns: int, gap: int) -> None:
        """Go on with a block that starts now, after so many windows of which nothing is known; -1: time went back."""
        if gap < 0 or gap >= _LONG_GAP:
            self._fresh = 0
        self.expect(start_ns)

    def expect(self, start_ns: int) -> None:
        """Set what is expected of a block that starts now, from the means and the season."""
        middle_ns = start_ns + _BLOCK_NS // 2
        # Half the digits are enough to guess by, and take half the time.
        fast, latest, seen = (array.astype(np.float32) for array in (self._fast, self._latest, self.seen))
        now, most, least = self.season.at(middle_ns, self._slow.astype(np.float32), self.phi[-1])
        # The season leads once it has been seen for about two days; until then the fast mean is all there is.
        known = np.minimum(seen / np.float32(_SEASON_WINDOWS), _ONE)
        young = _ONE - known
        off = self._off(fast, seen)
        fast *= young
        self._expected[:] = known * now + fast
        # Without a season, a morning's rise is told from a spike by what the last blocks brought.
        high = np.maximum((known * most + fast) * np.maximum(off, _ONE), young * latest)
        self.high[:] = high
        self.low[:] = (known * least + fast) * np.minimum(off, _ONE)
        for span, windows in enumerate(SPANS):
            mean = np.float32(windows) * high
            variance = mean * mean
            variance *= self.phi[span]
            variance += mean
            mean += np.float32(3.0) * np.sqrt(variance)
            np.maximum(mean, np.float32(MIN_SPIKE - 1), out=self.limit[span])

    def _off(self, fast: NDArray[np.float32], seen: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[k]: the last hours as a multiple of what was expected of them, 1.0 where chance explains it."""
        mean = np.maximum(self._foreseen.astype(np.float32), np.float32(1e-9))
        off = fast / mean - _ONE
        windows = np.maximum(np.minimum(seen, np.float32(2.0 / self._fast_rate)), _ONE)
        chance = np.float32(2.0) * (_ONE / mean + np.float32(SPANS[-1]) * self.phi[-1]) / windows
        # As much of it as is surely not chance (James and Stein): noise alone would lift `high` by a tenth.
        surely = np.maximum(_ONE - chance / np.maximum(off * off, np.float32(1e-12)), np.float32(0.0))
        kept: NDArray[np.float32] = _ONE + off * surely
        return kept

    def rebase(self, keys: NDArray[np.int64], ratios: NDArray[np.float64]) -> None:
        """Draw what is usual of these keys to a new level, their season too; `fast` finds it by itself.

        Shapes:
            keys: int64[n]. ratios: float64[n].
        """
        for array in (self._slow, self._foreseen, self._expected):
            array[keys] *= ratios
        self.season.mean[:, keys] *= ratios.astype(np.float32)

    def merge(self, old: int, new: int) -> None:
        """Add the column `old` to the column `new` and forget it."""
        self.seen[new] = max(self.seen[new], self.seen[old])
        for array in (
            self.high,
            self.low,
            self._latest,
            self._fast,
            self._foreseen,
            self._slow,
            self._expected,
            self._excess,
            self.limit,
        ):
            array[..., new] += array[..., old]
        self.season.merge(old, new)
        # Of independent counts the means and the excess variances add up, so the mean of the squared mean does not.
        self._squares[new] = (np.sqrt(self._squares[new]) + np.sqrt(self._squares[old])) ** 2
        one = slice(new, new + 1)
        self.phi[:, one] = dispersions(self._excess[:, one], self._squares[one], self.seen[one], self._lasting)
        self.forget([old])

    def forget(self, keys: Sequence[int]) -> None:
        """Know nothing of some keys any more."""
        for name in _ARRAYS:
            getattr(self, name)[..., keys] = 0.0
        self.season.forget(keys)
        self.phi[:, keys] = PRIOR_PHI

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "season": self.season.state(),
            "fresh": self._fresh,
            "lasting": pack_array(self._lasting),
            **{name: pack_array(getattr(self, name)) for name in _ARRAYS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state.get(name, {}), dtype) for name, dtype in _ARRAYS.items()}
        size = arrays["seen"].shape[-1]
        check_shapes("baseline", arrays, {name: (*_LEADING.get(name, ()), size) for name in arrays})
        for name, array in arrays.items():
            setattr(self, name, array)
        self.season.restore(state["season"], size)
        self._lasting = unpack_array(state["lasting"], np.float32)
        if self._lasting.shape != NO_FLEET.shape:
            raise StateError(f"saved baseline: {len(self._lasting)} spans, expected {len(SPANS)}")
        self._fresh = int(state["fresh"])
        self.size = size


_ARRAYS: dict[str, Any] = {
    **dict.fromkeys(("seen", "high", "low", "_latest", "_fast", "_foreseen", "_slow", "_expected"), np.float64),
    **dict.fromkeys(("phi", "limit", "_excess", "_squares"), np.float32),
}
_LEADING = {"phi": (len(SPANS),), "limit": (len(SPANS),), "_excess": (len(SPANS),)}
_BLOCK_NS = 900_000_000_000
_ONE = np.float32(1.0)
_SEASON_WINDOWS = 2880.0
_LATEST_RATE = 1.0 - 0.5 ** (1.0 / 20.0)
YOUNG = 20
"""Windows a key must have learned from before a spike of it can be judged."""

_LONG_GAP = 60
_LONG = 10_000
"""Windows: since the last long gap, no more are counted."""

_WILD = 4.0
_STRIP = 8192
"""Keys whose history is worked on at a time: it stays in the processor's cache."""
