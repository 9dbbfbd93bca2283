"""A model as those who ask one use it: found by name, path or URL; started where it is local; why it ended."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from typing import TYPE_CHECKING

from logllm.egress import about
from logllm.errors import ExplainError, ExplainLater, ModelError, StateError
from logllm.explain.config import ExplainConfig
from logllm.explain.model.client import ChatClient
from logllm.explain.model.models import LocalModel, ModelStore, RemoteModel
from logllm.explain.model.server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.egress import EgressConfig, Recorder, Sent

__all__ = ["ModelUse"]

_LEAST_S = 1.0


class ModelUse:
    """One model, local or behind a URL. Close it when done.

    Args:
        model: Name, path or URL as in `ModelStore.resolve`.
        server: A local model that was found already.
        egress: The hosts that a URL may name.
        record: Keeps what the model is sent, before it is.

    Attributes:
        name: As configured, and once the model was found, its own.
        server: The local model's process, once it was found.
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
        self.name = server.name if server is not None else model
        self.server = server
        self._model = model
        self._config = config
        self._models = models
        self._egress = egress
        self._record = record
        self._remote: RemoteModel | None = None

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

    def missing(self) -> str:
        """Find the model, start nothing; why it cannot be used where the default one is meant, else "".

        Raises:
            ModelError: as for `prepare`, where it was asked for by name.
        """
        try:
            self.prepare()
        except ModelError as error:
            if self._model != ExplainConfig().model:
                raise
            return str(error)
        if self.server is not None and importlib.util.find_spec("llama_cpp") is None:
            return "no language model: pip install 'logllm[llm]'"
        return ""

    @contextlib.contextmanager
    def session(self, deadline_s: float, incident: str = "") -> Iterator[tuple[ChatClient, bool]]:
        """The model, started where it does not run, and whether it is our own child.

        Args:
            incident: What it will be asked about, for what is kept of it.

        Raises:
            ModelError: as for `prepare`.
            ExplainLater: it cannot be started now, hung and was ended, or ended in mid-answer.
            ExplainError: it cannot be started here at all.
        """
        self.prepare()
        sent = self._sent(incident)
        if self._remote is not None:
            key = os.environ.get("LOGLLM_API_KEY", "")
            limit_s = self._config.deadline_s
            yield ChatClient(self._remote.url, key, self._remote.name, deadline_s=limit_s, sent=sent), False
            return
        server = self.server
        if server is None:
            raise ExplainError("no model was found")
        with server.session(max(_LEAST_S, deadline_s)) as endpoint:
            client = ChatClient(
                endpoint.base_url, endpoint.key, endpoint.model, deadline_s=self._config.deadline_s, sent=sent
            )
            try:
                yield client, True
            except ExplainError as error:
                raise self._why(server, error) from None
            server.succeeded()

    def interrupt(self) -> None:
        """End the local model now, and with it the answer that is being made; a new question starts it again."""
        if self.server is not None:
            self.server.kill()

    def close(self) -> None:
        """End the local model. A second call does nothing."""
        if self.server is not None:
            self.server.close()

    def _sent(self, incident: str) -> Sent | None:
        """Keeps what the model is sent; what cannot be kept where it must is asked later."""
        if self._record is None:
            return None
        keep = self._record("model", self.name)

        def sent(to: str, body: bytes) -> None:
            try:
                with about(incident) if incident else contextlib.nullcontext():
                    keep(to, body)
            except StateError as error:
                raise ExplainLater(f"not sent: {error}") from None

        return sent

    def _why(self, server: ModelServer, error: ExplainError) -> ExplainError:
        if "no answer in" in str(error):
            # It may be deep in llama.cpp, where nothing reaches it.
            server.kill()
            return ExplainLater(f"the model gave no answer in {self._config.deadline_s:g} s and was ended")
        # A broken connection shows a moment before the process is gone for its parent.
        how = server.check(wait_s=0.5 if "broke" in str(error) or "listens" in str(error) else 0.0)
        return error if how is None else ExplainLater(f"the model's process ended in mid-answer ({how})")
