"""Where answers come from: a worker of the pool, or a server behind a URL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from logllm.errors import ExplainError, StateError
from logllm.explain.model.pool_state import PoolFullError, PoolShutError, PoolState
from logllm.web.llm.asked import Refusal

if TYPE_CHECKING:
    import httpx

    from logllm.egress import Sent
    from logllm.explain.model.pool import Lease, ModelPool

__all__ = ["BrokenError", "Reply", "Upstream", "Url", "Workers", "open_client"]

_CONNECT_S = 10.0
# A batch of a long prompt, which nothing interrupts, takes some seconds on a busy machine.
_GRACE_S = 20.0
_MOST_BYTES = 4 << 20
_ERROR_BYTES = 65_536


class BrokenError(Exception):
    """The connection broke before the answer was whole: a worker crashed. `how` says what became of it."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Reply:
    """An answer that has begun."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.dropped = response.headers.get("x-dropped-messages", "")[:10]

    async def whole(self) -> dict[str, Any]:
        """Its JSON object. Raises Refusal for another thing."""
        try:
            found = msgspec.json.decode(await _read(self._response, _MOST_BYTES))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("choices"), list):
            raise Refusal(502, "the model's server did not answer in the OpenAI API's form")
        return found

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """The stream's objects up to its end. Raises BrokenError without an end, Refusal for what is no event."""
        size = 0
        rest = b""
        async for piece in self._response.aiter_bytes():
            size += len(piece)
            if size > _MOST_BYTES:
                raise Refusal(502, "the answer is too long")
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    return
                try:
                    found = json.loads(data)
                except (ValueError, RecursionError):
                    found = None
                if not isinstance(found, dict):
                    raise Refusal(502, "the model's server did not answer in the OpenAI API's form")
                if "error" in found:
                    raise Refusal(500, f"the model failed: {_said(found)}")
                yield found
        raise BrokenError("the stream ended early")


class Upstream:
    """What both kinds have in common. `ends` is a time of the running loop."""

    def pool_state(self) -> PoolState | None:
        """What runs here."""
        return None

    def ask(
        self, path: str, body: dict[str, Any], caller: str, ends: float, *, again: bool = False
    ) -> AbstractAsyncContextManager[Reply]:
        """Send `body` to `path` below `/v1`, and give the answer that has begun.

        Raises:
            Refusal: not now, not so, not in time.
            BrokenError: see there; also out of the `async with`.
        """
        raise NotImplementedError


class Workers(Upstream):
    """The pool's. A request holds one of its workers from before it is sent until its answer is read.

    Args:
        grace_s: How long a worker that was late has to answer something short; then it is ended.
    """

    def __init__(self, pool: ModelPool, http: httpx.AsyncClient, grace_s: float = _GRACE_S) -> None:
        self._grace_s = grace_s
        self._pool = pool
        self._http = http
        self._looking: set[asyncio.Task[None]] = set()

    def pool_state(self) -> PoolState:
        """See `Upstream`."""
        return self._pool.state()

    @asynccontextmanager
    async def ask(
        self, path: str, body: dict[str, Any], caller: str, ends: float, *, again: bool = False
    ) -> AsyncIterator[Reply]:
        """See `Upstream`."""
        lease = await self._lease(caller, ends, again=again)
        ended: Literal["well", "broken", "late"] = "well"
        try:
            url = f"{lease.endpoint.base_url}{path}"
            headers = {"Authorization": f"Bearer {lease.endpoint.key}"}
            sent = {**body, "threads": lease.threads}
            async with _posted(self._http, url, msgspec.json.encode(sent), headers, ends) as reply:
                yield reply
        except BrokenError:
            ended = "broken"
            raise
        except TimeoutError:
            ended = "late"
            raise Refusal(504, "no answer before the deadline", code="timeout") from None
        finally:
            if ended == "well":
                lease.done()
            elif ended == "broken":
                await asyncio.to_thread(lease.done, ended)
            else:
                task = asyncio.create_task(self._give_back_late(lease))
                self._looking.add(task)
                task.add_done_callback(self._looking.discard)

    async def _give_back_late(self, lease: Lease) -> None:
        """Most workers are only slow and stop when their client has gone; one that does not is ended."""
        import httpx

        url = f"{lease.endpoint.base_url.removesuffix('/v1')}/extras/tokenize/count"
        headers = {"Authorization": f"Bearer {lease.endpoint.key}"}
        ended: Literal["well", "hung"] = "hung"
        try:
            # It is answered in turn, so after what hangs.
            async with asyncio.timeout(self._grace_s):
                await self._http.post(url, json={"input": "x"}, headers=headers)
            ended = "well"
        except (TimeoutError, httpx.HTTPError):
            pass
        finally:
            await asyncio.to_thread(lease.done, ended)

    async def _lease(self, caller: str, ends: float, *, again: bool) -> Lease:
        left = ends - asyncio.get_running_loop().time()
        try:
            future = self._pool.submit(left, caller=caller, again=again)
        except (PoolFullError, PoolShutError) as error:
            status = 429 if isinstance(error, PoolFullError) else 503
            code = "rate_limit_exceeded" if status == 429 else "outside_hours"
            raise Refusal(status, str(error), code=code, headers=_later(error.retry_after_s)) from None
        except ExplainError as error:
            raise Refusal(503, str(error)) from None
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            # It may have been our turn in this very moment.
            if not future.cancel():
                future.add_done_callback(lambda late: None if late.exception() else late.result().done())
            raise
        except ExplainError as error:
            raise Refusal(503, str(error), code="model_unavailable", headers=_later(1.0)) from None


class Url(Upstream):
    """An OpenAI-compatible server.

    Args:
        base_url: Up to and with `/v1`.
        name: What it calls the model.
        most: Requests under way at once; more are refused with 429.
        sent: Told of each body before it leaves.
    """

    def __init__(
        self, base_url: str, name: str, key: str, http: httpx.AsyncClient, *, most: int, sent: Sent | None = None
    ) -> None:
        parts = urlsplit(base_url)
        self._address = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self._base_url = base_url.rstrip("/")
        self._name = name
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = http
        self._most = most
        self._under_way = 0
        self._sent = sent
        self._own_form = False

    @asynccontextmanager
    async def ask(
        self, path: str, body: dict[str, Any], caller: str, ends: float, *, again: bool = False
    ) -> AsyncIterator[Reply]:
        """See `Upstream`."""
        if self._under_way >= self._most:
            raise Refusal(429, "too many requests wait for the model", code="rate_limit_exceeded", headers=_later(1.0))
        self._under_way += 1
        try:
            async with AsyncExitStack() as stack:
                yield await self._begun(stack, path, {**body, "model": self._name}, ends)
        except TimeoutError:
            raise Refusal(504, "no answer before the deadline", code="timeout") from None
        except StateError as error:
            raise Refusal(503, f"nothing was sent: {error}") from None
        finally:
            self._under_way -= 1

    async def _begun(self, stack: AsyncExitStack, path: str, body: dict[str, Any], ends: float) -> Reply:
        """The answer to it; llama-cpp-python's server takes schemas in a form of its own alone, and says so."""
        form = body.get("response_format")
        has_schema = isinstance(form, dict) and form.get("type") == "json_schema"
        if not (has_schema and self._own_form):
            try:
                return await self._posted(stack, path, body, ends)
            except Refusal as refusal:
                if not has_schema or "'json_object'" not in str(refusal):
                    raise
        own = {"type": "json_object", "schema": body["response_format"]["json_schema"]["schema"]}
        reply = await self._posted(stack, path, {**body, "response_format": own}, ends)
        self._own_form = True
        return reply

    async def _posted(self, stack: AsyncExitStack, path: str, body: dict[str, Any], ends: float) -> Reply:
        content = msgspec.json.encode(body)
        if self._sent is not None:
            await asyncio.to_thread(self._sent, self._address, content)
        url = f"{self._base_url}{path}"
        return await stack.enter_async_context(_posted(self._http, url, content, self._headers, ends))


@asynccontextmanager
async def _posted(
    http: httpx.AsyncClient, url: str, content: bytes, headers: dict[str, str], ends: float
) -> AsyncIterator[Reply]:
    import httpx

    headers = {"Content-Type": "application/json", **headers}
    try:
        async with asyncio.timeout_at(ends), http.stream("POST", url, content=content, headers=headers) as response:
            if response.status_code != 200:
                raise _refused(response, await _read(response, _ERROR_BYTES))
            yield Reply(response)
    except httpx.ConnectError as error:
        raise BrokenError(f"nothing listens there ({error})") from None
    except httpx.HTTPError as error:
        raise BrokenError(str(error) or type(error).__name__) from None


def open_client() -> httpx.AsyncClient:
    """An HTTP client that heeds no proxy and follows no redirect; time is bounded by whoever asks."""
    import httpx

    # Our child closes each connection; a kept one would only be found broken.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(None, connect=_CONNECT_S), limits=limits)


async def _read(response: httpx.Response, most: int) -> bytes:
    pieces = []
    size = 0
    async for piece in response.aiter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise Refusal(502, f"the model's server sent more than {most} bytes")
    return b"".join(pieces)


def _refused(response: httpx.Response, data: bytes) -> Refusal:
    """What the model's server said of a request, as our client is to see it."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = {}
    said = _said(found) or data[:200].decode(errors="replace")
    error = found.get("error") if isinstance(found, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    status = response.status_code
    if status in (401, 403):
        return Refusal(502, "the model's server refuses our key (LOGLLM_API_KEY)", code="upstream_key")
    if status == 429:
        after = response.headers.get("retry-after", "1")[:10]
        return Refusal(429, said, code="rate_limit_exceeded", headers=(("Retry-After", after),))
    if 400 <= status < 500:
        return Refusal(status, said, code=code if isinstance(code, str) else None)
    return Refusal(502, f"the model's server failed ({status}): {said}")


def _said(found: Any) -> str:
    error = found.get("error") if isinstance(found, dict) else None
    return str(error.get("message", "") if isinstance(error, dict) else error or "")[:500]


def _later(seconds: float) -> tuple[tuple[str, str], ...]:
    return (("Retry-After", str(max(1, round(seconds)))),)
