"""All detectors over one stream of closed windows: slices in, anomalies out.

Scores first, for all detectors; then the level of the budget decides; then everything learns, except what is odd.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.baseline import HISTORY, SPANS, pack_array, unpack_array
from logllm.detectors.news import News
from logllm.detectors.novelty import Novelty
from logllm.detectors.rate import Rate, RateScores
from logllm.detectors.severity import SeverityShift, ShiftScores
from logllm.detectors.silence import MIN_SILENT_MEAN, Silences
from logllm.errors import StateError
from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray

    from logllm.detectors.budget import Budget
    from logllm.detectors.keys import Keys
    from logllm.detectors.windows import Slice

__all__ = ["LEARNING_WINDOWS", "Detection"]

LEARNING_WINDOWS = 60
"""Windows of input before anything but a fatal new template can alert."""

SEASON_WINDOWS = 2880
MIN_PLAIN_SPIKE = 30
"""Records that a spike of a harmless-looking template must have at least."""


class Detection:
    """Holds one of each detector and asks them in turn: `judge`, then `learn`, with each slice.

    What is found does not depend on how a block's windows are cut into slices.

    Args:
        budget: Gives the significance levels.
        severity_of: The effective severity of a key: its records' own, or how its template sounds.
    """

    def __init__(self, keys: Keys, budget: Budget, severity_of: Callable[[int], int]) -> None:
        self._keys = keys
        self._budget = budget
        self._severity_of = severity_of
        self.rate = Rate()
        self.shift = SeverityShift()
        self.novelty = Novelty()
        self.news = News(keys, self.novelty, severity_of, budget.per_day)
        self.silences = Silences(keys, self.rate, self.novelty, severity_of)
        self.windows = 0
        self._severe = np.zeros((HISTORY, 0))
        self._judged: _Judged | None = None

    @property
    def learning(self) -> int:
        """Windows still missing before detectors may alert; 0 when they do."""
        return max(0, LEARNING_WINDOWS - self.windows)

    def judge(self, window_slice: Slice, new_keys: dict[int, list[int]]) -> list[Anomaly]:
        """The anomalies of a slice, by window, the worst and most surprising first.

        Args:
            new_keys: window -> keys whose template was first seen in it.
        """
        keys = window_slice.counts.shape[1]
        service = self._keys.service[:keys]
        self.rate.enter(window_slice)
        self.shift.enter(window_slice, len(self._keys.services))
        self.silences.enter(keys)
        self._severe = np.pad(self._severe, ((0, 0), (0, max(0, keys - self._severe.shape[1]))))
        if window_slice.gap:
            self._severe = np.zeros_like(self._severe)
        severe = np.vstack([self._severe, window_slice.severe])
        rate = self.rate.score(window_slice)
        shift = self.shift.score(window_slice, service)
        spike_level = self._budget.level("rate", 2 * self.rate.tested)
        spiking = rate.spike < spike_level
        shifting = shift.tail < self._budget.level("severity", 2 * self.shift.tested)
        silent = rate.silence < math.log(self._budget.level("silence", self.rate.tested))
        silent &= (self.rate.baseline.low >= MIN_SILENT_MEAN) & rate.unheard
        some_spike, some_shift = np.any(spiking, axis=1), np.any(shifting, axis=1)
        found: list[Anomaly] = []
        for row in range(len(window_slice)):
            window = window_slice.first + row
            ready = self.windows >= LEARNING_WINDOWS
            here: list[Anomaly] = []
            if ready and some_spike[row]:
                here.extend(self._spikes(window, row, spiking[row], rate))
            if ready and some_shift[row]:
                here.extend(self._shifts(window, row, shifting[row], shift, severe[: HISTORY + row + 1]))
            here.extend(self.silences.judge(window_slice, row, silent[row], rate, tell=ready))
            here.extend(self.news.judge(window_slice, row, new_keys.get(window, []), learning=not ready))
            if here:
                found.extend(sorted(here, key=lambda anomaly: (-anomaly.severity, -anomaly.surprise)))
            self.windows += 1
        self._severe = severe[-HISTORY:]
        odd = np.any((rate.spike < min(100.0 * spike_level, 1e-3)) | silent, axis=0)
        self._judged = _Judged(rate, odd, np.any(shifting, axis=0))
        return found

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """Take the slice in that was just judged; what is odd teaches nothing.

        Shapes:
            held: bool[k], keys of incidents that were open in any of its windows: they teach nothing either.
        """
        judged, self._judged = self._judged, None
        if judged is None:
            raise RuntimeError("learn() must follow judge() of the same slice")
        self.rate.learn(window_slice, judged.rate, judged.odd | held)
        self.shift.learn(window_slice, self._keys.service[: window_slice.counts.shape[1]], judged.shifting)

    def _spikes(self, window: int, row: int, spiking: NDArray[np.bool_], rate: RateScores) -> list[Anomaly]:
        found = []
        for key in np.flatnonzero(spiking).tolist():
            span = SPANS[int(rate.span[row, key])]
            severity = self._severity_of(key)
            if severity < Severity.WARN and not self._plain_spike(key, span, float(rate.total[row, key])):
                continue
            found.append(
                Anomaly(
                    kind="rate",
                    window=window,
                    span=span,
                    service=int(self._keys.service[key]),
                    key=key,
                    keys=[key],
                    expected=float(self.rate.baseline.high[key]) * span,
                    seen=float(rate.total[row, key]),
                    surprise=_surprise(float(rate.spike[row, key])),
                    severity=severity,
                )
            )
        return found

    def _plain_spike(self, key: int, span: int, total: float) -> bool:
        """Whether more of a harmless message is worth a word: it must be a good deal more, until seasons are known."""
        baseline = self.rate.baseline
        times = 5.0 if baseline.seen[key] < SEASON_WINDOWS else 2.0
        return total >= max(MIN_PLAIN_SPIKE, times * float(baseline.high[key]) * span)

    def _shifts(
        self, window: int, row: int, shifting: NDArray[np.bool_], shift: ShiftScores, severe: NDArray[np.float64]
    ) -> list[Anomaly]:
        found = []
        for service in np.flatnonzero(shifting).tolist():
            span = SPANS[int(shift.span[row, service])]
            mine = np.flatnonzero(self._keys.service[: severe.shape[1]] == service)
            errors = severe[-span:, mine].sum(axis=0)
            order = np.argsort(-errors, kind="stable")[:5]
            leading = mine[order[errors[order] > 0]]
            if len(leading):
                found.append(
                    Anomaly(
                        kind="severity",
                        window=window,
                        span=span,
                        service=service,
                        key=int(leading[0]),
                        keys=leading.tolist(),
                        expected=float(shift.expected[row, service]),
                        seen=float(shift.errors[row, service]),
                        surprise=_surprise(float(shift.tail[row, service])),
                        severity=int(Severity.ERROR),
                    )
                )
        return found

    def merge(self, old: int, new: int, fresh: Collection[int] = ()) -> None:
        """Key `old` became part of key `new`. `fresh`: keys that no closed window has counted yet."""
        self.rate.merge(old, new)
        self.news.merge(old, new, fresh)
        self.silences.forget(old)
        self._severe = np.pad(self._severe, ((0, 0), (0, self.rate.size - self._severe.shape[1])))
        if old < self.rate.size:
            self._severe[:, new] += self._severe[:, old]
        self._clear(old)

    def forget(self, key: int) -> None:
        """A key is gone for good: its silence means nothing, and its number may be given to another."""
        self.rate.forget(key)
        self.news.forget(key)
        self.silences.forget(key)
        self._clear(key)

    def _clear(self, key: int) -> None:
        if key < self._severe.shape[1]:
            self._severe[:, key] = 0.0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "rate": self.rate.state(),
            "shift": self.shift.state(),
            "novelty": self.novelty.state(),
            "news": self.news.state(),
            "silences": self.silences.state(),
            "windows": self.windows,
            "severe": pack_array(self._severe),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        self.rate.restore(state["rate"])
        self.shift.restore(state["shift"])
        self.novelty.restore(state["novelty"])
        self.news.restore(state["news"])
        self.silences.restore(state["silences"], self.rate.size)
        self.windows = int(state["windows"])
        self._severe = unpack_array(state["severe"], np.float64)
        if self._severe.shape != (HISTORY, self.rate.size):
            raise StateError(f"saved errors have shape {self._severe.shape}, expected ({HISTORY}, {self.rate.size})")


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a slice's judgement leaves for learning from it. Shapes: odd: bool[k]. shifting: bool[s]."""

    rate: RateScores
    odd: NDArray[np.bool_]
    shifting: NDArray[np.bool_]


def _surprise(tail: float) -> float:
    return 300.0 if tail <= 0.0 else min(300.0, max(0.0, -math.log10(tail)))
