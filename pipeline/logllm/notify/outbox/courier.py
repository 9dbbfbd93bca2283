"""One destination's thread: sends what waits in the outbox, in order, again and again until it has arrived."""

from __future__ import annotations

import logging
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from logllm.egress import about
from logllm.errors import DeliveryError, NotifyError, StateError
from logllm.notify.outbox.backoff import Backoff
from logllm.notify.outbox.tables import noted

if TYPE_CHECKING:
    from logllm.notify.destination import Destination
    from logllm.notify.outbox.outbox import Outbox, Waiting

__all__ = ["Courier", "CourierStats"]

# A person may have requeued a dead letter from another process, which cannot wake us.
_LOOK_EVERY_S = 2.0
# The clock may have been set meanwhile.
_LONGEST_WAIT_S = 60.0
_LONGEST_HOLD_S = 86_400.0
_TRIES_OF_A_BUG = 3
_JOIN_S = 0.5
_UNDER_WAY_S = 2.0
# Incidents of a digest that are named where it is written down what was sent.
_ABOUT = 20

_T = TypeVar("_T")

_log = logging.getLogger("logllm.notify")


class CourierStats:
    """What became of one destination's messages since the start; plain numbers, read at any time.

    Attributes:
        sent: Taken by the receiver.
        skipped: That needed no sending: nothing to tell, or a newer one told it.
        failed: Tries, by the error's kind.
        dead: Given up.
        queued: Waiting now.
        oldest_s: Since when the oldest of them waits, Unix time; None where nothing waits.
        failing: Why nothing gets through at present; None where it does.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.skipped = 0
        self.failed: Counter[str] = Counter()
        self.dead = 0
        self.queued = 0
        self.oldest_s: float | None = None
        self.failing: str | None = None


class Courier:
    """Sends one destination's messages, one at a time.

    What fails is tried again with growing pauses, or after the pause that the receiver asks for, and what is behind it
    waits: order is kept. What can never arrive, or has waited too long, becomes a dead letter. Killed at any moment,
    at most the one message under way is sent twice, with the same id.

    Args:
        destination: Called from one thread only, and closed by it at the end.
        clock: Unix time in seconds.
        wait: Waits for the event, at most so many seconds.
        jitter: Gives 0 to 1.
    """

    def __init__(
        self,
        destination: Destination,
        outbox: Outbox,
        *,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.stats = CourierStats()
        self.name = destination.name
        self._destination = destination
        self._outbox = outbox
        self._backoff = backoff
        self._clock = clock
        self._wait = wait
        self._jitter = jitter
        self._woken = threading.Event()
        self._closing_at: float | None = None
        self._thread: threading.Thread | None = None
        # What came of the last try, until the outbox has it: nothing else is sent before.
        self._outcome: Callable[[], None] | None = None
        self._failures = 0
        self._state_failures = 0
        self._bug: tuple[str, int] = ("", 0)

    def start(self, after: Courier | None = None) -> None:
        """Begin, in a thread of its own.

        Args:
            after: Who sent to this destination before, and was told to end: what it has under way ends first, or it
                would be sent twice.
        """
        self._thread = threading.Thread(target=self._run, args=(after,), name=f"courier {self.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._woken.set()

    def end(self, grace_s: float) -> None:
        """Begin to end; what can be sent without a failure within `grace_s` still is. The rest stays in the outbox.

        A second call does nothing.
        """
        if self._closing_at is not None:
            return
        self._closing_at = time.monotonic() + grace_s
        self._woken.set()
        if self._thread is None:
            self._destination.close()

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is under way."""
        return self._thread is None or not self._thread.is_alive()

    def close(self, grace_s: float) -> None:
        """End and wait for that; it returns in time even where a receiver keeps the thread waiting."""
        self.end(grace_s)
        self._join(max(0.0, (self._closing_at or 0.0) + _JOIN_S - time.monotonic()))

    def _join(self, timeout_s: float) -> None:
        if self._thread is not None:
            self._thread.join(timeout_s)
        if not self.has_ended:
            _log.warning("%s: still sending, left alone; what is under way is sent again", self.name)

    def step(self) -> float | None:
        """Do what is due; the seconds until there is more to do, None where nothing waits. For the one thread."""
        try:
            pause_s = self._step()
        except StateError as error:
            return self._without_outbox(str(error))
        if self._state_failures:
            self._state_failures = 0
            _log.warning("%s: the outbox works again", self.name)
            if not self._failures:
                self.stats.failing = None
        return pause_s

    def _run(self, after: Courier | None) -> None:
        try:
            if after is not None:
                after._join(_UNDER_WAY_S)
                if self._closing_at is not None and time.monotonic() >= self._closing_at:
                    return
            while True:
                self._woken.clear()
                try:
                    pause_s = self.step()
                except Exception:  # noqa: BLE001 - a bug of ours may silence alerts for a pause, not for ever
                    _log.exception("%s: a bug in the courier", self.name)
                    pause_s = self._without_outbox("a bug in the courier")
                if self._closing_at is not None and self._is_over(pause_s, self._closing_at):
                    return
                self._wait(self._woken, _LOOK_EVERY_S if pause_s is None else min(pause_s, _LONGEST_WAIT_S))
        finally:
            self._destination.close()

    def _is_over(self, pause_s: float | None, closing_at: float) -> bool:
        if pause_s is None or time.monotonic() + pause_s >= closing_at:
            return True
        # What was taken and is not yet written down would be sent again.
        return self._outcome is None and bool(self._failures or self._state_failures)

    def _step(self) -> float | None:
        self._record()
        stats = self.stats
        stats.queued, stats.oldest_s = self._outbox.waiting(self.name)
        waiting = self._outbox.next(self.name)
        if waiting is None:
            return None
        newer = self._outbox.newer(waiting) if self._destination.edits else None
        if newer is not None:
            self._skip(waiting, f"superseded by {newer}")
            return 0.0
        pause_s = self._due_in_s(waiting)
        if pause_s > 0.0:
            return pause_s
        self._try(waiting)
        self._record()
        return 0.0

    def _due_in_s(self, waiting: Waiting) -> float:
        now_s, pace_s = self._clock(), self._destination.pause_s
        # No clock that was set back makes a pause longer than it was meant to be.
        after_last_s = min(waiting.last_sent_s + pace_s - now_s, pace_s)
        held_s = min(waiting.not_before_s - now_s, waiting.not_before_s - waiting.last_sent_s)
        return max(after_last_s, held_s)

    def _try(self, waiting: Waiting) -> None:
        told = waiting.notification
        takes = self._asked(waiting, lambda: self._destination.takes(told))
        if takes is None:
            return
        if not takes[0]:
            self._skip(waiting, "nothing in it for this destination")
            return
        self._outbox.begin(waiting.id, self._clock())
        ref = self._outbox.ref(self.name, told.thread)
        with about(" ".join([told.id, *(one.id for one in told.incidents[:_ABOUT])])):
            sent = self._asked(waiting, lambda: self._destination.send(told, ref))
        if sent is not None:
            self._succeeds(waiting, sent[0])

    def _asked(self, waiting: Waiting, ask: Callable[[], _T]) -> tuple[_T] | None:
        """What the destination answers; None where it fails, which is then the outcome."""
        try:
            return (ask(),)
        except DeliveryError as error:
            self._fails(waiting, error)
        except Exception as error:  # noqa: BLE001 - a bug in a destination must not silence it for ever
            self._fails(waiting, self._bug_of(waiting, error))
        return None

    def _skip(self, waiting: Waiting, why: str) -> None:
        self._outbox.skip(waiting.id, why, self._clock())
        self.stats.skipped += 1

    def _record(self) -> None:
        if self._outcome is not None:
            self._outcome()
            self._outcome = None

    def _succeeds(self, waiting: Waiting, ref: str) -> None:
        now_s = self._clock()
        if self._failures:
            _log.warning("%s: works again after %d failures", self.name, self._failures)
        self._failures, self.stats.failing = 0, None

        def record() -> None:
            self._outbox.sent(waiting.id, ref, now_s)
            self.stats.sent += 1

        self._outcome = record

    def _fails(self, waiting: Waiting, error: DeliveryError) -> None:
        now_s, text = self._clock(), noted(str(error))
        self.stats.failed[error.kind] += 1
        self.stats.failing = text
        if isinstance(error, NotifyError) and error.final:
            self._outcome = lambda: self._bury(waiting, text, now_s)
            return
        # A line for the first failure and then for each that doubles their number.
        if self._failures & (self._failures + 1) == 0:
            _log.warning("%s: %s; it is tried again", self.name, text)
        asked_s = error.retry_after_s if isinstance(error, NotifyError) else None
        if asked_s is None:
            pause_s = self._backoff.pause_s(max(self._failures, waiting.attempts), self._jitter)
        else:
            pause_s = min(max(self._backoff.first_s, asked_s), _LONGEST_HOLD_S)
        self._failures += 1
        self._outcome = lambda: self._hold(waiting, text, now_s + pause_s, now_s)

    def _hold(self, waiting: Waiting, text: str, retry_at_s: float, now_s: float) -> None:
        self._outbox.failed(waiting.id, text, retry_at_s, now_s)
        expired = self._outbox.expire(self.name, text, now_s)
        if expired:
            self.stats.dead += expired
            _log.error("%s: waited too long, dead letters: %d; the last error was: %s", self.name, expired, text)

    def _bury(self, waiting: Waiting, text: str, now_s: float) -> None:
        self._outbox.dead(waiting.id, text, now_s)
        self.stats.dead += 1
        kind, thread = waiting.notification.kind, waiting.notification.thread
        _log.error("%s: dead letter %s (%s of %s): %s", self.name, waiting.id, kind, noted(thread), text)

    def _bug_of(self, waiting: Waiting, error: Exception) -> NotifyError:
        message_id, tries = self._bug
        tries = tries + 1 if message_id == waiting.id else 1
        self._bug = (waiting.id, tries)
        # Without the exception's own words, which may hold the address.
        what = f"a bug in the destination: {type(error).__name__}"
        _log.error("%s: %s\n%s", self.name, what, "".join(traceback.format_tb(error.__traceback__)))
        return NotifyError(what, kind="bug", final=tries >= _TRIES_OF_A_BUG)

    def _without_outbox(self, text: str) -> float:
        text = noted(text)
        self.stats.failing = text
        if self._state_failures & (self._state_failures + 1) == 0:
            _log.error("%s: %s; nothing is sent meanwhile", self.name, text)
        self._state_failures += 1
        return self._backoff.pause_s(min(self._state_failures - 1, 5), self._jitter)
