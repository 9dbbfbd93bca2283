"""Puts the question to the model: finds it, keeps its process, its deadline and its token budget."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from logllm.errors import ExplainError, ExplainLater, StateError
from logllm.explain.allowance import Allowance
from logllm.explain.cache import CachedAnswer
from logllm.explain.checks import parse_answer
from logllm.explain.model.use import ModelUse
from logllm.explain.prompt import ANSWER_TOKENS, build_prompt
from logllm.explain.questions import QUESTION_TOKENS, build_question, parse_question
from logllm.explain.runbooks.choice import (
    NEUTRAL,
    TITLE_TOKENS,
    choose,
    decided,
    question_of,
    scored_text,
    title_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logllm.egress import EgressConfig, Recorder
    from logllm.explain.config import ExplainConfig
    from logllm.explain.model.client import ChatClient
    from logllm.explain.model.models import ModelStore
    from logllm.explain.model.server import ModelServer
    from logllm.explain.pack import EvidencePack
    from logllm.explain.runbooks.search import Match

__all__ = ["Asker"]

_Answer = TypeVar("_Answer")


class Asker:
    """One model, local or behind a URL. Not for several threads at once, `interrupt` aside."""

    def __init__(
        self,
        model: str,
        config: ExplainConfig,
        *,
        models: ModelStore | None = None,
        server: ModelServer | None = None,
        allowance: Allowance | None = None,
        egress: EgressConfig | None = None,
        record: Recorder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._use = ModelUse(model, config, models=models, server=server, egress=egress, record=record)
        self.allowance = allowance or Allowance(config, clock=clock)
        self.requests = dict.fromkeys(("ok", "failed", "later"), 0)
        self.tokens = 0
        self._config = config
        self._clock = clock
        self._read = self._written = 0
        self._stopped = threading.Event()
        # How likely the model finds a title by itself; as many as there are runbooks.
        self._usual: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The model's: as configured until it was found."""
        return self._use.name

    @property
    def server(self) -> ModelServer | None:
        """The local model's process, once it was found."""
        return self._use.server

    def prepare(self) -> None:
        """Find the model; start nothing. Raises ModelError, see `ModelUse`."""
        self._use.prepare()

    def ask(self, pack: EvidencePack, matches: Sequence[Match], *, severity: str = "warning") -> CachedAnswer:
        """The model's answer, unchecked.

        Raises:
            ModelError: as for `prepare`.
            ExplainLater: The model is away, its window is shut, or the hour's tokens for this severity are used up.
            ExplainError: no usable answer, with the reason; asking again would give none either.
        """
        if not pack.lines:
            raise ExplainError("no evidence that may be shown to a model")
        return self._with_client(
            severity,
            lambda client, ends: self._score_and_chat(client, pack, matches, ends),
            lambda client, ends: self._chat(client, pack, matches, {}, ends, local=False),
        )

    def question(self, text: str) -> str:
        """The model's answer, in a sentence, to a question that is no incident's; unchecked. Raises as `ask` does."""

        def put(client: ChatClient, ends: float) -> str:
            messages, schema = build_question(text)
            answer = client.chat(messages, schema, max_tokens=QUESTION_TOKENS, deadline_s=self._left(ends))
            self._spend(answer.prompt_tokens or len(text) // 3, answer.completion_tokens or QUESTION_TOKENS)
            return parse_question(answer.text)

        return self._with_client("info", put, put)

    def spare(self, tokens: int) -> None:
        """The cache had an answer that cost so many tokens when it was made."""
        with contextlib.suppress(StateError):
            self.allowance.spare(tokens)

    def _with_client(
        self,
        severity: str,
        local: Callable[[ChatClient, float], _Answer],
        remote: Callable[[ChatClient, float], _Answer],
    ) -> _Answer:
        self._read = self._written = 0
        outcome = "failed"
        try:
            self._may(severity)
            answer = self._answered(local, remote)
            outcome = "ok"
            return answer
        except ExplainLater:
            outcome = "later"
            raise
        finally:
            self.requests[outcome] += 1
            if self._read or self._written:
                self.tokens += self._read + self._written
                # A full disk must not cost an explanation: the hour's tokens are not counted then.
                with contextlib.suppress(StateError):
                    self.allowance.spend(self._read, self._written)

    def _answered(
        self, local: Callable[[ChatClient, float], _Answer], remote: Callable[[ChatClient, float], _Answer]
    ) -> _Answer:
        if self._stopped.is_set():
            raise ExplainLater("the explainer is stopping")
        ends = self._clock() + self._config.deadline_s
        with self._use.session(self._config.deadline_s) as (client, is_local):
            return local(client, ends) if is_local else remote(client, ends)

    def interrupt(self) -> None:
        """Give up the answer that is being made: the local model ends at once, a remote request at its deadline."""
        self._stopped.set()
        self._use.interrupt()

    def close(self) -> None:
        """End the local model, close the account. A second call does nothing."""
        self.interrupt()
        self._use.close()
        self.allowance.close()

    def _score_and_chat(
        self, client: ChatClient, pack: EvidencePack, matches: Sequence[Match], ends: float
    ) -> CachedAnswer:
        likelihoods: dict[str, float] = {}
        if not decided(matches):
            text = scored_text([line.text for line in pack.lines])
            titles = [title_of(match.runbook) for match in matches]
            scores = self._scores(client, question_of(text), titles, ends)
            unknown = [title for title in titles if title not in self._usual]
            if unknown:
                usual = self._scores(client, question_of(NEUTRAL), unknown, ends)
                self._usual.update(zip(unknown, usual, strict=True))
            gains = [score - self._usual[title] for score, title in zip(scores, titles, strict=True)]
            likelihoods = dict(zip((match.runbook.id for match in matches), gains, strict=True))
            matches = choose(matches, gains).ranked
        # A small model confuses what it reads: the two best, the best first.
        return self._chat(client, pack, matches[:2], likelihoods, ends, local=True)

    def _scores(self, client: ChatClient, question: str, titles: Sequence[str], ends: float) -> list[float]:
        self._spend(len(question) // 4 + sum(len(title) for title in titles) // 4, 0)
        return client.score(question, titles, max_tokens=TITLE_TOKENS, deadline_s=self._left(ends))

    def _chat(
        self,
        client: ChatClient,
        pack: EvidencePack,
        matches: Sequence[Match],
        likelihoods: dict[str, float],
        ends: float,
        *,
        local: bool,
    ) -> CachedAnswer:
        runbooks = [match.runbook for match in matches]
        try:
            if local:
                prompt = build_prompt(
                    pack,
                    runbooks,
                    n_ctx=self._config.n_ctx,
                    count_tokens=client.count_tokens,
                    count_chat=client.count_chat_tokens,
                )
            else:
                prompt = build_prompt(pack, runbooks, n_ctx=self._config.n_ctx)
        except ValueError as error:
            raise ExplainError(f"the prompt does not fit: {error}") from None
        # Nothing before the sentence holds a full stop and a space, and after its first one the rest is of no use.
        stop = [". "] if local else []
        answer = client.chat(
            prompt.messages, prompt.schema, max_tokens=ANSWER_TOKENS, stop=stop, deadline_s=self._left(ends)
        )
        self._spend(answer.prompt_tokens or prompt.tokens, answer.completion_tokens or ANSWER_TOKENS)
        if local and answer.prompt_tokens and answer.prompt_tokens < prompt.tokens:
            raise ExplainError(f"the model read {answer.prompt_tokens} tokens of a prompt of {prompt.tokens}")
        said = parse_answer(answer.text, ended=answer.ended)
        return CachedAnswer(said, likelihoods, self._read + self._written, local)

    def _left(self, ends: float) -> float:
        left = ends - self._clock()
        if left <= 0:
            raise ExplainLater(f"no answer in {self._config.deadline_s:g} s")
        return left

    def _may(self, severity: str) -> None:
        with contextlib.suppress(StateError):
            if shut_s := self.allowance.shut_s(severity):
                raise ExplainLater("the model works in its windows only", shut_s, excused=True)
            if dry_s := self.allowance.dry_s(severity):
                raise ExplainLater(
                    f"what incidents of severity {severity} may use of {self._config.tokens_per_hour} tokens an hour "
                    "is used up",
                    dry_s,
                )

    def _spend(self, read: int, written: int) -> None:
        self._read += read
        self._written += written
