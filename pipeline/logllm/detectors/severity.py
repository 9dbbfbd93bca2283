"""Severity shift: a service's share of errors against its own history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.baseline import HISTORY, SPANS, negative_binomial_tail, pack_array, unpack_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.detectors.windows import Slice

__all__ = ["SeverityShift"]

YOUNG = 30
MIN_ERRORS = 6
HALF_LIFE = 480.0


class SeverityShift:
    """Scores the errors of each service, given how much it logged.

    Errors among `n` records are taken as negative binomial with mean `n * q`; `q` and the dispersion are learned a
    block at a time. Busy hours alone do not alert: the share must grow. Blind to services that log nothing but
    errors, or fewer than MIN_ERRORS of them in fifteen windows.
    """

    def __init__(self) -> None:
        self._rate = 1.0 - 0.5 ** (1.0 / HALF_LIFE)
        self._past = np.zeros((2, HISTORY, 0))
        self._block = np.zeros((2, 0, 0))
        self._seen = np.zeros(0)
        self._errors = np.zeros(0)
        self._totals = np.zeros(0)
        self._excess = np.zeros(0)
        self._squares = np.zeros(0)
        self._odd = np.zeros(0, np.bool_)

    def _grow(self, services: int) -> None:
        more = services - len(self._seen)
        if more > 0:
            for name in _ARRAYS:
                array = getattr(self, name)
                setattr(self, name, np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, more)]))

    def share(self) -> NDArray[np.float64]:
        """float64[s]: the usual share of errors, shrunk towards one in a thousand."""
        share: NDArray[np.float64] = (self._errors + 0.02) / (self._totals + 20.0)
        return share

    def score(self, window_slice: Slice, service: NDArray[np.int32], services: int) -> NDArray[np.float64]:
        """float64[b, s]: P(this many errors or more among what the service logged), smallest of the spans."""
        self._grow(services)
        both = self._by_service(window_slice, service, services)
        past = np.zeros_like(self._past) if window_slice.gap else self._past
        history = np.concatenate([past, both], axis=1)
        rows = both.shape[1]
        sums = np.cumsum(history, axis=1)
        share = self.share()
        phi = np.clip((self._excess + 0.05 * 0.5) / (self._squares + 0.05), 0.05, 50.0)
        tail = np.ones((rows, services))
        for windows in SPANS:
            total = sums[:, HISTORY:].copy()
            if windows <= HISTORY:
                total -= sums[:, HISTORY - windows : HISTORY - windows + rows]
            else:
                total[:, 1:] -= sums[:, : rows - 1]
            errors, records = total
            mean = np.maximum(records * share, 1e-3)
            row, s = np.nonzero((errors >= MIN_ERRORS) & (errors > 3.0 * mean) & (self._seen >= YOUNG))
            if len(row):
                uncertain = 1.0 / (self._errors[s] + 0.5)
                p = negative_binomial_tail(errors[row, s], mean[row, s], phi[s] + uncertain)
                tail[row, s] = np.minimum(tail[row, s], p)
        return tail

    @staticmethod
    def _by_service(window_slice: Slice, service: NDArray[np.int32], services: int) -> NDArray[np.float64]:
        rows, keys = window_slice.counts.shape
        flat = (np.arange(rows)[:, None] * services + service[None, :keys]).ravel()
        return np.stack(
            [
                np.bincount(flat, weights=values.ravel(), minlength=rows * services).reshape(rows, services)
                for values in (window_slice.severe, window_slice.counts)
            ]
        )

    def learn(self, window_slice: Slice, service: NDArray[np.int32], services: int, odd: NDArray[np.bool_]) -> None:
        """Take the slice in. `odd`: bool[s], services whose errors teach nothing now."""
        self._grow(services)
        if window_slice.gap:
            self._finish_block()
            self._past = np.zeros_like(self._past)
        self._odd |= odd
        both = self._by_service(window_slice, service, services)
        self._block = np.concatenate([self._block, both], axis=1)
        if window_slice.ends_block:
            self._finish_block()

    def _finish_block(self) -> None:
        rows = self._block.shape[1]
        if not rows:
            return
        errors, totals = self._block
        history = np.concatenate([self._past, self._block], axis=1)
        decay = (1.0 - self._rate) ** rows
        quiet = ~self._odd
        share = self.share()
        mean = totals.sum(axis=0) * share
        excess = (errors.sum(axis=0) - mean) ** 2 - mean
        ready = quiet & (self._seen >= YOUNG)
        weight = 1.0 - decay
        self._excess += np.where(ready, weight * (excess - self._excess), 0.0)
        self._squares += np.where(ready, weight * (mean * mean - self._squares), 0.0)
        for array, block in ((self._errors, errors), (self._totals, totals)):
            array[quiet] = array[quiet] * decay + block.sum(axis=0)[quiet]
        self._seen += np.where(totals.sum(axis=0) > 0, rows, 0)
        self._past = history[:, -HISTORY:]
        self._block = np.zeros((2, 0, len(self._seen)))
        self._odd = np.zeros(len(self._seen), np.bool_)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {name: pack_array(getattr(self, name)) for name in _ARRAYS}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back."""
        for name, dtype in _ARRAYS.items():
            setattr(self, name, unpack_array(state[name], dtype))


_ARRAYS: dict[str, Any] = {
    "_past": np.float64,
    "_block": np.float64,
    "_seen": np.float64,
    "_errors": np.float64,
    "_totals": np.float64,
    "_excess": np.float64,
    "_squares": np.float64,
    "_odd": np.bool_,
}
