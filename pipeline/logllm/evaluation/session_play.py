"""Sessions judged as their events come, by the scoring that `SessionNovelty` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.sessions.opened import KEY_BITS, Opened
from logllm.detectors.sessions.rarity import Rarity
from logllm.templates.miner import Miner

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Play"]


class Play:
    """Takes events in, window by window, and keeps what each session came to.

    Args:
        last: The last window of each session. Shape: int64[n].
        warm_up: Sessions that must have ended before one is judged.
        idle_windows: Judge a session when it has been idle for so long; None: with the window of its last event.
        is_text: Whether events are messages to be mined, or ids.
        scoring: What judges; another one to compare with.

    Attributes:
        tails: float64[n], the smallest tail a session was judged by, 1.0 where it was not.
        judged, flagged: bool[n], whether it was judged after the warm-up, and found odd then.
        rank: int64[n], its place among those that have ended, -1 where it has not.
    """

    def __init__(
        self,
        last: NDArray[np.int64],
        *,
        warm_up: int,
        idle_windows: int | None,
        is_text: bool,
        scoring: type[Rarity] = Rarity,
    ) -> None:
        self._last, self._warm_up, self._idle_windows = last, warm_up, idle_windows
        self._miner = Miner() if is_text else None
        self._ids: dict[str, int] = {}
        self._opened = Opened()
        self.rarity = scoring(warm_up=warm_up)
        self.tails = np.ones(len(last))
        self.judged = np.zeros(len(last), np.bool_)
        self.flagged = np.zeros(len(last), np.bool_)
        self.rank = np.full(len(last), -1, np.int64)
        self._ended = 0
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []

    @property
    def templates(self) -> int:
        """Kinds of event met."""
        return len(self._ids) if self._miner is None else len(self._miner)

    def take(self, windows: NDArray[np.int64], slots: NDArray[np.int64], events: list[str]) -> None:
        """Events in order; all windows but the last of them are over then.

        Shapes:
            windows, slots: int64[e], not falling; and the session of each event.
        """
        self._waiting.append((windows, slots, self._keys(events)))
        self._judge_before(int(windows[-1]))

    def finish(self) -> None:
        """There are no more events."""
        if self._waiting:
            end = int(self._waiting[-1][0][-1]) + 1
            self._judge_before(end)
            if self._idle_windows is not None:
                self._judge(np.flatnonzero((self._opened.records > 0) & ~self._opened.judged))

    def _keys(self, events: list[str]) -> NDArray[np.int64]:
        if self._miner is None:
            ids = self._ids
            return np.array([ids.setdefault(event, len(ids)) for event in events], np.int64)
        keys = self._miner.ids(events).astype(np.int64)
        changes = self._miner.drain_changes()
        for old, new in changes.merged:
            self._opened.merge(old, new)
            self.rarity.merge(old, new)
        if changes.evicted:
            self._opened.forget(changes.evicted)
            self.rarity.forget(changes.evicted)
        return keys

    def _judge_before(self, end: int) -> None:
        windows, slots, keys = (np.concatenate(each) for each in zip(*self._waiting, strict=True))
        over = int(np.searchsorted(windows, end))
        self._waiting = [(windows[over:], slots[over:], keys[over:])] if over < len(windows) else []
        if not over:
            return
        windows, slots, keys = windows[:over], slots[:over], keys[:over]
        if self._miner is not None:
            distinct, which = np.unique(keys, return_inverse=True)
            keys = np.array([self._miner.canonical(key) for key in distinct.tolist()], np.int64)[which]
        starts = np.flatnonzero(np.append(True, windows[1:] != windows[:-1]))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), over], strict=True):
            self._window(int(windows[start]), slots[start:stop], keys[start:stop])

    def _window(self, window: int, slots: NDArray[np.int64], keys: NDArray[np.int64]) -> None:
        if self._idle_windows is not None:
            self._judge(self._opened.idle(window, self._idle_windows))
        cells, counts = np.unique(slots << KEY_BITS | keys, return_counts=True)
        # All sessions of a file are compared with each other.
        one = np.zeros(len(self._ids) if self._miner is None else self._miner.size, np.int32)
        begun, shown, came = self._opened.take(window, cells, counts, one)
        self.rarity.show(begun, shown, len(slots), came, one)
        if self._idle_windows is None:
            here = np.unique(slots)
            ended = here[self._last[here] == window]
            self._judge(ended)
            self._opened.drop(ended)

    def _judge(self, slots: NDArray[np.int64]) -> None:
        if not len(slots):
            return
        found = self.rarity.judge(self._opened.courses(slots))
        self._opened.judged[slots] = True
        places = self._ended + np.arange(len(slots))
        fresh = self.rank[slots] < 0
        self.rank[slots[fresh]] = places[fresh]
        self._ended += len(slots)
        ready = places >= self._warm_up
        self.judged[slots] |= ready
        self.flagged[slots] |= found.odd & ready
        self.tails[slots[ready]] = np.minimum(self.tails[slots], found.tail)[ready]
        self.rarity.learn(found)
