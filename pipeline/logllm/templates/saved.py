"""What a miner is written down as, and what is looked at before it is taken back."""

from __future__ import annotations

import msgspec
import numpy as np

from logllm.errors import StateError
from logllm.templates.keys import OVERFLOWED, Keys
from logllm.templates.ledger import Ledger
from logllm.templates.merge import Node, Texts
from logllm.templates.room import Room

__all__ = ["STATE_VERSION", "Saved", "SavedKeys", "SavedLedger", "SavedTexts", "read_saved"]

STATE_VERSION = 1


class SavedLedger(msgspec.Struct):
    """`canonical`, `counts`, `last`: little-endian int32, int64, int64, one for each index given out."""

    size: int
    canonical: bytes
    counts: bytes
    last: bytes
    ids: list[tuple[int, str]]
    names: list[tuple[str, int]]
    merged: list[tuple[int, int]]
    evicted: list[int]

    @classmethod
    def of(cls, ledger: Ledger) -> SavedLedger:
        return cls(
            size=ledger.size,
            canonical=ledger.canonical[: ledger.size].astype("<i4").tobytes(),
            counts=ledger.counts[: ledger.size].astype("<i8").tobytes(),
            last=ledger.last[: ledger.size].astype("<i8").tobytes(),
            ids=list(ledger.ids.items()),
            names=list(ledger.names.items()),
            merged=ledger.merged,
            evicted=ledger.evicted,
        )

    def back(self) -> Ledger:
        size = self.size
        ledger = Ledger()
        ledger.reserve(size)
        ledger.size = size
        ledger.canonical[:size] = np.frombuffer(self.canonical, "<i4")
        ledger.counts[:size] = np.frombuffer(self.counts, "<i8")
        ledger.last[:size] = np.frombuffer(self.last, "<i8")
        ledger.ids = dict(self.ids)
        ledger.names = dict(self.names)
        ledger.merged = self.merged
        ledger.evicted = self.evicted
        ledger.moved = bool((ledger.canonical[:size] != np.arange(size)).any())
        return ledger

    def check(self) -> None:
        size = self.size
        if (len(self.canonical), len(self.counts), len(self.last)) != (4 * size, 8 * size, 8 * size):
            raise ValueError(f"expected {size} indices")
        canonical = np.frombuffer(self.canonical, "<i4")
        if size and (int(canonical.min()) < 0 or int(canonical.max()) >= size):
            raise ValueError("a template became one that is not there")
        if any(not 0 <= index < size or int(canonical[index]) != index for index, _ in self.ids):
            raise ValueError("an identifier leads to a template that is not there")
        if any(not 0 <= index < size for _, index in self.names):
            raise ValueError("a name leads to a template that is not there")


class SavedText(msgspec.Struct, array_like=True):
    index: int
    tokens: tuple[str, ...]
    shown: list[tuple[str, ...]]
    holes: tuple[int, ...]
    version: int


class SavedTexts(msgspec.Struct):
    """Texts and sets of holes in the order they came about in: it decides which of two covers a line."""

    texts: list[SavedText]
    holes: list[tuple[int, list[tuple[int, ...]]]]

    @classmethod
    def of(cls, texts: Texts) -> SavedTexts:
        saved = [SavedText(t.index, t.tokens, t.shown, t.holes, t.version) for t in texts.nodes.values()]
        return cls(texts=saved, holes=list(texts.holes.items()))

    def back(self) -> Texts:
        nodes = [Node(t.index, t.tokens, t.shown, t.holes, t.version) for t in self.texts]
        return Texts.load(nodes, dict(self.holes))

    def check(self) -> None:
        for text in self.texts:
            if len(text.tokens) != len(text.shown) or any(not 0 <= at < len(text.tokens) for at in text.holes):
                raise ValueError(f"text {text.index} does not fit together")
        if any(not 0 <= at < length for length, sets in self.holes for holes in sets for at in holes):
            raise ValueError("a hole lies outside its text")


class SavedKeys(msgspec.Struct):
    """Both generations: the keys with "\\0" between them, and their values as little-endian int32."""

    capacity: int
    young: bytes
    young_values: bytes
    old: bytes
    old_values: bytes

    @classmethod
    def of(cls, keys: Keys) -> SavedKeys:
        return cls(
            keys.capacity,
            b"\0".join(keys.young),
            np.fromiter(keys.young.values(), "<i4", len(keys.young)).tobytes(),
            b"\0".join(keys.old),
            np.fromiter(keys.old.values(), "<i4", len(keys.old)).tobytes(),
        )

    def back(self) -> Keys:
        keys = Keys(self.capacity)
        for table, joined, values in (
            (keys.young, self.young, self.young_values),
            (keys.old, self.old, self.old_values),
        ):
            if values:
                table.update(zip(joined.split(b"\0"), np.frombuffer(values, "<i4").tolist(), strict=True))
        return keys

    def check(self, size: int) -> None:
        for joined, packed in ((self.young, self.young_values), (self.old, self.old_values)):
            values = np.frombuffer(packed, "<i4")
            if len(values) and joined.count(b"\0") + 1 != len(values):
                raise ValueError("keys and values do not pair up")
            if len(values) and (int(values.max()) >= size or int(values.min()) < OVERFLOWED):
                raise ValueError("a key leads to a template that is not there")


class Saved(msgspec.Struct):
    version: int
    max_templates: int
    seen: int
    overflow: int
    room: Room
    ledger: SavedLedger
    texts: SavedTexts
    keys: SavedKeys
    named: list[tuple[str, int]] = []

    def check(self) -> None:
        """Raise ValueError unless the parts fit together, so that nothing later leads out of range."""
        self.ledger.check()
        self.texts.check()
        self.keys.check(self.ledger.size)
        if min(self.max_templates, self.keys.capacity, self.room.limit) < 1 or min(self.seen, self.room.allowed) < 0:
            raise ValueError("a bound is not positive")
        if not -1 <= self.overflow < self.ledger.size:
            raise ValueError("the overflow template is not there")
        alive = {index for index, _ in self.ledger.ids}
        if {text.index for text in self.texts.texts} != alive - {self.overflow} - {index for _, index in self.named}:
            raise ValueError("texts and identifiers do not pair up")


def read_saved(state: object) -> Saved:
    """The checked state. Raises StateError where it is damaged or of another version."""
    version = state.get("version") if isinstance(state, dict) else None
    if version != STATE_VERSION:
        raise StateError(f"templates: version {version!r}, expected {STATE_VERSION}")
    try:
        saved = msgspec.convert(state, Saved)
        saved.check()
    except (msgspec.ValidationError, ValueError) as error:
        raise StateError(f"templates: {error}") from error
    return saved
