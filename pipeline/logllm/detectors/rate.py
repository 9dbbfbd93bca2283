"""Rate spike and silence: a key's count against its own history, over sums of 1, 5 and 15 windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.baseline import HISTORY, SPANS, Baseline, negative_binomial_tail, pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.detectors.windows import Slice

__all__ = ["Rate", "RateScores"]

YOUNG = 20
"""Windows a key must have been known for before a spike of it can be judged."""

YOUNG_SILENCE = 60
MIN_SPIKE = 5
_FORGET_PAUSE = 0.999
REBASE_BLOCKS = 8
"""After two hours of the same oddity it is the new normal and is learned."""


@dataclass(frozen=True, slots=True)
class RateScores:
    """Tail probabilities of one slice; 1.0 where there is nothing to say.

    Shapes:
        spike: float64[b, k], P(sum this large), the smallest of the spans.
        span: int64[b, k], index into SPANS of that smallest.
        total: float64[b, k], records in that span, where `spike` is below 1.
        silence: float64[b, k], log P(zero for as long as it has been zero), 0.0 while it is not.
        zeros: int64[b, k], windows it has been zero for.
        unheard: bool[b, k], True where that is twice as long as it has ever been zero before.
    """

    spike: NDArray[np.float64]
    span: NDArray[np.int64]
    total: NDArray[np.float64]
    silence: NDArray[np.float64]
    zeros: NDArray[np.int64]
    unheard: NDArray[np.bool_]


class Rate:
    """Scores each key's counts in the windows that just closed against that key's own history.

    Counts are modelled as negative binomial, so a quiet key that goes from 0 to 5 and a busy one that goes from
    9,000 to 12,000 are judged on one scale. A key seen less than once in ten windows cannot spike detectably at a
    few alerts a day (all methods fail there: 61 of 208 simulated spikes were found by the best). Not for values,
    only for counts. Scoring changes nothing; `learn` must follow it with the same slice.
    """

    def __init__(self) -> None:
        self.baseline = Baseline()
        self._past = np.zeros((HISTORY, 0))
        self._block = np.zeros((0, 0))
        self._zero_log = np.zeros(0)
        self._zeros = np.zeros(0, np.int64)
        self._longest = np.zeros(0)
        self._odd = np.zeros(0, np.bool_)
        self._odd_blocks = np.zeros(0, np.int64)

    @property
    def size(self) -> int:
        """Keys known."""
        return self.baseline.size

    def _grow(self, size: int) -> None:
        more = size - self.size
        if more > 0:
            self.baseline.grow(size)
            self._past = np.pad(self._past, ((0, 0), (0, more)))
            self._block = np.pad(self._block, ((0, 0), (0, more)))
            self._zero_log = np.pad(self._zero_log, (0, more))
            self._zeros = np.pad(self._zeros, (0, more))
            self._longest = np.pad(self._longest, (0, more))
            self._odd = np.pad(self._odd, (0, more))
            self._odd_blocks = np.pad(self._odd_blocks, (0, more))

    def _history(self, window_slice: Slice) -> NDArray[np.float64]:
        past = self._past
        if window_slice.gap:
            past = np.zeros_like(past)
        return np.vstack([past, window_slice.counts])

    def score(self, window_slice: Slice) -> RateScores:
        """Tail probabilities of a slice's windows.

        Shapes:
            window_slice.counts: float64[b, k]; keys beyond those learned so far score 1.0.
        """
        rows, keys = window_slice.counts.shape
        self._grow(keys)
        history = self._history(window_slice)
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

    def _silence(self, window_slice: Slice) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
        rows = len(window_slice.counts)
        mean, phi = self.baseline.low, self.baseline.phi[0]
        step = np.where(self.baseline.seen >= YOUNG_SILENCE, -np.log1p(phi * mean) / phi, 0.0)
        index = np.arange(rows)[:, None]
        last = np.maximum.accumulate(np.where(window_slice.counts > 0, index, -1), axis=0)
        # A gap of the whole source says nothing about one key: its silence is counted anew.
        carried = 0 if window_slice.gap else 1
        zeros = np.where(last < 0, carried * self._zeros + index + 1, index - last)
        silence = np.where(last < 0, carried * self._zero_log + step * (index + 1), step * (index - last))
        # A key that has paused this long before does so again; the model's tail alone would call it silent.
        unheard = zeros > 2.0 * self._longest + 1.0
        return silence, zeros, unheard

    def learn(self, window_slice: Slice, scores: RateScores, odd: NDArray[np.bool_]) -> None:
        """Take the slice in.

        Shapes:
            odd: bool[k], keys that are part of an anomaly now; they teach nothing until it ends or lasts
                REBASE_BLOCKS blocks.
        """
        if window_slice.gap:
            self._finish_block(window_slice.start_ns)
            self._past = np.zeros_like(self._past)
        ended = (window_slice.counts > 0) & (np.vstack([self._zeros, scores.zeros[:-1]]) > 0)
        if ended.any():
            runs = np.where(ended, np.vstack([self._zeros, scores.zeros[:-1]]), 0).max(axis=0)
            self._longest = np.maximum(self._longest * _FORGET_PAUSE, runs)
        self._zero_log = scores.silence[-1].copy()
        self._zeros = scores.zeros[-1].copy()
        self._odd |= odd
        self._block = np.vstack([self._block, window_slice.counts])
        if window_slice.ends_block:
            self._finish_block(window_slice.end_ns)

    def _finish_block(self, next_block_ns: int) -> None:
        rows = len(self._block)
        if not rows:
            return
        history = np.vstack([self._past, self._block])
        self._odd_blocks = np.where(self._odd, self._odd_blocks + 1, 0)
        quiet = ~self._odd | (self._odd_blocks > REBASE_BLOCKS)
        self.baseline.learn(next_block_ns, history, rows, quiet)
        self._past = history[-HISTORY:]
        self._block = np.zeros((0, self.size))
        self._odd = np.zeros(self.size, np.bool_)

    def merge(self, old: int, new: int) -> None:
        """The template of key `old` became part of that of key `new`: their histories add up."""
        size = max(old, new) + 1
        if size > self.size:
            self._grow(size)
        self.baseline.merge(old, new)
        for array in (self._past, self._block):
            array[:, new] += array[:, old]
            array[:, old] = 0.0
        self._zero_log[old] = 0.0
        self._zeros[new] = min(self._zeros[old], self._zeros[new])
        self._longest[new] = min(self._longest[old], self._longest[new])

    def forget(self, key: int) -> None:
        """The template of a key is gone for good: its silence means nothing."""
        if key < self.size:
            self.baseline.forget(key)
            self._zero_log[key] = 0.0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "baseline": self.baseline.state(),
            "past": pack_array(self._past),
            "block": pack_array(self._block),
            "zero_log": pack_array(self._zero_log),
            "zeros": pack_array(self._zeros),
            "longest": pack_array(self._longest),
            "odd": pack_array(self._odd),
            "odd_blocks": pack_array(self._odd_blocks),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        self.baseline.restore(state["baseline"])
        self._past = unpack_array(state["past"], np.float64)
        self._block = unpack_array(state["block"], np.float64)
        self._zero_log = unpack_array(state["zero_log"], np.float64)
        self._zeros = unpack_array(state["zeros"], np.int64)
        self._longest = unpack_array(state["longest"], np.float64)
        self._odd = unpack_array(state["odd"], np.bool_)
        self._odd_blocks = unpack_array(state["odd_blocks"], np.int64)
        if {a.shape[-1] for a in (self._past, self._block, self._zero_log, self._odd)} != {self.size}:
            raise StateError("saved rate detector: its arrays differ in length")
