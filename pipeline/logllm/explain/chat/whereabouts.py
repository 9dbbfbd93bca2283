"""Who and where, and what came before: answers that are put together of several items each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.explain.chat.case import moment
from logllm.explain.chat.events import Sentence
from logllm.explain.chat.names import asked_for, named_by, names_in

if TYPE_CHECKING:
    from logllm.explain.chat.case import Case

__all__ = ["before", "who"]

_UNKNOWN = "I do not know from this evidence"
_PLURAL = {"address": "addresses", "status": "status codes", "service": "services"}


def who(question: str, case: Case) -> list[Sentence]:
    """The names that the question asks for, each with the lines that have it."""
    items = case.of("line", "change", "fact")
    kinds = asked_for(question)
    told = []
    if not kinds or "service" in kinds:
        told += _services(case)
    for kind in [kind for kind in kinds if kind != "service"] or ([] if kinds else ["address", "host", "user", "pod"]):
        names = names_in(items, kind)
        if names:
            listed = ", ".join(f"{name} ({', '.join(ids)})" for name, ids in names.items())
            cites = list(dict.fromkeys(name for ids in names.values() for name in ids))
            told.append(Sentence(f"{_PLURAL.get(kind, kind + 's').capitalize()} in the evidence: {listed}.", cites[:8]))
    if not told or (kinds and not any(sentence.cites != ["I1"] for sentence in told)):
        named = named_by(question, items)
        if named is not None:
            noun, names = named
            cites = list(dict.fromkeys(name for ids in names.values() for name in ids))
            told.append(Sentence(f"Named as {noun}: {', '.join(names)}.", cites[:8]))
    if not told:
        asked = " or ".join(_PLURAL.get(kind, kind + "s") for kind in kinds) or "names"
        told = [Sentence(f"{_UNKNOWN}: it names no {asked}.", [], unknown=True), *_services(case)]
    return told


def _services(case: Case) -> list[Sentence]:
    services = [name for name in dict.fromkeys([case.incident.service, *case.incident.services]) if name]
    if not services:
        return []
    word = "Service" if len(services) == 1 else "Services"
    return [Sentence(f"{word}: {', '.join(services[:8])}.", ["I1"])]


def before(question: str, case: Case) -> list[Sentence]:
    """Deployments and changed configuration near the beginning, and which of its anomalies came first."""
    changes = case.of("change")
    anomalies = case.of("anomaly")
    times = {one.id: one.time for one in case.incident.changes}
    told = [
        Sentence(f"A change near its beginning, at {moment(times[one.id])}: {_line(one.text)}", [one.id])
        for one in changes[:5]
    ]
    if not changes:
        told.append(
            Sentence(f"{_UNKNOWN} of any deployment or changed configuration near its beginning.", [], unknown=True)
        )
    order = ("First", "Then")
    told += [
        Sentence(f"{order[min(place, 1)]}: {_full(one.text)}", [one.id]) for place, one in enumerate(anomalies[:5])
    ]
    if not anomalies and case.incident.evidence:
        first = min(case.incident.evidence, key=lambda one: one.time)
        told.append(Sentence(f"The first line kept of it is of {moment(first.time)}: {_line(first.text)}", [first.id]))
    return told


def _line(text: str) -> str:
    first = " ".join(text.strip().split("\n", 1)[0].split())
    return f"“{first[:220]}{' …' if len(first) > 220 else ''}”"


def _full(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
