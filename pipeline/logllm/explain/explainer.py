"""From an incident to an explanation: words and likelihood choose the runbook, the model adds, code decides."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from logllm.egress import about
from logllm.errors import ExplainError, ExplainLater, ModelError, StateError
from logllm.explain.asker import Asker
from logllm.explain.cache import CachedAnswer, ExplanationCache
from logllm.explain.compose import compose, marked, of_injection, untainted
from logllm.explain.config import ExplainConfig
from logllm.explain.facts import explain_without_model, facts_text
from logllm.explain.pack import build_pack
from logllm.explain.prompt import Shown, looks_like_instruction, tame
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.choice import CANDIDATES, choose
from logllm.explain.runbooks.search import Catalogue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from logllm.egress import EgressConfig, Recorder
    from logllm.events import Explanation, IncidentEvent, SeenBefore
    from logllm.explain.allowance import Allowance, Usage
    from logllm.explain.model.models import ModelStore
    from logllm.explain.model.server import ModelServer
    from logllm.explain.pack import EvidencePack
    from logllm.explain.runbooks.search import Match

__all__ = ["Explainer", "build_explainer"]


WORDLESS = frozenset({"silence", "heartbeat", "release"})


class _Case(NamedTuple):
    """An incident made ready: masked, tamed, searched."""

    pack: EvidencePack
    facts: list[str]
    matches: list[Match]
    key: str
    past: list[SeenBefore]


class Explainer:
    """Explains incidents with a local model, a server, or none. Safe to call from several threads; one at a time.

    `explain` never raises for what a model, its process or its server does: it answers "failed" with the reason in
    `error`, and with the runbook that matches without a model. Close it when done.

    Args:
        model: Name, path or URL as in `ModelStore.resolve`; None for no model.
        store: Answers by fingerprint; a hit costs no tokens, and is checked against the new incident's evidence.
        allowance: What the model may cost; by default as configured, forgotten at the end. Closed with this.
        egress: The hosts that a model's URL may name.
        record: Keeps what the model is sent.
        history: Earlier incidents like one, the likest first; it may raise StateError.
    """

    def __init__(
        self,
        model: str | None,
        catalogue: Catalogue,
        redactor: Redactor,
        store: ExplanationCache,
        *,
        config: ExplainConfig | None = None,
        models: ModelStore | None = None,
        server: ModelServer | None = None,
        allowance: Allowance | None = None,
        egress: EgressConfig | None = None,
        record: Recorder | None = None,
        history: Callable[[IncidentEvent], list[SeenBefore]] = lambda _: [],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history = history
        self.catalogue = catalogue
        self.redactor = redactor
        self.cache_hits = 0
        self._model = model or "none"
        self._store = store
        self._asker = (
            Asker(
                model,
                config or ExplainConfig(),
                models=models,
                server=server,
                allowance=allowance,
                egress=egress,
                record=record,
                clock=clock,
            )
            if model
            else None
        )
        self._clock = clock
        self._lock = threading.Lock()

    @property
    def server(self) -> ModelServer | None:
        """The local model's process, once the model was found."""
        return self._asker.server if self._asker else None

    @property
    def tokens(self) -> int:
        """What the model read and wrote so far."""
        return self._asker.tokens if self._asker else 0

    @property
    def requests(self) -> dict[str, int]:
        """Questions put to the model, by how they ended: "ok", "failed", "later"."""
        return self._asker.requests if self._asker else {}

    def usage(self) -> Usage | None:
        """Tokens spent and saved, over restarts too; None without a model. Raises StateError."""
        return self._asker.allowance.usage() if self._asker else None

    def prepare(self) -> str:
        """Find the model, start nothing; returns its name, "none" without one.

        Raises:
            ModelError: not here, not a GGUF, or on another machine without leave.
        """
        if self._asker is None:
            return "none"
        self._asker.prepare()
        return self._asker.name

    def explain(self, incident: IncidentEvent, *, may_wait: bool = False) -> Explanation:
        """Why, and what to do. Two seconds from the default model on two cores; at most the configured deadline.

        Raises:
            ExplainLater: With `may_wait`, where the model is away or must not be asked now.
        """
        with self._lock, about(incident.id):
            began = self._clock()
            case = self._case(incident)
            clean = untainted(incident, case.pack.tainted)
            explanation = marked(self._explain(clean, case, may_wait=may_wait), case.pack.tainted)
            seconds = round(self._clock() - began, 3)
            return msgspec.structs.replace(explanation, seen_before=case.past, seconds=seconds)

    def question(self, text: str) -> str:
        """A plugin's question, put to the model with secrets and names replaced; "" where there is no answer."""
        with self._lock:
            if self._asker is None or looks_like_instruction(text):
                return ""
            try:
                return self._asker.question(tame(self.redactor.mask(text)))
            except (ExplainError, ModelError):
                return ""

    def without_model(self, incident: IncidentEvent, reason: str) -> Explanation:
        """Facts and runbook alone, as "failed" for `reason`; takes milliseconds and waits for nothing."""
        case = self._case(incident)
        alone = self._failed(untainted(incident, case.pack.tainted), case, reason)
        return msgspec.structs.replace(marked(alone, case.pack.tainted), seen_before=case.past)

    def interrupt(self) -> None:
        """Give up the answer that is being made, and all later ones."""
        if self._asker is not None:
            self._asker.interrupt()

    def close(self) -> None:
        """End the model, close catalogue and cache. A second call does nothing."""
        self.interrupt()
        with self._lock:
            if self._asker is not None:
                self._asker.close()
            self.catalogue.close()
            self._store.close()

    def _explain(self, incident: IncidentEvent, case: _Case, *, may_wait: bool) -> Explanation:
        if incident.kinds == ["injection"]:
            return of_injection(incident)
        if set(incident.kinds) <= WORDLESS and incident.runbook in self.catalogue.by_id:
            # What is missing shows in no line: neither words nor the model can find its runbook.
            return explain_without_model(incident, self.catalogue.by_id[incident.runbook], self.catalogue)
        asker = self._asker
        if asker is None:
            return self._alone(incident, case)
        try:
            cached = self._cached(case.key)
            answer = cached or asker.ask(case.pack, case.matches, severity=incident.severity)
        except (ExplainError, ModelError) as error:
            if may_wait and isinstance(error, ExplainLater):
                raise
            return self._failed(incident, case, str(error))
        if cached is None:
            # A cache that cannot be written costs tokens the next time, not this explanation.
            with contextlib.suppress(StateError):
                self._store.put(case.key, answer)
        else:
            self.cache_hits += 1
            asker.spare(cached.tokens)
        explanation = compose(
            incident,
            answer,
            shown=[Shown(item.id, item.text) for item in case.pack.items],
            facts=case.facts,
            matches=case.matches,
            catalogue=self.catalogue,
            redactor=self.redactor,
            model=asker.name,
            cached=cached is not None,
        )
        spent, saved = (answer.tokens, 0) if cached is None else (0, cached.tokens)
        return msgspec.structs.replace(explanation, tokens=spent, tokens_saved=saved)

    def _alone(self, incident: IncidentEvent, case: _Case) -> Explanation:
        choice = choose(case.matches)
        return explain_without_model(incident, choice.runbook, self.catalogue, margin=choice.margin)

    def _failed(self, incident: IncidentEvent, case: _Case, reason: str) -> Explanation:
        alone = self._alone(incident, case)
        name = self._asker.name if self._asker else "none"
        return msgspec.structs.replace(alone, status="failed", model=name, error=self.redactor.mask(reason))

    def _case(self, incident: IncidentEvent) -> _Case:
        mask = self.redactor.mask
        past = self._past(incident)
        pack = build_pack(incident, self.redactor, past)
        facts = [tame(mask(fact)) for fact in facts_text(incident) if not looks_like_instruction(fact)]
        # Evidence alone finds the runbook: what no line shows, a title must not claim.
        lines = [line.text for line in pack.lines] or ([] if pack.tainted else [mask(incident.template)])
        matches = self.catalogue.search("\n".join(lines), CANDIDATES)
        identity = incident.fingerprint or "\0".join([incident.service, incident.template, *incident.kinds])
        # The name as configured: the one a server or file gives is known only once the model was found.
        parts = [
            identity,
            self._model,
            self.catalogue.digest,
            *(match.runbook.id for match in matches),
            str(bool(pack.tainted)),
        ]
        key = hashlib.blake2b("\x1f".join(parts).encode(errors="replace"), digest_size=16).hexdigest()
        return _Case(pack, facts, matches, key, past)

    def _past(self, incident: IncidentEvent) -> list[SeenBefore]:
        # What was seen before is a help, not a need: no explanation waits for a disk that is full.
        with contextlib.suppress(StateError):
            return self._history(incident)
        return []

    def _cached(self, key: str) -> CachedAnswer | None:
        try:
            found = self._store.get(key)
        except StateError:
            return None
        if found is None or not re.search(r"<[a-z]+_\w+>", found.answer.hypothesis):
            return found
        # Its pseudonyms may stand for others now: the sentence is left out, the choices are kept.
        return msgspec.structs.replace(found, answer=msgspec.structs.replace(found.answer, hypothesis=""))


def build_explainer(
    config: ExplainConfig,
    redactor: Redactor | None = None,
    cache_path: Path | None = None,
    *,
    models: ModelStore | None = None,
    history: Callable[[IncidentEvent], list[SeenBefore]] = lambda _: [],
) -> Explainer:
    """What the `[explain]` table describes.

    Raises:
        ConfigError: a runbook is wrong.
        StateError: the cache's database cannot be opened.
    """
    catalogue = Catalogue.load(config.runbooks)
    store = ExplanationCache(cache_path)
    model = config.model if config.enabled else None
    return Explainer(model, catalogue, redactor or Redactor(), store, config=config, models=models, history=history)
