"""One connection of the forward server: its buffer, its receiver, its task."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, cast

from logllm.errors import LogllmError, ProtocolError
from logllm.sources.forward_peer import Peer
from logllm.sources.forward_protocol import Receiver, ack_bytes

if TYPE_CHECKING:
    from logllm.sources.forward import ForwardServer

__all__ = ["QUIET_S", "Connection"]

_log = logging.getLogger("logllm.forward")

_FIRST_READ = 65_536
_LARGEST_READ = 1 << 20
# While a chunk waits to be accepted this much more is read, so that the next one is there when it is.
_READ_AHEAD = 1 << 20
# After the server began to close, a connection is read until this long nothing has come.
QUIET_S = 0.05


class Connection(asyncio.BufferedProtocol):
    """One peer. All state is its own; a handshake would stand at the beginning of its task, before the first read."""

    def __init__(self, server: ForwardServer) -> None:
        self.receiver = Receiver(limits=server.limits)
        self.task: asyncio.Task[None] | None = None
        self.peer = Peer()
        self._server = server
        self._space = bytearray(_FIRST_READ)
        self._transport: asyncio.Transport
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._busy = False
        self._paused = False
        self._ended = False
        self._deadline: float | None = None
        self._gave_up: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self.peer = Peer(f"{name[0]}:{name[1]}", name[0], transport) if name else Peer(transport=transport)
        if not self._server.admit(self):
            transport.abort()
            return
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.receiver = Receiver(self.peer.name, self._server.limits)
        self.task = asyncio.get_running_loop().create_task(self._run(transport))
        self.task.add_done_callback(_report)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        self._server.stats.bytes += nbytes
        with memoryview(self._space) as view:
            self.receiver.feed(view[:nbytes])
        if nbytes == len(self._space) < _LARGEST_READ:
            self._space = bytearray(2 * nbytes)
        if self.receiver.pending_bytes > _READ_AHEAD:
            if self._busy:
                self._paused = True
                self._transport.pause_reading()
            self._server.relieve()
        self._wake.set()

    def eof_received(self) -> bool:
        # Open for writing until the acks are out: a client may shut down its side and wait for them.
        self._ended = True
        self._wake.set()
        return self.task is not None

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self.peer.ended()
        self._writable.set()
        self._wake.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def finish(self, grace_s: float) -> None:
        """Read what is under way, for at most this long, then end."""
        self._deadline = asyncio.get_running_loop().time() + grace_s
        self._wake.set()

    def give_up(self, reason: str) -> None:
        """End now; what is unfinished is dropped and not acknowledged."""
        self._gave_up = reason
        self._transport.abort()
        self._wake.set()

    async def _run(self, transport: asyncio.Transport) -> None:
        stats = self._server.stats
        try:
            while True:
                self._busy = True
                await self._read(transport)
                self._busy = False
                if self._ended or self._gave_up or await self._nothing_more(transport):
                    break
            if self._gave_up:
                _log.warning("%s: %s; connection closed", self.peer.name, self._gave_up)
            elif self.receiver.pending_bytes:
                stats.truncated += 1
                _log.warning(
                    "%s: connection ended inside a frame, %d bytes of it are dropped",
                    self.peer.name,
                    self.receiver.pending_bytes,
                )
        except ProtocolError as error:
            stats.protocol_errors += 1
            _log.warning("%s: %s; connection closed", self.peer.name, error)
        except LogllmError as error:
            _log.warning("%s: chunk not accepted: %s; connection closed, the sender keeps it", self.peer.name, error)
        finally:
            transport.close()
            self._server.forget(self)

    async def _read(self, transport: asyncio.Transport) -> None:
        stats = self._server.stats
        frames = self.receiver.frames
        try:
            for item in self.receiver.items():
                for chunk_id in await self._server.take(item, self.peer):
                    # One send for each: Fluent Bit reads one object from one read and throws the rest away.
                    if not transport.is_closing():
                        transport.write(ack_bytes(chunk_id))
                        stats.acks += 1
                    await self._writable.wait()
                if self._gave_up:
                    return
        finally:
            stats.frames += self.receiver.frames - frames

    async def _nothing_more(self, transport: asyncio.Transport) -> bool:
        """Wait for bytes; true when none are to be waited for, since the server is closing."""
        if self._paused:
            self._paused = False
            transport.resume_reading()
        if self._deadline is not None and self._deadline < asyncio.get_running_loop().time():
            return True
        while not self._wake.is_set():
            if self._deadline is None:
                await self._wake.wait()
                break
            left = self._deadline - asyncio.get_running_loop().time()
            if left > 0 and not self.receiver.pending_bytes:
                left = min(left, QUIET_S)
            try:
                await asyncio.wait_for(self._wake.wait(), max(left, 0))
            except TimeoutError:
                return True
        self._wake.clear()
        return False


def _report(task: asyncio.Task[None]) -> None:
    """A bug ends its connection and is shown, not kept until the task is collected."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "forward connection failed", "exception": error})
