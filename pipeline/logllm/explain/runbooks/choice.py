"""Which runbook fits: words first, then how likely the model finds the log lines after each runbook's own examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logllm.explain.runbooks.search import FITS, fitting
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
# One BM25 point is worth this much mean log-probability. Scanned on 326 texts (tests/bench/explain.py): with a model of
# 135M parameters the likelihood breaks ties and vetoes, no more: 267 right and 12 wrong, by words alone 266 and 16.
_WORDS_WEIGHT = 0.05
# How much likelier than after normal operation the lines must be: to overrule weak words, and not to be overruled.
_GAIN_ENOUGH = 0.6
_GAIN_LEAST = -0.5
_WEAK_FIT = 0.45
# So far ahead in words, the best was never overruled for the better: the model's second is saved.
_DECIDED = 2.0

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
    """Whether words alone settle it: a signal is there, and twice the score of the next."""
    if not matches or matches[0].signal < FITS:
        return not matches
    return len(matches) == 1 or matches[0].score > _DECIDED * matches[1].score


def choose(matches: Sequence[Match], likelihoods: Sequence[float] | None = None) -> Choice:
    """Rank `matches`, as the catalogue's search gave them.

    Args:
        likelihoods: Mean log-probability of a token of the lines after the prefix of each of the first matches, and,
            last, after `NONE_PREFIX`; None where no model scored them.
    """
    if not matches:
        return Choice(None, [], 0.0, likelihoods is not None)
    if likelihoods is None:
        best = fitting(matches)
        if best is None:
            return Choice(None, list(matches), 0.0, False)
        ranked = [best, *(match for match in matches if match is not best)]
        second = ranked[1].score if len(ranked) > 1 else 0.0
        return Choice(best.runbook, ranked, _clip((best.score - second) / best.score if best.score > 0 else 0.0), False)
    if not 2 <= len(likelihoods) <= len(matches) + 1:
        raise ValueError(f"Expected 2 to {len(matches) + 1} likelihoods, got {len(likelihoods)}")
    scored = matches[: len(likelihoods) - 1]
    words = [match.score / (0.35 + match.signal) for match in scored]
    sums = [likelihood + _WORDS_WEIGHT * word for likelihood, word in zip(likelihoods[:-1], words, strict=True)]
    order = sorted(range(len(scored)), key=lambda place: -sums[place])
    ranked = [*(scored[place] for place in order), *matches[len(scored) :]]
    first = order[0]
    gain = likelihoods[first] - likelihoods[-1]
    signal = matches[first].signal
    worded = signal >= FITS or matches[first] is fitting(matches)
    fits = (worded and gain > _GAIN_LEAST) or (signal >= _WEAK_FIT and gain >= _GAIN_ENOUGH)
    ahead = sums[first] - sums[order[1]] if len(order) > 1 else 1.0
    return Choice(ranked[0].runbook if fits else None, ranked, _clip(ahead) if fits else 0.0, True)


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
