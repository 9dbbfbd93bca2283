"""The same alert again only when it is clearly worse, or after a pause that grows each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from logllm.events import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.events import Anomaly

__all__ = ["Cooldown"]

_HOUR, _DAY = 60, 1440
PAUSES = (_HOUR, 4 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY)
"""Windows until the same may be told again: after the first time, the second..."""

SAME_EPISODE = 15
"""What goes on with no longer breaks than this is one episode: its incident is still open, and hears of it."""

FORGOTTEN = 14 * _DAY
"""Windows after which what was told is as if it had never been."""

WORSE_SURPRISE = 3.0
WORSE_TIMES = 3.0
"""Clearly worse: a thousand times less probable and half as surprising again, or three times as much was seen."""

MOST = 20_000


class _Told(msgspec.Struct):
    last: int
    told: int
    times: int
    severity: int
    surprise: float
    seen: float
    held: bool = False


class Cooldown:
    """Remembers what was told of each service, template and kind.

    New templates and releases come once by their nature, and that a whole service or source has stopped is told
    always. Bounded: of MOST alerts remembered, the one told longest ago makes room.

    Attributes:
        held_back: Episodes that were not told because the same had been told not long before.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[int, int, str, str], _Told] = {}
        self._keys: set[int] = set()
        self.held_back = 0

    def judge(self, anomaly: Anomaly) -> Literal["told", "same", "held"]:
        """Whether to tell it, as something else or as more of the same; anomalies in order of their windows.

        What is told is remembered.
        """
        if anomaly.kind in {"new", "release", "plugin"} or (anomaly.kind == "silence" and not anomaly.span):
            return "told"
        # Which template leads a shift may change from one minute to the next.
        key = -1 if anomaly.kind == "severity" else anomaly.key
        # Each session is another; what is odd of it is its template.
        about = (anomaly.service, key, anomaly.kind, "" if anomaly.kind == "session" else anomaly.about)
        before = self._told.get(about)
        window = anomaly.window
        if before is None or not 0 <= window - before.told <= FORGOTTEN or window < before.last:
            self._told.pop(about, None)
            if len(self._told) >= MOST:
                del self._told[next(iter(self._told))]
            self._told[about] = _Told(window, window, 1, anomaly.severity, anomaly.surprise, anomaly.seen)
            self._keys.add(key)
            return "told"
        goes_on = window - before.last <= SAME_EPISODE
        before.last = window
        if goes_on and not before.held:
            before.told = window
            self._worst(before, anomaly)
            return "same"
        pause = PAUSES[min(before.times, len(PAUSES)) - 1]
        if window - before.told < pause and not _worse(anomaly, before):
            if not (goes_on and before.held):
                self.held_back += 1
            before.held = True
            return "held"
        before.held = False
        before.told = window
        before.times += 1
        self._worst(before, anomaly)
        self._told[about] = self._told.pop(about)
        return "told"

    @staticmethod
    def _worst(before: _Told, anomaly: Anomaly) -> None:
        before.severity = max(before.severity, anomaly.severity)
        before.surprise = max(before.surprise, anomaly.surprise)
        before.seen = max(before.seen, anomaly.seen)

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`: what was told of either was told of it."""
        for about in self._of([old]):
            mine = self._told.pop(about)
            other = self._told.get((about[0], new, *about[2:]))
            if other is None or other.told < mine.told:
                self._told[about[0], new, about[2], about[3]] = mine
                self._keys.add(new)

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone."""
        for about in self._of(keys):
            del self._told[about]

    def _of(self, keys: Sequence[int]) -> list[tuple[int, int, str, str]]:
        told = self._keys.intersection(keys)
        self._keys -= told
        return [each for each in self._told if each[1] in told] if told else []

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        told = [[list(about), msgspec.to_builtins(each)] for about, each in self._told.items()]
        return {"told": told, "held_back": self.held_back}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back."""
        self._told = {
            (int(service), int(key), str(kind), str(about)): msgspec.convert(told, _Told)
            for (service, key, kind, about), told in state["told"]
        }
        self._keys = {about[1] for about in self._told}
        self.held_back = int(state["held_back"])


def _worse(anomaly: Anomaly, before: _Told) -> bool:
    if anomaly.severity > before.severity and anomaly.severity >= Severity.WARN:
        return True
    by_chance = anomaly.surprise >= max(before.surprise + WORSE_SURPRISE, 1.5 * before.surprise)
    return by_chance or anomaly.seen >= WORSE_TIMES * before.seen > 0.0
