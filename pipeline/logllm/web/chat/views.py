"""What the page shows, as JSON: plain texts alone, nothing in them is markup."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.events import IncidentEvent
    from logllm.explain.chat.case import Case
    from logllm.explain.chat.events import AnswerEvent

__all__ = ["Detail", "Line", "Row", "State", "detail_of", "event_of", "row_of"]

_LONGEST = 8_000
_MOST_POINTS = 240


class Row(msgspec.Struct, frozen=True):
    """An incident in the list."""

    id: str
    severity: str
    service: str
    title: str
    started: str
    ended: str
    series: list[int]


class State(msgspec.Struct, frozen=True):
    """All the page begins with. `model` is "" without one; `missing` and `learning` say in words what is not there."""

    incidents: list[Row]
    incident: str
    model: str
    missing: str
    learning: str


class Line(msgspec.Struct, frozen=True):
    """An item that can be cited. `where` is a line's file and number, `time` when it was written."""

    id: str
    kind: str
    text: str
    time: str = ""
    where: str = ""
    tainted: bool = False


class Detail(msgspec.Struct, frozen=True):
    """One incident in full."""

    row: Row
    count: int
    kinds: list[str]
    items: list[Line]
    status: str
    cause: str
    confidence: float
    model: str
    evidence: list[str]
    removed: list[str]
    runbook: str
    risk: str
    owner: str


def row_of(event: IncidentEvent, put_back: Callable[[str], str]) -> Row:
    """An incident's row; a long series keeps the highest count of each stretch."""
    ended = event.ended or (event.time if event.event == "resolve" else "")
    series = event.series
    if len(series) > _MOST_POINTS:
        edges = [round(place * len(series) / _MOST_POINTS) for place in range(_MOST_POINTS + 1)]
        series = [max(series[a:b]) for a, b in itertools.pairwise(edges)]
    return Row(
        event.id,
        event.severity,
        put_back(event.service)[:200],
        put_back(event.title)[:_LONGEST],
        event.started or event.time,
        ended,
        series,
    )


def detail_of(case: Case, put_back: Callable[[str], str]) -> Detail:
    """Everything the page shows of an incident."""
    incident, explanation, runbook = case.incident, case.explanation, case.runbook
    places = {one.id: one for one in (*incident.evidence, *incident.changes)}
    items = []
    for item in case.items.values():
        place = places.get(item.id)
        where = ""
        if place is not None and place.source:
            where = f"{place.source}{'' if place.line is None else f':{place.line}'}"
        items.append(
            Line(
                item.id,
                item.kind,
                put_back(item.text)[:_LONGEST],
                "" if place is None else place.time,
                where,
                item.id in case.tainted,
            )
        )
    return Detail(
        row=row_of(incident, put_back),
        count=incident.count,
        kinds=incident.kinds,
        items=items,
        status=explanation.status,
        cause=put_back(explanation.cause)[:_LONGEST],
        confidence=explanation.confidence,
        model=explanation.model,
        evidence=explanation.evidence,
        removed=[put_back(text) for text in explanation.removed],
        runbook="" if runbook is None else runbook.id,
        risk="" if runbook is None else runbook.risk,
        owner="" if runbook is None else runbook.owner,
    )


def event_of(event: AnswerEvent, put_back: Callable[[str], str]) -> bytes:
    """A piece of an answer as one line of JSON."""
    text = getattr(event, "text", None)
    if isinstance(text, str):
        event = msgspec.structs.replace(event, text=put_back(text))
    return msgspec.json.encode(event) + b"\n"
