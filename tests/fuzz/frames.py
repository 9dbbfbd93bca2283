"""The forward receiver run over bytes, what came of it in a form that does not depend on cuts, and what must hold."""

from __future__ import annotations

import gzip
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import zstandard

from logllm.errors import ProtocolError
from logllm.sources.forward.entries import entries_of_stream
from logllm.sources.forward.protocol import Limits, Notice, Received, Receiver, Skipped
from tests.fuzz.inputs import check_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logllm.sources.forward.protocol import Item

__all__ = ["ENTRIES", "Outcome", "captures", "check_block", "frames", "let_in", "received"]

_WIRE = Path(__file__).parents[1] / "golden" / "wire"
_TIME = b"\xd7\0\x65\x53\xf1\0\x07\x5b\xcd\x15"

_LARGE = Limits(1 << 20, 1 << 20)

ENTRIES = (
    b"\x92" + _TIME + b"\x81\xa3log\xa2hi",
    b"\x92\x92" + _TIME + b"\x80\x82\xa3log\xa4a 12\xa5level\xa4WARN",
    b"\xdd\0\0\0\2" + _TIME + b"\x81\xa7message\xa5a\nb\r\n",
    b"\x92\xce\x65\x53\xf1\0\x80",
    b"\x92\xcb\x41\xd9\x54\xfc\x40\0\0\0\x81\xa1k\xc4\2\xff\0",
    b"\x92\x92\xd7\0\xff\xff\xff\xff\0\0\0\0\x80\x81\xa8resource\x80",
    b"\x92\x92\xd7\0\xff\xff\xff\xfe\0\0\0\0\x80\x80",
    b"\x92\5\xa1x",
    b"\x93\1\2\3",
    b"\x92\5\x81\x91\1\2",
    b"\x92\5\x81\xa1k\xc9\xff\xff\xff\xff",
)
"""An entry of each kind that a peer may send; the last six are no records, or odd ones."""


@dataclass(slots=True)
class Outcome:
    """What a stream came to. Neighbouring records of one tag are one event, since how Message frames are joined
    depends on how they arrive."""

    events: list[tuple[object, ...]] = field(default_factory=list)
    acks: list[bytes] = field(default_factory=list)
    records: int = 0
    frames: int = 0
    pending: int = 0
    refused: bool = False

    def add(self, item: Item) -> None:
        """One more item."""
        if isinstance(item, Received):
            chunk = item.chunk
            block = chunk.block or b""
            self.records += chunk.count
            self.acks += item.acks
            last = self.events[-1] if self.events else ()
            if last[:2] == ("records", chunk.tag):
                self.events[-1] = ("records", chunk.tag, last[2] + block)  # type: ignore[operator]
            else:
                self.events.append(("records", chunk.tag, block))
        elif isinstance(item, Skipped):
            self.events.append(("skipped", item.tag, item.fault.entry, item.fault.reason, item.fault.count))
        else:
            self.acks += item.acks
            self.events.append((item.kind, item.count))


def received(parts: Iterable[bytes], limits: Limits) -> Outcome:
    """Feed the parts to a receiver, and hold it to its promises."""
    receiver = Receiver("peer", limits)
    outcome = Outcome()
    largest = max(limits.frame_bytes, limits.inflated_bytes)
    for part in parts:
        receiver.feed(part)
        try:
            for item in receiver.items():
                outcome.add(item)
                if isinstance(item, Received):
                    check_block(item, largest)
                elif isinstance(item, Skipped):
                    assert item.fault.reason
                    assert item.fault.count > 0
                    assert 0 < len(item.fault.entry) <= largest
                else:
                    assert isinstance(item, Notice)
                    assert item.count > 0
        except ProtocolError as error:
            check_refusal(error)
            outcome.refused = True
            break
        assert receiver.pending_bytes <= limits.frame_bytes
    if outcome.refused:
        try:
            again = list(receiver.items())
            raise AssertionError(f"{again} after a protocol error")
        except ProtocolError:
            pass
    outcome.frames, outcome.pending = receiver.frames, receiver.pending_bytes
    return outcome


def check_block(item: Received, largest: int) -> None:
    """A chunk's block is as many entries as it says, each an array of two that ends in a map."""
    chunk, block = item.chunk, item.chunk.block or b""
    assert 0 < chunk.count <= len(block)
    # Message frames are joined to a megabyte.
    assert len(block) <= largest + (1 << 20)
    assert len(item.acks) in (0, 1, chunk.count)
    assert chunk.origin.chunk_id == (item.acks[0] if len(item.acks) == 1 else None)
    unpacker = msgpack.Unpacker(max_buffer_size=len(block) + 1)
    unpacker.feed(block)
    for _ in range(chunk.count):
        assert unpacker.read_array_header() == 2
        unpacker.skip()
        pairs = unpacker.read_map_header()
        for _ in range(2 * pairs):
            unpacker.skip()
    assert unpacker.tell() == len(block)


def let_in(data: bytes, *, as_messages: bool) -> tuple[bytes, int]:
    """The block of entries that the receiver makes of a payload, or of Message frames whose first has no head."""
    if not as_messages:
        entries = entries_of_stream(data, 0)
        return entries.block, entries.count
    receiver = Receiver("peer", _LARGE)
    receiver.feed(b"\x93\xa1t" + data)
    blocks: list[bytes] = []
    count = 0
    with suppress(ProtocolError):
        for item in receiver.items():
            if isinstance(item, Received):
                blocks.append(item.chunk.block or b"")
                count += item.chunk.count
    return b"".join(blocks), count


def captures(most_bytes: int = 1000) -> list[bytes]:
    """What Fluent Bit sent, as recorded; the handshakes' PINGs taken off the front."""
    found = []
    for path in sorted(_WIRE.glob("*.c2s.bin")):
        data = path.read_bytes()
        if data[1:6] == b"\xa4PING":
            unpacker = msgpack.Unpacker()
            unpacker.feed(data)
            unpacker.skip()
            data = data[unpacker.tell() :]
        if 0 < len(data) <= most_bytes:
            found.append(data)
    return found


def frames() -> list[bytes]:
    """A frame of each mode, with every kind of entry in it and every option that means something."""
    body = b"".join(ENTRIES)
    plain = b"".join(ENTRIES[:4])
    option = b"\x82\xa5chunk\xa4Zm9v\xa4size\4"

    def packed(payload: bytes, option: bytes) -> bytes:
        return b"\x93\xa1t" + bytes(msgpack.packb(payload)) + option

    return [
        b"\xc0",
        b"\x93\xa1t\5\x81\xa1k\1",
        b"\x94\xa1t" + _TIME + b"\x81\xa3log\xa2hi\x82\xa5chunk\xa1x\xa8metadata\x81\xa1a\1",
        b"\x94\xc4\1t\xcb\x41\xd9\x54\xfc\x40\0\0\0\x80\xc0",
        b"\x92\xa3app" + bytes([0x90 | len(ENTRIES)]) + body,
        b"\x93\xa3app\xdc\0\4" + plain + option,
        b"\x93\xd9\3app\xdd\0\0\0\4" + plain + option,
        packed(body, option),
        b"\x92\xa1t\xdb" + len(plain).to_bytes(4, "big") + plain,
        packed(gzip.compress(plain, mtime=0), b"\x81\xaacompressed\xa4gzip"),
        packed(gzip.compress(ENTRIES[0], mtime=0) + gzip.compress(ENTRIES[1], mtime=0), option),
        packed(zstandard.compress(plain), b"\x82\xaacompressed\xa4zstd\xa5chunk\xa2id"),
        packed(b"\xc1garbage", option),
        packed(b"\x92", b"\x81\xadfluent_signal\1"),
        b"\x93\xa1t\x90\x82\7\x08\xa5chunk\xa1x",
    ]
