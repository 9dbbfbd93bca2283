"""The forward protocol's server: sockets to chunks, acks back.

One task a connection reads what has come, hands over one chunk after the other and waits for each to be accepted;
only then does its ack go out. While it waits the socket is not read, so a slow pipeline fills the sender's buffers
and nothing else: no connection is closed and nothing dropped for back-pressure.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import ConfigError, SourceError
from logllm.sources.forward_connection import QUIET_S, Connection
from logllm.sources.forward_peer import Peer
from logllm.sources.forward_protocol import Item, Limits, Notice, Received, Skipped

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Deliver",
    "ForwardConfig",
    "ForwardServer",
    "ForwardStats",
    "OnClosed",
    "OnSkipped",
    "Peer",
    "host_and_port",
]

Deliver = Callable[[Received, Peer], Awaitable[None]]
"""Takes a chunk; returns once it is accepted, which is when its acks go out. May wait as long as it likes."""

OnSkipped = Callable[[Skipped], None]
OnClosed = Callable[[Peer], None]

_log = logging.getLogger("logllm.forward")


class ForwardConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to listen and what a peer may ask for.

    Args:
        listen: `host:port`; port 0 picks a free one.
        max_frame_bytes: A longer frame closes its connection.
        max_inflated_bytes: A payload that inflates to more closes its connection.
        max_connections: One more is closed at once.
        max_buffered_bytes: Bytes of unfinished frames in all connections together; past it the connection that
            holds most is closed, so that a crowd of half-sent frames cannot take the memory.
    """

    listen: str = "127.0.0.1:24224"
    max_frame_bytes: int = 32 << 20
    max_inflated_bytes: int = 64 << 20
    max_connections: int = 1000
    max_buffered_bytes: int = 256 << 20

    def build(
        self, deliver: Deliver, on_skipped: OnSkipped | None = None, on_closed: OnClosed | None = None
    ) -> ForwardServer:
        """The server, not yet listening."""
        return ForwardServer(self, deliver, on_skipped, on_closed)


@dataclass(slots=True)
class ForwardStats:
    """What the server has seen since it was made; plain numbers, read at any time.

    `skipped` counts entries that are no records by reason, `other_signals` frames by kind (metrics, traces...).
    `unacknowledged` counts records that came without a chunk id: those are lost if either side dies.
    """

    connections_open: int = 0
    connections: int = 0
    connections_refused: int = 0
    frames: int = 0
    records: int = 0
    unacknowledged: int = 0
    bytes: int = 0
    acks: int = 0
    heartbeats: int = 0
    empty_frames: int = 0
    group_markers: int = 0
    truncated: int = 0
    protocol_errors: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    other_signals: Counter[str] = field(default_factory=Counter)


class ForwardServer:
    """Listens for Fluent Bit, Fluentd and the fluent loggers.

    Args:
        config: Address and limits.
        deliver: Called with each chunk, one at a time for a connection, in its order; connections run side by side.
            When it raises a `LogllmError` the connection is closed without an ack, and the sender keeps the chunk.
        on_skipped: Called with entries that are no records, before the rest of their frame is delivered.
        on_closed: Called once a connection has ended and nothing more will be delivered from it.

    Attributes:
        limits: What one connection may ask for.
        stats: Counts, see `ForwardStats`.
    """

    def __init__(
        self,
        config: ForwardConfig,
        deliver: Deliver,
        on_skipped: OnSkipped | None = None,
        on_closed: OnClosed | None = None,
    ) -> None:
        self.config = config
        self.limits = Limits(config.max_frame_bytes, config.max_inflated_bytes)
        self.stats = ForwardStats()
        self._deliver = deliver
        self._on_skipped = on_skipped
        self._on_closed = on_closed
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._full = False

    async def start(self) -> Self:
        """Begin to listen.

        Raises:
            ConfigError: `listen` is not `host:port`.
            SourceError: the address cannot be bound.
        """
        host, port = host_and_port(self.config.listen)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=256)
        except OSError as error:
            reason = "address already in use" if error.errno == errno.EADDRINUSE else str(error.strerror or error)
            raise SourceError(f"{self.config.listen}: cannot listen: {reason}") from error
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are really bound."""
        if self._server is None or not self._server.sockets:
            raise SourceError(f"{self.config.listen}: not listening")
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def close(self, grace_s: float = 5.0) -> None:
        """Stop accepting, finish what the peers have sent, acknowledge it, close.

        Args:
            grace_s: Seconds for frames that are still under way and chunks not yet accepted; what is not
                finished by then is not acknowledged.
        """
        if self._server is None:
            return
        self._server.close()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        for connection in list(self._connections):
            connection.finish(grace_s)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s + 4 * QUIET_S)
            for task in late:
                task.cancel()
            if late:
                _log.warning("%d connections closed with a chunk not accepted within %g s", len(late), grace_s)
                await asyncio.wait(late)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def buffered_bytes(self) -> int:
        """Bytes of frames held in all connections."""
        return sum(connection.receiver.pending_bytes for connection in self._connections)

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more connection; it is entered if so."""
        if len(self._connections) >= self.config.max_connections:
            self.stats.connections_refused += 1
            if not self._full:
                _log.warning("%d connections are open, no more are taken", len(self._connections))
            self._full = True
            return False
        self._full = False
        self._connections.add(connection)
        self.stats.connections += 1
        self.stats.connections_open = len(self._connections)
        return True

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        self.stats.connections_open = len(self._connections)
        if self._on_closed is not None:
            self._on_closed(connection.peer)

    def relieve(self) -> None:
        """Close the connection that holds most of an unfinished frame while all of them hold too much."""
        if self.buffered_bytes > self.config.max_buffered_bytes:
            largest = max(self._connections, key=lambda connection: connection.receiver.pending_bytes)
            largest.give_up(f"{self.config.max_buffered_bytes} bytes of unfinished frames are held, most of them here")

    async def take(self, item: Item, peer: Peer) -> tuple[bytes, ...]:
        """Deal with an item; returns the ids to acknowledge, now that it is accepted."""
        stats = self.stats
        if isinstance(item, Received):
            await self._deliver(item, peer)
            stats.records += item.chunk.count
            if not item.acks:
                stats.unacknowledged += item.chunk.count
            return item.acks
        if isinstance(item, Skipped):
            stats.skipped[item.fault.reason] += item.fault.count
            if self._on_skipped is not None:
                self._on_skipped(item)
            return ()
        self._note(item)
        return item.acks

    def _note(self, notice: Notice) -> None:
        stats = self.stats
        if notice.kind == "heartbeat":
            stats.heartbeats += 1
        elif notice.kind == "empty":
            stats.empty_frames += 1
        elif notice.kind == "group_marker":
            stats.group_markers += notice.count
        else:
            stats.other_signals[notice.kind] += notice.count


def host_and_port(listen: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` in its parts.

    >>> host_and_port("127.0.0.1:24224"), host_and_port("[::1]:0")
    (('127.0.0.1', 24224), ('::1', 0))

    Raises:
        ConfigError: it is neither.
    """
    host, colon, port = listen.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{listen!r}: expected `host:port` with a port from 0 to 65535")
    return host, int(port)
