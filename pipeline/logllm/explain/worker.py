"""The explainer's own thread: incidents wait in a small queue, the worst first; whoever submits never waits."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.events import Explanation, IncidentEvent
    from logllm.explain.explainer import Explainer

__all__ = ["ExplainWorker"]

_RANK = {"critical": 0, "warning": 1, "info": 2}


class _Waiting(NamedTuple):
    rank: int
    number: int
    until: float
    incident: IncidentEvent


class ExplainWorker:
    """Explains incidents one after the other and hands each explanation to `deliver`, on its thread.

    The queue holds `max_waiting`: when it is full, the oldest of the least severe goes and is counted in `dropped`; an
    incident that waited longer than `max_wait_s` goes, too (`expired`). Both are delivered as "failed" with facts and
    runbook, so that nobody waits for an explanation that never comes. An incident submitted again while it waits
    replaces its earlier form.

    Args:
        deliver: Called once for every incident submitted and not replaced; must not raise.
    """

    def __init__(
        self,
        explainer: Explainer,
        deliver: Callable[[Explanation], None],
        *,
        max_waiting: int = 64,
        max_wait_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped = 0
        self.expired = 0
        self.done = 0
        self._explainer = explainer
        self._deliver = deliver
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._number = 0
        self._busy = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="logllm-explain", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Incidents in the queue, the one at work aside."""
        return len(self._waiting)

    def submit(self, incident: IncidentEvent) -> bool:
        """Queue an incident; returns at once. False: the worker is closing, or the queue is full of worse ones."""
        given_up: list[_Waiting] = []
        with self._changed:
            if self._closing:
                return False
            self._waiting = [waiting for waiting in self._waiting if waiting.incident.id != incident.id]
            self._number += 1
            entry = _Waiting(_RANK.get(incident.severity, 2), self._number, self._clock() + self._max_wait_s, incident)
            self._waiting.append(entry)
            if len(self._waiting) > self._max_waiting:
                least = max(self._waiting, key=lambda waiting: (waiting.rank, -waiting.number))
                self._waiting.remove(least)
                self.dropped += 1
                given_up.append(least)
            self._changed.notify_all()
        for waiting in given_up:
            self._deliver(self._explainer.without_model(waiting.incident, "the queue of explanations was full"))
        return entry not in given_up

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing waits and nothing is at work, at most `timeout_s`; whether that came about."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Stop: the local model ends at once, what still waits is not explained. A second call does nothing.

        An answer that comes from a remote server is waited for `timeout_s` at most.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._explainer.interrupt()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    self._waiting.clear()
                    self._changed.notify_all()
                    return
                entry = min(self._waiting)
                self._waiting.remove(entry)
                self._busy = True
            late = self._clock() > entry.until
            try:
                if late:
                    self.expired += 1
                    explanation = self._explainer.without_model(
                        entry.incident, f"it waited longer than {self._max_wait_s:g} s"
                    )
                else:
                    explanation = self._explainer.explain(entry.incident)
                self.done += 1
                self._deliver(explanation)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
