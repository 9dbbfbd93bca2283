"""From scores to candidates: each oddity with how far its corrected probability lies below its level."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.discovery import Candidate
from logllm.detectors.rises import SPANS
from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from logllm.detectors.budget import Special
    from logllm.detectors.keys import Keys
    from logllm.detectors.rate import Rate, RateScores
    from logllm.detectors.severity import ShiftScores
    from logllm.detectors.thresholds import Thresholds

__all__ = ["SEASON_WINDOWS", "Weighing"]

SEASON_WINDOWS = 2880
MIN_PLAIN_SPIKE = 30
"""Records that a spike of a harmless-looking template must have at least."""

_LEAST = -690.0
"""The logarithm of the smallest probability that is told from others."""


class Weighing:
    """Weighs what one window scored against the levels of its block.

    Args:
        severity_of: The effective severity of a key.
    """

    def __init__(self, keys: Keys, rate: Rate, thresholds: Thresholds, severity_of: Callable[[int], int]) -> None:
        self._keys = keys
        self._rate = rate
        self._thresholds = thresholds
        self._severity_of = severity_of

    def ratios(
        self, kind: str, window: int, items: NDArray[np.int64], log_p: NDArray[np.float64], special: Special
    ) -> NDArray[np.float64]:
        service = items if kind == "severity" else self._keys.service[items]
        # A weighted test is one whose probability is divided by its weight (Genovese et al., Biometrika 93, 2006).
        weighted = np.maximum(log_p, _LEAST) - np.log(special.weight[service])
        return self._thresholds.ratios(kind, window, items, weighted, special.pool[service])

    def spikes(
        self, window: int, row: int, keys: NDArray[np.int64], rate: RateScores, special: Special
    ) -> list[Candidate]:
        span = rate.span[row]
        severity = {key: self._severity_of(key) for key in keys.tolist()}
        keys = keys[
            [
                severity[key] >= Severity.WARN
                or self._plain_spike(key, SPANS[int(span[key])], float(rate.total[row, key]))
                for key in keys.tolist()
            ]
        ]
        ratios = self.ratios("rate", window, keys, _log(rate.spike[row, keys]), special)
        return [
            Candidate(
                float(ratio),
                Anomaly(
                    kind="rate",
                    window=window,
                    span=SPANS[int(span[key])],
                    service=int(self._keys.service[key]),
                    key=key,
                    keys=[key],
                    expected=float(self._rate.baseline.high[key]) * SPANS[int(span[key])],
                    seen=float(rate.total[row, key]),
                    surprise=_surprise(float(rate.spike[row, key])),
                    severity=severity[key],
                ),
            )
            for key, ratio in zip(keys.tolist(), ratios, strict=True)
        ]

    def _plain_spike(self, key: int, span: int, total: float) -> bool:
        """Whether more of a harmless message is worth a word: it must be a good deal more, until seasons are known."""
        baseline = self._rate.baseline
        times = 5.0 if baseline.seen[key] < SEASON_WINDOWS else 2.0
        return total >= max(MIN_PLAIN_SPIKE, times * float(baseline.high[key]) * span)

    def shifts(
        self,
        window: int,
        row: int,
        services: NDArray[np.int64],
        shift: ShiftScores,
        severe: NDArray[np.float64],
        special: Special,
    ) -> list[Candidate]:
        ratios = self.ratios("severity", window, services, _log(shift.tail[row, services]), special)
        found = []
        for service, ratio in zip(services.tolist(), ratios, strict=True):
            span = SPANS[int(shift.span[row, service])]
            mine = np.flatnonzero(self._keys.service[: severe.shape[1]] == service)
            errors = severe[-span:, mine].sum(axis=0)
            order = np.argsort(-errors, kind="stable")[:5]
            leading = mine[order[errors[order] > 0]]
            if len(leading):
                anomaly = Anomaly(
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
                found.append(Candidate(float(ratio), anomaly))
        return found

    def silent(
        self, window: int, keys: NDArray[np.int64], log_p: NDArray[np.float64], special: Special, *, ready: bool
    ) -> NDArray[np.int64]:
        """Those of the keys whose silence is beyond chance."""
        if not len(keys) or not ready:
            return keys
        return keys[self.ratios("silence", window, keys, log_p[keys], special) <= 0.0]

    def given(self, window: int, anomalies: list[Anomaly], special: Special) -> list[Candidate]:
        return [
            Candidate(
                float(
                    self.ratios(
                        anomaly.kind,
                        window,
                        np.array([anomaly.key], np.int64),
                        np.array([-anomaly.surprise * math.log(10)]),
                        special,
                    )[0]
                ),
                anomaly,
            )
            for anomaly in anomalies
        ]


def _surprise(tail: float) -> float:
    return 300.0 if tail <= 0.0 else min(300.0, max(0.0, -math.log10(tail)))


def _log(tail: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithm: NDArray[np.float64] = np.log(np.maximum(tail, 1e-300))
    return logarithm


_LEAST = -690.0
"""The logarithm of the smallest probability that is told from others."""
