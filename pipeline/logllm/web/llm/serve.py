"""Runs the service: finds the model, listens, ends its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from logllm.errors import ConfigError, SourceError
from logllm.explain.model.models import LocalModel, RemoteModel
from logllm.explain.model.pool import ModelPool
from logllm.explain.model.schedule import Schedule
from logllm.explain.model.server import ModelServer
from logllm.web.listen import Listening, bound, reaches_beyond
from logllm.web.llm.answering import Answering
from logllm.web.llm.app import LlmApp
from logllm.web.llm.door import Door
from logllm.web.llm.figures import Figures
from logllm.web.llm.upstream import Upstream, Url, Workers, open_client

if TYPE_CHECKING:
    import httpx

    from logllm.egress import Sent
    from logllm.explain.model.config import LlmConfig

__all__ = ["LlmServer", "make_pool"]

_MOST_CONNECTIONS = 256


def make_pool(model: LocalModel, config: LlmConfig) -> ModelPool:
    """A pool for a model that is here.

    Raises:
        ConfigError: a window is none, or more workers are to be kept than there may be.
    """
    schedule = Schedule(config.windows, "llm.windows")
    if config.min_workers > config.workers:
        raise ConfigError(
            f"llm.min_workers: {config.min_workers}, expected at most `workers`, which is {config.workers}"
        )

    def make() -> ModelServer:
        # The pool says how many threads each request may have.
        return ModelServer(
            model.path, name=model.name, idle_s=0.0, n_ctx=config.n_ctx, memory_bytes=config.memory_bytes
        )

    return ModelPool(make, config, opens_in_s=schedule.opens_in_s)


class LlmServer:
    """Serves the API in the running event loop; signals stay with whoever runs that loop.

    Args:
        keys: What clients must show one of. None at all is for loopback only.
        upstream_key: For a model behind a URL.
        sent: Told of what goes to a model behind a URL before it leaves.
    """

    def __init__(
        self,
        model: LocalModel | RemoteModel,
        config: LlmConfig,
        keys: Sequence[str],
        *,
        upstream_key: str = "",
        sent: Sent | None = None,
    ) -> None:
        self._model = model
        self._config = config
        self._keys = keys
        self._upstream_key = upstream_key
        self._sent = sent
        self.pool = make_pool(model, config) if isinstance(model, LocalModel) else None
        self._http: httpx.AsyncClient | None = None
        self._listening: Listening | None = None

    async def start(self) -> Self:
        """Begin to listen; no worker is started.

        Raises:
            ConfigError: `listen` is not `host:port`, or reaches beyond this machine without a key; a profile is none.
            SourceError: the address cannot be bound.
        """
        try:
            await self._listen()
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def url(self) -> str:
        """Where it really listens, up to and with `/v1`."""
        if self._listening is None:
            raise SourceError(f"{self._config.listen}: not listening")
        host, port = self._listening.address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"

    async def close(self) -> None:
        """Break off what is under way and end the workers. A second call does nothing."""
        if self._listening is not None:
            await self._listening.close()
        if self.pool is not None:
            await asyncio.to_thread(self.pool.close)
        if self._http is not None:
            await self._http.aclose()
        self._listening = self._http = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _listen(self) -> None:
        sock = bound(self._config.listen, "llm.listen")
        try:
            app = self._app(sock.getsockname()[0])
        except BaseException:
            sock.close()
            raise
        self._listening = Listening(sock, app, most=_MOST_CONNECTIONS)
        await self._listening.start()

    def _app(self, address: str) -> LlmApp:
        if reaches_beyond(address) and not self._keys:
            raise ConfigError(f"{self._config.listen}: other machines could ask without a key, expected a key file")
        self._http = open_client()
        upstream: Upstream
        if self.pool is not None:
            upstream = Workers(self.pool, self._http)
        else:
            model = self._model
            if not isinstance(model, RemoteModel):
                raise TypeError(f"Expected a model behind a URL, got {model!r}")
            most = self._config.queue + self._config.workers
            upstream = Url(model.url, model.name, self._upstream_key, self._http, most=most, sent=self._sent)
        figures = Figures()
        local = self.pool is not None
        answering = Answering(upstream, self._model.name, self._config, figures, local=local)
        return LlmApp(answering, Door(self._keys, self._config.hosts), figures, upstream.pool_state)
