"""Severity shift: a service's share of errors against its own history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.dispersion import negative_binomial_tail
from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.detectors.rises import HISTORY, SPANS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.detectors.windows import Slice

__all__ = ["SeverityShift", "ShiftScores"]

YOUNG = 30
MIN_ERRORS = 6
HALF_LIFE = 480.0
REBASE_BLOCKS = 8
"""After two hours of the same shift it is the new normal and is learned."""


@dataclass(frozen=True, slots=True)
class ShiftScores:
    """Tail probabilities of one slice; 1.0 where there is nothing to say.

    Shapes:
        tail: float64[b, s], P(this many errors or more among what the service logged), smallest of the spans.
        span: int64[b, s], index into SPANS of that smallest.
        errors, expected: float64[b, s], errors seen and expected in that span, where `tail` is below 1.
    """

    tail: NDArray[np.float64]
    span: NDArray[np.int64]
    errors: NDArray[np.float64]
    expected: NDArray[np.float64]


class SeverityShift:
    """Scores the errors of each service, given how much it logged.

    Errors among `n` records are taken as negative binomial with mean `n * q`; `q` and the dispersion are learned a
    block at a time. Busy hours alone do not alert: the share must grow. Blind to services that log nothing but
    errors, or fewer than MIN_ERRORS of them in fifteen windows. `enter`, `score` and `learn` as for `Rate`.
    """

    def __init__(self) -> None:
        self._rate = 1.0 - 0.5 ** (1.0 / HALF_LIFE)
        self._counted: tuple[Slice, NDArray[np.float64]] | None = None
        for name, dtype in _ARRAYS.items():
            setattr(self, name, np.zeros((*_LEADING.get(name, ()), 0), dtype))

    _past: NDArray[np.float64]
    _block: NDArray[np.float64]
    _seen: NDArray[np.float64]
    _errors: NDArray[np.float64]
    _totals: NDArray[np.float64]
    _excess: NDArray[np.float64]
    _squares: NDArray[np.float64]
    _odd: NDArray[np.bool_]
    _odd_blocks: NDArray[np.int64]

    @property
    def tested(self) -> int:
        """Services that have been counted at least once: the tests made in a window."""
        return int((self._seen > 0).sum())

    def enter(self, window_slice: Slice, services: int) -> None:
        """Make room for the services, and where a slice comes after a gap, close the book on what was before."""
        more = services - len(self._seen)
        if more > 0:
            for name in _ARRAYS:
                array = getattr(self, name)
                setattr(self, name, np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, more)]))
        if window_slice.gap:
            self._finish_block()
            self._past = np.zeros_like(self._past)

    def share(self) -> NDArray[np.float64]:
        """float64[s]: the usual share of errors, shrunk towards one in a thousand."""
        share: NDArray[np.float64] = (self._errors + 0.02) / (self._totals + 20.0)
        return share

    def score(self, window_slice: Slice, service: NDArray[np.int32]) -> ShiftScores:
        """Tail probabilities of a slice's windows.

        Shapes:
            service: int32[k], the service of each key of the slice.
        """
        services = len(self._seen)
        both = self._by_service(window_slice, service)
        before = np.concatenate([self._past, self._block], axis=1)[:, -HISTORY:]
        rows = both.shape[1]
        scores = ShiftScores(
            np.ones((rows, services)),
            np.zeros((rows, services), np.int64),
            np.zeros((rows, services)),
            np.zeros((rows, services)),
        )
        if (before[0].sum(axis=0) + both[0].sum(axis=0)).max(initial=0.0) < MIN_ERRORS:
            return scores
        sums = np.cumsum(np.concatenate([before, both], axis=1), axis=1)
        share = self.share()
        phi = np.clip((self._excess + 0.05 * 0.5) / (self._squares + 0.05), 0.05, 50.0)
        for span, windows in enumerate(SPANS):
            total = sums[:, HISTORY:].copy()
            if windows <= HISTORY:
                total -= sums[:, HISTORY - windows : HISTORY - windows + rows]
            else:
                total[:, 1:] -= sums[:, : rows - 1]
            errors, records = total
            mean = np.maximum(records * share, 1e-3)
            row, s = np.nonzero((errors >= MIN_ERRORS) & (errors > 3.0 * mean) & (self._seen >= YOUNG))
            if not len(row):
                continue
            tail = negative_binomial_tail(errors[row, s], mean[row, s], phi[s] + 1.0 / (self._errors[s] + 0.5))
            better = tail < scores.tail[row, s]
            row, s = row[better], s[better]
            scores.tail[row, s] = tail[better]
            scores.span[row, s] = span
            scores.errors[row, s] = errors[row, s]
            scores.expected[row, s] = mean[row, s]
        return scores

    def learn(self, window_slice: Slice, service: NDArray[np.int32], odd: NDArray[np.bool_]) -> None:
        """Take the slice in. `odd`: bool[s], services whose errors teach nothing now, for REBASE_BLOCKS at most."""
        self._odd |= odd
        self._block = np.concatenate([self._block, self._by_service(window_slice, service)], axis=1)
        self._counted = None
        if window_slice.ends_block:
            self._finish_block()

    def _by_service(self, window_slice: Slice, service: NDArray[np.int32]) -> NDArray[np.float64]:
        """float64[2, b, s]: errors and records of each service; `learn` finds what `score` counted."""
        services = len(self._seen)
        if self._counted is not None and self._counted[0] is window_slice and self._counted[1].shape[2] == services:
            return self._counted[1]
        rows, keys = window_slice.counts.shape
        both = np.zeros((2, rows, services))
        mine = service[:keys]
        for row in range(rows):
            both[1, row] = np.bincount(mine, weights=window_slice.counts[row], minlength=services)
            if window_slice.severe[row].any():
                both[0, row] = np.bincount(mine, weights=window_slice.severe[row], minlength=services)
        self._counted = window_slice, both
        return both

    def _finish_block(self) -> None:
        rows = self._block.shape[1]
        if not rows:
            return
        errors, totals = self._block.sum(axis=1)
        decay = (1.0 - self._rate) ** rows
        self._odd_blocks = np.where(self._odd, self._odd_blocks + 1, 0)
        quiet = ~self._odd | (self._odd_blocks > REBASE_BLOCKS)
        mean = totals * self.share()
        excess = (errors - mean) ** 2 - mean
        ready = quiet & (self._seen >= YOUNG)
        weight = 1.0 - decay
        self._excess += np.where(ready, weight * (excess - self._excess), 0.0)
        self._squares += np.where(ready, weight * (mean * mean - self._squares), 0.0)
        for array, block in ((self._errors, errors), (self._totals, totals)):
            array[quiet] = array[quiet] * decay + block[quiet]
        self._seen += np.where(quiet & (totals > 0), rows, 0)
        self._past = np.concatenate([self._past, self._block], axis=1)[:, -HISTORY:]
        self._block = np.zeros((2, 0, len(self._seen)))
        self._odd = np.zeros(len(self._seen), np.bool_)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in _ARRAYS}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        arrays = {name: unpack_array(state[name], dtype) for name, dtype in _ARRAYS.items()}
        services = arrays["_seen"].size
        shapes = {name: (*_LEADING.get(name, ()), services) for name in arrays}
        if arrays["_block"].ndim == 3:
            shapes["_block"] = (2, arrays["_block"].shape[1], services)
        check_shapes("severity shift", arrays, shapes)
        for name, array in arrays.items():
            setattr(self, name, array)


_ARRAYS: dict[str, Any] = {
    "_past": np.float64,
    "_block": np.float64,
    "_seen": np.float64,
    "_errors": np.float64,
    "_totals": np.float64,
    "_excess": np.float64,
    "_squares": np.float64,
    "_odd": np.bool_,
    "_odd_blocks": np.int64,
}
_LEADING = {"_past": (2, HISTORY), "_block": (2, 0)}
