"""How well lines show a runbook's signals: an inverted index of the signals' words, and of what ordinary lines say."""

from __future__ import annotations

import functools
import itertools
import math
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from logllm.explain.runbooks.concepts import concepts
from logllm.explain.runbooks.words import TROUBLE, WEAK, stem, terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.explain.runbooks.file import Runbook

__all__ = ["Shown", "SignalIndex"]

_MAX_LINES = 64
_WEAK_WEIGHT = 0.25
# A signal of one or two weak words must not decide whatever else is in the line.
_FLOOR = 2.0
# A signal's words in their own order, next to each other, count at least this much however common they are.
_PHRASE = 0.75
# A line that a line of normal operation explains this well, and better than any signal, shows no problem.
_ORDINARY = 0.6
_ORDINARY_LEFT = 0.3
_MOST_MEANT = 8.0
_LEAST_MEANT = -4.0
_HEAVIEST = 2.0
_LIGHTEST = 0.2


class Shown(NamedTuple):
    """How a text shows one runbook's problem.

    `best` and `first` are the share of the best fitting signal that the best and the first telling line carry, 0 to 1,
    `more` the sum over the other lines, 0 to 2; `order` is which share of the best signal's neighbouring words are
    neighbours in the line, 0 to 1. `meant` is how much a line speaks of what the runbook's signals speak of, whatever
    its words: log-odds, -4 to 8; `worded` the same for single words, a mean. `trouble` is 1 where a line says in words
    that something is wrong.
    """

    best: float
    first: float
    more: float
    order: float
    meant: float
    worded: float
    trouble: float


class _Hit(NamedTuple):
    share: float
    weight: float
    order: float


class SignalIndex:
    """The signals of some runbooks. A millisecond a line at 3,000 signals; safe to share between threads."""

    def __init__(self, runbooks: Sequence[Runbook]) -> None:
        every = [[_stems(signal) for signal in runbook.signals] for runbook in runbooks]
        # As the program prints it, and without the name that it or a collector may leave out.
        ordinary = [_stems(part) for line in _ordinary_lines() for part in {line, line.partition(": ")[2] or line}]
        self._weights = _term_weights(every, ordinary)
        self._ordinary = len(every)
        self._owner: list[int] = []
        self._total: list[float] = []
        self._words: list[tuple[str, ...]] = []
        self._by_word: dict[str, list[int]] = {}
        self._meant = _concept_odds(runbooks)
        self._worded = _word_odds(runbooks, every)
        for number, signals in enumerate([*every, ordinary]):
            for words in signals:
                if not words:
                    continue
                place = len(self._owner)
                self._owner.append(number)
                self._words.append(words)
                self._total.append(max(_FLOOR, sum(self._weights[word] for word in set(words))))
                for word in set(words):
                    self._by_word.setdefault(word, []).append(place)

    def telling(self, text: str) -> tuple[list[str], dict[int, Shown]]:
        """The lines that are more than normal operation, and how they show each runbook's problem, by its number."""
        lines: list[str] = []
        hits: dict[int, list[tuple[int, _Hit]]] = {}
        meant: dict[int, float] = {}
        worded: dict[int, float] = {}
        trouble = 0.0
        seen: set[tuple[str, ...]] = set()
        for line in text.splitlines()[:_MAX_LINES]:
            words = _stems(line)
            if not words or words in seen:
                continue
            seen.add(words)
            found, ordinary = self._line(words)
            for number, hit in found.items():
                hits.setdefault(number, []).append((-1 if ordinary else len(lines), hit))
            if not ordinary:
                lines.append(line)
                odds = [self._meant[name] for name in concepts(line) if name in self._meant]
                for number in range(self._ordinary):
                    meant[number] = max(meant.get(number, _LEAST_MEANT), sum(each[number] for each in odds))
                if not TROUBLE.isdisjoint(words):
                    trouble = 1.0
                sums: dict[int, float] = {}
                for word in set(words):
                    for number, value in self._worded.get(word, ()):
                        sums[number] = sums.get(number, 0.0) + value
                for number, value in sums.items():
                    worded[number] = max(worded.get(number, 0.0), value / (4.0 + len(set(words))))
        return lines, {
            number: _shown(of, meant.get(number, 0.0), worded.get(number, 0.0), trouble) for number, of in hits.items()
        }

    def share(self, number: int, text: str) -> float:
        """The share of a runbook's best fitting signal that the best of the lines carries, 0 to 1."""
        found = 0.0
        for line in text.splitlines()[:_MAX_LINES]:
            hit = self._line(_stems(line))[0].get(number)
            found = max(found, hit.share if hit else 0.0)
        return found

    def _line(self, words: tuple[str, ...]) -> tuple[dict[int, _Hit], bool]:
        sums: dict[int, float] = {}
        counts: dict[int, int] = {}
        for word in set(words):
            weight = self._weights.get(word, 0.0)
            for place in self._by_word.get(word, ()):
                sums[place] = sums.get(place, 0.0) + weight
                counts[place] = counts.get(place, 0) + 1
        pairs = set(itertools.pairwise(words))
        trouble = TROUBLE.intersection(words)
        best: dict[int, _Hit] = {}
        for place, weight in sums.items():
            signal = self._words[place]
            # One word of several is a coincidence: "image" is no broken image cache.
            if counts[place] < min(2, len(set(signal))):
                continue
            share = min(1.0, weight / self._total[place])
            number = self._owner[place]
            if number == self._ordinary and not trouble <= set(signal):
                continue
            if number in best and share < best[number].share - 0.25:
                continue
            order = _order(signal, pairs)
            if order == 1.0 and len(signal) > 1 and number != self._ordinary:
                share = max(share, _PHRASE)
            hit = _Hit(share, weight, order)
            if number not in best or (share, weight) > best[number][:2]:
                best[number] = hit
        usual = best.pop(self._ordinary, None)
        if usual is None or usual.share < _ORDINARY:
            return best, False
        ordinary = True
        for number, hit in best.items():
            if hit.weight > usual.weight:
                ordinary = False
            else:
                best[number] = _Hit(hit.share * _ORDINARY_LEFT, hit.weight * _ORDINARY_LEFT, hit.order)
        return best, ordinary


def _order(signal: tuple[str, ...], pairs: set[tuple[str, str]]) -> float:
    neighbours = len(signal) - 1
    if neighbours == 0:
        return 1.0
    return sum(pair in pairs for pair in itertools.pairwise(signal)) / neighbours


def _shown(hits: list[tuple[int, _Hit]], meant: float, worded: float, trouble: float) -> Shown:
    best = max((hit for _, hit in hits), key=lambda hit: (hit.share, hit.weight))
    first = max((hit.share for place, hit in hits if place == 0), default=0.0)
    more = sum(hit.share * hit.share for place, hit in hits if hit is not best and place >= 0)
    meant = min(_MOST_MEANT, max(_LEAST_MEANT, meant))
    return Shown(best.share, first, min(2.0, more), best.order, meant, worded, trouble)


def _stems(text: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in terms(text))


@functools.cache
def _ordinary_lines() -> tuple[str, ...]:
    """Lines of normal operation, a shipped list: what they say tells nothing."""
    text = (resources.files("logllm.explain.runbooks") / "ordinary.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line.strip())


def _term_weights(runbooks: list[list[tuple[str, ...]]], ordinary: list[tuple[str, ...]]) -> dict[str, float]:
    """Words that few runbooks have weigh more, words of ordinary lines and words that any log has weigh little."""
    owners: dict[str, int] = {}
    for signals in runbooks:
        for word in {word for words in signals for word in words}:
            owners[word] = owners.get(word, 0) + 1
    usual: dict[str, int] = {}
    for words in ordinary:
        for word in set(words):
            usual[word] = usual.get(word, 0) + 1
    weak = {stem(word) for word in WEAK}
    count = max(len(runbooks), 8)
    weights = {}
    for word in {*owners, *usual}:
        rare = math.log((count + 1) / (owners.get(word, 0) + 0.5)) / math.log(8)
        damped = rare / (1.0 + 0.15 * usual.get(word, 0))
        weights[word] = min(_HEAVIEST, max(_LIGHTEST, damped)) * (_WEAK_WEIGHT if word in weak else 1.0)
    return weights


def _concept_odds(runbooks: Sequence[Runbook]) -> dict[str, list[float]]:
    """For each concept and runbook how much oftener its signals speak of it than all signals do: a logarithm."""
    shares = []
    for runbook in runbooks:
        counts: dict[str, float] = {}
        texts = [*runbook.signals, runbook.title]
        for text in texts:
            for name in concepts(text):
                counts[name] = counts.get(name, 0.0) + 1.0 / len(texts)
        shares.append(counts)
    names = {name for counts in shares for name in counts}
    usual = {name: sum(counts.get(name, 0.0) for counts in shares) / len(shares) for name in names}
    return {
        name: [math.log((counts.get(name, 0.0) + 0.05) / (usual[name] + 0.05)) for counts in shares] for name in names
    }


def _word_odds(runbooks: Sequence[Runbook], every: list[list[tuple[str, ...]]]) -> dict[str, list[tuple[int, float]]]:
    """For each word the runbooks that use it, and how much oftener than the others do."""
    shares: list[dict[str, float]] = []
    for runbook, signals in zip(runbooks, every, strict=True):
        counts: dict[str, float] = {}
        title = _stems(runbook.title)
        # What a person wrote of the problem counts as one signal, the title as two.
        texts = [*signals, title, title, _stems(runbook.what)]
        for words in texts:
            for word in set(words):
                counts[word] = counts.get(word, 0.0) + 1.0 / len(texts)
        shares.append(counts)
    usual: dict[str, float] = {}
    for counts in shares:
        for word, share in counts.items():
            usual[word] = usual.get(word, 0.0) + share / len(shares)
    weak = {stem(word) for word in WEAK}
    odds: dict[str, list[tuple[int, float]]] = {}
    for number, counts in enumerate(shares):
        for word, share in counts.items():
            value = math.log((share + 0.01) / (usual[word] + 0.01)) * (_WEAK_WEIGHT if word in weak else 1.0)
            if value > 0.0:
                odds.setdefault(word, []).append((number, value))
    return odds
