"""Templates that differ in one word become one, once enough different words have been seen there.

Each text is entered under one signature for every position that may vary: the text without that token. When a
signature has gathered enough different tokens, the position becomes `<*>` and the result is entered again, so a
second position can follow. It works per new text only, and it never generalises from two examples: how many it
wants depends on how much constant text stands around the position.
"""

from __future__ import annotations

from typing import NamedTuple

from logllm.templates.masks import Masked
from logllm.templates.neighbours import Neighbours
from logllm.templates.node import Node, common_show, fits, flat, hole_token, joined, per_token

__all__ = ["Entered", "Node", "Texts"]

_HOLE = "\x00"
_MAX_HOLE_SETS = 64
_MAX_STEPS = 8
_MAX_SHOWN = 65_536


class Entered(NamedTuple):
    """What entering a text did: the text it is part of now, and the texts which that has taken over."""

    into: int
    absorbed: tuple[int, ...]


class Texts:
    """All texts known, by exact shape and by shape with holes, in the order they came about in.

    Memory: about 500 bytes a text of eight tokens.
    """

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.holes: dict[int, list[tuple[int, ...]]] = {}
        self.neighbours = Neighbours()
        self._exact: dict[str, Node] = {}
        self._general: dict[tuple[str, ...], list[Node]] = {}
        self._shown: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def find(self, masked: Masked) -> Node | None:
        """The text that covers this line, or None. Learns what the line shows where it varies."""
        tokens, shown = masked
        node = self._exact.get(" ".join(tokens))
        if node is not None:
            seen = flat(shown)
            if node.shown != seen:
                self._widen(node, joined(node.shown, seen))
            return node
        node = self._covering(tokens)
        if node is not None:
            mine = node.tokens
            both = zip(mine, tokens, per_token(mine, node.shown), shown, strict=True)
            self._widen(node, flat(tuple([joined(a, b) if at == other else a for at, other, a, b in both])))
        return node

    def _covering(self, tokens: tuple[str, ...]) -> Node | None:
        for holes in self.holes.get(len(tokens), ()):
            key = list(tokens)
            for at in holes:
                key[at] = _HOLE
            for node in self._general.get(tuple(key), ()):
                mine = node.tokens
                if all(fits(mine[at], tokens[at]) for at in holes):
                    return node
        return None

    def _widen(self, node: Node, shown: tuple[str, ...]) -> None:
        if shown != node.shown:
            node.shown = self._shared(shown)
            node.version += 1

    def _shared(self, shown: tuple[str, ...]) -> tuple[str, ...]:
        if len(self._shown) >= _MAX_SHOWN:
            self._shown = {}
        return self._shown.setdefault(shown, shown)

    def enter(self, masked: Masked, index: int) -> Entered:
        """Take in a text that `find` does not know; `index` is its own unless neighbours make it part of another."""
        tokens, shown = masked
        node = Node(index, " ".join(tokens), self._shared(flat(shown)))
        self.nodes[index] = node
        self._exact[node.shape] = node
        absorbed: list[int] = []
        for step in range(_MAX_STEPS + 1):
            crowd = self.neighbours.sign(node)
            if crowd is None or step == _MAX_STEPS or not self._may_generalise(crowd[1][0]):
                break
            node, gone = self._generalise(*crowd)
            absorbed += gone
        return Entered(node.index, tuple(absorbed))

    @classmethod
    def load(cls, nodes: list[Node], holes: dict[int, list[tuple[int, ...]]]) -> Texts:
        """Texts as they were, given in the order they came about in; entering them again merges nothing."""
        texts = cls()
        texts.holes = holes
        texts.nodes = {node.index: node for node in nodes}
        texts._exact = {node.shape: node for node in nodes}
        for node in nodes:
            if node.holes:
                texts._add_general(node)
        texts.neighbours.sign_all(nodes)
        return texts

    def remove(self, indices: list[int]) -> None:
        """Forget these texts wholly; what is no text is left out."""
        for index in indices:
            node = self.nodes.pop(index, None)
            if node is not None:
                self._drop(node)
        self.neighbours.died(len(indices), len(self.nodes))

    def _drop(self, node: Node) -> None:
        node.alive = False
        del self._exact[node.shape]
        if node.holes:
            key = node.holed(_HOLE)
            kept = [other for other in self._general.get(key, ()) if other is not node]
            if kept:
                self._general[key] = kept
            else:
                self._general.pop(key, None)

    def _may_generalise(self, like: Node) -> bool:
        """Looking for a text tries every set of holes its length has, so their number is bounded."""
        length = len(like.tokens)
        sets = self.holes.get(length, [])
        if len(sets) < _MAX_HOLE_SETS:
            return True
        general = [node for nodes in self._general.values() for node in nodes]
        used = {node.holes for node in general if len(node.tokens) == length}
        sets[:] = [holes for holes in sets if holes in used]
        return len(sets) < _MAX_HOLE_SETS

    def _generalise(self, at: int, crowd: list[Node]) -> tuple[Node, list[int]]:
        oldest = min(crowd, key=lambda node: node.index)
        tokens_of = [node.tokens for node in crowd]
        shown_of = [per_token(tokens, node.shown) for tokens, node in zip(tokens_of, crowd, strict=True)]
        tokens = (*oldest.tokens[:at], hole_token([each[at] for each in tokens_of]), *oldest.tokens[at + 1 :])
        shown = per_token(oldest.tokens, oldest.shown)
        members = list(crowd)
        known = self._exact.get(" ".join(tokens))
        if known is not None and known not in members:
            members.append(known)
            shown_of.append(per_token(known.tokens, known.shown))
        for other in shown_of:
            shown = [joined(mine, theirs) for mine, theirs in zip(shown, other, strict=True)]
        shown[at] = (common_show([each[at] for each in shown_of]),)
        survivor = min(members, key=lambda node: node.index)
        holes = tuple(sorted({at, *(hole for node in members for hole in node.holes)}))
        new = Node(survivor.index, " ".join(tokens), self._shared(flat(tuple(shown))), holes, survivor.version + 1)
        for node in members:
            del self.nodes[node.index]
            self._drop(node)
        self.nodes[new.index] = new
        self._exact[new.shape] = new
        self._add_general(new)
        self.neighbours.died(len(members), len(self.nodes))
        return new, [node.index for node in members if node is not survivor]

    def _add_general(self, node: Node) -> None:
        sets = self.holes.setdefault(len(node.tokens), [])
        if node.holes not in sets:
            sets.append(node.holes)
            sets.sort(key=len)
        self._general.setdefault(node.holed(_HOLE), []).append(node)
