"""All detectors over one stream of closed windows: slices in, anomalies out.

Scores first, for all detectors; then the level of the budget decides; then everything learns, except what is odd.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.baseline import SPANS
from logllm.detectors.novelty import Novelty
from logllm.detectors.rate import Rate, RateScores
from logllm.detectors.severity import SeverityShift
from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from logllm.detectors.budget import Budget
    from logllm.detectors.keys import Keys
    from logllm.detectors.windows import Slice

__all__ = ["LEARNING_WINDOWS", "Detection"]

LEARNING_WINDOWS = 60
"""Windows of input before anything but a fatal new template can alert."""

SILENT_TEMPLATE_WINDOWS = 360
"""A single template's silence, its service still talking, is judged only after six hours of it..."""

REGULAR_PHI = 0.05
"""...or when it is as regular as a heartbeat."""

MIN_SILENT_MEAN = 0.2
SILENT_SERVICE_WINDOWS = 5
SILENT_SOURCE_WINDOWS = 3
SEASON_WINDOWS = 2880
MIN_PLAIN_SPIKE = 30
"""Records that a spike of a harmless-looking template must have at least."""


class Detection:
    """Holds one of each detector and asks them in turn.

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
        self.windows = 0
        self._silent = np.zeros(0, np.bool_)
        self._told_source = False

    @property
    def learning(self) -> int:
        """Windows still missing before detectors may alert; 0 when they do."""
        return max(0, LEARNING_WINDOWS - self.windows)

    def judge(self, window_slice: Slice, new_keys: dict[int, list[int]], held: NDArray[np.bool_]) -> list[Anomaly]:
        """The anomalies of a slice, in order of time; everything learns from it afterwards.

        Args:
            new_keys: window -> keys whose template was first seen in it.

        Shapes:
            held: bool[k], keys of open incidents: they teach nothing.
        """
        keys = window_slice.counts.shape[1]
        self._silent = np.pad(self._silent, (0, keys - len(self._silent)))
        service = self._keys.service[:keys]
        services = len(self._keys.services)
        rate = self.rate.score(window_slice)
        shift = self.shift.score(window_slice, service, services)
        spike_level = self._budget.level("rate", 2 * keys)
        shift_level = self._budget.level("severity", 2 * services)
        silence_level = math.log(self._budget.level("silence", keys))
        spiking = rate.spike < spike_level
        shifting = shift < shift_level
        silent = (rate.silence < silence_level) & (self.rate.baseline.low >= MIN_SILENT_MEAN) & rate.unheard
        found: list[Anomaly] = []
        for row in range(len(window_slice)):
            window = window_slice.first + row
            ready = self.windows >= LEARNING_WINDOWS
            if ready:
                found.extend(self._spikes(window, row, spiking[row], rate))
                found.extend(self._shifts(window_slice, row, shifting[row], shift[row]))
                found.extend(self._silences(window, row, silent[row], rate, live=window_slice.live))
            self._silent = silent[row]
            if window in new_keys:
                found.extend(self._news(window_slice, row, new_keys[window]))
            self.windows += 1
        odd = held.copy()
        odd |= (rate.spike < min(100.0 * spike_level, 1e-3)).any(axis=0) | silent.any(axis=0)
        self.rate.learn(window_slice, rate, odd)
        self.shift.learn(window_slice, service, services, np.any(shifting, axis=0))
        return found

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
        self, window_slice: Slice, row: int, shifting: NDArray[np.bool_], tails: NDArray[np.float64]
    ) -> list[Anomaly]:
        found = []
        keys = window_slice.counts.shape[1]
        for service in np.flatnonzero(shifting):
            mine = np.flatnonzero(self._keys.service[:keys] == service)
            recent = window_slice.severe[max(0, row - 4) : row + 1][:, mine].sum(axis=0)
            order = mine[np.argsort(-recent, kind="stable")][:5]
            order = order[recent[np.argsort(-recent, kind="stable")][:5] > 0]
            if not len(order):
                continue
            total = float(window_slice.counts[row, mine].sum())
            found.append(
                Anomaly(
                    kind="severity",
                    window=window_slice.first + row,
                    span=1,
                    service=int(service),
                    key=int(order[0]),
                    keys=[int(k) for k in order],
                    expected=total * float(self.shift.share()[service]),
                    seen=float(window_slice.severe[row, mine].sum()),
                    surprise=_surprise(float(tails[service])),
                    severity=int(Severity.ERROR),
                )
            )
        return found

    def _silences(
        self, window: int, row: int, silent: NDArray[np.bool_], rate: RateScores, *, live: bool
    ) -> list[Anomaly]:
        fresh = np.flatnonzero(silent & ~self._silent)
        quiet_for = rate.zeros[row]
        baseline = self.rate.baseline
        if len(quiet_for) and int(quiet_for.min()) >= SILENT_SOURCE_WINDOWS:
            # In a past being read the source did go on: only the live present can have stopped.
            if self._told_source or not live or not len(fresh):
                return []
            self._told_source = True
            concerned = np.flatnonzero(baseline.low >= MIN_SILENT_MEAN)
            return [self._silence(window, row, -1, concerned, int(quiet_for.min()), rate)]
        self._told_source = False
        found = []
        for service in dict.fromkeys(self._keys.service[fresh].tolist()):
            mine = np.flatnonzero(self._keys.service[: len(silent)] == service)
            silent_for = int(quiet_for[mine].min())
            if silent_for >= SILENT_SERVICE_WINDOWS:
                concerned = mine[baseline.low[mine] >= MIN_SILENT_MEAN]
            elif self.novelty.releasing(service, window):
                continue  # a release takes texts away as it brings new ones
            else:
                old = (baseline.seen >= SILENT_TEMPLATE_WINDOWS) | (baseline.phi[0] <= REGULAR_PHI)
                concerned = fresh[(self._keys.service[fresh] == service) & old[fresh]]
                # That a problem is no longer reported is good news.
                fine = [key for key in concerned.tolist() if self._severity_of(key) < Severity.WARN]
                concerned = np.array(fine, np.int64)
                silent_for = 0
            if len(concerned):
                found.append(self._silence(window, row, service, concerned, silent_for, rate))
        return found

    def _silence(
        self, window: int, row: int, service: int, concerned: NDArray[np.int64], silent_for: int, rate: RateScores
    ) -> Anomaly:
        """One anomaly for all silent keys of a service, or of the source; `silent_for` 0: it still talks."""
        low = self.rate.baseline.low[concerned]
        order = concerned[np.argsort(-low, kind="stable")]
        lead = int(order[0])
        return Anomaly(
            kind="silence",
            window=window,
            span=0 if silent_for else 1,
            service=service,
            key=lead,
            keys=order[:20].tolist(),
            expected=float(low.sum() if silent_for else low.max()),
            seen=float(silent_for or rate.zeros[row, lead]),
            surprise=min(300.0, -float(rate.silence[row, lead]) / math.log(10)),
            severity=int(Severity.ERROR if silent_for else Severity.WARN),
        )

    def _news(self, window_slice: Slice, row: int, new: list[int]) -> list[Anomaly]:
        window = window_slice.first + row
        by_service: dict[int, list[tuple[int, int]]] = {}
        for key in new:
            by_service.setdefault(int(self._keys.service[key]), []).append((key, self._severity_of(key)))
        found = []
        for service, pairs in by_service.items():
            novel = self.novelty.judge(window, service, pairs)
            if self.windows < LEARNING_WINDOWS:
                found.extend(self._fatal(window_slice, row, service, pairs))
                continue
            for item in novel:
                count = float(window_slice.counts[row, item.keys].sum())
                if item.kind == "new" and not self._worth_telling(item.severity, count, item.rate_per_day):
                    continue
                per_window = max(item.rate_per_day, 1.0 / 30.0) / 1440.0
                found.append(
                    Anomaly(
                        kind=item.kind,
                        window=window,
                        span=1,
                        service=service,
                        key=item.keys[0],
                        keys=item.keys,
                        expected=item.rate_per_day,
                        seen=count if item.kind == "new" else float(len(item.keys)),
                        surprise=_surprise(min(per_window, 1.0)),
                        severity=item.severity,
                    )
                )
        return found

    def _worth_telling(self, severity: int, count: float, rate_per_day: float) -> bool:
        if severity >= Severity.FATAL:
            return True
        # Where bad-looking new ones come every hour, one more is no news unless it comes in numbers.
        usual = rate_per_day > self._budget.per_day
        if severity >= Severity.ERROR:
            return not usual or count >= 10
        return count >= (30 if usual else 10)

    def _fatal(self, window_slice: Slice, row: int, service: int, pairs: list[tuple[int, int]]) -> list[Anomaly]:
        return [
            Anomaly("new", window_slice.first + row, 1, service, key, [key], 0.0, count, 3.0, severity)
            for key, severity in pairs
            if severity >= Severity.FATAL and (count := float(window_slice.counts[row, key]))
        ]

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "rate": self.rate.state(),
            "shift": self.shift.state(),
            "novelty": self.novelty.state(),
            "windows": self.windows,
            "silent": np.flatnonzero(self._silent).tolist(),
            "told_source": self._told_source,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        self.rate.restore(state["rate"])
        self.shift.restore(state["shift"])
        self.novelty.restore(state["novelty"])
        self.windows = int(state["windows"])
        self._told_source = bool(state["told_source"])
        self._silent = np.zeros(self.rate.size, np.bool_)
        self._silent[[k for k in state["silent"] if k < self.rate.size]] = True


def _surprise(tail: float) -> float:
    return 300.0 if tail <= 0.0 else min(300.0, max(0.0, -math.log10(tail)))
