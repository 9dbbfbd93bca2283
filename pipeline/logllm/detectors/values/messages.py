"""What stands at the parameters of messages, of a sample: the first records of each key in each window."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.slices import BLOCK
from logllm.detectors.values.leading import leading
from logllm.detectors.values.places import Place, places_of, reading
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
_TURNS = 4
"""Keys whose template had nothing to read are looked at again after so many blocks: templates become more general."""


@dataclass(slots=True)
class Said:
    """What the sampled messages of some windows said.

    Shapes:
        numbers: (row, key, name, value), one each.
        words: (row, key, name) -> how often each word stood there.
    """

    numbers: list[tuple[int, int, str, float]] = field(default_factory=list)
    words: dict[tuple[int, int, str], dict[str, int]] = field(default_factory=dict)


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
        self._dull: set[int] = set()
        # What follows from the two above: made anew when either changes but by what is taken in.
        self._rooms: dict[int, NDArray[np.int8]] = {}
        self._records = 0
        self._read: tuple[int, int, Said] | None = None
        self.refused = 0

    def see(self, seen: Seen) -> None:
        """See `Reader.see`."""
        if not len(seen.keys):
            return
        window, most = seen.window, int(seen.keys.max())
        first, last = int(window.min()), int(window.max())
        for each in [first] if first == last else np.unique(window).tolist():
            here = None if first == last else np.flatnonzero(window == each)
            self._take(seen, each, here, self._room(each, most))
        self._records += len(seen.keys)

    def _take(self, seen: Seen, window: int, here: NDArray[np.int64] | None, room: NDArray[np.int8]) -> None:
        """The records at `here`, or all: those of a window."""
        keys = seen.keys if here is None else seen.keys[here]
        texts = self._open[window]
        was_full = len(texts) >= MOST_KEYS
        places = leading(keys, room)
        for place in (places if here is None else here[places]).tolist():
            key = int(seen.keys[place])
            kept = texts.get(key)
            if kept is None:
                if len(texts) >= MOST_KEYS:
                    continue
                kept = texts[key] = []
            kept.append((self._records + place, seen.columns.messages[place][:_LONGEST]))
            room[key] -= 1
        if len(texts) >= MOST_KEYS:
            if not was_full:
                room[room == SAMPLE] = _REFUSED
            self.refused += int((room[keys] == _REFUSED).sum())

    def _room(self, window: int, most: int) -> NDArray[np.int8]:
        """int8[> most], how many more messages of each key are taken in a window."""
        texts = self._open.setdefault(window, {})
        room = self._rooms.get(window)
        if room is None or len(room) <= most:
            size = max(most + 1, _LEAST_ROOM, 0 if room is None else 2 * len(room))
            room = np.full(size, SAMPLE if len(texts) < MOST_KEYS else _REFUSED, np.int8)
            for key, kept in texts.items():
                if key < size:
                    room[key] = SAMPLE - len(kept)
            room[[key for key in self._dull if key < size]] = 0
            self._rooms[window] = room
        return room

    def read(self, window_slice: Slice) -> Said:
        """What was said in a slice's windows; the same object when asked again."""
        first, rows = window_slice.first, len(window_slice)
        if self._read is None or self._read[:2] != (first, rows):
            self._read = (first, rows, self._take_apart(first, rows))
        return self._read[2]

    def _take_apart(self, first: int, rows: int) -> Said:
        said = Said()
        for window in sorted(self._open):
            if first <= window < first + rows:
                for key, texts in sorted(self._open[window].items()):
                    count, places = places_of(self._template(key))
                    if not places:
                        continue
                    for _, text in texts:
                        values = self._parameters(key, text)
                        if len(values) == count:
                            _note(said, window - first, key, places, values)
        return said

    def learn(self, window_slice: Slice) -> None:
        """The slice's windows are done: forget their messages."""
        self._rooms.clear()
        end = window_slice.first + len(window_slice)
        for window in [window for window in self._open if window < end]:
            self._dull |= {key for key in self._open.pop(window) if not places_of(self._template(key))[1]}
        self._read = None
        if window_slice.ends_block:
            turn = end // BLOCK % _TURNS
            again = {key for key in self._dull if key % _TURNS == turn and places_of(self._template(key))[1]}
            self._dull -= again

    def merge(self, old: int, new: int) -> None:
        """Messages of key `old` are of key `new`."""
        self._rooms.clear()
        for texts in self._open.values():
            if old in texts:
                texts[new] = sorted([*texts.pop(old), *texts.get(new, [])])[:SAMPLE]
        self._dull -= {old, new}

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone."""
        self._rooms.clear()
        for texts in self._open.values():
            for key in texts.keys() & set(keys):
                del texts[key]
        self._dull.difference_update(keys)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        texts = [
            [window, [[key, [list(each) for each in kept]] for key, kept in by_key.items()]]
            for window, by_key in self._open.items()
        ]
        return {"records": self._records, "dull": sorted(self._dull), "texts": texts, "refused": self.refused}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        try:
            self._records, self.refused = int(state["records"]), int(state["refused"])
            self._dull = {int(key) for key in state["dull"]}
            self._open = {
                int(window): {int(key): [(int(at), str(text)) for at, text in kept] for key, kept in by_key}
                for window, by_key in state["texts"]
            }
        except (LookupError, TypeError, ValueError) as error:
            raise StateError(f"saved messages are damaged: {error!r}") from error
        self._read = None
        self._rooms.clear()


def _note(said: Said, row: int, key: int, places: tuple[Place, ...], values: list[str]) -> None:
    for place in places:
        value = values[place.at]
        if place.kind == "word":
            counts = said.words.setdefault((row, key, place.name), {})
            counts[value] = counts.get(value, 0) + 1
        else:
            name, number = reading(place, value)
            if not math.isnan(number):
                said.numbers.append((row, key, name, number))
