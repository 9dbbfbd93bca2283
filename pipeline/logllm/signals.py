"""Anomalies that plugins raise and texts that speak to a model, until their window closes: then they are anomalies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec.structs import replace

from logllm.detectors.cooldown import Cooldown
from logllm.events import WINDOW_NS, Anomaly, Columns, Severity
from logllm.explain.injection import looks_like_instruction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from logllm.events import IncidentEvent
    from logllm.filters.host import Signal
    from logllm.incidents.recent import Line, Recent

__all__ = ["Raised", "columns_of", "named"]

MOST_WAITING = 1_000
MOST_READ = 256
"""Texts looked at for what speaks to a language model, for each minute of the log: 20 ms of it at most."""
MOST_HOSTILE = 10
"""Incidents of such texts in an hour, over all services: their names may be a sender's choice too."""
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
    """Signals by window and key, one anomaly for all of one rule.

    Also what `read` and `cited` find: text that speaks to a language model, of the kind "injection". A service's is
    raised once an hour at most, and ever less often where it goes on (`Cooldown`), for it costs no budget.

    Attributes:
        lost: Signals for which there was no room.
        unread: Texts that were not looked at, because others of the same minute had been.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int], Anomaly] = {}
        self.lost = 0
        self.unread = 0
        self._told = Cooldown()
        self._minute = [-1, 0]
        self._hour = [-1, 0]

    def read(self, new: Iterable[int], recent: Recent, service: NDArray[np.int32]) -> None:
        """Look at the first records of keys never seen before; those of known templates cost nothing and are not seen.

        Shapes:
            service: int32[k], the service of each key.
        """
        for key in new:
            line = recent.first(key)
            if line is not None:
                self._read(line, line.time_ns // WINDOW_NS, service)

    def cited(
        self, event: IncidentEvent | None, lines: Sequence[Line], window: int, service: NDArray[np.int32]
    ) -> None:
        """Look at what an incident that has opened rests on, known templates or not."""
        if event is not None and event.event == "open" and event.kinds != ["injection"]:
            for line in lines:
                self._read(line, window, service)

    def _read(self, line: Line, window: int, service: NDArray[np.int32]) -> None:
        if _over(self._minute, window, MOST_READ):
            self.unread += 1
            return
        self._minute[1] += 1
        if line.key < 0 or not looks_like_instruction(line.text) or _over(self._hour, window // 60, MOST_HOSTILE):
            return
        whose, level = int(service[line.key]), int(Severity.INFO)
        # Which template brings it is the sender's choice: the service is what is told, once.
        judged = self._told.judge(Anomaly("injection", window, 1, whose, -1, [], 0.0, 1.0, 1.0, level))
        self._hour[1] += judged == "told"
        if judged != "held" and len(self._waiting) < MOST_WAITING:
            found = Anomaly("injection", window, 1, whose, line.key, [line.key], 0.0, 1.0, 1.0, level)
            self._waiting.setdefault((window, line.key), found)

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

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        waiting = [msgspec.to_builtins(anomaly) for anomaly in self._waiting.values()]
        return {"waiting": waiting, "told": self._told.state(), "minute": self._minute[:], "hour": self._hour[:]}

    def restore(self, state: dict[str, Any] | list[Any]) -> None:
        """Take a copy back; a list is one of before texts were read."""
        kept: dict[str, Any] = {"waiting": state} if isinstance(state, list) else state
        waiting = [msgspec.convert(one, Anomaly) for one in kept["waiting"]]
        self._waiting = {(anomaly.window, anomaly.key): anomaly for anomaly in waiting}
        if "told" in kept:
            self._told.restore(kept["told"])
            self._minute, self._hour = ([int(number) for number in kept[name]] for name in ("minute", "hour"))


def _over(counted: list[int], now: int, most: int) -> bool:
    """Whether as many have been counted as may be. Counting begins anew when time goes on, not when it goes back."""
    if now > counted[0]:
        counted[:] = [now, 0]
    return counted[1] >= most
