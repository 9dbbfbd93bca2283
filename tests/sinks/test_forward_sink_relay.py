"""Two logllm in a row: our forward sink and our own server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from logllm.config import Config
from logllm.sinks.forward import ForwardSinkConfig
from tests.sinks.forward_parts import Ledger, parcel

LOCAL = replace(Config().forward, listen="127.0.0.1:0")


@pytest.mark.parametrize("legacy_entries", [False, True])
@pytest.mark.parametrize("compress", ["", "gzip", "zstd"])
@pytest.mark.parametrize("mode", ["forward", "packed"])
def test_our_own_server_takes_what_our_sink_sends(mode: str, compress: str, legacy_entries: bool) -> None:
    parcels = [parcel(*(f"{i}.{j}" for j in range(50)), ids=[b"%d" % i]) for i in range(100)]
    parcels.append(parcel("a", "b", ids=[b"a", b"b"]))
    received: list[tuple[str, int, bytes]] = []

    async def deliver(item: Any, *_: Any) -> None:
        received.append((item.chunk.tag, item.chunk.count, b"".join(item.acks)))

    async def run() -> int:
        async with asyncio.timeout(60), LOCAL.build(deliver) as server:
            host, port = server.address
            config = ForwardSinkConfig(f"{host}:{port}", mode=mode, compress=compress, legacy_entries=legacy_entries)  # type: ignore[arg-type]
            sink = config.build(Ledger())
            done = await asyncio.to_thread(sink.write, parcels)
            sink.close()
            return done

    done = asyncio.run(run())

    assert done == len(parcels)
    assert received[:100] == [("app.web", 50, b"%d" % i) for i in range(100)]
    assert received[100:] == [("app.web", 1, b"a"), ("app.web", 1, b"b")]
