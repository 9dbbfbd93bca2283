"""Alerts of a running service: what is told is decided and kept at once, a thread for each destination sends it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from logllm.errors import StateError
from logllm.events import Explanation, IncidentEvent
from logllm.notify.dispatch.dispatcher import DISPATCH_SCHEMA, Dispatcher, Traits
from logllm.notify.dispatch.inhibit import Inhibition
from logllm.notify.notification import Answer
from logllm.notify.outbox.courier import Courier
from logllm.notify.outbox.database import Database
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox
from logllm.notify.routing.routes import Routing
from logllm.service.answering import Answering

if TYPE_CHECKING:
    from logllm.egress import EgressConfig
    from logllm.notify.config import DestinationConfig, NotifyConfig
    from logllm.notify.destination import Destination
    from logllm.notify.notification import RunbookNote
    from logllm.service.answering import Decide

__all__ = ["DestinationStatus", "Notifying"]

# Silences come from other processes, which cannot wake us.
_LOOK_EVERY_S = 1.0
_MOST_WAITING = 100_000
_LAST_SEND_S = 2.0

_log = logging.getLogger("logllm.notify")


class DestinationStatus(msgspec.Struct, frozen=True):
    """For `/destinations`: how one does. `oldest_s`: for how long the oldest message has waited."""

    name: str
    type: str
    sent: int
    queued: int
    dead: int
    failed: dict[str, int]
    oldest_s: float | None
    failing: str | None


class Notifying:
    """Takes what happens to incidents and has it told.

    Args:
        data_dir: Where the outbox is kept; None: in memory, a restart forgets what waits.
        runbook: What the runbook of an incident says, and which actions it offers.
        decide: Answers requests to run actions.

    Raises:
        ConfigError: A destination or a route is wrong.
        StateError: The outbox cannot be opened.
    """

    def __init__(
        self,
        config: NotifyConfig,
        egress: EgressConfig,
        data_dir: Path | None,
        *,
        runbook: Callable[[IncidentEvent], RunbookNote | None],
        decide: Decide | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        config.check(egress)
        self.config = config
        self._clock = clock
        routing = Routing.load(config, [each.name for each in config.destinations])
        self.answering = Answering(config, data_dir, self._answer, decide, clock)
        made = [self._made(each) for each in config.destinations]
        self._traits = self._traits_of(made)
        self._database = Database(None if data_dir is None else data_dir / "notify.db", OUTBOX_SCHEMA, DISPATCH_SCHEMA)
        self.outbox = Outbox(self._database, longest_s=config.longest_s)
        self.dispatcher = Dispatcher(
            self._database,
            self.outbox,
            routing,
            inhibit=config.inhibit,
            traits=self._traits,
            runbook=runbook,
        )
        self._couriers = {each.name: Courier(each, self.outbox, clock=clock) for each in made}
        # What the outbox could not take (a full disk) waits here, in order.
        self._lock = threading.Lock()
        self._waiting: deque[IncidentEvent | Explanation | Answer] = deque()
        self.lost = 0
        self.failing: str | None = None
        self._woken = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._abandon()
        for courier in self._couriers.values():
            courier.start()
        self._thread.start()

    def _made(self, config: DestinationConfig) -> Destination:
        return config.build(self.answering)

    def _traits_of(self, made: Sequence[Destination]) -> dict[str, Traits]:
        return {each.name: Traits(edits=each.edits, burst=self.config.burst) for each in made}

    def accept(self, events: Sequence[IncidentEvent]) -> None:
        """Keep what happened to incidents; it is on the disk when this returns, if the disk takes anything."""
        self._take(events)

    def explained(self, explanation: Explanation) -> None:
        """Keep an explanation, which follows its incident."""
        self._take([explanation])

    def _answer(self, answer: Answer) -> None:
        self._take([answer])

    def _take(self, news: Sequence[IncidentEvent | Explanation | Answer]) -> None:
        if not self.config.destinations:
            return
        with self._lock:
            room = _MOST_WAITING - len(self._waiting)
            self._waiting.extend(news[:room])
            if room < len(news):
                self.lost += len(news) - room
                _log.error("the outbox takes nothing and too much waits: %d alerts are lost", len(news) - room)
            self._drain()
        self._woken.set()

    def _drain(self) -> None:
        """Hand to the dispatcher what waits, in order, events in a row together."""
        try:
            while self._waiting:
                first = self._waiting[0]
                taken = 1
                if isinstance(first, Answer):
                    self.dispatcher.answer(first, self._clock())
                elif isinstance(first, Explanation):
                    self.dispatcher.explained(first, self._clock())
                else:
                    events = [one for one in takewhile(_is_event, self._waiting) if isinstance(one, IncidentEvent)]
                    taken = len(events)
                    self.dispatcher.accept(events, self._clock())
                for _ in range(taken):
                    self._waiting.popleft()
        except StateError as error:
            if self.failing is None:
                _log.error("%s; alerts wait in memory meanwhile", error)
            self.failing = str(error)
        else:
            self.failing = None

    def _run(self) -> None:
        while not self._closing:
            self._woken.wait(_LOOK_EVERY_S)
            self._woken.clear()
            self._tick()

    def _tick(self) -> None:
        with self._lock:
            self._drain()
        try:
            self.dispatcher.tick(self._clock())
        except StateError as error:
            self.failing = str(error)
        for courier in self._couriers.values():
            courier.wake()

    def change(self, config: NotifyConfig, egress: EgressConfig) -> Callable[[], None]:
        """Make all that another configuration takes; what it returns puts it in place, and fails no more.

        Raises:
            ConfigError: It cannot be used; nothing has changed.
        """
        config.check(egress)
        Inhibition(config.inhibit)
        routing = Routing.load(config, [each.name for each in config.destinations])
        before = {each.name: each for each in self.config.destinations}
        same = {each.name for each in config.destinations if before.get(each.name) == each and not _has_files(each)}
        made = [self._made(each) for each in config.destinations if each.name not in same]

        def put_in_place() -> None:
            gone = [courier for name, courier in self._couriers.items() if name not in same]
            # What is under way ends first, or it would be sent twice.
            for courier in gone:
                courier.close(_LAST_SEND_S)
            self.config = self.answering.config = config
            fresh = {each.name: Courier(each, self.outbox, clock=self._clock) for each in made}
            self._traits = self._traits_of(made) | {
                name: replace(self._traits[name], burst=config.burst) for name in same
            }
            self.dispatcher.replace(routing, inhibit=config.inhibit, traits=self._traits)
            kept = {name: courier for name, courier in self._couriers.items() if name in same}
            self._couriers = kept | fresh
            self._abandon()
            for courier in fresh.values():
                courier.start()
            self._woken.set()

        return put_in_place

    def _abandon(self) -> None:
        """Give up, as dead letters, what waits for destinations that are no longer there."""
        try:
            left = self.outbox.abandon(list(self._couriers), self._clock())
        except StateError as error:
            _log.error("%s", error)
        else:
            if left:
                _log.warning("%d messages waited for destinations that are gone; `logllm alerts list --dead`", left)

    def status(self) -> list[DestinationStatus]:
        """How each destination does."""
        types = {each.name: str(each.__struct_config__.tag) for each in self.config.destinations}
        found = []
        for name, courier in self._couriers.items():
            stats = courier.stats
            found.append(
                DestinationStatus(
                    name=name,
                    type=types.get(name, ""),
                    sent=stats.sent,
                    queued=stats.queued,
                    dead=stats.dead,
                    failed=dict(stats.failed),
                    oldest_s=None if stats.oldest_s is None else max(0.0, self._clock() - stats.oldest_s),
                    failing=stats.failing,
                )
            )
        return found

    def counts(self) -> dict[str, int]:
        """What became of incidents since the start, see `Dispatcher.counts`; empty where the outbox cannot be read."""
        try:
            return self.dispatcher.counts() | {"lost": self.lost}
        except StateError:
            return {}

    def close(self, grace_s: float) -> None:
        """Decide what is due, send what can be sent in time, keep the rest. A second call does nothing."""
        if self._closing:
            return
        self._closing = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()
        self._tick()
        ends_s = time.monotonic() + grace_s
        for courier in self._couriers.values():
            courier.close(max(0.0, ends_s - time.monotonic()))
        self._database.close()


def _has_files(config: DestinationConfig) -> bool:
    """Whether it has a secret that may have changed although the configuration did not."""
    return any(getattr(config, name) for name in config.__struct_fields__ if name.endswith(("_file", "_env")))


def _is_event(news: object) -> bool:
    return isinstance(news, IncidentEvent)
