"""Odd and usual frames of the forward protocol, what Fluent Bit's `in_forward` answers to each, and what logllm does.

Fluent Bit's answers were measured on 5.1.1, or read in its source where `read` says so. `docs/forward.md` has the
table, `test_forward_matrix.py` sends every frame to a server.
"""

from __future__ import annotations

import gzip
import struct
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]
import zstandard

__all__ = ["CASES", "Answer", "Case"]

_WIRE = Path(__file__).parents[2] / "golden" / "wire"


class Answer(NamedTuple):
    """What comes back for a frame, and what becomes of it.

    Attributes:
        records: Entries taken as records.
        acks: The chunk ids that are acknowledged, in their order.
        is_open: Whether the connection goes on.
        refused: Entries, or whole payloads, that are handed out as they came: logllm's dead letters.
    """

    records: int
    acks: tuple[bytes, ...] = ()
    is_open: bool = True
    refused: int = 0


class Case(NamedTuple):
    """A frame and both answers; `why` says what a difference is for.

    Attributes:
        read: Fluent Bit's answer was read in its source, not measured.
        ends: The sender shuts down its side behind the frame.
    """

    name: str
    frame: bytes
    theirs: Answer
    ours: Answer
    why: str = ""
    read: bool = False
    ends: bool = False


def pack(*values: Any) -> bytes:
    return b"".join(msgpack.packb(value) for value in values)


EVENT_TIME = msgpack.ExtType(0, struct.pack(">II", 1_700_000_000, 123_456_789))
V1, V2 = pack([EVENT_TIME, {"log": "a"}]), pack([[EVENT_TIME, {}], {"log": "b"}])
FLOAT = pack([1_700_000_000.5, {"log": "c"}])
START = pack([[msgpack.ExtType(0, b"\xff\xff\xff\xff\0\0\0\0"), {}], {"resource": {}}])
END = pack([[msgpack.ExtType(0, b"\xff\xff\xff\xfe\0\0\0\0"), {}], {}])
BAD = pack(["x", "no map"])
ID = {"chunk": "id"}
DEEP = b"\x92" + pack(EVENT_TIME) + b"\x81\xa1k" + b"\x91" * 200 + b"\xc0"
LOGS: dict[str, Any] = {"log": "a"}


def forward(*entries: bytes, option: Any = ID) -> bytes:
    return b"\x93" + pack("t") + bytes([0x90 | len(entries)]) + b"".join(entries) + pack(option)


def packed(payload: bytes, option: Any = ID) -> bytes:
    return b"\x93" + pack("t") + pack(payload) + pack(option)


def str32(payload: bytes) -> bytes:
    return b"\xdb" + struct.pack(">I", len(payload)) + payload


@cache
def bomb(mebibytes: int) -> bytes:
    return gzip.compress(b"\0" * (mebibytes << 20), 9, mtime=0)


DAMAGED = gzip.compress(V2)[:10] + b"\xff" * 8 + gzip.compress(V2)[18:]
CLOSED = Answer(0, is_open=False)
ACKED = (b"id",)
GZIP, ZSTD = ID | {"compressed": "gzip"}, ID | {"compressed": "zstd"}
ODD_TIME = "The record is what matters. A time that is none is replaced by the last good one of its tag."
POISON = "A frame that is never acknowledged comes again for ever. What is no record goes to the dead letters, counted."
LAX = "Nothing is in doubt, so nothing is lost for it."

CASES = (
    Case("Message, integer time", pack(["t", 1_700_000_000, LOGS]), Answer(1), Answer(1)),
    Case(
        "Message, EventTime as ext 8 (`c7 08 00`)", b"\x93\xa1t\xc7\x08\0" + EVENT_TIME.data + pack(LOGS), Answer(1),
        Answer(1),
    ),
    Case("Message, nil option (Docker 18)", pack(["t", 1_700_000_000, LOGS, None]), Answer(1), Answer(1)),
    Case("Message, five elements", pack(["t", 1_700_000_000, LOGS, {}, 1]), Answer(1), Answer(1)),
    Case("Message, float time", pack(["t", 1_700_000_000.5, LOGS]), CLOSED, Answer(1), LAX),
    Case("Message, negative time", pack(["t", -5, LOGS]), CLOSED, Answer(1), ODD_TIME),
    Case(
        "Message, EventTime with 1 000 000 000 ns",
        pack(["t", msgpack.ExtType(0, b"\x65\x53\xf1\0\x3b\x9a\xca\0"), LOGS]), CLOSED, Answer(1), LAX,
    ),
    Case(
        "Message with a chunk id, record is no map", pack(["t", 1_700_000_000, "text", ID]), CLOSED,
        Answer(0, ACKED, refused=1), POISON, read=True,
    ),
    Case("Message without a record", pack(["t", 1_700_000_000]), CLOSED, CLOSED, read=True),
    Case("Forward, entries `[time, record]`", forward(V1, V1), Answer(2, ACKED), Answer(2, ACKED)),
    Case("Forward, entries `[[time, metadata], record]`", forward(V2, V2), Answer(2, ACKED), Answer(2, ACKED)),
    Case("Forward, both forms and a float time", forward(V1, V2, FLOAT), Answer(3, ACKED), Answer(3, ACKED)),
    Case(
        "Forward, a bad entry in the middle", forward(V1, BAD, V2), Answer(1, is_open=False),
        Answer(2, ACKED, refused=1),
        "Fluent Bit takes what stands before it, closes, gets the chunk again and takes it again. " + POISON,
    ),
    Case("Forward, no entries", forward(), Answer(0, ACKED), Answer(0, ACKED)),
    Case(
        "Forward, wrong `size`", forward(V1, option=ID | {"size": 9}), Answer(1, ACKED), Answer(1, ACKED),
    ),
    Case("Forward, group markers", forward(START, V2, END), Answer(1, ACKED), Answer(1, ACKED)),
    Case("Packed, bin", packed(V1 + V2), Answer(2, ACKED), Answer(2, ACKED)),
    Case(
        "Packed, str 32, `compressed: text`, chunk id with a newline (Fluentd)",
        b"\x93\xa1t" + str32(V1 + V2) + pack({"size": 2, "compressed": "text", "chunk": "Zm9v\n"}),
        Answer(2, (b"Zm9v\n",)), Answer(2, (b"Zm9v\n",)),
    ),
    Case(
        "Packed, garbage", packed(b"\xc1garbage"), Answer(0, ACKED), Answer(0, ACKED, refused=1),
        "Fluent Bit acknowledges it and loses it without a word. Here it goes to the dead letters, counted.",
    ),
    Case(
        "Packed, last entry cut off", packed(V1 + V2[:-1]), Answer(1, ACKED), Answer(1, ACKED, refused=1),
        "Fluent Bit does not look into the payload. Here the rest goes to the dead letters, counted.", read=True,
    ),
    Case("Packed, nil option", packed(V1, None), CLOSED, Answer(1), "The other modes take it. " + LAX),
    Case("gzip", packed(gzip.compress(V2), GZIP), Answer(1, ACKED), Answer(1, ACKED)),
    Case(
        "gzip, two members", packed(gzip.compress(V2) + gzip.compress(V1), GZIP), Answer(2, ACKED), Answer(2, ACKED),
    ),
    Case("gzip that is not said to be", packed(gzip.compress(V2)), Answer(1, ACKED), Answer(1, ACKED)),
    Case(
        "gzip that is said to be text", packed(gzip.compress(V2), ID | {"compressed": "text"}), Answer(1, ACKED),
        Answer(1, ACKED), read=True,
    ),
    Case(
        "gzip, 6 bytes short (no checksum)", packed(gzip.compress(V2)[:-6], GZIP), Answer(1, ACKED),
        Answer(1, ACKED, refused=1),
        "What can be read is taken by both; here the payload also goes to the dead letters, since some of it may be "
        "missing.",
    ),
    Case("gzip, damaged in the middle", packed(DAMAGED, GZIP), CLOSED, Answer(0, ACKED, refused=1), POISON, read=True),
    Case("gzip that inflates to 50 MB", packed(bomb(50), GZIP), CLOSED, Answer(0, ACKED, refused=2), (
        "Their limit is 6 144 000 bytes, ours `max_inflated_bytes` (64 MiB). These are zeros, so no records; only the "
        "first 200 000 are looked at."
    )),
    Case("gzip that inflates to 70 MB", packed(bomb(70), GZIP), CLOSED, CLOSED, read=True),
    Case("zstd", packed(zstandard.compress(V2), ZSTD), Answer(1, ACKED), Answer(1, ACKED)),
    Case(
        "`compressed: gzip`, and the payload is none", packed(V1, GZIP), CLOSED, Answer(0, ACKED, refused=1), POISON,
        read=True,
    ),
    Case(
        "metrics, as Fluent Bit sends them", (_WIRE / "metrics.conn0.c2s.bin").read_bytes(), Answer(0), Answer(0),
        "Fluent Bit takes them in. Here they are counted, acknowledged and dropped: they are no logs.", read=True,
    ),
    Case("unknown signal (`fluent_signal` 9)", packed(V1, ID | {"fluent_signal": 9}), CLOSED, CLOSED),
    Case("nil", b"\xc0", CLOSED, Answer(0), "The specification's heartbeat; Fluentd passes over it too."),
    Case("JSON", b'["t", 1700000000, {"log": "a"}]', CLOSED, CLOSED, (
        "Refused with a line that says so; Fluentd takes it, from loggers that are set to it."
    )),
    Case("a map", pack({"log": "a"}), CLOSED, CLOSED),
    Case("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", CLOSED, CLOSED, read=True),
    Case("one element", pack(["t"]), CLOSED, CLOSED, read=True),
    Case("tag as bin", pack([b"t", 1_700_000_000, LOGS]), CLOSED, Answer(1), LAX),
    Case("tag as integer", pack([5, 1_700_000_000, LOGS]), CLOSED, CLOSED),
    Case(
        "chunk id as bin", pack(["t", 1_700_000_000, LOGS, {"chunk": b"id"}]), CLOSED, Answer(1, ACKED),
        LAX + " The ack has it as str.",
    ),
    Case("chunk id as integer", pack(["t", 1_700_000_000, LOGS, {"chunk": 7}]), CLOSED, CLOSED, read=True),
    Case("option as integer", pack(["t", 1_700_000_000, LOGS, 7]), CLOSED, CLOSED),
    Case("record nested 200 deep", forward(DEEP), CLOSED, Answer(1, ACKED), "It can be read, up to 1000 deep. " + LAX),
    Case(
        "two frames in one segment",
        forward(V1, option={"chunk": "one"}) + forward(V2, option={"chunk": "two"}),
        Answer(2, (b"one", b"two")), Answer(2, (b"one", b"two")),
    ),
    Case(
        "a frame cut off, then the end", forward(V1)[:-5], CLOSED, CLOSED, ends=True,
    ),
    Case(
        "nothing, then the end (Fluentd's heartbeat)", b"", CLOSED, CLOSED, read=True, ends=True,
    ),
    Case(
        "a binary that declares 33 MiB", b"\x92\xa1t\xc6" + struct.pack(">I", 33 << 20), CLOSED, CLOSED,
        "Theirs is refused once 6 144 000 bytes have come (`Buffer_Max_Size`), ours as soon as it says so "
        "(`max_frame_bytes`, 32 MiB).", read=True,
    ),
)  # fmt: skip
"""Every row of the table."""
