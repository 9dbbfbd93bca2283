"""Serves the chat page on this machine, until it is told to stop."""

from __future__ import annotations

import asyncio
import secrets
import signal
from typing import TYPE_CHECKING

from logllm.errors import SourceError
from logllm.web.chat.app import ChatApp
from logllm.web.chat.guard import Guard
from logllm.web.listen import Listening, bound

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from logllm.explain.chat.chat import Chat

__all__ = ["ChatPage", "serve_page"]

_HOST = "127.0.0.1"
_KEY_BYTES = 32


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
        self._listening: Listening | None = None

    @property
    def address(self) -> str:
        """Where the page is, key included."""
        if self._listening is None:
            raise SourceError("the page is not served")
        return f"http://{_HOST}:{self._listening.address[1]}/?key={self._key}"

    async def start(self) -> Self:
        """Begin to serve.

        Raises:
            SourceError: the port is in use.
        """
        sock = bound(f"{_HOST}:{self._port}")
        app = ChatApp(
            self._chat,
            Guard(self._key, sock.getsockname()[1]),
            incident=self._incident,
            put_back=self._put_back,
            learning=self._learning,
            missing=self._missing,
        )
        self._listening = Listening(sock, app)
        await self._listening.start()
        return self

    async def close(self) -> None:
        """Stop; answers under way end within a second."""
        if self._listening is not None:
            await self._listening.close()
        self._listening = None

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
