"""One incident: what it rests on, what leads it, how bad it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import replace

from logllm.events import Anomaly, Severity

__all__ = ["Incident", "SeverityName", "noticed", "of_whole_service", "severity_name", "since"]

SeverityName = Literal["info", "warning", "critical"]


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
    def concerned(self) -> set[int]:
        """Every key it speaks of."""
        return {*self.keys, *(key for anomaly in self.anomalies for key in (anomaly.key, *anomaly.keys))}

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        if old in self.keys:
            self.keys = _renamed(self.keys, old, new)
        for at, anomaly in enumerate(self.anomalies):
            if old in anomaly.keys or old == anomaly.key:
                key = new if anomaly.key == old else anomaly.key
                self.anomalies[at] = replace(anomaly, key=key, keys=_renamed(anomaly.keys, old, new))

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


_KIND_FIRST = {"release": -1, "severity": -1, "change": -1, "odd": -2}
"""An anomaly of one template makes a better title than a sum over many."""

_HARMLESS = {"release", "rate", "rare", "change", "odd", "injection"}
"""Kinds that are no more than worth knowing where no record says that something is wrong."""


_ORDINARY = {"heartbeat", "value", "distinct", "session", "change", "odd"}
"""Kinds whose records are those of any other day: how many there are says nothing of how bad it is."""


def _renamed(keys: list[int], old: int, new: int) -> list[int]:
    return list(dict.fromkeys(new if key == old else key for key in keys))


def severity_name(anomalies: list[Anomaly], count: int) -> SeverityName:
    """The severity of an incident made of these anomalies."""
    worst = max(a.severity for a in anomalies)
    kinds = {a.kind for a in anomalies}
    if worst >= Severity.FATAL:
        return "critical"
    of_more = not _ORDINARY.issuperset(kinds)
    if worst >= Severity.ERROR and (
        (of_more and count >= 50) or any(a.kind == "silence" and a.span == 0 for a in anomalies)
    ):
        return "critical"
    if worst >= Severity.WARN and of_more and kinds - {"rare"} and count >= 200:
        return "critical"
    if kinds == {"release"} or worst < Severity.WARN:
        return "info" if kinds <= _HARMLESS else "warning"
    return "warning"


def of_whole_service(anomaly: Anomaly) -> bool:
    """Whether it speaks of all of a service, or of the source, so that no single template stands for it."""
    return anomaly.kind == "release" or (anomaly.kind == "silence" and (anomaly.span == 0 or anomaly.service < 0))


def noticed(anomaly: Anomaly) -> int:
    """The window that made it odd: the last of those it was judged by; of a silence, the first without a record."""
    return anomaly.window - (max(int(anomaly.seen), 1) - 1 if anomaly.kind == "silence" else 0)


def since(anomaly: Anomaly, before: Anomaly) -> Anomaly:
    """`anomaly`, dated to one of the same kind and key if that was noticed before: so it is known which came first."""
    later = noticed(anomaly) - noticed(before)
    return replace(anomaly, window=anomaly.window - later) if later > 0 else anomaly
