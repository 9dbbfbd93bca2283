"""All detectors over one stream of closed windows: slices in, anomalies out.

Scores first, for all detectors; then the levels of the budget decide, service by service, and what was told not long
ago is held back; then everything learns, except what is odd.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.budget import BUILT_IN, GENERAL
from logllm.detectors.contract import Reader, Rebasing
from logllm.detectors.cooldown import Cooldown
from logllm.detectors.discovery import Candidate, discovered
from logllm.detectors.news import News
from logllm.detectors.novelty import LEARNING_RELEASE, Novelty
from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.rate import Rate, RateScores
from logllm.detectors.rises import HISTORY
from logllm.detectors.severity import SeverityShift
from logllm.detectors.silence import MIN_SILENT_MEAN, Silences
from logllm.detectors.thresholds import Thresholds
from logllm.detectors.warmup import Missing
from logllm.detectors.weighing import SEASON_WINDOWS, Weighing
from logllm.errors import StateError
from logllm.events import Anomaly

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    from logllm.detectors.budget import Budget, Special
    from logllm.detectors.contract import Detector, Seen
    from logllm.detectors.keys import Keys
    from logllm.detectors.windows import Slice

__all__ = ["LEARNING_WINDOWS", "Detection"]

LEARNING_WINDOWS = 60
"""Windows of input before anything but a fatal new template can alert."""

MEASURED_WINDOWS = 1440
"""Windows until the levels rest more on what was observed than on what the models promise."""

SPANS_TESTS = 2.0
"""Sums over three spans share their windows: together they are about two tests."""


class Detection:
    """Holds one of each detector and asks them in turn: `judge`, then `learn`, with each slice.

    What is found does not depend on how a block's windows are cut into slices.

    Args:
        budget: Gives what may be told a day; levels are made of it here.
        severity_of: The effective severity of a key: its records' own, or how its template sounds.
        extras: Further detectors. They are asked for what is below a generous level, of which the corrected and
            unexpected is told; but see `thresholds.TOLD_AS_FOUND`.

    Attributes:
        cooldown: What was told before; counts what it held back.
    """

    def __init__(
        self, keys: Keys, budget: Budget, severity_of: Callable[[int], int], extras: Sequence[Detector] = ()
    ) -> None:
        self._keys = keys
        self._budget = budget
        self._severity_of = severity_of
        self.rate = Rate()
        self.shift = SeverityShift()
        self.novelty = Novelty()
        self.news = News(keys, self.novelty, severity_of, budget.per_day)
        self.silences = Silences(keys, self.rate, self.novelty, severity_of)
        self.extras = list(extras)
        self._readers = [extra for extra in extras if isinstance(extra, Reader)]
        self._rebasing = [extra for extra in extras if isinstance(extra, Rebasing)]
        self._thresholds = Thresholds(budget, [*BUILT_IN, *(extra.kind for extra in extras)])
        self._weighing = Weighing(keys, self.rate, self._thresholds, severity_of)
        self.cooldown = Cooldown()
        self.windows = 0
        self._severe = np.zeros((HISTORY, 0))
        self._judged: _Judged | None = None

    @property
    def learning(self) -> int:
        """Windows still missing before detectors may alert; 0 when they do."""
        return max(0, LEARNING_WINDOWS - self.windows)

    def missing(self) -> list[Missing]:
        """What cannot be told yet, or not as well as later, the soonest first; empty when all is learned."""
        steps = [
            Missing("all", "anything but fatal new messages", self.learning),
            Missing("release", "a deploy by its new messages", LEARNING_RELEASE - self.windows),
            Missing("budget", "levels measured on this log", MEASURED_WINDOWS - self.windows),
            Missing("season", "more of harmless messages against the hour's usual", SEASON_WINDOWS - self.windows),
        ]
        return [step for step in steps if step.windows > 0]

    def see(self, seen: Seen) -> None:
        """Pass records on to the detectors that read them, before their window closes."""
        for reader in self._readers:
            reader.see(seen)

    def judge(self, window_slice: Slice, new_keys: dict[int, list[int]]) -> list[Anomaly]:
        """The anomalies of a slice, by window, the worst and most surprising first.

        Args:
            new_keys: window -> keys whose template was first seen in it.
        """
        keys = window_slice.counts.shape[1]
        service = self._keys.service[:keys]
        special = self._budget.special(self._keys.services)
        self.rate.enter(window_slice)
        self.shift.enter(window_slice, len(self._keys.services))
        self.silences.enter(keys)
        self._begin(window_slice, special)
        if keys > self._severe.shape[1]:
            self._severe = np.pad(self._severe, ((0, 0), (0, keys - self._severe.shape[1])))
        if window_slice.gap:
            self._severe = np.zeros_like(self._severe)
        severe = np.vstack([self._severe, window_slice.severe])
        rate = self.rate.score(window_slice)
        shift = self.shift.score(window_slice, service)
        heaviest = float(special.weight.max(initial=1.0))
        spiking = rate.spike < heaviest * self._thresholds.asked("rate")
        shifting = shift.tail < heaviest * self._thresholds.asked("severity")
        silent = rate.silence < math.log(max(heaviest * self._thresholds.asked("silence"), 1e-300))
        silent &= (self.rate.baseline.low >= MIN_SILENT_MEAN) & rate.unheard
        some_spike, some_shift, some_silence = (np.any(table, axis=1) for table in (spiking, shifting, silent))
        others = self._ask_others(window_slice, heaviest)
        nobody = np.zeros(keys, np.bool_)
        odd_services = np.zeros(len(self._keys.services), np.bool_)
        odd = nobody.copy()
        found: list[Anomaly] = []
        for row in range(len(window_slice)):
            window = window_slice.first + row
            ready = self.windows >= LEARNING_WINDOWS
            candidates: list[Candidate] = []
            if ready and some_spike[row]:
                candidates += self._weighing.spikes(window, row, np.flatnonzero(spiking[row]), rate, special)
            if ready and some_shift[row]:
                shifts = self._weighing.shifts(
                    window, row, np.flatnonzero(shifting[row]), shift, severe[: HISTORY + row + 1], special
                )
                odd_services[[each.anomaly.service for each in shifts if each.ratio <= 0.0]] = True
                candidates += shifts
            quiet_now = self._weighing.silent(
                window, np.flatnonzero(silent[row]), rate.silence[row], special, ready=ready
            )
            silent_row = nobody
            if some_silence[row]:
                silent_row = nobody.copy()
                silent_row[quiet_now] = True
                odd |= silent_row
            candidates += self._weighing.given(window, others.get(window, []), special) if ready else []
            here = discovered(candidates)
            here.extend(self.silences.judge(window_slice, row, silent_row, rate, tell=ready))
            here.extend(self._news(window_slice, row, new_keys.get(window, []), special, learning=not ready))
            if here:
                found.extend(self._to_tell(here, special))
            self.windows += 1
            self._thresholds.watched(int(ready))
        self._severe = severe[-HISTORY:]
        held = min(100.0 * self._budget.level("rate", self.rate.tested), 1e-3)
        odd |= np.any(rate.spike < held, axis=0)
        self._judged = _Judged(rate, odd, odd_services)
        return found

    def _begin(self, window_slice: Slice, special: Special) -> None:
        if self._thresholds.hold(window_slice):
            return
        known = self.rate.baseline.seen > 0
        service = self._keys.service[: len(known)]
        pool, weight = special.pool[service], special.weight[service]
        of_key = known * weight
        live = max(float(known.sum()), 1.0)
        services = len(special.pool)
        tests = {
            "rate": of_key,
            "silence": of_key,
            "severity": special.weight * (SPANS_TESTS * self.shift.tested / max(services, 1)),
            **{extra.kind: of_key * (extra.tested / live) for extra in self.extras},
        }
        self._thresholds.begin(
            window_slice, tests, {kind: special.pool if kind == "severity" else pool for kind in tests}
        )

    def _ask_others(self, window_slice: Slice, heaviest: float) -> dict[int, list[Anomaly]]:
        by_window: dict[int, list[Anomaly]] = {}
        for extra in self.extras:
            for anomaly in extra.judge(window_slice, heaviest * self._thresholds.asked(extra.kind)):
                by_window.setdefault(anomaly.window, []).append(anomaly)
        return by_window

    def _news(
        self, window_slice: Slice, row: int, new: list[int], special: Special, *, learning: bool
    ) -> list[Anomaly]:
        found = self.news.judge(window_slice, row, new, learning=learning)
        if self._budget.targets(GENERAL, BUILT_IN)["new"] <= 0.0:
            found = [anomaly for anomaly in found if anomaly.kind != "new"]
        return found

    def _to_tell(self, here: list[Anomaly], special: Special) -> list[Anomaly]:
        """What of one window's is told, the worst and most surprising first."""
        found = []
        used = set()
        for anomaly in sorted(here, key=lambda anomaly: (-anomaly.severity, -anomaly.surprise)):
            if anomaly.service >= 0 and special.quiet[anomaly.service]:
                continue
            verdict = self.cooldown.judge(anomaly)
            if verdict == "told":
                used.add((anomaly.kind, int(special.pool[anomaly.service]) if anomaly.service >= 0 else 0))
            if verdict != "held":
                found.append(anomaly)
            elif anomaly.kind == "silence":
                # It is told when the pause is over, if it still goes on then.
                self.silences.wait(anomaly.keys)
        for kind, pool in sorted(used):
            self._thresholds.told(kind, pool)
        return found

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """Take the slice in that was just judged; what is odd teaches nothing.

        Shapes:
            held: bool[k], keys of incidents that were open in any of its windows: they teach nothing either.
        """
        judged, self._judged = self._judged, None
        if judged is None:
            raise RuntimeError("learn() must follow judge() of the same slice")
        back = judged.odd | held
        for each in self._rebasing:
            back &= ~each.rebased(window_slice)
            self.rate.rebase(each.ratios(window_slice))
        self.rate.learn(window_slice, judged.rate, back)
        self.shift.learn(window_slice, self._keys.service[: window_slice.counts.shape[1]], judged.shifting)
        for extra in self.extras:
            extra.learn(window_slice, held)

    def merge(self, old: int, new: int, fresh: Collection[int] = ()) -> None:
        """Key `old` became part of key `new`. `fresh`: keys that no closed window has counted yet."""
        self.rate.merge(old, new)
        self.news.merge(old, new, fresh)
        self.silences.forget([old])
        self._thresholds.merge(old, new)
        self.cooldown.merge(old, new)
        for extra in self.extras:
            extra.merge(old, new)
        self._severe = np.pad(self._severe, ((0, 0), (0, self.rate.size - self._severe.shape[1])))
        if old < self.rate.size:
            self._severe[:, new] += self._severe[:, old]
        self._clear([old])

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone for good: their silence means nothing, and their numbers may be given to others."""
        self.rate.forget(keys)
        self.news.forget(keys)
        self.silences.forget(keys)
        self._thresholds.forget(keys)
        self.cooldown.forget(keys)
        for extra in self.extras:
            extra.forget(keys)
        self._clear(keys)

    def _clear(self, keys: Sequence[int]) -> None:
        self._severe[:, [key for key in keys if key < self._severe.shape[1]]] = 0.0

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
            "thresholds": self._thresholds.state(),
            "cooldown": self.cooldown.state(),
            "extras": {extra.kind: extra.state() for extra in self.extras},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit.

        Detectors that the copy knows nothing of begin anew; what it knows of others is let go.
        """
        self.rate.restore(state["rate"])
        self.shift.restore(state["shift"])
        self.novelty.restore(state["novelty"])
        self.news.restore(state["news"])
        self.silences.restore(state["silences"], self.rate.size)
        self.windows = int(state["windows"])
        self._severe = unpack_array(state["severe"], np.float64)
        if self._severe.shape != (HISTORY, self.rate.size):
            raise StateError(f"saved errors have shape {self._severe.shape}, expected ({HISTORY}, {self.rate.size})")
        self._thresholds.restore(state["thresholds"])
        self.cooldown.restore(state["cooldown"])
        for extra in self.extras:
            if extra.kind in state["extras"]:
                extra.restore(state["extras"][extra.kind])


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a slice's judgement leaves for learning from it. Shapes: odd: bool[k]. shifting: bool[s]."""

    rate: RateScores
    odd: NDArray[np.bool_]
    shifting: NDArray[np.bool_]
