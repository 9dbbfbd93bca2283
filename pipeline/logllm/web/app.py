"""Health, readiness and metrics over HTTP: a plain ASGI application and the server that carries it.

There is no authentication: whoever reaches the port sees the figures. So it listens on loopback unless told
otherwise; what is told otherwise is logged. No record is ever shown, and nothing here changes state but what a
`Page` takes in, which proves by a signature who sends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from logllm.errors import ConfigError, SourceError
from logllm.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from typing import Self

    import uvicorn

__all__ = ["HttpServer", "Page", "Request", "application", "reaches_beyond"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("logllm.http")

_JSON = "application/json"
_MOST_BODY_BYTES = 1 << 20
_BODY_S = 10.0


class Request(msgspec.Struct, frozen=True):
    """What came for a `Page`. Header names are in lower case; of one that came twice the last stands."""

    method: str
    headers: Mapping[str, str]
    query: str
    body: bytes


Page = Callable[[Request], Awaitable[tuple[int, str, bytes]]]
"""Answers GET and POST at a path of its own: status, content type, body. It trusts nothing in the request."""


def application(
    health: Callable[[], Mapping[str, object]],
    ready: Callable[[], list[str]],
    metrics: Callable[[], bytes],
    lists: Mapping[str, Callable[[], Sequence[msgspec.Struct]]],
    pages: Mapping[str, Page] = MappingProxyType({}),
) -> App:
    """An ASGI application: `/healthz`, `/readyz`, `/metrics`, lists as JSON, and 404 or 405 for all else.

    Args:
        health: What to say beside `"status": "ok"`; being able to answer is the check.
        ready: What is still missing, in plain words; empty is ready (200), else 503 with the reasons.
        metrics: Prometheus text.
        lists: By path: `/plugins`, how each does; `/senders`, who sends, and how.
        pages: By path: what takes something in.
    """

    def healthz() -> tuple[int, str, bytes]:
        return 200, _JSON, msgspec.json.encode({"status": "ok", **health()})

    def readyz() -> tuple[int, str, bytes]:
        reasons = ready()
        body = {"status": "not ready", "reasons": reasons} if reasons else {"status": "ready"}
        return 503 if reasons else 200, _JSON, msgspec.json.encode(body)

    def exposition() -> tuple[int, str, bytes]:
        return 200, CONTENT_TYPE, metrics()

    def listed(rows: Callable[[], Sequence[msgspec.Struct]]) -> tuple[int, str, bytes]:
        return 200, _JSON, msgspec.json.encode(rows())

    routes: dict[str, Callable[[], tuple[int, str, bytes]]]
    routes = {"/healthz": healthz, "/readyz": readyz, "/metrics": exposition}
    routes |= {path: partial(listed, rows) for path, rows in lists.items()}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        route, page = routes.get(scope["path"]), pages.get(scope["path"])
        headers = []
        if page is not None and scope["method"] in ("GET", "POST"):
            status, kind, body = await _page(page, scope, receive)
            headers.append(
                (
                    b"content-security-policy",
                    b"default-src 'none'; form-action 'self'; frame-ancestors 'none'; style-src 'unsafe-inline'",
                )
            )
            headers.append((b"referrer-policy", b"no-referrer"))
        elif page is not None:
            status, kind, body = 405, _JSON, b'{"error":"only GET and POST"}'
            headers.append((b"allow", b"GET, POST"))
        elif route is None:
            paths = sorted([*routes, *pages])
            status, kind, body = 404, _JSON, msgspec.json.encode({"error": "not found", "paths": paths})
        elif scope["method"] not in ("GET", "HEAD"):
            status, kind, body = 405, _JSON, b'{"error":"only GET and HEAD"}'
            headers.append((b"allow", b"GET, HEAD"))
        else:
            status, kind, body = route()
        headers += [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


async def _page(page: Page, scope: Scope, receive: Receive) -> tuple[int, str, bytes]:
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return 400, _JSON, b'{"error":"it ended early"}'
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > _MOST_BODY_BYTES:
                    return 413, _JSON, b'{"error":"too large"}'
                if not message.get("more_body"):
                    break
    except TimeoutError:
        return 408, _JSON, b'{"error":"it took too long"}'
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope.get("query_string", b"").decode("latin-1")
    return await page(Request(scope["method"], headers, query, b"".join(pieces)))


class HttpServer:
    """Serves `application` in the running event loop; signals stay with whoever runs that loop.

    Args:
        listen: `host:port`; port 0 picks a free one.
        health, ready, metrics, lists, pages: See `application`.
    """

    def __init__(
        self,
        listen: str,
        health: Callable[[], Mapping[str, object]],
        ready: Callable[[], list[str]],
        metrics: Callable[[], bytes],
        lists: Mapping[str, Callable[[], Sequence[msgspec.Struct]]] = MappingProxyType({}),
        pages: Mapping[str, Page] = MappingProxyType({}),
    ) -> None:
        self._listen = listen
        self._app = application(health, ready, metrics, lists, pages)
        self._server: uvicorn.Server | None = None
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Self:
        """Begin to listen.

        Raises:
            ConfigError: `listen` is not `host:port`.
            SourceError: the address cannot be bound.
        """
        import uvicorn

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

        self._socket = _bound(self._listen)
        if reaches_beyond(self._socket.getsockname()[0]):
            _log.warning("%s: health and metrics can be read from other machines, without a password", self._listen)
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=64,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
        self._server = Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0)
        if self._task.done():
            await self._task
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are really bound."""
        if self._socket is None:
            raise SourceError(f"{self._listen}: not listening")
        host, port = self._socket.getsockname()[:2]
        return host, port

    async def close(self) -> None:
        """Finish the answers under way and stop."""
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


def reaches_beyond(address: str) -> bool:
    """Whether other machines can reach a socket bound to this address.

    >>> reaches_beyond("127.0.0.1"), reaches_beyond("::1"), reaches_beyond("0.0.0.0"), reaches_beyond("10.0.0.7")
    (False, False, True, True)
    """
    return not ipaddress.ip_address(address).is_loopback


def _bound(listen: str) -> socket.socket:
    host, colon, port = listen.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{listen!r}: expected `host:port` with a port from 0 to 65535")
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
