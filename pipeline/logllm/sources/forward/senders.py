"""Who has sent what, as plain facts: what a doctor looks at, and an HTTP page shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from logllm.sources.forward.wire import ARRAY_OF_TWO, KINDS

if TYPE_CHECKING:
    from logllm.sources.forward.frame import Received

__all__ = ["MAX_HOSTS", "ChunkIdKind", "Sender", "Senders", "chunk_id_kind"]

MAX_HOSTS = 1000
"""Hosts that are remembered; one more replaces the one not heard of for longest."""

ChunkIdKind = Literal["base64", "hex", "other"]

_HEX = re.compile(rb"[0-9a-f]{32}")
_BASE64 = re.compile(rb"[0-9A-Za-z+/]+={0,2}\n?")


class Sender(msgspec.Struct):
    """One host. What is said of entries is said of the first of each frame.

    Attributes:
        host: Its address, `unix` for all that come through the unix socket.
        frames: Frames with records.
        records: Records in them.
        records_without_id: Of those, such that came without a chunk id, and so without an ack.
        modes: How they came: "Message", "Forward", "PackedForward", "CompressedPackedForward".
        legacy_entries: Whether there were entries `[time, record]`, without metadata: Fluent Bit before 5.0.5, or
            `retain_metadata_in_forward_mode off`.
        integer_times: Whether there were times in whole seconds.
        compressed: Whether there were compressed payloads.
        chunk_id_kind: The newest chunk id's: "hex" is Fluent Bit's before July 2026; None where none has come.
        last_seen_ns: Unix time of the newest frame.
    """

    host: str
    frames: int = 0
    records: int = 0
    records_without_id: int = 0
    modes: list[str] = []
    legacy_entries: bool = False
    integer_times: bool = False
    compressed: bool = False
    chunk_id_kind: ChunkIdKind | None = None
    last_seen_ns: int = 0

    def note(self, received: Received, now_ns: int) -> None:
        """Take account of what has come."""
        count = received.chunk.count
        self.frames += count if received.mode == "Message" else 1
        self.records += count
        self.last_seen_ns = now_ns
        if received.mode not in self.modes:
            self.modes = [*self.modes, received.mode]
        self.compressed = self.compressed or received.mode == "CompressedPackedForward"
        if received.acks:
            self.chunk_id_kind = chunk_id_kind(received.acks[0])
        else:
            self.records_without_id += count
        head = (received.chunk.block or b"")[:6]
        time = next((head[len(array) :] for array in ARRAY_OF_TWO if head.startswith(array)), b"")
        if time and KINDS[time[0]] != "a":
            self.legacy_entries = True
        elif time:
            time = time[1:]
        if time and KINDS[time[0]] == "i":
            self.integer_times = True


class Senders:
    """All hosts, the one heard of last at the end.

    Args:
        most: Hosts to remember.
    """

    def __init__(self, most: int = MAX_HOSTS) -> None:
        self._most = most
        self._hosts: dict[str, Sender] = {}

    def note(self, host: str, received: Received, now_ns: int) -> None:
        """A host has sent records. Costs about a microsecond."""
        sender = self._hosts.pop(host, None) or Sender(host)
        self._hosts[host] = sender
        sender.note(received, now_ns)
        if len(self._hosts) > self._most:
            del self._hosts[next(iter(self._hosts))]

    def __len__(self) -> int:
        return len(self._hosts)

    def table(self) -> list[Sender]:
        """The hosts, the one heard of last first."""
        return list(reversed(self._hosts.values()))


def chunk_id_kind(chunk_id: bytes) -> ChunkIdKind:
    """What a chunk id looks like.

    >>> chunk_id_kind(b"pU8EZcxql8lv5X1+KIPo2w=="), chunk_id_kind(b"0" * 32), chunk_id_kind(b"a-b")
    ('base64', 'hex', 'other')
    """
    if _HEX.fullmatch(chunk_id):
        return "hex"
    return "base64" if len(chunk_id.rstrip(b"\n")) % 4 == 0 and _BASE64.fullmatch(chunk_id) else "other"
