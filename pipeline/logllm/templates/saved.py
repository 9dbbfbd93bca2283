"""What a miner is written down as, and what is looked at before it is taken back."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from itertools import chain, repeat
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from logllm.errors import ConfigError, StateError
from logllm.templates.edits import TemplateEdits
from logllm.templates.keys import OVERFLOWED, Keys
from logllm.templates.ledger import ALIVE, GONE, MERGED, OWN, Ledger
from logllm.templates.masks import WILD
from logllm.templates.merge import Node, Texts
from logllm.templates.mining import Mining
from logllm.templates.named import Named
from logllm.templates.pins import Pin
from logllm.templates.room import Room
from logllm.templates.sealed import SealedKeys

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STATE_VERSION", "Saved", "SavedKeys", "SavedLedger", "SavedTexts", "read_saved"]

STATE_VERSION = 3
_LAST_SPACE = 0x3000
_NUMBER_BYTES = 8
_MOST_KEY_BYTES = 64
_COLUMNS = {"canonical": "<i4", "counts": "<i8", "last": "<i8", "ids": "<i8", "state": "i1", "owner": "<i4"}


class SavedLedger(msgspec.Struct):
    """Little-endian arrays with an entry for each index given out; see `Ledger`."""

    size: int
    canonical: bytes
    counts: bytes
    last: bytes
    ids: bytes
    state: bytes
    owner: bytes
    merged: list[tuple[int, int]]
    evicted: list[int]
    told: list[int]
    free: list[int]

    @classmethod
    def of(cls, ledger: Ledger) -> SavedLedger:
        columns = {
            name: getattr(ledger, name)[: ledger.size].astype(dtype).tobytes() for name, dtype in _COLUMNS.items()
        }
        return cls(
            size=ledger.size,
            merged=list(ledger.merged),
            evicted=list(ledger.evicted),
            told=list(ledger.told),
            free=list(ledger.free),
            **columns,
        )

    def back(self) -> Ledger:
        ledger = Ledger()
        ledger.reserve(self.size)
        ledger.size = self.size
        for name, dtype in _COLUMNS.items():
            getattr(ledger, name)[: self.size] = np.frombuffer(getattr(self, name), dtype)
        ledger.merged = self.merged
        ledger.evicted, ledger.told, ledger.free = self.evicted, self.told, deque(self.free)
        ledger.take_back()
        return ledger

    def check(self) -> None:
        size = self.size
        for name, dtype in _COLUMNS.items():
            if len(getattr(self, name)) != size * np.dtype(dtype).itemsize:
                raise ValueError(f"expected {size} indices")
        canonical, state = np.frombuffer(self.canonical, "<i4"), np.frombuffer(self.state, "i1")
        if not size:
            return
        if int(canonical.min()) < 0 or int(canonical.max()) >= size:
            raise ValueError("a template became one that is not there")
        if int(state.min()) < ALIVE or int(state.max()) > GONE:
            raise ValueError("a template is in no known state")
        alive = state <= OWN
        if (canonical != np.arange(size))[alive].any() or not alive[canonical[state == MERGED]].all():
            raise ValueError("a template became one that is no more")
        if int(np.frombuffer(self.ids, "<i8").min()) < 0:
            raise ValueError("an identifier is not one")
        gone = [*self.evicted, *self.told, *self.free]
        if len(set(gone)) < len(gone) or any(not 0 <= at < size or state[at] != GONE for at in gone):
            raise ValueError("a template that is gone is there, or twice")
        if any(not (0 <= old < size and 0 <= new < size) for old, new in self.merged):
            raise ValueError("a merge was of what is not there")


class SavedTexts(msgspec.Struct, dict=True):
    """Texts in the order they came about in: it decides which of two covers a line.

    `shapes` are joined by newlines; `shown` are those there are, `shown_of` says which is whose (int32); `indices` and
    `versions` are int32; `holes` are those of the texts that have any, by their place; `sets` as in `Texts.holes`.
    """

    shapes: str
    shown: list[tuple[str, ...]]
    shown_of: bytes
    indices: bytes
    versions: bytes
    holes: list[tuple[int, tuple[int, ...]]]
    sets: list[tuple[int, list[tuple[int, ...]]]]

    @classmethod
    def of(cls, texts: Texts) -> SavedTexts:
        nodes = list(texts.nodes.values())
        known: dict[tuple[str, ...], int] = {}
        shown_of = [known.setdefault(node.shown, len(known)) for node in nodes]
        return cls(
            shapes="\n".join([node.shape for node in nodes]),
            shown=list(known),
            shown_of=np.array(shown_of, "<i4").tobytes(),
            indices=np.array([node.index for node in nodes], "<i4").tobytes(),
            versions=np.array([node.version for node in nodes], "<i4").tobytes(),
            holes=[(at, node.holes) for at, node in enumerate(nodes) if node.holes],
            sets=[(length, list(sets)) for length, sets in texts.holes.items()],
        )

    @cached_property
    def _each(self) -> list[str]:
        return self.shapes.split("\n") if self.indices else []

    def back(self) -> Texts:
        indices, versions, shown_of = (
            np.frombuffer(packed, "<i4").tolist() for packed in (self.indices, self.versions, self.shown_of)
        )
        shown = self.shown
        parts = zip(indices, self._each, shown_of, versions, strict=True)
        nodes = [Node(index, shape, shown[which], (), version) for index, shape, which, version in parts]
        for at, holes in self.holes:
            nodes[at].holes = holes
        return Texts.load(nodes, dict(self.sets))

    def check(self, ledger: SavedLedger) -> None:
        shapes = self._each
        n = len(shapes)
        if not len(self.indices) == len(self.versions) == len(self.shown_of) == 4 * n:
            raise ValueError("texts do not fit together")
        if any(not 0 <= at < length for length, sets in self.sets for holes in sets for at in holes):
            raise ValueError("a hole lies outside its text")
        if not n:
            return
        shown_of, indices = np.frombuffer(self.shown_of, "<i4"), np.frombuffer(self.indices, "<i4")
        if int(shown_of.min()) < 0 or int(shown_of.max()) >= len(self.shown):
            raise ValueError("a text shows what is not there")
        if int(indices.min()) < 0 or int(indices.max()) >= ledger.size:
            raise ValueError("a text's template is not there")
        lengths = np.array([len(shown) for shown in self.shown])
        wilds = np.fromiter(map(str.count, shapes, repeat(WILD)), np.int64, n)
        if (wilds != lengths[shown_of]).any() or len(set(shapes)) != n or int(np.bincount(indices).max()) > 1:
            raise ValueError("texts do not fit together")
        if (np.frombuffer(ledger.state, "i1")[indices] == GONE).any():
            raise ValueError("a text's template is no more")
        for at, holes in self.holes:
            if not 0 <= at < n or any(not 0 <= hole < len(shapes[at].split()) for hole in holes):
                raise ValueError("a hole lies outside its text")
        if not _is_cut_at_single_spaces(self.shapes):
            raise ValueError("a text is not cut at single spaces")


def _is_cut_at_single_spaces(lines: str) -> bool:
    """Whether `" ".join(line.split())` is each of these lines."""
    around = f"\n{lines}\n"
    others = [char for char in map(chr, range(_LAST_SPACE + 1)) if char.isspace() and char not in " \n"]
    return not any(odd in around for odd in ("  ", " \n", "\n ", *others))


class SavedKeys(msgspec.Struct):
    """Both generations: the numbers of the sealed keys (uint64) in order, and their values as little-endian int32.

    Older states have the keys themselves, with "\\0" between them, and no `key` of the hash.
    """

    capacity: int
    young: bytes
    young_values: bytes
    old: bytes
    old_values: bytes
    key: bytes | None = None

    @classmethod
    def of(cls, keys: Keys, key: bytes) -> SavedKeys:
        sealed = SealedKeys(key)
        # What is still sealed by another key can never be met again.
        was = keys.sealed if keys.sealed.key == key else sealed
        young, young_values = _sealed(keys.young, was.young, sealed)
        old, old_values = _sealed(keys.old, was.old, sealed)
        return cls(keys.capacity, young, young_values, old, old_values, key)

    @property
    def _tables(self) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
        return (self.young, self.young_values), (self.old, self.old_values)

    def back(self) -> Keys:
        keys = Keys(self.capacity)
        if self.key is not None:
            keys.sealed = SealedKeys(self.key)
            keys.sealed.young, keys.sealed.old = (
                dict(zip(np.frombuffer(numbers, "<u8").tolist(), np.frombuffer(values, "<i4").tolist(), strict=True))
                for numbers, values in self._tables
            )
            return keys
        for table, (joined, values) in zip((keys.young, keys.old), self._tables, strict=True):
            if values:
                table.update(zip(joined.split(b"\0"), np.frombuffer(values, "<i4").tolist(), strict=True))
        return keys

    def check(self, ledger: SavedLedger) -> None:
        state = np.frombuffer(ledger.state, "i1")
        if len(self.key or b"") > _MOST_KEY_BYTES:
            raise ValueError("the key of the hashes is too long")
        for keys, packed in self._tables:
            values = np.frombuffer(packed, "<i4")
            many = keys.count(b"\0") + bool(packed) if self.key is None else len(keys) / _NUMBER_BYTES
            if many != len(values):
                raise ValueError("keys and values do not pair up")
            if len(values) and (int(values.max()) >= ledger.size or int(values.min()) < OVERFLOWED):
                raise ValueError("a key leads to a template that is not there")
            if (state[values[values >= 0]] == GONE).any():
                raise ValueError("a key leads to a template that is no more")


def _sealed(table: dict[bytes, int], was: dict[int, int], sealed: SealedKeys) -> tuple[bytes, bytes]:
    """The numbers of a table's keys and of those that were still sealed, in order, and the values."""
    numbers = np.fromiter(chain(map(sealed.number, table), was), np.uint64, len(table) + len(was))
    values = np.fromiter(chain(table.values(), was.values()), np.int32, len(numbers))
    order = np.argsort(numbers)
    return numbers[order].astype("<u8").tobytes(), values[order].astype("<i4").tobytes()


class Saved(msgspec.Struct):
    version: int
    max_templates: int
    seen: int
    overflow: int
    max_new: int
    rooms: list[tuple[int, Room]]
    ledger: SavedLedger
    texts: SavedTexts
    keys: SavedKeys
    named: list[tuple[str, int]]
    edits: TemplateEdits
    pins: list[tuple[str, int]]

    @classmethod
    def of(cls, mining: Mining, named: Named, edits: TemplateEdits, key: bytes) -> Saved:
        return cls(
            version=STATE_VERSION,
            max_templates=mining.max_templates,
            seen=mining.seen,
            overflow=mining.overflow,
            max_new=mining.rooms.limit,
            rooms=list(mining.rooms.of.items()),
            ledger=SavedLedger.of(mining.ledger),
            texts=SavedTexts.of(mining.texts),
            keys=SavedKeys.of(mining.keys, key),
            named=list(named.by_text.items()),
            edits=edits,
            pins=[(text, index) for text, (_, index) in mining.pins.by_text.items()],
        )

    def back(self, hide: Callable[[str, str], str] | None = None) -> Mining:
        mining = Mining(self.max_templates, self.keys.capacity, self.max_new, hide)
        mining.seen = self.seen
        mining.overflow = self.overflow
        mining.rooms.of = dict(self.rooms)
        mining.ledger = self.ledger.back()
        mining.texts = self.texts.back()
        mining.keys = self.keys.back()
        mining.pins.by_text = {text: (Pin(text), index) for text, index in self.pins}
        if hide is not None and self.keys.key is None:
            # Of before secrets were kept out of texts.
            state = mining.ledger.state
            texts = [(index, node.text()) for index, node in mining.texts.nodes.items() if state[index] == ALIVE]
            mining.evict([index for index, text in texts if hide(text, "") != text])
        return mining

    def check(self) -> None:
        """Raise ValueError unless the parts fit together, so that nothing later leads out of range."""
        self.ledger.check()
        self.texts.check(self.ledger)
        self.keys.check(self.ledger)
        if min(self.max_templates, self.keys.capacity, self.max_new) < 1 or self.seen < 0:
            raise ValueError("a bound is not positive")
        if any(min(room.limit, room.allowed) < 1 for _, room in self.rooms):
            raise ValueError("a bound is not positive")
        if not -1 <= self.overflow < self.ledger.size:
            raise ValueError("the overflow template is not there")
        own = [index for _, index in (*self.named, *self.pins)] + [self.overflow] * (self.overflow >= 0)
        state = np.frombuffer(self.ledger.state, "i1")
        if sorted(own) != np.flatnonzero(state == OWN).tolist():
            raise ValueError("templates that are not mined and identifiers do not pair up")
        indices = np.frombuffer(self.texts.indices, "<i4")
        has_text = np.zeros(self.ledger.size, np.bool_)
        has_text[np.frombuffer(self.ledger.canonical, "<i4")[indices]] = True
        has_text[own] = False
        if (has_text != (state == ALIVE)).any():
            raise ValueError("texts and identifiers do not pair up")


def read_saved(state: object) -> Saved:
    """The checked state. Raises StateError where it is damaged or of another version."""
    version = state.get("version") if isinstance(state, dict) else None
    if version != STATE_VERSION:
        raise StateError(f"templates: version {version!r}, expected {STATE_VERSION}")
    try:
        saved = msgspec.convert(state, Saved)
        saved.check()
        for text, _ in saved.pins:
            Pin(text)
    except (msgspec.ValidationError, ValueError, ConfigError) as error:
        raise StateError(f"templates: {error}") from error
    return saved
