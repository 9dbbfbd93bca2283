"""The forward protocol's server: sockets to chunks, acks back.

One task a connection reads what has come, hands over one chunk after the other and waits for each to be accepted;
only then does its ack go out. While it waits the socket is not read, so a slow pipeline fills the sender's buffers
and nothing else: no connection is closed and nothing dropped for back-pressure.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from logllm.errors import SourceError
from logllm.sources.forward.config import ForwardConfig, host_and_port, needs_restart, socket_mode
from logllm.sources.forward.connection import QUIET_S, Connection
from logllm.sources.forward.listen import UdpHeartbeat, UnixSocket, cannot_listen, raise_file_limit
from logllm.sources.forward.peer import Peer
from logllm.sources.forward.places import Places
from logllm.sources.forward.protocol import Item, Limits, Notice, Received, Skipped
from logllm.sources.forward.secrets import load_gate, load_tls
from logllm.sources.forward.senders import Senders
from logllm.sources.forward.stats import ForwardStats
from logllm.sources.forward.throttle import Throttle
from logllm.sources.forward.turns import Turns

if TYPE_CHECKING:
    import ssl
    from typing import Self

    from logllm.sources.forward.gate import Gate

__all__ = [
    "Deliver",
    "ForwardConfig",
    "ForwardServer",
    "ForwardStats",
    "OnClosed",
    "OnSkipped",
    "Peer",
    "Room",
    "host_and_port",
    "needs_restart",
    "raise_file_limit",
]

Deliver = Callable[[Received, Peer], Awaitable[None]]
"""Takes a chunk; returns once it is accepted, which is when its acks go out. May wait as long as it likes."""

OnSkipped = Callable[[Sequence[Skipped], Peer], Awaitable[None]]
OnClosed = Callable[[Peer], None]
Room = Callable[[], Awaitable[None]]
"""Returns when one more chunk may be taken out of a connection's buffer; it is delivered before anything is awaited."""

_log = logging.getLogger("logllm.forward")

_SPACE_BYTES = 1 << 20


class ForwardServer:
    """Listens for Fluent Bit, Fluentd and the fluent loggers.

    Args:
        config: Addresses, secrets and limits.
        deliver: Called with each chunk, one at a time for a connection, in its order; connections run side by side.
            When it raises a `LogllmError` the connection is closed without an ack, and the sender keeps the chunk.
        on_skipped: Takes the entries of a frame that are no records; returns once they are safe, and only then is the
            rest of the frame delivered and acknowledged. Raises as `deliver` does.
        on_closed: Called once a connection has ended and nothing more will be delivered from it.
        room: Waited for before each chunk, while its bytes are still in the connection's buffer.
        clock: Unix time in nanoseconds, for `senders`.

    Attributes:
        config: What is in effect.
        limits: What one connection may ask for.
        stats: Counts, see `ForwardStats`.
        senders: What each host has sent, see `Sender`.
        gate: Who may enter; None where there is no handshake.
        tls: What TCP connections are secured with; None where they are plain.
        turns: Who may read while memory is short.
        space: What all connections read into.
    """

    def __init__(
        self,
        config: ForwardConfig,
        deliver: Deliver,
        on_skipped: OnSkipped | None = None,
        on_closed: OnClosed | None = None,
        room: Room | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.config = config
        self.limits = Limits(config.max_frame_bytes, config.max_inflated_bytes)
        self.stats = ForwardStats()
        self.senders = Senders()
        self.gate: Gate | None = None
        self.tls: ssl.SSLContext | None = None
        self.space = memoryview(bytearray(_SPACE_BYTES))
        self._deliver = deliver
        self.room = room
        self._on_skipped = on_skipped
        self._on_closed = on_closed
        self._clock = clock
        self._listeners: list[asyncio.Server] = []
        self._unix: UnixSocket | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._places = Places()
        self._emptied = asyncio.Event()
        self._complaints, self._strangers, self._full = Throttle(_log), Throttle(_log), Throttle(_log, lines=1)
        crowd = Throttle(_log, lines=1)
        self.turns = Turns(
            self._places.connections, config.max_buffered_bytes, config.stall_s, self.stats, crowd.warning
        )

    async def start(self) -> Self:
        """Begin to listen.

        Raises:
            ConfigError: an address is none, or a file is not what it should be; nothing listens then.
            SourceError: an address cannot be bound.
        """
        config = self.config
        host, port = host_and_port(config.listen)
        mode = socket_mode(config.unix_mode)
        self.gate, self.tls = load_gate(config), load_tls(config)
        loop = asyncio.get_running_loop()
        try:
            try:
                self._listeners.append(await loop.create_server(partial(Connection, self), host, port, backlog=1024))
                if config.udp_heartbeat:
                    self._udp, _ = await loop.create_datagram_endpoint(
                        lambda: UdpHeartbeat(self._beat), local_addr=(host, self.address[1])
                    )
            except OSError as error:
                raise cannot_listen(config.listen, error) from error
            if config.unix_path is not None:
                self._unix = UnixSocket(config.unix_path, mode)
                factory = partial(Connection, self, is_unix=True)
                self._listeners.append(await loop.create_unix_server(factory, sock=self._unix.socket, backlog=1024))
        except BaseException:
            await self._stop_listening()
            raise
        return self

    def reconfigure(self, config: ForwardConfig) -> None:
        """Put a new configuration into effect for connections from now on; those that are open stay as they are.

        Files are read again even where their names are the same. Keys that `needs_restart` names keep their values.

        Raises:
            ConfigError: a file is not what it should be; all is as it was.
        """
        kept = {key: getattr(self.config, key) for key in needs_restart(self.config, config)}
        if "tls_cert" in kept:
            kept |= {key: getattr(self.config, key) for key in ("tls_key", "tls_client_ca")}
        config = replace(config, **kept)
        gate, tls = load_gate(config), load_tls(config)
        self.config, self.gate, self.tls = config, gate, tls
        self.limits = Limits(config.max_frame_bytes, config.max_inflated_bytes)
        self.turns.limit_bytes, self.turns.stall_s = config.max_buffered_bytes, config.stall_s

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are really bound."""
        if not self._listeners or not self._listeners[0].sockets:
            raise SourceError(f"{self.config.listen}: not listening")
        host, port = self._listeners[0].sockets[0].getsockname()[:2]
        return host, port

    async def close(self, grace_s: float = 5.0) -> None:
        """Stop accepting, finish what the peers have sent, acknowledge it, close.

        Args:
            grace_s: Seconds for frames that are still under way and chunks not yet accepted; what is not
                finished by then is not acknowledged.
        """
        if not self._listeners:
            return
        for listener in self._listeners:
            listener.close()
        for connection in list(self._places.connections):
            connection.finish(grace_s)
        tasks = [connection.task for connection in self._places.connections if connection.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s + 4 * QUIET_S)
            for task in late:
                task.cancel()
            if late:
                _log.warning("%d connections closed with a chunk not accepted within %g s", len(late), grace_s)
                await asyncio.wait(late)
        # What is written is out at once unless a peer does not read.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_no_connections(), 4 * QUIET_S)
        for connection in list(self._places.connections):
            connection.evict()
        await self._has_no_connections()
        self.turns.close()
        await self._stop_listening()

    async def _has_no_connections(self) -> None:
        while self._places.connections:
            self._emptied.clear()
            await self._emptied.wait()

    async def _stop_listening(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._unix is not None:
            self._unix.remove()
        listeners, self._listeners = self._listeners, []
        self._udp = self._unix = None
        for listener in listeners:
            listener.close()
            await listener.wait_closed()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def buffered_bytes(self) -> int:
        """Bytes of frames held in all connections."""
        return self.turns.held_bytes

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more connection; it is entered if so."""
        now, places = asyncio.get_running_loop().time(), self._places
        if places.taken >= self.config.max_connections:
            for gone in places.left(now):
                places.leaving.add(gone)
                gone.let_go()
        if places.taken >= self.config.max_connections:
            oldest = places.spare(now, self.config.stall_s, crowded=self.turns.crowded)
            if oldest is None:
                self.stats.connections_refused += 1
                self._full.warning("%d connections are open, no more are taken", len(places.connections))
                return False
            self.stats.connections_evicted += 1
            self._full.warning(
                "%d connections are open: those that never sent a frame make room", len(places.connections)
            )
            oldest.evict()
            self.forget(oldest)
        places.enter(connection, now)
        self.stats.connections += 1
        self.stats.connections_open = len(places.connections)
        self.turns.enter(connection)
        return True

    def heard(self, connection: Connection) -> None:
        """The first byte of a connection has come."""
        self._places.heard(connection, asyncio.get_running_loop().time())

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        if connection not in self._places.connections:
            return
        self._places.leave(connection)
        self.stats.connections_open = len(self._places.connections)
        self.turns.leave(connection)
        if not self._places.connections:
            self._emptied.set()
        if self._on_closed is not None:
            self._on_closed(connection.peer)

    def proved(self, connection: Connection) -> None:
        """The first frame of a connection has come, and been taken."""
        self._places.proved(connection)

    def turn_away(self, peer: Peer, reason: str, detail: str) -> None:
        """A peer is not let in: counted, and logged while that is rare."""
        self.stats.handshakes_failed[reason] += 1
        self._strangers.warning("%s: %s; connection closed", peer.name, detail)

    def complain(self, message: str, *args: object) -> None:
        """Log what a peer did."""
        self._complaints.warning(message, *args)

    async def take(self, item: Item, peer: Peer) -> tuple[bytes, ...]:
        """Deal with an item; returns the ids to acknowledge, now that it is accepted."""
        stats = self.stats
        if isinstance(item, Received):
            await self._deliver(item, peer)
            stats.records += item.chunk.count
            if not item.acks:
                stats.unacknowledged += item.chunk.count
            self.senders.note(peer.host, item, self._clock())
            return item.acks
        if isinstance(item, Notice):
            self._note(item)
            return item.acks
        return ()

    async def skip(self, skipped: Sequence[Skipped], peer: Peer) -> None:
        """Deal with the entries of a frame that are no records."""
        for item in skipped:
            self.stats.skipped[item.fault.reason] += item.fault.count
        if self._on_skipped is not None:
            await self._on_skipped(skipped, peer)

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

    def _beat(self) -> None:
        self.stats.udp_heartbeats += 1
