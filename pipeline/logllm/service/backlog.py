"""What happened to incidents, in memory until the dispatcher has it: an instant, or until the disk takes it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from logllm.errors import StateError
from logllm.events import Explanation, IncidentEvent
from logllm.notify.notification import Answer

if TYPE_CHECKING:
    from logllm.notify.dispatch.dispatcher import Dispatcher

__all__ = ["Backlog", "News"]

News = IncidentEvent | Explanation | Answer

_MOST = 100_000

_log = logging.getLogger("logllm.notify")


class Backlog:
    """Kept in order and handed over in order, events in a row together. Safe to use from several threads.

    Attributes:
        lost: For which there was no room, and at which the dispatcher failed by a bug of ours.
    """

    def __init__(self, dispatcher: Dispatcher, clock: Callable[[], float]) -> None:
        self.lost = 0
        self._dispatcher = dispatcher
        self._clock = clock
        self._waiting: deque[News] = deque()
        self._lock = threading.Lock()
        # Held while the disk is waited for, which `put` does not.
        self._handing = threading.Lock()
        self._singly = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, news: Sequence[News]) -> None:
        """Keep news behind what waits."""
        with self._lock:
            room = _MOST - len(self._waiting)
            self._waiting.extend(news[:room])
            left_out = max(0, len(news) - room)
            self.lost += left_out
        if left_out:
            _log.error("the outbox takes nothing and too much waits: %d alerts are lost", left_out)

    def hand_over(self) -> None:
        """Give the dispatcher all that waits. Raises StateError: what it did not take goes on waiting."""
        with self._handing:
            while batch := self._head():
                try:
                    self._give(batch)
                except StateError:
                    raise
                except Exception:  # noqa: BLE001 - one that a bug of ours fails at must not keep all others back
                    _log.exception("a bug in the dispatcher")
                    self._singly = len(batch) > 1
                    if self._singly:
                        continue
                    self.lost += 1
                with self._lock:
                    for _ in batch:
                        self._waiting.popleft()

    def _head(self) -> list[News]:
        with self._lock:
            events = list(takewhile(_is_event, self._waiting))
            return list(islice(self._waiting, 1)) if self._singly or not events else events

    def _give(self, batch: Sequence[News]) -> None:
        now_s, first = self._clock(), batch[0]
        if isinstance(first, Answer):
            self._dispatcher.answer(first, now_s)
        elif isinstance(first, Explanation):
            self._dispatcher.explained(first, now_s)
        else:
            self._dispatcher.accept([event for event in batch if isinstance(event, IncidentEvent)], now_s)


def _is_event(news: object) -> bool:
    return isinstance(news, IncidentEvent)
