"""A sink, a client and frames for tests of the forward server on real sockets."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgpack  # type: ignore[import-untyped]

from logllm.sources.forward.peer import Peer
from logllm.sources.forward.protocol import Received
from logllm.sources.forward.server import ForwardConfig, ForwardServer

__all__ = ["LOCAL", "PATIENCE_S", "Client", "Sink", "connect", "frame", "run", "until"]

PATIENCE_S = 20
LOCAL = ForwardConfig(listen="127.0.0.1:0")


def frame(tag: str, *lines: str, chunk: str | None = None) -> bytes:
    entries = [[[msgpack.ExtType(0, struct.pack(">II", 1_700_000_000, 0)), {}], {"log": line}] for line in lines]
    return bytes(msgpack.packb([tag, entries, {"chunk": chunk} if chunk else {}]))


class Sink:
    """Accepts chunks while `gate` is open and remembers them."""

    def __init__(self) -> None:
        self.chunks: list[Received] = []
        self.peers: list[Peer] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, received: Received, peer: Peer) -> None:
        await self.gate.wait()
        self.peers.append(peer)
        self.chunks.append(received)

    @property
    def records(self) -> int:
        return sum(received.chunk.count for received in self.chunks)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def expect(self, data: bytes) -> None:
        assert await self.reader.readexactly(len(data)) == data

    async def ended(self, most: int = -1) -> bytes:
        """What the server still sends until it closes."""
        try:
            return await self.reader.read(most)
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connect(
    server: ForwardServer, tls: ssl.SSLContext | None = None, unix_path: str | None = None
) -> AsyncIterator[Client]:
    if unix_path is not None:
        found = Client(*await asyncio.open_unix_connection(unix_path))
    else:
        name = "localhost" if tls is not None else None
        found = Client(*await asyncio.open_connection(*server.address, ssl=tls, server_hostname=name))
    try:
        yield found
    finally:
        await found.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await test()

    asyncio.run(bounded())
