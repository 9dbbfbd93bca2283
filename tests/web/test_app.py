"""Health, readiness and metrics over real HTTP, in the caller's event loop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

import httpx
import pytest

from logllm.errors import ConfigError, SourceError
from logllm.filters.host import Signal
from logllm.metrics import render
from logllm.web.app import HttpServer


class State:
    def __init__(self) -> None:
        self.missing: list[str] = ["forward listener not bound"]
        self.records = 0

    def server(self, listen: str = "127.0.0.1:0") -> HttpServer:
        return HttpServer(
            listen,
            health=lambda: {"records": self.records},
            ready=lambda: self.missing,
            metrics=lambda: render({"logllm_forward_frames": self.records}),
            lists={"/plugins": lambda: [Signal("fraud", "rule", "text", 0.5)]},
        )


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(bounded())


def client(server: HttpServer) -> httpx.AsyncClient:
    host, port = server.address
    return httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False)


def test_health_says_that_the_process_is_alive() -> None:
    async def test() -> None:
        async with State().server() as server, client(server) as http:
            response = await http.get("/healthz")

            assert response.status_code == 200
            assert response.json() == {"status": "ok", "records": 0}
            assert response.headers["content-type"] == "application/json"

    run(test)


def test_plugins_are_told_as_json() -> None:
    async def test() -> None:
        async with State().server() as server, client(server) as http:
            response = await http.get("/plugins")

            assert response.status_code == 200
            assert [one["plugin"] for one in response.json()] == ["fraud"]
            assert (await http.post("/plugins")).status_code == 405

    run(test)


def test_readiness_names_what_is_missing_until_nothing_is() -> None:
    async def test() -> None:
        state = State()
        async with state.server() as server, client(server) as http:
            before = await http.get("/readyz")
            state.missing = []
            after = await http.get("/readyz")

            assert (before.status_code, before.json()) == (
                503,
                {"status": "not ready", "reasons": ["forward listener not bound"]},
            )
            assert (after.status_code, after.json()) == (200, {"status": "ready"})

    run(test)


def test_metrics_are_read_at_the_moment_they_are_asked_for() -> None:
    async def test() -> None:
        state = State()
        async with state.server() as server, client(server) as http:
            state.records = 41
            response = await http.get("/metrics")

            assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert "logllm_forward_frames_total 41.0" in response.text

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics/", 404), ("POST", "/metrics", 405), ("DELETE", "/healthz", 405)],
)
def test_all_else_is_refused(method: str, path: str, status: int) -> None:
    async def test() -> None:
        async with State().server() as server, client(server) as http:
            response = await http.request(method, path)

            assert response.status_code == status
            assert "error" in response.json()
            if status == 405:
                assert response.headers["allow"] == "GET, HEAD"

    run(test)


def test_head_has_the_length_and_no_body() -> None:
    async def test() -> None:
        async with State().server() as server, client(server) as http:
            response = await http.head("/healthz")

            assert response.status_code == 200
            assert int(response.headers["content-length"]) > 0
            assert response.content == b""

    run(test)


def test_signals_stay_with_the_caller() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    async def test() -> None:
        async with State().server():
            during = {number: signal.getsignal(number) for number in before}
        assert during[signal.SIGTERM] == before[signal.SIGTERM]

    run(test)

    assert {number: signal.getsignal(number) for number in before} == before


def test_a_port_in_use_is_one_clear_error() -> None:
    async def test() -> None:
        async with State().server() as server:
            port = server.address[1]
            with pytest.raises(SourceError) as caught:
                await State().server(f"127.0.0.1:{port}").start()

            assert str(caught.value) == f"127.0.0.1:{port}: cannot listen: address already in use"

    run(test)


@pytest.mark.parametrize("listen", ["24280", ":24280", "127.0.0.1:", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_a_config_error(listen: str) -> None:
    with pytest.raises(ConfigError, match="expected `host:port`"):
        asyncio.run(State().server(listen).start())


def test_loopback_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with State().server("127.0.0.1:0"):
            pass

    with caplog.at_level(logging.WARNING, "logllm.http"):
        run(test)

    assert caplog.text == ""


def test_garbage_and_a_dropped_connection_leave_the_server_answering() -> None:
    async def test() -> None:
        async with State().server() as server, client(server) as http:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"\x93\xa1t garbage\r\n\r\n")
            await reader.read()
            writer.close()

            assert (await http.get("/healthz")).status_code == 200

    run(test)
