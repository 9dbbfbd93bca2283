"""What a sink is given, and what it promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

__all__ = ["Parcel", "Sink"]


class Parcel(msgspec.Struct, frozen=True):
    """Records of one tag on their way out.

    Args:
        tag: Fluent's tag.
        block: Concatenated msgpack entries, `[time, record]` or `[[time, metadata], record]`, no group markers.
        count: Entries in it; 0 where filters left nothing of a chunk, whose keys are to be remembered all the same.
        keys: What the ledger knows this delivery by, 16 bytes each; empty where the sender wants no ack.
        chunk_ids: The sender's ids, byte for byte: none; one for the whole block; or one for each entry, in order.
    """

    tag: str
    block: bytes
    count: int
    keys: tuple[bytes, ...] = ()
    chunk_ids: tuple[bytes, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes it holds in memory."""
        return len(self.block)


class Sink(Protocol):
    """Takes parcels and makes them durable. All calls come from one thread of its own, one at a time.

    Attributes:
        refused: Records that its receiver will never take, and that are set aside or given up; it only grows.
    """

    refused: int

    def write(self, parcels: Sequence[Parcel]) -> int:
        """Make parcels durable, in their order.

        Returns:
            How many from the front are safe now, at least one: they survive a crash of the process and of the
            machine, and their keys are in the sink's ledger. The caller comes again with the rest.

        Raises:
            DeliveryError: None of them is safe, and as far as can be known none has arrived. Nothing is half
                written; the caller tries again later.
        """

    def close(self) -> None:
        """Let go of files and sockets. A second call does nothing."""
