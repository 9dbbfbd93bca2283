"""Opening the forward server's sockets: a unix socket whose file may be there, heartbeats, enough descriptors."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import cast

from logllm.errors import SourceError

__all__ = ["UdpHeartbeat", "UnixSocket", "cannot_listen", "raise_file_limit"]


class UnixSocket:
    """A bound unix stream socket and its file.

    Args:
        path: Where; what a server that died has left there is replaced.
        mode: Its permissions, before anyone can connect.

    Raises:
        SourceError: it is in use, is no socket, or cannot be made there.
    """

    def __init__(self, path: str, mode: int) -> None:
        self._path = Path(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._remove_stale()
            self.socket.bind(path)
            self._path.chmod(mode)
            self._made = self._path.stat()
        except OSError as error:
            self.socket.close()
            raise cannot_listen(path, error) from error
        except SourceError:
            self.socket.close()
            raise

    def remove(self) -> None:
        """Take the file away, unless it is another's by now."""
        try:
            found = self._path.stat()
            if (found.st_dev, found.st_ino) == (self._made.st_dev, self._made.st_ino):
                self._path.unlink()
        except OSError:
            pass

    def _remove_stale(self) -> None:
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise SourceError(f"{self._path}: cannot listen: exists and is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            answer = probe.connect_ex(str(self._path))
        if answer != errno.ECONNREFUSED:
            raise SourceError(f"{self._path}: cannot listen: in use by another server")
        self._path.unlink()


class UdpHeartbeat(asyncio.DatagramProtocol):
    """Answers Fluentd's `heartbeat_type udp`: one zero byte for one zero byte, nothing for anything else.

    Args:
        beat: Called for each.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # Whoever forges a sender's address gets no more out of us than went in.
        if data == b"\0":
            self._beat()
            self._transport.sendto(b"\0", addr)


def cannot_listen(where: str, error: OSError) -> SourceError:
    """The one line for an address that cannot be bound."""
    reason = "address already in use" if error.errno == errno.EADDRINUSE else str(error.strerror or error)
    return SourceError(f"{where}: cannot listen: {reason}")


def raise_file_limit(needed: int) -> int:
    """Let this process have so many files and sockets open, if the system's hard limit allows it.

    Returns:
        How many it may have now; fewer than `needed` where the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return soft if soft != resource.RLIM_INFINITY else needed
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if wanted <= soft:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
