"""Rate spike and silence: a key's count against its own history, over sums of one to fifteen windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.baseline import Baseline
from logllm.detectors.habits import Habits
from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.detectors.rises import HISTORY, MIN_SPIKE, SPANS, rise_tails
from logllm.detectors.slices import BLOCK
from logllm.detectors.zeros import ZeroRuns, Zeros

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.detectors.slices import Slice

__all__ = ["Rate", "RateScores"]

YOUNG_SILENCE = 60
MOST_BURSTS = 500
"""Keys that burst in one window: where more do, it is no job of theirs, and no habit."""

BURST = 1e-5
"""Tails below this are bursts that may become a habit."""

REBASE_BLOCKS = 8
"""After two hours of the same oddity it is the new normal and is learned."""


@dataclass(frozen=True, slots=True)
class RateScores:
    """Tail probabilities of one slice; 1.0 where there is nothing to say.

    Shapes:
        spike: float64[b, k], how improbable the sums up to this window are by chance, all spans together.
        span: int64[b, k], index into SPANS of the one that says most.
        total: float64[b, k], records in that span, where `spike` is below 1.
        silence: float64[b, k], log P(zero for as long as it has been zero), 0.0 while it is not.
        zeros: int32[b, k], windows it has been zero for, from its first record on.
        unheard: bool[b, k], True where that is twice as long as it has been zero before, more than once.
        source_zeros: int64[b], windows in which there was no record at all, up to this one.
        bursts: int64[2, n], row and key of what was unlikely, also where it is the key's habit at that time.
    """

    spike: NDArray[np.float64]
    span: NDArray[np.int64]
    total: NDArray[np.float64]
    silence: NDArray[np.float64]
    zeros: NDArray[np.int32]
    unheard: NDArray[np.bool_]
    source_zeros: NDArray[np.int64]
    bursts: NDArray[np.int64]


class Rate:
    """Scores each key's counts in the windows that just closed against that key's own history.

    Counts are modelled as negative binomial, so a quiet key that goes from 0 to 5 and a busy one that goes from
    9,000 to 12,000 are judged on one scale. A key seen less than once in ten windows cannot spike detectably at a
    few alerts a day: one that knows all rates and seasons finds 86 of the 183 simulated spikes. Not for values, only
    for counts.

    `enter`, `score` and `learn` are called in this order with each slice. Scoring changes nothing. What is found and
    learned does not depend on how a block's windows are cut into slices.

    Shapes:
        born: bool[k], keys that have been counted at least once.
    """

    def __init__(self) -> None:
        self.baseline = Baseline()
        self._silences = ZeroRuns()
        self.habits = Habits()
        self._past_known = 0
        self._block_end_ns = 0
        self._rows = 0
        self._recent = np.zeros((HISTORY + BLOCK, 0), np.float32)
        self._step: NDArray[np.float64] | None = None
        for name, dtype in _ARRAYS.items():
            setattr(self, name, np.zeros(0, dtype))

    born: NDArray[np.bool_]
    _odd: NDArray[np.bool_]
    _odd_blocks: NDArray[np.int32]
    _piled: NDArray[np.int32]

    @property
    def size(self) -> int:
        """Keys there is room for."""
        return self.baseline.size

    @property
    def tested(self) -> int:
        """Keys that have taught something: the tests made in a window."""
        return int(np.count_nonzero(self.baseline.seen))

    def enter(self, window_slice: Slice) -> None:
        """Make room for a slice's keys, and where it comes after a gap, close the book on what was before."""
        self._grow(window_slice.counts.shape[1])
        if window_slice.gap or self._rows + len(window_slice) > BLOCK:
            self._finish_block()
        if window_slice.gap:
            self._recent[:] = 0.0
            self._past_known = 0
            self._silences.gap()
            self.baseline.resume(window_slice.start_ns, window_slice.gap)
            self._step = None

    def _grow(self, size: int) -> None:
        more = size - self.size
        if more > 0:
            self.baseline.grow(size)
            self._silences.grow(more)
            self._recent = np.pad(self._recent, ((0, 0), (0, more)))
            self._step = None
            for name in _ARRAYS:
                setattr(self, name, np.pad(getattr(self, name), (0, more)))

    def score(self, window_slice: Slice) -> RateScores:
        """Tail probabilities of a slice's windows.

        Shapes:
            window_slice.counts: float64[b, k]; keys that have not learned enough score 1.0.
        """
        rows = len(window_slice)
        at = HISTORY + self._rows
        # Rows after those of the block so far are nobody's: `learn` says when they count.
        self._recent[at : at + rows] = window_slice.counts
        shape = window_slice.counts.shape
        spike, best, most = np.ones(shape), np.zeros(shape, np.int64), np.zeros(shape)
        total = self._recent[at : at + rows].copy()
        totals = []
        far = np.zeros(shape, np.bool_)
        for span, windows in enumerate(SPANS):
            for back in range(SPANS[span - 1] if span else 1, windows):
                total += self._recent[at - back : at - back + rows]
            far |= total > self.baseline.limit[span]
            totals.append(total.copy())
        far &= self.baseline.settled()
        row, key = np.nonzero(far)
        bursts = np.zeros((2, 0), np.int64)
        if len(row):
            sums = np.stack([each[row, key] for each in totals]).astype(np.float64)
            mean = np.maximum(self.baseline.high[key], 1e-6)
            phi = self.baseline.phi[:, key] + self.baseline.uncertainty(key)
            sums = np.where(self._piled_within(window_slice, row, key), np.minimum(sums, _WINDOWS * mean), sums)
            tails, span_of = rise_tails(sums, mean, phi)
            wild = np.flatnonzero(tails < BURST)
            wild = wild[np.bincount(row[wild], minlength=rows)[row[wild]] <= MOST_BURSTS]
            if len(wild):
                bursts = np.stack([row[wild], key[wild]])
                mean = np.maximum(mean[wild], self.habits.usual(key[wild], window_slice.first + row[wild]))
                tails[wild], span_of[wild] = rise_tails(sums[:, wild], mean, phi[:, wild])
            spike[row, key] = tails
            best[row, key] = span_of
            most[row, key] = sums[span_of, np.arange(len(row))]
        silences = self._silences.score(window_slice, self._zero_step(), self.born)
        return RateScores(spike, best, most, *silences, bursts)

    def _piled_within(self, window_slice: Slice, row: NDArray[np.int64], key: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[len(SPANS), n]: sums of some keys up to some rows in which late records pile up.

        They say nothing of their window; the longest sum, as long as records may be late, has them where they belong.
        """
        latest = self._piled[key]
        for window, piled, _ in self._piles(window_slice).T.tolist():
            latest = np.where((key == piled) & (window_slice.first + row >= window), window, latest)
        within: NDArray[np.bool_] = window_slice.first + row - latest < _WINDOWS
        within[-1] = False
        return within

    def _piles(self, window_slice: Slice) -> NDArray[np.int64]:
        """Of a slice's late records those that are more than a window of their key usually has; in order of time."""
        late = window_slice.late
        late = late[:, late[2] >= np.maximum(self.baseline.high[late[1]], MIN_SPIKE)]
        return late[:, np.argsort(late[0], kind="stable")]

    def _zero_step(self) -> NDArray[np.float64]:
        """float64[k]: log of the probability that a window is zero by chance."""
        if self._step is None:
            mean, phi = self.baseline.low, self.baseline.phi[0].astype(np.float64)
            self._step = np.where(self.baseline.seen >= YOUNG_SILENCE, -np.log1p(phi * mean) / phi, 0.0)
        return self._step

    def learn(self, window_slice: Slice, scores: RateScores, odd: NDArray[np.bool_]) -> None:
        """Take the slice in.

        Shapes:
            odd: bool[k], keys that are part of an anomaly now; they teach nothing until it ends or lasts
                REBASE_BLOCKS blocks.
        """
        self._silences.learn(window_slice, Zeros(scores.silence, scores.zeros, scores.unheard, scores.source_zeros))
        window, key, _ = self._piles(window_slice)
        self._piled[key] = window
        row, key = scores.bursts
        self.habits.learn(key, window_slice.first + row, window_slice.counts[row, key])
        self.born |= window_slice.counts.any(axis=0)
        self._odd |= odd
        self._rows += len(window_slice)
        self._block_end_ns = window_slice.end_ns
        if window_slice.ends_block:
            self._finish_block()

    def _finish_block(self) -> None:
        rows = self._rows
        if not rows:
            return
        self._odd_blocks = np.where(self._odd, self._odd_blocks + 1, 0)
        quiet = self.born & (~self._odd | (self._odd_blocks > REBASE_BLOCKS))
        self._silences.finish(self._zero_step())
        self.baseline.learn(self._block_end_ns, self._recent[: HISTORY + rows], rows, quiet, self._past_known)
        self._step = None
        self._recent[:HISTORY] = self._recent[rows : rows + HISTORY]
        self._past_known = min(HISTORY, self._past_known + rows)
        self._rows = 0
        self._odd[:] = False

    def rebase(self, ratios: NDArray[np.float64]) -> None:
        """Keys are on a new level for good: what was usual is so many times as much, 1.0 for those that are not.

        Shapes:
            ratios: float64[k]. It counts from the next block on.
        """
        keys = np.flatnonzero(ratios != 1.0)
        if len(keys):
            self.baseline.rebase(keys, ratios[keys])

    def merge(self, old: int, new: int) -> None:
        """The template of key `old` became part of that of key `new`: their histories add up."""
        if old >= self.size:
            return
        self._grow(new + 1)
        if self.born[old]:
            self._silences.merge(old, new, both=bool(self.born[new]))
            self._odd_blocks[new] = max(self._odd_blocks[old], self._odd_blocks[new])
            self._odd[new] |= self._odd[old]
            self._piled[new] = max(self._piled[old], self._piled[new])
            self.born[new] = True
        self.baseline.merge(old, new)
        self.habits.merge(old, new)
        self._recent[:, new] += self._recent[:, old]
        self.forget([old])

    def forget(self, keys: Sequence[int]) -> None:
        """Know nothing of some keys any more, so that their numbers can be given to others."""
        gone = [key for key in keys if key < self.size]
        if gone:
            self.baseline.forget(gone)
            self._silences.forget(gone)
            self.habits.forget(gone)
            self._recent[:, gone] = 0.0
            self._step = None
            for name in _ARRAYS:
                getattr(self, name)[gone] = 0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "baseline": self.baseline.state(),
            "silences": self._silences.state(),
            "habits": self.habits.state(),
            "past_known": self._past_known,
            "block_end_ns": self._block_end_ns,
            "_past": pack_array(self._recent[:HISTORY]),
            "_block": pack_array(self._recent[HISTORY : HISTORY + self._rows]),
            **{name: pack_array(getattr(self, name)) for name in _ARRAYS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        self.baseline.restore(state["baseline"])
        self._silences.restore(state["silences"], self.size)
        self.habits.restore(state["habits"])
        self._past_known, self._block_end_ns = int(state["past_known"]), int(state["block_end_ns"])
        past, block = (unpack_array(state[name], np.float32) for name in ("_past", "_block"))
        rows = len(block) if block.ndim == 2 else 0
        arrays = {name: unpack_array(state[name], dtype) for name, dtype in _ARRAYS.items()}
        shapes: dict[str, tuple[int, ...]] = {"_past": (HISTORY, self.size), "_block": (min(rows, BLOCK), self.size)}
        shapes |= dict.fromkeys(arrays, (self.size,))
        check_shapes("rate detector", {"_past": past, "_block": block, **arrays}, shapes)
        for name, array in arrays.items():
            setattr(self, name, array)
        self._recent = np.zeros((HISTORY + BLOCK, self.size), np.float32)
        self._recent[:HISTORY], self._recent[HISTORY : HISTORY + rows] = past, block
        self._rows, self._step = rows, None


_ARRAYS: dict[str, Any] = {"born": np.bool_, "_odd": np.bool_, "_odd_blocks": np.int32, "_piled": np.int32}
_WINDOWS = np.array(SPANS)[:, None]
