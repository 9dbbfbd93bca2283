"""Anomalies that plugins raise, until their window closes: from then on they are anomalies like any other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec.structs import replace

from logllm.events import WINDOW_NS, Anomaly, Columns, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.filters.host import Signal

__all__ = ["Raised", "columns_of", "named"]

MOST_WAITING = 1_000
SURE = 0.9
"""A plugin this sure of what it raises, without a word on how bad that is, means an error."""


def named(signal: Signal) -> str:
    """What a signal's template is made of: the same for all signals of one rule.

    >>> from logllm.filters.host import Signal
    >>> named(Signal("fraud", "card testing", "41 cards from one address", 0.8))
    'plugin fraud raised card testing'
    """
    return f"plugin {signal.plugin} raised {signal.rule}"


def severity_of(signal: Signal) -> int:
    """How bad it is: as the plugin says, else by how sure it is."""
    return signal.severity or int(Severity.ERROR if signal.score >= SURE else Severity.WARN)


def columns_of(signals: Sequence[Signal], time_ns: int) -> Columns:
    """Signals as records of now: what is shown as evidence."""
    services = list(dict.fromkeys(signal.service for signal in signals))
    return Columns(
        np.full(len(signals), time_ns, np.int64),
        [f"{signal.rule}: {signal.text}".replace("\0", "") for signal in signals],
        np.array([severity_of(signal) for signal in signals], np.uint8),
        np.array([services.index(signal.service) for signal in signals], np.int32),
        services,
    )


class Raised:
    """Signals by window and key, one anomaly for all of one rule."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int], Anomaly] = {}
        self.lost = 0

    def add(self, signal: Signal, time_ns: int, key: int, service: int) -> None:
        """Take a signal in, under the key of its template."""
        window = time_ns // WINDOW_NS
        # A score is no tail probability: it is read as one, and never as a small one.
        surprise = min(-math.log10(max(1.0 - signal.score, 1e-3)), 3.0)
        before = self._waiting.get((window, key))
        if before is None:
            if len(self._waiting) >= MOST_WAITING:
                self.lost += 1
                return
            severity = severity_of(signal)
            self._waiting[window, key] = Anomaly("plugin", window, 1, service, key, [key], 0.0, 1.0, surprise, severity)
            return
        self._waiting[window, key] = replace(
            before,
            seen=before.seen + 1,
            surprise=max(before.surprise, surprise),
            severity=max(before.severity, severity_of(signal)),
        )

    def among(self, found: list[Anomaly], last: int) -> list[Anomaly]:
        """What detectors found, and the signals of windows up to `last` in their places; those wait no more."""
        due = [place for place in self._waiting if place[0] <= last]
        if not due:
            return found
        mine = [self._waiting.pop(place) for place in sorted(due)]
        return sorted([*found, *mine], key=lambda anomaly: anomaly.window)

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        for window, key in [place for place in self._waiting if place[1] == old]:
            anomaly = replace(self._waiting.pop((window, key)), key=new, keys=[new])
            have = self._waiting.get((window, new))
            self._waiting[window, new] = anomaly if have is None else replace(have, seen=have.seen + anomaly.seen)

    @property
    def keys(self) -> set[int]:
        """The keys that are waited for."""
        return {key for _, key in self._waiting}

    def state(self) -> list[Any]:
        """A msgpack-able copy."""
        return [msgspec.to_builtins(anomaly) for anomaly in self._waiting.values()]

    def restore(self, state: list[Any]) -> None:
        """Take a copy back."""
        waiting = [msgspec.convert(one, Anomaly) for one in state]
        self._waiting = {(anomaly.window, anomaly.key): anomaly for anomaly in waiting}
