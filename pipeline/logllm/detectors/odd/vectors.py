"""A window of a service as a vector: its volume, its mix, its errors, each against what is usual at that time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.odd.followed import MOST_KEYS, MOST_SERVICES, Followed
from logllm.detectors.odd.reading import PLACES, SHAPES, Rows, no_rows, read, sums_of
from logllm.detectors.odd.shares import Shares
from logllm.detectors.odd.usual import REACH, SPANS, Usual
from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.detectors.keys import Keys
    from logllm.detectors.slices import Slice

__all__ = ["FEATURES", "LEAST_SPREAD", "Leading", "Vectors"]

FEATURES = (
    "records",
    "records in a quarter of an hour",
    "many messages together",
    "messages apart",
    "messages apart in a quarter of an hour",
    "ratio of two messages",
    "ratio of two messages in a quarter of an hour",
    "mix of messages",
    "distinct messages",
    "new messages",
    "evenness of messages",
    "share of errors",
)
"""What each entry of a vector says, in its order."""

LEAST_SPREAD = np.array([0.5, 0.5, 0.5, 0.15, 0.15, 0.15, 0.15, 0.15, 1.0, 1.0, 1.0, 0.5])
"""Deviations of each entry that count as usual however steady it has been. What takes few values (one message fewer)
has quantiles that are all the same, and is odd only in comparison with its own deviation."""

_COLUMNS = MOST_SERVICES * (1 + MOST_KEYS)
_SPAN = (0, 2, 1, 0, 2, 1, 2, 2, 0, 0, 0, 1)
"""The span, in SPANS, of each entry."""

_OF_SHAPES = (8, 9, 10)
_MOST_OFF = 12.0
_PAIR_CORRELATION = 0.3
_PAIR_BLOCKS = 32
"""Blocks after which it is known which messages go together; then it is looked at anew each day."""

_KEEP_DAY = 0.5 ** (1.0 / 96.0)
_KEEP_SHAPES = 0.5 ** (1.0 / 24.0)
_ALL = -1
"""The partner of a key that goes with none: all that its service logs."""


@dataclass(frozen=True, slots=True)
class Leading:
    """What of a vector's entry stands out: keys, and records expected and seen in `span` windows."""

    keys: list[int]
    expected: float
    seen: float
    span: int


class Vectors:
    """Turns slices into vectors of len(FEATURES) numbers a service and window, about 0 where all is as usual.

    `of` changes nothing; `learn` follows it. Bounded: MOST_SERVICES services, MOST_KEYS keys of each. All entries are
    0 until a count has been learned from for an hour, ratios until _PAIR_BLOCKS blocks.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.followed = Followed(keys)
        self._usual = Usual(_COLUMNS)
        self._shares = Shares(_COLUMNS, SPANS)
        self._partner = np.full((MOST_SERVICES, MOST_KEYS), _ALL, np.int64)
        self._together = np.zeros((MOST_SERVICES, MOST_KEYS, MOST_KEYS))
        self._age = np.zeros(MOST_SERVICES)
        self._mean, self._square = np.zeros((MOST_SERVICES, SHAPES)), np.zeros((MOST_SERVICES, SHAPES))
        self._past, self._block = no_rows(REACH), no_rows()
        self._held = np.zeros(PLACES, np.bool_)
        self._read: tuple[Slice, Rows] | None = None
        self._known, self._end_ns, self._day = 0, 0, -1

    def of(self, window_slice: Slice) -> NDArray[np.float64]:
        """float64[b, MOST_SERVICES, len(FEATURES)]: the vectors of a slice, finite and within _MOST_OFF."""
        return self._vectors(self._history(window_slice), len(window_slice))

    def _history(self, window_slice: Slice) -> Rows:
        before = no_rows(REACH) if window_slice.gap else self._past + self._block
        return before.last(REACH) + self._rows_of(window_slice)

    def _rows_of(self, window_slice: Slice) -> Rows:
        """What is read of a slice: once, though it is asked for when it is judged and when it is learned."""
        if self._read is None or self._read[0] is not window_slice:
            self._read = window_slice, read(window_slice, self.followed, self._keys.service)
        return self._read[1]

    def _vectors(self, history: Rows, rows: int) -> NDArray[np.float64]:
        many = self.followed.places
        vectors = np.zeros((rows, MOST_SERVICES, len(FEATURES)))
        if many:
            followed = self.followed.services[:many, None] >= 0
            found = np.where(followed, self._of_places(history, rows, many), 0.0)
            np.clip(found, -_MOST_OFF, _MOST_OFF, out=vectors[:, :many])
        return vectors

    def _of_places(self, history: Rows, rows: int, many: int) -> NDArray[np.float64]:
        """float64[rows, many, len(FEATURES)]: the vectors of the first so many places."""
        apart, pairs = self._apart(history.counts[:, :many], rows), self._pairs(history, rows, many)
        ready = np.maximum((self.followed.keys[:many] >= 0).sum(axis=1), 1)
        keys = apart[..., 1:]
        shares = pairs[2][:, :, 1:]
        ratios = np.where(self._partner[:many] == _ALL, 0.0, pairs[..., 1:])
        shapes = self._shapes_off(history.shapes[-rows:])[:, :many]
        return np.stack(
            [
                apart[0][:, :, 0],
                apart[2][:, :, 0],
                keys[1].sum(axis=2) / np.sqrt(ready),
                _energy(keys[0], ready),
                _energy(keys[2], ready),
                np.abs(ratios[1]).max(axis=2),
                np.abs(ratios[2]).max(axis=2),
                _energy(shares, ready),
                shapes[:, :, 0],
                shapes[:, :, 1],
                shapes[:, :, 2],
                pairs[1][:, :, 0],
            ],
            axis=2,
        )

    def _apart(self, counts: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
        """float64[len(SPANS), rows, s, 1 + K]: deviations of each count's sums, each by itself, of the first places."""
        sums = sums_of(counts, SPANS, rows)
        return self._usual.off(sums.reshape(*sums.shape[:2], -1)).reshape(sums.shape)

    def _pairs(self, history: Rows, rows: int, many: int) -> NDArray[np.float64]:
        """float64[len(SPANS), rows, s, 1 + K]: of the share of errors, and of each key's share with its partner."""
        part, whole = (sums_of(each, SPANS, rows) for each in self._parts(history, many))
        flat = (*part.shape[:2], -1)
        return self._shares.off(part.reshape(flat), whole.reshape(flat)).reshape(part.shape)

    def _parts(self, history: Rows, many: int = MOST_SERVICES) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        counts, partner = history.counts[:, :many], self._partner[:many]
        alone = partner == _ALL
        other = counts[:, np.arange(many)[:, None], np.where(alone, 0, partner + 1)]
        whole = counts.copy()
        whole[:, :, 1:] = np.where(alone, other, counts[:, :, 1:] + other)
        part = counts.copy()
        part[:, :, 0] = history.severe[:, :many]
        return part, whole

    def _shapes_off(self, shapes: NDArray[np.float64]) -> NDArray[np.float64]:
        spread = np.sqrt(np.maximum(self._square - self._mean**2, 1e-2))
        return np.where(self._age[:, None] >= 4.0, (shapes - self._mean) / spread, 0.0)

    def leading(self, window_slice: Slice, row: int, place: int, feature: int) -> Leading:
        """What stands out in one entry of a slice's vectors."""
        history = self._history(window_slice)
        end = len(history) - len(window_slice) + row + 1
        history = Rows(history.counts[:end], history.severe[:end], history.shapes[:end]).last(1 + REACH)
        name, span = FEATURES[feature], _SPAN[feature]
        windows = SPANS[span]
        part, whole = (sums_of(each, (windows,), 1)[0, 0, place] for each in self._parts(history))
        keys = self.followed.keys[place]
        if name.startswith("ratio") or name == "share of errors":
            off = np.abs(self._pairs(history, 1, MOST_SERVICES)[span, 0, place])
            off[1:][self._partner[place] == _ALL] = 0.0
            column = 0 if name == "share of errors" else 1 + int(off[1:].argmax())
            expected = float(whole[column] * self._shares.share().reshape(PLACES)[place, column])
            mine = [] if column == 0 else [int(keys[column - 1]), int(keys[self._partner[place, column - 1]])]
            return Leading(mine, expected, float(part[column]), windows)
        if feature in _OF_SHAPES:
            shape = _OF_SHAPES.index(feature)
            now, usual = float(history.shapes[-1, place, shape]), float(self._mean[place, shape])
            back = (np.square, np.expm1, float)[shape]
            return Leading([], float(back(usual)), float(back(now)), 1)
        off = np.abs(self._apart(history.counts, 1)[span, 0, place])
        order = np.argsort(-off[1:], kind="stable")[:3]
        column = 0 if name.startswith(("records", "many")) else 1 + int(order[0])
        mean = windows * self._usual.mean.reshape(PLACES)[place, column]
        mine = [int(keys[each]) for each in order if keys[each] >= 0]
        seen = sums_of(history.counts, (windows,), 1)[0, 0, place, column]
        return Leading(mine, float(mean), float(seen), windows)

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """Take the slice in. Shapes: held: bool[k], keys that are no example of what is normal."""
        if window_slice.gap:
            self._finish()
            self._past, self._known = no_rows(REACH), 0
            self._usual.expect(window_slice.start_ns)
        self._block, self._read = self._block + self._rows_of(window_slice), None
        self.followed.count(window_slice.counts)
        if held.any():
            inside = (self.followed.keys >= 0) & (self.followed.keys < len(held))
            self._held[:, 1:] |= inside & held[np.where(inside, self.followed.keys, 0)]
            self._held[:, 0] |= np.isin(self.followed.services, self._keys.service[: len(held)][held])
        self._end_ns = window_slice.end_ns
        if window_slice.ends_block:
            self._finish()

    def _finish(self) -> None:
        rows = len(self._block)
        if rows:
            self._take(rows)
            self._past, self._block = (self._past + self._block).last(REACH), no_rows()
            self._known = min(REACH, self._known + rows)
        day = self._end_ns // _DAY_NS
        self._clear(self.followed.choose(anew=day != self._day))
        self._day = day
        self._held = np.zeros(PLACES, np.bool_)

    def _take(self, rows: int) -> None:
        quiet = ~self._held & (np.column_stack([self.followed.services, self.followed.keys]) >= 0)
        many = self.followed.places
        apart = self._apart((self._past + self._block).counts[:, :many], rows)[0, :, :, 1:]
        cut = np.where(quiet[:many, 1:], np.clip(apart, -3.0, 3.0), 0.0)
        self._together *= _KEEP_DAY
        self._together[:many] += np.einsum("wsi,wsj->sij", cut, cut)
        part, whole = (each.reshape(rows, _COLUMNS) for each in self._parts(self._block))
        self._shares.learn(part, whole, quiet.ravel(), 4.0)
        counts = (self._past + self._block).counts.reshape(-1, _COLUMNS)
        self._usual.learn(self._end_ns, counts, quiet.ravel(), self._known)
        mine = quiet[:, 0]
        self._age[mine] += 1.0
        keep = np.minimum(_KEEP_SHAPES, 1.0 - 1.0 / np.maximum(self._age, 1.0))[:, None]
        spread = 4.0 * np.sqrt(np.maximum(self._square - self._mean**2, 1e-2))
        known = self._age[:, None] > 4.0
        shapes = np.where(
            known, np.clip(self._block.shapes, self._mean - spread, self._mean + spread), self._block.shapes
        )
        for array, new in ((self._mean, shapes.mean(axis=0)), (self._square, (shapes**2).mean(axis=0))):
            array[mine] = (array * keep + new * (1.0 - keep))[mine]
        again = mine & (self._age % _PAIR_BLOCKS == 0) & ((self._age == _PAIR_BLOCKS) | (self._age % 96 == 0))
        if again.any():
            self._pair(again)

    def _pair(self, places: NDArray[np.bool_]) -> None:
        """Find anew which keys go together."""
        spread = np.sqrt(np.maximum(np.einsum("sii->si", self._together), 1e-9))
        correlation = self._together / (spread[:, :, None] * spread[:, None, :])
        np.einsum("sii->si", correlation)[:] = 0.0
        best = correlation.argmax(axis=2)
        partner = np.where(correlation.max(axis=2) >= _PAIR_CORRELATION, best, _ALL)
        moved = (partner != self._partner) & places[:, None]
        self._partner[moved] = partner[moved]
        self._shares.clear(np.column_stack([np.zeros(MOST_SERVICES, np.bool_), moved]).ravel())

    def _clear(self, moved: NDArray[np.bool_]) -> None:
        self._read = None
        if not moved.any():
            return
        self._usual.clear(moved.ravel())
        self._shares.clear(moved.ravel())
        for rows in (self._past, self._block):
            rows.counts[:, moved] = 0.0
        self._partner[moved[:, 1:]] = _ALL
        places, keys = np.nonzero(moved[:, 1:])
        self._together[places, keys, :] = 0.0
        self._together[places, :, keys] = 0.0
        whole = moved[:, 0]
        self._age[whole] = 0.0
        self._mean[whole], self._square[whole] = 0.0, 0.0

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`, which from then on is another count: it is followed from the start."""
        self.followed.merge(old, new)
        self._clear(np.column_stack([np.zeros(MOST_SERVICES, np.bool_), np.isin(self.followed.keys, (new, -1))]))

    def forget(self, keys: Sequence[int]) -> None:
        """Keys are gone for good."""
        gone = np.column_stack([np.zeros(MOST_SERVICES, np.bool_), np.isin(self.followed.keys, keys)])
        self.followed.forget(keys)
        self._clear(gone)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy, the open block included."""
        return {
            "followed": self.followed.state(),
            "usual": self._usual.state(),
            "shares": self._shares.state(),
            "past": self._past.state(),
            "block": self._block.state(),
            **{name: pack_array(getattr(self, f"_{name}")) for name in _ARRAYS},
            **{name: getattr(self, f"_{name}") for name in _NUMBERS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        try:
            for name, part in (("followed", self.followed), ("usual", self._usual), ("shares", self._shares)):
                part.restore(state[name])
            self._past, self._block = Rows.restored(state["past"]), Rows.restored(state["block"])
            for name in _NUMBERS:
                setattr(self, f"_{name}", int(state[name]))
            arrays = {name: unpack_array(state[name], getattr(self, f"_{name}").dtype) for name in _ARRAYS}
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"saved odd windows are damaged: {error}") from error
        if len(self._past) != REACH:
            raise StateError(f"saved odd windows: {len(self._past)} windows past, expected {REACH}")
        check_shapes("odd windows", arrays, {name: getattr(self, f"_{name}").shape for name in arrays})
        for name, array in arrays.items():
            setattr(self, f"_{name}", array)
        self._read = None


def _energy(off: NDArray[np.float64], ready: NDArray[np.int64]) -> NDArray[np.float64]:
    """The root of the mean square of what a service's keys are off."""
    energy: NDArray[np.float64] = np.sqrt((off**2).sum(axis=2) / ready)
    return energy


_DAY_NS = 86_400_000_000_000
_ARRAYS = ("partner", "together", "age", "mean", "square", "held")
_NUMBERS = ("known", "end_ns", "day")
