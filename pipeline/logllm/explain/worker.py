"""The explainer's own thread: incidents wait in a queue, the worst first; whoever submits never waits for a model."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from logllm.errors import ExplainLater, StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.events import Explanation, IncidentEvent
    from logllm.explain.explainer import Explainer
    from logllm.explain.queue import ExplainQueue, Waiting

__all__ = ["ExplainWorker"]

# A model that is away is asked again after so long, twice as long each time.
_AGAIN_S = 2.0
_MOST_AGAIN_S = 120.0
# The queue's database cannot be read: until the disk takes it again.
_STUCK_S = 5.0

_log = logging.getLogger("logllm.explain")


class ExplainWorker:
    """Explains incidents one after the other and hands each explanation to `deliver`, on its thread.

    When the queue is full, the oldest of the least severe goes and is counted in `dropped`; an incident that waited
    longer than `max_wait_s` goes, too (`expired`). Both are delivered as "failed" with facts and runbook, so that
    nobody waits for an explanation that never comes. A model that is away is asked again; meanwhile incidents wait, the
    time until a window opens not counted. What waits outlives a restart if the queue does; one that was being explained
    then is explained again.

    Args:
        deliver: Called once for every incident submitted and not replaced; must not raise.
        queue: The worker's own; closed with it.
        patient: False: what cannot be explained at once is "failed" at once.
        clock: Unix seconds.
    """

    def __init__(
        self,
        explainer: Explainer,
        deliver: Callable[[Explanation], None],
        queue: ExplainQueue,
        *,
        max_wait_s: float = 600.0,
        patient: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.dropped = 0
        self.expired = 0
        self.done = 0
        self._explainer = explainer
        self._deliver = deliver
        self._queue = queue
        self._max_wait_s = max_wait_s
        self._patient = patient
        self._clock = clock
        self._away = 0
        self._away_until = 0.0
        self._busy = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="logllm-explain", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Incidents in the queue, the one at work included. Raises StateError."""
        return len(self._queue)

    def submit(self, incident: IncidentEvent) -> bool:
        """Queue an incident; waits for the disk at most. False: the worker is closing, or there is no room for it."""
        now_s = self._clock()
        with self._changed:
            if self._closing:
                return False
            try:
                given_up = self._queue.put(incident, now_s, now_s + self._max_wait_s)
            except StateError as error:
                _log.warning("%s: not explained: %s", incident.id, error)
                given_up = [incident]
            self.dropped += len(given_up)
            self._changed.notify_all()
        for each in given_up:
            self._deliver(self._explainer.without_model(each, "the queue of explanations was full"))
        return all(each.id != incident.id for each in given_up)

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing waits and nothing is at work, at most `timeout_s`; whether that came about."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy and not len(self._queue), timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Stop: the local model ends at once, what still waits stays in the queue. A second call does nothing.

        An answer that comes from a remote server is waited for `timeout_s` at most.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._explainer.interrupt()
        self._thread.join(timeout_s)
        self._queue.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    return
                now_s = self._clock()
                try:
                    waiting = self._queue.next(now_s, late_only=now_s < self._away_until)
                    wake_s = self._queue.wake_s()
                except StateError as error:
                    _log.warning("%s", error)
                    self._changed.wait(_STUCK_S)
                    continue
                self._busy = waiting is not None
                if waiting is None:
                    self._changed.notify_all()
                    rest_s = None if wake_s is None else max(0.01, max(wake_s, self._away_until) - now_s)
                    self._changed.wait(rest_s if rest_s is None else min(rest_s, _STUCK_S))
                    continue
            try:
                self._one(waiting, now_s)
            except StateError as error:
                _log.warning("%s: %s", waiting.incident.id, error)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _one(self, waiting: Waiting, now_s: float) -> None:
        if now_s > waiting.until:
            self.expired += 1
            self._give(waiting, self._too_late(waiting, waiting.why))
            return
        try:
            explanation = self._explainer.explain(waiting.incident, may_wait=self._patient)
        except ExplainLater as later:
            if not self._closing:
                self._put_off(waiting, later)
            return
        self._away, self._away_until = 0, 0.0
        self._give(waiting, explanation)

    def _put_off(self, waiting: Waiting, later: ExplainLater) -> None:
        now_s, until = self._clock(), waiting.until
        if later.after_s is None:
            # Away is the model, not this incident: the others wait with it.
            due = self._away_until = now_s + min(_MOST_AGAIN_S, _AGAIN_S * 2.0**self._away)
            self._away = min(self._away + 1, 16)
        else:
            due = now_s + later.after_s
            until += later.after_s if later.excused else 0.0
        if due > until:
            self.expired += 1
            self._give(waiting, self._too_late(waiting, str(later)))
            return
        self._queue.later(waiting, due, until, str(later), tried=later.after_s is None)

    def _too_late(self, waiting: Waiting, why: str) -> Explanation:
        reason = f"it waited longer than {self._max_wait_s:g} s{f': {why}' if why else ''}"
        return self._explainer.without_model(waiting.incident, reason)

    def _give(self, waiting: Waiting, explanation: Explanation) -> None:
        self.done += 1
        self._deliver(explanation)
        # Only now: a crash before repeats it, which receivers know by its id.
        self._queue.done(waiting)
