"""From messages to template indices: a look-up for what is known, pins, masks and merge for what is new."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from logllm.templates.batch import Batch
from logllm.templates.keys import (
    AMBIGUOUS,
    MISSING,
    NO_KEY,
    OVERFLOWED,
    Keys,
    coded,
    keys_of,
    may_hold_code,
    record_key,
    without_hex,
)
from logllm.templates.ledger import OWN, Ledger
from logllm.templates.masks import Masked, mask
from logllm.templates.merge import Texts
from logllm.templates.mined import printable
from logllm.templates.pins import Pins
from logllm.templates.records import masked_record
from logllm.templates.room import Rooms
from logllm.templates.shortcut import Shortcut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logllm.events import TextCodes

__all__ = ["OVERFLOW_TEXT", "Mining"]

OVERFLOW_TEXT = "<*> (too many different texts)"
# An eviction takes this share of what a service has, and goes on with the next service until it has made room for this
# share of all templates: it costs a pass over the keys, however many services share them.
_EVICTED_SHARE = 8
_ROOM_SHARE = 64


class Mining:
    """What the miner learns from messages; `Miner` is how it is asked.

    `on_new` is told of each new index, before anything is given out for it.
    """

    def __init__(self, max_templates: int, max_keys: int, max_new: int) -> None:
        self.max_templates = max_templates
        self.keys = Keys(max_keys)
        self.texts = Texts()
        self.ledger = Ledger()
        self.rooms = Rooms(max_new)
        self.pins = Pins()
        self.seen = 0
        self.overflow = -1
        self.shortcut = Shortcut()
        self.on_new: Callable[[int], None] | None = None

    def ids(
        self, messages: Sequence[str], codes: TextCodes | None, services: NDArray[np.int32] | None
    ) -> NDArray[np.int32]:
        n = len(messages)
        if n == 0:
            return np.empty(0, np.int32)
        if codes is None:
            batch = Batch(np.empty(n, np.int32), self.seen, services)
            self._resolve(batch, messages, np.arange(n))
        else:
            batch = Batch(self.shortcut.look_up(codes, self.keys), self.seen, services)
            missing = np.flatnonzero(batch.raw < 0)
            if len(missing):
                places, keys = self._resolve(batch, messages, missing)
                self.shortcut.learn(codes, places, keys, self.keys)
        self._commit(batch, n)
        self.seen += n
        return batch.out

    def _resolve(
        self, batch: Batch, messages: Sequence[str], places: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], list[bytes]]:
        """Find what the messages at these places are, in order. Returns the last of the places, with their keys."""
        n = len(messages)
        whole = len(places) == n
        texts, keys = keys_of(list(messages) if whole else [messages[at] for at in places.tolist()])
        while True:
            epoch = self.keys.epoch
            end = self._fill(batch, texts, keys, places)
            if self.keys.epoch == epoch:
                return places, keys
            if whole:
                texts, keys, places = texts[end:], keys[end:], places[end:]
            else:
                # What was known of the messages behind it is known no more.
                places = np.arange(places[end - 1] + 1, n)
                texts, keys, whole = list(messages)[n - len(places) :], [], True
                if texts:
                    texts, keys = keys_of(texts)
            if not texts:
                return places, keys

    def _fill(self, batch: Batch, messages: list[str], keys: list[bytes], places: NDArray[np.int64]) -> int:
        """Resolve what the table does not know. Stops behind a message that changed the table's epoch."""
        table = self.keys
        epoch = table.epoch
        young = table.young
        raw = np.fromiter(map(young.__getitem__, keys), np.int32, len(keys))
        batch.raw[places] = raw
        missing = np.flatnonzero(raw < 0)
        if not len(missing):
            return len(raw)
        shorts = without_hex([messages[row] for row in missing.tolist()])
        known = self._known_without_hex(raw, keys, missing, shorts)
        batch.raw[places[missing]] = known
        unknown = np.flatnonzero(known < 0).tolist()
        for which in unknown:
            row, short = int(missing[which]), shorts[which]
            key = keys[row]
            value = young[key]
            if value == MISSING and len(short) <= len(key):
                value = young[short]
            at = int(places[row])
            batch.raw[at] = value if value >= 0 else self._slow(batch, at, messages[row], key, short)
            if table.epoch != epoch:
                return row + 1
        return len(raw)

    def _known_without_hex(
        self, raw: NDArray[np.int32], keys: list[bytes], missing: NDArray[np.int64], shorts: list[bytes]
    ) -> NDArray[np.int32]:
        """What the table says of the missing ones that have hexadecimal identifiers, without them; negative else."""
        rows = zip(raw[missing].tolist(), missing.tolist(), shorts, strict=True)
        asked = [short if value == MISSING and len(short) <= len(keys[row]) else NO_KEY for value, row, short in rows]
        return np.fromiter(map(self.keys.young.__getitem__, asked), np.int32, len(asked))

    def _slow(self, batch: Batch, at: int, message: str, key: bytes, short: bytes) -> int:
        table = self.keys
        value = table.get(key)
        if value >= 0:
            return value
        if value == AMBIGUOUS:
            key = coded(key, message)
            value = table.get(key)
            if value >= 0:
                return value
        elif value == MISSING:
            record = record_key(key, message)
            if record is not None:
                key = record
                value = table.get(key)
                if value >= 0:
                    return value
            else:
                has_hex = len(short) <= len(key)
                if has_hex:
                    key = short
                    value = table.get(key)
                    if value >= 0:
                        return value
                if may_hold_code(key.removeprefix(b"\2")):  # that mark would hide a code at the begin
                    if not has_hex:
                        table.put(key, AMBIGUOUS)
                    key = coded(key, message)
                    value = table.get(key)
                    if value >= 0:
                        return value
        if value == OVERFLOWED and not self._has_room(batch, at):
            return self.overflow
        return self._learn(batch, at, message, key)

    def _learn(self, batch: Batch, at: int, message: str, key: bytes) -> int:
        """Find or make the template of a message whose key is not known."""
        text = printable(message)
        pinned = self.pins.find(text) if self.pins else None
        if pinned is not None:
            self.keys.put(key, pinned)
            return pinned
        masked = masked_record(text) or mask(text)
        node = self.texts.find(masked)
        if node is not None:
            index = node.index
        else:
            self._commit(batch, at)
            if not self._has_room(batch, at):
                self.keys.put(key, OVERFLOWED)
                return self._overflow_index()
            index = self._enter(masked, batch.service(at))
        self.keys.put(key, index)
        return index

    def _has_room(self, batch: Batch, at: int) -> bool:
        """Whether a new template may be made at this message; evicts unused ones where that makes room."""
        service = batch.service(at)
        if not self.rooms.get(service).open(batch.first + at):
            return False
        if self.ledger.alive >= self.max_templates:
            self._commit(batch, at)
            self._make_room(service)
        return True

    def _make_room(self, service: int) -> None:
        """Evict from the services that hold most: one that explodes pushes out its own."""
        left, taken = dict(self.ledger.held), Counter[int]()
        while left and taken.total() <= self.max_templates // _ROOM_SHARE:
            victim = max(left, key=lambda code: (left[code], code == service, code))
            number = max(1, left[victim] // _EVICTED_SHARE)
            taken[victim] += number
            left[victim] -= number
            if not left[victim]:
                del left[victim]
        if taken:
            self.evict([index for victim, number in taken.items() for index in self.ledger.oldest(victim, number)])

    def _enter(self, masked: Masked, service: int) -> int:
        ledger = self.ledger
        room = self.rooms.get(service)
        room.made += 1
        room.displaced += ledger.alive >= self.max_templates - self.max_templates // _EVICTED_SHARE
        index = ledger.add(" ".join(masked[0]), service)
        entered = self.texts.enter(masked, index)
        room.used += 1 - len(entered.absorbed)
        into = int(ledger.canonical[entered.into])
        for old in entered.absorbed:
            into = self.join(old, into)
        if self.on_new is not None:
            self.on_new(index)
        return into

    def join(self, old: int, new: int) -> int:
        """Let what `old` is now become what `new` is now; returns that. The user's own template stays what it is."""
        ledger = self.ledger
        old, new = int(ledger.canonical[old]), int(ledger.canonical[new])
        if ledger.state[old] == OWN:
            old, new = new, old
        if old != new and ledger.state[old] != OWN:
            ledger.merge(old, new)
        return new

    def evict(self, gone: list[int]) -> None:
        """Forget templates that are alive, with their texts and keys."""
        dead = self.ledger.evict(gone)
        self.texts.remove(dead)
        self.keys.forget(set(dead))

    def _overflow_index(self) -> int:
        if self.overflow < 0:
            self.overflow = self.ledger.add(OVERFLOW_TEXT, state=OWN)
        return self.overflow

    def _commit(self, batch: Batch, upto: int) -> None:
        """Give out and count what lies before `upto`, before something changes what an index means."""
        done = batch.done
        if upto > done:
            batch.out[done:upto] = self.ledger.count(batch.raw[done:upto], batch.first + done)
            batch.done = upto
