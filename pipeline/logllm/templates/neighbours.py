"""Which texts differ from a text in one token: an index of texts by what is left without each of their tokens."""

from __future__ import annotations

import re
from itertools import compress, repeat

import numpy as np
from numpy.typing import NDArray

from logllm.templates.chains import Chains
from logllm.templates.masks import WILD
from logllm.templates.node import Node
from logllm.templates.words import FUNCTION_WORDS, TELLING

__all__ = ["Neighbours", "wanted"]

_MAX_POSITIONS = 48
# More than any position wants before it varies: only where no merge is allowed are there more.
_MAX_CROWD = 96
_LONE = 64
_FIRST = 12
# So many values of what tells what happened are no longer events but data.
_TOLD = 40
_TELLING_NAME = re.compile(r'(?:^|[{,])"?(\w+)"?(?:=|:")')
_NEVER = FUNCTION_WORDS | {WILD}
# By the end of its hash: whether a word may be one of them.
_LOW = np.uint64(0xFFFF)
_LIKE_NEVER = np.zeros(int(_LOW) + 1, np.bool_)
_LIKE_NEVER[[hash(word) & int(_LOW) for word in _NEVER]] = True
_ODD = 0x9E3779B97F4A7C15
_HIGH = 32
_BLOCK = 50_000
_WHOLE = (1 << 64) - 1


def wanted(constant: int, at: int) -> int:
    """How many different words make a position vary, given how many constant words stand around it."""
    number = _LONE if constant < 1 else 6 if constant == 1 else 4
    return number + _FIRST if at == 0 else number


class Neighbours:
    """Texts under one signature for each token that may vary: a hash of the text's other tokens.

    Memory: 18 bytes a signature. The hash is of one process, so the index is never saved but made again.
    """

    def __init__(self) -> None:
        self.chains = Chains()
        self._numbers: list[Node] = []
        self._dead = 0

    def __len__(self) -> int:
        return len(self.chains)

    def sign(self, node: Node) -> tuple[int, list[Node]] | None:
        """Enter a node; the last position that has gathered enough neighbours, with all of them, the node too."""
        tokens = node.tokens
        if not 2 <= len(tokens) <= _MAX_POSITIONS:
            return None
        number = len(self._numbers)
        self._numbers.append(node)
        hashes = [hash(token) * (2 * at + 3) for at, token in enumerate(tokens)]
        total = sum(hashes)
        places = [at for at, token in enumerate(tokens) if token not in _NEVER and at not in node.holes]
        signatures = [((total - hashes[at] + at * _ODD) & _WHOLE) >> _HIGH for at in places]
        found = self.chains.add_all(signatures, number)
        if not any(found):
            return None
        constant = sum([1 for token in tokens if token.isalpha() and len(token) > 1])
        is_record = tokens[0][0] == "{" or "=" in tokens[0]
        for at, others in zip(places, found, strict=True):
            left = constant - (tokens[at].isalpha() and len(tokens[at]) > 1)
            want = wanted(left, at)
            if is_record and _is_told(tokens, at):
                want = max(want, _TOLD)
            if len(others) + 1 >= want:
                crowd = [other for other in map(self._numbers.__getitem__, others) if _differ(other, tokens, at)]
                del crowd[_MAX_CROWD:]
                if len(crowd) + 1 >= want:
                    return at, [*reversed(crowd), node]
        return None

    def sign_all(self, nodes: list[Node]) -> None:
        """Enter many nodes into an empty index, as signing each in this order would."""
        parts = [self._signatures(nodes[at : at + _BLOCK]) for at in range(0, len(nodes), _BLOCK)]
        if parts:
            self.chains.extend(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))

    def _signatures(self, nodes: list[Node]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
        """Number the nodes; the signatures of all of them, with the number of the node of each."""
        shapes = [node.shape for node in nodes]
        lengths = np.fromiter(map(str.count, shapes, repeat(" ")), np.int64, len(shapes)) + 1
        fits = (lengths >= 2) & (lengths <= _MAX_POSITIONS)
        if not fits.any():
            return np.empty(0, np.uint32), np.empty(0, np.int32)
        if not fits.all():
            nodes = list(compress(nodes, fits.tobytes()))
            shapes = list(compress(shapes, fits.tobytes()))
            lengths = lengths[fits]
        first = len(self._numbers)
        self._numbers += nodes
        starts = np.cumsum(lengths) - lengths
        words = " ".join(shapes).split(" ")
        hashes = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
        may_vary = np.ones(len(words), np.bool_)
        for place in np.flatnonzero(_LIKE_NEVER[hashes & _LOW]).tolist():
            may_vary[place] = words[place] not in _NEVER
        for start, node in zip(starts.tolist(), nodes, strict=True):
            for hole in node.holes:
                may_vary[start + hole] = False
        text = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        at = (np.arange(len(words)) - starts[text]).astype(np.uint64)
        weighted = hashes * (at * np.uint64(2) + np.uint64(3))
        signatures = np.add.reduceat(weighted, starts)[text] - weighted + at * np.uint64(_ODD)
        return (signatures[may_vary] >> np.uint64(_HIGH)).astype(np.uint32), text[may_vary] + np.int32(first)

    def died(self, number: int, alive: int) -> None:
        """That many nodes are no more; drops their signatures now and then, which changes nothing else."""
        self._dead += number
        if self._dead > 1000 + alive:
            kept = np.fromiter([node.alive for node in self._numbers], np.bool_, len(self._numbers))
            self.chains.keep(kept, (np.cumsum(kept) - 1).astype(np.int32))
            self._numbers = [node for node in self._numbers if node.alive]
            self._dead = 0


def _is_told(tokens: tuple[str, ...], at: int) -> bool:
    """Whether a token of a record holds the value of a field that tells what happened."""
    if at and tokens[at - 1][-1] == ":":
        return tokens[at - 1].strip('{",:').lower() in TELLING
    return any(name.lower() in TELLING for name in _TELLING_NAME.findall(tokens[at]))


def _differ(other: Node, tokens: tuple[str, ...], at: int) -> bool:
    """Whether a text is alive and differs from another in the token at `at` only."""
    theirs = other.tokens
    return other.alive and theirs[:at] == tokens[:at] and theirs[at + 1 :] == tokens[at + 1 :]
