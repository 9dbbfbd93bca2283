"""Times of entries: every form on the wire, and what stands in for those that cannot be."""

from __future__ import annotations

import struct
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.events import Chunk
from logllm.sources.decode import Decoder

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND


def event_time(seconds: int, nanoseconds: int = 0) -> msgpack.ExtType:
    return msgpack.ExtType(0, struct.pack(">II", seconds, nanoseconds))


def chunk_of(entries: list[Any], tag: str = "app.web") -> Chunk:
    block = b"".join(entry if isinstance(entry, bytes) else msgpack.packb(entry) for entry in entries)
    return Chunk(tag, len(entries), len(block), block=block)


T = 1_700_000_000


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (event_time(T, 5), T * SECOND + 5),
        ([event_time(T, 5), {}], T * SECOND + 5),
        ([event_time(T, 5), {"a": "b"}], T * SECOND + 5),
        (b"\xc7\x08\0" + struct.pack(">II", T, 5), T * SECOND + 5),
        (b"\xdd\0\0\0\2\xd7\0" + struct.pack(">II", T, 5) + b"\x80", T * SECOND + 5),
        (T, T * SECOND),
        (b"\xd3" + struct.pack(">q", T), T * SECOND),
        (b"\xcf" + struct.pack(">Q", T), T * SECOND),
        (b"\xd2" + struct.pack(">i", T), T * SECOND),
        ([T, {}], T * SECOND),
        (T + 0.5, T * SECOND + SECOND // 2),
        (b"\xca" + struct.pack(">f", 1.5e9), 1_500_000_000 * SECOND),
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 3])
def test_every_form_of_time_is_read(head: Any, expected: int, count: int) -> None:
    entry = b"\x92" + (head if isinstance(head, bytes) else msgpack.packb(head)) + msgpack.packb({"log": "x"})
    other = msgpack.packb([[event_time(1_600_000_000, 7), {"odd": 1}], {"log": "x"}])

    alone = Decoder().decode(chunk_of([entry] * count), NOW)
    mixed = Decoder().decode(chunk_of([entry, other, entry]), NOW)

    assert alone.time_ns.tolist() == [expected] * count
    assert mixed.time_ns.tolist() == [expected, 1_600_000_000 * SECOND + 7, expected]


@pytest.mark.parametrize(
    "head",
    [0, -5, 3.0, float("nan"), float("inf"), 2**63, event_time(0), event_time(4_294_967_295), "2024", None, [], {}],
    ids=str,
)
def test_a_time_that_cannot_be_is_the_last_one_seen_or_else_now(head: Any) -> None:
    decoder = Decoder()
    bad = [head, {"log": "x"}]

    first = decoder.decode(chunk_of([bad]), NOW)
    decoder.decode(chunk_of([[T, {"log": "x"}]]), NOW)
    between = decoder.decode(chunk_of([bad, [T + 5, {"log": "x"}], bad, bad]), NOW)
    other_tag = decoder.decode(chunk_of([bad], tag="other"), NOW + 1)

    assert first.time_ns.tolist() == [NOW]
    assert (between.time_ns // SECOND).tolist() == [T, T + 5, T + 5, T + 5]
    assert other_tag.time_ns.tolist() == [NOW + 1]


def test_without_a_clock_no_time_is_too_late() -> None:
    columns = Decoder().decode(chunk_of([[T, {"log": "x"}], [0, {"log": "x"}]]), 0)

    assert columns.time_ns.tolist() == [T * SECOND, T * SECOND]
