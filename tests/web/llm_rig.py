"""The service over an upstream of our own, driven as an ASGI server drives it, and over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from logllm.explain.model.config import LlmConfig
from logllm.web.llm.answering import Answering
from logllm.web.llm.app import LlmApp
from logllm.web.llm.door import Door
from logllm.web.llm.figures import Figures
from logllm.web.llm.upstream import BrokenError, Reply, Upstream

__all__ = ["KEY", "Fake", "Got", "Rig"]

KEY = "sk-test-0123456789"


class FakeReply(Reply):
    """What the fake answers with."""

    def __init__(self, fake: Fake, text: str, dropped: str) -> None:
        self._fake = fake
        self._text = text
        self.dropped = dropped

    async def whole(self) -> dict[str, Any]:
        await self._fake.wait()
        usage = {"prompt_tokens": 10, "completion_tokens": 3}
        choice = {"index": 0, "message": {"role": "assistant", "content": self._text}, "finish_reason": "stop"}
        return {"object": "chat.completion", "choices": [choice], "usage": usage, "created": 1}

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        for place, word in enumerate(self._text.split(" ")):
            if self._fake.breaks_after == place:
                self._fake.breaks_after = -1
                raise BrokenError("signal 9")
            await self._fake.wait()
            yield {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        yield {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 3}}


class Fake(Upstream):
    """Answers with what `say` makes of a body. `crashes`: so many requests break first."""

    def __init__(self, say: Callable[[dict[str, Any]], str] = lambda body: "all is well") -> None:
        self.say = say
        self.bodies: list[dict[str, Any]] = []
        self.callers: list[str] = []
        self.again: list[bool] = []
        self.crashes = 0
        self.breaks_after = -1
        self.dropped = ""
        self.gate: asyncio.Event | None = None
        self.under_way = 0

    async def wait(self) -> None:
        if self.gate is not None:
            await self.gate.wait()

    @asynccontextmanager
    async def ask(
        self, path: str, body: dict[str, Any], caller: str, ends: float, *, again: bool = False
    ) -> AsyncIterator[Reply]:
        self.bodies.append({"path": path, **body})
        self.callers.append(caller)
        self.again.append(again)
        self.under_way += 1
        try:
            if self.crashes:
                self.crashes -= 1
                raise BrokenError("signal 11")
            yield FakeReply(self, self.say(body), self.dropped)
        finally:
            self.under_way -= 1


class Got:
    """An answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found

    @property
    def events(self) -> list[Any]:
        lines = [line[6:] for line in self.body.decode().split("\n\n") if line]
        return [json.loads(line) if line != "[DONE]" else line for line in lines]


class Rig:
    """`local`: whether the upstream is taken for our own workers."""

    def __init__(
        self, fake: Fake | None = None, *, keys: tuple[str, ...] = (KEY,), local: bool = True, **config: object
    ) -> None:
        self.fake = fake or Fake()
        self.figures = Figures()
        settings = LlmConfig(**config)  # type: ignore[arg-type]
        answering = Answering(self.fake, "tiny", settings, self.figures, local=local)
        self.app = LlmApp(answering, Door(keys, settings.hosts), self.figures, lambda: None)

    def chat(self, *, key: str = KEY, **body: object) -> Got:
        body = {"messages": [{"role": "user", "content": "Is all well?"}], **body}
        return self.post("/v1/chat/completions", json.dumps(body).encode(), key=key)

    def post(self, path: str, body: bytes, *, key: str = KEY, **headers: str) -> Got:
        return self.send("POST", path, body, key=key, **{"content-type": "application/json", **headers})

    def get(self, path: str, *, key: str = KEY, **headers: str) -> Got:
        return self.send("GET", path, b"", key=key, **headers)

    def send(self, method: str, path: str, body: bytes, *, key: str = KEY, **headers: str) -> Got:
        return asyncio.run(self.sent(method, path, body, headers, key=key))

    async def sent(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        *,
        key: str = KEY,
        gone: asyncio.Event | None = None,
    ) -> Got:
        """`gone`: when the client goes away; else it stays."""
        given = {"host": "127.0.0.1:8080", **({"authorization": f"Bearer {key}"} if key else {}), **headers}
        came = [{"type": "http.request", "body": body, "more_body": False}]
        status, got, data = 0, {}, b""

        async def receive() -> dict[str, Any]:
            if came:
                return came.pop()
            await (gone or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal status, got, data
            if message["type"] == "http.response.start":
                status = message["status"]
                got = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                data += message["body"]

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 5),
        }
        async with asyncio.timeout(20):
            await self.app(scope, receive, send)
        return Got(status, got, data)
