"""Which runbook fits: words first, then how likely the model finds the log lines after each runbook's own examples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from logllm.explain.runbooks.words import terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.explain.runbooks.search import Match, Runbook

__all__ = [
    "CANDIDATES",
    "NONE_PREFIX",
    "SCORED",
    "SCORED_TOKENS",
    "Choice",
    "choose",
    "decided",
    "prefix_of",
    "scored_text",
]

CANDIDATES = 4
SCORED = 3
SCORED_TOKENS = 48
# What a nat of mean log-probability a token is worth in log-odds: against the lines of normal operation, and against
# the mean of the candidates. Fitted with the words' weights held (docs/decisions/0026-runbooks-by-words-first.md).
_GAIN = 0.5
_AHEAD = 1.0
# So sure by words, for one or for none, the model was never right against them: its seconds are saved.
_SURE = 3.0
_CLEARLY_NONE = -4.0
_CLEAR = 2.0

NONE_PREFIX = (
    "Everything works as usual\nLog lines of normal operation:\nstarted worker 3 of 8\nGET /index.html 200 in 12 ms\n"
    "connection from 10.0.0.8 closed\n"
)


class Choice(NamedTuple):
    """The runbook, or None for "none fits", and how sure that is.

    `margin` is how far the best is ahead of the second, 0 to 1; `ranked` are the candidates, best first.
    """

    runbook: Runbook | None
    ranked: list[Match]
    margin: float
    by_model: bool


def prefix_of(runbook: Runbook) -> str:
    """What the model reads before the log lines: the title and the first signals, as lines of a log."""
    signals = "\n".join(signal[:100] for signal in runbook.signals[:3])
    return f"Problem: {runbook.title[:120]}\nLog lines that show this problem:\n{signals}\n"


def scored_text(lines: Sequence[str]) -> str:
    """The first two evidence lines that differ in their words: what fits the tokens that are scored."""
    chosen: list[str] = []
    seen: list[frozenset[str]] = []
    for line in lines:
        words = frozenset(terms(line))
        if any(len(words & other) * 5 >= len(words | other) * 4 for other in seen):
            continue
        seen.append(words)
        chosen.append(line[:140])
        if len(chosen) == 2:
            break
    return "\n".join(chosen)


def decided(matches: Sequence[Match]) -> bool:
    """Whether words alone settle it: one runbook is likely and well ahead of the next, or none is."""
    if not matches or matches[0].score < _CLEARLY_NONE:
        return True
    ahead = len(matches) == 1 or matches[0].score - matches[1].score > _CLEAR
    return matches[0].score > _SURE and ahead


def choose(matches: Sequence[Match], likelihoods: Sequence[float] | None = None) -> Choice:
    """Rank `matches`, as the catalogue's search gave them.

    Args:
        likelihoods: Mean log-probability of a token of the lines after the prefix of each of the first matches, and,
            last, after `NONE_PREFIX`; None where no model scored them.
    """
    if likelihoods is None or not matches:
        odds = [match.score for match in matches]
        return _choice(matches, odds, by_model=likelihoods is not None)
    if not 2 <= len(likelihoods) <= len(matches) + 1:
        raise ValueError(f"Expected 2 to {len(matches) + 1} likelihoods, got {len(likelihoods)}")
    *scored, none = likelihoods
    mean = sum(scored) / len(scored)
    odds = [
        match.score + _GAIN * (likelihood - none) + _AHEAD * (likelihood - mean)
        for match, likelihood in zip(matches, scored, strict=False)
    ]
    # What was not scored stays behind what was.
    return _choice(matches, odds, by_model=True)


def _choice(matches: Sequence[Match], odds: Sequence[float], *, by_model: bool) -> Choice:
    if not matches:
        return Choice(None, [], 0.0, by_model)
    order = sorted(range(len(odds)), key=lambda place: -odds[place])
    ranked = [*(matches[place] for place in order), *matches[len(odds) :]]
    best = odds[order[0]]
    # None is a candidate too, at log-odds 0.
    second = max(0.0, odds[order[1]] if len(order) > 1 else 0.0)
    margin = _probability(best - second)
    return Choice(ranked[0].runbook if best > 0.0 else None, ranked, margin if best > 0.0 else 0.0, by_model)


def _probability(log_odds: float) -> float:
    """How far ahead, 0 to 1: 0 where both are as likely."""
    return math.tanh(max(0.0, log_odds) / 2.0)
