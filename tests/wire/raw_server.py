"""A server on this machine that does to each connection what a test says, byte for byte."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATIENCE_S", "Peer", "RawServer", "answering", "read_request"]

PATIENCE_S = 20.0


class Peer:
    """One connection, and what came on it."""

    def __init__(self, sock: socket.socket, server: RawServer) -> None:
        self.sock = sock
        self.server = server

    def read(self) -> bytes:
        """A whole request, which is kept in the server's `got`."""
        request = read_request(self.sock)
        self.server.got.append(request)
        return request

    def hang(self) -> None:
        """Say no more until the client has gone or the test is over."""
        self.sock.settimeout(0.02)
        for _ in range(int(PATIENCE_S / 0.02)):
            if self.server.stopped.is_set():
                return
            try:
                if not self.sock.recv(65_536):
                    return
            except TimeoutError:
                continue

    def drip(self, data: bytes, pause_s: float = 0.02) -> None:
        """Send byte by byte for as long as the client listens."""
        for byte in data:
            self.sock.sendall(bytes([byte]))
            if self.server.stopped.wait(pause_s):
                return


def read_request(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65_536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    size = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < size and (piece := sock.recv(65_536)):
        body += piece
    return head + b"\r\n\r\n" + body


def answering(answer: bytes) -> Callable[[Peer], None]:
    """Reads a request, sends these bytes and closes."""

    def behave(peer: Peer) -> None:
        peer.read()
        peer.sock.sendall(answer)

    return behave


class RawServer:
    """Listens on a free port of this machine.

    Args:
        behave: What is done to each connection, in a thread of its own.
        tls: Encrypts.
    """

    def __init__(
        self, behave: Callable[[Peer], None], *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.got: list[bytes] = []
        self.stopped = threading.Event()
        self._behave = behave
        self._tls = tls
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listener.settimeout(0.02)
        self.port: int = self._listener.getsockname()[1]
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://[{host}]:{self.port}/" if ":" in host else f"{scheme}://{host}:{self.port}/"
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._run, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stopped.set()
        for thread in list(self._threads):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        if self._failure is not None and kind is None:
            raise self._failure

    def _run(self) -> None:
        with self._listener:
            while not self.stopped.is_set():
                try:
                    sock, _ = self._listener.accept()
                except TimeoutError:
                    continue
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(PATIENCE_S)
            try:
                if self._tls is None:
                    self._behave(Peer(sock, self))
                else:
                    with self._tls.wrap_socket(sock, server_side=True) as encrypted:
                        self._behave(Peer(encrypted, self))
            except (OSError, ssl.SSLError):
                pass  # the client has gone, which is for the test to judge
            except BaseException as error:  # noqa: BLE001 - raised again where the test sees it
                self._failure = error
