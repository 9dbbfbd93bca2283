"""Real clients against the real server: Python's fluent-logger and npm's @fluent-org/logger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from logllm.events import Columns
from logllm.sources.decode import Decoder
from logllm.sources.forward.protocol import Received
from logllm.sources.forward.server import ForwardConfig, ForwardServer
from tests.doctor.certificates import certificate

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


LOCAL = ForwardConfig(listen="127.0.0.1:0")


def serve(
    talk: Callable[[ForwardServer], Awaitable[None]], records: int, config: ForwardConfig = LOCAL
) -> tuple[Sink, ForwardServer]:
    """Run a server while a client talks to it, until it has all records."""
    sink = Sink()
    server = config.build(sink)

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
        logger = sender.FluentSender("py", **({"host": host, "port": port} | options))
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


def test_pythons_fluent_logger_delivers_through_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "forward.sock")

    def send(logger: Any) -> None:
        for i in range(COUNT):
            logger.emit("web", {"message": f"event {i}"})

    def talk(server: ForwardServer) -> Awaitable[None]:
        return python_client(server, send, host=f"unix://{path}", port=0)

    sink, server = serve(talk, COUNT, replace(LOCAL, unix_path=path))

    assert sink.messages == [f"event {i}" for i in range(COUNT)]
    assert {item.chunk.origin.peer for item in sink.received} == {"unix"}
    (sender,) = server.senders.table()
    assert (sender.host, sender.modes, sender.integer_times) == ("unix", ["Message"], True)


def npm_client(node: str, answers: list[dict[str, Any]], **options: Any) -> Callable[[ForwardServer], Awaitable[None]]:
    async def talk(server: ForwardServer) -> None:
        told = json.dumps({"port": server.address[1], "count": COUNT, **options})
        command = [node, "--dns-result-order=ipv4first", "send.cjs", told]
        child = await asyncio.create_subprocess_exec(*command, cwd=HERE, stdout=asyncio.subprocess.PIPE)
        try:
            out, _ = await child.communicate()
        except asyncio.CancelledError:
            # It would try again for ever.
            child.kill()
            await child.communicate()
            raise
        answers.append(json.loads(out))

    return talk


@pytest.mark.parametrize("ack", ["ack", "no ack"])
@pytest.mark.parametrize("mode", ["PackedForward", "Message", "Forward", "CompressedPackedForward"])
def test_the_npm_logger_delivers_every_record_and_takes_every_ack(node: str, mode: str, ack: str) -> None:
    answers: list[dict[str, Any]] = []

    sink, server = serve(npm_client(node, answers, mode=mode, ack=ack == "ack"), COUNT)

    assert answers == [{"resolved": COUNT, "failed": []}]
    assert sorted(sink.messages) == sorted(f"event {i}" for i in range(COUNT))
    assert sink.tags == {"node.web"}
    asked = [chunk_id for item in sink.received for chunk_id in item.acks]
    assert len(asked) == len(set(asked)) == server.stats.acks
    assert bool(asked) == (ack == "ack")
    times = sorted(time for columns in sink.columns() for time in columns.time_ns.tolist())
    assert times == [(1_700_000_000_000 + i) * 1_000_000 for i in range(COUNT)]
    assert server.stats.protocol_errors == 0
    (sender,) = server.senders.table()
    assert (sender.modes, sender.records, sender.legacy_entries) == ([mode], COUNT, True)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Certificates and secrets, by name."""
    folder = tmp_path_factory.mktemp("files")
    server = certificate(folder, "server", "-addext", "subjectAltName=DNS:localhost")
    client = certificate(folder, "client")
    (folder / "shared").write_text("s3cr3t\n")
    (folder / "users").write_text("alice pw\n")
    names = ("cert", "key", "client_cert", "client_key", "shared", "users")
    return dict(zip(names, map(str, (*server, *client, folder / "shared", folder / "users")), strict=True))


def secured(files: dict[str, str], *ways: str) -> tuple[ForwardConfig, dict[str, Any]]:
    """A server's configuration, and what a client of npm's has to be told to fit it."""
    config, told = LOCAL, dict[str, Any]()
    if "key" in ways or "user" in ways:
        config = replace(config, shared_key_file=files["shared"])
        told["security"] = {"clientHostname": "node.local", "sharedKey": "s3cr3t"}
    if "user" in ways:
        config = replace(config, users_file=files["users"])
        told["security"] |= {"username": "alice", "password": "pw"}
    if "TLS" in ways or "mutual TLS" in ways:
        config = replace(config, tls_cert=files["cert"], tls_key=files["key"])
        told["tls"] = {"ca": files["cert"]}
    if "mutual TLS" in ways:
        config = replace(config, tls_client_ca=files["client_cert"])
        told["tls"] |= {"cert": files["client_cert"], "key": files["client_key"]}
    return config, told


@pytest.mark.parametrize(
    "ways", [("key",), ("user",), ("TLS",), ("mutual TLS",), ("key", "TLS"), ("user", "mutual TLS")], ids=" and ".join
)
def test_the_npm_logger_delivers_with_a_key_a_user_tls_and_mutual_tls(
    node: str, files: dict[str, str], ways: tuple[str, ...]
) -> None:
    answers: list[dict[str, Any]] = []
    config, told = secured(files, *ways)

    sink, server = serve(npm_client(node, answers, mode="PackedForward", ack=True, **told), COUNT, config)

    assert answers == [{"resolved": COUNT, "failed": []}]
    assert sorted(sink.messages) == sorted(f"event {i}" for i in range(COUNT))
    assert server.stats.acks == sum(len(item.acks) for item in sink.received) > 0
    assert server.stats.handshakes_failed == {}


@pytest.mark.parametrize(
    ("ways", "change", "reason"),
    [
        ("user", {"security": {"clientHostname": "node.local", "sharedKey": "wrong"}}, "shared_key mismatch"),
        (
            "user",
            {"security": {"clientHostname": "n", "sharedKey": "s3cr3t", "username": "alice", "password": "wrong"}},
            "username/password mismatch",
        ),
        ("user", {"security": None}, "no PING"),
        ("mutual TLS", {"tls": {"ca": "cert"}}, "TLS"),
        ("TLS", {"tls": None}, "TLS"),
    ],
)
def test_the_npm_logger_delivers_nothing_with_a_wrong_key_user_or_certificate(
    node: str, files: dict[str, str], ways: str, change: dict[str, Any], reason: str
) -> None:
    answers: list[dict[str, Any]] = []
    config, told = secured(files, ways)
    told |= {key: value and {name: files.get(text, text) for name, text in value.items()}
             for key, value in change.items()}  # fmt: skip

    async def talk(server: ForwardServer) -> None:
        client = asyncio.ensure_future(npm_client(node, answers, mode="PackedForward", ack=True, **told)(server))
        while not server.stats.handshakes_failed:
            await asyncio.sleep(0.01)
        client.cancel()
        await asyncio.gather(client, return_exceptions=True)

    sink, server = serve(talk, 0, config)

    assert set(server.stats.handshakes_failed) == {reason}
    assert sink.received == []
