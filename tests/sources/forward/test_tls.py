"""TLS and mutual TLS on the forward server's port, with real certificates, and what comes instead of TLS."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
import warnings
from pathlib import Path

import pytest
from msgspec.structs import replace

from logllm.errors import ConfigError
from logllm.sources.forward.protocol import ack_bytes
from logllm.sources.forward.server import ForwardConfig, ForwardServer
from tests.doctor.certificates import certificate
from tests.sources.forward.clients import LOCAL, Client, Sink, connect, frame, run, until
from tests.sources.forward.test_handshake import enter

SERVER = ("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")


class Tls:
    """A server's configuration with certificates, and contexts of clients that fit it."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = certificate(folder, "server", *SERVER)
        self.client_cert, self.client_key = certificate(folder, "client")
        self.config = replace(LOCAL, tls_cert=str(self.cert), tls_key=str(self.key), handshake_timeout_s=5)
        self.mutual = replace(self.config, tls_client_ca=str(self.client_cert))
        self.client = ssl.create_default_context(cafile=str(self.cert))
        self.known = ssl.create_default_context(cafile=str(self.cert))
        self.known.load_cert_chain(self.client_cert, self.client_key)


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("certificates"))


async def served(client: Client, chunk: str = "c") -> None:
    client.send(frame("a", "1", chunk=chunk))
    await client.expect(ack_bytes(chunk.encode()))


async def refused(server: ForwardServer, context: ssl.SSLContext) -> None:
    # With TLS 1.3 a client has begun to talk before the server sees its certificate.
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        async with connect(server, context) as client:
            await served(client)


def test_frames_of_any_size_come_through_tls_and_are_acked(tls: Tls) -> None:
    async def test() -> None:
        sink = Sink()
        async with tls.config.build(sink) as server, connect(server, tls.client) as client:
            for number in range(5):
                client.send(frame("a", *["x" * 1000] * 3000, chunk=f"c{number}") + frame("b", "1"))
                await client.expect(ack_bytes(f"c{number}".encode()))

            await until(lambda: sink.records == 5 * 3001)
            (peer,) = {received.chunk.origin.peer for received in sink.chunks}
            assert peer == "{}:{}".format(*client.writer.get_extra_info("sockname"))

    run(test)


def test_a_slow_pipeline_stops_a_sender_behind_tls_too(tls: Tls) -> None:
    async def test() -> None:
        sink = Sink()
        sink.gate.clear()
        big = frame("a", *["x" * 1000] * 1000)
        async with tls.config.build(sink) as server, connect(server, tls.client) as client:
            client.send(big * 40)
            await until(lambda: server.buffered_bytes > 1 << 20)
            for _ in range(100):
                await asyncio.sleep(0.001)
            stopped = server.stats.bytes

            sink.gate.set()
            await until(lambda: sink.records == 40_000)

            assert stopped < 8 << 20

    run(test)


def test_the_peer_knows_whether_its_ack_arrived_behind_tls_too(tls: Tls) -> None:
    async def test() -> None:
        sink = Sink()
        async with tls.config.build(sink) as server, connect(server, tls.client) as client:
            await served(client)

            await until(sink.peers[0].ack_arrived)

    run(test)


def test_handshake_and_tls_go_together(tls: Tls, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cr3t")

    async def test() -> None:
        config = replace(tls.config, shared_key_file=str(tmp_path / "key"))
        async with config.build(Sink()) as server:
            async with connect(server, tls.client) as client:
                assert await enter(client) == ""
                await served(client)
            async with connect(server, tls.client) as client:
                assert await enter(client, b"wrong") == "shared_key mismatch"
                assert await client.ended() == b""
            async with connect(server, tls.client) as client:
                client.send(frame("a", "before the HELO", chunk="c"))
                assert ack_bytes(b"c") not in await client.ended()

            assert server.stats.handshakes_failed == {"shared_key mismatch": 1, "no PING": 1}
            assert server.stats.records == 1

    run(test)


def test_mutual_tls_lets_in_who_has_a_certificate_that_is_known(tls: Tls, tmp_path: Path) -> None:
    stranger = ssl.create_default_context(cafile=str(tls.cert))
    stranger.load_cert_chain(*certificate(tmp_path, "stranger"))

    async def test() -> None:
        sink = Sink()
        async with tls.mutual.build(sink) as server, connect(server, tls.known) as known:
            await refused(server, tls.client)
            await refused(server, stranger)
            await served(known)

            assert server.stats.handshakes_failed == {"TLS": 2}
            assert sink.records == 1

    run(test)


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (frame("a", "in the clear"), "no TLS connection: "),
        (b"GET / HTTP/1.1\r\n\r\n", "no TLS connection: http request"),
        (b"\x16\x03\x01\x02\x00\x01\x00" + b"\xff" * 600, "no TLS connection: "),
        (b"\x00" * 5000, "no TLS connection: "),
    ],
)
def test_what_is_no_tls_is_one_short_line_and_a_count_and_others_are_served(
    garbage: bytes, reason: str, tls: Tls, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        sink = Sink()
        async with tls.config.build(sink) as server, connect(server, tls.client) as good, connect(server) as bad:
            bad.send(garbage)
            await bad.ended()
            await served(good)

            assert server.stats.handshakes_failed == {"TLS": 1}
            await until(lambda: server.stats.connections_open == 1)

    with caplog.at_level(logging.INFO):
        run(test)

    (record,) = caplog.records
    assert reason in record.getMessage()
    assert len(record.getMessage()) < 150


def test_an_old_version_of_tls_is_refused(tls: Tls) -> None:
    old = ssl.create_default_context(cafile=str(tls.cert))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    async def test() -> None:
        async with tls.config.build(Sink()) as server:
            await refused(server, old)

            await until(lambda: server.stats.handshakes_failed == {"TLS": 1})

    run(test)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_half_a_tls_handshake_held_open_is_closed_in_time(sent: bytes, tls: Tls) -> None:
    async def test() -> None:
        config = replace(tls.config, handshake_timeout_s=0.2)
        async with config.build(Sink()) as server, connect(server) as slow:
            slow.send(sent)
            assert await slow.ended() == b""

            await until(lambda: server.stats.connections_open == 0)
            assert server.stats.handshakes_failed == {"TLS": 1}

    run(test)


def test_heartbeats_and_ends_without_ceremony_are_silent(tls: Tls, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        sink = Sink()
        async with tls.config.build(sink) as server:
            async with connect(server):
                pass
            async with connect(server, tls.client):
                pass
            async with connect(server, tls.client) as client:
                await served(client)
                sink.gate.clear()
                client.send(frame("a", "2", chunk="d"))
                await until(lambda: server.stats.bytes > 60)
                client.writer.transport.abort()
            sink.gate.set()
            async with connect(server, tls.client) as client:
                sink.gate.clear()
                client.send(b"".join(frame("a", "3", chunk=f"e{number}") for number in range(10)))
                await until(lambda: server.stats.bytes > 400)
            sink.gate.set()
            await until(lambda: server.stats.connections_open == 0)

            assert server.stats.handshakes_failed == {}
            assert sink.records == 12

    with caplog.at_level(logging.INFO):
        run(test)
        gc.collect()

    assert caplog.records == []


def test_closing_finishes_what_came_through_tls(tls: Tls) -> None:
    async def test() -> None:
        sink = Sink()
        server = await tls.config.build(sink).start()
        async with connect(server, tls.client) as client:
            sink.gate.clear()
            client.send(frame("a", "1", chunk="c"))
            await until(lambda: server.stats.bytes > 0)
            closing = asyncio.create_task(server.close())
            await asyncio.sleep(0)

            sink.gate.set()
            await closing

            assert await client.ended() == ack_bytes(b"c")

    run(test)


def test_renewed_certificates_are_for_new_connections_and_a_bad_file_changes_nothing(tls: Tls, tmp_path: Path) -> None:
    cert, key = tmp_path / "live.pem", tmp_path / "live.key"
    new_cert, new_key = certificate(tmp_path, "renewed", *SERVER)
    trusts_new = ssl.create_default_context(cafile=str(new_cert))

    async def test() -> None:
        cert.write_bytes(tls.cert.read_bytes())
        key.write_bytes(tls.key.read_bytes())
        config = replace(tls.config, tls_cert=str(cert), tls_key=str(key))
        async with config.build(Sink()) as server, connect(server, tls.client) as old:
            cert.write_bytes(new_cert.read_bytes())
            with pytest.raises(ConfigError, match="is not the private key of"):
                server.reconfigure(config)
            async with connect(server, tls.client) as client:
                await served(client)

            key.write_bytes(new_key.read_bytes())
            server.reconfigure(config)

            async with connect(server, trusts_new) as client:
                await served(client)
            await refused(server, tls.client)
            await served(old)

    run(test)


def test_files_that_are_no_certificates_are_config_errors_that_name_file_and_expectation(
    tls: Tls, tmp_path: Path
) -> None:
    (tmp_path / "junk").write_text("no PEM")
    _, other_key = certificate(tmp_path, "other")
    junk, missing = str(tmp_path / "junk"), str(tmp_path / "missing")
    wrong: list[tuple[ForwardConfig, str]] = [
        (replace(LOCAL, tls_cert=str(tls.cert)), "tls_cert is set, expected tls_key too"),
        (replace(LOCAL, tls_key=str(tls.key)), "tls_key is set, expected tls_cert too"),
        (replace(LOCAL, tls_client_ca=str(tls.cert)), "tls_client_ca is set, expected tls_cert and tls_key too"),
        (replace(tls.config, tls_cert=missing), "missing: cannot read: No such file or directory; expected a cert"),
        (replace(tls.config, tls_key=missing), "missing: cannot read: No such file or directory; expected a private"),
        (replace(tls.config, tls_cert=junk), "junk, .*: expected a certificate and its private key in PEM"),
        (replace(tls.config, tls_key=junk), "junk: expected a certificate and its private key in PEM"),
        (replace(tls.config, tls_key=str(other_key)), "other.key: is not the private key of .*server.pem"),
        (replace(tls.config, tls_client_ca=junk), "junk: expected certificates in PEM"),
        (replace(tls.config, tls_client_ca=missing), "missing: cannot read"),
    ]

    async def test() -> None:
        for config, message in wrong:
            server = config.build(Sink())
            with pytest.raises(ConfigError, match=message):
                await server.start()

    run(test)
