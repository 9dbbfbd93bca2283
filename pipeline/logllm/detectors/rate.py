"""Rate spike and silence: a key's count against its own history, over sums of 1, 5 and 15 windows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.baseline import HISTORY, SPANS, Baseline, negative_binomial_tail, pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.detectors.windows import Slice

__all__ = ["Rate", "RateScores"]

YOUNG = 20
"""Windows a key must have learned from before a spike of it can be judged."""

YOUNG_SILENCE = 60
MIN_SPIKE = 5
REBASE_BLOCKS = 8
"""After two hours of the same oddity it is the new normal and is learned."""

SOURCE_PAUSE = 3
"""Windows without any record after which the silence of each key is counted anew."""

# A weekend's pause is still known on the next one.
_FORGET_PAUSE = 0.99995


@dataclass(frozen=True, slots=True)
class RateScores:
    """Tail probabilities of one slice; 1.0 where there is nothing to say.

    Shapes:
        spike: float64[b, k], P(sum this large), the smallest of the spans.
        span: int64[b, k], index into SPANS of that smallest.
        total: float64[b, k], records in that span, where `spike` is below 1.
        silence: float64[b, k], log P(zero for as long as it has been zero), 0.0 while it is not.
        zeros: int64[b, k], windows it has been zero for, from its first record on.
        unheard: bool[b, k], True where that is twice as long as it has been zero before, more than once.
        source_zeros: int64[b], windows in which there was no record at all, up to this one.
    """

    spike: NDArray[np.float64]
    span: NDArray[np.int64]
    total: NDArray[np.float64]
    silence: NDArray[np.float64]
    zeros: NDArray[np.int64]
    unheard: NDArray[np.bool_]
    source_zeros: NDArray[np.int64]


class Rate:
    """Scores each key's counts in the windows that just closed against that key's own history.

    Counts are modelled as negative binomial, so a quiet key that goes from 0 to 5 and a busy one that goes from
    9,000 to 12,000 are judged on one scale. A key seen less than once in ten windows cannot spike detectably at a
    few alerts a day (all methods fail there: 61 of 208 simulated spikes were found by the best). Not for values,
    only for counts.

    `enter`, `score` and `learn` are called in this order with each slice. Scoring changes nothing. What is found and
    learned does not depend on how a block's windows are cut into slices.

    Shapes:
        born: bool[k], keys that have been counted at least once.
    """

    def __init__(self) -> None:
        self.baseline = Baseline()
        self._past_known = 0
        self._block_end_ns = 0
        self._source_zeros = 0
        for name, dtype in _ARRAYS.items():
            setattr(self, name, np.zeros((*_LEADING.get(name, ()), 0), dtype))

    _past: NDArray[np.float64]
    _block: NDArray[np.float64]
    born: NDArray[np.bool_]
    _zero_log: NDArray[np.float64]
    _zeros: NDArray[np.int64]
    _longest: NDArray[np.float64]
    _second: NDArray[np.float64]
    _pause: NDArray[np.float64]
    _odd: NDArray[np.bool_]
    _odd_blocks: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Keys there is room for."""
        return self.baseline.size

    @property
    def tested(self) -> int:
        """Keys that have taught something: the tests made in a window."""
        return int((self.baseline.seen > 0).sum())

    def enter(self, window_slice: Slice) -> None:
        """Make room for a slice's keys, and where it comes after a gap, close the book on what was before."""
        self._grow(window_slice.counts.shape[1])
        if window_slice.gap:
            self._finish_block()
            self._past = np.zeros_like(self._past)
            self._past_known = self._source_zeros = 0
            self.baseline.expect(window_slice.start_ns)

    def _grow(self, size: int) -> None:
        more = size - self.size
        if more > 0:
            self.baseline.grow(size)
            for name in _ARRAYS:
                array = getattr(self, name)
                setattr(self, name, np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, more)]))

    def score(self, window_slice: Slice) -> RateScores:
        """Tail probabilities of a slice's windows.

        Shapes:
            window_slice.counts: float64[b, k]; keys that have not learned enough score 1.0.
        """
        rows, keys = window_slice.counts.shape
        self._grow(keys)
        before = np.vstack([self._past, self._block])[-HISTORY:]
        history = np.vstack([before, window_slice.counts])
        spike = np.ones((rows, keys))
        best = np.zeros((rows, keys), np.int64)
        most = np.zeros((rows, keys))
        sums = np.cumsum(history, axis=0)
        ready = self.baseline.seen >= YOUNG
        extra = None
        for span, windows in enumerate(SPANS):
            total = sums[HISTORY:] - (sums[HISTORY - windows : HISTORY - windows + rows] if windows <= HISTORY else 0.0)
            if windows > HISTORY:
                total[1:] -= sums[: rows - 1]
            mean = windows * self.baseline.high
            limit = mean + 3.0 * np.sqrt(mean + self.baseline.phi[span] * mean * mean)
            row, key = np.nonzero((total > limit) & (total >= MIN_SPIKE) & ready)
            if not len(row):
                continue
            extra = self.baseline.uncertainty() if extra is None else extra
            tail = negative_binomial_tail(
                total[row, key], np.maximum(mean[key], 1e-6), self.baseline.phi[span][key] + extra[key]
            )
            better = tail < spike[row, key]
            row, key = row[better], key[better]
            spike[row, key] = tail[better]
            best[row, key] = span
            most[row, key] = total[row, key]
        return RateScores(spike, best, most, *self._silence(window_slice))

    def _silence(
        self, window_slice: Slice
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        counts = window_slice.counts
        mean, phi = self.baseline.low, self.baseline.phi[0]
        step = np.where(self.baseline.seen >= YOUNG_SILENCE, -np.log1p(phi * mean) / phi, 0.0)
        born = self.born
        carried, carried_log = self._zeros, self._zero_log
        silence, zeros = np.zeros(counts.shape), np.zeros(counts.shape, np.int64)
        source_zeros, anew = self._source_silence(window_slice)
        for start, end in pairwise([*sorted({0, *anew}), len(counts)]):
            if start in anew:
                carried, carried_log = np.zeros_like(carried), np.zeros_like(carried_log)
            index = np.arange(end - start)[:, None]
            last = np.maximum.accumulate(np.where(counts[start:end] > 0, index, -1), axis=0)
            before = last < 0
            zeros[start:end] = np.where(before, np.where(born, carried + index + 1, 0), index - last)
            silence[start:end] = np.where(
                before, np.where(born, carried_log + step * (index + 1), 0.0), step * (index - last)
            )
            born, carried, carried_log = born | ~before[-1], zeros[end - 1], silence[end - 1]
        # A pause this long that came once may have been an outage; one that came twice is a habit.
        unheard = zeros > 2.0 * self._second + 1.0
        return silence, zeros, unheard, source_zeros

    def _source_silence(self, window_slice: Slice) -> tuple[NDArray[np.int64], list[int]]:
        """How long nothing came at all, by row; and the rows with which each key's silence is counted anew.

        That everything was silent says nothing about one key.
        """
        run, anew = self._source_zeros, [0] if window_slice.gap else []
        runs = []
        for row, records in enumerate(window_slice.counts.sum(axis=1).tolist()):
            empty = records == 0.0
            if not empty and run >= SOURCE_PAUSE:
                anew.append(row)
            run = run + 1 if empty else 0
            runs.append(run)
        return np.array(runs, np.int64), anew

    def learn(self, window_slice: Slice, scores: RateScores, odd: NDArray[np.bool_]) -> None:
        """Take the slice in.

        Shapes:
            odd: bool[k], keys that are part of an anomaly now; they teach nothing until it ends or lasts
                REBASE_BLOCKS blocks.
        """
        counts = window_slice.counts
        before = np.vstack([self._zeros, scores.zeros[:-1]])
        runs = np.where(counts > 0, before, 0).max(axis=0)
        self._pause = np.maximum(self._pause, runs)
        self._source_zeros = int(scores.source_zeros[-1])
        self.born |= counts.any(axis=0)
        self._zero_log = scores.silence[-1].copy()
        self._zeros = scores.zeros[-1].copy()
        self._odd |= odd
        self._block = np.vstack([self._block, counts])
        self._block_end_ns = window_slice.end_ns
        if window_slice.ends_block:
            self._finish_block()

    def _finish_block(self) -> None:
        rows = len(self._block)
        if not rows:
            return
        self._odd_blocks = np.where(self._odd, self._odd_blocks + 1, 0)
        quiet = self.born & (~self._odd | (self._odd_blocks > REBASE_BLOCKS))
        history = np.vstack([self._past, self._block])
        self.baseline.learn(self._block_end_ns, history, rows, quiet, self._past_known)
        forget = _FORGET_PAUSE**rows
        longest, second = self._longest * forget, self._second * forget
        self._second = np.maximum(second, np.minimum(longest, self._pause))
        self._longest = np.maximum(longest, self._pause)
        self._pause = np.zeros(self.size)
        self._past = history[-HISTORY:]
        self._past_known = min(HISTORY, self._past_known + rows)
        self._block = np.zeros((0, self.size))
        self._odd = np.zeros(self.size, np.bool_)

    def merge(self, old: int, new: int) -> None:
        """The template of key `old` became part of that of key `new`: their histories add up."""
        if old >= self.size:
            return
        self._grow(new + 1)
        if self.born[old]:
            both = bool(self.born[new])
            for array in (self._zeros, self._longest, self._second, self._pause):
                array[new] = min(array[old], array[new]) if both else array[old]
            self._zero_log[new] = max(self._zero_log[old], self._zero_log[new]) if both else self._zero_log[old]
            self._odd_blocks[new] = max(self._odd_blocks[old], self._odd_blocks[new])
            self._odd[new] |= self._odd[old]
            self.born[new] = True
        self.baseline.merge(old, new)
        for array in (self._past, self._block):
            array[:, new] += array[:, old]
        self.forget(old)

    def forget(self, key: int) -> None:
        """Know nothing of a key any more, so that its number can be given to another."""
        if key < self.size:
            self.baseline.forget(key)
            for name in _ARRAYS:
                getattr(self, name)[..., key] = 0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "baseline": self.baseline.state(),
            "past_known": self._past_known,
            "block_end_ns": self._block_end_ns,
            "source_zeros": self._source_zeros,
            **{name: pack_array(getattr(self, name)) for name in _ARRAYS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        self.baseline.restore(state["baseline"])
        self._past_known, self._block_end_ns = int(state["past_known"]), int(state["block_end_ns"])
        self._source_zeros = int(state["source_zeros"])
        for name, dtype in _ARRAYS.items():
            array = unpack_array(state[name], dtype)
            rows = (len(array),) if name == "_block" and array.ndim == 2 else _LEADING.get(name, ())
            if array.shape != (*rows, self.size):
                raise StateError(f"saved rate detector: {name} has shape {array.shape}, expected {self.size} columns")
            setattr(self, name, array)


_ARRAYS: dict[str, Any] = {
    "_past": np.float64,
    "_block": np.float64,
    "born": np.bool_,
    "_zero_log": np.float64,
    "_zeros": np.int64,
    "_longest": np.float64,
    "_second": np.float64,
    "_pause": np.float64,
    "_odd": np.bool_,
    "_odd_blocks": np.int64,
}
_LEADING = {"_past": (HISTORY,), "_block": (0,)}
