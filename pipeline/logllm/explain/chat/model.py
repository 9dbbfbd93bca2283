"""The model a conversation uses: a local one that starts with the first question, or a server."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from logllm.errors import ExplainError
from logllm.explain.model.client import Answer, ChatClient
from logllm.explain.model.use import ModelUse
from logllm.explain.prompt import estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from logllm.egress import EgressConfig, Recorder
    from logllm.explain.config import ExplainConfig
    from logllm.explain.model.models import ModelStore
    from logllm.explain.model.server import ModelServer

__all__ = ["ChatModel", "Line"]

# What runs here is small, and reading is what costs it most; a server may be of any size.
_FEW_ITEMS = 5
_MANY_ITEMS = 16


class Line:
    """A model that is ready to be asked. Good for one question."""

    def __init__(self, client: ChatClient, n_ctx: int, deadline_s: float, *, local: bool) -> None:
        self.n_ctx = n_ctx
        self.most_items = _FEW_ITEMS if local else _MANY_ITEMS
        self._client = client
        self._deadline_s = deadline_s
        self._local = local

    def count_tokens(self, text: str) -> int:
        """How many tokens a text is; never too few where the server does not say."""
        if self._local:
            try:
                return self._client.count_tokens(text)
            except ExplainError:
                self._local = False
        return estimate_tokens(text)

    def stream(self, messages: Sequence[dict[str, str]], max_tokens: int) -> Generator[str, None, Answer]:
        """The answer's text as it comes. Raises ExplainError."""
        return self._client.stream(messages, max_tokens=max_tokens, deadline_s=self._deadline_s)


class ChatModel:
    """One model, local or behind a URL; questions take turns. Close it when done.

    Args:
        model: Name, path or URL as in `ModelStore.resolve`.
        config: Its `deadline_s` bounds a question, `idle_s` ends a local model, `n_ctx` bounds what it reads.
        egress: The hosts that a URL may name.
        record: Told of all that the model is sent, before it leaves.
    """

    def __init__(
        self,
        model: str,
        config: ExplainConfig,
        *,
        models: ModelStore | None = None,
        server: ModelServer | None = None,
        egress: EgressConfig | None = None,
        record: Recorder | None = None,
    ) -> None:
        self._use = ModelUse(model, config, models=models, server=server, egress=egress, record=record)
        self._config = config
        self._turn = threading.Lock()

    @property
    def name(self) -> str:
        """The model's: as configured until it was found."""
        return self._use.name

    @property
    def server(self) -> ModelServer | None:
        """The local model's process, once it was found."""
        return self._use.server

    def missing(self) -> str:
        """Why there is none to ask where the default one is meant; see `ModelUse`. Raises ModelError."""
        return self._use.missing()

    def prepare(self) -> None:
        """Find the model; start nothing. Raises ModelError, see `ModelUse`."""
        self._use.prepare()

    @contextlib.contextmanager
    def line(self, incident: str = "") -> Iterator[Line]:
        """The model, started where it does not run, for one question about an incident.

        Raises:
            ModelError: as for `prepare`.
            ExplainError: it cannot be started, is busy with another question for too long, or ended in mid-answer.
        """
        config = self._config
        if not self._turn.acquire(timeout=config.deadline_s):
            raise ExplainError(f"the model is busy with another question for {config.deadline_s:g} s")
        try:
            with self._use.session(config.deadline_s, incident) as (client, is_local):
                yield Line(client, config.n_ctx, config.deadline_s, local=is_local)
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the local model. A second call does nothing."""
        self._use.close()
