"""One connection of the forward server: its receiver, its task."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, cast

from logllm.errors import LogllmError, ProtocolError
from logllm.sources.forward.entrance import Entrance
from logllm.sources.forward.peer import Peer
from logllm.sources.forward.protocol import Receiver, Skipped, ack_bytes

if TYPE_CHECKING:
    from logllm.sources.forward.server import ForwardServer

__all__ = ["QUIET_S", "Connection"]

_log = logging.getLogger("logllm.forward")

# While a chunk waits to be accepted this much more is read, so that the next one is there when it is.
_READ_AHEAD = 1 << 20
# After the server began to close, a connection is read until this long nothing has come.
QUIET_S = 0.05
# What is written at the end waits this long to be read; a peer may never read it.
_LINGER_S = 5.0


class Connection(asyncio.BufferedProtocol):
    """One peer. All state is its own but the space that bytes are read into.

    It costs a task only once it has sent something: thousands of idle connections are normal.

    Attributes:
        peer: Who is at the other end.
        busy: Whether a chunk of it is being dealt with.
        heard_s: When bytes came last, by the loop's clock; 0 where none have.
        held_bytes: What its receiver holds.
    """

    __slots__ = (
        "_ahead", "_deadline", "_ended", "_entrance", "_gave_up", "_is_held", "_is_unix", "_loop", "_lost", "_over",
        "_paused", "_proved", "_raw", "_server", "_task", "_timer", "_transport", "_wake", "_writable",
        "busy", "heard_s", "held_bytes", "peer", "receiver",
    )  # fmt: skip

    def __init__(self, server: ForwardServer, *, is_unix: bool = False) -> None:
        self.receiver: Receiver
        self.peer = Peer()
        self.busy = False
        self.held_bytes = 0
        self.heard_s = 0.0
        self._server = server
        self._is_unix = is_unix
        self._loop = asyncio.get_running_loop()
        self._raw: asyncio.Transport
        self._transport: asyncio.Transport | None = None
        self._entrance: Entrance | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake: asyncio.Event | None = None
        self._writable: asyncio.Event | None = None
        self._ahead = self._is_held = self._paused = False
        self._ended = self._lost = self._over = self._proved = False
        self._deadline: float | None = None
        self._gave_up: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = raw = cast("asyncio.Transport", transport)
        name = raw.get_extra_info("peername")
        self.peer = Peer("unix", "unix", raw) if self._is_unix else Peer(f"{name[0]}:{name[1]}", name[0], raw)
        if not self._server.admit(self):
            self.evict()
            return
        # A write is over when the kernel has it: each ack goes out in a send of its own.
        raw.set_write_buffer_limits(high=0)
        if not self._is_unix:
            sock: socket.socket = raw.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        tls = None if self._is_unix else self._server.tls
        if tls is None and self._server.gate is None:
            self.enter(raw)
        else:
            self._entrance = Entrance(self._server, self, raw, tls)

    def enter(self, transport: asyncio.Transport, data: bytes = b"") -> None:
        """The connection may send from now on, and has sent this."""
        self.receiver = Receiver(self.peer.name, self._server.limits)
        self.peer.secured(transport)
        self._transport = transport
        self._entrance = None
        self._steer()
        if data:
            self._feed(data)

    @property
    def fileno(self) -> int:
        """The socket's descriptor; -1 when it is gone."""
        return -1 if self._lost else cast("int", self._raw.get_extra_info("socket").fileno())

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What is at work for it."""
        return self._entrance.task if self._entrance is not None else self._task

    def get_buffer(self, sizehint: int) -> memoryview:
        # Whoever asks fills it and calls `buffer_updated` before anything else runs: one for all connections.
        return self._server.space

    def buffer_updated(self, nbytes: int) -> None:
        if self._over:
            return
        self._server.stats.bytes += nbytes
        if not self.heard_s:
            self._server.heard(self)
        self.heard_s = self._loop.time()
        data = self._server.space[:nbytes]
        if self._transport is not None:
            self._feed(data)
        elif self._entrance is not None:
            self._entrance.feed(data)

    def _feed(self, data: bytes | memoryview) -> None:
        self.receiver.feed(data)
        if self.busy and self.receiver.pending_bytes > _READ_AHEAD:
            self._ahead = True
            self._steer()
        self._count()
        self._rouse()

    def _rouse(self) -> None:
        """Have the task go on; the first bytes begin it."""
        if self._wake is None and self._transport is not None:
            self._wake, self._writable = asyncio.Event(), asyncio.Event()
            self._writable.set()
            self._task = self._loop.create_task(self._run(self._transport, self._wake, self._writable))
            self._task.add_done_callback(self._report)
        if self._wake is not None:
            self._wake.set()

    def _count(self) -> None:
        held = 0 if self._over else self.receiver.pending_bytes
        change, self.held_bytes = held - self.held_bytes, held
        if change:
            self._server.turns.count(self, change)

    def hold(self, held: bool) -> None:
        """Whether others have to send first."""
        self._is_held = held
        self._steer()

    def _steer(self) -> None:
        paused = self._ahead or self._is_held
        if self._transport is None or self._over or self._lost or paused == self._paused:
            return
        self._paused = paused
        # Of the socket itself, also behind TLS: what waits there can be seen there, and TLS keeps nothing back.
        if paused:
            self._raw.pause_reading()
        else:
            self._raw.resume_reading()

    def eof_received(self) -> bool:
        # Open for writing until the acks are out: a client may shut down its side and wait for them. TLS cannot.
        self._ended = True
        if self._wake is not None:
            self._wake.set()
        return self._wake is not None and self._transport is self._raw

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lost:
            return
        self._ended = self._lost = True
        self.peer.ended()
        if self._timer is not None:
            self._timer.cancel()
        if self._entrance is not None:
            self._entrance.ended()
        for event in (self._wake, self._writable):
            if event is not None:
                event.set()
        if self._task is None:
            self._gone()

    def pause_writing(self) -> None:
        if self._writable is not None:
            self._writable.clear()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()

    def finish(self, grace_s: float) -> None:
        """Read what is under way, for at most this long, then end."""
        self._deadline = self._loop.time() + grace_s
        if self._over or self._transport is None:
            self.evict()
        else:
            self._rouse()

    def give_up(self, reason: str) -> None:
        """End now; what is unfinished is dropped and not acknowledged."""
        self._gave_up = reason
        self.evict()
        self._count()
        self._rouse()

    def evict(self) -> None:
        """End at once and without a word."""
        self._over = True
        self._raw.abort()

    def let_go(self) -> None:
        """Close the socket of a peer that has gone; what it sent is delivered all the same."""
        self._raw.abort()

    def close(self, transport: asyncio.Transport) -> None:
        """End when all that was written is out; nothing that comes now matters."""
        self._over = True
        transport.close()
        if not self._lost:
            self._timer = self._loop.call_later(_LINGER_S, self._raw.abort)

    async def _run(self, transport: asyncio.Transport, wake: asyncio.Event, writable: asyncio.Event) -> None:
        stats = self._server.stats
        try:
            while True:
                self.busy = True
                await self._read(transport, writable)
                self.busy = False
                if self._ended or self._gave_up or await self._nothing_more(wake):
                    break
            if self._gave_up:
                self._server.complain("%s: %s; connection closed", self.peer.name, self._gave_up)
            elif self.receiver.pending_bytes:
                stats.truncated += 1
                self._server.complain(
                    "%s: connection ended inside a frame, %d bytes of it are dropped",
                    self.peer.name,
                    self.receiver.pending_bytes,
                )
        except ProtocolError as error:
            stats.protocol_errors += 1
            self._server.complain("%s: %s; connection closed", self.peer.name, error)
        except LogllmError as error:
            self._server.complain(
                "%s: chunk not accepted: %s; connection closed, the sender keeps it", self.peer.name, error
            )
        finally:
            self.busy = False
            self._over = True
            self._count()
            self.close(transport)

    async def _read(self, transport: asyncio.Transport, writable: asyncio.Event) -> None:
        stats = self._server.stats
        frames = self.receiver.frames
        items = self.receiver.items()
        skipped: list[Skipped] = []
        try:
            while True:
                if self._server.room is not None:
                    await self._server.room()
                if (item := next(items, None)) is None:
                    return
                if isinstance(item, Skipped):
                    skipped.append(item)
                    continue
                if skipped:
                    await self._server.skip(skipped, self.peer)
                    skipped = []
                acks = await self._server.take(item, self.peer)
                self._count()
                if not self._proved:
                    self._proved = True
                    self._server.proved(self)
                self._server.turns.taken(self)
                for chunk_id in acks:
                    # One send for each: Fluent Bit reads one object from one read and throws the rest away.
                    if not transport.is_closing() and not (self._ended and transport is not self._raw):
                        transport.write(ack_bytes(chunk_id))
                        stats.acks += 1
                    await writable.wait()
                if self._gave_up:
                    return
        finally:
            stats.frames += self.receiver.frames - frames
            self._count()

    async def _nothing_more(self, wake: asyncio.Event) -> bool:
        """Wait for bytes; true when none are to be waited for, since the server is closing."""
        self._ahead = False
        self._steer()
        if self._deadline is not None and self._deadline < self._loop.time():
            return True
        while not wake.is_set():
            if self._deadline is None:
                await wake.wait()
                break
            left = self._deadline - self._loop.time()
            if left > 0 and not self.receiver.pending_bytes:
                left = min(left, QUIET_S)
            try:
                await asyncio.wait_for(wake.wait(), max(left, 0))
            except TimeoutError:
                return True
        wake.clear()
        return False

    def _gone(self) -> None:
        self._over = True
        if self.held_bytes:
            self._count()
        self._server.forget(self)

    def _report(self, task: asyncio.Task[None]) -> None:
        """A bug ends its connection and is shown, not kept until the task is collected."""
        if self._task is task:
            self._task = None
            if self._lost:
                self._gone()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "forward connection failed", "exception": error})
