"""From silent keys to what is told of them: a template, a whole service, or everything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from logllm.detectors.keys import Keys
    from logllm.detectors.novelty import Novelty
    from logllm.detectors.rate import Rate, RateScores
    from logllm.detectors.windows import Slice

__all__ = ["MIN_SILENT_MEAN", "Silences"]

SILENT_TEMPLATE_WINDOWS = 360
"""A single template's silence, its service still talking, is judged only after six hours of it..."""

REGULAR_PHI = 0.05
"""...or when it is as regular as a heartbeat."""

MIN_SILENT_MEAN = 0.2
SILENT_SERVICE_WINDOWS = 5
SILENT_SOURCE_WINDOWS = 3


class Silences:
    """Remembers which keys are silent, and tells each silence once, as widely as it reaches."""

    def __init__(self, keys: Keys, rate: Rate, novelty: Novelty, severity_of: Callable[[int], int]) -> None:
        self._keys = keys
        self._rate = rate
        self._novelty = novelty
        self._severity_of = severity_of
        self._silent = np.zeros(0, np.bool_)
        self._told_source = False

    def enter(self, keys: int) -> None:
        """Make room for keys."""
        self._silent = np.pad(self._silent, (0, max(0, keys - len(self._silent))))

    def judge(
        self, window_slice: Slice, row: int, silent: NDArray[np.bool_], scores: RateScores, *, tell: bool
    ) -> list[Anomaly]:
        """What has just fallen silent in one window.

        Shapes:
            silent: bool[k], keys whose silence is beyond chance.
        """
        source_quiet = int(scores.source_zeros[row])
        if not source_quiet:
            self._told_source = False
        fresh = np.flatnonzero(silent & ~self._silent)
        self._silent = silent
        if not len(fresh) or not tell:
            return []
        # That a problem is no longer reported is good news.
        fresh = fresh[[self._severity_of(key) < Severity.WARN for key in fresh.tolist()]]
        if not len(fresh):
            return []
        window = window_slice.first + row
        baseline = self._rate.baseline
        low = baseline.low
        if source_quiet >= SILENT_SOURCE_WINDOWS:
            # In a past being read the source did go on: only the live present can have stopped.
            if self._told_source or not window_slice.live:
                return []
            self._told_source = True
            concerned = np.flatnonzero(low >= MIN_SILENT_MEAN)
            return [self._anomaly(window, row, -1, concerned, source_quiet, scores)]
        found = []
        known = self._rate.born | window_slice.counts[: row + 1].any(axis=0)
        of_service = self._keys.service[: len(silent)]
        for service in dict.fromkeys(of_service[fresh].tolist()):
            mine = np.flatnonzero((of_service == service) & known)
            silent_for = int(scores.zeros[row, mine].min())
            if silent_for >= SILENT_SERVICE_WINDOWS:
                concerned = mine[low[mine] >= MIN_SILENT_MEAN]
            elif silent_for:
                # Is it the key or the whole service? Judged again with the next window.
                self._silent = self._silent.copy()
                self._silent[fresh[of_service[fresh] == service]] = False
                continue
            elif self._novelty.releasing(service, window):
                continue  # a release takes texts away as it brings new ones
            else:
                concerned = fresh[of_service[fresh] == service]
                regular = baseline.regularity()[concerned] <= REGULAR_PHI
                concerned = concerned[regular | (baseline.seen[concerned] >= SILENT_TEMPLATE_WINDOWS)]
            if len(concerned):
                found.append(self._anomaly(window, row, service, concerned, silent_for, scores))
        return found

    def wait(self, keys: Sequence[int]) -> None:
        """Nobody was told of the silence of these keys for now: ask again with the next window."""
        self._silent = self._silent.copy()
        self._silent[keys] = False

    def _anomaly(
        self, window: int, row: int, service: int, concerned: NDArray[np.int64], silent_for: int, scores: RateScores
    ) -> Anomaly:
        """One anomaly for all silent keys of a service, or of the source; `silent_for` 0: it still talks."""
        low = self._rate.baseline.low[concerned]
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
            seen=float(silent_for or scores.zeros[row, lead]),
            surprise=min(300.0, max(0.0, -float(scores.silence[row, lead]) / math.log(10))),
            severity=int(Severity.ERROR if silent_for else Severity.WARN),
        )

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone or became part of others."""
        self._silent[[key for key in keys if key < len(self._silent)]] = False

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"silent": np.flatnonzero(self._silent).tolist(), "told_source": self._told_source}

    def restore(self, state: dict[str, Any], keys: int) -> None:
        """Take a copy back, for so many keys."""
        self._silent = np.zeros(keys, np.bool_)
        self._silent[[key for key in state["silent"] if 0 <= key < keys]] = True
        self._told_source = bool(state["told_source"])
