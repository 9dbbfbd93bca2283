"""A whole file looked back on: what dominates, bursts, appears late or is rare, when there was nothing to learn from.

Online detectors need an hour of windows before they may speak. A file handed to `tail --once` is often shorter, or
sparse, and yet its reader wants to know what stands out in it. This looks at all of it at once, so it may compare a
burst with what came after it too. It only proposes; the report ranks and caps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.dispersion import negative_binomial_tail
from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from logllm.detectors.keys import Keys
    from logllm.detectors.windows import Slice

__all__ = ["Survey", "rank"]

MAX_BINS = 256
DOMINANT_SHARE = 0.05
MIN_DOMINANT = 20
MIN_BURST = 10
BURST_LEVEL = 1e-4
LATE = 0.4
"""A template counts as new within the file when it first comes after this share of its records."""

RARE = 5
MAX_FINDINGS = 500
WHOLE_FILE_WINDOWS = 240
"""Past four hours of windows that hold enough records, the online detectors have judged most of the file."""


class Survey:
    """Counts by key in at most MAX_BINS bins, the bins as wide as the file needs.

    Shapes:
        memory: float32[MAX_BINS, k].
    """

    def __init__(self, keys: Keys, severity_of: Callable[[int], int]) -> None:
        self._keys = keys
        self._severity_of = severity_of
        self._width = 1
        self._bins: dict[int, NDArray[np.float32]] = {}
        self._windows = 0
        self._whole: NDArray[np.float32] | None = None

    def add(self, window_slice: Slice) -> None:
        """Take closed windows in."""
        self._whole = None
        self._windows += len(window_slice)
        rows = window_slice.first + np.arange(len(window_slice))
        for number in np.unique(rows // self._width).tolist():
            self._put(number, window_slice.counts[rows // self._width == number].sum(axis=0).astype(np.float32))
        while len(self._bins) > MAX_BINS:
            old, self._bins, self._width = self._bins, {}, self._width * 2
            for number, counts in old.items():
                self._put(number // 2, counts)

    def _put(self, number: int, counts: NDArray[np.float32]) -> None:
        have = self._bins.get(number)
        if have is None:
            self._bins[number] = counts
        elif len(have) < len(counts):
            counts[: len(have)] += have
            self._bins[number] = counts
        else:
            have[: len(counts)] += counts

    def merge(self, old: int, new: int) -> None:
        """Add the counts of key `old` to those of key `new`."""
        self._whole = None
        for number, counts in self._bins.items():
            if old < len(counts):
                if new >= len(counts):
                    counts = self._bins[number] = np.pad(counts, (0, new + 1 - len(counts)))
                counts[new] += counts[old]
                counts[old] = 0.0

    def _table(self) -> NDArray[np.float32]:
        """float32[bins, k], the bins that hold anything in order of time."""
        if self._whole is None:
            self._whole = np.zeros((len(self._bins), self._keys.count), np.float32)
            for row, number in enumerate(sorted(self._bins)):
                self._whole[row, : len(self._bins[number])] = self._bins[number]
        return self._whole

    def profile(self, keys: list[int]) -> NDArray[np.float64]:
        """float64[bins, k]: square roots of the keys' counts, of length 1, to compare the courses of keys."""
        root = np.sqrt(self._table()[:, keys].astype(np.float64))
        profile: NDArray[np.float64] = root / np.maximum(np.linalg.norm(root, axis=0), 1e-9)
        return profile

    def findings(self) -> list[Anomaly]:
        """What stands out, most telling first, at most MAX_FINDINGS."""
        if not self._bins:
            return []
        numbers = sorted(self._bins)
        table = self._table()
        total = table.sum(axis=0, dtype=np.float64)
        records = float(total.sum())
        severity = np.array([self._severity_of(key) for key in range(table.shape[1])], np.int64)
        found = self._dominant(table, numbers, total, records, severity)
        judged_online = self._windows >= WHOLE_FILE_WINDOWS and records >= 3 * self._windows
        if not judged_online:
            found += self._bursts(table, numbers, total, severity)
            found += self._late(table, numbers, total, records, severity)
            found += self._rare(table, numbers, total, records, severity)
        return sorted(found, key=lambda anomaly: (-rank(anomaly), anomaly.key))[:MAX_FINDINGS]

    def _make(self, kind: str, number: int, key: int, expected: float, seen: float, surprise: float) -> Anomaly:
        return Anomaly(
            kind=kind,
            window=number * self._width,
            span=self._width,
            service=int(self._keys.service[key]),
            key=key,
            keys=[key],
            expected=expected,
            seen=seen,
            surprise=surprise,
            severity=self._severity_of(key),
        )

    def _dominant(
        self,
        table: NDArray[np.float32],
        numbers: list[int],
        total: NDArray[np.float64],
        records: float,
        severity: NDArray[np.int64],
    ) -> list[Anomaly]:
        keys = np.flatnonzero(
            (severity >= Severity.WARN) & (total >= MIN_DOMINANT) & (total >= DOMINANT_SHARE * records)
        )
        return [
            self._make(
                "dominant",
                numbers[int(np.argmax(table[:, key] > 0))],
                key,
                DOMINANT_SHARE * records,
                float(total[key]),
                10.0 * float(total[key]) / records,
            )
            for key in keys.tolist()
        ]

    def _bursts(
        self, table: NDArray[np.float32], numbers: list[int], total: NDArray[np.float64], severity: NDArray[np.int64]
    ) -> list[Anomaly]:
        bins = numbers[-1] - numbers[0] + 1
        if bins < 10:
            return []
        peak_row = table.argmax(axis=0)
        peak = table.max(axis=0).astype(np.float64)
        keys = np.flatnonzero((peak >= MIN_BURST) & (total >= 2 * MIN_BURST))
        if not len(keys):
            return []
        # Bins without a record count too; the peak itself is left out of what it is compared with.
        mean = (total[keys] - peak[keys]) / (bins - 1) + 1.0 / bins
        squares = (table[:, keys].astype(np.float64) ** 2).sum(axis=0) - peak[keys] ** 2
        variance = squares / (bins - 1) - mean * mean
        phi = np.clip((variance - mean) / (mean * mean), 0.05, 50.0)
        tail = negative_binomial_tail(peak[keys], mean, phi + 1.0 / (total[keys] - peak[keys] + 0.5))
        level = BURST_LEVEL / (bins * len(keys))
        found = []
        for i, key in enumerate(keys.tolist()):
            plain = severity[key] < Severity.WARN
            if tail[i] < (level * 1e-4 if plain else level) and peak[key] >= (50 if plain else MIN_BURST):
                surprise = min(300.0, -math.log10(max(float(tail[i]), 1e-300)))
                number = numbers[int(peak_row[key])]
                found.append(self._make("rate", number, key, float(mean[i]), float(peak[key]), surprise))
        return found

    def _late(
        self,
        table: NDArray[np.float32],
        numbers: list[int],
        total: NDArray[np.float64],
        records: float,
        severity: NDArray[np.int64],
    ) -> list[Anomaly]:
        each = table.sum(axis=1, dtype=np.float64)
        before = np.cumsum(each) - each
        first_row = (table > 0).argmax(axis=0)
        keys = np.flatnonzero(
            (total > 0)
            & (before[first_row] > LATE * records)
            & (((severity >= Severity.ERROR) & (total >= 2)) | ((severity >= Severity.WARN) & (total >= MIN_BURST)))
        )
        return [
            self._make("new", numbers[int(first_row[key])], key, 0.0, float(total[key]), 3.0) for key in keys.tolist()
        ]

    def _rare(
        self,
        table: NDArray[np.float32],
        numbers: list[int],
        total: NDArray[np.float64],
        records: float,
        severity: NDArray[np.int64],
    ) -> list[Anomaly]:
        keys = np.flatnonzero((severity >= Severity.ERROR) & (total > 0) & (total <= RARE))
        if records < 200:
            return []
        return [
            self._make(
                "rare",
                numbers[int(np.argmax(table[:, key] > 0))],
                key,
                0.0,
                float(total[key]),
                math.log10(records / float(total[key])) / 2,
            )
            for key in keys.tolist()
        ]


def rank(anomaly: Anomaly) -> float:
    """How much an anomaly deserves to be read first: how bad it sounds, how much of it, how improbable."""
    badness = {Severity.FATAL: 3.0, Severity.ERROR: 2.0, Severity.WARN: 1.3}
    weight = next((value for level, value in badness.items() if anomaly.severity >= level), 0.2)
    return weight + 0.7 * math.log10(1.0 + anomaly.seen) + min(anomaly.surprise, 30.0) / 15.0
