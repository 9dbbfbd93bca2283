"""The model's part of an answer: every sentence held back until it is whole, checked, and cited by code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from logllm.explain.chat.events import NotShown, Sentence
from logllm.explain.chat.find import cites_of
from logllm.explain.chat.sentences import sentences
from logllm.explain.checks import fault_of
from logllm.explain.runbooks.words import stem, terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from logllm.explain.chat.case import Item

__all__ = ["Checked", "checked_words", "not_shown"]

# A model that said nothing true in its first sentences does not come to it later.
_MOST_FAULTS = 4
_MOST_SHOWN = 4
_SAME = 0.8


class Checked(NamedTuple):
    """One sentence of the model, looked at: shown with its citations, or the fault for which it is not."""

    sentence: Sentence | None
    fault: str


def checked_words(
    pieces: Iterable[str], items: Sequence[Item], said: Sequence[str], instructions: str
) -> Iterator[Checked]:
    """Each sentence of the model as soon as it is whole.

    It ends after four faults or four sentences that stand: closing `pieces` is the caller's.

    Args:
        items: What the model was shown, masked and tamed: all it may speak of.
        said: What the answer says already: a sentence that says it again is not shown.
    """
    known = [item.text for item in items]
    told = [_meaning(text) for text in said]
    faults = shown = 0
    for text, whole in sentences(pieces):
        text = text.removeprefix("Answer:").lstrip("-*• ").strip()
        fault = "not a whole sentence" if not whole else fault_of(text, known, instructions)
        cites = [] if fault else cites_of(text, items)
        meaning = _meaning(text)
        if not fault and not cites:
            fault = "says nothing of this incident"
        if not fault and any(_plain(text) in _plain(line) for line in known):
            fault = "copies a line"
        if not fault and any(_same(meaning, other) for other in told):
            fault = "says again what was said"
        if fault:
            faults += 1
            yield Checked(None, fault)
        else:
            shown += 1
            told.append(meaning)
            yield Checked(Sentence(text, cites, by="model"), "")
        if faults >= _MOST_FAULTS or shown >= _MOST_SHOWN:
            return


def _meaning(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in terms(text))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _same(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one) and len(one & other) >= _SAME * len(one)


def not_shown(faults: Sequence[str]) -> NotShown:
    """The faults counted, each reason once."""
    return NotShown(len(faults), list(dict.fromkeys(faults)))
