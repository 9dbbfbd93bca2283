"""Missing heartbeat: what comes by the clock, but seldom, did not come."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.errors import StateError
from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
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
    watched only as well as its weekends allow: the gap over them makes it irregular.

    Args:
        keys: Whose service each key is.
    """

    kind = "heartbeat"

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._quiet = 0
        for name, (dtype, blank) in _ARRAYS.items():
            setattr(self, name, np.full(0, blank, dtype))

    _begun: NDArray[np.int64]
    _latest: NDArray[np.int64]
    _gaps: NDArray[np.float64]
    _mean: NDArray[np.float64]
    _variance: NDArray[np.float64]
    _odd: NDArray[np.int64]

    @property
    def tested(self) -> int:
        """Gaps that end in a window, at least one: a gap is one test, however long it is looked at."""
        ready = self._ready()
        return max(1, math.ceil(float(np.exp(-self._mean[ready]).sum())))

    def _ready(self) -> NDArray[np.int64]:
        """int64[n]: keys that come by the clock, as far as is known."""
        regular = (self._gaps >= LEAST_GAPS) & (self._variance <= MOST_SPREAD**2) & (self._begun >= 0)
        return np.flatnonzero(regular & (self._mean >= math.log(LEAST_WINDOWS)))

    def _tails(self, keys: NDArray[np.int64], gaps: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n]: the probability that these keys' gaps last for longer than so many windows."""
        from scipy.special import stdtr

        rounding = 1.5 * np.exp(-self._mean[keys])
        weight = np.minimum(self._gaps[keys], _MEMORY)
        spread = np.sqrt(self._variance[keys] * (1.0 + 1.0 / weight) + rounding**2)
        off = (np.log(np.maximum(gaps, 1.0)) - self._mean[keys]) / spread
        tails: NDArray[np.float64] = stdtr(weight - 1.0, -off)
        return tails

    def judge(self, window_slice: Slice, level: float) -> list[Anomaly]:
        """The keys that are overdue, in each window that they are; see `Detector`.

        `expected` is the usual gap and `seen` the one that goes on, in windows.
        """
        self._grow(window_slice.counts.shape[1])
        ready = self._ready()
        if window_slice.gap or not len(ready):
            return []
        found: list[Anomaly] = []
        began = self._begun[ready].astype(np.float64)
        came = np.zeros(len(ready), np.bool_)
        quiet = self._quiet
        for row, counts in enumerate(window_slice.counts):
            if not counts.any():
                quiet += 1
                continue
            if quiet >= SAME_BEAT:
                break  # nothing is known any more of gaps that began before, see `learn`
            quiet = 0
            came |= counts[ready] > 0
            window = window_slice.first + row
            gaps = window - began
            late = np.flatnonzero(~came & (gaps > np.exp(self._mean[ready])))
            if not len(late):
                continue
            tails = self._tails(ready[late], gaps[late])
            for at in np.flatnonzero(tails < level).tolist():
                key = int(ready[late[at]])
                found.append(self._anomaly(key, window, float(gaps[late[at]]), float(tails[at])))
        return found

    def _anomaly(self, key: int, window: int, gap: float, tail: float) -> Anomaly:
        return Anomaly(
            kind=self.kind,
            window=window,
            span=1,
            service=int(self._keys.service[key]),
            key=key,
            keys=[key],
            expected=float(np.exp(self._mean[key])),
            seen=gap,
            surprise=min(300.0, -math.log10(max(tail, 1e-300))),
            severity=int(Severity.WARN),
        )

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """Take the slice in; see `Detector`. An overdue key is learned of when it comes: odd gaps are left out."""
        del held
        if window_slice.gap:
            self._begun[:] = self._latest[:] = _NEVER
            self._quiet = 0
        for row, counts in enumerate(window_slice.counts):
            window = window_slice.first + row
            came = np.flatnonzero(counts)
            if not len(came):
                self._quiet += 1
                continue
            if self._quiet >= SAME_BEAT:
                # All was silent: how long a gap would have been is not known.
                self._begun[:] = _NEVER
            self._quiet = 0
            beats = came[window - self._latest[came] > SAME_BEAT]
            if len(beats):
                known = beats[self._begun[beats] >= 0]
                self._take(known, (window - self._begun[known]).astype(np.float64))
                self._begun[beats] = window
            self._latest[came] = window

    def _take(self, keys: NDArray[np.int64], gaps: NDArray[np.float64]) -> None:
        """Learn of gaps that have ended."""
        if not len(keys):
            return
        watched = np.isin(keys, self._ready())
        odd = np.zeros(len(keys), np.bool_)
        odd[watched] = self._tails(keys[watched], gaps[watched]) < _ODD
        self._odd[keys] = np.where(odd, self._odd[keys] + 1, 0)
        anew = keys[self._odd[keys] >= _NEW_HABIT]
        for array in (self._gaps, self._mean, self._variance, self._odd):
            array[anew] = 0
        usual = (self._odd[keys] == 0) | np.isin(keys, anew)
        keys, gaps = keys[usual], gaps[usual]
        self._gaps[keys] += 1.0
        rate = 1.0 / np.minimum(self._gaps[keys], _MEMORY)
        off = np.log(gaps) - self._mean[keys]
        self._mean[keys] += rate * off
        self._variance[keys] = (1.0 - rate) * (self._variance[keys] + rate * off * off)

    def _grow(self, size: int) -> None:
        more = size - len(self._begun)
        if more > 0:
            for name, (dtype, blank) in _ARRAYS.items():
                setattr(self, name, np.concatenate([getattr(self, name), np.full(more, blank, dtype)]))

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`: together they come as they will; what `new` was is forgotten."""
        self._grow(max(old, new) + 1)
        if self._latest[old] == _NEVER:
            return
        moved = self._latest[new] == _NEVER
        for name, (_, blank) in _ARRAYS.items():
            array = getattr(self, name)
            if moved:
                array[new] = array[old]
            elif name != "_latest":
                array[new] = blank
        self._latest[new] = max(self._latest[new], self._latest[old])
        self.forget(old)

    def forget(self, key: int) -> None:
        """A key is gone for good."""
        if key < len(self._begun):
            for name, (_, blank) in _ARRAYS.items():
                getattr(self, name)[key] = blank

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"quiet": self._quiet, **{name: pack_array(getattr(self, name)) for name in _ARRAYS}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state.get(name, {}), dtype) for name, (dtype, _) in _ARRAYS.items()}
        size = arrays["_begun"].size
        for name, array in arrays.items():
            if array.shape != (size,):
                raise StateError(f"saved heartbeats: {name} has shape {array.shape}, expected {size} keys")
            setattr(self, name, array)
        self._quiet = int(state["quiet"])


_ARRAYS: dict[str, tuple[Any, int]] = {
    "_begun": (np.int64, _NEVER),
    "_latest": (np.int64, _NEVER),
    "_gaps": (np.float64, 0),
    "_mean": (np.float64, 0),
    "_variance": (np.float64, 0),
    "_odd": (np.int64, 0),
}
