"""From new templates to what is told of them: at once where it sounds grave, otherwise when it keeps coming."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from logllm.detectors.novelty import Novel, Novelty
from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from logllm.detectors.keys import Keys
    from logllm.detectors.slices import Slice

__all__ = ["News"]

PROBATION = 60
"""Windows in which a new problem message that came once or twice may still make up its number."""

MAX_PROBATION = 2_000
ENOUGH = 10
ENOUGH_AMONG_MANY = 30


class _Probation(msgspec.Struct):
    service: int
    born: int
    count: float
    rate_per_day: float
    severity: int


class News:
    """Tells new templates.

    An ERROR is told when it first comes, unless a new one is nothing unusual; a WARN, and an ERROR among many, when
    it has come ENOUGH times within PROBATION windows. Many new ones at once are a release.

    Args:
        usual_per_day: As many new problem messages a day as this are nothing unusual.
    """

    def __init__(self, keys: Keys, novelty: Novelty, severity_of: Callable[[int], int], usual_per_day: float) -> None:
        self._keys = keys
        self._novelty = novelty
        self._severity_of = severity_of
        self._usual_per_day = usual_per_day
        self._probation: dict[int, _Probation] = {}

    def judge(self, window_slice: Slice, row: int, new: list[int], *, learning: bool) -> list[Anomaly]:
        """What is worth telling in one window.

        Args:
            new: Keys whose template is first seen in it.
            learning: Everything is new yet: nothing is told but what is fatal.
        """
        if not new and not self._probation:
            return []
        window, counts = window_slice.first + row, window_slice.counts[row]
        found = self._of_late(window_slice, row)
        by_service: dict[int, list[tuple[int, int]]] = {}
        for key in new:
            by_service.setdefault(int(self._keys.service[key]), []).append((key, self._severity_of(key)))
        for service, pairs in by_service.items():
            novel = self._novelty.judge(window, service, pairs)
            if learning:
                found.extend(
                    Anomaly("new", window, 1, service, key, [key], 0.0, float(counts[key]), 3.0, severity)
                    for key, severity in pairs
                    if severity >= Severity.FATAL
                )
                continue
            for item in novel:
                if item.kind == "release":
                    found.append(_anomaly("release", window, 1, service, item.keys, float(len(item.keys)), item))
                    continue
                key, came = item.keys[0], float(counts[item.keys[0]])
                probation = _Probation(service, window, came, item.rate_per_day, item.severity)
                if self._worth_telling(probation):
                    found.append(_anomaly("new", window, 1, service, [key], came, item))
                elif len(self._probation) < MAX_PROBATION:
                    self._probation[key] = probation
        return found + self._along(window, {anomaly.service for anomaly in found if anomaly.kind == "new"})

    def _along(self, window: int, services: set[int]) -> list[Anomaly]:
        """What else is new in services of which something is told: it may belong to it."""
        found = []
        for key, new in list(self._probation.items()) if services else ():
            if new.service in services:
                del self._probation[key]
                found.append(_anomaly("new", window, window - new.born + 1, new.service, [key], new.count, new))
        return found

    def _of_late(self, window_slice: Slice, row: int) -> list[Anomaly]:
        """What was new of late and has now come often enough."""
        window, counts = window_slice.first + row, window_slice.counts[row]
        found = []
        for key, probation in list(self._probation.items()):
            span = window - probation.born + 1
            if not 1 < span <= PROBATION:
                del self._probation[key]
                continue
            probation.count += float(counts[key])
            probation.severity = max(probation.severity, self._severity_of(key))
            if counts[key] and self._worth_telling(probation):
                del self._probation[key]
                found.append(_anomaly("new", window, span, probation.service, [key], probation.count, probation))
        return found

    def _worth_telling(self, new: _Probation) -> bool:
        if new.severity >= Severity.FATAL:
            return True
        # Where bad-looking new ones come every hour, one more is no news unless it comes in numbers.
        usual = new.rate_per_day > self._usual_per_day
        if new.severity >= Severity.ERROR:
            return not usual or new.count >= ENOUGH
        return new.count >= (ENOUGH_AMONG_MANY if usual else ENOUGH)

    def merge(self, old: int, new: int, fresh: Collection[int] = ()) -> None:
        """Key `old` became part of key `new`: it is news only where both are. `fresh`: keys no window has counted."""
        mine, other = self._probation.pop(old, None), self._probation.get(new)
        if mine is not None and other is not None:
            other.count += mine.count
        elif other is not None and old not in fresh:
            del self._probation[new]
        elif mine is not None and new in fresh:
            self._probation[new] = mine
        self._novelty.merge(old, new)

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone."""
        for key in keys:
            self._probation.pop(key, None)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {str(key): msgspec.to_builtins(value) for key, value in self._probation.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back."""
        self._probation = {int(key): msgspec.convert(value, _Probation) for key, value in state.items()}


def _anomaly(
    kind: str, window: int, span: int, service: int, keys: list[int], seen: float, item: Novel | _Probation
) -> Anomaly:
    per_window = max(item.rate_per_day, 1.0 / 30.0) / 1440.0
    return Anomaly(
        kind=kind,
        window=window,
        span=span,
        service=service,
        key=keys[0],
        keys=keys,
        expected=item.rate_per_day,
        seen=seen,
        surprise=max(0.0, -math.log10(min(per_window, 1.0))),
        severity=item.severity,
    )
