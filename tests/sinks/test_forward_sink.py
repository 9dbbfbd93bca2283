"""The forward sink against a receiver with faults, and against our own server."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import msgpack  # type: ignore[import-untyped]

from logllm.errors import DeliveryError
from logllm.sinks.forward import ForwardSink, ForwardSinkConfig
from logllm.sinks.forward_frames import content_id
from logllm.sinks.parcel import Parcel
from tests.sinks.fake_receiver import FakeReceiver, entries_of

GOLDEN = Path(__file__).parents[1] / "golden" / "wire"


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


def entry(text: str, time_s: int = 1_700_000_000) -> bytes:
    when = msgpack.ExtType(0, struct.pack(">II", time_s, 5))
    return bytes(msgpack.packb([[when, {}], {"log": text}]))


def parcel(*texts: str, tag: str = "app.web", ids: Sequence[bytes] = ()) -> Parcel:
    keys = tuple(b"key " + chunk_id for chunk_id in ids)
    return Parcel(tag, b"".join(map(entry, texts)), len(texts), keys, tuple(ids))


def numbered(count: int, size: int = 1) -> list[Parcel]:
    return [parcel(f"{i} " + "x" * size, ids=[b"id%d" % i]) for i in range(count)]


def sink_for(receiver: FakeReceiver, ledger: Ledger | None = None, **options: object) -> ForwardSink:
    config = ForwardSinkConfig(receiver.address, **{"ack_timeout_s": 20.0, **options})  # type: ignore[arg-type]
    return config.build(ledger or Ledger())


def test_a_frame_is_byte_for_byte_what_fluent_bit_sends() -> None:
    recorded = (GOLDEN / "ack.c2s.bin").read_bytes()
    tag, entries, option = msgpack.unpackb(recorded, raw=True)
    start, end = recorded.index(b"\x93\x92\x92") + 1, recorded.index(b"\xdf\0\0\0\3\xa5chunk")

    frames = list(ForwardSinkConfig("h:1").packing().frames(Parcel(tag.decode(), recorded[start:end], len(entries))))

    # Fluent Bit writes the option's header in its longest form.
    assert b"".join(frames[0].pieces) == recorded.replace(b"\xdf\0\0\0\3", b"\x83")
    assert (len(frames), frames[0].chunk_id) == (1, option[b"chunk"])


def test_parcels_arrive_in_order_and_their_keys_are_committed() -> None:
    ledger = Ledger()
    parcels = [parcel("a", "b", ids=[b"one\n"]), parcel("c", tag="other"), parcel("d", ids=[b"two"])]

    with FakeReceiver() as receiver:
        sink = sink_for(receiver, ledger)
        done = sink.write(parcels)
        sink.close()

    assert done == 3
    assert [(got.tag, got.entries, got.chunk_id) for got in receiver.got] == [
        (sent.tag.encode(), entries_of(sent.block), chunk_id)
        for sent, chunk_id in zip(parcels, [b"one\n", content_id(parcels[1].block), b"two"], strict=True)
    ]
    assert ledger.keys == [b"key one\n", b"key two"]
