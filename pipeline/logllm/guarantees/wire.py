"""A sender of the forward protocol that counts every ack, and its records' way back out of a sink's file."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm.errors import ProtocolError
from logllm.guarantees.verdict import Broken
from logllm.wire.handshake import read_helo, read_pong, write_ping

__all__ = ["START_S", "Sender", "frame", "numbered", "stored", "texts"]

START_S = 1_770_000_000
_TAG = "guarantee"
_HOSTNAME = "guarantees"


def frame(records: Iterable[Any], chunk: str, seconds: Iterable[float] | None = None) -> bytes:
    """A Forward-mode frame that asks for an ack.

    Args:
        records: Maps; whatever else stands there makes an entry that is no record.
        seconds: When each was, after START_S; a tenth of a second apart by default.
    """
    records = list(records)
    times = [number / 10 for number in range(len(records))] if seconds is None else list(seconds)
    body = [[[_event_time(at), {}], record] for at, record in zip(times, records, strict=True)]
    return bytes(msgpack.packb([_TAG, body, {"chunk": chunk, "size": len(body)}]))


def numbered(numbers: Iterable[int], chunk: str, pad: int = 0) -> bytes:
    """A frame of records that say which they are, so that they can be counted in the end."""
    filling = "." * pad
    return frame(({"n": number, "log": f"record {number}{filling}"} for number in numbers), chunk)


def _event_time(after_s: float) -> msgpack.ExtType:
    nanoseconds = round(after_s * 1e9)
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return msgpack.ExtType(0, (START_S + seconds).to_bytes(4, "big") + rest.to_bytes(4, "big"))


class Sender:
    """One connection.

    Args:
        patience_s: How long an ack, or room to send, is waited for.
        buffer_bytes: How much the kernel may take from us that the other side has no room for; 0: what it likes.

    Raises:
        Broken: Nobody listens.
    """

    def __init__(self, port: int, patience_s: float, buffer_bytes: int = 0) -> None:
        self.patience_s = patience_s
        self._unpacker = msgpack.Unpacker(raw=True)
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=patience_s)
            if buffer_bytes:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        except OSError as error:
            raise Broken(f"the forward port takes no connection: {error}") from error

    def send(self, data: bytes) -> None:
        """Send all of it. Raises Broken where the connection is closed or takes nothing."""
        self._socket.settimeout(self.patience_s)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Broken(f"a connection was closed, or takes nothing, while sending: {error}") from error

    def push(self, data: memoryview, quiet_s: float) -> int:
        """Send until nothing has been taken for so long; how much was taken. Raises Broken where it is closed."""
        self._socket.settimeout(quiet_s)
        done = 0
        try:
            while done < len(data):
                done += self._socket.send(data[done : done + 65_536])
        except TimeoutError:
            pass
        except OSError as error:
            raise Broken(f"a connection was closed while it should only wait: {error}") from error
        return done

    def ack(self) -> str:
        """The next ack. Raises Broken where the connection ends before, or none comes."""
        answer = self._answer(self.patience_s)
        if answer is None:
            raise Broken(f"no ack within {self.patience_s:g} s")
        return answer

    def acks(self, count: int) -> list[str]:
        """So many acks."""
        return [self.ack() for _ in range(count)]

    def deliver(self, data: bytes, chunks: Sequence[str]) -> None:
        """Send, and wait for the acks of these chunks. Raises Broken for any other answer."""
        self.send(data)
        got = self.acks(len(chunks))
        if sorted(got) != sorted(chunks):
            raise Broken(f"acks of {got[:5]} came, expected {list(chunks)[:5]}")

    def quiet(self, seconds: float) -> None:
        """Watch that nothing comes and the connection stays open. Raises Broken otherwise."""
        answer = self._answer(seconds)
        if answer is not None:
            raise Broken(f"an ack came for {answer!r} before its records could be stored")

    def rest(self) -> list[str]:
        """All acks until the other side closes. Raises Broken where it does not in time."""
        got: list[str] = []
        while True:
            try:
                got.append(self.ack())
            except _Ended:
                return got

    def until_closed(self) -> bytes | None:
        """What comes until the other side closes; None where it does not in time."""
        got = b""
        end = time.monotonic() + self.patience_s
        while True:
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                return None
            except OSError:
                return got
            if not data:
                return got
            got += data

    def enter(self, key: bytes) -> str:
        """Do the handshake; why we are not let in, empty where we are. Raises Broken where there is none."""
        self._socket.settimeout(self.patience_s)
        salt = os.urandom(16)
        try:
            helo = read_helo(self._socket.recv(8192))
            self._socket.sendall(write_ping(helo, key, _HOSTNAME, salt))
            return read_pong(self._socket.recv(8192), helo, key, salt, _HOSTNAME)
        except (OSError, ProtocolError) as error:
            raise Broken(f"no handshake as it should be: {error}") from error

    def shut(self) -> None:
        """Say that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection at once; what came on it and was not read is lost, acks too."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """End the connection. A second call does nothing."""
        self._socket.close()

    def _answer(self, seconds: float) -> str | None:
        end = time.monotonic() + seconds
        while True:
            try:
                for message in self._unpacker:
                    ack = message.get(b"ack") if isinstance(message, dict) else None
                    if not isinstance(ack, bytes):
                        raise Broken(f"got {message!r:.80}, expected an ack")
                    return ack.decode("utf-8", "replace")
            except (ValueError, msgpack.UnpackException) as error:
                raise Broken("got what is no MessagePack, expected an ack") from error
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                return None
            except OSError as error:
                raise _Ended(f"the connection ended: {error}") from error
            if not data:
                raise _Ended("the connection was closed")
            self._unpacker.feed(data)


class _Ended(Broken):
    """The other side has closed the connection."""


def stored(path: Path) -> list[int]:
    """The numbers of the records in a file sink's file, in their order; a last line without its end is none."""
    return [n for record in _records(path) if isinstance(n := record.get("n"), int)]


def texts(path: Path) -> list[str]:
    """The `log` of the records in a file sink's file."""
    return [log for record in _records(path) if isinstance(log := record.get("log"), str)]


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    try:
        found = [msgspec.json.decode(line) for line in lines]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Broken(f"a line of {path.name} is no JSON: {error}") from error
    return [record for line in found if isinstance(line, dict) and isinstance(record := line.get("record"), dict)]
