"""What may be said of an incident: every line, number, change and earlier incident under an id that can be cited."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from logllm.explain.facts import logged
from logllm.explain.injection import instructed, looks_like_instruction, tame
from logllm.explain.shorten import shortened, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logllm.events import Evidence, IncidentEvent, SeenBefore
    from logllm.explain.redact.redactor import Redactor

__all__ = ["EvidencePack", "PackItem", "Rendered", "build_pack", "seen_words"]

ItemKind = Literal["line", "template", "compared", "series", "anomaly", "change", "new", "fact", "past"]

MAX_CHARS = 240
"""Reading is what costs a small model on a CPU: a hundred tokens are half a second."""

_MOST = {"line": 12, "anomaly": 6, "change": 3, "new": 3, "fact": 3, "past": 3}
_BINS = 12
# What an operator asks first comes first: which message, since when more than usual, what was changed, what was odd
# before it; then what else is in the log, then how it went before, and last what the lines say already.
_WORTH: dict[ItemKind, float] = {
    "compared": 0.80,
    "change": 0.75,
    "anomaly": 0.70,
    "line": 0.65,
    "new": 0.50,
    "past": 0.45,
    "fact": 0.40,
    "series": 0.25,
    "template": 0.15,
}
_LATER = 0.93
"""Each further item of a kind is worth so much of the one before it."""

_LIMITS = (160, 110, 70, 45)
_ORDER: tuple[ItemKind, ...] = (
    "compared", "series", "anomaly", "change", "new", "fact", "past", "template", "line",
)  # fmt: skip


class PackItem(NamedTuple):
    """One thing that may be cited. `text` is masked, tamed and on one line, whatever the log said.

    `id` is its kind's letter and a number: E lines, T template, X expected against seen, S series, A anomalies in the
    order they came, C changes near the beginning, N what is new, F facts, P past incidents.
    """

    id: str
    kind: ItemKind
    text: str


class Rendered(NamedTuple):
    """The items that fit, in reading order; what they come to; what is missing and what was cut, by id."""

    items: list[PackItem]
    tokens: int
    left_out: list[str]
    cut: list[str]


@dataclass(frozen=True, slots=True)
class EvidencePack:
    """An incident's items, and those that no model is shown because they speak to one (`tainted`, ids alone).

    Args:
        lead: The id of the line that shows the message the incident is about.
        usual: Words of the incident's templates: in a line that must be cut they are the first to go.
    """

    items: Sequence[PackItem]
    tainted: Sequence[str] = field(default=())
    lead: str = ""
    usual: frozenset[str] = frozenset()

    @property
    def texts(self) -> dict[str, str]:
        """Text by id: what a check may hold an answer against."""
        return {item.id: item.text for item in self.items}

    @property
    def lines(self) -> list[PackItem]:
        """The log's own lines among the items."""
        return [item for item in self.items if item.kind == "line"]

    def render(
        self,
        budget_tokens: int,
        count: Callable[[Sequence[PackItem]], int],
        size: Callable[[str], int],
        *,
        most: int = 100,
    ) -> Rendered:
        """The items worth most that fit a budget, none cut from the front.

        The leading line always stays. A further item that does not fit is cut in its middle, down to 45 characters,
        before it is left out. Where everything fits, `count` is called once; else `size` once an item, and `count` a
        few times.

        Args:
            count: Tokens of the whole chat with these items in it: what the budget is held against.
            size: About how many tokens one item's text is.
            most: Items at most.

        Raises:
            ValueError: Not even the leading line fits, or there is none.
        """
        ranked = self._ranked()
        if not ranked:
            raise ValueError("Expected at least one item of evidence")
        over, ranked = ranked[most:], ranked[:most]
        tokens = count(_in_order(ranked))
        if tokens <= budget_tokens:
            return Rendered(_in_order(ranked), tokens, [item.id for item in over], [])
        first, *rest = ranked
        chosen, tokens = self._first(first, budget_tokens, count)
        sizes = {item.id: size(f"{item.id}: {item.text}\n") for item in rest}
        kept = [chosen]
        # What the sizes say is about right; what counts is the whole, so it is filled up in a few steps.
        for _ in range(3):
            more = self._fitting(rest, {item.id for item in kept}, sizes, budget_tokens - tokens)
            if not more:
                break
            while more and (whole := count(_in_order([*kept, *more]))) > budget_tokens:
                more.pop()
            if more:
                kept, tokens = [*kept, *more], whole
        shown = {item.id: item.text for item in kept}
        left_out = [item.id for item in (*rest, *over) if item.id not in shown]
        cut = [item.id for item in ranked if item.id in shown and shown[item.id] != item.text]
        return Rendered(_in_order(kept), tokens, left_out, cut)

    def _first(self, item: PackItem, budget: int, count: Callable[[Sequence[PackItem]], int]) -> tuple[PackItem, int]:
        tokens = 0
        for limit in (MAX_CHARS, *_LIMITS):
            first = item._replace(text=shortened(item.text, limit, self.usual))
            tokens = count([first])
            if tokens <= budget:
                return first, tokens
        raise ValueError(f"Expected room for at least {tokens} tokens, got {budget}")

    def _fitting(self, rest: list[PackItem], have: set[str], sizes: dict[str, int], left: int) -> list[PackItem]:
        more = []
        for item in rest:
            if item.id in have:
                continue
            for limit in (MAX_CHARS, *_LIMITS):
                text = shortened(item.text, limit, self.usual)
                # A short text takes more tokens a character than the long one it is of.
                need = (
                    sizes[item.id] if text == item.text else -(-sizes[item.id] * len(text) * 9 // (8 * len(item.text)))
                )
                if need <= left:
                    more.append(item._replace(text=text))
                    left -= need
                    break
        return more

    def _ranked(self) -> list[PackItem]:
        """The items, the most valuable first; what says the same as one before it is worth less."""
        worth: dict[str, float] = {}
        number = dict.fromkeys(_WORTH, 0)
        for item in self.items:
            worth[item.id] = 1.0 if item.id == self.lead else _WORTH[item.kind] * _LATER ** number[item.kind]
            number[item.kind] += item.id != self.lead
        words = {item.id: words_of(item.text) for item in self.items}
        left = list(self.items)
        ranked: list[PackItem] = []
        alike = dict.fromkeys(worth, 0.0)
        while left:
            best = max(left, key=lambda item: worth[item.id] * (1.0 - 0.9 * alike[item.id] ** 2))
            left.remove(best)
            ranked.append(best)
            for item in left:
                alike[item.id] = max(alike[item.id], _overlap(words[item.id], words[best.id]))
        return ranked


def build_pack(incident: IncidentEvent, redactor: Redactor, past: Sequence[SeenBefore] = ()) -> EvidencePack:
    """Everything that may be cited of an incident. About 0.1 ms an item, redaction included.

    Args:
        redactor: Replaces secrets, addresses and names; what is masked already stays as it is.
        past: Earlier incidents like it, the likest first.
    """
    raw: list[tuple[str, ItemKind, str]] = []

    def add(letter: str, kind: ItemKind, texts: Sequence[str]) -> None:
        texts = [text for text in texts if text.strip()][: _MOST.get(kind, 1)]
        raw.extend((f"{letter}{number}", kind, text) for number, text in enumerate(texts, 1))

    evidence = incident.evidence[: _MOST["line"]]
    raw.extend((one.id, "line", one.text) for one in evidence)
    add("X", "compared", [_compared(incident)])
    add("S", "series", [_series(incident)])
    add("A", "anomaly", incident.timeline)
    add("C", "change", [logged(change, incident) for change in incident.changes])
    add("N", "new", _new(incident))
    add("F", "fact", incident.facts)
    add("P", "past", [f"{seen_words(one)}: {one.title}" for one in past])
    add("T", "template", [incident.template])
    usual = words_of(" ".join([incident.template, *incident.templates]))
    shown = redactor.mask_lines([one.text for one in evidence])
    shown += [redactor.mask(text) for _, kind, text in raw if kind != "line"]
    spoken = {evidence[place].id for place in instructed([one.text for one in evidence])}
    spoken |= {name for name, kind, text in raw if kind != "line" and looks_like_instruction(text)}
    items = [
        PackItem(name, kind, tame(shortened(" ".join(text.split()), MAX_CHARS, usual)))
        for (name, kind, _), text in zip(raw, shown, strict=True)
        if name not in spoken
    ]
    return EvidencePack(
        [item for item in items if item.text], [name for name, _, _ in raw if name in spoken], _lead(evidence), usual
    )


def seen_words(past: SeenBefore) -> str:
    """When it was seen and what came of it.

    >>> from logllm.events import SeenBefore
    >>> seen_words(SeenBefore("inc-1", "2026-05-03T10:00:00Z", "New: x", outcome="raised max_connections"))
    'seen on 3 May 2026, fixed by: raised max_connections'
    """
    try:
        day = datetime.fromisoformat(past.time)
        when = f"seen on {day.day} {day:%B %Y}"
    except ValueError:
        when = "seen before"
    if past.outcome:
        return f"{when}, fixed by: {past.outcome}"
    called = {"real": "a real problem", "expected": "expected", "noise": "noise"}.get(past.verdict, "")
    return f"{when}, called {called}" if called else when


def _lead(evidence: Sequence[Evidence]) -> str:
    """The line that shows the leading message: of that there are several, of others one each."""
    templates = [one.template for one in evidence]
    most = max(templates, key=templates.count, default="")
    return next((one.id for one in evidence if one.template == most), "")


def _compared(incident: IncidentEvent) -> str:
    if not incident.expected and not incident.seen:
        return ""
    return f"expected {incident.expected or 'nothing'}; seen {incident.seen or 'nothing'}"


def _series(incident: IncidentEvent) -> str:
    """The counts in at most twelve steps, with the time of the first and the step's length."""
    counts = incident.series
    if len(counts) < 2 or not any(counts):
        return ""
    step = -(-len(counts) // _BINS)
    sums = [sum(counts[at : at + step]) for at in range(0, len(counts), step)]
    span = "a minute" if step == 1 else f"in {step} minutes"
    last = (incident.ended or incident.time)[11:16]
    return f"records {span}, the last at about {last}: {' '.join(map(str, sums))}"


def _new(incident: IncidentEvent) -> list[str]:
    causes = incident.causes if isinstance(incident.causes, list) else []
    texts = dict.fromkeys(cause.text for cause in causes if cause.kind == "new" and cause.text)
    return [f"never seen before: {text}" for text in texts if text != incident.template]


def _in_order(items: Sequence[PackItem]) -> list[PackItem]:
    return sorted(items, key=lambda item: (_ORDER.index(item.kind), int(re.sub(r"\D", "", item.id) or 0)))


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, min(len(one), len(other)))
