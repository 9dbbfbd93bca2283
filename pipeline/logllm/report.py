"""The look back on a file: what was found while reading it and what only the whole of it shows, ranked together."""

from __future__ import annotations

import dataclasses
from hashlib import blake2b
from typing import TYPE_CHECKING

from msgspec.structs import replace

from logllm.events import WINDOW_NS, Anomaly, IncidentEvent, rfc3339
from logllm.incidents.grouper import Incident
from logllm.incidents.incident import since

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from logllm.detectors.keys import Keys
    from logllm.detectors.survey import Survey
    from logllm.incidents.compose import Composer

__all__ = ["Report"]

ALIKE = 0.5
"""Two templates whose counts run this alike over the file (cosine) are one problem."""

ODDER = 1.05
MOST_HELD = 2000
"""Incidents of one past that are kept until it is ranked, the oddest of them."""


class Report:
    """Holds the incidents of the past until they can be ranked."""

    def __init__(self, keys: Keys, survey: Survey, template_id: Callable[[int], str]) -> None:
        self.survey = survey
        self._keys = keys
        self._template_id = template_id
        self._held: dict[str, tuple[Incident, IncidentEvent | None]] = {}
        self._oddest: dict[tuple[int, int], tuple[str, float]] = {}
        self._runbooks: dict[tuple[int, ...], str | None] = {}

    def wants(self, incident: Incident, *, ended: bool) -> bool:
        """Whether an incident's event is worth composing: not where one before was like it and as odd."""
        # What speaks to a language model must not hide what else is odd about the same template.
        about = incident.service, ~incident.lead.key if incident.kinds == ["injection"] else incident.lead.key
        oddest = self._oddest.get(about)
        if oddest is None or incident.score > ODDER * oddest[1]:
            self._oddest[about] = incident.id, incident.score
            return True
        return ended and oddest[0] == incident.id

    def hold(self, incident: Incident, event: IncidentEvent | None) -> None:
        """Keep an incident, and its latest event where one was composed, instead of telling it."""
        before = self._held.get(incident.id)
        self._held[incident.id] = incident, event or (before[1] if before else None)
        if len(self._held) > MOST_HELD:
            order = sorted(self._held, key=lambda name: (-self._held[name][0].score, name))
            self._held = {name: self._held[name] for name in order[: MOST_HELD // 2]}

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        self.survey.merge(old, new)
        for incident, _ in self._held.values():
            incident.merge(old, new)

    @property
    def held_keys(self) -> set[int]:
        """The keys that held incidents speak of."""
        return {key for incident, _ in self._held.values() for key in incident.concerned}

    def found(self, records: int, composer: Composer, now_ns: int, most: float) -> list[IncidentEvent]:
        """Everything worth telling, oddest first.

        Args:
            most: Incidents the look back may add to those found while reading.
        """
        fresh: list[Incident] = []
        for anomaly in self.survey.findings():
            if self._told_already(anomaly):
                continue
            home = next((incident for incident in fresh if self._belongs(anomaly, incident)), None)
            if home is not None:
                self._add(home, anomaly)
            elif len(fresh) < max(1, round(most)):
                fresh.append(self._start(anomaly))
        for incident in fresh:
            incident.count = int(self._keys.total[incident.keys].sum())
        groups = self._groups([*(incident for incident, _ in self._held.values()), *fresh], composer)
        events = [self._event(group, runbook, composer, now_ns, records) for runbook, group in groups]
        return sorted(events, key=lambda event: (event.kinds == ["injection"], -event.score, event.started, event.id))

    def _groups(self, incidents: list[Incident], composer: Composer) -> list[tuple[str | None, list[Incident]]]:
        """One problem, one entry: what came again, and what one runbook covers in one service, is told once."""
        groups: dict[tuple[int, str, bool], tuple[str | None, list[Incident]]] = {}
        for incident in incidents:
            apart = bool(set(incident.kinds) & {"release", "silence", "injection"})
            runbook = None if apart else self._runbook(incident, composer)
            about = runbook or f"{incident.lead.kind if apart else ''}\0{self._template_id(incident.lead.key)}"
            groups.setdefault((incident.service, about, apart), (runbook, []))[1].append(incident)
        return list(groups.values())

    def _runbook(self, incident: Incident, composer: Composer) -> str | None:
        keys = tuple(anomaly.key for anomaly in incident.anomalies)
        if keys not in self._runbooks:
            self._runbooks[keys] = composer.runbook(incident)
        return self._runbooks[keys]

    def _event(
        self, group: list[Incident], runbook: str | None, composer: Composer, now_ns: int, records: int
    ) -> IncidentEvent:
        oddest = max(group, key=lambda incident: (incident.score, incident.id))
        held = self._held[oddest.id][1] if oddest.id in self._held else None
        if len(group) == 1 and held is not None:
            return replace(held, event="open")
        whole = self._merged(group, oddest)
        if runbook is not None:
            whole.led_by = composer.best_lead(whole, runbook)
        event = composer.event(whole, "open", now_ns, watched=0.0, records=records)
        if held is not None and len(held.evidence) > len(event.evidence):
            event = replace(event, evidence=held.evidence)  # what has left the ring of recent records since
        bursts = sorted(
            rfc3339(incident.started * WINDOW_NS)[:16] + "Z" for incident in group if incident.id in self._held
        )
        if len(bursts) > 1:
            came = f"it came in {len(bursts)} bursts, the first at {bursts[0]}, the last at {bursts[-1]}"
            event = replace(event, facts=[came, *event.facts])
        return event

    def _merged(self, group: list[Incident], oddest: Incident) -> Incident:
        """One incident of several: its count is that of their templates, each once."""
        order = sorted(group, key=lambda incident: incident is not oddest)
        anomalies: dict[tuple[str, int], Anomaly] = {}
        for anomaly in (a for incident in order for a in incident.anomalies):
            have = anomalies.get((anomaly.kind, anomaly.key))
            if have is None or anomaly.surprise > have.surprise:
                anomalies[anomaly.kind, anomaly.key] = anomaly if have is None else since(anomaly, have)
            else:
                anomalies[anomaly.kind, anomaly.key] = since(have, anomaly)
        looked_back = any(incident.id not in self._held for incident in group)
        keys = list(dict.fromkeys(key for incident in order for key in incident.keys))
        return dataclasses.replace(
            oddest,
            anomalies=list(anomalies.values()),
            keys=keys,
            started=min(incident.started for incident in group),
            last=max(incident.last for incident in group),
            ended=max((incident.ended or incident.last) for incident in group),
            count=int(self._keys.total[keys].sum()) if looked_back else sum(incident.count for incident in group),
            kinds=list(dict.fromkeys(kind for incident in order for kind in incident.kinds)),
        )

    def _told_already(self, anomaly: Anomaly) -> bool:
        return anomaly.kind != "dominant" and any(
            anomaly.key in incident.keys
            and incident.kinds != ["injection"]
            and incident.started <= anomaly.window + anomaly.span
            and incident.last >= anomaly.window
            for incident, _ in self._held.values()
        )

    def _belongs(self, anomaly: Anomaly, incident: Incident) -> bool:
        if anomaly.service != incident.service:
            return False
        if anomaly.key in incident.keys:
            return True
        if anomaly.kind == "rare" and incident.kinds == ["rare"]:
            return True
        mine, *theirs = self.survey.profile([anomaly.key, *incident.keys[:8]]).T
        return any(float(mine @ other) >= ALIKE for other in theirs)

    def _add(self, incident: Incident, anomaly: Anomaly) -> None:
        incident.anomalies.append(anomaly)
        if anomaly.key not in incident.keys:
            incident.keys.append(anomaly.key)
        if anomaly.kind not in incident.kinds:
            incident.kinds.append(anomaly.kind)
        self._span(incident)

    def _start(self, anomaly: Anomaly) -> Incident:
        about = f"{self._keys.services[anomaly.service]}\0{anomaly.kind}\0{self._template_id(anomaly.key)}"
        fingerprint = blake2b(about.encode(errors="replace"), digest_size=8).hexdigest()
        incident = Incident(
            id="inc-" + blake2b(f"{fingerprint}\0{anomaly.window}".encode(), digest_size=5).hexdigest(),
            fingerprint=fingerprint,
            service=anomaly.service,
            anomalies=[anomaly],
            keys=[anomaly.key],
            started=anomaly.window,
            last=anomaly.window,
            told=True,
            kinds=[anomaly.kind],
        )
        self._span(incident)
        return incident

    def _span(self, incident: Incident) -> None:
        first: NDArray[np.int64] = self._keys.first_ns[incident.keys]
        last: NDArray[np.int64] = self._keys.last_ns[incident.keys]
        incident.started = int(first.min()) // WINDOW_NS
        incident.last = incident.ended = int(last.max()) // WINDOW_NS
