"""A receiver of the forward protocol with whatever fault a test gives it. One thread, one connection at a time."""

from __future__ import annotations

import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgpack  # type: ignore[import-untyped]
import zstandard

from logllm.errors import ProtocolError
from logllm.wire.handshake import Helo, ping_fault, read_ping, write_helo, write_pong

if TYPE_CHECKING:
    from typing import Self

__all__ = ["PATIENCE_S", "Behaviour", "FakeReceiver", "Got", "Peer", "ack", "healthy", "welcoming"]

PATIENCE_S = 20.0
NONCE, SALT = b"0123456789abcdef", b"fedcba9876543210"


class Got(NamedTuple):
    """A frame as it came. `packed`: its entries were one binary value."""

    connection: int
    tag: bytes
    entries: list[object]
    chunk_id: bytes
    option: dict[bytes, object]
    packed: bool


class Peer:
    """The sink's end of a connection, seen from the receiver."""

    def __init__(self, sock: socket.socket, number: int, got: list[Got]) -> None:
        self.sock, self.number = sock, number
        self._got = got
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=0)

    def message(self) -> object:
        """The next MessagePack object, None at the end."""
        while True:
            try:
                return self._unpacker.unpack()
            except msgpack.OutOfData:
                try:
                    data = self.sock.recv(65_536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._unpacker.feed(data)

    def frame(self) -> Got | None:
        """The next frame, None at the end."""
        message = self.message()
        return None if message is None else self._note(message)

    def feed(self, data: bytes) -> list[Got]:
        """The frames that are whole with these bytes."""
        self._unpacker.feed(data)
        return [self._note(message) for message in self._unpacker]

    def _note(self, message: object) -> Got:
        assert isinstance(message, list), message
        tag, entries, option = message
        packed = isinstance(entries, bytes)
        if packed:
            entries = entries_of(inflated(entries, option.get(b"compressed")))
        assert len(entries) == option[b"size"]
        got = Got(self.number, tag, entries, option[b"chunk"], option, packed)
        self._got.append(got)
        return got

    def frames(self) -> Iterator[Got]:
        while (got := self.frame()) is not None:
            yield got

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)


Behaviour = Callable[[Peer], None]
"""What the receiver does with a connection; it closes when this returns."""


def ack(chunk_id: bytes) -> bytes:
    return bytes(msgpack.packb({b"ack": chunk_id}, use_bin_type=False))


def healthy(peer: Peer) -> None:
    for got in peer.frames():
        peer.send(ack(got.chunk_id))


def welcoming(
    key: bytes, users: dict[bytes, bytes] | None = None, hostname: str = "receiver", then: Behaviour = healthy
) -> Behaviour:
    """A receiver that wants a handshake first."""

    def behave(peer: Peer) -> None:
        helo = Helo(NONCE, SALT if users else b"")
        peer.send(write_helo(helo))
        message = peer.message()
        if message is None:
            return
        try:
            ping = read_ping(msgpack.packb(message, use_bin_type=False))
        except ProtocolError:
            return
        fault = ping_fault(ping, helo, key, users or {})
        peer.send(write_pong(ping, NONCE, key, hostname, fault))
        if not fault:
            then(peer)

    return behave


class FakeReceiver:
    """Listens on a free port of this machine, or on a unix socket.

    Args:
        behaviours: One for each connection; those beyond them meet the last one.
        path: A unix socket to listen on.
        tls: Encrypts.
        buffer_bytes: The sockets' buffers, where they must be small.

    Attributes:
        got: All frames, in order.
        connections: How many have been accepted.
        released: For a test to tell a behaviour to go on.
    """

    def __init__(
        self,
        *behaviours: Behaviour,
        path: str = "",
        tls: ssl.SSLContext | None = None,
        buffer_bytes: int = 0,
    ) -> None:
        self.got: list[Got] = []
        self.connections = 0
        self._behaviours: Sequence[Behaviour] = behaviours or (healthy,)
        self._tls = tls
        self._listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        if buffer_bytes:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        self._listener.bind(path or ("127.0.0.1", 0))
        self._listener.listen()
        self._listener.settimeout(0.02)
        self.address = f"unix:{path}" if path else f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._stopped = threading.Event()
        self.released = threading.Event()
        self._idle = threading.Condition()
        self._ended = 0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "a behaviour does not end: close the sink before the receiver"
        if self._failure is not None and kind is None:
            raise self._failure

    def wait_for_end(self, connections: int) -> None:
        """Wait until so many connections have been closed by the receiver."""
        with self._idle:
            assert self._idle.wait_for(lambda: self._ended >= connections, PATIENCE_S)

    @property
    def ids(self) -> list[bytes]:
        return [got.chunk_id for got in self.got]

    def _run(self) -> None:
        with self._listener:
            while not self._stopped.is_set():
                try:
                    sock, _ = self._listener.accept()
                except TimeoutError:
                    continue
                behave = self._behaviours[min(self.connections, len(self._behaviours) - 1)]
                self.connections += 1
                with sock:
                    self._serve(sock, behave)
                with self._idle:
                    self._ended += 1
                    self._idle.notify_all()

    def _serve(self, sock: socket.socket, behave: Behaviour) -> None:
        sock.settimeout(PATIENCE_S)
        try:
            if self._tls is not None:
                with self._tls.wrap_socket(sock, server_side=True) as encrypted:
                    behave(Peer(encrypted, self.connections, self.got))
            else:
                behave(Peer(sock, self.connections, self.got))
        except (ConnectionError, ssl.SSLError):
            pass  # the sink has closed, which is for the test to judge
        except BaseException as error:  # noqa: BLE001 - raised again where the test sees it
            self._failure = error


def entries_of(block: bytes) -> list[object]:
    """A block's entries, decoded."""
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=0)
    unpacker.feed(block)
    return list(unpacker)


def inflated(data: bytes, kind: object) -> bytes:
    """A payload as it was before it was compressed."""
    if kind == b"gzip":
        return zlib.decompress(data, 31)
    if kind == b"zstd":
        return zstandard.ZstdDecompressor().decompress(data)
    assert kind in (None, b"text")
    return data
