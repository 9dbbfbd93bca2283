"""One HTTP request to one address, with a deadline that holds whatever the server does.

On `http.client`, over a connection of ours (`dial`): one timer bounds connecting, the proxy, TLS, sending, and a header
or a body that drips in. Only the resolver keeps its own time. Nothing is followed: what redirects to another host would
take what we send there. The address is shown without its path, which may be the secret.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from logllm.egress import masked
from logllm.errors import ConfigError, DeliveryError, StateError
from logllm.wire.dial import Deadline, TunnelError, dialled, tunnel

if TYPE_CHECKING:
    import socket

    from logllm.egress import Sent

__all__ = ["HttpAnswer", "HttpClient", "retry_after_s"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SENDABLE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


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
        proxy: `http://host:port` of a proxy, with a user and password where it wants them; the environment's are
            not used.
        sent: Told of each body before it leaves; where it raises StateError the request fails, as `refused`.

    Raises:
        ConfigError: The URL is none of these, or the CA cannot be read; it shows no secret.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float = 10.0,
        max_bytes: int = 65_536,
        ca: str = "",
        proxy: str = "",
        sent: Sent | None = None,
    ) -> None:
        self.shown = masked(url)
        self._to = _read(url, self.shown, "http://HOST[:PORT]/... or https://...")
        self._proxy = _read(proxy, masked(proxy), "http://HOST:PORT of a proxy") if proxy else None
        if self._proxy and self._proxy.scheme != "http":
            raise ConfigError(f"{masked(proxy)}: expected http://HOST:PORT of a proxy")
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._sent = sent
        self._context: ssl.SSLContext | None = None
        if self._to.scheme == "https":
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
                then nobody knows whether it was taken. `config` where it cannot be sent as it is.
        """
        limit = self._deadline_s if deadline_s is None else deadline_s
        target = path or self._to.target
        sent = {"User-Agent": "logllm", "Connection": "close", **headers}
        self._check(method, target, sent)
        sock: socket.socket | None = None
        with Deadline(limit) as deadline:
            try:
                sock = self._connected(deadline)
                if self._sent is not None:
                    self._sent(self._to.authority, body)
                return self._talk(sock, deadline, method, target, body, sent)
            except StateError as error:
                raise DeliveryError(f"{self.shown}: not sent: {error}", kind="refused") from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                if sock is None:
                    why = f"cannot connect: {_plain(error, late=deadline.passed)}"
                    raise DeliveryError(f"{self.shown}: {why}", kind="refused") from None
                if deadline.passed or isinstance(error, TimeoutError):
                    raise DeliveryError(f"{self.shown}: no answer in {limit:g} s", kind="timeout") from None
                raise DeliveryError(f"{self.shown}: {_plain(error)}", kind="io") from None
            finally:
                if sock is not None:
                    sock.close()

    def _check(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        if not _TOKEN.fullmatch(method) or not target.isascii() or not target.isprintable() or " " in target:
            raise DeliveryError(f"{self.shown}: a method or a path that HTTP cannot carry", kind="config")
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name):
                raise DeliveryError(f"{self.shown}: a header's name that HTTP cannot carry", kind="config")
            if not _SENDABLE.fullmatch(value):
                raise DeliveryError(f"{self.shown}: header {name} has a value that HTTP cannot carry", kind="config")

    def _connected(self, deadline: Deadline) -> socket.socket:
        at = self._proxy or self._to
        sock = dialled(at.host, at.port, deadline)
        try:
            if self._context is None:
                return sock
            if self._proxy:
                tunnel(sock, self._to.authority, self._proxy.basic)
            # Wrapping begins with the handshake, and leaves `sock` an empty shell.
            return self._context.wrap_socket(sock, server_hostname=self._to.host)
        except BaseException:
            sock.close()
            raise

    def _talk(
        self,
        sock: socket.socket,
        deadline: Deadline,
        method: str,
        target: str,
        body: bytes,
        headers: dict[str, str],
    ) -> HttpAnswer:
        to = self._to
        kind = http.client.HTTPConnection if self._context is None else http.client.HTTPSConnection
        connection = kind(to.host, to.port)
        connection.sock = sock
        if to.basic and not any(name.lower() == "authorization" for name in headers):
            headers["Authorization"] = to.basic
        if self._proxy and self._context is None:
            target = f"http://{to.authority}{target}"
            if self._proxy.basic:
                headers["Proxy-Authorization"] = self._proxy.basic
        # A server that refuses what it has not read to its end answers and closes: the answer is there to be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, target, body, headers)
        sock.settimeout(deadline.left())
        with connection.getresponse() as answer:
            pieces, size = [], 0
            while size < self._max_bytes and (piece := answer.read1(self._max_bytes - size)):
                pieces.append(piece)
                size += len(piece)
            if deadline.passed:
                raise TimeoutError
            if answer.length and size < self._max_bytes:
                raise http.client.IncompleteRead(b"")
            found = {name.lower(): value for name, value in answer.headers.items()}
            return HttpAnswer(answer.status, found, b"".join(pieces))


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """How long a server asks to wait, in seconds or until a date; None where it does not say. At most a day.

    >>> retry_after_s({"retry-after": "30"}, 0.0), retry_after_s({"retry-after": "soon"}, 0.0)
    (30.0, None)
    """
    value = headers.get("retry-after", "")[:100].strip()
    if value.isascii() and value.isdigit():
        return min(float(value), 86_400.0)
    try:
        date = parsedate_tz(value)
        return None if date is None else min(max(0.0, mktime_tz(date) - now_s), 86_400.0)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None  # the parser was written for mail, and trusts it more than we do


class _Address(NamedTuple):
    scheme: str
    host: str
    port: int
    target: str
    basic: str

    @property
    def authority(self) -> str:
        """As a proxy is told it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"{self.scheme}://{self.authority}/..."


def _read(url: str, shown: str, expected: str) -> _Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{shown}: expected {expected}") from None
    readable = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not readable:
        raise ConfigError(f"{shown}: expected {expected}")
    basic = ""
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        basic = "Basic " + b64encode(login.encode(errors="replace")).decode()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Address(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), target, basic)


def _plain(error: Exception, *, late: bool = False) -> str:
    """In words of ours: what a server sent, or what we were to send, is in none of them."""
    if late or isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, TunnelError):
        return str(error)
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'unknown').replace('_', ' ').lower()}"
    if isinstance(error, ConnectionError | http.client.RemoteDisconnected | http.client.IncompleteRead):
        return "the connection broke before the answer was whole"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "what it answered is not HTTP"
