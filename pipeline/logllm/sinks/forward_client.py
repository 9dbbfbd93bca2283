"""One connection of a client of the forward protocol: opened, welcomed, written to and read from."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgpack  # type: ignore[import-untyped]

from logllm.errors import DeliveryError, ProtocolError
from logllm.wire.handshake import MAX_MESSAGE_BYTES, read_helo, read_pong, write_ping

__all__ = ["Connection", "Endpoint", "Login"]

PIECES_AT_ONCE = 64
"""So many pieces are looked at in one `send`; POSIX lets a system call have 16, Linux and macOS 1024."""

# An ack says an id that is at most 65,535 bytes long.
_MAX_ACK_BYTES = 66_000
_READ_BYTES = 65_536
# OpenSSL may want a write repeated with the very same bytes, so a slice must not depend on what else there is.
_TLS_SLICE = 65_536
_SALT_BYTES = 16

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Login(NamedTuple):
    """What a handshake needs. Never shown."""

    hostname: str
    key: bytes
    username: str
    password: str

    def __repr__(self) -> str:
        return "Login(...)"


class Endpoint(NamedTuple):
    """Whom to connect to, and how.

    Args:
        shown: How messages name it.
        where: Host and port, or the path of a unix socket.
        login: None where the receiver wants no handshake.
        tls: None for plain text.
        server_name: The name the certificate must have, and SNI.
        connect_timeout_s: For the connection with TLS; as long again for the handshake.
    """

    shown: str
    where: tuple[str, int] | str
    login: Login | None
    tls: ssl.SSLContext | None
    server_name: str
    connect_timeout_s: float


class Connection:
    """An open connection, past its handshake. A failure of any method leaves it fit for `close` only.

    Args:
        endpoint: Whom to connect to.

    Raises:
        DeliveryError: It does not come to be; nothing is left open.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._inbox = bytearray()
        self._broken: OSError | None = None
        self._polls = select.poll()
        self._room = select.POLLOUT
        self._socket = _connected(endpoint)
        try:
            self._socket.setblocking(False)
            if endpoint.login is not None:
                self._log_in(endpoint.login)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it. A second call does nothing."""
        self._socket.close()

    @property
    def is_quiet(self) -> bool:
        """Whether the peer has neither closed it nor sent anything while nothing was asked of it."""
        return not self._receive() and not self._inbox

    def send(self, pieces: Sequence[memoryview]) -> int:
        """Hand bytes to the system as far as it takes them now; returns how many.

        When the connection has ended it takes none, and `acks` says so once it has given what came before.
        """
        try:
            if not isinstance(self._socket, ssl.SSLSocket):
                return self._socket.sendmsg(pieces)
            return self._socket.send(pieces[0][:_TLS_SLICE])
        except _WOULD_BLOCK as error:
            # TLS may have to read before it can write.
            self._room = select.POLLIN if isinstance(error, ssl.SSLWantReadError) else select.POLLOUT
        except OSError as error:
            self._broken = error
        return 0

    def acks(self) -> Iterator[bytes]:
        """The ids that have been acknowledged since, without waiting.

        Raises:
            DeliveryError: The peer sent something else, or has closed; after all ids that came before it.
        """
        ended = self._receive()
        try:
            while message := self._message(_MAX_ACK_BYTES, "an ack"):
                yield self._ack(message)
        except ProtocolError as error:
            raise DeliveryError(f"{self._endpoint.shown}: {error}", kind="answer") from error
        if ended:
            rest = f" in the middle of an answer ({bytes(self._inbox[:24])!r})" if self._inbox else ""
            raise self._ended(rest)

    def wait(self, until: float, *, to_send: bool) -> bool:
        """Wait until there is something to read, or room to send; False when the time has come first.

        Args:
            until: A time of `time.monotonic`.
        """
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        left_s = until - time.monotonic()
        if left_s <= 0:
            return False
        self._polls.register(self._socket, select.POLLIN | (self._room if to_send else 0))
        return bool(self._polls.poll(left_s * 1000 + 1))

    def _receive(self) -> bool:
        """Read what has come; True when there is nothing and never will be."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except _WOULD_BLOCK:
            return self._broken is not None
        except OSError as error:
            self._broken = error
            return True
        self._inbox += data
        return not data

    def _message(self, most: int, expected: str) -> bytes | None:
        """The next whole message; None while it is not all here. Raises ProtocolError."""
        unpacker = msgpack.Unpacker(max_buffer_size=most)
        unpacker.feed(self._inbox[:most])
        try:
            unpacker.skip()
        except msgpack.OutOfData:
            if len(self._inbox) < most:
                return None
            raise ProtocolError(f"got more than {most} bytes without an end, expected {expected}") from None
        except (msgpack.UnpackException, ValueError):
            raise ProtocolError(f"got {bytes(self._inbox[:24])!r}, expected {expected}") from None
        end = unpacker.tell()
        message = bytes(self._inbox[:end])
        del self._inbox[:end]
        return message

    def _ack(self, message: bytes) -> bytes:
        try:
            answer = msgpack.unpackb(message, raw=True, strict_map_key=False)
        except (msgpack.UnpackException, ValueError, TypeError):
            answer = None
        if isinstance(answer, dict) and isinstance(answer.get(b"ack"), bytes):
            return bytes(answer[b"ack"])
        if isinstance(answer, list) and answer[:1] == [b"HELO"]:
            raise self._failed(
                "the server wants a handshake (it sent HELO): expected `shared_key_file`, or `username`, to be set"
            )
        raise ProtocolError(f"got {message[:24]!r}, expected an ack")

    def _log_in(self, login: Login) -> None:
        until = time.monotonic() + self._endpoint.connect_timeout_s
        # As digits, for servers that read every string as UTF-8, such as npm's.
        salt = os.urandom(_SALT_BYTES).hex().encode()
        silence = "the server does not seem to have a shared key, expected a HELO as one is set here"
        try:
            helo = read_helo(self._answer(until, "a HELO", silence))
            ping = write_ping(helo, login.key, login.hostname, salt, login.username, login.password)
            self._send_all(ping, until)
            wrong = "expected a PONG; Fluent Bit closes without a word when the shared key is not its own"
            refusal = read_pong(self._answer(until, "a PONG", wrong), helo, login.key, salt, login.hostname)
        except ProtocolError as error:
            raise self._failed(f"handshake failed: {error}") from error
        if refusal:
            raise self._failed(f"the server does not let us in: {refusal!r}")
        if self._inbox:
            raise self._failed(f"got {bytes(self._inbox[:24])!r} behind the PONG, expected nothing")

    def _answer(self, until: float, expected: str, hint: str) -> bytes:
        while True:
            ended = self._receive()
            if message := self._message(MAX_MESSAGE_BYTES, expected):
                return message
            if ended:
                raise self._failed(f"closed the connection ({self._reason()}): {hint}")
            if not self.wait(until, to_send=False):
                raise self._failed(f"no answer within {self._endpoint.connect_timeout_s:g} s: {hint}")

    def _send_all(self, data: bytes, until: float) -> None:
        rest = memoryview(data)
        while rest:
            sent = self.send([rest])
            rest = rest[sent:]
            if self._broken is not None:
                return  # reading tells
            if not sent and not self.wait(until, to_send=True):
                raise self._failed("takes no bytes, expected it to read our PING")

    def _reason(self) -> str:
        return _told(self._broken) if self._broken is not None else "end of stream"

    def _ended(self, where: str) -> DeliveryError:
        broken = self._broken
        if isinstance(broken, ssl.SSLError):
            return self._failed(f"TLS failed: {_told(broken)}")
        gone = broken is None or isinstance(broken, ConnectionError)
        text = f"{self._endpoint.shown}: connection closed{where} ({self._reason()}), expected acks"
        return DeliveryError(text, kind="closed" if gone else "io")

    def _failed(self, text: str) -> DeliveryError:
        return DeliveryError(f"{self._endpoint.shown}: {text}", kind="handshake")


def _connected(endpoint: Endpoint) -> socket.socket:
    """A connected socket, after TLS's handshake. Raises DeliveryError."""
    shown, limit_s = endpoint.shown, endpoint.connect_timeout_s
    until = time.monotonic() + limit_s
    plain = _plain(endpoint, until)
    if endpoint.tls is None:
        return plain
    try:
        plain.settimeout(max(until - time.monotonic(), 0.001))
        return endpoint.tls.wrap_socket(plain, server_hostname=endpoint.server_name or None)
    except ssl.SSLCertVerificationError as error:
        text = f"{shown}: its certificate is not accepted: {error.verify_message}"
        raise DeliveryError(text, kind="handshake") from error
    except TimeoutError as error:
        raise DeliveryError(f"{shown}: no TLS within {limit_s:g} s: does it listen for TLS?", kind="timeout") from error
    except OSError as error:
        text = f"{shown}: TLS failed: {_told(error)}, expected a TLS listener"
        raise DeliveryError(text, kind="handshake") from error
    finally:
        # Where it was wrapped it has no descriptor any more, and this does nothing.
        plain.close()


def _plain(endpoint: Endpoint, until: float) -> socket.socket:
    where, last = endpoint.where, OSError("no address")
    try:
        found = (
            [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", where)]
            if isinstance(where, str)
            else socket.getaddrinfo(*where, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError) as error:
        raise DeliveryError(f"{endpoint.shown}: no such host: {_told(error)}", kind="refused") from error
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(until - time.monotonic(), 0.001))
            sock.connect(address)
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    if isinstance(last, TimeoutError):
        text = f"{endpoint.shown}: no connection within {endpoint.connect_timeout_s:g} s"
        raise DeliveryError(text, kind="timeout") from last
    raise DeliveryError(f"{endpoint.shown}: cannot connect: {_told(last)}", kind="refused") from last


def _told(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
