"""Alerts of a running service: what is told is decided and kept at once, a thread for each destination sends it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from logllm.database import Database
from logllm.errors import StateError
from logllm.notify.dispatch.dispatcher import DISPATCH_SCHEMA, Dispatcher, Traits
from logllm.notify.dispatch.inhibit import Inhibition
from logllm.notify.outbox.courier import Courier
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox
from logllm.notify.reveal import Revealed
from logllm.notify.routing.routes import Routing
from logllm.service.answering import Answering
from logllm.service.backlog import Backlog

if TYPE_CHECKING:
    from logllm.egress import EgressConfig, Recorder
    from logllm.events import Explanation, IncidentEvent
    from logllm.notify.config import DestinationConfig, NotifyConfig
    from logllm.notify.destination import Destination
    from logllm.notify.notification import Answer, RunbookNote
    from logllm.service.answering import Decide, Learn
    from logllm.service.backlog import News

__all__ = ["DestinationStatus", "Notifying"]

# Silences come from other processes, which cannot wake us.
_LOOK_EVERY_S = 1.0
# Acks of records that tell of an incident wait for it, once.
_PATIENCE_S = 0.5
_SENT_AGAIN_S = 900.0

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
        learn: Learns what people say of incidents.
        record: Keeps what is sent.
        reveal: Puts values of some kinds back in place of pseudonyms, for destinations that may see them.
        watched: The ids of the incidents that are open; what is open in the outbox and not among them a quarter of
            an hour after the start, when senders have sent again what a kill took, is ended.

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
        learn: Learn | None = None,
        watched: Callable[[], Collection[str]] | None = None,
        record: Recorder | None = None,
        reveal: Callable[[str, Collection[str]], str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        config.check(egress)
        self.config = config
        self._clock = clock
        self._watched = watched
        self._recorder = record
        self._reveal = reveal
        self._since_s = clock()
        routing = Routing.load(config, [each.name for each in config.destinations])
        self.answering = Answering(config, data_dir, self._answer, decide, clock, learn)
        made = [self._made(each, config) for each in config.destinations]
        self._traits = self._traits_of(made)
        path = None if data_dir is None else data_dir / "notify.db"
        self._database = Database(path, OUTBOX_SCHEMA, DISPATCH_SCHEMA, patience_s=_PATIENCE_S)
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
        self._backlog = Backlog(self.dispatcher, clock)
        self.failing: str | None = None
        self._misplaced = ""
        # Of destinations that are gone or have changed; what they have under way is not yet given up.
        self._retired: list[Courier] = []
        self._woken = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._abandon()
        for courier in self._couriers.values():
            courier.start()
        self._thread.start()

    def _made(self, destination: DestinationConfig, config: NotifyConfig) -> Destination:
        made = destination.build(self.answering, self._recorder)
        kinds = config.reveal.get(destination.name)
        return Revealed(made, kinds, self._reveal) if kinds and self._reveal is not None else made

    def _traits_of(self, made: Sequence[Destination]) -> dict[str, Traits]:
        return {each.name: Traits(edits=each.edits, burst=self.config.burst) for each in made}

    def accept(self, events: Sequence[IncidentEvent]) -> None:
        """Keep what happened to incidents; it is on the disk when this returns, if the disk takes anything."""
        self._take(events)

    def explained(self, explanation: Explanation) -> None:
        """Keep an explanation, which follows its incident."""
        self._take([explanation])

    def _answer(self, answer: Answer) -> bool:
        self._take([answer])
        try:
            return self.failing is not None or self.dispatcher.knows(answer.incident)
        except StateError:
            return True

    def _take(self, news: Sequence[News]) -> None:
        if not self.config.destinations:
            return
        self._backlog.put(news)
        # Where the disk does not answer, our thread alone asks it again: records go on.
        if self.failing is None:
            self._guarded(self._backlog.hand_over)
        self._woken.set()

    def _guarded(self, *steps: Callable[[], object]) -> None:
        try:
            for step in steps:
                step()
        except StateError as error:
            told = str(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours may silence alerts for a pause, not for ever
            told = f"a bug in the dispatcher: {type(error).__name__}"
            if self.failing != told:
                _log.exception("a bug in the dispatcher")
        else:
            self.failing = None
            return
        if self.failing is None:
            _log.error("%s; alerts wait in memory meanwhile", told)
        self.failing = told

    def _run(self) -> None:
        while not self._closing:
            self._woken.wait(_LOOK_EVERY_S)
            self._woken.clear()
            self._tick()

    def _tick(self) -> None:
        self._guarded(self._backlog.hand_over, self._lose_sight, lambda: self.dispatcher.tick(self._clock()))
        self._look_at_file()
        if self._retired and all(courier.has_ended for courier in self._retired):
            self._retired = []
            self._abandon()
        for courier in self._couriers.values():
            courier.wake()

    def _lose_sight(self) -> None:
        now_s = self._clock()
        if self._watched is None or 0 <= now_s - self._since_s < _SENT_AGAIN_S:
            return
        count = self.dispatcher.lose_sight(self._watched(), self._since_s, now_s)
        self._watched = None
        if count:
            _log.warning("%d incidents were open when logllm was killed and are not watched any more", count)

    def _look_at_file(self) -> None:
        try:
            if self._database.put_back():
                _log.error("notify.db was deleted; it has been written anew, nothing of it is lost")
            self._misplaced = ""
        except StateError as error:
            if self._misplaced != str(error):
                _log.error("%s", error)
            self._misplaced = str(error)

    def change(self, config: NotifyConfig, egress: EgressConfig) -> Callable[[], None]:
        """Make all that another configuration takes; what it returns puts it in place, and fails no more.

        Raises:
            ConfigError: It cannot be used; nothing has changed.
        """
        config.check(egress)
        Inhibition(config.inhibit)
        routing = Routing.load(config, [each.name for each in config.destinations])
        before, shown = {each.name: each for each in self.config.destinations}, self.config.reveal
        same = {
            each.name
            for each in config.destinations
            if before.get(each.name) == each
            and shown.get(each.name) == config.reveal.get(each.name)
            and not _has_files(each)
        }
        made = [self._made(each, config) for each in config.destinations if each.name not in same]

        def put_in_place() -> None:
            # Records wait for this, so it waits for no receiver.
            gone = {name: courier for name, courier in self._couriers.items() if name not in same}
            for courier in gone.values():
                courier.end(0.0)
            self.config = self.answering.config = config
            fresh = {each.name: Courier(each, self.outbox, clock=self._clock) for each in made}
            self._traits = self._traits_of(made) | {
                name: replace(self._traits[name], burst=config.burst) for name in same
            }
            self.dispatcher.replace(routing, inhibit=config.inhibit, traits=self._traits)
            kept = {name: courier for name, courier in self._couriers.items() if name in same}
            self._couriers = kept | fresh
            for name, courier in fresh.items():
                courier.start(after=gone.get(name))
            self._retired = [*self._retired, *gone.values()]
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
                    failing=stats.failing or self.failing,
                )
            )
        return found

    def counts(self) -> dict[str, int]:
        """What became of incidents since the start, see `Dispatcher.counts`; little where the outbox cannot be used.

        `lost`: there was no room for them in memory either. `in_memory`: for those that wait there now.
        """
        here = {"lost": self._backlog.lost, "in_memory": len(self._backlog)}
        if self.failing is not None:
            return here
        try:
            return self.dispatcher.counts() | here
        except StateError:
            return here

    def close(self, grace_s: float) -> None:
        """Decide what is due, send what can be sent in time, keep the rest. A second call does nothing."""
        if self._closing:
            return
        self._closing = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()
        self._tick()
        couriers = [*self._retired, *self._couriers.values()]
        for courier in couriers:
            courier.end(grace_s)
        for courier in couriers:
            courier.close(grace_s)
        self._database.close()


def _has_files(config: DestinationConfig) -> bool:
    """Whether it has a secret that may have changed although the configuration did not."""
    return any(getattr(config, name) for name in config.__struct_fields__ if name.endswith(("_file", "_env")))
