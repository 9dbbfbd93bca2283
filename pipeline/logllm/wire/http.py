"""One HTTP request to one address, with a deadline that holds whatever the server does.

On `http.client`: its socket is at hand, so that one timer bounds connecting, sending and a header that drips in.
Nothing is followed: what redirects to another host would take what we send there. The address is shown without its
path, which may be the secret.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import NamedTuple
from urllib.parse import urlsplit

from logllm.egress import masked
from logllm.errors import ConfigError, DeliveryError

__all__ = ["HttpAnswer", "HttpClient", "retry_after_s"]

_CONNECT_S = 10.0


class HttpAnswer(NamedTuple):
    """What a server said: status, headers by their names in lower case, the beginning of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> str:
        """The body for a message: one printable line of at most 200 characters. It is the server's, so hostile."""
        text = self.body[:400].decode(errors="replace")
        return "".join(char if char.isprintable() else " " for char in text).strip()[:200]


class HttpClient:
    """Sends requests to one address. Holds no connection between them; safe to use from several threads.

    Args:
        url: `http://` or `https://`; a user and password in it become an Authorization header.
        deadline_s: Seconds for a whole request, connecting included.
        max_bytes: More of an answer is not read.
        ca: A PEM file with whom to trust instead of the system's authorities.
        proxy: `http://host:port` of a proxy; the environment's are not used.

    Raises:
        ConfigError: The URL is none of these, or the CA cannot be read; it shows no secret.
    """

    def __init__(
        self, url: str, *, deadline_s: float = 10.0, max_bytes: int = 65_536, ca: str = "", proxy: str = ""
    ) -> None:
        self.shown = masked(url)
        self._parts, self._port = _read(url, self.shown)
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._proxy = _read(proxy, masked(proxy)) if proxy else None
        self._context: ssl.SSLContext | None = None
        if self._parts.scheme == "https":
            try:
                self._context = ssl.create_default_context(cafile=ca or None)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"{ca}: cannot read the authorities to trust: {error}") from error

    def __repr__(self) -> str:
        return f"HttpClient({self.shown!r})"

    def request(
        self,
        body: bytes,
        headers: Mapping[str, str],
        *,
        method: str = "POST",
        path: str | None = None,
        deadline_s: float | None = None,
    ) -> HttpAnswer:
        """One request; any status is an answer.

        Args:
            path: Instead of the address's own path and query.

        Raises:
            DeliveryError: No whole answer came; `kind` is `refused` where nothing was sent, else `timeout` or `io`:
                then nobody knows whether it was taken.
        """
        limit = self._deadline_s if deadline_s is None else deadline_s
        late = threading.Event()
        # Kept here: the connection lets go of its socket as soon as an answer says `Connection: close`.
        sockets: list[socket.socket] = []

        def give_up() -> None:
            late.set()
            for sock in sockets:
                # Closing would leave a reader in another thread waiting; shutting down wakes it.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

        connection = self._connection(limit, sockets)
        timer = threading.Timer(limit, give_up)
        timer.daemon = True
        timer.start()
        connected = False
        try:
            connection.connect()
            if late.is_set():
                raise TimeoutError
            connection.sock.settimeout(limit)
            connected = True
            answer = self._talk(connection, method, path or self._target, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not connected:
                raise DeliveryError(f"{self.shown}: cannot connect: {_plain(error)}", kind="refused") from None
            if late.is_set() or isinstance(error, TimeoutError):
                raise DeliveryError(f"{self.shown}: no answer in {limit:g} s", kind="timeout") from None
            raise DeliveryError(f"{self.shown}: {_plain(error)}", kind="io") from None
        finally:
            timer.cancel()
            connection.close()
            timer.join()
        return answer

    @property
    def _target(self) -> str:
        path = self._parts.path or "/"
        return f"{path}?{self._parts.query}" if self._parts.query else path

    def _connection(self, limit: float, sockets: list[socket.socket]) -> http.client.HTTPConnection:
        timeout = min(_CONNECT_S, limit)
        host, port = self._parts.hostname or "", self._port
        at = (self._proxy[0].hostname or "", self._proxy[1]) if self._proxy else (host, port)
        connection: http.client.HTTPConnection
        if self._context is not None:
            connection = http.client.HTTPSConnection(*at, timeout=timeout, context=self._context)
        else:
            connection = http.client.HTTPConnection(*at, timeout=timeout)
        if self._proxy:
            connection.set_tunnel(host, port)

        # Known to the timer before TLS begins, which a server may draw out as well.
        def create(*args: object, **kwargs: object) -> socket.socket:
            sock = socket.create_connection(*args, **kwargs)  # type: ignore[arg-type]
            sockets.append(sock)
            return sock

        connection._create_connection = create  # type: ignore[attr-defined]
        return connection

    def _talk(
        self, connection: http.client.HTTPConnection, method: str, target: str, body: bytes, headers: Mapping[str, str]
    ) -> HttpAnswer:
        sent = {"User-Agent": "logllm", "Connection": "close", **headers}
        if self._parts.username is not None and not any(name.lower() == "authorization" for name in sent):
            sent["Authorization"] = _basic(self._parts.username, self._parts.password or "")
        connection.request(method, target, body, sent)
        with connection.getresponse() as answer:
            pieces, size = [], 0
            while size < self._max_bytes and (piece := answer.read1(self._max_bytes - size)):
                pieces.append(piece)
                size += len(piece)
            found = {name.lower(): value for name, value in answer.headers.items()}
            return HttpAnswer(answer.status, found, b"".join(pieces))


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """How long a server asks to wait, in seconds or until a date; None where it does not say. At most a day.

    >>> retry_after_s({"retry-after": "30"}, 0.0), retry_after_s({"retry-after": "soon"}, 0.0)
    (30.0, None)
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return min(float(value), 86_400.0)
    date = parsedate_tz(value)
    if date is None:
        return None
    try:
        return min(max(0.0, mktime_tz(date) - now_s), 86_400.0)
    except (ValueError, OverflowError):
        return None


def _read(url: str, shown: str) -> tuple[_Parts, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{shown}: expected http://HOST[:PORT]/... or https://...") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
        raise ConfigError(f"{shown}: expected http://HOST[:PORT]/... or https://...")
    found = _Parts(parts.scheme, parts.hostname, parts.path, parts.query, parts.username, parts.password)
    return found, port or (443 if parts.scheme == "https" else 80)


class _Parts(NamedTuple):
    scheme: str
    hostname: str
    path: str
    query: str
    username: str | None
    password: str | None


def _basic(user: str, password: str) -> str:
    from base64 import b64encode
    from urllib.parse import unquote

    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def _plain(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ConnectionError | http.client.RemoteDisconnected | http.client.IncompleteRead):
        return "the connection broke before the answer was whole"
    return str(error) or type(error).__name__
