"""Whole sentences out of a stream of pieces: nothing is shown before it can be checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MAX_SENTENCE_CHARS", "sentences"]

MAX_SENTENCE_CHARS = 400
# A full stop inside a name, a number or a path is followed by no space.
_END = re.compile(r"[.!?][\"')\]]{0,2}(?=\s)|\n+")
# Dots that end no sentence, though a space follows.
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|approx|no|fig|mr|ms|dr)|(?:^|\s)\d{1,2})\.$", re.IGNORECASE)


def sentences(pieces: Iterable[str], limit: int = 40) -> Iterator[tuple[str, bool]]:
    """Each sentence as soon as it is complete, and whether it came to its end.

    The last one may not have: the model's tokens were spent. One of more than 400 characters is given out cut, as not
    complete, and the rest up to its end is passed over. At most `limit`; memory is bounded by one sentence and piece.

    >>> list(sentences(["The disk ", "is full. So the dat", "abase"]))
    [('The disk is full.', True), ('So the database', False)]
    """
    held = ""
    passing = False
    count = 0
    for piece in pieces:
        held += piece
        at = 0
        while count < limit and (match := _END.search(held, at)):
            if _ABBREVIATION.search(held[: match.end()].rstrip()[-12:]) and "\n" not in match[0]:
                at = match.end()
                continue
            whole, held, at = held[: match.end()].strip(), held[match.end() :].lstrip(" \t"), 0
            if whole and not passing:
                count += 1
                yield whole[:MAX_SENTENCE_CHARS], len(whole) <= MAX_SENTENCE_CHARS and _ended(whole)
            passing = False
        if count >= limit:
            return
        if len(held) > MAX_SENTENCE_CHARS:
            if not passing:
                count += 1
                yield held[:MAX_SENTENCE_CHARS], False
            # Enough is kept to see an end that lies across two pieces.
            held, passing = held[-4:], True
    held = held.strip()
    if held and not passing:
        yield held, _ended(held)


def _ended(text: str) -> bool:
    return text.rstrip("\"')]").endswith((".", "!", "?"))
