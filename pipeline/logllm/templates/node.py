"""One text: its tokens with `<*>` where they vary, and what each `<*>` is known as."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from logllm.templates.masks import WILD

__all__ = ["Node", "common_show", "fits", "flat", "hole_token", "joined", "per_token"]

_BREAKS = re.compile(r"[\s,;:=|\"'`\[\](){}<>#/\\@.$_\-]")


class Node(msgspec.Struct, gc=False, eq=False):
    """A text, its tokens joined by single spaces; `shown` has an entry for each `<*>` of it.

    `holes` are the tokens that vary because neighbours were merged.
    """

    index: int
    shape: str
    shown: tuple[str, ...]
    holes: tuple[int, ...] = ()
    version: int = 1
    alive: bool = True

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(self.shape.split())

    def text(self) -> str:
        """The text with types and with words that have not varied yet."""
        return _text(self.shape, self.shown)

    def holed(self, hole: str) -> tuple[str, ...]:
        """The tokens with `hole` for each one that varies by merge."""
        key = list(self.tokens)
        for at in self.holes:
            key[at] = hole
        return tuple(key)


@lru_cache(4096)
def _text(shape: str, shown: tuple[str, ...]) -> str:
    first, *rest = shape.split(WILD)
    return first + "".join([show + part for show, part in zip(shown, rest, strict=True)])


def flat(shown: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """What is shown, token by token, as one tuple."""
    return tuple([show for shows in shown for show in shows])


def per_token(tokens: tuple[str, ...], shown: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What `flat` was made of."""
    out = []
    at = 0
    for token in tokens:
        n = token.count(WILD)
        out.append(shown[at : at + n])
        at += n
    return out


def joined(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    """What is shown at the same places of two texts: what they agree on, else `<*>`."""
    if mine == theirs or len(mine) != len(theirs):
        return mine
    return tuple([a if a == b else WILD for a, b in zip(mine, theirs, strict=True)])


def fits(hole: str, token: str) -> bool:
    """Whether a token is one that the `<*>` of another may stand for."""
    if hole == WILD:
        return True
    before, _, after = hole.partition(WILD)
    return len(token) >= len(before) + len(after) and token.startswith(before) and token.endswith(after)


def _common_start(words: list[str]) -> str:
    low, high = min(words), max(words)
    for at, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return low[:at]
    return low


def hole_token(words: list[str]) -> str:
    """`<*>` with what all words begin and end with, cut at a delimiter."""
    before = _common_start(words)
    while before and not _BREAKS.match(before[-1]):
        before = before[:-1]
    rest = [word[len(before) :] for word in words]
    after = _common_start([word[::-1] for word in rest])[::-1]
    while after and not _BREAKS.match(after[0]):
        after = after[1:]
    before, after = before.partition("<")[0], after.rpartition(">")[2]
    return f"{before}{WILD}{after}"


def common_show(shows: list[tuple[str, ...]]) -> str:
    """What one `<*>` in place of several texts' tokens is shown as: their type where it is the only one."""
    first = shows[0]
    return first[0] if len(first) == 1 and all(other == first for other in shows) else WILD
