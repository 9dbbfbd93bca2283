"""Connections whose deadline holds: for connecting, a proxy, TLS and all that is sent and read on them later."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Self

from logllm.egress import is_loopback

__all__ = ["Deadline", "TunnelError", "dialled", "tunnel"]

_CONNECT_S = 10.0
_PROXY_HEAD_BYTES = 16_384


class Deadline:
    """Ends the sockets it holds when the time is up, whichever thread waits for them. A context: it has a timer.

    Args:
        limit_s: Seconds from now.
    """

    def __init__(self, limit_s: float) -> None:
        self._at_s = time.monotonic() + limit_s
        self._late = threading.Event()
        self._held: list[socket.socket] = []
        self._timer = threading.Timer(limit_s, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        for sock in self._held:
            sock.close()

    @property
    def passed(self) -> bool:
        """Whether the sockets have been ended."""
        return self._late.is_set()

    def left(self) -> float:
        """Seconds; raises TimeoutError when there are none."""
        left = self._at_s - time.monotonic()
        if left <= 0 or self.passed:
            raise TimeoutError
        return left

    def hold(self, sock: socket.socket) -> None:
        """End this one too; it stays the caller's to close. Raises OSError."""
        # A second handle on it: TLS takes the first one out of its object, and closing it would wake no reader.
        self._held.append(sock.dup())
        if self.passed:
            self._end()

    def _end(self) -> None:
        self._late.set()
        for sock in list(self._held):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


_Found = tuple[int, int, int, str, tuple[Any, ...]]


def _resolved(host: str, port: int) -> Iterable[_Found]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def dialled(
    host: str, port: int, deadline: Deadline, resolve: Callable[[str, int], Iterable[_Found]] = _resolved
) -> socket.socket:
    """A socket to the first of the host's addresses that answers; its timeout is what is left.

    `localhost` is allowed without a name, as this machine: where the resolver says that it is another, nobody is asked.

    Raises:
        OSError: None does. The resolver's own time, some seconds, comes on top of the deadline.
    """
    last = OSError(0, "it has no address")
    here = is_loopback(host.lower().rstrip("."))
    for family, kind, protocol, _, address in resolve(host, port):
        if here and not is_loopback(str(address[0])):
            last = OSError(0, "it is named as this machine, and leads to another")
            continue
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(min(_CONNECT_S, deadline.left()))
            sock.connect(address)
            deadline.hold(sock)
            sock.settimeout(deadline.left())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            last = error
            continue
        return sock
    raise last


class TunnelError(OSError):
    """The proxy does not connect us. The message is ours, and shows nothing that anybody sent."""


def tunnel(sock: socket.socket, authority: str, basic: str) -> None:
    """Have a proxy connect us to `host:port`.

    Args:
        basic: The value of a Proxy-Authorization header; empty for none.

    Raises:
        TunnelError: It does not. Other OSErrors are the connection's.
    """
    login = f"Proxy-Authorization: {basic}\r\n" if basic else ""
    sock.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}\r\n".encode())
    head = bytearray()
    # Byte by byte: what follows belongs to the server.
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte or len(head) >= _PROXY_HEAD_BYTES:
            raise TunnelError("the proxy gave no answer")
        head += byte
    status = re.match(rb"HTTP/1\.[01] (\d{3})\b", head)
    if status is None:
        raise TunnelError("what the proxy answered is not HTTP")
    if not status[1].startswith(b"2"):
        raise TunnelError(f"the proxy answered {status[1].decode()}")
