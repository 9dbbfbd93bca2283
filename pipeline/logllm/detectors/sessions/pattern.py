"""Patterns that find a session's id in a message, at a bounded cost whatever the message is."""

from __future__ import annotations

import re
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["READ_CHARS", "compiled", "ids_in"]

READ_CHARS = 512
"""An id further behind in a message is not looked for."""

_MOST_OPEN_ENDED = 2
_FEW = 64
"""A repeat up to this many times counts as bounded."""


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled. Raises ValueError where it is none, or where a hostile message could make it slow.

    Slow are a repeat within a repeat, a choice within one, references back, and more than two open-ended repeats: with
    less, a search costs at most READ_CHARS squared steps for each place it may begin at.

    >>> compiled(r"blk_-?\\d+").pattern
    'blk_-?\\\\d+'
    >>> compiled(r"(a+)+b")
    Traceback (most recent call last):
    ValueError: '(a+)+b': a repeat or a choice within a repeat may take for ever, expected a plain one
    """
    try:
        found = re.compile(pattern)
        tree = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern!r}: no regular expression: {error}") from error
    if found.search(""):
        raise ValueError(f"{pattern!r}: fits an empty text, expected one that an id is needed for")
    if _open_ended(pattern, tree, inside=False) > _MOST_OPEN_ENDED:
        raise ValueError(f"{pattern!r}: more than {_MOST_OPEN_ENDED} open-ended repeats (+, *), expected fewer")
    return found


def _open_ended(pattern: str, tree: Iterable[object], *, inside: bool) -> int:
    """How many repeats have no end to speak of. `inside`: of something that is repeated itself."""
    count = 0
    for node in tree:
        if not isinstance(node, tuple):
            continue
        code, argument = node
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            _, most, repeated = argument
            if inside and most > 1:
                raise ValueError(
                    f"{pattern!r}: a repeat or a choice within a repeat may take for ever, expected a plain one"
                )
            many = most == codes.MAXREPEAT or most > _FEW
            count += many + _open_ended(pattern, repeated, inside=inside or most > 1)
        elif code is codes.BRANCH:
            if inside:
                raise ValueError(
                    f"{pattern!r}: a repeat or a choice within a repeat may take for ever, expected a plain one"
                )
            count += max(_open_ended(pattern, branch, inside=inside) for branch in argument[1])
        elif code in (codes.GROUPREF, codes.GROUPREF_EXISTS):
            raise ValueError(f"{pattern!r}: refers back to a group, expected a pattern that does not")
        elif isinstance(argument, tuple):
            count += sum(
                _open_ended(pattern, part, inside=inside) for part in argument if isinstance(part, parser.SubPattern)
            )
        elif isinstance(argument, parser.SubPattern):
            count += _open_ended(pattern, argument, inside=inside)
    return count


def ids_in(pattern: re.Pattern[str], messages: Sequence[str]) -> list[str | None]:
    """The first id in each message, None where there is none. About half a microsecond a message."""
    group = min(pattern.groups, 1)
    search = pattern.search
    return [match[group] if (match := search(text, 0, READ_CHARS)) else None for text in messages]
