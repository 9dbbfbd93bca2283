"""Odd windows: a service whose volume, mix and errors, taken together, are as they have not been."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.odd.followed import MOST_SERVICES
from logllm.detectors.odd.model import Model
from logllm.detectors.odd.neighbours import have_pyod
from logllm.detectors.odd.tails import Tails
from logllm.detectors.odd.vectors import FEATURES, Vectors
from logllm.detectors.packing import check_shapes, pack_array, unpack_array
from logllm.detectors.rolling import Rolling
from logllm.errors import StateError
from logllm.events import Anomaly, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.detectors.keys import Keys
    from logllm.detectors.slices import Slice

__all__ = ["FIT_BLOCKS", "KEPT_WINDOWS", "SWAP_BLOCKS", "OddWindows"]

KEPT_WINDOWS = 2880
"""Windows of each service that a model is fitted on: two days."""

FIT_BLOCKS = 16
"""A model is fitted each four hours,"""

SWAP_BLOCKS = 4
"""and comes into use an hour later, whenever it was ready."""

REBASE_BLOCKS = 8
"""After two hours of oddity it is learned."""

_STANDS_OUT = 3.0
_MOST_NAMED = 3


class OddWindows:
    """Finds windows of a service that no single count gives away: ratios that break, many things a little off at once.

    Each window of the MOST_SERVICES busiest services is a vector (`Vectors`), scored by a `Model` that was fitted on
    the last two days of windows, and judged by what its service has scored in a week (`Tails`). A model learns nothing
    from incidents' windows until they have lasted REBASE_BLOCKS; the tails learn from all, or what is odd each night
    would be so for ever. Says nothing of a service for its first two days, less an hour or two; knows no season longer
    than a day. Costs 0.4 s of CPU a day of windows, 0.65 s with pyod; state and memory about 4 MB.

    Of half-space trees, ECOD, COPOD, IForest, LODA, PCA, MCD and nearest neighbours only the last found more than the
    plain distance on all fleets (docs/decisions/0021); without pyod it is the distance alone.
    """

    kind = "odd"

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.vectors = Vectors(keys)
        self.tails = Tails()
        self._services = self.vectors.followed.services.copy()
        self._windows = Rolling(np.zeros((0, MOST_SERVICES, len(FEATURES)), np.float32), KEPT_WINDOWS)
        self._known = Rolling(np.zeros((0, MOST_SERVICES), np.bool_), KEPT_WINDOWS)
        self._open = np.zeros((0, MOST_SERVICES, len(FEATURES)), np.float32)
        self._held = np.zeros(MOST_SERVICES, np.bool_)
        self._highest = np.full(MOST_SERVICES, np.nan)
        self._model: Model | None = None
        self._next: Model | None = None
        self._age = 0
        self._odd_blocks = np.zeros(MOST_SERVICES, np.int64)
        self._judged: tuple[int, NDArray[np.float64], NDArray[np.float64]] | None = None

    @property
    def tested(self) -> int:
        """Services that are judged now: one test each."""
        return 0 if self._model is None else int((self.tails.ready & self._model.ready).sum())

    @property
    def learning(self) -> int:
        """Services that are followed and of which too little is known yet."""
        return int((self.vectors.followed.services >= 0).sum()) - self.tested

    def judge(self, window_slice: Slice, level: float) -> list[Anomaly]:
        """The odd windows; see `Detector`. `about` names what stands out most, in plain words, the first leading."""
        vectors, scores = self._score(window_slice)
        self._judged = (window_slice.first, vectors, scores)
        if self._model is None:
            return []
        tail = self.tails.probability(scores)
        found = []
        for row, place in np.argwhere(tail < level).tolist():
            off = self._model.scaled(vectors[row : row + 1])[0, place]
            found.append(self._anomaly(window_slice, row, place, off, float(tail[row, place])))
        return found

    def _score(self, window_slice: Slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # As they are kept: a model must not see more of a window when it judges than when it learns.
        vectors = self.vectors.of(window_slice).astype(np.float32).astype(np.float64)
        return vectors, np.full(vectors.shape[:2], np.nan) if self._model is None else self._model.score(vectors)

    def _anomaly(self, window_slice: Slice, row: int, place: int, off: NDArray[np.float64], tail: float) -> Anomaly:
        order = np.argsort(-np.abs(off), kind="stable")
        named = [int(each) for each in order[:_MOST_NAMED] if abs(off[each]) >= _STANDS_OUT] or [int(order[0])]
        leading = self.vectors.leading(window_slice, row, place, named[0])
        keys = leading.keys or self.vectors.followed.busiest(place)
        return Anomaly(
            kind=self.kind,
            window=window_slice.first + row,
            span=leading.span,
            service=int(self.vectors.followed.services[place]),
            key=keys[0],
            keys=keys,
            expected=leading.expected,
            seen=leading.seen,
            surprise=300.0 if tail <= 0.0 else min(300.0, -math.log10(tail)),
            severity=int(Severity.WARN),
            about=", ".join(FEATURES[each] for each in named),
        )

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        """Take the slice in; windows of services with held keys are no example."""
        judged, self._judged = self._judged, None
        if judged is None or judged[0] != window_slice.first:
            raise RuntimeError("learn() must follow judge() of the same slice")
        _, vectors, scores = judged
        if window_slice.gap:
            self._finish()
        if held.any():
            held_services = np.unique(self._keys.service[: len(held)][held])
            self._held |= np.isin(self.vectors.followed.services, held_services)
        self._open = np.concatenate([self._open, vectors.astype(np.float32)])
        self._highest = np.fmax(self._highest, np.fmax.reduce(scores, axis=0))
        self.vectors.learn(window_slice, held)
        if window_slice.ends_block:
            self._finish()
        self._clear(self.vectors.followed.services != self._services)

    def _finish(self) -> None:
        if not len(self._open):
            return
        self._odd_blocks = np.where(self._held, self._odd_blocks + 1, 0)
        held = self._held & (self._odd_blocks <= REBASE_BLOCKS)
        known = np.tile(~held & (self.vectors.followed.services >= 0), (len(self._open), 1))
        self._windows.append(self._open)
        self._known.append(known)
        self.tails.append(self._highest)
        self._open, self._held = self._open[:0], np.zeros(MOST_SERVICES, np.bool_)
        self._highest = np.full(MOST_SERVICES, np.nan)
        self._age += 1
        if self._next is not None and self._age % FIT_BLOCKS == SWAP_BLOCKS:
            self._model, self._next = self._next, None
        if self._age % FIT_BLOCKS == 0:
            model = Model.of(self._windows.rows, self._known.rows)
            self._next = model if model.ready.any() else None

    def _clear(self, places: NDArray[np.bool_]) -> None:
        """Other services stand in these places now."""
        if places.any():
            self._services = self.vectors.followed.services.copy()
            self._known.rows[:, places] = False
            self._held[places] = True
            self.tails.clear(places)
            for model in (self._model, self._next):
                if model is not None:
                    model.ready[places] = False

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        self.vectors.merge(old, new)

    def forget(self, keys: Sequence[int]) -> None:
        """See `Detector.forget`."""
        self.vectors.forget(keys)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy. Models are in it as what they were fitted on."""
        return {
            "vectors": self.vectors.state(),
            "tails": self.tails.state(),
            "model": None if self._model is None else self._model.state(),
            "next": None if self._next is None else self._next.state(),
            "age": self._age,
            "neighbours": have_pyod(),
            **{name: pack_array(getattr(self, f"_{name}").rows) for name in _KEPT},
            **{name: pack_array(getattr(self, f"_{name}")) for name in _ARRAYS if name not in _KEPT},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        try:
            self.vectors.restore(state["vectors"])
            self.tails.restore(state["tails"])
            model, following = (
                None if state[name] is None else Model.restored(state[name], len(FEATURES))
                for name in ("model", "next")
            )
            age = int(state["age"])
            arrays = {name: unpack_array(state[name], dtype) for name, dtype in _ARRAYS.items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"saved odd windows are damaged: {error}") from error
        shapes = {
            "windows": (len(arrays["known"]), MOST_SERVICES, len(FEATURES)),
            "known": (len(arrays["known"]), MOST_SERVICES),
            "open": (len(arrays["open"]), MOST_SERVICES, len(FEATURES)),
            "services": (MOST_SERVICES,),
            "held": (MOST_SERVICES,),
            "odd_blocks": (MOST_SERVICES,),
            "highest": (MOST_SERVICES,),
        }
        check_shapes("odd windows", arrays, shapes)
        for name, array in arrays.items():
            setattr(self, f"_{name}", Rolling(array, KEPT_WINDOWS) if name in _KEPT else array)
        self._model, self._next, self._age = model, following, age
        if state.get("neighbours") != have_pyod():
            # The scores so far are of another kind.
            self.tails.clear(np.ones(MOST_SERVICES, np.bool_))


_ARRAYS: dict[str, Any] = {
    "windows": np.float32,
    "known": np.bool_,
    "open": np.float32,
    "services": np.int64,
    "held": np.bool_,
    "odd_blocks": np.int64,
    "highest": np.float64,
}
_KEPT = ("windows", "known")
