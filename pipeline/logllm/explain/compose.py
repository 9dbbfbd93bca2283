"""The explanation a person reads, put together by code from what the model chose and what stood the checks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from logllm.events import Explanation
from logllm.explain.checks import review
from logllm.explain.facts import cause_from, cited, confidence
from logllm.explain.prompt import Shown, instructions
from logllm.explain.runbooks.choice import Choice, choose
from logllm.explain.runbooks.words import WEAK, stem, terms

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from logllm.events import IncidentEvent
    from logllm.explain.cache import CachedAnswer
    from logllm.explain.redact.redactor import Redactor
    from logllm.explain.runbooks.search import Catalogue, Match, Runbook

__all__ = ["compose", "marked", "of_injection", "untainted"]

_WEAK_FIT = 0.45
# In log-odds.
_CLOSE = 1.0
# Part of what happened was kept from the model, and somebody wants it to be misread.
_MOST_TAINTED = 0.5
_NOTHING = "No runbook fits what was seen, and the model said nothing that the evidence carries; the facts stand alone."


def compose(
    incident: IncidentEvent,
    answer: CachedAnswer,
    *,
    shown: Sequence[Shown],
    facts: Sequence[str],
    matches: Sequence[Match],
    catalogue: Catalogue,
    redactor: Redactor,
    model: str,
    cached: bool = False,
) -> Explanation:
    """Check the model's answer against this incident and say what is left.

    Steps are the runbook's, word for word. Pseudonyms are put back only where the incident itself, as it was given,
    shows the value.
    """
    by_id = {match.runbook.id: match for match in matches}
    reviewed = review(
        answer.answer,
        evidence={line.id: line.text for line in shown},
        facts=facts,
        runbook_ids=by_id,
        instructions=instructions(),
    )
    removed = list(reviewed.removed)
    choice = _choice(matches, answer.likelihoods)
    runbook = choice.runbook
    pick = by_id.get(reviewed.runbook or "")
    if not (choice.by_model or answer.local) and pick is not None and _may_overrule(pick, matches):
        # A model without scores (a server's) may be large enough to know better than words alone.
        runbook = pick.runbook
    agreed = runbook is not None and reviewed.runbook == runbook.id
    if reviewed.runbook is not None and not agreed:
        better = runbook.id if runbook is not None else "none"
        removed.append(f"runbook {reviewed.runbook!r}: the evidence fits {better} better")
    # Only the log's own lines show a problem; numbers, changes and earlier incidents are cited for what they are.
    lines = [line.id for line in incident.evidence]
    carrying = cited(incident, runbook, catalogue)
    evidence, dropped = _evidence(reviewed.evidence, reviewed.hypothesis, carrying, runbook, shown, catalogue)
    if dropped:
        removed.append(f"evidence {', '.join(dropped)}: shows nothing of it")
    sentence = _revealed(reviewed.hypothesis, incident, redactor)
    if sentence and runbook is None and not evidence:
        removed.append("the model's sentence: rests on no line")
        sentence = ""
    if runbook is None and not sentence:
        cause = _NOTHING
    elif runbook is None:
        cause = f"{_full(sentence)} (the model's words; seen in {', '.join(evidence)}.)"
    elif sentence:
        seen = f" (the model's words; seen in {', '.join(evidence[:5])})" if evidence else " (the model's words)"
        cause = f"{_full(sentence)[:-1]}{seen}. {cause_from(runbook, [])}"
    else:
        cause = cause_from(runbook, evidence)
    covered = len(carrying) if runbook is not None else sum(name in lines for name in evidence)
    return Explanation(
        incident=incident.id,
        status="ok" if runbook is not None or sentence else "insufficient",
        cause=cause,
        runbook=runbook.id if runbook is not None else None,
        steps=list(runbook.steps) if runbook is not None else [],
        evidence=evidence if runbook is not None or sentence else [],
        confidence=confidence(
            coverage=covered / len(lines) if lines else 0.0,
            margin=choice.margin,
            has_runbook=runbook is not None,
        )
        if runbook is not None or sentence
        else 0.0,
        model=model,
        removed=removed,
        cached=cached,
    )


def untainted(incident: IncidentEvent, tainted: Collection[str]) -> IncidentEvent:
    """The incident without the lines that speak to a language model: nothing is concluded from them."""
    if not tainted:
        return incident
    return replace(incident, evidence=[line for line in incident.evidence if line.id not in tainted])


def marked(explanation: Explanation, tainted: Collection[str]) -> Explanation:
    """The explanation of an incident with such lines: it names them, and is at most half sure."""
    if not tainted:
        return explanation
    sure = min(explanation.confidence, _MOST_TAINTED)
    # What only repeats such a line (a template, a fact) is not named beside it.
    named = [one for one in tainted if one[:1] in "EC"] or list(tainted)
    return replace(explanation, tainted=named, confidence=sure)


def of_injection(incident: IncidentEvent) -> Explanation:
    """What is said of text that speaks to a language model, by code alone: no model is asked about it."""
    ids = [line.id for line in incident.evidence]
    return Explanation(
        incident=incident.id,
        status="ok",
        cause="Somebody writes text into this log that is meant for a language model. It was shown to none and changed "
        "nothing; who can write such text, and what other programs read this log, is worth a look.",
        runbook=None,
        steps=[],
        evidence=ids,
        confidence=_MOST_TAINTED,
        model="none",
        tainted=ids,
    )


def _choice(matches: Sequence[Match], gains: dict[str, float]) -> Choice:
    # A cached answer may have been scored against other candidates: then words alone decide.
    if gains and list(gains) == [match.runbook.id for match in matches]:
        return choose(matches, list(gains.values()))
    return choose(matches)


def _may_overrule(pick: Match, matches: Sequence[Match]) -> bool:
    """Whether the model's pick may stand against the words: it shows a signal, and the words do not point elsewhere."""
    return pick.signal >= _WEAK_FIT and pick.score >= matches[0].score - _CLOSE


def _evidence(
    named: list[str],
    sentence: str,
    carrying: list[str],
    runbook: Runbook | None,
    shown: Sequence[Shown],
    catalogue: Catalogue,
) -> tuple[list[str], list[str]]:
    """The ids to cite, and those the model named for nothing: they carry neither a signal nor the sentence's words."""
    texts = {line.id: line.text for line in shown}
    weak = {stem(word) for word in WEAK}
    meant = {stem(word) for word in terms(sentence)} - weak
    kept = []
    dropped = []
    for name in named:
        shows = runbook is not None and catalogue.shows(runbook, texts[name]) >= _WEAK_FIT
        if name in carrying or shows or meant & {stem(word) for word in terms(texts[name])}:
            kept.append(name)
        else:
            dropped.append(name)
    order = [line.id for line in shown]
    return sorted({*kept, *(name for name in carrying if name in texts)}, key=order.index), dropped


def _revealed(sentence: str, incident: IncidentEvent, redactor: Redactor) -> str:
    given = "\n".join([incident.title, incident.seen, *(evidence.text for evidence in incident.evidence)])

    def value(match: re.Match[str]) -> str:
        found = redactor.reveal(match[0])
        return found if found in given else match[0]

    return re.sub(r"<[a-z]+_\d+>", value, sentence)


def _full(sentence: str) -> str:
    sentence = sentence[:1].upper() + sentence[1:]
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
