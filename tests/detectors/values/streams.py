"""Records with values, and a detector driven through them, cut as a test wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from logllm.detectors.contract import Seen
from logllm.detectors.slices import BLOCK, Slice
from logllm.events import Columns, Fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from logllm.detectors.values.distinct import DistinctJump
    from logllm.detectors.values.shift import ValueShift
    from logllm.events import Anomaly

FIRST = 28_000_000 - 28_000_000 % BLOCK
LEVEL = 1e-6


@dataclass(frozen=True, slots=True)
class Records:
    """Records in order of time. Shapes: minute, keys int64[n]; numbers float64[n]; words and texts n str or none."""

    minute: NDArray[np.int64]
    keys: NDArray[np.int64]
    numbers: NDArray[np.float64] | None = None
    words: Sequence[str] | None = None
    texts: Sequence[str] | None = None

    def seen(self, start: int, end: int) -> Seen:
        """Some of them as a detector sees them."""
        n = end - start
        fields = Fields({}, {})
        if self.numbers is not None:
            fields.numbers["duration_ms"] = self.numbers[start:end]
        if self.words is not None:
            mine = self.words[start:end]
            values = list(dict.fromkeys(mine))
            number = {value: at for at, value in enumerate(values)}
            fields.words["user"] = np.array([number[word] for word in mine], np.int32), values
        times = (FIRST + self.minute[start:end]) * 60_000_000_000
        texts = [""] * n if self.texts is None else list(self.texts[start:end])
        columns = Columns(times, texts, np.zeros(n, np.uint8), np.zeros(n, np.int32), ["a"], fields=fields)
        return Seen(columns, self.keys[start:end].astype(np.int32), FIRST + self.minute[start:end])


def drive(
    detector: ValueShift | DistinctJump,
    records: Records,
    minutes: int,
    *,
    cut: int = 0,
    rows: int = 1,
    restart: Callable[[], Any] | None = None,
    held: NDArray[np.bool_] | None = None,
    level: float = LEVEL,
    beside: ValueShift | None = None,
) -> list[Anomaly]:
    """The anomalies of all records.

    Args:
        cut: Records a chunk; 0 for all of a window.
        rows: Windows a slice, a divisor of BLOCK.
        restart: Makes a new detector, which takes over with each slice.
        beside: A detector that is asked before, whose anomalies are not kept.
    """
    found: list[Anomaly] = []
    keys = int(records.keys.max()) + 1
    held = np.zeros(keys, np.bool_) if held is None else held
    for first in range(0, minutes, rows):
        start, end = (int(np.searchsorted(records.minute, minute)) for minute in (first, first + rows))
        for at in range(start, end, cut or max(end - start, 1)):
            seen = records.seen(at, min(end, at + cut) if cut else end)
            if beside is not None:
                beside.see(seen)
            detector.see(seen)
        counts = np.zeros((rows, keys))
        np.add.at(counts, (records.minute[start:end] - first, records.keys[start:end]), 1)
        window_slice = Slice(FIRST + first, counts, np.zeros_like(counts), 0, (FIRST + first + rows) % BLOCK == 0)
        if beside is not None:
            beside.judge(window_slice, level)
        found += detector.judge(window_slice, level)
        detector.learn(window_slice, held)
        if beside is not None:
            beside.learn(window_slice, held)
        if restart is not None:
            again = restart()
            again.restore(msgpack.unpackb(msgpack.packb(detector.state()), strict_map_key=False))
            detector = again
    return found


def lognormal(
    minutes: int,
    a_minute: float,
    median: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    *,
    keys: int = 1,
    sigma: float = 0.4,
    seed: int = 5,
) -> Records:
    """Records whose number is lognormal about a median that depends on the minute."""
    rng = np.random.default_rng(seed)
    minute = np.repeat(np.arange(minutes), rng.poisson(a_minute, minutes))
    numbers = median(minute) * np.exp(rng.normal(0, sigma, len(minute)))
    return Records(minute, rng.integers(0, keys, len(minute)), numbers)
