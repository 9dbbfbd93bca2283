"""Numbers that are not what they usually are: latencies, sizes, whatever a record measures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.values.block import Measured
from logllm.detectors.values.cells import BIN_WIDTH, Cells, bins_of, quantile_of, value_at
from logllm.detectors.values.config import ValuesConfig
from logllm.detectors.values.spans import SPANS
from logllm.detectors.values.watched import Watched
from logllm.errors import StateError
from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from logllm.detectors.contract import Seen
    from logllm.detectors.slices import Slice
    from logllm.detectors.values.messages import Messages

__all__ = ["TESTS", "ValueShift"]

TESTS = frozenset(("up", "down", "share"))

_LEAST_RATIO = {"up": 1.25, "down": 1.25, "share": 1.5}
"""By how much a value must differ from the usual one to be news to anyone, however sure it is."""

_ODD_TIMES = 100.0
_SURELY_USUAL = 1e-3
"""What is a hundred times as likely as what is told, but less than this, is not told and not learned either."""


class ValueShift:
    """Watches every number by key and field: its level, and how many values lie far out.

    On logarithms, in each window: the winsorised mean over 1, 5, 15 and 45 windows against its own history (a latency
    that doubled), and how many values lie beyond the usual 98th percentile (one request in twenty hangs). A series
    speaks when it has learned from 200 values in 30 windows. What is flagged is not learned for two hours; then it is
    the new normal.

    Not for numbers that are negative or mostly zero (a negative one counts as less than nothing, no more), nor for
    counters that only rise, nor for shifts of less than a quarter, nor for a single value, however far out.

    Args:
        service_of: The service of a key.
        messages: Numbers within messages are read from its samples; None where only fields are watched. It is seen,
            merged and saved by this detector.
        tests: Which of TESTS are made.

    Costs 0.1 us a value; memory is some 6 KB a series, and what values open windows have.
    """

    kind = "value"

    def __init__(
        self,
        config: ValuesConfig | None = None,
        service_of: Callable[[int], int] = lambda _: -1,
        messages: Messages | None = None,
        *,
        tests: frozenset[str] = TESTS,
    ) -> None:
        self._config = config or ValuesConfig()
        self._service_of = service_of
        self.messages = messages
        self._tests = tests
        self._watched = Watched(self._config.most_series)
        self._cells = Cells()
        self._block_cells = Cells()
        self._block = Measured.none()
        self._with: Measured | None = None
        self._block_end = 0
        self._odd = np.zeros(0, np.bool_)
        self._judged: tuple[NDArray[np.int64], Measured, NDArray[np.bool_]] | None = None

    @property
    def tested(self) -> int:
        """Tests it makes in a window now."""
        return len(self._tests) * int(self._watched.ready.sum())

    @property
    def refused(self) -> int:
        """Values that were not taken in, since there was no room for their series."""
        return self._watched.series.refused

    def see(self, seen: Seen) -> None:
        """See `Reader.see`."""
        fields = seen.columns.fields
        if fields is not None and self._config.enabled:
            columns = {}
            for name, values in fields.numbers.items():
                at = np.flatnonzero(np.isfinite(values))
                if len(at):
                    columns[name] = (at, seen.keys[at].astype(np.int64))
            for name, numbers in self._watched.series.numbers(columns).items():
                at = columns[name][0][numbers >= 0]
                self._cells.add(seen.window[at], numbers[numbers >= 0], bins_of(fields.numbers[name][at]))
            self._grow()
        if self.messages is not None:
            self.messages.see(seen)

    def _grow(self) -> None:
        self._watched.grow()
        more = self._watched.size - len(self._odd)
        if more > 0:
            self._odd = np.pad(self._odd, (0, more))

    def judge(self, window_slice: Slice, level: float) -> list[Anomaly]:
        """See `Detector.judge`."""
        if window_slice.gap:
            self._finish_block()
            self._watched.usual.restart(window_slice.start_ns)
            self._watched.tail.restart()
        cells = self._cells_of(window_slice)
        now = self._watched.measure(cells, window_slice.first, len(window_slice))
        found, odd = self._compare(window_slice, cells, now, level)
        self._judged = cells, now, odd
        return found

    def _cells_of(self, window_slice: Slice) -> NDArray[np.int64]:
        first, end = window_slice.first, window_slice.first + len(window_slice)
        if self.messages is None:
            return self._cells.within(first, end)
        series = self._watched.series
        said = self.messages.read(window_slice).numbers
        of = [series.number(numbers.key, numbers.name) for numbers in said]
        self._grow()
        series.refused += sum(len(numbers.rows) for numbers, number in zip(said, of, strict=True) if number < 0)
        taken = [(numbers, number) for numbers, number in zip(said, of, strict=True) if number >= 0]
        if not taken:
            return self._cells.within(first, end)
        row = np.array([row for numbers, _ in taken for row in numbers.rows])
        bins = bins_of(np.array([value for numbers, _ in taken for value in numbers.values]))
        number = np.repeat([number for _, number in taken], [len(numbers.rows) for numbers, _ in taken])
        return self._cells.within(first, end, np.stack([row + first, number, bins, np.ones_like(bins)]))

    def _compare(
        self, window_slice: Slice, cells: NDArray[np.int64], now: Measured, level: float
    ) -> tuple[list[Anomaly], NDArray[np.bool_]]:
        watched, rows = self._watched, len(window_slice)
        block = self._with = self._block.then(now)
        departure = watched.usual.judge(block.level * BIN_WIDTH, watched.variance(block.count), block.count, rows)
        share = watched.tail.judge(block.beyond, block.count, rows)
        odd_level = min(_ODD_TIMES * level, _SURELY_USUAL)
        worth = max(odd_level, level)
        if departure.usual(worth) and not (share[0] < worth).any():
            return [], np.zeros(watched.size, np.bool_)
        tests = {"up": (departure.up, departure.up_span), "down": (departure.down, departure.down_span), "share": share}
        tests = {
            name: (np.where(watched.ready, tail, 1.0), span)
            for name, (tail, span) in tests.items()
            if name in self._tests
        }
        least = np.ones(departure.up.shape)
        for tail, _ in tests.values():
            np.minimum(least, tail, out=least)
        odd = np.asarray((least < odd_level).any(axis=0), np.bool_)
        found = []
        for row, series in zip(*(axis.tolist() for axis in np.nonzero(least < level)), strict=True):
            window, middle = window_slice.first + row, float(watched.usual.middle[series])
            by = {"up": departure.up_level[row, series] - middle, "down": departure.down_level[row, series] - middle}
            for name, (tail, span) in sorted(tests.items(), key=lambda test: float(test[1][0][row, series])):
                probability = float(tail[row, series])
                if probability >= level:
                    break
                if name in by:
                    expected = value_at(middle / BIN_WIDTH + float(watched.tail.middle[series]))
                    value = expected * math.exp(min(by[name], 600.0))
                else:
                    expected = value_at(middle / BIN_WIDTH + float(watched.tail.high[series]))
                    value = quantile_of(cells, window, series, 0.99)
                if (name == "down" or value > expected) and _ratio(expected, value) >= _LEAST_RATIO[name]:
                    windows = SPANS[int(span[row, series])]
                    found.append(self._anomaly(window, windows, series, expected, value, probability))
                    break
        return found, odd

    def _anomaly(self, window: int, span: int, series: int, expected: float, seen: float, tail: float) -> Anomaly:
        key, field = self._watched.series.pair(series)
        surprise = 300.0 if tail <= 0.0 else min(300.0, -math.log10(tail))
        severity = int(_severity(expected, seen))
        service = self._service_of(key)
        return Anomaly(self.kind, window, span, service, key, [key], expected, seen, surprise, severity, field)

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """See `Detector.learn`."""
        if self._judged is None:
            raise ValueError("a slice is judged before it is learned from")
        cells, now, odd = self._judged
        self._judged = None
        self._odd |= odd
        if held.any():
            keys = self._watched.series.keys()
            inside = (keys >= 0) & (keys < len(held))
            self._odd[inside] |= held[keys[inside]]
        self._block, self._with = self._block.then(now) if self._with is None else self._with, None
        self._block_cells.put(cells)
        self._block_end = window_slice.first + len(window_slice)
        self._cells.close(self._block_end)
        if self.messages is not None:
            self.messages.learn(window_slice)
        if window_slice.ends_block:
            self._finish_block()

    def _finish_block(self) -> None:
        rows = len(self._block)
        if rows:
            first = self._block_end - rows
            self._watched.learn(self._block_cells.within(first, self._block_end), self._block, first, self._odd)
            self._odd = np.zeros(self._watched.size, np.bool_)
            self._block, self._block_cells, self._with = Measured.none(), Cells(), None
            self._drop(self._watched.surplus())

    def _drop(self, numbers: list[int]) -> None:
        if not numbers:
            return
        self._with = None
        self._watched.drop(numbers)
        self._odd[numbers] = False
        self._cells.drop(numbers)
        self._block_cells.drop(numbers)
        self._block.clear(numbers)

    def merge(self, old: int, new: int) -> None:
        """See `Detector.merge`. Of two series of one field the one that knows more stays; open windows add up."""
        series = self._watched.series
        there = dict(series.of_key(new))
        for field, number in series.of_key(old):
            if field not in there:
                series.rename(number, new)
                continue
            for cells in (self._cells, self._block_cells):
                cells.merge(number, there[field])
            self._odd[there[field]] |= self._odd[number]
            self._watched.join(number, there[field])
            self._drop([number])
            self._measure_again(there[field])
        if self.messages is not None:
            self.messages.merge(old, new)

    def _measure_again(self, series: int) -> None:
        """The values of a series in the block that runs are not what they were, or what is known of it is not."""
        self._with = None
        rows = len(self._block)
        if rows:
            first = self._block_end - rows
            cells = self._block_cells.within(first, self._block_end)
            now = self._watched.measure(cells[:, cells[1] == series], first, rows)
            self._block = self._block.replaced(series, now)

    def forget(self, keys: Sequence[int]) -> None:
        """See `Detector.forget`."""
        self._drop(self._watched.series.of_keys(keys))
        if self.messages is not None:
            self.messages.forget(keys)

    def state(self) -> dict[str, Any]:
        """See `Detector.state`."""
        return {
            "watched": self._watched.state(),
            "cells": self._cells.state(),
            "block_cells": self._block_cells.state(),
            "block": self._block.state(),
            "block_end": self._block_end,
            "odd": pack_array(self._odd),
            "messages": None if self.messages is None else self.messages.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """See `Detector.restore`."""
        try:
            self._watched.restore(state["watched"])
            size = self._watched.size
            self._cells.restore(state["cells"], size)
            self._block_cells.restore(state["block_cells"], size)
            self._block = Measured.restored(state["block"], size)
            self._block_end = int(state["block_end"])
            self._odd = unpack_array(state["odd"], np.bool_)
            if self.messages is not None and state["messages"] is not None:
                self.messages.restore(state["messages"])
        except (LookupError, TypeError, ValueError) as error:
            raise StateError(f"saved values are damaged: {error!r}") from error
        if self._odd.shape != (size,):
            raise StateError(f"saved values: odd series have shape {self._odd.shape}, expected {size}")
        self._judged = self._with = None


def _ratio(expected: float, seen: float) -> float:
    if expected <= 0.0 or seen <= 0.0:
        return math.inf if seen != expected else 1.0
    return max(seen / expected, expected / seen)


def _severity(expected: float, seen: float) -> Severity:
    """By how far: five times as much is an error, what is less than usual at most a warning."""
    ratio = _ratio(expected, seen)
    if seen > expected:
        return Severity.ERROR if ratio >= 5.0 else Severity.WARN if ratio >= 1.5 else Severity.INFO
    return Severity.WARN if ratio >= 5.0 else Severity.INFO
