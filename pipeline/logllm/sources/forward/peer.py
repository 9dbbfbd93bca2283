"""The other end of a connection, as the one who takes its chunks sees it."""

from __future__ import annotations

import fcntl
import select
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["Peer"]

# Linux: bytes written that the other side has not acknowledged (TCP), or not read (unix).
_SIOCOUTQ = 0x5411


class Peer:
    """One connection's sender; equal to itself only.

    It holds none of the connection's buffers, so it may be kept as long as one likes.

    Attributes:
        name: Its address for people and for `Origin`: `127.0.0.1:5000`.
        host: Its address without the port, `unix` where it came through a unix socket.
    """

    __slots__ = ("__weakref__", "_raw", "_transport", "host", "name")

    def __init__(self, name: str = "?", host: str = "?", transport: asyncio.Transport | None = None) -> None:
        self.name = name
        self.host = host
        self._raw = self._transport = transport

    def __repr__(self) -> str:
        return f"Peer({self.name!r})"

    @property
    def is_open(self) -> bool:
        """False once the socket has ended, as far as is known: while nothing is read, an end is not seen.

        A peer that has shut down its side only, and waits for its acks, is open.
        """
        return self._raw is not None and not self._raw.is_closing()

    @property
    def has_left(self) -> bool:
        """Whether the peer has closed its side, or all of it; seen also while nothing is read."""
        if not self.is_open or self._raw is None:
            return True
        poll = select.poll()
        poll.register(self._raw.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def ack_arrived(self) -> bool:
        """Whether the peer is there and all that was written has reached its kernel; False where it cannot be known.

        That the peer's program has read it, nobody can know on TCP; through a unix socket it has.
        """
        if self._raw is None or self._transport is None or self.has_left:
            return False
        if self._transport.get_write_buffer_size() or self._raw.get_write_buffer_size():
            return False
        try:
            answer = fcntl.ioctl(self._raw.get_extra_info("socket").fileno(), _SIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return False
        return bool(struct.unpack("i", answer)[0] == 0)

    def secured(self, transport: asyncio.Transport) -> None:
        """The connection's own word that it speaks TLS now."""
        self._transport = transport

    def ended(self) -> None:
        """The connection's own word that its socket is gone."""
        self._raw = self._transport = None
