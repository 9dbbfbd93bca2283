"""Serves the chat page on this machine, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import socket
from typing import TYPE_CHECKING

from logllm.errors import SourceError
from logllm.web.chat.app import ChatApp
from logllm.web.chat.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    import uvicorn

    from logllm.explain.chat.chat import Chat

__all__ = ["ChatPage", "serve_page"]

_HOST = "127.0.0.1"
_KEY_BYTES = 32
_KEEP_ALIVE_S = 5
_GRACE_S = 1


class ChatPage:
    """The page in the running event loop, on 127.0.0.1 alone; signals stay with whoever runs that loop.

    Args:
        port: 0 picks a free one.
        key: What the address must hold; random where it is not given.
        incident, put_back, learning, missing: See `ChatApp`.
    """

    def __init__(
        self,
        chat: Chat,
        *,
        port: int = 0,
        key: str = "",
        incident: str = "",
        put_back: Callable[[str], str] = str,
        learning: str | None = None,
        missing: str | None = None,
    ) -> None:
        self._chat = chat
        self._port = port
        self._key = key or secrets.token_urlsafe(_KEY_BYTES)
        self._incident = incident
        self._put_back = put_back
        self._learning = learning or ""
        self._missing = missing or ""
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where the page is, key included."""
        if self._socket is None:
            raise SourceError("the page is not served")
        return f"http://{_HOST}:{self._socket.getsockname()[1]}/?key={self._key}"

    async def start(self) -> Self:
        """Begin to serve.

        Raises:
            SourceError: the port is in use.
        """
        import uvicorn

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

        self._socket = _bound(self._port)
        app = ChatApp(
            self._chat,
            Guard(self._key, self._socket.getsockname()[1]),
            incident=self._incident,
            put_back=self._put_back,
            learning=self._learning,
            missing=self._missing,
        )
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=64,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0)
        if self._task.done():
            await self._task
        return self

    async def close(self) -> None:
        """Stop; answers under way end within a second."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
        if self._socket is not None:
            self._socket.close()
        self._server = self._task = self._socket = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def serve_page(
    chat: Chat,
    *,
    port: int = 0,
    incident: str = "",
    put_back: Callable[[str], str] = str,
    learning: str | None = None,
    missing: str | None = None,
    told: Callable[[str], None],
) -> None:
    """Serve the page until SIGINT or SIGTERM, then end the model. `told` gets its address once it answers.

    Raises:
        SourceError: the port is in use.
    """

    async def run() -> None:
        page = ChatPage(chat, port=port, incident=incident, put_back=put_back, learning=learning, missing=missing)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        async with page:
            told(page.address)
            await ended.wait()
            if chat.model is not None:
                # An answer that waits for a local model ends with it, not at its deadline.
                await asyncio.to_thread(chat.model.close)

    asyncio.run(run())


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((_HOST, port))
    except OSError as error:
        sock.close()
        raise SourceError(f"{_HOST}:{port}: cannot listen: {error.strerror or error}") from error
    sock.setblocking(False)
    return sock
