"""One incident made ready to be talked about: everything that may be said of it, under ids that can be cited."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from logllm.explain.facts import explain_without_model, first_sentence
from logllm.explain.injection import looks_like_instruction
from logllm.explain.pack import build_pack
from logllm.explain.redact.redactor import Redactor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.events import Explanation, IncidentEvent, SeenBefore
    from logllm.explain.runbooks.search import Catalogue, Runbook

__all__ = ["Case", "Item", "ItemKind", "case_of", "moment"]

ItemKind = Literal[
    "incident",
    "line",
    "template",
    "compared",
    "series",
    "anomaly",
    "change",
    "new",
    "fact",
    "past",
    "runbook",
    "check",
    "step",
]

_MOST_LINES = 40
_MOST_TEMPLATES = 12
_MOST_FACTS = 16
_MOST_PAST = 5


class Item(NamedTuple):
    """One thing that may be cited. `text` is masked, and may be several lines, as the log had it.

    `id` is its kind's letter and a number: I the incident itself, E lines, T templates, X expected against seen, S the
    series, A what came first, C changes near the beginning, N what is new, F facts, P past incidents, R the runbook, K
    its checks, D its steps. What the model may be told (`EvidencePack`) has the same ids.
    """

    id: str
    kind: ItemKind
    text: str


class Case(NamedTuple):
    """An incident, what explains it, and its items. `tainted` are ids that no model is shown: they speak to one.

    `explanation` is there always: without one that was kept, it is what facts and the runbook say. `past` are earlier
    incidents like it.
    """

    incident: IncidentEvent
    explanation: Explanation
    runbook: Runbook | None
    items: dict[str, Item]
    past: list[SeenBefore]
    tainted: frozenset[str]

    def of(self, *kinds: ItemKind) -> list[Item]:
        """The items of these kinds, in their order."""
        return [item for item in self.items.values() if item.kind in kinds]


def case_of(
    incident: IncidentEvent,
    explanation: Explanation | None,
    catalogue: Catalogue,
    past: Sequence[SeenBefore] = (),
) -> Case:
    """The case of an incident as it was kept; both are taken to be masked already.

    `past` is what is known now of earlier incidents like it. The runbook is the explanation's, else the one that the
    incident was given when it opened.
    """
    name = explanation.runbook if explanation is not None and explanation.status == "ok" else incident.runbook
    runbook = catalogue.by_id.get(name) if name else None
    said = explanation or explain_without_model(incident, runbook, catalogue)
    earlier = _merged(said.seen_before, past)
    items: list[Item] = [Item("I1", "incident", _headline(incident))]
    items += [Item(one.id, "line", one.text) for one in incident.evidence[:_MOST_LINES]]
    items += [Item(one.id, "change", one.text) for one in incident.changes[:_MOST_LINES]]
    templates = list(dict.fromkeys([incident.template, *incident.templates]))
    items += _numbered("T", "template", [text for text in templates if text][:_MOST_TEMPLATES])
    if incident.expected or incident.seen:
        compared = f"Expected: {incident.expected or 'nothing'}. Seen: {incident.seen or 'nothing'}."
        items.append(Item("X1", "compared", compared))
    if incident.series:
        items.append(Item("S1", "series", _shape(incident.series)))
    items += _numbered("A", "anomaly", incident.timeline[:_MOST_LINES])
    # What the model's explanation cites is there under the same id, and what no model is shown is marked.
    pack = build_pack(incident, Redactor(max_values=0), earlier)
    items += [Item(one.id, "new", one.text) for one in pack.items if one.kind == "new"]
    items += _numbered("F", "fact", incident.facts[:_MOST_FACTS])
    items += _numbered("P", "past", [_told(one) for one in earlier])
    if runbook is not None:
        items.append(Item("R1", "runbook", f"{runbook.title}: {first_sentence(runbook.what)}"))
        items += _numbered("K", "check", runbook.checks)
        items += _numbered("D", "step", runbook.steps)
    tainted = frozenset(
        item.id for item in items if item.kind not in ("runbook", "check", "step") and looks_like_instruction(item.text)
    )
    by_id: dict[str, Item] = {}
    for item in items:
        by_id.setdefault(item.id, item)
    return Case(incident, said, runbook, by_id, earlier, tainted | {*said.tainted, *pack.tainted})


def _merged(seen: Sequence[SeenBefore], past: Sequence[SeenBefore]) -> list[SeenBefore]:
    """Those that the explanation names keep their places; what people have said of them since is taken over."""
    now = {one.incident: one for one in past}
    known = [now.pop(one.incident, one) for one in seen]
    return [*known, *now.values()][:_MOST_PAST]


def moment(time: str) -> str:
    """An RFC 3339 time as people read it, in UTC as it is given; seconds only where they are not 0.

    >>> moment("2026-03-10T14:26:00.000Z"), moment("2026-03-10T14:26:14.658Z")
    ('2026-03-10 14:26Z', '2026-03-10 14:26:14Z')
    """
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d)?(?:\.\d+)?(Z|[+-]\d\d:\d\d)", time)
    if found is None:
        return time
    seconds = "" if found[3] in (None, ":00") else found[3]
    return f"{found[1]} {found[2]}{seconds}{found[4]}"


def _numbered(letter: str, kind: ItemKind, texts: Sequence[str]) -> list[Item]:
    kept = (text for text in texts if text.strip())
    return [Item(f"{letter}{number}", kind, text) for number, text in enumerate(kept, start=1)]


def _headline(incident: IncidentEvent) -> str:
    began = moment(incident.started or incident.time)
    where = f"{incident.service}: " if incident.service else ""
    if incident.event == "resolve" or incident.ended:
        times = f"from {began} to {moment(incident.ended or incident.time)}"
    else:
        times = f"since {began}, last looked at {moment(incident.time)}"
    count = f", {incident.count:,} records" if incident.count else ""
    return f"{where}{incident.title}, {incident.severity}, {times}{count}"


def _shape(series: list[int]) -> str:
    top = max(series)
    if not top:
        return f"none in any of {len(series)} windows"
    peak = series.index(top)
    last = max(place for place, count in enumerate(series) if count)
    tail = len(series) - 1 - last
    ending = f"; none in the last {tail} windows" if tail else ""
    ends = f", {series[-1]} in the last" if series[-1] else ending
    return f"{series[0]} in the first window, most {top} in window {peak + 1} of {len(series)}{ends}"


def _told(one: SeenBefore) -> str:
    verdict = {"real": "a real problem", "expected": "expected", "noise": "noise"}.get(one.verdict, "")
    said = f"; people said: {verdict}" if verdict else ""
    helped = f"; what helped: {one.outcome}" if one.outcome else ""
    return f"{one.incident} at {moment(one.time)}: {one.title}{said}{helped}"
