"""Answers about one incident, put together by code from what is known, each sentence with its citations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logllm.explain.chat.case import moment
from logllm.explain.chat.events import Sentence
from logllm.explain.chat.find import find, firm_in
from logllm.explain.chat.topics import Topic, items_named, meant_by, subjects_of
from logllm.explain.chat.whereabouts import before, who
from logllm.explain.facts import lasting

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.explain.chat.case import Case, Item, ItemKind
    from logllm.explain.chat.find import Found

__all__ = ["UNKNOWN", "about", "answer", "named_items", "quoted"]

UNKNOWN = "I do not know from this evidence"
# What was seen; a runbook speaks of what may be elsewhere.
_EVIDENCE: tuple[ItemKind, ...] = (
    "incident", "line", "template", "compared", "series", "anomaly", "change", "new", "fact", "past",
)  # fmt: skip
_QUOTED_CHARS = 220
_WHOLE_CHARS = 2_000
_MOST_SHOWN = 8
_MOST_ALSO = 4
_MOST_STEPS = 6
_FEW_STEPS = 3
# A match that carries less of what was asked than this is a coincidence.
_HALF = 0.5


def answer(topic: Topic, question: str, case: Case) -> list[Sentence]:
    """What the evidence says to a question of this topic; never empty. COMPARE and LIST are not of one incident."""
    if topic is Topic.ITEM:
        return named_items(question, case)
    makers: dict[Topic, Callable[[str, Case], list[Sentence]]] = {
        Topic.WHAT: _what,
        Topic.WHY: _why,
        Topic.WHEN: _when,
        Topic.WHO: who,
        Topic.BEFORE: before,
        Topic.CHECK: _check,
        Topic.TODO: _todo,
        Topic.SEEN: _seen,
        Topic.ONGOING: _ongoing,
        Topic.LINES: _lines,
        Topic.COUNT: _count,
        Topic.NORMAL: _normal,
        Topic.SEVERITY: _severity,
        Topic.TRUST: _trust,
        Topic.HELP: _help,
    }
    maker = makers.get(topic)
    if maker is None:
        return about(question, case) or [Sentence(f"{UNKNOWN}.", [], unknown=True)]
    found = maker(question, case)
    if topic in (Topic.LINES, Topic.HELP, Topic.SEEN, Topic.CHECK, Topic.TODO, Topic.TRUST):
        return found
    return _with_subjects(question, case, found)


def named_items(question: str, case: Case) -> list[Sentence]:
    """The items that a question names by their ids, whole, a line with its time and place."""
    places = {one.id: one for one in (*case.incident.evidence, *case.incident.changes)}
    told = []
    for name in items_named(question):
        item = case.items.get(name)
        if item is None:
            told.append(Sentence(f"{UNKNOWN}: it has no {name}.", [], unknown=True))
            continue
        place = places.get(name)
        where = ""
        if place is not None:
            line = f":{place.line}" if place.line is not None else ""
            where = f"{moment(place.time)}{f', {place.source}{line}' if place.source else ''}: "
        told.append(Sentence(f"{where}{quoted(item, _WHOLE_CHARS)}", [name]))
    return told


def about(question: str, case: Case) -> list[Sentence]:
    """The items that carry the words a question is about, the best first; nothing where none does."""
    wanted = dict.fromkeys([*subjects_of(question), *firm_in(question), *meant_by(question)])
    found = find(case.of("line", "change"), wanted)
    others = find(case.of("fact", "new", "anomaly", "template", "past", "check", "step"), wanted)
    # Lines are what a person wants to see; what says the same stands behind them.
    told = [Sentence(quoted(one.item), [one.item.id]) for one in _near(found or others)[:_MOST_SHOWN]]
    more = [one.item.id for one in _near(others)][:_MOST_ALSO] if found else []
    return [*told, Sentence(f"It is also in {_listed(more)}.", more)] if more else told


def _near(found: list[Found]) -> list[Found]:
    return [one for one in found if one.score >= _HALF * found[0].score]


def quoted(item: Item, chars: int = _QUOTED_CHARS) -> str:
    """An item as part of a sentence: its first line, cut at a word where it is long."""
    text = " ".join(item.text.strip().split("\n", 1)[0].split())
    if len(text) > chars:
        text = text[:chars].rsplit(" ", 1)[0] + " …"
    return f"“{text}”" if item.kind in ("line", "change", "template") else _full(text)


def _full(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _with_subjects(question: str, case: Case, found: list[Sentence]) -> list[Sentence]:
    """With the lines that carry what the question is about, or, where nothing does, with that said first."""
    wanted = subjects_of(question)
    firm = [name for name in firm_in(question) if any(char.isdigit() for char in name)]
    if not wanted and not firm:
        return found
    matches = find(case.of(*_EVIDENCE), [*wanted, *firm, *meant_by(question)])
    if not matches:
        asked = _spoken(question, [*wanted, *firm])
        return [Sentence(f"{UNKNOWN}: nothing in it speaks of {asked}.", [], unknown=True), *found]
    said = {name for sentence in found for name in sentence.cites}
    lines = [one.item for one in _near(matches) if one.item.kind in ("line", "change")]
    more = [Sentence(quoted(item), [item.id]) for item in lines[:3] if item.id not in said]
    return [*found, *more]


def _spoken(question: str, stems: list[str]) -> str:
    from logllm.explain.runbooks.words import stem

    words = [word.strip("?.,!:;\"'()") for word in question.split()]
    named = [word for word in words if stem(word.lower()) in stems or word.lower() in stems]
    return _listed([f"“{word[:40]}”" for word in dict.fromkeys(named)][:3] or ["it"])


def _what(question: str, case: Case) -> list[Sentence]:
    told = [Sentence(_full(case.items["I1"].text), ["I1"])]
    told += [Sentence(item.text, [item.id]) for item in case.of("compared")]
    lines = case.of("line")
    cited = [case.items[name] for name in case.explanation.evidence if name in case.items]
    for item in (cited or lines)[:1]:
        told.append(Sentence(f"A line of it: {quoted(item)}", [item.id]))
    told += [Sentence(_full(item.text), [item.id]) for item in case.of("fact")[:2]]
    return told


def _why(question: str, case: Case) -> list[Sentence]:
    explanation = case.explanation
    ids = [name for name in explanation.evidence if name in case.items]
    told = []
    if explanation.status == "insufficient" or not explanation.cause:
        told.append(Sentence(f"{UNKNOWN} why: no runbook fits what was seen.", [], unknown=True))
        told += [Sentence(_full(item.text), [item.id]) for item in case.of("compared")]
        told += [Sentence(quoted(item), [item.id]) for item in case.of("line")[:2]]
    else:
        cause = re.sub(r" Seen in E[\d, E]+\.$", "", explanation.cause)
        sure = f" Confidence: {explanation.confidence * 100:.0f} %, computed from the evidence."
        told.append(Sentence(_full(cause) + sure, [*ids[:5], *(["R1"] if "R1" in case.items else [])]))
        told += [Sentence(quoted(case.items[name]), [name]) for name in ids[:2]]
    first = case.of("anomaly")[:1]
    told += [Sentence(f"What came first: {_full(item.text)}", [item.id]) for item in first]
    for item in case.of("change")[:2]:
        told.append(Sentence(f"A change near its beginning, which may be the reason or not: {quoted(item)}", [item.id]))
    return told


def _when(question: str, case: Case) -> list[Sentence]:
    incident = case.incident
    began = incident.started or incident.time
    ended = incident.ended or (incident.time if incident.event == "resolve" else "")
    if ended:
        span = lasting(began, ended)
        told = [
            Sentence(
                f"It began at {moment(began)} and ended at {moment(ended)}{f', after {span}' if span else ''}.", ["I1"]
            )
        ]
    else:
        told = [Sentence(f"It began at {moment(began)}; no end of it has been seen.", ["I1"])]
    if incident.evidence:
        first = min(incident.evidence, key=lambda one: one.time)
        told.append(
            Sentence(
                f"The first line kept of it is of {moment(first.time)}: {quoted(case.items[first.id])}", [first.id]
            )
        )
    told += [Sentence(_full(item.text), [item.id]) for item in case.of("fact") if "burst" in item.text][:1]
    return told


def _check(question: str, case: Case) -> list[Sentence]:
    checks = case.of("check")
    if not checks:
        return _no_runbook(case)
    return [_named(case), *(Sentence(f"Check: {_full(item.text)}", [item.id]) for item in checks[:_MOST_STEPS])]


def _todo(question: str, case: Case) -> list[Sentence]:
    steps = case.of("step")
    if not steps:
        return _no_runbook(case)
    told = [_named(case)]
    told += [Sentence(f"Check: {_full(item.text)}", [item.id]) for item in case.of("check")[:_FEW_STEPS]]
    told += [Sentence(f"Do: {_full(item.text)}", [item.id]) for item in steps[:_MOST_STEPS]]
    helped = [one for one in case.past if one.outcome]
    for number, one in enumerate(case.past, start=1):
        if one in helped[:1]:
            told.append(Sentence(f"The last time this helped: {_full(one.outcome)}", [f"P{number}"]))
    return told


def _named(case: Case) -> Sentence:
    runbook = case.runbook
    if runbook is None:
        return Sentence(f"{UNKNOWN}.", [], unknown=True)
    owner = f", owner {runbook.owner}" if runbook.owner else ""
    text = f"Runbook {runbook.id} ({runbook.title}), risk {runbook.risk}{owner}. Nothing of it has been run."
    return Sentence(text, ["R1"])


def _no_runbook(case: Case) -> list[Sentence]:
    told = [Sentence(f"{UNKNOWN} what to do: no runbook fits what was seen.", [], unknown=True)]
    for number, one in enumerate(case.past, start=1):
        if one.outcome:
            told.append(Sentence(f"At an earlier incident this helped: {_full(one.outcome)}", [f"P{number}"]))
    told += [Sentence(f"What it rests on: {quoted(item)}", [item.id]) for item in case.of("line")[:2]]
    return told


def _seen(question: str, case: Case) -> list[Sentence]:
    past = case.of("past")
    if not past:
        return [Sentence(f"{UNKNOWN}: no earlier incident like it is kept here.", [], unknown=True)]
    return [Sentence(f"Seen before: {_full(item.text)}", [item.id]) for item in past]


def _ongoing(question: str, case: Case) -> list[Sentence]:
    incident = case.incident
    if incident.event == "resolve" or incident.ended:
        told = [Sentence(f"No: it ended at {moment(incident.ended or incident.time)}.", ["I1"])]
    else:
        told = [Sentence(f"It has not ended, as far as is known: last looked at {moment(incident.time)}.", ["I1"])]
    told += [Sentence(f"Records in each window: {_full(item.text)}", [item.id]) for item in case.of("series")]
    return told


def _lines(question: str, case: Case) -> list[Sentence]:
    lines = case.of("line", "change")
    wanted = [*subjects_of(question), *firm_in(question)]
    if not lines:
        return [Sentence(f"{UNKNOWN}: no line of the log is kept with it.", [], unknown=True)]
    if wanted:
        found = find(lines, dict.fromkeys(wanted))
        if not found:
            none = f"{UNKNOWN}: none of the {len(lines)} lines kept with it speaks of {_spoken(question, wanted)}."
            return [Sentence(none, [], unknown=True)]
        lines = [one.item for one in _near(found)]
    return [Sentence(quoted(item), [item.id]) for item in lines[:_MOST_SHOWN]]


def _count(question: str, case: Case) -> list[Sentence]:
    told = []
    if case.incident.count:
        told.append(Sentence(f"{case.incident.count:,} records belong to it.", ["I1"]))
    told += [Sentence(item.text, [item.id]) for item in case.of("compared")]
    told += [Sentence(f"Records in each window: {_full(item.text)}", [item.id]) for item in case.of("series")]
    counted = [item for item in case.of("fact") if re.search(r"\d", item.text)]
    told += [Sentence(_full(item.text), [item.id]) for item in counted[:3]]
    return told or [Sentence(f"{UNKNOWN}: nothing was counted.", [], unknown=True)]


def _normal(question: str, case: Case) -> list[Sentence]:
    told = [Sentence(item.text, [item.id]) for item in case.of("compared")]
    told += [Sentence(_full(item.text), [item.id]) for item in case.of("fact")[:4]]
    return told or [Sentence(f"{UNKNOWN}: it has nothing to compare with.", [], unknown=True)]


def _severity(question: str, case: Case) -> list[Sentence]:
    incident = case.incident
    kinds = f" of kind {_listed(incident.kinds)}" if incident.kinds else ""
    text = (
        f"It is {incident.severity}{kinds}: computed from levels, kinds and counts, not said by a model or a log line."
    )
    told = [Sentence(text, ["I1"]), *(Sentence(item.text, [item.id]) for item in case.of("compared"))]
    others = [name for name in incident.services if name and name != incident.service]
    if others:
        told.append(Sentence(f"It is also on {_listed(others[:5])}.", ["I1"]))
    return told


def _trust(question: str, case: Case) -> list[Sentence]:
    explanation = case.explanation
    if explanation.status == "insufficient" or not explanation.cause:
        return [Sentence(f"{UNKNOWN} why it happened, so there is nothing to be sure of.", [], unknown=True)]
    ids = [name for name in explanation.evidence if name in case.items]
    lines = len(case.of("line"))
    covered = f"{len(ids)} of {lines} lines of evidence carry the runbook's signals" if lines else "no line shows it"
    told = [Sentence(f"Confidence in the cause is {explanation.confidence * 100:.0f} %: {covered}.", ids[:5] or ["I1"])]
    if explanation.removed:
        told.append(Sentence(f"Checks took out of the explanation: {'; '.join(explanation.removed[:3])}.", []))
    return told


def _help(question: str, case: Case) -> list[Sentence]:
    text = (
        "Ask what happened, why, since when, who and where, what came before, what to check, what to do, whether it "
        "was seen before, whether it goes on, how many, how bad, how sure; for lines about a word; to compare it with "
        "another incident; or to list the incidents."
    )
    return [Sentence(text, [])]
