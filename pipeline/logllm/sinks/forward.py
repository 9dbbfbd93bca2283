"""The `forward` sink: a client of the forward protocol, for Fluent Bit, Fluentd or another logllm.

Every frame asks for an ack, and a parcel counts when all of its acks have come. Frames go out before the acks of
those in front of them are in, up to a window; while they go out acks are read, so that neither side waits for the
other to read. A parcel keeps its sender's chunk id, so that a receiver that knows ids removes what comes twice.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec

from logllm.errors import ConfigError, DeliveryError
from logllm.sinks.forward_client import PIECES_AT_ONCE, Connection, Endpoint, Login
from logllm.sinks.forward_frames import Packing
from logllm.sinks.forward_window import Window
from logllm.sinks.parcel import Parcel

__all__ = ["Commits", "ForwardSink", "ForwardSinkConfig"]

_log = logging.getLogger("logllm.sinks")

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class Commits(Protocol):
    """What the sink needs of its ledger."""

    def commit(self, keys: Sequence[bytes]) -> None:
        """Make keys durable. Raises DeliveryError."""


class ForwardSinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="forward"):
    """A receiver of the forward protocol.

    Args:
        address: `host:port`, or `unix:PATH`.
        name: What logs and metrics call it.
        required: Whether an ack to the sender waits for this sink.
        shared_key_file: A file with the receiver's shared key; one newline at its end is not part of it.
        username: For a receiver that knows users; with `password_file`.
        password_file: A file with that user's password.
        self_hostname: What we call ourselves in the handshake, by default this machine's name. Not the receiver's own.
        tls: Encrypt. There is no falling back to plain text.
        tls_verify: Whether the receiver's certificate must be good, and its name the right one.
        tls_ca: A PEM file of authorities to trust in place of the system's.
        tls_cert: A PEM file with our own certificate, for a receiver that asks for one.
        tls_key: Its key, without a passphrase, where it is not in the same file.
        tls_server_name: The name the receiver's certificate must have, where it is not the host in `address`.
        mode: `forward` sends entries as an array, `packed` as one binary value, as Fluentd does.
        compress: Entries go compressed (which makes them packed). Fluent Bit since 5 and logllm read both kinds,
            Fluentd gzip, and zstd since 1.19.
        legacy_entries: Send `[time, record]`, without metadata: Fluentd up to 1.19 and npm's @fluent-org/logger skip
            the newer `[[time, metadata], record]`.
        max_frame_bytes: A longer chunk goes as several frames. Fluent Bit closes the connection on a frame of more
            than its `Buffer_Max_Size`, 6,144,000 by default.
        connect_timeout_s: For connecting, and again for the handshake.
        ack_timeout_s: Longest time without an ack, or a byte taken, while acks are owed.
    """

    address: str
    name: str = ""
    required: bool = True
    shared_key_file: str = ""
    username: str = ""
    password_file: str = ""
    self_hostname: str = ""
    tls: bool = False
    tls_verify: bool = True
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_server_name: str = ""
    mode: Literal["forward", "packed"] = "forward"
    compress: Literal["", "gzip", "zstd"] = ""
    legacy_entries: bool = False
    max_frame_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 4 << 20
    connect_timeout_s: Seconds = 10.0
    ack_timeout_s: Seconds = 60.0

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or f"forward:{self.address}"

    def ledger_path(self) -> None:
        """Nowhere: without a data folder what was sent is known while the process lives; ids are kept end to end."""

    def check(self) -> None:
        """Raises ConfigError for what waiting cannot mend."""
        self.endpoint()

    def build(self, ledger: Commits) -> ForwardSink:
        """The sink, not yet connected.

        Raises:
            ConfigError: The address is none, a file cannot be read, or settings do not go together.
        """
        return ForwardSink(self, ledger)

    def packing(self) -> Packing:
        """How frames are made."""
        return Packing(self.mode == "packed", self.compress, self.legacy_entries, self.max_frame_bytes)

    def endpoint(self) -> Endpoint:
        """Whom to connect to, with secrets and certificates read. Raises ConfigError."""
        where = _where(self.address)
        host = where[0] if isinstance(where, tuple) else ""
        return Endpoint(
            shown=self.address,
            where=where,
            login=self._login(),
            tls=self._context(self.tls_server_name or host),
            server_name=self.tls_server_name or host,
            connect_timeout_s=self.connect_timeout_s,
        )

    def _login(self) -> Login | None:
        if bool(self.username) != bool(self.password_file):
            raise self._wrong("`username` and `password_file` go together, expected both or none")
        if not (self.shared_key_file or self.username):
            return None
        key = self._secret(self.shared_key_file) if self.shared_key_file else b""
        password = self._secret(self.password_file) if self.password_file else b""
        hostname = self.self_hostname or socket.gethostname()
        try:
            return Login(hostname, key, self.username, password.decode())
        except UnicodeDecodeError:
            raise self._wrong(f"{self.password_file}: not UTF-8 text, expected a password") from None

    def _secret(self, path: str) -> bytes:
        try:
            secret = Path(path).read_bytes().removesuffix(b"\n").removesuffix(b"\r")
        except (OSError, ValueError) as error:
            raise self._wrong(f"{path}: cannot read: {getattr(error, 'strerror', None) or error}") from error
        if not secret:
            raise self._wrong(f"{path}: is empty, expected a secret")
        return secret

    def _context(self, server_name: str) -> ssl.SSLContext | None:
        given = {key: getattr(self, key) for key in ("tls_ca", "tls_cert", "tls_key", "tls_server_name")}
        if not self.tls:
            if useless := [key for key, value in given.items() if value]:
                raise self._wrong(f"`{useless[0]}` is set and `tls` is not, expected `tls = true`")
            return None
        if self.tls_key and not self.tls_cert:
            raise self._wrong("`tls_key` is set and `tls_cert` is not, expected both")
        if self.tls_verify and not server_name:
            raise self._wrong("TLS over a unix socket: expected `tls_server_name`")
        try:
            server_name.encode("idna")
        except UnicodeError:
            raise self._wrong(f"{server_name!r} is no host name, expected one that a certificate can have") from None
        path = self.tls_ca
        try:
            context = ssl.create_default_context(cafile=self.tls_ca or None)
            if self.tls_cert:
                path = self.tls_cert
                # With a password at hand OpenSSL does not ask the terminal for one.
                context.load_cert_chain(self.tls_cert, self.tls_key or None, password="")
        except (OSError, ValueError) as error:
            raise self._wrong(f"{path}: cannot be used: {getattr(error, 'strerror', None) or error}") from error
        if not self.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _wrong(self, text: str) -> ConfigError:
        return ConfigError(f"forward sink {self.address}: {text}")


class ForwardSink:
    """Sends parcels and waits for their acks. Connects when there is something to send, and keeps the connection.

    Args:
        config: The receiver.
        ledger: Told of the keys of what has been acknowledged.
    """

    refused = 0

    def __init__(self, config: ForwardSinkConfig, ledger: Commits) -> None:
        self.config = config
        self._ledger = ledger
        self._endpoint = config.endpoint()
        self._packing = config.packing()
        self._connection: Connection | None = None
        # Acknowledged, and not yet committed.
        self._unsettled: Sequence[Parcel] = ()

    def write(self, parcels: Sequence[Parcel]) -> int:
        """Send parcels; see `Sink`. Those without an ack may have arrived: they go again under the same id."""
        if self._unsettled:
            return self._settle(self._unsettled)
        if not parcels[0].count:
            return self._settle(parcels[:1])
        window = Window(parcels, self._packing)
        try:
            self._exchange(window)
        except BaseException as error:
            # An ack that is still to come must not be taken for that of a later frame.
            self.close()
            if not isinstance(error, DeliveryError) or not window.done:
                raise
            _log.info("%d of %d chunks delivered: %s", window.done, len(parcels), error)
        return self._settle(parcels[: window.done])

    def _settle(self, acked: Sequence[Parcel]) -> int:
        # What cannot be committed just now must not be sent again: on a connection that is open the receiver would
        # take it for other records.
        self._unsettled = acked
        if keys := [key for parcel in acked for key in parcel.keys]:
            self._ledger.commit(keys)
        self._unsettled = ()
        return len(acked)

    def close(self) -> None:
        """Close the connection. A second call does nothing; a later `write` opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, window: Window) -> None:
        connection = self._connected()
        patience_s = self.config.ack_timeout_s
        until = time.monotonic() + patience_s
        while not window.complete:
            window.fill()
            moved = 0
            if pieces := window.to_send(PIECES_AT_ONCE):
                moved = connection.send(pieces)
                window.sent(moved)
            for chunk_id in connection.acks():
                if not window.acked(chunk_id):
                    text = f"got an ack for {chunk_id[:80]!r}, which is not owed"
                    raise DeliveryError(f"{self.config.address}: {text}", kind="answer")
                moved += 1
            if moved:
                until = time.monotonic() + patience_s
            elif not connection.wait(until, to_send=bool(pieces)):
                text = f"nothing for {patience_s:g} s, expected acks of {window.frames} frames ({window.bytes} bytes)"
                raise DeliveryError(f"{self.config.address}: {text}", kind="timeout")

    def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_quiet:
            # Closed while idle, as Fluent Bit does after 30 s, or not to be trusted.
            self.close()
        if self._connection is None:
            self._connection = Connection(self._endpoint)
        return self._connection


def _where(address: str) -> tuple[str, int] | str:
    if address.startswith("unix:") and len(address) > len("unix:"):
        return address.removeprefix("unix:")
    host, colon, port = address.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(f"forward sink {address!r}: expected `host:port` with a port up to 65535, or `unix:PATH`")
    return host, int(port)
