"""What every server of ours shares: the address it listens on, uvicorn in a loop that others own, a bounded body."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from logllm.errors import ConfigError, SourceError

if TYPE_CHECKING:
    import uvicorn

__all__ = ["App", "Listening", "Receive", "Scope", "Send", "bound", "reaches_beyond", "read_body"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODY_S = 10.0
_KEEP_ALIVE_S = 5
_GRACE_S = 1


class Listening:
    """An ASGI application served on a socket in the running event loop; signals stay with whoever runs that loop.

    Args:
        sock: Bound; closed with this.
        most: Connections; more are refused with 503.
    """

    def __init__(self, sock: socket.socket, app: App, *, most: int = 64) -> None:
        self._socket = sock
        self._app = app
        self._most = most
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        import uvicorn

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

        config = uvicorn.Config(
            self._app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=self._most,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0)
        if self._task.done():
            await self._task

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are really bound."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    async def close(self) -> None:
        """Finish the answers under way, within a second, and stop. A second call does nothing."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
        self._socket.close()
        self._server = self._task = None


def bound(listen: str, key: str = "") -> socket.socket:
    """A socket bound to `host:port`; port 0 picks a free one.

    Args:
        key: Where the configuration says so, for the error.

    Raises:
        ConfigError: It is not `host:port`.
        SourceError: The address cannot be bound.
    """
    host, colon, port = listen.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        where = f"{key}: " if key else ""
        raise ConfigError(f"{where}{listen!r}: expected `host:port` with a port from 0 to 65535")
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, number)
    except OSError as error:
        raise SourceError(f"{listen}: cannot listen: {error.strerror or error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        reason = "address already in use" if error.errno == errno.EADDRINUSE else str(error.strerror or error)
        raise SourceError(f"{listen}: cannot listen: {reason}") from error
    sock.setblocking(False)
    return sock


def reaches_beyond(address: str) -> bool:
    """Whether other machines can reach a socket bound to this address.

    >>> reaches_beyond("127.0.0.1"), reaches_beyond("::1"), reaches_beyond("0.0.0.0"), reaches_beyond("10.0.0.7")
    (False, False, True, True)
    """
    return not ipaddress.ip_address(address).is_loopback


async def read_body(receive: Receive, most_bytes: int) -> bytes | int:
    """The whole body of a request, or the status to refuse it with: 400 ended early, 408 too slow, 413 too large."""
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return 400
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > most_bytes:
                    return 413
                if not message.get("more_body"):
                    return b"".join(pieces)
    except TimeoutError:
        return 408
