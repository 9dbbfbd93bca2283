"""The model a conversation uses: a local one that starts with the first question, or a server."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from logllm.egress import about
from logllm.errors import ExplainError, StateError
from logllm.explain.model.client import Answer, ChatClient
from logllm.explain.model.models import LocalModel, ModelStore, RemoteModel
from logllm.explain.model.server import ModelServer
from logllm.explain.prompt import estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from logllm.egress import EgressConfig, Recorder, Sent
    from logllm.explain.config import ExplainConfig

__all__ = ["ChatModel", "Line"]

_LEAST_S = 1.0
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = server.name if server is not None else model
        self.server = server
        self._model = model
        self._config = config
        self._models = models
        self._egress = egress
        self._record = record
        self._remote: RemoteModel | None = None
        self._clock = clock
        self._turn = threading.Lock()

    def prepare(self) -> None:
        """Find the model; start nothing.

        Raises:
            ModelError: not here, not a GGUF, or on another machine without leave.
        """
        if self.server is not None or self._remote is not None:
            return
        config = self._config
        found = (self._models or ModelStore()).resolve(self._model, egress=self._egress)
        if isinstance(found, LocalModel):
            self.server = ModelServer(
                found.path,
                name=found.name,
                idle_s=config.idle_s,
                n_ctx=config.n_ctx,
                threads=config.threads,
                memory_bytes=config.memory_bytes,
            )
        else:
            self._remote = found
        self.name = found.name

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
            self.prepare()
            sent = self._sent(incident)
            remote = self._remote
            if remote is not None:
                key = os.environ.get("LOGLLM_API_KEY", "")
                client = ChatClient(remote.url, key, remote.name, deadline_s=config.deadline_s, sent=sent)
                yield Line(client, config.n_ctx, config.deadline_s, local=False)
                return
            server = self.server
            if server is None:
                raise ExplainError("no model was found")
            with server.session(max(_LEAST_S, config.deadline_s)) as endpoint:
                client = ChatClient(
                    endpoint.base_url, endpoint.key, endpoint.model, deadline_s=config.deadline_s, sent=sent
                )
                try:
                    yield Line(client, config.n_ctx, config.deadline_s, local=True)
                except ExplainError as error:
                    if "no answer in" in str(error):
                        server.kill()  # it may be deep in llama.cpp, where nothing reaches it
                        raise
                    how = server.check(wait_s=0.5 if "broke" in str(error) or "listens" in str(error) else 0.0)
                    if how is not None:
                        raise ExplainError(f"the model's process ended in mid-answer ({how})") from None
                    raise
                server.succeeded()
        finally:
            self._turn.release()

    def _sent(self, incident: str) -> Sent | None:
        if self._record is None:
            return None
        keep = self._record("model", self.name)

        def sent(to: str, body: bytes) -> None:
            try:
                with about(incident):
                    keep(to, body)
            except StateError as error:
                raise ExplainError(f"not sent: {error}") from None

        return sent

    def close(self) -> None:
        """End the local model. A second call does nothing."""
        if self.server is not None:
            self.server.close()
