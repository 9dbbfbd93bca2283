"""Which items carry a question's words, and which items a sentence speaks of."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from logllm.explain.runbooks.words import WEAK, stem, terms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from logllm.explain.chat.case import Item

__all__ = ["Found", "cites_of", "find", "firm_in", "words_in"]

_WEAK = frozenset(stem(word) for word in WEAK)
# Cut in one pass, then looked at: a pattern that says it all at once takes minutes for a line of ten thousand letters.
_TOKEN = re.compile(r"<\w{1,40}>|[\w./:@-]+")
_INNER = re.compile(r"[\d_./:@<]")
_MOST_CHARS = 8_000
_LEAST = 1.0
_MOST_CITED = 3
# What a further citation must add, about one word that few items have.
_LEAST_MORE = 0.7
# A line is better evidence than the headline that was made of it.
_HEADLINE = 0.8
# A word of a question is found in a longer one ("checkpoint" in "checkpointer") from this length on.
_PREFIX_CHARS = 5


class Found(NamedTuple):
    """An item, how much of what was looked for it carries, and the words of it."""

    item: Item
    score: float
    words: frozenset[str]


def firm_in(text: str) -> set[str]:
    """Names, numbers and paths of a text, lower case, that mean something only as they stand.

    Pseudonyms, numbers, and what has a digit, an underscore, or one of `./:@` inside. Reads the first 8,000 characters.
    """
    tokens = (token.strip(".:,;-/") for token in _TOKEN.findall(text[:_MOST_CHARS].lower()))
    return {token for token in tokens if _INNER.search(token)}


def words_in(text: str) -> set[str]:
    """The stems of a text's words, and its firm names."""
    return {stem(word) for word in terms(text)} | firm_in(text)


def find(items: Sequence[Item], wanted: Collection[str]) -> list[Found]:
    """The items that carry one of the wanted words (stems, or firm names), best first; rare words weigh more."""
    if not wanted:
        return []
    held = [(item, words_in(item.text)) for item in items]
    weights = _weights(held)
    found = []
    for item, words in held:
        shared = frozenset(word for word in wanted if _has(words, word))
        score = sum(weights.get(word, 1.0) * (0.5 if word in _WEAK else 1.0) for word in shared)
        if shared:
            found.append(Found(item, score, shared))
    order = {item.id: place for place, item in enumerate(items)}
    found.sort(key=lambda one: (-one.score, order[one.item.id]))
    return found


def cites_of(sentence: str, items: Sequence[Item]) -> list[str]:
    """The ids of the items that a sentence speaks of, at most three, in the items' order; none where it is about none.

    An item counts with two of the sentence's words, one of them none that any log has, or with a name of it.
    """
    said = {stem(word) for word in terms(sentence)}
    firm = firm_in(sentence)
    held = [(item, words_in(item.text)) for item in items]
    weights = _weights(held)
    shared: dict[str, set[str]] = {}
    for item, words in held:
        # A number alone is a coincidence as often as not.
        names = {name for name in firm & words if not name.isdigit()}
        common = (said & words) | (firm & words)
        if (len(common) >= 2 and not common <= _WEAK | firm) or names:
            shared[item.id] = common
    kinds = {item.id: _HEADLINE if item.kind == "incident" else 1.0 for item in items}
    kept: list[str] = []
    open_words = said | firm
    # The item that carries most of the sentence, then what carries most of the rest of it.
    while shared and len(kept) < _MOST_CITED:
        worth = {
            name: kinds[name] * sum(weights[word] * (0.5 if word in _WEAK else 1.0) for word in words & open_words)
            for name, words in shared.items()
        }
        best = max(worth, key=worth.__getitem__)
        if worth[best] < (_LEAST if not kept else _LEAST_MORE):
            break
        kept.append(best)
        open_words -= shared.pop(best)
    return [item.id for item in items if item.id in kept]


def _has(words: set[str], wanted: str) -> bool:
    """Whether a word is there, or one of which it is the beginning, or that is its own beginning."""
    return wanted in words or any(
        min(len(word), len(wanted)) >= _PREFIX_CHARS and (word.startswith(wanted) or wanted.startswith(word))
        for word in words
    )


def _weights(held: Iterable[tuple[Item, set[str]]]) -> dict[str, float]:
    """1 for a word in one item, less the more items have it, at least 0.3."""
    counts: dict[str, int] = {}
    total = 0
    for _, words in held:
        total += 1
        for word in words:
            counts[word] = counts.get(word, 0) + 1
    whole = math.log(total + 1.0)
    return {word: max(0.3, 1.0 - 0.7 * math.log(count) / whole) if whole else 1.0 for word, count in counts.items()}
