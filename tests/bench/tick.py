"""What a live window costs with many keys, judged and learned: rate, silence and severity alone, then all detectors.

    python tests/bench/tick.py [KEYS...]

Prints milliseconds of processor time a window for most windows and for the one that ends a block, the same as
multiples of adding two arrays of a float64 a key in the same run, and the bytes a key holds. With all detectors there
are RECORDS a window that have a number, a user and a session; taking those in is not part of what is measured.
"""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.budget import Budget
from logllm.detectors.config import DetectConfig
from logllm.detectors.contract import Seen
from logllm.detectors.detection import Detection
from logllm.detectors.keys import Keys
from logllm.detectors.novelty import Novelty
from logllm.detectors.rate import Rate
from logllm.detectors.sessions.config import SessionsConfig
from logllm.detectors.severity import SeverityShift
from logllm.detectors.silence import MIN_SILENT_MEAN, Silences
from logllm.detectors.slices import BLOCK, Slice
from logllm.events import WINDOW_NS, Columns, Fields, Severity
from logllm.explain.redact.redactor import Redactor
from logllm.pipeline_detectors import detectors_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SERVICES = 200
WINDOWS = 8 * BLOCK
PASSES = 20
RECORDS = 5_000
USERS = 500


class Fleet:
    """Keys of which most are zero in most windows, and the detectors over them."""

    def __init__(self, keys: int) -> None:
        self._source = np.random.default_rng(1)
        self._mean = np.exp(self._source.normal(-2.0, 2.0, keys)).clip(1e-4, 300.0)
        self._keys = Keys(max_keys=keys)
        codes = np.arange(keys, dtype=np.int32) % SERVICES
        self._keys.number(codes, [f"service-{at}" for at in range(SERVICES)], np.arange(keys, dtype=np.int32))
        self.rate, self.shift, self.budget = Rate(), SeverityShift(), Budget()
        self._silences = Silences(self._keys, self.rate, Novelty(), lambda _: int(Severity.INFO))
        self._severe = np.arange(keys) % 20 == 0

    def counts(self) -> NDArray[np.float64]:
        """float64[k]: records of each key in the next window."""
        return self._source.poisson(self._mean * self._source.gamma(4.0, 0.25, len(self._mean))).astype(np.float64)

    def tick(self, window: int, counts: NDArray[np.float64]) -> int:
        """One window; returns how much was odd."""
        severe = counts * self._severe
        window_slice = Slice(window, counts[None], severe[None], 0, (window + 1) % BLOCK == 0, live=True)
        service = self._keys.service[: len(counts)]
        self.rate.enter(window_slice)
        self.shift.enter(window_slice, SERVICES)
        self._silences.enter(len(counts))
        rate, shift = self.rate.score(window_slice), self.shift.score(window_slice, service)
        level = self.budget.level("rate", 2 * self.rate.tested)
        shifting = shift.tail[0] < self.budget.level("severity", 2 * self.shift.tested)
        silent = rate.silence[0] < math.log(self.budget.level("silence", self.rate.tested))
        silent &= (self.rate.baseline.low >= MIN_SILENT_MEAN) & rate.unheard[0]
        told = self._silences.judge(window_slice, 0, silent, rate, tell=True)
        self.rate.learn(window_slice, rate, (rate.spike[0] < 100.0 * level) | silent)
        self.shift.learn(window_slice, service, shifting)
        return len(told) + int((rate.spike[0] < level).sum()) + int(shifting.sum())


class WholeFleet(Fleet):
    """The same with all detectors that the configuration knows."""

    def __init__(self, keys: int) -> None:
        super().__init__(keys)
        config = DetectConfig(sessions=SessionsConfig(key="request_id"))
        extras = detectors_of(
            config, self._keys, lambda _: int(Severity.INFO), lambda _, __: [], lambda _: "", Redactor
        )
        self._detection = Detection(self._keys, self.budget, lambda _: int(Severity.INFO), extras)
        self._users = [f"user-{at}" for at in range(USERS)]
        self._window = 0

    def counts(self) -> NDArray[np.float64]:
        """float64[k]: as before; and the records of the window are taken in."""
        source, window, self._window = self._source, self._window, self._window + 1
        keys = source.integers(0, min(len(self._mean), RECORDS), RECORDS).astype(np.int32)
        sessions = source.integers(0, RECORDS // 5, RECORDS).astype(np.int32)
        names = [f"{window // 2}-{at}" for at in range(RECORDS // 5)]
        users = source.integers(0, USERS, RECORDS).astype(np.int32)
        numbers = {"duration_ms": np.exp(source.normal(3.0, 0.5, RECORDS))}
        fields = Fields(numbers, {"user": (users, self._users), "request_id": (sessions, names)})
        at = np.full(RECORDS, window, np.int64)
        columns = Columns(
            at * WINDOW_NS,
            [""] * RECORDS,
            np.zeros(RECORDS, np.uint8),
            self._keys.service[keys].astype(np.int32),
            [f"service-{each}" for each in range(SERVICES)],
            fields=fields,
        )
        self._detection.see(Seen(columns, keys, at))
        return super().counts()

    def tick(self, window: int, counts: NDArray[np.float64]) -> int:
        """One window; returns how much was odd."""
        window_slice = Slice(
            window, counts[None], (counts * self._severe)[None], 0, (window + 1) % BLOCK == 0, live=True
        )
        found = self._detection.judge(window_slice, {})
        self._detection.learn(window_slice, np.zeros(len(counts), np.bool_))
        return len(found)


def measure(keys: int, fleet_of: Callable[[int], Fleet] = Fleet) -> tuple[float, float, float]:
    """Seconds of the usual tick and of one that ends a block (medians), and of one numpy pass."""
    fleet = fleet_of(keys)
    usual: list[float] = []
    ending: list[float] = []
    for window in range(WINDOWS):
        counts = fleet.counts()
        begun = time.process_time()
        fleet.tick(window, counts)
        (ending if (window + 1) % BLOCK == 0 else usual).append(time.process_time() - begun)
    one, other, passes = np.ones(keys), np.ones(keys), []
    for _ in range(50):
        begun = time.process_time()
        for _ in range(PASSES):
            one + other
        passes.append((time.process_time() - begun) / PASSES)
    # Before the third block nobody is judged.
    return float(np.median(usual[3 * BLOCK :])), float(np.median(ending[3:])), float(np.median(passes))


def bytes_a_key(keys: int = 1000) -> float:
    """What a key adds to the saved state, which is what the detectors hold."""
    import msgpack  # type: ignore[import-untyped]

    sizes = []
    for size in (keys, 2 * keys):
        fleet = Fleet(size)
        for window in range(BLOCK - 1):
            fleet.tick(window, fleet.counts())
        sizes.append(len(msgpack.packb(fleet.rate.state())))
    return (sizes[1] - sizes[0]) / keys


def main(*sizes: int) -> None:
    """Print a line for each number of keys."""
    for name, fleet_of in (("counts", Fleet), ("all", WholeFleet)):
        for keys in sizes or (1_000, 10_000, 100_000):
            usual, ending, one = measure(keys, fleet_of)
            print(
                f"{name:6} {keys:7,} keys: {1e3 * usual:6.2f} ms a window ({usual / one:5.0f} additions), "
                f"{1e3 * ending:6.2f} ms where a block ends ({ending / one:5.0f}); an addition takes {1e6 * one:.1f} us"
            )
    print(f"{bytes_a_key():.0f} bytes a key")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
