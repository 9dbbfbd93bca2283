"""One sink's thread: what is waiting is written together, and tried again until it is there."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import DeliveryError
from logllm.metrics import Histogram

if TYPE_CHECKING:
    from logllm.sinks.parcel import Parcel, Sink

__all__ = ["Backoff", "SinkStats", "SinkWorker"]

# What one write takes, at most: a larger group shares its fsync among more, and holds more twice while it is encoded.
GROUP_BYTES = 16 << 20
GROUP_PARCELS = 1024
# At the end, a write that was begun within the grace may go on for so long: a receiver may never answer, nor a disk.
_LAST_WRITE_S = 2.0
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

_log = logging.getLogger("logllm.sinks")


class Backoff(msgspec.Struct, frozen=True):
    """Pauses between tries: doubled each time, with jitter, never longer than `longest_s`.

    >>> Backoff().pause_s(0, lambda: 1.0), Backoff().pause_s(9, lambda: 1.0)
    (0.05, 1.0)
    """

    first_s: float = 0.05
    longest_s: float = 1.0

    def pause_s(self, failures: int, jitter: Callable[[], float] = random.random) -> float:
        """How long to wait after so many failures before this one; half of it at least."""
        whole = min(self.longest_s, self.first_s * 2.0 ** min(failures, 30))
        return whole * (0.5 + 0.5 * jitter())


class SinkStats:
    """What a sink has taken; plain numbers, read at any time."""

    def __init__(self) -> None:
        self.events = 0
        self.bytes = 0
        self.writes = 0
        self.retries = 0
        self.discarded = 0
        self.waiting_events = 0
        self.waiting_bytes = 0
        self.errors: Counter[str] = Counter()
        self.failing: str | None = None
        self.seconds = Histogram(_SECONDS)


Done = Callable[[bool], None]
"""Called from the worker's thread: True, the parcel is safe; False, it was given up and is not acknowledged."""


class SinkWorker:
    """Takes parcels from any thread and writes them to one sink in order.

    Parcels that wait while the sink is at work are written together next time, so that many connections share an
    fsync. What fails is tried again for as long as it takes; how much may wait is its caller's business, but for a
    sink that is not required: there what finds no room is dropped and counted.

    Args:
        label: For messages and the thread's name.
        build: Makes the sink; called in the thread, again and again while it raises DeliveryError.
        backoff: Pauses between tries.
        most_bytes: For a sink that is not required, what may wait; None for a required one.
        on_end: Told of an error after which trying again is of no use.
    """

    def __init__(
        self,
        label: str,
        build: Callable[[], Sink],
        *,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        most_bytes: int | None = None,
        on_end: Callable[[DeliveryError], None] | None = None,
    ) -> None:
        self.label = label
        self.stats = SinkStats()
        self._build = build
        self._backoff = backoff
        self._most_bytes = most_bytes
        self._on_end = on_end
        self._waiting: deque[tuple[Parcel, Done]] = deque()
        self._changed = threading.Condition()
        self._closing_at: float | None = None
        self._rebuild = False
        self._thread = threading.Thread(target=self._run, name=f"sink {label}", daemon=True)
        self._thread.start()

    @property
    def _is_optional(self) -> bool:
        return self._most_bytes is not None

    def put(self, parcel: Parcel, done: Done) -> bool:
        """Have a parcel written; False where it finds no room and was dropped, `done` is then never called."""
        stats = self.stats
        with self._changed:
            too_many = self._most_bytes is not None and stats.waiting_bytes + parcel.size_bytes > self._most_bytes
            if self._closing_at is not None or too_many:
                stats.discarded += parcel.count
                return False
            self._waiting.append((parcel, done))
            stats.waiting_events += parcel.count
            stats.waiting_bytes += parcel.size_bytes
            self._changed.notify()
        return True

    def rebuild(self, build: Callable[[], Sink], most_bytes: int | None = None) -> None:
        """Close the sink after the write under way, and go on with a new one and another bound on what may wait."""
        with self._changed:
            self._build, self._rebuild, self._most_bytes = build, True, most_bytes
            self._changed.notify()

    def close(self, grace_s: float) -> None:
        """Write what waits, for at most so long; what is left is given up. A second call does nothing."""
        with self._changed:
            if self._closing_at is None:
                self._closing_at = time.monotonic() + grace_s
            self._changed.notify_all()
        self._thread.join(grace_s + _LAST_WRITE_S)
        if self._thread.is_alive():
            _log.error("%s: still writing, left alone", self.label)

    def _run(self) -> None:
        sink: Sink | None = None
        failures = 0
        try:
            while self._wait_for_work(sink is None):
                try:
                    if self._rebuild and sink is not None:
                        sink.close()
                        sink = None
                    if sink is None:
                        self._rebuild = False
                        sink = self._build()
                    self._write(sink)
                except DeliveryError as error:
                    if not self._pause_after(error, failures):
                        break
                    failures += 1
                else:
                    if failures:
                        _log.warning("%s: works again after %d failures", self.label, failures)
                    failures, self.stats.failing = 0, None
        except Exception as error:
            # A bug. The service ends: it must not look ready with a sink that nobody works for.
            if self._on_end is not None:
                self._on_end(DeliveryError(f"{self.label}: stopped by a bug: {error!r}", last=True))
            raise
        finally:
            if sink is not None:
                sink.close()
            self._give_up()

    def _wait_for_work(self, none_yet: bool) -> bool:
        """False where there is nothing more to do, ever. A sink is built before anything waits for it."""
        with self._changed:
            while not self._waiting and not none_yet and not self._rebuild:
                if self._closing_at is not None:
                    return False
                self._changed.wait()
            return not (self._closing_at is not None and not self._waiting)

    def _write(self, sink: Sink) -> None:
        with self._changed:
            group: list[tuple[Parcel, Done]] = []
            size = 0
            for parcel, done in self._waiting:
                if group and (size + parcel.size_bytes > GROUP_BYTES or len(group) >= GROUP_PARCELS):
                    break
                group.append((parcel, done))
                size += parcel.size_bytes
        if not group:
            return
        stats = self.stats
        begun = time.monotonic()
        refused = sink.refused
        try:
            safe = sink.write([parcel for parcel, _ in group])
        finally:
            stats.discarded += sink.refused - refused
        stats.seconds.observe(time.monotonic() - begun)
        stats.writes += 1
        with self._changed:
            for parcel, _ in group[:safe]:
                self._waiting.popleft()
                stats.waiting_events -= parcel.count
                stats.waiting_bytes -= parcel.size_bytes
                stats.events += parcel.count
                stats.bytes += parcel.size_bytes
        for _, done in group[:safe]:
            done(True)

    def _pause_after(self, error: DeliveryError, failures: int) -> bool:
        """Say it, count it, wait; False where it is the end."""
        stats = self.stats
        stats.errors[error.kind] += 1
        stats.failing = str(error)
        if error.last:
            _log.error("%s: %s", self.label, error)
            if self._on_end is not None:
                self._on_end(error)
            return False
        # A line for the first failure and then for each that doubles their number: a full disk is no flood.
        if failures & (failures + 1) == 0:
            meanwhile = "" if self._is_optional else " and nothing is acknowledged meanwhile"
            _log.warning("%s: %s; it is tried again%s", self.label, error, meanwhile)
        stats.retries += 1
        pause_s = self._backoff.pause_s(failures)
        with self._changed:
            closing = self._closing_at is not None
            if self._closing_at is not None and time.monotonic() + pause_s > self._closing_at:
                return False
            # What is put meanwhile is no reason to try sooner; the end is, and a new configuration.
            self._changed.wait_for(lambda: self._rebuild or (self._closing_at is not None) != closing, pause_s)
        return True

    def _give_up(self) -> None:
        with self._changed:
            if self._closing_at is None:
                self._closing_at = time.monotonic()
            left = list(self._waiting)
            self._waiting.clear()
            self.stats.waiting_events = self.stats.waiting_bytes = 0
        if left:
            records = sum(parcel.count for parcel, _ in left)
            if self._is_optional:
                self.stats.discarded += records
                _log.warning("%s: %d records were not written and are dropped: it is not required", self.label, records)
            else:
                _log.warning("%s: %d records were not written; who has no ack for them keeps them", self.label, records)
        for _, done in left:
            done(False)
