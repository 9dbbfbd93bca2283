"""Missing heartbeat: what comes by the clock, but seldom, did not come."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.detectors.keys import Keys
    from logllm.detectors.slices import Slice

__all__ = ["Heartbeat"]

LEAST_GAPS = 6
"""Gaps that must have been seen before one is called too long: a working week, its weekend among them."""

LEAST_WINDOWS = 5
"""What comes more often is watched for silence, minute by minute."""

MOST_SPREAD = 0.25
"""Standard deviation of the logarithm of gaps: what varies by more than a quarter does not come by the clock."""

SAME_BEAT = 3
"""Records at most so many windows apart are one beat: a job writes for some minutes."""

_MEMORY = 40.0
"""Gaps after which a past one weighs a third."""

_NEW_HABIT = 3
"""After so many odd gaps in a row the clock has been set anew, and is learned from the start."""

_ODD = 1e-3
_NEVER = -1


class Heartbeat:
    """Watches keys that come every five minutes to every few days, and tells when the next is overdue.

    A key's gaps, from the begin of one beat to the begin of the next, are taken as lognormal with the mean and spread
    of its last gaps, and a minute's rounding; a gap that goes on has Student's tail. Where everything was silent,
    or nothing is known of some windows, the gap says nothing of one key: it is not judged, and not learned.

    Not for what comes more often (`Silences`), nor for what varies by more than a quarter. A job of working days is
    watched only as well as its weekends allow: the gap over them makes it irregular. Costs a copy of 48 bytes a key
    for each slice.

    Args:
        keys: Whose service each key is.
    """

    kind = "heartbeat"

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._beats = _Beats()
        self._judged: _Beats | None = None

    @property
    def tested(self) -> int:
        """Gaps that end in a window, at least one: a gap is one test, however long it is looked at."""
        return max(1, math.ceil(float(np.exp(-self._beats.mean[self._beats.ready()]).sum())))

    def judge(self, window_slice: Slice, level: float) -> list[Anomaly]:
        """The keys that are overdue, in each window that they are; see `Detector`.

        `expected` is the usual gap and `seen` the one that goes on, in windows.
        """
        beats = self._judged = self._beats.copy(window_slice.counts.shape[1])
        if window_slice.gap:
            beats.lose_sight()
        found: list[Anomaly] = []
        for row, counts in enumerate(window_slice.counts):
            window = window_slice.first + row
            beats.take(counts, window)
            if not beats.quiet:
                for key, gap, tail in beats.overdue(window, level):
                    found.append(self._anomaly(beats, key, window, gap, tail))
        return found

    def _anomaly(self, beats: _Beats, key: int, window: int, gap: float, tail: float) -> Anomaly:
        return Anomaly(
            kind=self.kind,
            window=window,
            span=1,
            service=int(self._keys.service[key]),
            key=key,
            keys=[key],
            expected=float(np.exp(beats.mean[key])),
            seen=gap,
            surprise=min(300.0, -math.log10(max(tail, 1e-300))),
            severity=int(Severity.WARN),
        )

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """Take the slice in; see `Detector`. An overdue key is learned of when it comes: odd gaps are left out."""
        del window_slice, held
        if self._judged is None:
            raise RuntimeError("learn() must follow judge() of the same slice")
        self._beats, self._judged = self._judged, None

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`: together they come as they will; what `new` was is forgotten."""
        self._beats = self._beats.copy(max(old, new) + 1)
        self._beats.merge(old, new)

    def forget(self, keys: Sequence[int]) -> None:
        """See `Detector.forget`."""
        self._beats.forget(keys)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        beats = self._beats
        return {"quiet": beats.quiet, **{name: pack_array(getattr(beats, name)) for name in _ARRAYS}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state.get(name, {}), dtype) for name, (dtype, _) in _ARRAYS.items()}
        check_shapes("heartbeats", arrays, dict.fromkeys(arrays, (arrays["begun"].size,)))
        beats = _Beats()
        for name, array in arrays.items():
            setattr(beats, name, array)
        beats.quiet = int(state["quiet"])
        self._beats = beats


class _Beats:
    """When each key came and in what gaps. `quiet`: windows without any record, up to now."""

    def __init__(self) -> None:
        self.quiet = 0
        for name, (dtype, blank) in _ARRAYS.items():
            setattr(self, name, np.full(0, blank, dtype))

    begun: NDArray[np.int64]
    latest: NDArray[np.int64]
    gaps: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    odd: NDArray[np.int64]

    def copy(self, size: int) -> _Beats:
        """A copy with room for so many keys."""
        beats = _Beats()
        beats.quiet = self.quiet
        more = max(0, size - len(self.begun))
        for name, (dtype, blank) in _ARRAYS.items():
            array = getattr(self, name)
            setattr(beats, name, np.concatenate([array, np.full(more, blank, dtype)]) if more else array.copy())
        return beats

    def lose_sight(self) -> None:
        """Nothing is known of what came before."""
        self.begun[:] = self.latest[:] = _NEVER
        self.quiet = 0

    def ready(self) -> NDArray[np.int64]:
        """int64[n]: keys that come by the clock, as far as is known."""
        regular = (self.gaps >= LEAST_GAPS) & (self.variance <= MOST_SPREAD**2) & (self.begun >= 0)
        return np.flatnonzero(regular & (self.mean >= math.log(LEAST_WINDOWS)))

    def overdue(self, window: int, level: float) -> list[tuple[int, float, float]]:
        """Keys whose gap has become too long, with the gap and its tail probability."""
        ready = self.ready()
        gaps = (window - self.begun[ready]).astype(np.float64)
        late = np.flatnonzero(gaps > np.exp(self.mean[ready]))
        if not len(late):
            return []
        keys, gaps = ready[late], gaps[late]
        tails = self._tails(keys, gaps)
        odd = tails < level
        return list(zip(keys[odd].tolist(), gaps[odd].tolist(), tails[odd].tolist(), strict=True))

    def _tails(self, keys: NDArray[np.int64], gaps: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n]: the probability that these keys' gaps last for longer than so many windows."""
        from scipy.special import stdtr

        rounding = 1.5 * np.exp(-self.mean[keys])
        weight = np.minimum(self.gaps[keys], _MEMORY)
        spread = np.sqrt(self.variance[keys] * (1.0 + 1.0 / weight) + rounding**2)
        off = (np.log(np.maximum(gaps, 1.0)) - self.mean[keys]) / spread
        tails: NDArray[np.float64] = stdtr(weight - 1.0, -off)
        return tails

    def take(self, counts: NDArray[np.float64], window: int) -> None:
        """Take a window in. Shapes: counts: float64[k]."""
        came = np.flatnonzero(counts)
        if not len(came):
            self.quiet += 1
            return
        if self.quiet >= SAME_BEAT:
            # All was silent: how long a gap would have been is not known.
            self.begun[:] = _NEVER
        self.quiet = 0
        beats = came[window - self.latest[came] > SAME_BEAT]
        if len(beats):
            known = beats[self.begun[beats] >= 0]
            if len(known):
                self._learn(known, (window - self.begun[known]).astype(np.float64))
            self.begun[beats] = window
        self.latest[came] = window

    def _learn(self, keys: NDArray[np.int64], gaps: NDArray[np.float64]) -> None:
        """Gaps that have ended."""
        watched = np.flatnonzero(np.isin(keys, self.ready()))
        odd = np.zeros(len(keys), np.bool_)
        if len(watched):
            odd[watched] = self._tails(keys[watched], gaps[watched]) < _ODD
        self.odd[keys] = np.where(odd, self.odd[keys] + 1, 0)
        anew = keys[self.odd[keys] >= _NEW_HABIT]
        for array in (self.gaps, self.mean, self.variance, self.odd):
            array[anew] = 0
        usual = (self.odd[keys] == 0) | np.isin(keys, anew)
        keys, gaps = keys[usual], gaps[usual]
        self.gaps[keys] += 1.0
        rate = 1.0 / np.minimum(self.gaps[keys], _MEMORY)
        off = np.log(gaps) - self.mean[keys]
        self.mean[keys] += rate * off
        self.variance[keys] = (1.0 - rate) * (self.variance[keys] + rate * off * off)

    def merge(self, old: int, new: int) -> None:
        """See `Detector.merge`."""
        if self.latest[old] == _NEVER:
            return
        moved = self.latest[new] == _NEVER
        for name, (_, blank) in _ARRAYS.items():
            array = getattr(self, name)
            if moved:
                array[new] = array[old]
            elif name != "latest":
                array[new] = blank
        self.latest[new] = max(self.latest[new], self.latest[old])
        self.forget([old])

    def forget(self, keys: Sequence[int]) -> None:
        """Know nothing of some keys any more."""
        gone = [key for key in keys if key < len(self.begun)]
        for name, (_, blank) in _ARRAYS.items():
            getattr(self, name)[gone] = blank


_ARRAYS: dict[str, tuple[Any, int]] = {
    "begun": (np.int64, _NEVER),
    "latest": (np.int64, _NEVER),
    "gaps": (np.float64, 0),
    "mean": (np.float64, 0),
    "variance": (np.float64, 0),
    "odd": (np.int64, 0),
}
