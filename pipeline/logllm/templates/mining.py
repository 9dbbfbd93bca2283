"""From messages to template indices: a look-up for what is known, pins, masks and merge for what is new."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import compress, repeat
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from logllm.templates.batch import Batch
from logllm.templates.codes import holds_stem
from logllm.templates.keys import (
    AMBIGUOUS,
    MISSING,
    NO_KEY,
    OVERFLOWED,
    Keys,
    coded,
    keys_of,
    record_key,
    without_hex,
)
from logllm.templates.ledger import GONE, OWN, Ledger
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
    from logllm.templates.node import Node

__all__ = ["OVERFLOW_TEXT", "Mining"]

OVERFLOW_TEXT = "<*> (too many different texts)"
# The masks make a parameter of a piece that holds the first character of it.
_HIDDEN = "\x02secret"
# An eviction takes this share of what a service has, and goes on with the next service until it has made room for this
# share of all templates: it costs a pass over the keys, however many services share them.
_EVICTED_SHARE = 8
_ROOM_SHARE = 64
# So many that what is made of them stays in a core's cache; what lies behind an eviction is looked up again.
_AT_ONCE = 1_024


class Mining:
    """What the miner learns from messages; `Miner` is how it is asked.

    `on_new` is told of each new index, before anything is given out for it. `hide` replaces the secrets in a text by
    another text: it is asked about each text of a new template, and must depend on the text alone.
    """

    def __init__(
        self, max_templates: int, max_keys: int, max_new: int, hide: Callable[[str, str], str] | None = None
    ) -> None:
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
        self.hide = hide
        self._batch: Batch | None = None

    def ids(
        self, messages: Sequence[str], codes: TextCodes | None, services: NDArray[np.int32] | None
    ) -> NDArray[np.int32]:
        n = len(messages)
        if n == 0:
            return np.empty(0, np.int32)
        raw = np.empty(n, np.int32) if codes is None else self.shortcut.look_up(codes, self.keys)
        batch = self._batch = Batch(raw, self.seen, services)
        places = np.arange(n) if codes is None else np.flatnonzero(raw < 0)
        done = 0
        while done < len(places):
            epoch = self.keys.epoch
            some = places[done : done + _AT_ONCE]
            whole = len(places) == n
            texts, keys = keys_of(messages[done : done + _AT_ONCE] if whole else [messages[at] for at in some.tolist()])
            found = self._fill(batch, texts, keys, some)
            if codes is not None:
                self.shortcut.learn(codes, some[:found], keys, self.keys)
            done += found
            if self.keys.epoch != epoch and not whole:
                # What was known of the messages behind it is known no more.
                done = int(some[found - 1]) + 1
                places = np.arange(n)
        self._commit(batch, n)
        self._batch = None
        self.seen += n
        return batch.out

    def _fill(self, batch: Batch, messages: Sequence[str], keys: list[bytes], places: NDArray[np.int64]) -> int:
        """Resolve what the table does not know. Stops behind a message that changed the table's epoch."""
        table = self.keys
        epoch = table.epoch
        young = table.young
        raw = _values(young, keys)
        batch.raw[places] = raw
        missing = np.flatnonzero(raw < 0)
        if not len(missing):
            return len(raw)
        rows = missing.tolist()
        texts = [messages[row] for row in rows]
        keys = [keys[row] for row in rows]
        shorts = without_hex(texts)
        others = [short if len(short) <= len(key) else NO_KEY for short, key in zip(shorts, keys, strict=True)]
        values = raw[missing]
        opened = bool(table.sealed) and table.unseal(compress(keys, (values == MISSING).tolist()))
        if opened:
            values = _values(young, keys)
        for which in np.flatnonzero(values != MISSING).tolist():
            others[which] = coded(keys[which], texts[which]) if values[which] == AMBIGUOUS else NO_KEY
        if table.sealed:
            table.unseal(key for key in others if key != NO_KEY and key not in young)
        known = _values(young, others)
        if opened:
            known = np.where(values >= 0, values, known)
        batch.raw[places[missing]] = known
        for which in np.flatnonzero(known < 0).tolist():
            key, short = keys[which], shorts[which]
            value = young.get(key, MISSING)
            if value == MISSING and len(short) <= len(key):
                value = young.get(short, MISSING)
            at = batch.at = int(places[rows[which]])
            batch.raw[at] = value if value >= 0 else self._slow(batch, at, texts[which], key, short)
            if table.epoch != epoch:
                return rows[which] + 1
        return len(raw)

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
                if holds_stem(key.removeprefix(b"\2")):  # that mark would hide a code at the begin
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
            if not self._has_room(batch, at):
                self.keys.put(key, OVERFLOWED)
                return self._overflow_index()
            masked, node = self._without_secrets(text, masked)
            index = self._enter(masked, batch.service(at)) if node is None else node.index
        self.keys.put(key, index)
        return index

    def _without_secrets(self, text: str, masked: Masked) -> tuple[Masked, Node | None]:
        """What a new template is made of, and the one it already is, if there is one but for a secret in the text."""
        shown = text if self.hide is None else self.hide(text, _HIDDEN)
        if shown == text:
            return masked, None
        masked = masked_record(shown) or mask(shown)
        return masked, self.texts.find(masked)

    def _has_room(self, batch: Batch, at: int) -> bool:
        """Whether a new template may be made at this message; evicts unused ones where that makes room."""
        service = batch.service(at)
        if not self.rooms.get(service).open(batch.first + at):
            return False
        if self.ledger.alive >= self.max_templates:
            self._make_room(service)
        return True

    def _make_room(self, service: int) -> None:
        """Evict from the services that hold most: one that explodes pushes out its own."""
        self._settle()
        left = [(-held, code != service, -code) for code, held in self.ledger.held.items()]
        heapify(left)
        taken: dict[int, int] = {}
        total = 0
        while left and total <= self.max_templates // _ROOM_SHARE:
            held, other, code = heappop(left)
            number = max(1, -held // _EVICTED_SHARE)
            taken[-code] = taken.get(-code, 0) + number
            total += number
            if held + number:
                heappush(left, (held + number, other, code))
        if taken:
            self.evict(self.ledger.oldest(taken))

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
            self._settle()
            ledger.merge(old, new)
        return new

    def evict(self, gone: list[int]) -> None:
        """Forget templates that are alive, with their texts and keys."""
        self._settle()
        dead = self.ledger.evict(gone)
        self.texts.remove(dead)
        self.keys.forget(self.ledger.state == GONE)

    def _overflow_index(self) -> int:
        if self.overflow < 0:
            self.overflow = self.ledger.add(OVERFLOW_TEXT, state=OWN)
        return self.overflow

    def _settle(self) -> None:
        """Give out and count what lies before the message looked at, before something changes what an index means."""
        if self._batch is not None:
            self._commit(self._batch, self._batch.at)

    def _commit(self, batch: Batch, upto: int) -> None:
        """Give out and count what lies before `upto`."""
        done = batch.done
        if upto > done:
            batch.out[done:upto] = self.ledger.count(batch.raw[done:upto], batch.first + done)
            batch.done = upto


def _values(table: dict[bytes, int], keys: list[bytes]) -> NDArray[np.int32]:
    return np.fromiter(map(table.get, keys, repeat(MISSING)), np.int32, len(keys))
