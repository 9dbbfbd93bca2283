"""Which runbook fits: words first, then how much the lines raise a runbook's title in the model's eyes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from logllm.explain.runbooks.search import fitting
from logllm.explain.runbooks.words import terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.explain.runbooks.search import Match, Runbook

__all__ = [
    "CANDIDATES",
    "NEUTRAL",
    "TITLE_TOKENS",
    "Choice",
    "choose",
    "decided",
    "question_of",
    "scored_text",
    "title_of",
]

CANDIDATES = 4
TITLE_TOKENS = 32
# What a nat of pointwise mutual information a token, of the lines and a runbook's title, is worth in log-odds. Fitted
# with the words' weights held (docs/decisions/0026-runbooks-by-words-first.md). It ranks the candidates and says
# nothing of none: a small model finds some title likelier after any line.
_NAT = 1.0
# So far ahead by words, the best is not overtaken: the model's seconds are saved.
_CLEAR = 2.0

# Three examples of what is asked for. None is about a runbook's problem.
_EXAMPLES = (
    "Log lines:\nFailed to open device /dev/ttyS0: Device or resource busy\nmodem: giving up after 3 tries\n"
    "What is wrong: Serial port busy\n\n"
    "Log lines:\nINFO order 12 accepted, 3 items\nGET /index.html 200 in 12 ms\n"
    "What is wrong: Nothing, everything works as usual\n\n"
    "Log lines:\ncups: printer lp0 is out of paper\ncups: job 81 held\n"
    "What is wrong: Printer out of paper\n\n"
)
# Lines that tell nothing: how likely a title is by itself.
NEUTRAL = "started worker 3 of 8\nsomething happened"


class Choice(NamedTuple):
    """The runbook, or None for "none fits", and how sure that is.

    `margin` is how far the best is ahead of the second, 0 to 1; `ranked` are the candidates, best first.
    """

    runbook: Runbook | None
    ranked: list[Match]
    margin: float
    by_model: bool


def question_of(lines: str) -> str:
    """What the model reads before a title: examples, then the lines."""
    return f"{_EXAMPLES}Log lines:\n{lines}\nWhat is wrong:"


def title_of(runbook: Runbook) -> str:
    """What the model is to find likely."""
    return f" {runbook.title[:120]}"


def scored_text(lines: Sequence[str]) -> str:
    """The first three evidence lines that differ in their words, cut short: what a small model can take in."""
    chosen: list[str] = []
    seen: list[frozenset[str]] = []
    for line in lines:
        words = frozenset(terms(line))
        if any(len(words & other) * 5 >= len(words | other) * 4 for other in seen):
            continue
        seen.append(words)
        chosen.append(line[:160])
        if len(chosen) == 3:
            break
    return "\n".join(chosen)


def decided(matches: Sequence[Match]) -> bool:
    """Whether words alone settle it: none fits, or one is well ahead of the next."""
    return fitting(matches) is None or len(matches) == 1 or matches[0].score - matches[1].score > _CLEAR


def choose(matches: Sequence[Match], gains: Sequence[float] | None = None) -> Choice:
    """Rank `matches`, as the catalogue's search gave them.

    Args:
        gains: For each of the matches by how much the lines raise the mean log-probability of a token of its title:
            after `question_of` the lines, less after `question_of(NEUTRAL)`; None where no model scored them.
    """
    if not matches:
        return Choice(None, [], 0.0, gains is not None)
    odds = [match.score for match in matches]
    if gains is not None:
        if len(gains) != len(matches):
            raise ValueError(f"Expected {len(matches)} gains, got {len(gains)}")
        mean = sum(gains) / len(gains)
        odds = [score + _NAT * (gain - mean) for score, gain in zip(odds, gains, strict=True)]
    order = sorted(range(len(odds)), key=lambda place: -odds[place])
    ranked = [matches[place] for place in order]
    if fitting(matches) is None:
        return Choice(None, ranked, 0.0, gains is not None)
    # None is a candidate too, at log-odds 0.
    second = max(0.0, odds[order[1]] if len(order) > 1 else 0.0)
    return Choice(ranked[0].runbook, ranked, _probability(odds[order[0]] - second), gains is not None)


def _probability(log_odds: float) -> float:
    """How far ahead, 0 to 1: 0 where both are as likely."""
    return math.tanh(max(0.0, log_odds) / 2.0)
