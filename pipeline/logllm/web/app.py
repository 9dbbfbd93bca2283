"""Health, readiness and metrics over HTTP: a plain ASGI application and the server that carries it.

There is no authentication: whoever reaches the port sees the figures. So it listens on loopback unless told
otherwise; what is told otherwise is logged. No record is ever shown, and nothing here changes state but what a
`Page` takes in, which proves by a signature who sends it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import SourceError
from logllm.metrics import CONTENT_TYPE
from logllm.web.listen import App, Listening, Receive, Scope, Send, bound, reaches_beyond, read_body

if TYPE_CHECKING:
    from typing import Self

__all__ = ["HttpServer", "Page", "Request", "application"]

_log = logging.getLogger("logllm.http")

_JSON = "application/json"
_MOST_BODY_BYTES = 1 << 20
_REFUSED = {400: b'{"error":"it ended early"}', 408: b'{"error":"it took too long"}', 413: b'{"error":"too large"}'}


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
    body = await read_body(receive, _MOST_BODY_BYTES)
    if isinstance(body, int):
        return body, _JSON, _REFUSED[body]
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope.get("query_string", b"").decode("latin-1")
    return await page(Request(scope["method"], headers, query, body))


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
        self._listening: Listening | None = None

    async def start(self) -> Self:
        """Begin to listen.

        Raises:
            ConfigError: `listen` is not `host:port`.
            SourceError: the address cannot be bound.
        """
        self._listening = Listening(bound(self._listen), self._app)
        if reaches_beyond(self.address[0]):
            _log.warning("%s: health and metrics can be read from other machines, without a password", self._listen)
        await self._listening.start()
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are really bound."""
        if self._listening is None:
            raise SourceError(f"{self._listen}: not listening")
        return self._listening.address

    async def close(self) -> None:
        """Finish the answers under way and stop."""
        if self._listening is not None:
            await self._listening.close()
        self._listening = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()
