"""Templates that differ in one word become one, once enough different words have been seen there.

Each text is entered under one signature for every position that may vary: the text without that token. When a
signature has gathered enough different tokens, the position becomes `<*>` and the result is entered again, so a
second position can follow. It works per new text only, and it never generalises from two examples: how many it
wants depends on how much constant text stands around the position.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from logllm.templates.masks import WILD, Masked
from logllm.templates.words import FUNCTION_WORDS

__all__ = ["Entered", "Node", "Texts"]

_HOLE = "\x00"
_MAX_POSITIONS = 48
_MAX_HOLE_SETS = 64
_MAX_CROWD = 128
_BREAKS = re.compile(r"[\s,;:=|\"'`\[\](){}<>#/\\@.$_\-]")


class Node:
    """One text as tokens with `<*>` where they vary; `shown` says, token by token, what each `<*>` is known as."""

    __slots__ = ("alive", "holes", "index", "shown", "tokens", "version")

    def __init__(
        self,
        index: int,
        tokens: tuple[str, ...],
        shown: list[tuple[str, ...]],
        holes: tuple[int, ...],
        version: int = 1,
    ) -> None:
        self.index = index
        self.tokens = tokens
        self.shown = shown
        self.holes = holes
        self.alive = True
        self.version = version

    def text(self) -> str:
        """The text with types and with words that have not varied yet."""
        out = []
        for token, shows in zip(self.tokens, self.shown, strict=True):
            if shows:
                parts = token.split(WILD)
                token = parts[0] + "".join(show + part for show, part in zip(shows, parts[1:], strict=False))
            out.append(token)
        return " ".join(out)


class Entered(NamedTuple):
    """What entering a text did: the text it is part of now, and the texts which that has taken over."""

    into: int
    absorbed: tuple[int, ...]


class Texts:
    """All texts known, by exact shape and by shape with holes."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self._exact: dict[tuple[str, ...], Node] = {}
        self._neighbours: dict[int, list[Node]] = {}
        self._dead = 0
        self.holes: dict[int, list[tuple[int, ...]]] = {}
        self._general: dict[tuple[str, ...], list[Node]] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def find(self, masked: Masked) -> Node | None:
        """The text that covers this line, or None. Learns what the line shows where it varies."""
        tokens, shown = masked
        node = self._exact.get(tokens)
        if node is None:
            node = self._covering(tokens)
            if node is None:
                return None
        if tuple(node.shown) != shown:
            _widen(node, tokens, shown)
        return node

    def _covering(self, tokens: tuple[str, ...]) -> Node | None:
        for holes in self.holes.get(len(tokens), ()):
            key = list(tokens)
            for at in holes:
                key[at] = _HOLE
            for node in self._general.get(tuple(key), ()):
                if all(_fits(node.tokens[at], tokens[at]) for at in holes):
                    return node
        return None

    def enter(self, masked: Masked, index: int) -> Entered:
        """Take in a text that `find` does not know; `index` is its own unless neighbours make it part of another."""
        tokens, shown = masked
        node = Node(index, tokens, list(shown), ())
        self.nodes[index] = node
        self._exact[tokens] = node
        absorbed: list[int] = []
        for _ in range(8):
            crowd = self._sign(node)
            if crowd is None or not self._may_generalise(*crowd):
                break
            node, gone = self._generalise(*crowd)
            absorbed += gone
        return Entered(node.index, tuple(absorbed))

    @classmethod
    def load(cls, nodes: list[Node], holes: dict[int, list[tuple[int, ...]]]) -> Texts:
        """Texts as they were, given in the order they came about in; entering them again merges nothing."""
        texts = cls()
        texts.holes = holes
        for node in nodes:
            texts.nodes[node.index] = node
            texts._exact[node.tokens] = node
            if node.holes:
                texts._add_general(node)
            texts._sign(node)
        return texts

    def remove(self, indices: set[int]) -> None:
        """Forget these texts wholly."""
        for index in indices:
            node = self.nodes.pop(index)
            node.alive = False
            del self._exact[node.tokens]
            self._drop_general(node)
        self._sweep()

    def _sweep(self) -> None:
        """Drop the signatures of texts that are no more; changes nothing else."""
        alive = ((key, [node for node in crowd if node.alive]) for key, crowd in self._neighbours.items())
        self._neighbours = {key: crowd for key, crowd in alive if crowd}
        self._dead = 0

    def _sign(self, node: Node) -> tuple[int, list[Node]] | None:
        """Enter a node's signatures; the first position that has gathered enough neighbours, with them."""
        tokens = node.tokens
        n = len(tokens)
        if n > _MAX_POSITIONS or n < 2:
            return None
        hashes = [hash(token) * (2 * at + 3) for at, token in enumerate(tokens)]
        total = sum(hashes) * 64
        constant = sum(1 for token in tokens if token.isalpha() and len(token) > 1)
        best = None
        for at, token in enumerate(tokens):
            if token == WILD or token in FUNCTION_WORDS or at in node.holes:
                continue
            signature = total - hashes[at] * 64 + at
            crowd = self._neighbours.get(signature)
            if crowd is None:
                self._neighbours[signature] = [node]
                continue
            if len(crowd) < _MAX_CROWD:
                crowd.append(node)
            if best is None and len(crowd) >= 3:
                crowd[:] = [other for other in crowd if other.alive]
                left = constant - (token.isalpha() and len(token) > 1)
                if len(crowd) >= _wanted(left, at, [other.tokens[at] for other in crowd]):
                    best = (at, list(crowd))
        return best

    def _may_generalise(self, at: int, crowd: list[Node]) -> bool:
        """Looking for a text tries every set of holes its length has, so their number is bounded."""
        sets = self.holes.get(len(crowd[0].tokens), [])
        if len(sets) < _MAX_HOLE_SETS:
            return True
        used = {node.holes for node in self.nodes.values() if len(node.tokens) == len(crowd[0].tokens)}
        sets[:] = [holes for holes in sets if holes in used]
        return len(sets) < _MAX_HOLE_SETS

    def _generalise(self, at: int, crowd: list[Node]) -> tuple[Node, list[int]]:
        words = [node.tokens[at] for node in crowd]
        token = _hole_token(words)
        oldest = min(crowd, key=lambda node: node.index)
        tokens = (*oldest.tokens[:at], token, *oldest.tokens[at + 1 :])
        shown = list(oldest.shown)
        shown[at] = (_common_show([node.shown[at] for node in crowd]),)
        members = list(crowd)
        known = self._exact.get(tokens)
        if known is not None and known.alive and known not in members:
            members.append(known)
        survivor = min(members, key=lambda node: node.index)
        holes = tuple(sorted({at, *(hole for node in members for hole in node.holes)}))
        new = Node(survivor.index, tokens, shown, holes, survivor.version + 1)
        for node in members:
            if node not in crowd or node is oldest:
                continue
            _join(new, node, at)
        gone = []
        for node in members:
            node.alive = False
            if node.index != new.index:
                gone.append(node.index)
            del self.nodes[node.index]
            self._exact.pop(node.tokens, None)
            self._drop_general(node)
        self.nodes[new.index] = new
        self._exact[tokens] = new
        self._dead += len(members)
        if self._dead > 1000 + len(self.nodes):
            self._sweep()
        self._add_general(new)
        return new, gone

    def _add_general(self, node: Node) -> None:
        sets = self.holes.setdefault(len(node.tokens), [])
        if node.holes not in sets:
            sets.append(node.holes)
            sets.sort(key=len)
        self._general.setdefault(_holed(node), []).append(node)

    def _drop_general(self, node: Node) -> None:
        if node.holes:
            key = _holed(node)
            kept = [other for other in self._general.get(key, ()) if other is not node]
            if kept:
                self._general[key] = kept
            else:
                self._general.pop(key, None)


def _holed(node: Node) -> tuple[str, ...]:
    key = list(node.tokens)
    for at in node.holes:
        key[at] = _HOLE
    return tuple(key)


def _fits(hole: str, token: str) -> bool:
    if hole == WILD:
        return True
    before, _, after = hole.partition(WILD)
    return len(token) >= len(before) + len(after) and token.startswith(before) and token.endswith(after)


def _wanted(constant: int, at: int, words: list[str]) -> int:
    """How many different words make a position vary, given how many constant words stand around it."""
    wanted = 4
    if constant < 1:
        wanted = 64
    elif constant == 1:
        wanted = 6
    if at == 0:
        wanted += 12
    return wanted


def _common_start(words: list[str]) -> str:
    low, high = min(words), max(words)
    for at, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return low[:at]
    return low


def _hole_token(words: list[str]) -> str:
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


def _common_show(shows: list[tuple[str, ...]]) -> str:
    first = shows[0]
    return first[0] if len(first) == 1 and all(other == first for other in shows) else WILD


def _join(node: Node, other: Node, skip: int) -> None:
    for at, (mine, theirs) in enumerate(zip(node.shown, other.shown, strict=True)):
        if at != skip and mine != theirs and len(mine) == len(theirs):
            node.shown[at] = tuple(a if a == b else WILD for a, b in zip(mine, theirs, strict=True))


def _widen(node: Node, tokens: tuple[str, ...], shown: tuple[tuple[str, ...], ...]) -> None:
    changed = False
    for at, (mine, theirs) in enumerate(zip(node.shown, shown, strict=True)):
        if mine != theirs and len(mine) == len(theirs) and node.tokens[at] == tokens[at]:
            joined = tuple(a if a == b else WILD for a, b in zip(mine, theirs, strict=True))
            if joined != mine:
                node.shown[at] = joined
                changed = True
    node.version += changed
