"""One HTTP request whose deadline holds whatever the server does, header drip included.

On `http.client`: its socket is at hand, so that one timer bounds the request. Proxies are not used: the normal server
is on this machine.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from logllm.egress import is_loopback
from logllm.errors import ExplainError, ExplainLater
from logllm.explain.model.replies import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Exchange", "Place"]

_CONNECT_S = 10.0
_PIECE_BYTES = 65_536
# Its time is over, or it has too much to do.
_LATER = frozenset((408, 425, 429))


class Place:
    """A server: where it is, and the key it wants.

    Raises:
        ExplainError: `base_url` is no http or https URL.
    """

    def __init__(self, base_url: str, key: str) -> None:
        parts: SplitResult = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ExplainError(f"{base_url}: Expected an http or https URL")
        self.host = parts.hostname
        self.https = parts.scheme == "https"
        self.port = parts.port
        self.path = parts.path.rstrip("/")
        self.headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if key:
            self.headers["Authorization"] = f"Bearer {key}"

    @property
    def shown(self) -> str:
        """As errors name it."""
        return f"{self.host}:{self.port or ''}".rstrip(":")

    @property
    def address(self) -> str:
        """`host:port`, the scheme's port where the URL has none."""
        return f"{self.host}:{self.port or (443 if self.https else 80)}"


class Exchange:
    """One POST and its answer, read piece by piece inside a `with`. Leaving early breaks the connection.

    Args:
        limit_s: Seconds for the whole of it, connecting included.
        max_bytes: Longest answer read.
        sent: Given the address and the body before they leave; what it raises stops the request.

    Raises:
        ExplainLater: from `with` and from `pieces`: no connection, too busy, the server failed, no end in time.
        ExplainError: likewise: any other HTTP error, an answer too long.
    """

    def __init__(
        self,
        place: Place,
        path: str,
        body: dict[str, Any],
        limit_s: float,
        max_bytes: int,
        sent: Callable[[str, bytes], None] | None,
    ) -> None:
        self._place = place
        self._path = path
        self._body = json.dumps(body).encode()
        self._limit_s = limit_s
        self._max_bytes = max_bytes
        self._sent = sent
        self._late = threading.Event()
        # Kept here: the connection lets go of its socket as soon as an answer says `Connection: close`.
        self._sockets: list[socket.socket] = []
        self._answer: http.client.HTTPResponse | None = None
        self._timer = threading.Timer(limit_s, self._give_up)
        self._timer.daemon = True
        maker = http.client.HTTPSConnection if place.https else http.client.HTTPConnection
        self._connection = maker(place.host, place.port, timeout=min(_CONNECT_S, limit_s))

    def __enter__(self) -> Exchange:
        self._timer.start()
        try:
            with self._errors():
                self._connection.connect()
                self._sockets.append(self._connection.sock)
                if self._late.is_set():
                    raise TimeoutError
                if is_loopback(self._place.host) and not is_loopback(str(self._connection.sock.getpeername()[0])):
                    raise OSError("it is named as this machine, and leads to another")
                self._connection.sock.settimeout(self._limit_s)
                if self._sent is not None:
                    self._sent(self._place.address, self._body)
                self._connection.request("POST", self._path or "/", self._body, self._place.headers)
                self._answer = self._connection.getresponse()
            if self._answer.status != 200:
                status, told = self._answer.status, b"".join(self.pieces())
                error = ExplainLater if status in _LATER or status >= 500 else ExplainError
                raise error(f"{self._place.shown}: {refusal(status, told)}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._answer is not None:
            self._answer.close()
        self._connection.close()
        self._timer.join()

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream of events."""
        return self._answer is not None and "event-stream" in self._answer.headers.get("Content-Type", "")

    def pieces(self) -> Iterator[bytes]:
        """The answer's bytes as they come."""
        size = 0
        while piece := self._read():
            size += len(piece)
            if size > self._max_bytes:
                raise ExplainError(f"{self._place.shown}: the answer is longer than {self._max_bytes} bytes")
            yield piece

    def _read(self) -> bytes:
        with self._errors():
            if self._answer is None:
                return b""
            piece = self._answer.read1(_PIECE_BYTES)
            if self._late.is_set():
                raise TimeoutError
            if not piece and self._answer.length:
                raise http.client.IncompleteRead(piece, self._answer.length)
            return piece

    def _give_up(self) -> None:
        self._late.set()
        for sock in self._sockets:
            # Closing would leave a reader in another thread waiting; shutting down wakes it.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self._late.is_set() or isinstance(error, TimeoutError):
                raise ExplainLater(f"{self._place.shown}: no answer in {self._limit_s:.3g} s") from None
            raise ExplainLater(f"{self._place.shown}: {_plain(error)}") from None


def _plain(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, ConnectionError | http.client.RemoteDisconnected | http.client.IncompleteRead):
        return "the connection broke before the answer was whole"
    return str(error) or type(error).__name__
