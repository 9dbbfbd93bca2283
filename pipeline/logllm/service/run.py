"""What every run shares: the pipeline, where its incidents are kept, who explains them, who is told."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from logllm import checkpoint
from logllm.audit.ledger import Ledger
from logllm.errors import LogllmError, StateError
from logllm.explain.history import History
from logllm.explain.runbooks.search import Catalogue
from logllm.filtering import Filtering
from logllm.incidents.store import IncidentStore
from logllm.pipeline import Pipeline
from logllm.service.edits import EditsFile, refresh
from logllm.service.explaining import Explaining
from logllm.service.learning import Learning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from logllm.config import Config
    from logllm.events import Evidence, Explanation, IncidentEvent, Summary
    from logllm.service.alerts import Alerts
    from logllm.service.outlet import Outlet

__all__ = ["Run"]

_log = logging.getLogger("logllm.service")


class Run:
    """One run: pipeline, store, explainer and outlet put together, and taken apart in order.

    Args:
        look_back: See `Pipeline`.
        outlet: Told of everything; calls are serialised.
        reveal: Put addresses and names back into what the outlet is told: it is read on this machine by someone
            who may read the log. What is kept and what the model sees stays masked; secrets never come back.

    Raises:
        ConfigError: A runbook cannot be read.
        ModelError: The model that was asked for by name cannot be had.
        PluginLoadError: A plugin cannot be used as it is configured.
        StateError: The data directory cannot be used.
    """

    def __init__(
        self,
        config: Config,
        outlet: Outlet,
        *,
        look_back: bool = False,
        reveal: bool = False,
        patient: bool = False,
    ) -> None:
        self.config = config
        data_dir = None if config.data_dir is None else Path(config.data_dir)
        self._folder = -1
        if data_dir is not None:
            _make_private(data_dir)
            self._folder = _claimed(data_dir)
        self.filtering = Filtering.of(config, self.ask)
        self.pipeline = Pipeline(config, look_back=look_back, filtering=self.filtering)
        self._early: list[str] | None = []
        if not config.sinks and any(plugin.stage == "egress" for plugin in config.plugins):
            self._early.append("plugins of the stage egress are loaded and never called: there are no sinks")
        self.alerts: Alerts | None = None
        self.opened = 0
        self.opened_by: dict[str, int] = {}
        self.explained: dict[str, int] = {}
        self._outlet = outlet
        self._reveal = reveal
        self._lock = threading.Lock()
        self._latest: dict[str, IncidentEvent] = {}
        self._state_path = None if data_dir is None else data_dir / "state.msgpack"
        self.ledger = Ledger.of(config.egress, data_dir, self.notice)
        self._store = IncidentStore(":memory:" if data_dir is None else data_dir / "logllm.db")
        self.history = History(self._store)
        self.learning = Learning(config, data_dir, self._store.get, judge=self._store.judge)
        self._early += self.learning.notices
        self.catalogue = Catalogue.load(config.explain.runbooks)
        self.pipeline.advice.use(self.catalogue)
        self._restore()
        self.learning.attach(self.pipeline)
        self._edits = None if data_dir is None else EditsFile(data_dir)
        self.explaining: Explaining | None = None
        if config.explain.enabled:
            try:
                self.explaining = Explaining(
                    config.explain,
                    self.catalogue,
                    self.pipeline.redactor,
                    data_dir,
                    deliver=self._explained,
                    notice=self.notice,
                    answer=self.filtering.answer if any("ask" in each.grants for each in config.plugins) else None,
                    patient=patient,
                    egress=config.egress,
                    record=self.ledger,
                    history=self.history.search,
                )
            except LogllmError:
                self.history.close()
                if self.ledger is not None:
                    self.ledger.close()
                self._store.close()
                self.filtering.close()
                raise

    def ask(self, plugin: str, tenant: str, ticket: int, text: str) -> bool:
        """A plugin's question to the model; False where there is none to ask."""
        return self.explaining is not None and self.explaining.ask(plugin, tenant, ticket, text)

    def look_again(self) -> None:
        """Take what people have changed in their files since: answers, templates. For the pipeline's thread."""
        self.learning.refresh(self.pipeline, self.notice)
        if self._edits is not None:
            refresh(self._edits, self.pipeline, self.notice)

    def change_filtering(self, filtering: Filtering) -> None:
        """Go on with other plugins. Nobody may be filtering meanwhile; the old ones save what they keep and end."""
        old, self.filtering = self.filtering, filtering
        self.pipeline.filtering = filtering
        old.close()

    def _restore(self) -> None:
        if self._state_path is None:
            return
        try:
            state = checkpoint.load(self._state_path)
            try:
                if state is not None:
                    self.pipeline.restore(state)
            except StateError as error:
                raise StateError(f"{self._state_path}: {error}; {checkpoint.set_aside(self._state_path)}") from error
        except StateError as error:
            self.notice(f"{error}; learning anew")
            look_back = self.pipeline.looks_back
            self.pipeline = Pipeline(self.config, look_back=look_back, filtering=self.filtering)
            self.pipeline.advice.use(self.catalogue)

    def tell(self, events: Iterable[IncidentEvent]) -> None:
        """Keep the events, tell them, and ask for explanations of what opened."""
        events = list(events)
        if self.alerts is not None:
            self.alerts.accept(events)
        for event in events:
            self._kept(partial(self._store.put, event))
            self.learning.goes_on(event)
            with self._lock:
                if event.event == "open":
                    self.opened += 1
                    self.opened_by[event.severity] = self.opened_by.get(event.severity, 0) + 1
                self._latest[event.id] = event
                while len(self._latest) > 1000:
                    del self._latest[next(iter(self._latest))]
                self._outlet.incident(self._shown(event))
            if event.event == "open" and self.explaining is not None:
                self.explaining.submit(event)

    def _kept(self, write: Callable[[], None]) -> None:
        """Write to the store. Where that fails (a full disk) the incident is told all the same."""
        try:
            write()
        except StateError as error:
            self.notice(str(error))

    def _explained(self, explanation: Explanation) -> None:
        self._kept(partial(self._store.explain, explanation))
        if self.alerts is not None:
            self.alerts.explained(explanation)
        with self._lock:
            self.explained[explanation.status] = self.explained.get(explanation.status, 0) + 1
            incident = self._latest.get(explanation.incident)
            if incident is not None:
                self._outlet.explanation(self._shown_explanation(explanation), self._shown(incident))

    def _shown(self, event: IncidentEvent) -> IncidentEvent:
        if not self._reveal:
            return event
        put_back = self.pipeline.redactor.reveal

        def lines(items: list[Evidence]) -> list[Evidence]:
            return [replace(item, text=put_back(item.text), source=put_back(item.source)) for item in items]

        return replace(
            event,
            title=put_back(event.title),
            expected=put_back(event.expected),
            seen=put_back(event.seen),
            template=put_back(event.template),
            templates=[put_back(text) for text in event.templates],
            facts=[put_back(text) for text in event.facts],
            timeline=[put_back(text) for text in event.timeline],
            evidence=lines(event.evidence),
            changes=lines(event.changes),
        )

    def _shown_explanation(self, explanation: Explanation) -> Explanation:
        if not self._reveal:
            return explanation
        put_back = self.pipeline.redactor.reveal
        return replace(
            explanation,
            cause=put_back(explanation.cause),
            steps=[put_back(step) for step in explanation.steps],
            removed=[put_back(text) for text in explanation.removed],
        )

    def plugins(self) -> list[dict[str, str | int]]:
        """For the summary: what each plugin did."""
        return [
            {
                "name": each.name,
                "in": each.records_in,
                "out": each.records_out,
                "dropped": each.dropped,
                "failures": sum(each.failures.values()),
            }
            for each in self.filtering.status()
        ]

    def notice(self, text: str) -> None:
        """Say something about the run itself; before `announce` it is held."""
        with self._lock:
            if self._early is not None:
                self._early.append(text)
            else:
                self._outlet.notice(text)

    def announce(self) -> None:
        """Whoever started us has heard what must come first: notices may be told now."""
        with self._lock:
            early, self._early = self._early or [], None
        for text in early:
            self.notice(text)

    def status(self, lines: int, lines_per_s: float) -> None:
        """Show how far the run is."""
        miner, learning = self.pipeline.miner, self.pipeline.learning
        with self._lock:
            self._outlet.status(lines, lines_per_s, len(miner), learning, self.opened)

    def save(self) -> None:
        """Write what was learned, if there is a place for it. A failure is told, and tried again next time."""
        self.filtering.save()
        if self._state_path is None:
            return
        try:
            checkpoint.save(self._state_path, self.pipeline.state())
        except StateError as error:
            _log.error("%s", error)
            self.notice(str(error))

    def wait_explained(self, timeout_s: float) -> bool:
        """Wait until nothing is left to explain; False where the time was up first."""
        return self.explaining is None or self.explaining.drain(timeout_s)

    def summarise(self, summary: Summary) -> None:
        """Tell the end; nothing is told after it, so what is still being explained is given up first."""
        if self.explaining is not None:
            self.explaining.stop()
        with self._lock:
            self._outlet.summary(summary)

    def close(self) -> None:
        """End the explainer and its model, save what was learned, end the plugins, close the store."""
        if self.explaining is not None:
            self.explaining.close()
        if self.alerts is not None:
            self.alerts.close()
        if self.ledger is not None:
            self.ledger.close()
        self.save()
        self.learning.close(self.pipeline)
        self.filtering.close()
        self.history.close()
        self._store.close()
        self.catalogue.close()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1


def _make_private(folder: Path) -> None:
    """Make the data folder, for its owner alone: it holds what the log held. One that is there stays as it is."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"{folder}: cannot make the data directory: {error.strerror or error}") from error


def _claimed(folder: Path) -> int:
    """The data folder, open and locked for this process, which alone may write there."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StateError(f"{folder}: cannot open the data directory: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            # A file system without locks: as before there were any.
            return -1
        raise StateError(f"{folder}: another logllm uses this data directory, expected one of its own") from error
    return descriptor
