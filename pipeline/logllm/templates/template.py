"""What a miner tells of its templates."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

__all__ = ["TYPE", "TYPES", "Changes", "Template"]

_NAMES = "num|ip|host|path|url|id|hex|uuid|time|dur|size|email|mac|bool|user"
TYPE = re.compile(f"<(?:{_NAMES})>")
TYPES = frozenset(f"<{name}>" for name in _NAMES.split("|"))


class Template(msgspec.Struct, frozen=True):
    """A template as it stands now.

    `id` is 12 hexadecimal digits of a hash of the text at first sight with all its parameters as `<*>`: equal on every
    machine that meets the texts in the same order, and it stays when the template generalises (`version` rises).
    `text` names the types of its parameters (`<ip>`, `<num>`) and shows words that have not varied yet;
    `untyped` has `<*>` for every parameter. `count` is the number of messages so far.
    `aliases` are the ids of templates that became part of it, `name` is what the user calls it, and `pinned` says
    that the user gave its text.
    """

    index: int
    id: str
    text: str
    untyped: str
    count: int
    version: int
    name: str = ""
    pinned: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The user's name for it, or else its text."""
        return self.name or self.text


class Changes(NamedTuple):
    """What happened to indices that were given out: `merged` (old, new) in order; `evicted` are gone, those that had
    become part of one that is gone too, and come again only where `Miner.reuse` allows it."""

    merged: list[tuple[int, int]]
    evicted: list[int]
