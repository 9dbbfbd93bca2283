"""The OpenAI-compatible API as a plain ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from logllm.metrics import CONTENT_TYPE
from logllm.web.listen import Receive, Scope, Send, read_body
from logllm.web.llm.asked import ChatRequest, CompletionRequest, Refusal, chat_request, completion_request

if TYPE_CHECKING:
    from logllm.explain.model.pool_state import PoolState
    from logllm.web.llm.answering import Answering
    from logllm.web.llm.door import Caller, Door
    from logllm.web.llm.figures import Figures

__all__ = ["LlmApp"]


# The workers read a mebibyte; what is added to a request on its way is small.
_MOST_BODY_BYTES = 900_000
_JSON = "application/json"
_POSTS: dict[str, Callable[[bytes], ChatRequest | CompletionRequest]] = {
    "/v1/chat/completions": chat_request,
    "/v1/completions": completion_request,
}
_GETS = ("/v1/models", "/health", "/metrics")


class LlmApp:
    """`/v1/chat/completions`, `/v1/completions`, `/v1/models`, `/health`, `/metrics`; all else is an error.

    A client that goes away ends its request, and the model stops writing for it.

    Args:
        pool: The workers' state; None where the model is behind a URL.
    """

    def __init__(
        self, answering: Answering, door: Door, figures: Figures, pool: Callable[[], PoolState | None]
    ) -> None:
        self._answering = answering
        self._door = door
        self._figures = figures
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        path = scope["path"].rstrip("/") or "/"
        # Only our own paths become labels.
        endpoint = path if path in _POSTS or path in _GETS else "other"
        answer = _Answer(send, head=scope["method"] == "HEAD")
        began = asyncio.get_running_loop().time()
        self._figures.under_way += 1
        try:
            await self._answer(scope, path, receive, answer)
        except Refusal as refusal:
            await answer.refuse(refusal)
        finally:
            self._figures.under_way -= 1
            self._figures.requests[endpoint, str(answer.status or "gone")] += 1
            if path in _POSTS and answer.status == 200:
                self._figures.seconds.observe(asyncio.get_running_loop().time() - began)

    async def _answer(self, scope: Scope, path: str, receive: Receive, answer: _Answer) -> None:
        peer = scope.get("client") or ("unknown", 0)
        caller = self._door.enter(scope["headers"], str(peer[0]), needs_key=path != "/health")
        method = scope["method"]
        if path in _POSTS:
            if method != "POST":
                raise Refusal(405, f"expected POST {path}", headers=(("Allow", "POST"),))
            await self._post(scope, path, receive, answer, caller)
            return
        known = path in _GETS or path.startswith("/v1/models/")
        if known and method not in ("GET", "HEAD"):
            raise Refusal(405, f"expected GET {path}", headers=(("Allow", "GET, HEAD"),))
        if path == "/health":
            await self._health(answer, caller)
        elif path == "/metrics":
            state = await asyncio.to_thread(self._pool)
            await answer.whole(200, self._figures.text(state), kind=CONTENT_TYPE)
        elif path == "/v1/models":
            data = [_model(name) for name in self._answering.models()]
            await answer.whole(200, msgspec.json.encode({"object": "list", "data": data}))
        elif path.startswith("/v1/models/"):
            name = path.removeprefix("/v1/models/")
            if name not in self._answering.models():
                raise Refusal(404, f"The model {name[:100]!r} does not exist", code="model_not_found", param="model")
            await answer.whole(200, msgspec.json.encode(_model(name)))
        elif path == "/v1/embeddings":
            raise Refusal(404, "this model makes no embeddings: it is made for chats", code="unsupported_endpoint")
        else:
            raise Refusal(404, f"Unknown request URL: {method} {path[:200]}", code="unknown_url")

    async def _health(self, answer: _Answer, caller: Caller) -> None:
        body: dict[str, Any] = {"status": "ok"}
        if caller.known:
            state = await asyncio.to_thread(self._pool)
            body |= {"model": self._answering.name, "under_way": self._figures.under_way - 1}
            body |= msgspec.to_builtins(state) if state is not None else {}
        await answer.whole(200, msgspec.json.encode(body))

    async def _post(self, scope: Scope, path: str, receive: Receive, answer: _Answer, caller: Caller) -> None:
        kinds = [value for name, value in scope["headers"] if name == b"content-type"]
        # A page of another site can send text/plain without asking first; JSON it cannot.
        if not kinds or kinds[0].partition(b";")[0].strip().lower() != b"application/json":
            raise Refusal(415, "expected Content-Type: application/json")
        asked = _POSTS[path](await _body(receive))
        name = f"{caller.name} {asked.user}" if asked.user else caller.name
        work = asyncio.create_task(self._work(asked, name, answer))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.wait({work, gone})
        if not work.cancelled():
            work.result()

    async def _work(self, asked: ChatRequest | CompletionRequest, caller: str, answer: _Answer) -> None:
        if not asked.stream:
            whole = await self._answering.whole(asked, caller)
            await answer.whole(200, msgspec.json.encode(whole.body), headers=whole.headers)
            return
        began = asyncio.get_running_loop().time()
        try:
            async with aclosing(self._answering.stream(asked, caller)) as chunks:
                headers: tuple[tuple[str, str], ...] = ()
                async for chunk in chunks:
                    if "dropped" in chunk:
                        headers = (("X-Dropped-Messages", str(chunk["dropped"])),)
                        continue
                    if not answer.status:
                        self._figures.first_piece.observe(asyncio.get_running_loop().time() - began)
                    await answer.event(msgspec.json.encode(chunk), headers)
            await answer.event(b"[DONE]", headers)
            await answer.end()
        except Refusal as refusal:
            if not answer.status:
                raise
            await answer.event(msgspec.json.encode({"error": refusal.error}), ())
            await answer.end()


class _Answer:
    """What goes out. `status` is 0 until something has."""

    def __init__(self, send: Send, *, head: bool) -> None:
        self.status = 0
        self._send = send
        self._head = head

    async def whole(
        self, status: int, body: bytes, *, kind: str = _JSON, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        await self._begin(status, (("content-length", str(len(body))), *headers), kind)
        await self._send({"type": "http.response.body", "body": b"" if self._head else body})

    async def refuse(self, refusal: Refusal) -> None:
        if not self.status:
            body = msgspec.json.encode({"error": refusal.error})
            await self.whole(refusal.status, body, headers=refusal.headers)

    async def event(self, data: bytes, headers: tuple[tuple[str, str], ...]) -> None:
        if not self.status:
            await self._begin(200, headers, "text/event-stream; charset=utf-8")
        await self._send({"type": "http.response.body", "body": b"data: %b\n\n" % data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _begin(self, status: int, headers: tuple[tuple[str, str], ...], kind: str) -> None:
        self.status = status
        fixed = (("content-type", kind), ("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
        encoded = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in (*fixed, *headers)]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "local"}


async def _body(receive: Receive) -> bytes:
    body = await read_body(receive, _MOST_BODY_BYTES)
    if body == 413:
        raise Refusal(413, f"expected a body of at most {_MOST_BODY_BYTES} bytes", code="too_large")
    if isinstance(body, int):
        raise Refusal(body, "it ended early" if body == 400 else "the body took too long")
    return body


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
