"""Real clients against the real server: Python's fluent-logger and npm's @fluent-org/logger."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from logllm.events import Columns
from logllm.sources.decode import Decoder
from logllm.sources.forward import ForwardConfig, ForwardServer
from logllm.sources.forward_protocol import Received

HERE = Path(__file__).parent
NOW = 1_800_000_000_000_000_000
COUNT = 500

pytestmark = pytest.mark.peer


class Sink:
    def __init__(self) -> None:
        self.received: list[Received] = []

    async def __call__(self, received: Received, peer: object) -> None:
        self.received.append(received)

    @property
    def records(self) -> int:
        return sum(item.chunk.count for item in self.received)

    def columns(self) -> list[Columns]:
        decoder = Decoder()
        return [decoder.decode(item.chunk, NOW) for item in self.received]

    @property
    def messages(self) -> list[str]:
        return [message for columns in self.columns() for message in columns.messages]

    @property
    def tags(self) -> set[str]:
        return {item.chunk.tag for item in self.received}


def serve(talk: Callable[[ForwardServer], Awaitable[None]], records: int) -> tuple[Sink, ForwardServer]:
    """Run a server while a client talks to it, until it has all records."""
    sink = Sink()
    server = ForwardConfig(listen="127.0.0.1:0").build(sink)

    async def run() -> None:
        async with asyncio.timeout(60), server:
            await talk(server)
            while sink.records < records:
                await asyncio.sleep(0.002)

    asyncio.run(run())
    return sink, server


def python_client(server: ForwardServer, send: Callable[[Any], None], **options: Any) -> Awaitable[None]:
    sender = pytest.importorskip("fluent.sender", reason="fluent-logger is not installed: pip install fluent-logger")
    host, port = server.address

    def talk() -> None:
        logger = sender.FluentSender("py", host=host, port=port, **options)
        send(logger)
        logger.close()
        assert logger.last_error is None

    return asyncio.to_thread(talk)


@pytest.mark.parametrize("nanosecond_precision", [False, True])
def test_pythons_fluent_logger_delivers_every_record(nanosecond_precision: bool) -> None:
    def send(logger: Any) -> None:
        for i in range(COUNT):
            logger.emit("web", {"message": f"event {i}", "level": "error" if i % 10 == 0 else "info"})

    sink, server = serve(lambda server: python_client(server, send, nanosecond_precision=nanosecond_precision), COUNT)

    assert sink.messages == [f"event {i}" for i in range(COUNT)]
    assert sink.tags == {"py.web"}
    assert [code for columns in sink.columns() for code in columns.severity.tolist()].count(17) == COUNT // 10
    assert (server.stats.acks, server.stats.protocol_errors, server.stats.truncated) == (0, 0, 0)


def test_pythons_fluent_logger_may_send_float_times() -> None:
    sink, _ = serve(
        lambda server: python_client(server, lambda logger: logger.emit_with_time("web", 1.7e9 + 0.5, {"m": 1})), 1
    )

    assert sink.columns()[0].time_ns.tolist() == [1_700_000_000_500_000_000]


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the client installed beside this file."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("node and npm are not installed")
    if not (HERE / "node_modules" / "@fluent-org" / "logger").is_dir():
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"@fluent-org/logger cannot be installed from npm: {error}")
    return found


@pytest.mark.parametrize("ack", ["ack", "no ack"])
@pytest.mark.parametrize("mode", ["PackedForward", "Message", "Forward", "CompressedPackedForward"])
def test_the_npm_logger_delivers_every_record_and_takes_every_ack(node: str, mode: str, ack: str) -> None:
    answers: list[dict[str, Any]] = []

    async def talk(server: ForwardServer) -> None:
        command = [node, "send.cjs", str(server.address[1]), mode, str(COUNT), ack]
        child = await asyncio.create_subprocess_exec(*command, cwd=HERE, stdout=asyncio.subprocess.PIPE)
        out, _ = await child.communicate()
        answers.append(json.loads(out))

    sink, server = serve(talk, COUNT)

    assert answers == [{"resolved": COUNT, "failed": []}]
    assert sorted(sink.messages) == sorted(f"event {i}" for i in range(COUNT))
    assert sink.tags == {"node.web"}
    asked = [chunk_id for item in sink.received for chunk_id in item.acks]
    assert len(asked) == len(set(asked)) == server.stats.acks
    assert bool(asked) == (ack == "ack")
    times = sorted(time for columns in sink.columns() for time in columns.time_ns.tolist())
    assert times == [(1_700_000_000_000 + i) * 1_000_000 for i in range(COUNT)]
    assert server.stats.protocol_errors == 0
