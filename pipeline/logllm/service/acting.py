"""Actions of runbooks in a running service: offered with incidents, run by a thread of their own."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from logllm.actions.actions import Actions, Offer
from logllm.errors import StateError
from logllm.notify.notification import ActionNote, RunbookNote

if TYPE_CHECKING:
    from logllm.actions.config import ActionsConfig
    from logllm.egress import EgressConfig, Recorder
    from logllm.events import IncidentEvent
    from logllm.explain.runbooks.search import Catalogue

__all__ = ["Acting"]

# What is approved on the command line comes from another process, which cannot wake us.
_LOOK_EVERY_S = 1.0
_MOST_OFFERS = 1_000
# A program has two seconds to end.
_END_S = 5.0

_log = logging.getLogger("logllm.actions")


class Acting:
    """What the runbook of an incident says and offers; what was approved is run.

    Args:
        data_dir: Where requests and the audit are kept; None: in memory.
        record: Keeps what webhooks are sent.

    Raises:
        ConfigError: `[actions]` or an action of a runbook is wrong.
        StateError: The database cannot be used.
    """

    def __init__(
        self,
        config: ActionsConfig,
        egress: EgressConfig,
        data_dir: Path | None,
        catalogue: Catalogue,
        *,
        record: Recorder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._actions = Actions(
            None if data_dir is None else data_dir / "actions.db",
            config,
            {id_: runbook.actions for id_, runbook in catalogue.by_id.items() if runbook.actions},
            now_s=clock(),
            egress=egress,
            record=record,
        )
        self.ended: Counter[str] = Counter()
        self._offers: dict[str, list[Offer]] = {}
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        if config.enabled:
            self._thread = threading.Thread(target=self._run, name="actions", daemon=True)
            self._thread.start()

    @property
    def notices(self) -> list[str]:
        """Actions that say they run, and cannot run here; each with why."""
        return self._actions.notices

    def consider(self, events: Sequence[IncidentEvent]) -> None:
        """Offer the actions of incidents' runbooks; what may run by itself is begun by the thread."""
        for event in events:
            runbook = None if event.runbook is None else self._catalogue.by_id.get(event.runbook)
            if runbook is None or not runbook.actions:
                continue
            try:
                offers = self._actions.offered(event, runbook.id, self._clock())
            except StateError as error:
                _log.error("%s; no action is offered for %s", error, event.id)
                continue
            with self._lock:
                self._offers[event.id] = offers
                while len(self._offers) > _MOST_OFFERS:
                    del self._offers[next(iter(self._offers))]
            self._woken.set()

    def note(self, event: IncidentEvent) -> RunbookNote | None:
        """For a message: what the incident's runbook says, and what it offered for it."""
        runbook = None if event.runbook is None else self._catalogue.by_id.get(event.runbook)
        if runbook is None:
            return None
        with self._lock:
            offers = self._offers.get(event.id, [])
        return RunbookNote(
            id=runbook.id,
            title=runbook.title,
            checks=runbook.checks[:2],
            steps=runbook.steps[:3],
            actions=[
                ActionNote(
                    title=offer.title,
                    command=offer.preview,
                    request=offer.request if offer.state == "pending" else "",
                    asks=bool(offer.missing),
                )
                for offer in offers
            ],
        )

    def decide(self, request: str, verdict: Literal["approve", "reject"], who: str) -> str:
        """Take a person's answer to a request. Raises ActionError, StateError."""
        decided = self._actions.decide(request, verdict, who, self._clock())
        self._woken.set()
        return f"{decided.title}: {'approved, it runs now' if verdict == 'approve' else 'rejected'}"

    def _run(self) -> None:
        while not self._closing:
            self._woken.wait(_LOOK_EVERY_S)
            self._woken.clear()
            try:
                for ended in self._actions.run_due(self._clock()):
                    self.ended[ended.state] += 1
                    _log.warning("action %s of runbook %s, %s: %s", ended.action, ended.runbook, ended.id, ended.state)
            except StateError as error:
                _log.error("%s; no action is run meanwhile", error)

    def close(self) -> None:
        """End what runs and let go. A second call does nothing.

        A program is ended; a webhook that gives no answer is left alone: its request is `unknown` at the next start.
        """
        if self._closing:
            return
        self._closing = True
        self._woken.set()
        ending = threading.Thread(target=self._actions.close, name="actions end", daemon=True)
        ending.start()
        ending.join(_END_S)
        if ending.is_alive():
            _log.warning("an action is still under way and left alone; whether it was done is not known")
        elif self._thread is not None:
            self._thread.join()
