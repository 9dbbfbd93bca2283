"""What the forward sink's tests are made of."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]

from logllm.errors import DeliveryError
from logllm.sinks.forward import ForwardSink, ForwardSinkConfig
from logllm.sinks.parcel import Parcel
from tests.sinks.fake_receiver import PATIENCE_S, FakeReceiver

__all__ = ["Ledger", "entry", "numbered", "parcel", "sink_for"]


class Ledger:
    """Remembers what was committed; says no `fails` times first."""

    def __init__(self, fails: int = 0) -> None:
        self.keys: list[bytes] = []
        self.fails = fails

    def commit(self, keys: Sequence[bytes]) -> None:
        if self.fails:
            self.fails -= 1
            raise DeliveryError("ledger: disk full", kind="full")
        self.keys += keys


def entry(text: str, metadata: dict[str, Any] | None = None) -> bytes:
    when = msgpack.ExtType(0, struct.pack(">II", 1_700_000_000, 5))
    return bytes(msgpack.packb([[when, metadata or {}], {"log": text}]))


def parcel(*texts: str, tag: str = "app.web", ids: Sequence[bytes] = ()) -> Parcel:
    keys = tuple(b"key " + chunk_id for chunk_id in ids)
    return Parcel(tag, b"".join(map(entry, texts)), len(texts), keys, tuple(ids))


def numbered(count: int, size: int = 1) -> list[Parcel]:
    """Parcels of one entry, with the ids `id0`, `id1`..."""
    return [parcel(f"{i} " + "x" * size, ids=[b"id%d" % i]) for i in range(count)]


def sink_for(receiver: FakeReceiver, ledger: Ledger | None = None, **options: Any) -> ForwardSink:
    config = ForwardSinkConfig(receiver.address, **{"ack_timeout_s": PATIENCE_S, **options})
    return config.build(ledger or Ledger())
