"""A server behind a URL, good and bad, over real HTTP on both sides."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from logllm.errors import ConfigError, SourceError, StateError
from logllm.explain.model.config import LlmConfig
from logllm.explain.model.models import LocalModel, RemoteModel
from logllm.explain.model.pool import ModelPool
from logllm.explain.model.server import ModelServer
from logllm.web.llm.asked import Refusal
from logllm.web.llm.serve import LlmServer, make_pool
from logllm.web.llm.upstream import BrokenError, Workers, open_client
from tests.explain.fakes import ChatServer
from tests.web.llm_rig import KEY

BODY = {"messages": [{"role": "user", "content": "Is all well?"}]}
# A model's child that dies of the first request a start of it is given, as long as the file it is told of is not there.
DIES_ONCE = """
import http.server, json, os, pathlib, sys
once = pathlib.Path(sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        if not once.exists():
            once.touch()
            os.abort()
        data = json.dumps({"choices": [{"message": {"content": "well"}}], "usage": {}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print("logllm-child ready", server.server_address[1], flush=True)
server.serve_forever()
"""
# One that never answers a chat, and counts tokens or hangs there, too.
LATE = """
import http.server, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        if self.path.endswith("/count") and "counts" in sys.argv[1]:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
        else:
            threading.Event().wait(60)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print("logllm-child ready", server.server_address[1], flush=True)
server.serve_forever()
"""


def asked(
    url: str,
    test: Callable[[httpx.AsyncClient], Awaitable[None]],
    sent: Callable[[str, bytes], None] | None = None,
    **config: object,
) -> None:
    settings = LlmConfig(listen="127.0.0.1:0", **config)  # type: ignore[arg-type]

    async def run() -> None:
        server = LlmServer(RemoteModel(url, "qwen3:4b"), settings, [KEY], upstream_key="sk-upstream", sent=sent)
        async with asyncio.timeout(20), server:
            headers = {"Authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False) as client:
                await test(client)

    asyncio.run(run())


def test_a_chat_is_passed_on_by_the_name_and_the_key_of_that_server() -> None:
    told: list[tuple[str, bytes]] = []

    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/chat/completions", json={**BODY, "model": "qwen3:4b"})

        assert answer.json()["choices"][0]["message"]["content"] == "all is well"
        assert answer.json()["model"] == "qwen3:4b"

    with ChatServer("all is well", "plain") as server:
        asked(f"{server.url}/v1", test, lambda to, body: told.append((to, body)))

        assert server.keys == ["Bearer sk-upstream"]
        assert server.requests[0]["model"] == "qwen3:4b"
        assert [to for to, _ in told] == [server.url.removeprefix("http://")]
        assert b"Is all well?" in told[0][1]


def test_a_stream_is_passed_on_as_it_comes() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/chat/completions", json={**BODY, "stream": True})

        assert answer.text.count("data: ") > 2
        assert answer.text.endswith("data: [DONE]\n\n")

    with ChatServer("all is well, as far as one can see") as server:
        asked(f"{server.url}/v1", test)


@pytest.mark.parametrize(
    ("mode", "status", "said"),
    [
        ("400", 400, "said the fake"),
        ("401", 502, "refuses our key"),
        ("429", 429, "said the fake"),
        ("500", 502, r"the model's server failed (500): said the fake"),
        ("302", 502, "(302)"),
        ("garbage", 502, "not answer in the OpenAI API's form"),
        ("reset", 503, "went away in mid-answer"),
        ("hang", 504, "no answer before the deadline"),
        ("drip", 504, "no answer before the deadline"),
    ],
)
def test_what_that_server_does_wrong_is_told_in_the_apis_form(mode: str, status: int, said: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/chat/completions", json=BODY)

        assert answer.status_code == status
        assert said in answer.json()["error"]["message"]
        assert status != 429 or answer.headers["retry-after"]

    with ChatServer("x", mode) as server:
        asked(f"{server.url}/v1", test, deadline_s=0.4 if status == 504 else 10.0)


@pytest.mark.parametrize(("mode", "said"), [("cut", "went away in mid-answer"), ("hang_body", "before the deadline")])
def test_a_stream_that_breaks_ends_with_an_error(mode: str, said: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/chat/completions", json={**BODY, "stream": True})

        assert said in answer.text
        assert "[DONE]" not in answer.text

    with ChatServer("all is well, as far as one can see", mode) as server:
        asked(f"{server.url}/v1", test, deadline_s=0.4)


def test_nobody_listening_there_is_an_error_and_not_an_end() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.post("/chat/completions", json=BODY)).status_code == 503
        assert (await client.get("/models")).status_code == 200

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asked(f"http://127.0.0.1:{port}/v1", test)


def test_more_requests_than_may_wait_are_refused() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(client.post("/chat/completions", json=BODY) for _ in range(4)))

        assert sorted(answer.status_code for answer in answers) == [429, 429, 504, 504]

    with ChatServer("x", "hang") as server:
        asked(f"{server.url}/v1", test, queue=1, deadline_s=1.0)


def test_what_cannot_be_written_down_is_not_sent() -> None:
    def refuse(to: str, body: bytes) -> None:
        raise StateError("egress.db: disk full")

    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/chat/completions", json=BODY)

        assert answer.status_code == 503
        assert "disk full" in answer.json()["error"]["message"]

    with ChatServer("x", "plain") as server:
        asked(f"{server.url}/v1", test, refuse)
        assert server.requests == []


def test_a_request_that_kills_its_worker_is_answered_by_the_next(tmp_path: Path) -> None:
    config = LlmConfig(workers=1, idle_s=0.0)

    async def run() -> None:
        command = [sys.executable, "-c", DIES_ONCE]
        pool = ModelPool(lambda: ModelServer(tmp_path / "once", idle_s=0.0, command=command), config)
        ends = asyncio.get_running_loop().time() + 20
        async with open_client() as http:
            upstream = Workers(pool, http)
            with pytest.raises(BrokenError):
                async with upstream.ask("/chat/completions", {}, "", ends) as reply:
                    await reply.whole()
            async with upstream.ask("/chat/completions", {}, "", ends, again=True) as reply:
                assert (await reply.whole())["choices"][0]["message"]["content"] == "well"
            state = upstream.pool_state()
        await asyncio.to_thread(pool.close)
        assert (state.starts, state.crashes, state.served) == (2, 1, 2)

    asyncio.run(run())


@pytest.mark.parametrize(("kind", "crashes"), [("counts", 0), ("hangs", 1)])
def test_a_worker_that_is_late_is_ended_only_if_it_answers_nothing_else(kind: str, crashes: int) -> None:
    async def run() -> None:
        command = [sys.executable, "-c", LATE]
        pool = ModelPool(lambda: ModelServer(Path(kind), idle_s=0.0, command=command), LlmConfig(workers=1, idle_s=0.0))
        # It runs before the deadline begins.
        (await asyncio.wrap_future(pool.submit(20.0))).done()
        async with open_client() as http:
            upstream = Workers(pool, http, grace_s=5.0 if crashes == 0 else 0.3)
            with pytest.raises(Refusal, match="no answer before the deadline"):
                async with upstream.ask("/chat/completions", {}, "", asyncio.get_running_loop().time() + 0.3):
                    pass
            async with asyncio.timeout(20):
                while any(worker.state == "busy" for worker in upstream.pool_state().workers):
                    await asyncio.sleep(0.01)
            state = upstream.pool_state()
        await asyncio.to_thread(pool.close)
        assert (state.crashes, len(state.workers)) == (crashes, 1 - crashes)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({"listen": "0.0.0.0:0"}, ConfigError, "without a key"),
        ({"listen": "8080"}, ConfigError, "expected `host:port`"),
        ({"listen": "127.0.0.1:99999"}, ConfigError, "expected `host:port`"),
        ({"listen": "203.0.113.7:0"}, SourceError, "cannot listen"),
        ({"profile": "other"}, ConfigError, "expected one of"),
    ],
)
def test_what_cannot_be_served_is_refused_at_the_start(
    config: dict[str, str], error: type[Exception], said: str
) -> None:
    settings = LlmConfig(**{"listen": "127.0.0.1:0", **config})  # type: ignore[arg-type]

    async def run() -> None:
        async with LlmServer(RemoteModel("http://127.0.0.1:1/v1", "m"), settings, []):
            pass

    with pytest.raises(error, match=said):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"min_workers": 2}, r"llm\.min_workers: 2, expected at most `workers`"),
        ({"windows": ["x"]}, r"llm\.windows: 'x', expected a window"),
    ],
)
def test_a_pool_that_cannot_be_is_refused_at_the_start(config: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_pool(LocalModel(Path("x.gguf"), "x"), LlmConfig(**config))  # type: ignore[arg-type]
