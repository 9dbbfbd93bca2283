"""How many distinct words each series had in each window that is still open, and a sample of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.values.hyperloglog import REGISTERS, add
from logllm.detectors.values.leading import leading
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["SAMPLE", "TOGETHER", "Sketches", "repeated"]

TOGETHER = 15
"""Windows put together, to count words that do not come every minute."""

SAMPLE = 128
"""The first words of a series in a window: enough to tell whether they repeat each other."""


_SPARSE = 64
"""Numbers that are one in so many of those there could be are marked; it is faster than to sort them."""


class _Open:
    """One window.

    Shapes:
        registers: uint8[k, REGISTERS]. count: int64[k]. lead: int64[k], -1 for none.
        sample: uint64[2, s], series and hash.
    """

    def __init__(self) -> None:
        self.registers = np.zeros((0, REGISTERS), np.uint8)
        self.count = np.zeros(0, np.int64)
        self.lead = np.zeros(0, np.int64)
        self.sample = np.zeros((2, 0), np.uint64)

    def grow(self, size: int) -> None:
        more = size - len(self.count)
        if more > 0:
            self.registers = np.pad(self.registers, ((0, more), (0, 0)))
            self.count = np.pad(self.count, (0, more))
            self.lead = np.pad(self.lead, (0, more), constant_values=-1)


class Sketches:
    """A sketch, a count, a sample and the first key of each series and window; two kilobytes each.

    Order and cuts make no difference to what is in them, but that the sample is of the first words.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._closed: dict[int, _Open] = {}
        self._since = -1

    def add(
        self,
        window: NDArray[np.int64],
        series: NDArray[np.int64],
        codes: NDArray[np.int64],
        hashes: NDArray[np.uint64],
        keys: NDArray[np.int64],
    ) -> None:
        """Take some words in, in order.

        Shapes:
            window, series, codes, keys: int64[n]; each word's code is its place in `hashes`: uint64[w].
        """
        if not len(window):
            return
        first = int(window.min())
        numbers = (_distinct(window - first, int(window.max()) - first + 1) + first).tolist()
        for number in numbers:
            here = slice(None) if len(numbers) == 1 else np.flatnonzero(window == number)
            mine, words = series[here], codes[here]
            opened = self._open.setdefault(number, _Open())
            size = int(mine.max()) + 1
            opened.grow(size)
            pairs = _distinct(mine * len(hashes) + words, size * len(hashes))
            add(opened.registers, pairs // len(hashes), hashes[pairs % len(hashes)])
            sampled = leading(mine, np.maximum(SAMPLE - opened.count, 0))
            if len(sampled):
                added = np.stack([mine[sampled].astype(np.uint64), hashes[words[sampled]]])
                opened.sample = np.concatenate([opened.sample, added], axis=1)
            opened.count += np.bincount(mine, minlength=len(opened.count))
            new = np.flatnonzero(opened.lead[mine] < 0)[::-1]
            # Of several the last one stays, which is the first here.
            opened.lead[mine[new]] = keys[here][new]

    def leads(self, window: int, size: int) -> NDArray[np.int64]:
        """int64[k]: the first key of each series in a window, -1 where it had none."""
        leads = np.full(size, -1, np.int64)
        opened = self._open.get(window)
        if opened is not None:
            leads[: len(opened.lead)] = opened.lead
        return leads

    def repeats(self, window: int, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """float64[k] each: how likely two sampled words of a series are the same, and how many were sampled."""
        opened = self._open.get(window)
        if opened is None or not opened.sample.shape[1]:
            return np.zeros(size), np.zeros(size)
        series, words = opened.sample
        order = np.argsort(words)
        # Small numbers are sorted by their digits, which is faster than by comparing.
        of = series[order].astype(np.uint16 if size <= 1 << 16 else np.uint64)
        order = order[np.argsort(of, kind="stable")]
        series, words = series[order].astype(np.int64), words[order]
        new = np.flatnonzero((series[1:] != series[:-1]) | (words[1:] != words[:-1])) + 1
        begins = np.concatenate([_FIRST, new])
        times = np.diff(np.append(begins, len(series)))
        series = series[begins]
        sampled = np.bincount(series, times, size).astype(np.float64)
        same = np.bincount(series, times * (times - 1.0), size)
        return repeated(same.astype(np.float64), sampled), sampled

    def together(self, window: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Registers and counts of the TOGETHER windows that end with this one, as one."""
        registers, counts = np.zeros((size, REGISTERS), np.uint8), np.zeros(size, np.int64)
        if not self._open and not self._closed:
            return registers, counts
        for number in range(window - TOGETHER + 1, window + 1):
            opened = self._open.get(number, self._closed.get(number))
            if opened is not None:
                k = len(opened.count)
                np.maximum(registers[:k], opened.registers, out=registers[:k])
                counts[:k] += opened.count
        return registers, counts

    def begin(self, first: int, *, anew: bool) -> None:
        """The next window to be judged; with `anew` nothing is known of those before it."""
        if anew or self._since < 0:
            self._closed, self._since = {}, first

    def whole(self, window: int) -> bool:
        """Whether all of the windows are known that `together` puts together."""
        return self._since >= 0 and window - self._since >= TOGETHER - 1

    def close(self, end: int) -> None:
        """The windows before `end` are done; the last of them are remembered for `together`."""
        for window in sorted(window for window in self._open if window < end):
            self._closed[window] = self._open.pop(window)
            self._closed[window].sample = np.zeros((2, 0), np.uint64)
        self._closed = {window: closed for window, closed in self._closed.items() if window > end - TOGETHER}

    def merge(self, old: int, new: int) -> None:
        """Key `old` is part of key `new`."""
        for opened in self._open.values():
            opened.lead[opened.lead == old] = new

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone."""
        for opened in self._open.values():
            opened.lead[np.isin(opened.lead, keys)] = -1

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"since": self._since, "open": _packed(self._open), "closed": _packed(self._closed)}

    def restore(self, state: dict[str, Any], size: int) -> None:
        """Take a copy back, of at most `size` series. Raises StateError where it does not fit."""
        self._since = int(state["since"])
        self._open, self._closed = _unpacked(state["open"], size), _unpacked(state["closed"], size)


def _distinct(numbers: NDArray[np.int64], end: int) -> NDArray[np.int64]:
    """The distinct ones of numbers from 0 to before `end`, rising."""
    if end > _SPARSE * len(numbers) + 65_536:
        return np.unique(numbers)
    there = np.zeros(end, np.bool_)
    there[numbers] = True
    return np.flatnonzero(there)


def _packed(windows: dict[int, _Open]) -> list[Any]:
    return [
        [window, *(pack_array(each) for each in (opened.registers, opened.count, opened.lead, opened.sample))]
        for window, opened in windows.items()
    ]


def _unpacked(state: list[Any], size: int) -> dict[int, _Open]:
    found = {}
    for window, *arrays in state:
        opened = found[int(window)] = _Open()
        dtypes = (np.uint8, np.int64, np.int64, np.uint64)
        opened.registers, opened.count, opened.lead, opened.sample = map(unpack_array, arrays, dtypes)
        k = len(opened.count)
        shapes = (opened.registers.shape, opened.lead.shape, opened.sample.shape[:1])
        if shapes != ((k, REGISTERS), (k,), (2,)) or k > size or (opened.sample[0] >= max(k, 1)).any():
            raise StateError(f"saved sketches have shapes {shapes}, expected at most {size} series")
    return found


def repeated(same: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely two words are the same, of `same` ordered pairs that are (Simpson 1949): unbiased for any count."""
    return np.where(count > 1, same / np.maximum(count * (count - 1.0), 1.0), 0.0)


_FIRST = np.zeros(1, np.int64)
