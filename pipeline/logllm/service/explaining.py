"""What a run does about "why": the explainer, the incidents that wait for it, plugins' questions, what it all cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.errors import StateError
from logllm.explain.allowance import FILE, Allowance
from logllm.explain.cache import ExplanationCache
from logllm.explain.explainer import Explainer
from logllm.explain.model.use import ModelUse
from logllm.explain.questions import Questions
from logllm.explain.queue import ExplainQueue
from logllm.explain.worker import ExplainWorker
from logllm.metrics import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from logllm.egress import EgressConfig, Recorder
    from logllm.events import Explanation, IncidentEvent, SeenBefore
    from logllm.explain.allowance import Usage
    from logllm.explain.config import ExplainConfig
    from logllm.explain.redact.redactor import Redactor
    from logllm.explain.runbooks.search import Catalogue

__all__ = ["Explaining"]

_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class Explaining:
    """Explains incidents in a thread of its own, with the model if it can be had: without, facts and runbooks are told.

    Args:
        data_dir: Where answers, what waits and the account of tokens are kept; None: in memory.
        deliver: Given each explanation, on that thread.
        notice: Told in words what is missing.
        answer: Given answers to plugins' questions; None where no plugin may ask.
        patient: See `Run`.
        egress: The hosts that a model's URL may name.
        record: Keeps what the model is sent.
        history: Earlier incidents like one.

    Attributes:
        seconds: What explanations took to make.

    Raises:
        ConfigError: A window is none.
        ModelError: The model that was asked for by name cannot be had.
        StateError: The data folder cannot be used.
    """

    def __init__(
        self,
        config: ExplainConfig,
        catalogue: Catalogue,
        redactor: Redactor,
        data_dir: Path | None,
        *,
        deliver: Callable[[Explanation], None],
        notice: Callable[[str], None],
        answer: Callable[[str, str, int, str], None] | None = None,
        patient: bool = False,
        egress: EgressConfig | None = None,
        record: Recorder | None = None,
        history: Callable[[IncidentEvent], list[SeenBefore]] = lambda _: [],
    ) -> None:
        self._history = history
        self._egress = egress
        self._record = record
        self._config = config
        self._catalogue = catalogue
        self._redactor = redactor
        self._path = None if data_dir is None else data_dir / FILE
        self.explainer = self._made(notice)
        self.seconds = Histogram(_SECONDS)
        self._deliver = deliver
        self._worker = ExplainWorker(
            self.explainer,
            self._explained,
            ExplainQueue(self._path),
            max_wait_s=config.max_wait_s,
            patient=patient,
        )
        self._questions = None if answer is None else Questions(self.explainer, answer)

    def _made(self, notice: Callable[[str], None]) -> Explainer:
        model = self._config.model
        # Looked for before there is an explainer: closing one closes the catalogue, which is the whole run's.
        missing = ModelUse(model, self._config, egress=self._egress).missing() if model else ""
        if missing:
            notice(f"{missing}; going on with facts and runbooks alone")
        explainer = self._with(None if missing else model or None)
        explainer.prepare()
        return explainer

    def _with(self, model: str | None) -> Explainer:
        return Explainer(
            model,
            self._catalogue,
            self._redactor,
            ExplanationCache(self._path),
            config=self._config,
            allowance=None if model is None else Allowance(self._config, self._path),
            egress=self._egress,
            record=self._record,
            history=self._history,
        )

    def _explained(self, explanation: Explanation) -> None:
        self.seconds.observe(explanation.seconds)
        self._deliver(explanation)

    def submit(self, incident: IncidentEvent) -> None:
        """Have an incident explained; waits for the disk at most."""
        self._worker.submit(incident)

    def ask(self, plugin: str, tenant: str, ticket: int, text: str) -> bool:
        """A plugin's question to the model; False where there is none to ask."""
        return self._questions is not None and self._questions.put(plugin, tenant, ticket, text)

    @property
    def waiting(self) -> int:
        """Incidents in the queue; 0 where it cannot be read."""
        try:
            return self._worker.waiting
        except StateError:
            return 0

    @property
    def given_up(self) -> dict[str, int]:
        """Incidents for which no model was asked in the end: "full" queue, waited too "long"."""
        return {"full": self._worker.dropped, "long": self._worker.expired}

    def usage(self) -> Usage | None:
        """Tokens spent and saved; None without a model, or where the account cannot be read."""
        try:
            return self.explainer.usage()
        except StateError:
            return None

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is left to explain; False where the time was up first."""
        return self._worker.drain(timeout_s)

    def stop(self) -> None:
        """Give up what is being explained; nothing is delivered after this. What waits stays in the queue."""
        self._worker.close()

    def close(self) -> None:
        """End the model and close what was kept. A second call does nothing."""
        self._worker.close()
        if self._questions is not None:
            self._questions.close()
        self.explainer.close()
