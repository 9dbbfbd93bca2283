"""Two logllm in a row: our forward sink and our own server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from logllm.config import Config
from logllm.sinks.forward import ForwardSinkConfig
from logllm.sinks.parcel import Parcel
from tests.sinks.certificates import certificates
from tests.sinks.forward_parts import Ledger, entry, parcel

LOCAL = replace(Config().forward, listen="127.0.0.1:0")
PATIENCE_S = 60


def relayed(
    parcels: list[Parcel], server: dict[str, Any] | None = None, **options: Any
) -> tuple[int, list[tuple[str, bytes, bytes]]]:
    """How many the sink says it has delivered, and what has come: tag, entries and id of each chunk."""
    received: list[tuple[str, bytes, bytes]] = []

    async def deliver(item: Any, *_: Any) -> None:
        received.append((item.chunk.tag, bytes(item.chunk.block), b"".join(item.acks)))

    async def run() -> int:
        async with asyncio.timeout(PATIENCE_S), replace(LOCAL, **(server or {})).build(deliver) as running:
            host, port = running.address
            sink = ForwardSinkConfig(f"{host}:{port}", **options).build(Ledger())
            done = await asyncio.to_thread(sink.write, parcels)
            sink.close()
            return done

    return asyncio.run(run()), received


@pytest.mark.parametrize("legacy_entries", [False, True])
@pytest.mark.parametrize("compress", ["", "gzip", "zstd"])
@pytest.mark.parametrize("mode", ["forward", "packed"])
def test_our_own_server_takes_what_our_sink_sends(mode: str, compress: str, legacy_entries: bool) -> None:
    parcels = [parcel(*(f"{i}.{j}" for j in range(50)), ids=[b"%d" % i]) for i in range(100)]
    parcels.append(parcel("a", "b", ids=[b"a", b"b"]))

    done, received = relayed(parcels, mode=mode, compress=compress, legacy_entries=legacy_entries)

    assert done == len(parcels)
    blocks = [sent.block for sent in parcels[:100]] + [entry("a"), entry("b")]
    if legacy_entries:
        blocks = [block.replace(b"\x92\x92\xd7", b"\x92\xd7").replace(b"\x80\x81", b"\x81") for block in blocks]
    ids = [b"%d" % i for i in range(100)] + [b"a", b"b"]
    assert received == [("app.web", block, chunk_id) for block, chunk_id in zip(blocks, ids, strict=True)]


def test_our_own_server_lets_our_sink_in_with_a_key_a_user_and_certificates_on_both_sides(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    for name, text in (("key", "k3y\n"), ("password", "p4ssword\n"), ("users", "ann p4ssword\n")):
        (tmp_path / name).write_text(text)
    key = {"shared_key_file": str(tmp_path / "key")}
    theirs = {"tls_cert": str(made.server), "tls_key": str(made.server_key), "tls_client_ca": str(made.ca)}
    ours = {"tls": True, "tls_ca": str(made.ca), "tls_cert": str(made.client), "tls_key": str(made.client_key)}
    user = {"username": "ann", "password_file": str(tmp_path / "password"), "self_hostname": "sender"}

    done, received = relayed(
        [parcel("a", ids=[b"1"])], {**key, **theirs, "users_file": str(tmp_path / "users")}, **key, **ours, **user
    )

    assert (done, received) == (1, [("app.web", entry("a"), b"1")])


def test_a_socket_in_the_file_system_leads_to_our_own_server_too(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    parcels = [parcel("a", ids=[b"1"])]

    async def run() -> int:
        async def deliver(*_: Any) -> None:
            pass

        async with asyncio.timeout(PATIENCE_S), replace(LOCAL, unix_path=path).build(deliver):
            sink = ForwardSinkConfig(f"unix:{path}").build(Ledger())
            done = await asyncio.to_thread(sink.write, parcels)
            sink.close()
            return done

    assert asyncio.run(run()) == 1
