"""A sender that behaves as Fluent Bit does: what has no ack is sent again, whole and under the same id.

Records are numbered, and everything about a record follows from its number, so that whoever reads them later knows
what was sent. A chunk is built once; each connection has one thread.
"""

from __future__ import annotations

import gzip
import heapq
import random
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha512
from itertools import count
from typing import Literal, NamedTuple

import msgpack  # type: ignore[import-untyped]

from logllm.wire.handshake import read_helo, read_pong, write_ping

__all__ = [
    "Chunk",
    "Connection",
    "Login",
    "Mode",
    "NoAck",
    "Sender",
    "Totals",
    "Way",
    "chunk_of",
    "content_id",
    "entries_of",
    "text_of",
    "time_of",
]

Mode = Literal["forward", "gzip", "message"]

START_S = 1_700_000_000
_FILLER = "GET /items/%d 200 in %d ms"
_PIPELINE = 4
_PATIENCE_S = 120.0


class Chunk(NamedTuple):
    """Records of one tag that are sent and acknowledged together.

    Args:
        tag: Of all of them.
        first, size: The number of the first, and how many there are.
        mode: How they are put into frames; a retry is never in another one.
        frames: Each with the id that its ack must say. Message mode has one for each record.
    """

    tag: str
    first: int
    size: int
    mode: Mode
    frames: tuple[tuple[bytes, bytes], ...]


class Way(NamedTuple):
    """How a connection is used.

    Args:
        pipelined: Frames go out before the acks of those in front of them are here.
        hangs_up: How likely it is, for each frame, that the connection ends behind or inside it and no ack is read.
    """

    pipelined: bool = False
    hangs_up: float = 0.0


def time_of(number: int) -> str:
    """The time of a record as the file sink writes it."""
    return f"{START_S + number // 1000}.{number % 1000 * 1_000_003:09d}"


def text_of(number: int, pad: str = "") -> str:
    """The log line of a record."""
    return _FILLER % (number, number * 7919 % 10_007) + pad


def entries_of(first: int, count: int, pad: str = "") -> list[bytes]:
    """Records as Fluent Bit's entries, `[[EventTime, {}], {"n": number, "log": text}]`."""
    tail = pad.encode()
    entries = []
    for number in range(first, first + count):
        text = b"GET /items/%d 200 in %d ms" % (number, number * 7919 % 10_007) + tail
        entries.append(
            b"\x92\x92\xd7\x00%b%b\x80\x82\xa1n\xce%b\xa3log\xda%b%b"
            % (
                (START_S + number // 1000).to_bytes(4, "big"),
                (number % 1000 * 1_000_003).to_bytes(4, "big"),
                number.to_bytes(4, "big"),
                len(text).to_bytes(2, "big"),
                text,
            )
        )
    return entries


def content_id(entries: bytes) -> bytes:
    """Fluent Bit's id of a chunk: a hash of its entries."""
    return b64encode(sha512(entries).digest()[:16])


def _packed(value: object) -> bytes:
    return bytes(msgpack.packb(value, use_bin_type=False))


def _options(chunk_id: bytes | None, size: int, compressed: bool = False) -> bytes:
    options: dict[str, object] = {} if chunk_id is None else {"chunk": chunk_id}
    options["size"] = size
    if compressed:
        options["compressed"] = "gzip"
    return _packed(options | {"fluent_signal": 0})


def chunk_of(tag: str, first: int, count: int, mode: Mode = "forward", pad: str = "") -> Chunk:
    """Numbered records as a chunk."""
    entries = entries_of(first, count, pad)
    name = _packed(tag)
    if mode == "message":
        # The header of a Message is that of an entry, without the metadata: `[tag, time, record, option]`.
        frames = []
        for entry in entries:
            chunk_id = content_id(entry)
            frames.append((chunk_id, b"\x94" + name + entry[2:12] + entry[13:] + _packed({"chunk": chunk_id})))
        return Chunk(tag, first, count, mode, tuple(frames))
    block = b"".join(entries)
    chunk_id = content_id(block)
    options = _options(chunk_id, count, mode == "gzip")
    body = b"\xdd" + count.to_bytes(4, "big") + block
    if mode == "gzip":
        squeezed = gzip.compress(block, 1, mtime=0)
        body = b"\xc6" + len(squeezed).to_bytes(4, "big") + squeezed
    return Chunk(tag, first, count, mode, ((chunk_id, b"\x93" + name + body + options),))


@dataclass
class Login:
    """What a server with TLS and a shared key is shown."""

    key: bytes
    tls: ssl.SSLContext


@dataclass
class Totals:
    """What has happened; read it at any time."""

    chunks: int = 0
    records: int = 0
    acked_chunks: int = 0
    acked_records: int = 0
    resends: int = 0
    failures: Counter[str] = field(default_factory=Counter)


class NoAck(Exception):  # noqa: N818 - it is what happened
    """A frame was not acknowledged, for this reason."""


class Sender:
    """Sends numbered records until all are acknowledged.

    Args:
        port: On 127.0.0.1. It may be closed at times.
        records: How many there are to send.
        modes: How chunks are framed, in turn.
        ways: One for each connection.
        sizes: The smallest and the largest number of records in a chunk.
        pad: Makes records longer.
        seed: Of sizes and delays.
        login: For a server that wants one.
        io_timeout_s: Longest wait for an ack; 0: for ever, as Fluent Bit has it unless told otherwise.
        retry_s: Longest delay before a chunk is sent again.
    """

    def __init__(
        self,
        port: int,
        records: int,
        *,
        modes: tuple[Mode, ...] = ("forward",),
        ways: tuple[Way, ...] = (Way(),) * 4,
        sizes: tuple[int, int] = (1, 5000),
        pad: str = "",
        seed: int = 0,
        login: Login | None = None,
        io_timeout_s: float = 0.0,
        retry_s: float = 0.1,
    ) -> None:
        self.port, self.records, self.pad = port, records, pad
        self.totals = Totals()
        self.acked: list[Chunk] = []
        self.issued: list[Chunk] = []
        self.violations: list[str] = []
        self._modes, self._ways, self._sizes = modes, ways, sizes
        self._random = random.Random(seed)
        self._login = login
        self._io_timeout_s, self._retry_s = io_timeout_s, retry_s
        self._next = 0
        self._allowed = records
        self._retries: list[tuple[float, int, Chunk]] = []
        self._order = count()
        self._changed = threading.Condition()
        self._stopped = False
        self._threads = [threading.Thread(target=self._run, args=(way,), daemon=True) for way in ways]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> bool:
        """Whether every record has been acknowledged."""
        return self.totals.acked_records == self.records

    def allow(self, records: int) -> None:
        """Issue no more than so many, for now."""
        with self._changed:
            self._allowed = min(max(records, 1), self.records)
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        """Whether all that may be sent now has been acknowledged."""
        return self.totals.acked_records >= self._allowed

    def wait(self, timeout_s: float, acked_records: int | None = None) -> bool:
        """Whether so many records (all of them) are acknowledged within a time."""
        wanted = self.records if acked_records is None else acked_records
        with self._changed:
            return self._changed.wait_for(lambda: self.totals.acked_records >= wanted, timeout_s)

    def stop(self) -> None:
        """Send no more and close everything."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_PATIENCE_S)
            assert not thread.is_alive(), "a connection of the sender does not end"

    def _take(self, wait: bool) -> Chunk | None:
        """The next chunk to send: one whose retry is due, else a new one. None: there is none, or it is the end."""
        with self._changed:
            while not self._stopped and not self.done:
                now = time.monotonic()
                if self._retries and self._retries[0][0] <= now:
                    self.totals.resends += 1
                    return heapq.heappop(self._retries)[2]
                if self._next < self._allowed:
                    break
                if not wait:
                    return None
                self._changed.wait(self._retries[0][0] - now if self._retries else None)
            else:
                return None
            smallest, largest = self._sizes
            # As many small ones as large ones, by orders of magnitude.
            size = int(smallest * (largest / smallest) ** self._random.random() + 0.5)
            mode = self._modes[self.totals.chunks % len(self._modes)]
            if mode == "message":
                size = min(size, 50)
            first, size = self._next, min(size, self._allowed - self._next)
            self._next += size
            self.totals.chunks += 1
            self.totals.records += size
            tag = f"app.{self.totals.chunks % 3}"
        chunk = chunk_of(tag, first, size, mode, self.pad)
        with self._changed:
            self.issued.append(chunk._replace(frames=()))
        return chunk

    def _put_back(self, chunks: Iterable[Chunk], reason: str) -> None:
        with self._changed:
            for chunk in chunks:
                self.totals.failures[reason] += 1
                at = time.monotonic() + self._random.random() * self._retry_s
                heapq.heappush(self._retries, (at, next(self._order), chunk))
            self._changed.notify_all()

    def _landed(self, chunk: Chunk) -> None:
        with self._changed:
            self.totals.acked_chunks += 1
            self.totals.acked_records += chunk.size
            self.acked.append(chunk._replace(frames=()))
            self._changed.notify_all()

    def _run(self, way: Way) -> None:
        connection: Connection | None = None
        while True:
            chunk = self._take(wait=True)
            if chunk is None:
                break
            batch = deque([chunk])
            try:
                if connection is None:
                    connection = Connection(self.port, self._login, self._io_timeout_s, lambda: self._stopped)
                while way.pipelined and len(batch) < _PIPELINE and (more := self._take(wait=False)) is not None:
                    batch.append(more)
                self._exchange(connection, batch, way)
            except (NoAck, OSError) as error:
                self._put_back(batch, str(error) if isinstance(error, NoAck) else type(error).__name__)
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _exchange(self, connection: Connection, batch: deque[Chunk], way: Way) -> None:
        """Send the chunks of a batch and take their acks; those that are acknowledged leave it."""
        if way.pipelined:
            for chunk in batch:
                for _, frame in chunk.frames:
                    self._send(connection, frame, way)
        while batch:
            for chunk_id, frame in batch[0].frames:
                if not way.pipelined:
                    self._send(connection, frame, way)
                ack = connection.ack()
                if ack != chunk_id:
                    self.violations.append(f"got an ack for {ack!r}, expected {chunk_id!r}")
                    raise NoAck("wrong ack")
            self._landed(batch.popleft())

    def _send(self, connection: Connection, frame: bytes, way: Way) -> None:
        if self._random.random() < way.hangs_up:
            whole = self._random.random() < 0.7
            connection.send(frame if whole else frame[: self._random.randrange(len(frame))])
            raise NoAck("hung up")
        connection.send(frame)


class Connection:
    """A socket, past its handshake. Acks are read one by one.

    Args:
        port, login, io_timeout_s: See `Sender`.
        stopped: Asked while an ack is waited for, whether that has an end.

    Raises:
        OSError, NoAck: There is none.
    """

    def __init__(
        self,
        port: int,
        login: Login | None = None,
        io_timeout_s: float = 0.0,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stopped = stopped
        self._io_timeout_s = io_timeout_s
        self._unpacker = msgpack.Unpacker(raw=True)
        sock = socket.socket()
        # Wrapped before it is connected: ssl lets go of a socket that is reset while it is wrapped, and leaves it open.
        self._socket = sock if login is None else login.tls.wrap_socket(sock, server_hostname="127.0.0.1")
        try:
            self._socket.settimeout(10.0)
            self._socket.connect(("127.0.0.1", port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if login is not None:
                self._log_in(login)
            # So that the end is noticed while an ack is waited for.
            self._socket.settimeout(0.25)
        except BaseException:
            self._socket.close()
            raise

    def _log_in(self, login: Login) -> None:
        salt = b"0123456789abcdef"
        helo = read_helo(_packed(self._message()))
        self._socket.sendall(write_ping(helo, login.key, "sender", salt))
        refusal = read_pong(_packed(self._message()), helo, login.key, salt, "sender")
        if refusal:
            raise NoAck("refused")

    def _message(self) -> object:
        while True:
            for message in self._unpacker:
                return message
            data = self._socket.recv(65_536)
            if not data:
                raise NoAck("EOF")
            self._unpacker.feed(data)

    def send(self, frame: bytes) -> None:
        """All of it. Raises OSError, NoAck."""
        view = memoryview(frame)
        until = time.monotonic() + (self._io_timeout_s or float("inf"))
        while view:
            try:
                view = view[self._socket.send(view) :]
            except TimeoutError:
                self._give_up_after(until)

    def ack(self) -> bytes:
        """The id of the next ack. Raises OSError, NoAck."""
        until = time.monotonic() + (self._io_timeout_s or float("inf"))
        while True:
            try:
                message = self._message()
            except TimeoutError:
                self._give_up_after(until)
                continue
            assert isinstance(message, dict)
            ack = message[b"ack"]
            assert isinstance(ack, bytes)
            return ack

    def _give_up_after(self, until: float) -> None:
        if self._stopped():
            raise NoAck("stopped")
        if time.monotonic() >= until:
            raise NoAck("io timeout")

    def close(self) -> None:
        """End it, without a word."""
        self._socket.close()

    def shut(self) -> None:
        """End our side of it."""
        self._socket.shutdown(socket.SHUT_WR)
