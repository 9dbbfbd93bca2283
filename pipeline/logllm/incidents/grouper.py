"""Anomalies close in time that share a service become one incident, with a fingerprint and a life.

An incident is opened by its first anomaly (if the budget covers it), grows by further ones, tells so only when
something changed that a reader would act on, and is resolved when what was odd has stopped. Ids and fingerprints are
hashes of what it is about, so the same input gives the same incidents on any machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
import numpy as np

from logllm.events import WINDOW_NS, Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


__all__ = ["Grouper", "Incident", "severity_name"]

JOIN_WINDOWS = 15
"""An anomaly joins an incident of its service that was active this many windows ago or less."""

RESOLVE_WINDOWS = 15
LONGEST_WINDOWS = 24 * 60
MAX_KEYS = 64
SERIES = 60

SeverityName = Literal["info", "warning", "critical"]
EventName = Literal["open", "update", "resolve"]


@dataclass(slots=True)
class Incident:
    """A living incident. `anomalies[lead]` gives its title; `keys` are the templates it concerns, most telling first.

    `told` is False while the budget does not cover it: it lives and holds its keys back from learning, unseen.
    """

    id: str
    fingerprint: str
    service: int
    anomalies: list[Anomaly]
    keys: list[int]
    started: int
    last: int
    told: bool
    count: int = 0
    told_count: int = 0
    ended: int | None = None
    series: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    led_by: int | None = None
    told_severity: str = ""
    told_kinds: int = 0

    @property
    def lead(self) -> Anomaly:
        """The anomaly that names it: `led_by` where set, else the worst-sounding, then the most surprising one."""
        if self.led_by is not None:
            return self.anomalies[self.led_by]
        return max(
            self.anomalies, key=lambda a: (_KIND_FIRST.get(a.kind, 0), min(a.severity, Severity.ERROR), a.surprise)
        )

    @property
    def score(self) -> float:
        """Orders incidents of one report: how bad, how much, how improbable."""
        badness = {Severity.FATAL: 3.0, Severity.ERROR: 2.0, Severity.WARN: 1.3}
        worst = max(a.severity for a in self.anomalies)
        weight = next((value for level, value in badness.items() if worst >= level), 0.2)
        surprise = max(a.surprise for a in self.anomalies)
        missing = max((a.expected * a.seen for a in self.anomalies if a.kind == "silence"), default=0.0)
        return weight + 0.7 * math.log10(1.0 + max(self.count, missing)) + min(surprise, 30.0) / 15.0

    @property
    def severity(self) -> SeverityName:
        """How bad it is, from levels, kinds and counts; nothing in a log's text raises it beyond that."""
        return severity_name(self.anomalies, self.count)


_KIND_FIRST = {"release": -1, "severity": -1}
"""An anomaly of one template makes a better title than a sum over many."""


def severity_name(anomalies: list[Anomaly], count: int) -> SeverityName:
    """The severity of an incident made of these anomalies."""
    worst = max(a.severity for a in anomalies)
    kinds = {a.kind for a in anomalies}
    if worst >= Severity.FATAL:
        return "critical"
    if worst >= Severity.ERROR and (count >= 50 or any(a.kind == "silence" and a.span == 0 for a in anomalies)):
        return "critical"
    if worst >= Severity.WARN and kinds - {"rare"} and count >= 200:
        return "critical"
    if kinds == {"release"} or worst < Severity.WARN:
        return "info" if kinds <= {"release", "rate", "rare"} else "warning"
    return "warning"


class KeyNames(Protocol):
    """What keys stand for. Shapes: service, template: int32[k], service an index into services."""

    service: NDArray[np.int32]
    template: NDArray[np.int32]
    services: list[str]


class Purse(Protocol):
    """Whether one more incident may be told."""

    def spend(self, now_ns: int, *, critical: bool) -> bool:
        """Take one alert out of the budget, if it is there."""


class Grouper:
    """Open incidents, by service.

    Args:
        template_id: The stable id of a key's template, for fingerprints.
    """

    def __init__(self, keys: KeyNames, budget: Purse, template_id: Callable[[int], str]) -> None:
        self._keys = keys
        self._budget = budget
        self._template_id = template_id
        self.open: list[Incident] = []

    def held(self, keys: int) -> NDArray[np.bool_]:
        """bool[k]: keys of open incidents that must not teach the detectors."""
        held = np.zeros(keys, np.bool_)
        for incident in self.open:
            if incident.kinds != ["release"] and incident.last - incident.started < 4 * JOIN_WINDOWS * 2:
                held[[key for key in incident.keys if key < keys]] = True
        return held

    def take(
        self, anomalies: list[Anomaly], first: int, counts: NDArray[np.float64]
    ) -> list[tuple[EventName, Incident]]:
        """The anomalies of consecutive windows, in order of time; returns what to tell.

        Shapes:
            counts: float64[b, k], records of each key in the windows from `first` on.
        """
        told: list[tuple[EventName, Incident]] = []
        at = 0
        for row in range(len(counts)):
            window = first + row
            self._grow(window, counts[row])
            opened: list[Incident] = []
            while at < len(anomalies) and anomalies[at].window <= window:
                incident = self._join(anomalies[at], window)
                if incident is None:
                    incident = self._start(anomalies[at], counts[row])
                    opened.append(incident)
                at += 1
            now_ns = (window + 1) * WINDOW_NS
            for incident in list(self.open):
                told.extend(self._tell(incident, window, now_ns, fresh=any(incident is o for o in opened)))
        return told

    def _grow(self, window: int, counts: NDArray[np.float64]) -> None:
        for incident in self.open:
            came = int(counts[[key for key in incident.keys if key < len(counts)]].sum())
            incident.count += came
            incident.series = [*incident.series, came][-SERIES:]
            if came and not set(incident.kinds) & {"silence", "rate", "severity", "release"}:
                incident.last = window

    def _join(self, anomaly: Anomaly, window: int) -> Incident | None:
        template = self._keys.template[anomaly.key]
        for incident in self.open:
            is_release = incident.kinds == ["release"]
            if is_release != (anomaly.kind == "release") or window - incident.last > JOIN_WINDOWS:
                continue
            silences = "silence" in incident.kinds
            if silences != (anomaly.kind == "silence") and incident.service == anomaly.service and silences:
                continue
            shared = any(self._keys.template[key] == template for key in incident.keys)
            if incident.service in {anomaly.service, -1} or (shared and anomaly.kind != "silence"):
                self._add(incident, anomaly, window)
                return incident
        return None

    @staticmethod
    def _add(incident: Incident, anomaly: Anomaly, window: int) -> None:
        incident.last = max(incident.last, window)
        if anomaly.kind == "release":
            first = incident.anomalies[0]
            incident.anomalies[0] = msgspec.structs.replace(first, seen=first.seen + anomaly.seen)
            incident.keys = [*incident.keys, *anomaly.keys][:MAX_KEYS]
            return
        if anomaly.kind not in incident.kinds:
            incident.kinds.append(anomaly.kind)
        same = next(
            (i for i, a in enumerate(incident.anomalies) if (a.kind, a.key) == (anomaly.kind, anomaly.key)), None
        )
        if same is None:
            incident.anomalies.append(anomaly)
        elif anomaly.surprise > incident.anomalies[same].surprise:
            incident.anomalies[same] = anomaly
        for key in anomaly.keys:
            if key not in incident.keys and len(incident.keys) < MAX_KEYS:
                incident.keys.append(key)

    def _start(self, anomaly: Anomaly, counts: NDArray[np.float64]) -> Incident:
        service = self._keys.services[anomaly.service] if anomaly.service >= 0 else ""
        about = f"{service}\0{anomaly.kind}\0{self._template_id(anomaly.key)}"
        fingerprint = blake2b(about.encode(errors="replace"), digest_size=8).hexdigest()
        unique = f"{fingerprint}\0{anomaly.window}"
        incident = Incident(
            id="inc-" + blake2b(unique.encode(), digest_size=5).hexdigest(),
            fingerprint=fingerprint,
            service=anomaly.service,
            anomalies=[anomaly],
            keys=list(anomaly.keys[:MAX_KEYS]),
            started=anomaly.window - (int(anomaly.seen) - 1 if anomaly.kind == "silence" else anomaly.span - 1),
            last=anomaly.window,
            told=False,
            kinds=[anomaly.kind],
        )
        incident.count = int(counts[[key for key in incident.keys if key < len(counts)]].sum())
        if anomaly.kind == "rate":
            incident.count = max(incident.count, int(anomaly.seen))
        incident.series = [incident.count]
        self.open.append(incident)
        return incident

    def _tell(self, incident: Incident, window: int, now_ns: int, *, fresh: bool) -> list[tuple[EventName, Incident]]:
        if not incident.told and (fresh or incident.severity == "critical") and incident.told_severity == "":
            free = incident.kinds == ["release"]
            if free or self._budget.spend(now_ns, critical=incident.severity == "critical"):
                incident.told = True
                self._remember(incident)
                return [("open", incident)]
            incident.told_severity = incident.severity
        if self._over(incident, window):
            incident.ended = incident.last
            self.open.remove(incident)
            return [("resolve", incident)] if incident.told else []
        changed = (
            incident.severity != incident.told_severity
            or len(incident.kinds) != incident.told_kinds
            or incident.count >= 5 * max(incident.told_count, 4)
        )
        if incident.told and changed and not fresh:
            self._remember(incident)
            return [("update", incident)]
        return []

    @staticmethod
    def _remember(incident: Incident) -> None:
        incident.told_severity, incident.told_count = incident.severity, incident.count
        incident.told_kinds = len(incident.kinds)

    @staticmethod
    def _over(incident: Incident, window: int) -> bool:
        if window - incident.started > LONGEST_WINDOWS:
            return True
        if "silence" in incident.kinds:
            # It ends when what was missing comes again, three windows in a row of the last five.
            return sum(n > 0 for n in incident.series[-5:]) >= 3 and window - incident.last >= 5
        return window - incident.last >= RESOLVE_WINDOWS

    def state(self) -> list[dict[str, Any]]:
        """A msgpack-able copy of the open incidents."""
        return [msgspec.to_builtins(incident) for incident in self.open]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take a copy back."""
        self.open = [msgspec.convert(incident, Incident) for incident in state]
