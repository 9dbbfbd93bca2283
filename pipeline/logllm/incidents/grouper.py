"""Anomalies close in time that share a service become one incident, with a fingerprint and a life.

An incident is opened by its first anomaly (if the budget covers it), grows by further ones, tells so only when
something changed that a reader would act on, and is resolved when what was odd has stopped. Ids and fingerprints are
hashes of what it is about, so the same input gives the same incidents on any machine.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
import numpy as np
from msgspec.structs import replace

from logllm.events import WINDOW_NS
from logllm.incidents.incident import Incident, severity_name, since

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from logllm.events import Anomaly

__all__ = ["Grouper", "Incident", "severity_name"]

JOIN_WINDOWS = 15
"""An anomaly joins an incident of its service that was active this many windows ago or less."""

RESOLVE_WINDOWS = 15
LONGEST_WINDOWS = 24 * 60
MAX_KEYS = 64
MAX_ANOMALIES = 128
HELD_WINDOWS = 120
"""What lasts longer than two hours is learned again: it may be the new normal."""

SERIES = 60

_BY_COMING = frozenset(("new", "rare", "plugin", "dominant"))
"""Kinds that last as long as their records come; those of the others come on ordinary days too."""

_LEARNED = frozenset(("release", "change", "injection"))
"""What these bring is what is normal from now on, or says nothing of how often records come."""

_APART = frozenset(("release", "injection"))
"""Kinds that are incidents of their own and cost no budget: they have bounds of their own."""

EventName = Literal["open", "update", "resolve"]


class KeyNames(Protocol):
    """What keys stand for. Shapes: service, template: int32[k], service an index into services."""

    service: NDArray[np.int32]
    template: NDArray[np.int32]
    services: list[str]


class Purse(Protocol):
    """Whether one more incident may be told."""

    def spend(self, now_ns: int, *, critical: bool, again: bool = False, service: str = "") -> bool:
        """Take one alert out of the service's budget, if it is there; `again`: for one it was refused before."""


class Grouper:
    """Open incidents, by service.

    Args:
        template_id: The stable id of a key's template, for fingerprints.
        is_real: Whether a person has said that such an anomaly is a real problem: it is told whatever the budget.
    """

    def __init__(
        self,
        keys: KeyNames,
        budget: Purse,
        template_id: Callable[[int], str],
        is_real: Callable[[Anomaly], bool] = lambda _: False,
    ) -> None:
        self._keys = keys
        self._budget = budget
        self._template_id = template_id
        self._is_real = is_real
        self.open: list[Incident] = []
        self._templates: dict[str, set[int]] = {}

    def take(
        self, anomalies: list[Anomaly], first: int, counts: NDArray[np.float64]
    ) -> tuple[list[tuple[EventName, Incident]], NDArray[np.bool_]]:
        """The anomalies of consecutive windows, in order of time; returns what to tell.

        Shapes:
            counts: float64[b, k], records of each key in the windows from `first` on.
            returns: also bool[k], keys that must not teach the detectors: an incident was open on them.
        """
        told: list[tuple[EventName, Incident]] = []
        held = np.zeros(counts.shape[1], np.bool_)
        self._templates.clear()
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
            for incident in self.open:
                if not _LEARNED.intersection(incident.kinds) and window - incident.started < HELD_WINDOWS:
                    held[incident.keys] = True
        return told, held

    def _grow(self, window: int, counts: NDArray[np.float64]) -> None:
        for incident in self.open:
            came = int(counts[incident.keys].sum())
            incident.count += came
            incident.series = [*incident.series, came][-SERIES:]
            if came and _BY_COMING.issuperset(incident.kinds):
                incident.last = window

    def _join(self, anomaly: Anomaly, window: int) -> Incident | None:
        for incident in self.open:
            apart = _APART.intersection(incident.kinds) != _APART.intersection([anomaly.kind])
            if apart or not 0 <= window - incident.last <= JOIN_WINDOWS:
                continue
            silences = "silence" in incident.kinds
            if silences != (anomaly.kind == "silence") and incident.service == anomaly.service and silences:
                continue
            same = incident.service in {anomaly.service, -1}
            if same or (anomaly.kind != "silence" and self._shares(incident, anomaly)):
                self._add(incident, anomaly, window)
                self._templates.pop(incident.id, None)
                return incident
        return None

    def _shares(self, incident: Incident, anomaly: Anomaly) -> bool:
        """Whether the anomaly's template is one of the incident's, in whatever service."""
        templates = self._templates.get(incident.id)
        if templates is None:
            templates = self._templates[incident.id] = set(self._keys.template[incident.keys].tolist())
        template = int(self._keys.template[anomaly.key])
        return template >= 0 and template in templates

    @staticmethod
    def _add(incident: Incident, anomaly: Anomaly, window: int) -> None:
        incident.last = max(incident.last, window)
        if anomaly.kind == "release":
            first = incident.anomalies[0]
            incident.anomalies[0] = replace(first, seen=first.seen + anomaly.seen)
            incident.keys = [*incident.keys, *anomaly.keys][:MAX_KEYS]
            return
        if anomaly.kind not in incident.kinds:
            incident.kinds.append(anomaly.kind)
        if anomaly.kind == "plugin":
            incident.count += int(anomaly.seen)  # no record of any window
        same = next(
            (i for i, a in enumerate(incident.anomalies) if (a.kind, a.key) == (anomaly.kind, anomaly.key)), None
        )
        if same is None and len(incident.anomalies) < MAX_ANOMALIES:
            incident.anomalies.append(anomaly)
        elif same is None:
            telling = [(a.severity, a.surprise) for a in incident.anomalies]
            least = min(range(MAX_ANOMALIES), key=telling.__getitem__)
            if (anomaly.severity, anomaly.surprise) > telling[least]:
                incident.anomalies[least] = anomaly
        else:
            before = incident.anomalies[same]
            more = anomaly if anomaly.surprise > before.surprise else before
            more = replace(more, severity=max(anomaly.severity, before.severity))
            incident.anomalies[same] = since(more, before)
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
        incident.count = int(counts[incident.keys].sum())
        if anomaly.kind in {"rate", "plugin"}:
            incident.count = max(incident.count, int(anomaly.seen))
        incident.series = [incident.count]
        self.open.append(incident)
        return incident

    def _tell(self, incident: Incident, window: int, now_ns: int, *, fresh: bool) -> list[tuple[EventName, Incident]]:
        grave = incident.severity == "critical"
        real = not incident.told and any(map(self._is_real, incident.anomalies))
        if not incident.told and (real or fresh or (grave and incident.told_severity != "critical")):
            free = real or not _APART.isdisjoint(incident.kinds)
            service = self._keys.services[incident.service] if incident.service >= 0 else ""
            before = incident.told_severity != ""
            if free or self._budget.spend(now_ns, critical=grave, again=before, service=service):
                incident.told = True
                self._remember(incident)
                return [("open", incident)]
            incident.told_severity = incident.severity
        if self._over(incident, window):
            incident.ended = self._end(incident, window)
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
        if not 0 <= window - incident.started <= LONGEST_WINDOWS:
            return True  # for too long, or time went back
        if "silence" in incident.kinds:
            # It ends when what was missing comes again, three windows in a row of the last five.
            return sum(n > 0 for n in incident.series[-5:]) >= 3 and window - incident.last >= 5
        return window - incident.last >= RESOLVE_WINDOWS

    @staticmethod
    def _end(incident: Incident, window: int) -> int:
        """The last window of it; a silence's is the one before the records came again."""
        if "silence" not in incident.kinds or window < incident.last:
            return incident.last
        latest = incident.series[-5:]
        back = next((i for i, came in enumerate(latest) if came), len(latest))
        return max(incident.last, window - len(latest) + back)

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        for incident in self.open:
            incident.merge(old, new)

    def state(self) -> list[dict[str, Any]]:
        """A msgpack-able copy of the open incidents."""
        return [msgspec.to_builtins(incident) for incident in self.open]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take a copy back."""
        self.open = [msgspec.convert(incident, Incident) for incident in state]
