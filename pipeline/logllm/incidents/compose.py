"""From a living incident to what is told of it: texts, evidence, facts, a runbook; nothing secret leaves here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from logllm.events import WINDOW_NS, Cause, Evidence, IncidentEvent, rfc3339
from logllm.incidents import describe
from logllm.incidents.incident import noticed, of_whole_service

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logllm.events import Anomaly
    from logllm.incidents.changes import ChangeWatch
    from logllm.incidents.grouper import EventName, Incident, KeyNames
    from logllm.incidents.recent import Line, Recent

__all__ = ["Composer", "Lookups"]

MAX_EVIDENCE = 5
MAX_TEMPLATES = 12
MAX_CAUSES = 32
SAMPLED_LINES = 300
_PSEUDONYM = re.compile(r"<[a-z]+_x?[0-9a-f]+>")
MAX_TIMELINE = 6
BEFORE_WINDOWS = 30
"""How much earlier, and `JOIN_WINDOWS` how much later, another incident may begin to be told in the order of things."""

JOIN_WINDOWS = 15


@dataclass(frozen=True, slots=True)
class Lookups:
    """What the composer asks of other stages.

    Args:
        text: A key's template, for reading.
        template_id: Its stable id.
        parameters: The values at the places where a key's template varies, in one message.
        mask: Replaces secrets, addresses and names by pseudonyms.
        mask_lines: The same for lines that belong together, some of which only show by the others what they hold.
        runbook: The id of the runbook that these words fit, or None.
        runbook_of_kind: The id of the runbook for a kind whose records show nothing (a silence), or None.
        shows: How much of the signals of the runbook of this id a text carries, 0 to 1.
    """

    text: Callable[[int], str]
    template_id: Callable[[int], str]
    parameters: Callable[[int, str], list[str]]
    mask: Callable[[str], str]
    mask_lines: Callable[[Sequence[str]], list[str]]
    runbook: Callable[[str], str | None]
    runbook_of_kind: Callable[[str], str | None]
    shows: Callable[[str, str], float]


class Living(Protocol):
    """Whoever has the incidents that have not ended."""

    open: list[Incident]


class Composer:
    """Makes `IncidentEvent`s.

    Attributes:
        cited: The records that the latest one rests on, as they came.
    """

    def __init__(self, keys: KeyNames, recent: Recent, changes: ChangeWatch, living: Living, lookups: Lookups) -> None:
        self._keys = keys
        self._recent = recent
        self._changes = changes
        self._living = living
        self._ask = lookups
        self.cited: list[Line] = []

    def event(
        self, incident: Incident, what: EventName, now_ns: int, *, watched: float, records: int = 0
    ) -> IncidentEvent:
        """What is told when an incident opens, changes or ends.

        Args:
            now_ns: Event time of the telling.
            watched: Windows the source had been watched for when it began.
            records: Records of the whole file, for a look back.
        """
        lead = incident.lead
        mask = self._ask.mask
        lines = self.cited = self._evidence(incident)
        masked = self._ask.mask_lines([line.text for line in lines])
        evidence = [
            Evidence(
                id=f"E{number}",
                time=rfc3339(line.time_ns),
                text=text,
                template=self._ask.template_id(line.key),
                source=mask(line.source),
                line=line.line,
            )
            for number, (line, text) in enumerate(zip(lines, masked, strict=True), 1)
        ]
        others = len(incident.keys) - 1 if lead.kind not in {"release", "silence"} else 0
        # Masked before it is cut to a title's length: half a token has no form by which it is known.
        title = describe.title(lead, mask(self._ask.text(lead.key)), others=max(0, others), records=records)
        words = [line.text for line in lines] if lead.kind != "release" else []
        words += [describe.title(a, self._ask.text(a.key), records=records) for a in incident.anomalies[:MAX_TEMPLATES]]
        if lead.kind == "injection":
            words = []  # whoever wrote it would choose the runbook
        return IncidentEvent(
            id=incident.id,
            event=what,
            time=rfc3339(now_ns),
            severity=incident.severity,
            service=self._service(incident.service),
            kinds=list(incident.kinds),
            title=mask(title),
            expected=mask(describe.expected(lead, watched=watched, records=records)),
            seen=mask(describe.seen(lead, records=records)),
            template=mask(self._ask.text(lead.key)),
            count=incident.count,
            runbook=self._ask.runbook_of_kind(lead.kind) or (self._ask.runbook("\n".join(words)) if words else None),
            evidence=evidence,
            started=rfc3339(incident.started * WINDOW_NS),
            ended=None if incident.ended is None else rfc3339((incident.ended + 1) * WINDOW_NS),
            fingerprint=incident.fingerprint,
            score=round(incident.score, 3),
            templates=[mask(self._ask.text(key)) for key in incident.keys[:MAX_TEMPLATES]],
            services=sorted({self._service(int(self._keys.service[key])) for key in incident.keys}),
            facts=[mask(fact) for fact in self._facts(incident, watched, records)],
            series=incident.series,
            changes=self._near(incident),
            timeline=[mask(sentence) for sentence in self._timeline(incident)],
            causes=self._causes(incident),
        )

    def runbook(self, incident: Incident) -> str | None:
        """The runbook that the texts of an incident fit best."""
        texts = [self._ask.text(anomaly.key) for anomaly in incident.anomalies[:MAX_TEMPLATES]]
        return self._ask.runbook("\n".join(texts))

    def best_lead(self, incident: Incident, runbook: str) -> int:
        """Which anomaly names an incident that a runbook fits: what shows it most, then what there is most of."""

        def weight(at: int) -> tuple[float, float]:
            anomaly = incident.anomalies[at]
            return round(self._ask.shows(runbook, self._ask.text(anomaly.key)), 1), anomaly.seen

        return max(range(len(incident.anomalies)), key=weight)

    def _near(self, incident: Incident) -> list[Evidence]:
        """What was changed near its beginning, as the log tells it; of another service under that service's name."""
        changes: list[Evidence] = []
        for change in self._changes.near(incident.started * WINDOW_NS, incident.service, incident.lead.key):
            elsewhere = self._service(change.service) if change.service != incident.service else ""
            changes.append(
                Evidence(
                    id=f"C{len(changes) + 1}",
                    time=rfc3339(change.time_ns),
                    text=f"{elsewhere}: {change.text}" if elsewhere else change.text,
                    template=self._ask.template_id(change.key) if change.key >= 0 else "",
                    source=self._ask.mask(change.source),
                    line=change.line or None,
                )
            )
        return changes

    def _timeline(self, incident: Incident) -> list[str]:
        """What was noticed first, to the minute, here and in other incidents of that time; nothing where it is one."""
        mine = _firsts(incident)
        lead = next(anomaly for anomaly in mine if anomaly.key == incident.lead.key)
        theirs = [
            _firsts(other)[0]
            for other in self._living.open
            if other.id != incident.id and (other.told or other.severity != "info")
        ]
        near = [each for each in theirs if -BEFORE_WINDOWS <= noticed(each) - incident.started <= JOIN_WINDOWS]
        near = sorted(near, key=noticed)[: MAX_TIMELINE // 2]
        kept = [lead, *(anomaly for anomaly in mine if anomaly is not lead)][: MAX_TIMELINE - len(near)]
        order = sorted([*kept, *near], key=noticed)
        if len(order) < 2:
            return []
        first = noticed(order[0])
        place = " (among the first)" if noticed(order[1]) == first else " (first)"
        day = rfc3339(incident.started * WINDOW_NS)[:10]
        sentences = []
        for anomaly in order:
            when = rfc3339(noticed(anomaly) * WINDOW_NS)
            stamp = when[11:16] if when[:10] == day else f"{when[:10]} {when[11:16]}"
            told = describe.happened(
                anomaly, self._ask.mask(self._ask.text(anomaly.key)), self._service(anomaly.service)
            )
            sentences.append(f"{stamp} {told}{place if noticed(anomaly) == first else ''}")
        return sentences

    def _causes(self, incident: Incident) -> list[Cause]:
        lead = incident.lead
        others = [anomaly for anomaly in incident.anomalies if anomaly is not lead]
        return [self._cause(anomaly) for anomaly in (lead, *others[: MAX_CAUSES - 1])]

    def _cause(self, anomaly: Anomaly) -> Cause:
        whole = of_whole_service(anomaly)
        return Cause(
            kind=anomaly.kind,
            service=self._service(anomaly.service) if anomaly.service >= 0 else "*",
            template="*" if whole else self._ask.template_id(anomaly.key),
            text="" if whole else self._ask.mask(self._ask.text(anomaly.key)),
            expected=anomaly.expected,
            seen=anomaly.seen,
            severity=anomaly.severity,
        )

    def _service(self, number: int) -> str:
        return self._keys.services[number] if number >= 0 else ""

    def _evidence(self, incident: Incident) -> list[Line]:
        """The first two records of what leads, then one of each other template, then the latest."""
        start_ns = incident.started * WINDOW_NS
        end_ns = (incident.last + 1) * WINDOW_NS
        lead = incident.lead
        if lead.kind in {"silence", "heartbeat"}:
            last = self._recent.last(lead.keys, start_ns)
            return [last] if last else []
        lines = _distinct(self._recent.lines([lead.key], start_ns, end_ns, 20))[:2]
        for key in sorted(incident.keys, key=lambda k: self._weight(incident, k), reverse=True):
            if len(lines) >= MAX_EVIDENCE - 1:
                break
            if key != lead.key:
                lines += self._recent.lines([key], start_ns, end_ns, 1)
        last = self._recent.last([lead.key], end_ns)
        if last and last.time_ns >= start_ns:
            lines.append(last)
        return sorted(_distinct(lines), key=lambda line: line.time_ns)[:MAX_EVIDENCE]

    @staticmethod
    def _weight(incident: Incident, key: int) -> tuple[int, float]:
        mine = [a for a in incident.anomalies if a.key == key]
        return max(((a.severity, a.surprise) for a in mine), default=(0, 0.0))

    def _facts(self, incident: Incident, watched: float, records: int) -> list[str]:
        lead = incident.lead
        start_ns, end_ns = incident.started * WINDOW_NS, (incident.last + 1) * WINDOW_NS
        facts = []
        if lead.kind not in {"silence", "release"}:
            texts = list(self._recent.texts(lead.key, start_ns, end_ns, SAMPLED_LINES))
            told = describe.top_values(self._ask.parameters(lead.key, text) for text in texts)
            facts += [fact for fact in (self._as_in_its_line(fact, texts) for fact in told) if fact]
        for anomaly in incident.anomalies[:MAX_TEMPLATES]:
            if anomaly is lead:
                continue
            facts.append(
                f"{describe.title(anomaly, self._ask.mask(self._ask.text(anomaly.key)), records=records)}: expected "
                f"{describe.expected(anomaly, watched=watched, records=records)}, "
                f"seen {describe.seen(anomaly, records=records)}"
            )
        return facts[:8]

    def _as_in_its_line(self, fact: str, texts: list[str]) -> str:
        """A fact of `top_values` with its value as its line shows it once that is masked; "" where it shows none.

        Alone a value says not what it is: only its line tells that a word is a user's name or a password.
        """
        value, _, rest = fact.rpartition(" in ")
        text = next((text for text in texts if value in text), "")
        masked = self._ask.mask(text)
        if value in masked:
            return fact
        before = self._ask.mask(text.partition(value)[0])
        pseudonym = _PSEUDONYM.match(masked, len(before)) if masked.startswith(before) else None
        return f"{pseudonym[0]} in {rest}" if pseudonym else ""


def _firsts(incident: Incident) -> list[Anomaly]:
    """Of each message the anomaly that was noticed first, in the order of time."""
    firsts: dict[int, Anomaly] = {}
    for anomaly in sorted(incident.anomalies, key=noticed):
        firsts.setdefault(anomaly.key, anomaly)
    return list(firsts.values())


def _distinct(lines: list[Line]) -> list[Line]:
    return list({line.text: line for line in reversed(lines)}.values())[::-1]
