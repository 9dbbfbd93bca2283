"""What a miner tells of its templates."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["Changes", "Template"]


class Template(msgspec.Struct, frozen=True):
    """A template as it stands now.

    `id` is 12 hexadecimal digits of a hash of the text at first sight with all its parameters as `<*>`: equal on every
    machine that meets the texts in the same order, and it stays when the template generalises (`version` rises).
    `text` names the types of its parameters (`<ip>`, `<num>`) and shows words that have not varied yet;
    `untyped` has `<*>` for every parameter. `count` is the number of messages so far.
    """

    index: int
    id: str
    text: str
    untyped: str
    count: int
    version: int


class Changes(NamedTuple):
    """What happened to indices that were given out: `merged` (old, new) in order, `evicted` never come again."""

    merged: list[tuple[int, int]]
    evicted: list[int]
