"""The handshake as a server sees it, without sockets: one HELO, one PING, one PONG."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm.errors import ProtocolError
from logllm.wire.handshake import MAX_MESSAGE_BYTES, Helo, ping_fault, read_ping, write_helo, write_pong

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Answer", "Gate", "Greeting"]

# Fluent Bit's own; the specification names no length.
_NONCE_BYTES = 16


class Answer(msgspec.Struct, frozen=True):
    """What becomes of a PING.

    Attributes:
        pong: To be sent in one write.
        fault: Why the connection is to be closed then; empty where the peer may send.
        rest: What it has sent already.
    """

    pong: bytes
    fault: str
    rest: bytes


class Gate:
    """Who may enter.

    Args:
        key: The shared key; may be empty.
        users: Passwords by name; empty where the key is enough.
        hostname: What the server calls itself.
        random: Bytes that nobody can guess, for nonces.
    """

    __slots__ = ("_key", "_random", "_users", "hostname")

    def __init__(
        self, key: bytes, users: Mapping[bytes, bytes], hostname: str, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._key, self._users, self._random = key, users, random
        self.hostname = hostname

    def __repr__(self) -> str:
        return f"Gate({self.hostname!r})"

    def helo(self) -> Helo:
        """A HELO for one connection."""
        return Helo(self._random(_NONCE_BYTES), self._random(_NONCE_BYTES) if self._users else b"")

    def answer(self, message: bytes, helo: Helo) -> tuple[bytes, str]:
        """The PONG for a PING, and why its sender may not enter; empty where it may.

        Raises:
            ProtocolError: it is no PING.
        """
        ping = read_ping(message)
        fault = ping_fault(ping, helo, self._key, self._users)
        return write_pong(ping, helo.nonce, self._key, self.hostname, fault), fault


class Greeting:
    """The beginning of one connection, until its PING has been answered.

    >>> Greeting(Gate(b"key", {}, "logllm")).helo[:6]
    b'\\x92\\xa4HELO'
    """

    __slots__ = ("_buffer", "_gate", "_helo")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._helo = gate.helo()
        self._buffer = bytearray()

    @property
    def helo(self) -> bytes:
        """What the server opens with, to be sent in one write."""
        return write_helo(self._helo)

    @property
    def begun(self) -> bool:
        """Whether the peer has sent anything."""
        return bool(self._buffer)

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes from the peer."""
        self._buffer += data

    def answer(self) -> Answer | None:
        """The answer to the PING; None while it is not whole.

        Raises:
            ProtocolError: what came is no PING, or too long for one.
        """
        head = bytes(self._buffer[:MAX_MESSAGE_BYTES])
        # The first byte tells logs, HTTP and TLS from an array of six, which need not be waited for.
        if head and head[0] != 0x96:
            raise ProtocolError(f"got {head[:1].hex()} as first byte, expected a PING: this server has a shared key")
        unpacker = msgpack.Unpacker(max_buffer_size=MAX_MESSAGE_BYTES)
        unpacker.feed(head)
        try:
            unpacker.skip()
        except msgpack.OutOfData:
            if len(head) == MAX_MESSAGE_BYTES:
                raise ProtocolError(f"got no whole PING in {MAX_MESSAGE_BYTES} bytes") from None
            return None
        except (msgpack.UnpackException, ValueError) as error:
            raise ProtocolError("got what is not MessagePack, expected a PING") from error
        end = unpacker.tell()
        pong, fault = self._gate.answer(head[:end], self._helo)
        return Answer(pong, fault, b"" if fault else bytes(self._buffer[end:]))
