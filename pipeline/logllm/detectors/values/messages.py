"""What stands at the parameters of messages, of a sample: the first records of each key in each window."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from logllm.detectors.slices import BLOCK
from logllm.detectors.values.apart import apart, readings
from logllm.detectors.values.leading import leading
from logllm.detectors.values.places import places_of
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from logllm.detectors.contract import Seen
    from logllm.detectors.slices import Slice

__all__ = ["SAMPLE", "Messages", "Said"]

SAMPLE = 32
"""Records of a key that are read in a window: taking a message apart costs some microseconds."""

MOST_KEYS = 512
"""Keys with a sample in a window: the first that come. 5 MB at the most, of messages of usual length."""

_LONGEST = 1024
_REFUSED = -1
_LEAST_ROOM = 256
_FEW = 128
"""Up to so many records of a window are gone through one by one: that is as fast as all together."""
_TURNS = 4
"""Keys whose template had nothing to read are looked at again after so many blocks: templates become more general."""
_MOST_AGAIN = 512
"""No more keys than about so many are looked at again in a block, where there are very many a few at a time."""


class Numbers(NamedTuple):
    """What was measured by one name in messages of a key: the window of each number, rising, and the number."""

    key: int
    name: str
    rows: list[int]
    values: list[float]


@dataclass(slots=True)
class Said:
    """What the sampled messages of some windows said.

    Attributes:
        numbers: In the order in which their first windows come.
        words: (row, key, name) -> how often each word stood there.
        dull: Keys in whose messages nothing is read.
    """

    numbers: list[Numbers] = field(default_factory=list)
    words: dict[tuple[int, int, str], dict[str, int]] = field(default_factory=dict)
    dull: list[int] = field(default_factory=list)

    def note(self, key: int, name: str, rows: list[int], column: Sequence[str]) -> None:
        """Count words; of each the window is given, rising."""
        before, counts = -1, {}
        for row, word in zip(rows, column, strict=True):
            if row != before:
                before, counts = row, self.words.setdefault((row, key, name), {})
            counts[word] = counts.get(word, 0) + 1


class Messages:
    """Keeps the first messages of each key in each window until it closes, and takes them apart then.

    They are read when the window closes, as the templates are then: what stands at a parameter must not depend on how
    much of a chunk the miner had seen. A template that becomes more general within a block is the one exception, where
    a past is read block by block.

    Args:
        parameters: What stands at each parameter of a message of a key, in order; fewer or none where it does not fit.
        template: A key's template, parameters as `<type>`.
    """

    def __init__(self, parameters: Callable[[int, str], list[str]], template: Callable[[int], str]) -> None:
        self._parameters = parameters
        self._template = template
        self._open: dict[int, dict[int, list[tuple[int, str]]]] = {}
        self._dull = np.zeros(_LEAST_ROOM, np.bool_)
        # What follows from the two above: made anew when either changes but by what is taken in.
        self._rooms: dict[int, NDArray[np.int8]] = {}
        self._records = 0
        self._read: tuple[int, int, Said] | None = None
        self.refused = 0

    def see(self, seen: Seen) -> None:
        """See `Reader.see`."""
        keys, window = seen.keys, seen.window
        if not len(keys):
            return
        self._make_room(int(keys.max()))
        here = np.flatnonzero(~self._dull.take(keys))
        if len(here):
            window = window[here]
            if (window[1:] < window[:-1]).any():
                here = here[np.argsort(window, kind="stable")]
                window = seen.window[here]
            begins = [0, *(np.flatnonzero(window[1:] != window[:-1]) + 1).tolist()]
            for begin, end in zip(begins, [*begins[1:], len(here)], strict=True):
                number = int(window[begin])
                if end - begin <= _FEW:
                    self.refused += self._put(seen, self._open.setdefault(number, {}), here[begin:end])
                    self._rooms.pop(number, None)
                else:
                    self._take(seen, number, here[begin:end], self._room(number))
        self._records += len(keys)

    def _put(self, seen: Seen, texts: dict[int, list[tuple[int, str]]], places: NDArray[np.int64]) -> int:
        """Keep some messages of a window, as there is room; how many are of keys that found none."""
        messages, before, refused = seen.columns.messages, self._records, 0
        for key, place in zip(seen.keys[places].tolist(), places.tolist(), strict=True):
            kept = texts.get(key)
            if kept is None:
                if len(texts) >= MOST_KEYS:
                    refused += 1
                    continue
                kept = texts[key] = []
            if len(kept) < SAMPLE:
                kept.append((before + place, messages[place][:_LONGEST]))
        return refused

    def _take(self, seen: Seen, window: int, here: NDArray[np.int64], room: NDArray[np.int8]) -> None:
        """The records at `here`, all of one window."""
        keys = seen.keys[here]
        texts = self._open[window]
        was_full = len(texts) >= MOST_KEYS
        places = here[leading(keys, room)]
        if len(places):
            self._put(seen, texts, places)
            taken = [key for key in set(seen.keys[places].tolist()) if key in texts]
            room[taken] = [SAMPLE - len(texts[key]) for key in taken]
        if len(texts) >= MOST_KEYS:
            if not was_full:
                room[room == SAMPLE] = _REFUSED
            self.refused += int((room[keys] == _REFUSED).sum())

    def _room(self, window: int) -> NDArray[np.int8]:
        """int8[k], how many more messages of each key are taken in a window."""
        texts = self._open.setdefault(window, {})
        room = self._rooms.get(window)
        if room is None or len(room) < len(self._dull):
            room = np.full(len(self._dull), SAMPLE if len(texts) < MOST_KEYS else _REFUSED, np.int8)
            room[list(texts)] = [SAMPLE - len(kept) for kept in texts.values()]
            room[self._dull] = 0
            self._rooms[window] = room
        return room

    def _make_room(self, most: int) -> None:
        """Let `_dull` know keys up to `most`."""
        more = most + 1 - len(self._dull)
        if more > 0:
            self._dull = np.pad(self._dull, (0, max(more, len(self._dull))))

    def read(self, window_slice: Slice) -> Said:
        """What was said in a slice's windows; the same object when asked again."""
        first, rows = window_slice.first, len(window_slice)
        if self._read is None or self._read[:2] != (first, rows):
            self._read = (first, rows, self._take_apart(first, rows))
        return self._read[2]

    def _take_apart(self, first: int, rows: int) -> Said:
        said = Said()
        by_key: dict[int, tuple[list[int], list[str]]] = {}
        for window in sorted(self._open):
            if first <= window < first + rows:
                for key, kept in self._open[window].items():
                    where, texts = by_key.setdefault(key, ([], []))
                    where += [window - first] * len(kept)
                    texts += [text for _, text in kept]
        for key, (where, texts) in sorted(by_key.items()):
            template = self._template(key)
            if not places_of(template)[1]:
                said.dull.append(key)
                continue
            one = apart(template)
            fit, columns = one.columns(texts, partial(self._parameters, key))
            where = where if len(fit) == len(where) else [where[at] for at in fit]
            for place, column in zip(one.places, columns, strict=True):
                if place.kind == "word":
                    said.note(key, place.name, where, column)
                else:
                    for name, (at, numbers) in readings(place, column).items():
                        rows_of = where if len(at) == len(where) else [where[each] for each in at]
                        said.numbers.append(Numbers(key, name, rows_of, numbers))
        # In this order series find room, however many windows are read together.
        said.numbers.sort(key=lambda numbers: (numbers.rows[0], numbers.key))
        return said

    def learn(self, window_slice: Slice) -> None:
        """The slice's windows are done: forget their messages."""
        end = window_slice.first + len(window_slice)
        if any(window < end for window in self._open):
            self._be_dull(self.read(window_slice).dull)
            for window in [window for window in self._open if window < end]:
                del self._open[window]
                self._rooms.pop(window, None)
        self._read = None
        if window_slice.ends_block:
            turns = max(_TURNS, int(self._dull.sum()) // _MOST_AGAIN)
            turn = end // BLOCK % turns
            again = [
                key
                for key in (np.flatnonzero(self._dull[turn::turns]) * turns + turn).tolist()
                if places_of(self._template(key))[1]
            ]
            if again:
                self._dull[again] = False
                self._rooms.clear()

    def _be_dull(self, keys: Sequence[int]) -> None:
        """Nothing is read in messages of these keys."""
        if keys:
            self._make_room(max(keys))
            self._dull[keys] = True
            self._rooms.clear()

    def merge(self, old: int, new: int) -> None:
        """Messages of key `old` are of key `new`."""
        self._rooms.clear()
        for texts in self._open.values():
            if old in texts:
                texts[new] = sorted([*texts.pop(old), *texts.get(new, [])])[:SAMPLE]
        self._make_room(max(old, new))
        self._dull[[old, new]] = False

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone."""
        self._rooms.clear()
        for texts in self._open.values():
            for key in texts.keys() & set(keys):
                del texts[key]
        self._dull[[key for key in keys if key < len(self._dull)]] = False

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        texts = [
            [window, [[key, [list(each) for each in kept]] for key, kept in by_key.items()]]
            for window, by_key in self._open.items()
        ]
        return {
            "records": self._records,
            "dull": np.flatnonzero(self._dull).tolist(),
            "texts": texts,
            "refused": self.refused,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        try:
            self._records, self.refused = int(state["records"]), int(state["refused"])
            dull = [int(key) for key in state["dull"]]
            self._open = {
                int(window): {int(key): [(int(at), str(text)) for at, text in kept] for key, kept in by_key}
                for window, by_key in state["texts"]
            }
        except (LookupError, TypeError, ValueError) as error:
            raise StateError(f"saved messages are damaged: {error!r}") from error
        known = [*dull, *(key for texts in self._open.values() for key in texts)]
        if min(known, default=0) < 0:
            raise StateError("saved messages are damaged: a key is negative")
        self._read = None
        self._rooms.clear()
        self._dull = np.zeros(max([_LEAST_ROOM - 1, *known]) + 1, np.bool_)
        self._dull[dull] = True
