"""A long line made short in its middle: what differs from line to line stays, what every line has goes first."""

from __future__ import annotations

import re

__all__ = ["shortened", "words_of"]

_GAP = "…"
_LONGEST_WORD = 48
_MOST_WORDS = 400
_WORD = re.compile(r"[A-Za-z]{2,}")
_NAMED = re.compile(r"\d|<|\w[-_/.=:@]\w|[a-z][A-Z]")


def words_of(text: str) -> frozenset[str]:
    """The words of a text, lower case: letters alone, two at least."""
    return frozenset(word.lower() for word in _WORD.findall(text[:8192]))


def shortened(text: str, limit: int, usual: frozenset[str] = frozenset()) -> str:
    """At most `limit` characters of `text` (40 at least): its beginning, its end, and of the middle what is telling.

    Telling are numbers, names and pseudonyms, then words that are none of `usual`; the others go, with `…` in their
    place. A word of more than 48 characters is cut in its middle as well.

    >>> shortened("ERROR could not write the next block of the file base/16385/2619 to the disk at all", 60,
    ...           words_of("could not write the next block of the file to the disk at all"))
    'ERROR could not write the next … base/16385/2619 … at all'
    """
    limit = max(limit, 40)
    if len(text) <= limit:
        return text
    words = [_cut(word, min(_LONGEST_WORD, limit // 2)) for word in text.split(" ")[:_MOST_WORDS]]
    left = limit - 2 * len(_GAP) - 2
    head = _taken(words, left * 2 // 5)
    tail = _taken(words[head:][::-1], left // 5)
    kept = {*range(head), *range(len(words) - tail, len(words))}
    left -= sum(len(words[at]) + 1 for at in kept)
    for at in sorted(range(head, len(words) - tail), key=lambda at: (-_telling(words[at], usual), at)):
        # A word on its own between two gaps costs one gap more.
        need = len(words[at]) + 1 + (0 if at - 1 in kept or at + 1 in kept else len(_GAP) + 1)
        if need <= left:
            kept.add(at)
            left -= need
    pieces: list[str] = []
    for at, word in enumerate(words):
        if at in kept:
            pieces.append(word)
        elif pieces and pieces[-1] != _GAP:
            pieces.append(_GAP)
    return " ".join(pieces)[:limit]


def _taken(words: list[str], room: int) -> int:
    """How many of the first words fit the room; one at least."""
    count = 0
    for word in words:
        room -= len(word) + 1
        if room < 0:
            break
        count += 1
    return max(count, 1) if words else 0


def _telling(word: str, usual: frozenset[str]) -> int:
    if _NAMED.search(word):
        return 2
    letters = words_of(word)
    return 1 if letters and not letters <= usual else 0


def _cut(word: str, most: int) -> str:
    return word if len(word) <= most else f"{word[: most * 2 // 3]}{_GAP}{word[-(most // 3 - 1) :]}"
