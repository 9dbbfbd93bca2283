"""Times of JSON records: texts in any notation, or numbers of seconds, milli-, micro- or nanoseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.sources.formats.clock import Clock
from logllm.sources.formats.notations import NOTATIONS, Notation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.sources.formats.line_format import Reading

__all__ = ["JsonTimes", "whole_notation"]


def whole_notation(text: str) -> Notation | None:
    """The notation that reads all of `text`; None where none does."""
    for name, notation in NOTATIONS.items():
        if not name.startswith("klog") and notation.read(text) is not None:
            return notation
    return None


class JsonTimes:
    """Reads a column of JSON values as times.

    Shapes:
        values: n values of any type.
        returns: int64[n] nanoseconds and bool[n], False where the value is no time.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._clock: Clock | None = None

    def read(self, values: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """See the class."""
        kinds = set(map(type, values))
        if kinds == {str}:
            return self._texts(values)
        if kinds == {int} or kinds == {float}:
            return _numbers(values)
        times, ok = np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
        for kind in kinds & {str, int, float}:
            rows = [row for row, value in enumerate(values) if type(value) is kind]
            part = [values[row] for row in rows]
            times[rows], ok[rows] = self._texts(part) if kind is str else _numbers(part)
        return times, ok

    def _texts(self, texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        if self._clock is not None:
            times, ok = self._clock.read(texts)
            if ok.any():
                return times, ok
        notation = next((found for text in texts[:50] if (found := whole_notation(text))), None)
        if notation is None:
            return np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
        self._clock = Clock(notation, self._reading)
        return self._clock.read(texts)


def _numbers(values: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Epochs; the unit is told by the size, which is unambiguous from 1973 to 5138."""
    raw = np.array(values, np.float64)
    size = np.abs(raw)
    ok = np.isfinite(raw) & (size < 9.2e18)
    size = np.where(ok, size, 0.0)
    scale = np.select([size < 1e11, size < 1e14, size < 1e17], [1_000_000_000, 1_000_000, 1_000], 1).astype(np.int64)
    if type(values[0]) is int and ok.all():
        return np.array(values, np.int64) * scale, ok
    whole = np.floor(np.where(ok, raw, 0.0))
    # A float of seconds is exact to a quarter of a microsecond: what is finer is noise.
    part = np.round((np.where(ok, raw, 0.0) - whole) * 1e6) * (scale / 1e6)
    return whole.astype(np.int64) * scale + part.astype(np.int64), ok
