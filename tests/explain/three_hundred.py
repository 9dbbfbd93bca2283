"""Three hundred incidents, what a real model answered to them, and an obvious check of what was made of it.

The incidents come from the pipeline over the samples and from the labelled excerpts, varied by a seed. `RECORDED` holds
each with the answer of the default model, as `python tests/bench/three_hundred.py --record` wrote it.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from logllm.events import Evidence, IncidentEvent
from logllm.explain.cache import CachedAnswer
from logllm.explain.compose import compose, marked, untainted
from logllm.explain.facts import facts_text
from logllm.explain.pack import build_pack
from logllm.explain.prompt import Shown, tame
from logllm.explain.runbooks.choice import CANDIDATES
from logllm.pipeline import Pipeline
from logllm.sources.file import read_file
from tests.explain.runbooks.cases import UNRELATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.events import Explanation
    from logllm.explain.redact.redactor import Redactor
    from logllm.explain.runbooks.search import Catalogue, Runbook

__all__ = ["RECORDED", "Case", "Recorded", "again", "cases", "inventions", "recorded", "sound"]

HERE = Path(__file__).parent
RECORDED = HERE / "three_hundred.jsonl"
SAMPLES = HERE.parents[1] / "samples"
LABELLED = ("labelled.jsonl", "incidents.jsonl")
COUNT = 300
SEED = 7


class Case(msgspec.Struct, frozen=True):
    """An incident; `wanted` is the runbook's id it should find, "" for none, None where nobody labelled it."""

    incident: IncidentEvent
    wanted: str | None = None


class Recorded(msgspec.Struct, frozen=True):
    """A case and what the model answered, before any check."""

    case: Case
    answer: CachedAnswer


def cases(count: int = COUNT, seed: int = SEED) -> list[Case]:
    """The same cases for the same seed and files."""
    dice = random.Random(seed)
    found = [Case(event) for event in _of_samples()]
    rows = [json.loads(row) for name in LABELLED if (HERE / "runbooks" / name).exists()
            for row in (HERE / "runbooks" / name).read_text().splitlines()]  # fmt: skip
    dice.shuffle(rows)
    for number in range(len(found), count):
        row = rows[number % len(rows)]
        found.append(Case(_varied(number, row["text"], dice), row["runbook"] or ""))
    return found[:count]


def recorded() -> list[Recorded]:
    """What was recorded."""
    return [msgspec.json.decode(row, type=Recorded) for row in RECORDED.read_bytes().splitlines()]


def _of_samples() -> Iterator[IncidentEvent]:
    for path in sorted(SAMPLES.glob("*.log")):
        for look_back in (False, True):
            pipeline = Pipeline(look_back=look_back)
            events = [event for chunk in read_file(str(path)) for event in pipeline.feed(chunk)]
            events += [*pipeline.finish(), *pipeline.report()]
            for event in events:
                if event.event == "open" and not set(event.kinds) <= {"silence", "heartbeat", "release", "injection"}:
                    lines, changes = (
                        [msgspec.structs.replace(line, source=path.name) for line in kept]
                        for kept in (event.evidence, event.changes)
                    )
                    name = f"{event.id}{'b' if look_back else ''}"
                    yield msgspec.structs.replace(event, id=name, evidence=lines, changes=changes)


def _varied(number: int, text: str, dice: random.Random) -> IncidentEvent:
    """An incident of these lines: other numbers, ordinary lines between them, other figures each time."""
    lines = [_other_numbers(line, dice) for line in text.splitlines() if line.strip()][:6]
    lead = lines[0]
    for _ in range(dice.randint(0, 2)):
        lines.insert(dice.randint(1, len(lines)), dice.choice(UNRELATED))
    seen, minutes = dice.randint(2, 900), dice.choice((1, 5, 15))
    kind = dice.choice(("new", "rate", "rate", "severity"))
    template = re.sub(r"\d+", "<*>", lead)[:200]
    return IncidentEvent(
        id=f"case-{number}",
        event="open",
        time="2026-03-10T14:27:00.000Z",
        severity=dice.choice(("info", "warning", "critical")),
        service=dice.choice(("shop", "orders", "gateway", "auth", "")),
        kinds=[kind],
        title=f"New: {template}" if kind == "new" else f"{template} — {dice.randint(3, 99)} times as often as usual",
        expected="none: not seen in 3 h 10 min"
        if kind == "new"
        else f"about {dice.randint(1, 9)} in {minutes} minutes",
        seen=f"{seen} records in {minutes} minutes",
        template=template,
        count=seen,
        runbook=None,
        evidence=[
            Evidence(f"E{place}", f"2026-03-10T14:26:{place:02d}.000Z", line, f"t{place}", "app.log", 100 + place)
            for place, line in enumerate(lines, 1)
        ],
        started="2026-03-10T14:26:00.000Z",
        fingerprint=f"case-{number}",
        series=[dice.randint(0, 9) for _ in range(9)] + [seen],
    )


def _other_numbers(line: str, dice: random.Random) -> str:
    """Numbers of four digits and more that stand alone: ids, ports and counts, not codes that a runbook knows."""

    def other(match: re.Match[str]) -> str:
        digits = len(match[0])
        return str(dice.randint(10 ** (digits - 1), 10**digits - 1))

    return re.sub(r"(?<![\w.])\d{4,7}(?![\w.])", other, line)


def again(one: Recorded, catalogue: Catalogue, redactor: Redactor) -> Explanation:
    """What is made of a recorded answer today."""
    incident = one.case.incident
    pack = build_pack(incident, redactor)
    clean = untainted(incident, pack.tainted)
    lines = [item.text for item in pack.lines] or [redactor.mask(incident.template)]
    explanation = compose(
        clean,
        one.answer,
        shown=[Shown(item.id, item.text) for item in pack.items],
        facts=[tame(redactor.mask(fact)) for fact in facts_text(incident)],
        matches=catalogue.search("\n".join(lines), CANDIDATES),
        catalogue=catalogue,
        redactor=redactor,
        model="recorded",
    )
    return marked(explanation, pack.tainted)


def sound(answer: CachedAnswer, incident: IncidentEvent, catalogue: Catalogue, redactor: Redactor) -> list[str]:
    """What of the model's answer does not keep to the schema it was given: choices among those offered."""
    ids = {item.id for item in build_pack(incident, redactor).items}
    said = answer.answer
    wrong = [] if said.runbook in catalogue.by_id or said.runbook == "none" else [f"runbook {said.runbook}"]
    wrong += [] if said.severity in ("info", "warning", "critical") else [f"severity {said.severity}"]
    wrong += [] if said.evidence else ["no evidence"]
    return wrong + [f"evidence {name}" for name in said.evidence if name not in ids]


def inventions(explanation: Explanation, incident: IncidentEvent, runbook: Runbook | None, mask: Redactor) -> list[str]:
    """Numbers and identifiers in what is shown that stand neither in the incident nor in the runbook.

    On purpose nothing of this is shared with the checks: it splits at blanks, looks for signs that a word is more than
    a word, and asks whether it stands, letter for letter, in what may be spoken of.
    """
    of_incident = [
        incident.title, incident.service, incident.template, incident.expected, incident.seen, str(incident.count),
        *incident.templates, *incident.facts, *incident.timeline, *facts_text(incident),
        *(line.text for line in (*incident.evidence, *incident.changes)),
    ]  # fmt: skip
    allowed = [*of_incident, *(mask.mask(text) for text in of_incident), *(line.id for line in incident.evidence)]
    if runbook is not None:
        allowed += [runbook.id, runbook.title, runbook.what, *runbook.steps, *runbook.checks, *runbook.signals]
    known = "\n".join(allowed).lower()
    numbers = set(re.findall(r"\d+", known))
    found = []
    for word in " ".join([explanation.cause, *explanation.steps]).split():
        bare = word.strip("\"'`().,;:!?…[]{}").lower()
        special = re.search(r"[\d/_@<>\\$%#=+|&~^*]|\w[.:-]\w|[^\x00-\x7f]", bare) or re.search(
            r"[a-z][A-Z]|[A-Z]{2}", word
        )
        if special and bare not in known and bare.removesuffix("'s") not in known:
            found.append(word)
        found += [number for number in re.findall(r"\d+", bare) if number not in numbers]
    return found
