"""What no peer may do: every kind of garbage ends in one `ProtocolError` that says what came, and costs little."""

from __future__ import annotations

import gzip
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logllm.errors import ProtocolError
from logllm.sources.forward.entries import Fault
from logllm.sources.forward.protocol import Item, Limits, Received, Receiver, Skipped

GOLDEN = Path(__file__).parents[2] / "golden" / "wire"
ENTRY = msgpack.packb([5, {"log": "hi"}])


def packed(payload: bytes, **option: str) -> bytes:
    return b"\x93\xa1t" + bytes(msgpack.packb(payload)) + bytes(msgpack.packb(option))


def refused(data: bytes, limits: Limits = Limits()) -> str:  # noqa: B008 - frozen
    receiver = Receiver(limits=limits)
    receiver.feed(data)
    with pytest.raises(ProtocolError) as caught:
        list(receiver.items())
    return str(caught.value)


GARBAGE = {
    "JSON": (b'["tag", 1, {}]', "got JSON (b'[\"tag\", 1, {}]'), expected a MessagePack array (at byte 0)"),
    "a JSON object": (b'{"log": "x"}\n', "got JSON"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "got an HTTP request (b'GET / HTTP/1.1"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "got a TLS handshake (this listener takes plain TCP)"),
    "text": (b"Nov 22 20:50:28 host app: hello\n", "got an integer (b'Nov 22 20:50:28"),
    "a map": (b"\x81\xa1a\x01", "got a map"),
    "a string": (b"\xa3abc", "got a string"),
    "the byte that is not MessagePack": (b"\xc1", "got the byte c1, which MessagePack never uses"),
    "that byte inside a frame": (b"\x93\xa1t\x05\x81\xa1k\xc1", "the byte c1, which MessagePack never uses"),
    "an empty array": (b"\x90", "got an array of 0 elements, expected 2 to 5"),
    "an array of one": (b"\x91\xa1t", "got an array of 1 elements, expected 2 to 5"),
    "an array of a million": (b"\xdd\x00\x10\x00\x00", "got an array of 1048576 elements, expected 2 to 5"),
    "tag as integer": (b"\x93\x01\x05\x80", "got an integer, expected a string as tag (at byte 1)"),
    "nil after the tag": (b"\x92\xa1t\xc0", "got nil, expected entries or a time (at byte 3)"),
    "a map after the tag": (b"\x92\xa1t\x80", "got a map, expected entries or a time (at byte 3)"),
    "Message without a record": (b"\x92\xa1t\x05", "got a tag and a time without a record"),
    "option as integer": (b"\x94\xa1t\x05\x80\x07", "got an integer as option, expected a map or nil"),
    "chunk id as integer": (b"\x94\xa1t\x05\x80\x81\xa5chunk\x07", "got an integer as chunk id, expected a string"),
    "unknown signal": (b"\x93\xa1t\x90\x81\xadfluent_signal\x09", "got fluent_signal 9, expected 0 (logs) to 4"),
    "signal as string": (b"\x93\xa1t\x90\x81\xadfluent_signal\xa1x", "got a string as fluent_signal"),
    "nesting": (b"\x93\xa1t\x05" + b"\x91" * 5000 + b"\xc0", "nested more than a thousand deep"),
    "a binary of 4 GB": (b"\x92\xa1t\xc6\xff\xff\xff\xff", "got a binary that declares a length of 4294967295"),
    "an array of 4 G entries": (b"\x92\xa1t\xdd\xff\xff\xff\xff", "got an array that declares a length of 4294967295"),
    "a tag of 4 GB": (b"\x92\xdb\xff\xff\xff\xff", "got a string that declares a length of 4294967295"),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_refused_with_what_came_and_what_was_expected(kind: str) -> None:
    data, message = GARBAGE[kind]

    assert message in refused(data)


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_refused_byte_by_byte_too(kind: str) -> None:
    receiver = Receiver()

    with pytest.raises(ProtocolError):  # noqa: PT012 - somewhere on the way
        for byte in GARBAGE[kind][0]:
            receiver.feed(bytes((byte,)))
            list(receiver.items())

    with pytest.raises(ProtocolError):
        list(receiver.items())


LINES = [msgpack.packb([5, {"log": f"line {number} {number * 7919 % 1000}"}]) for number in range(200)]
WHOLE = b"".join(LINES)
GZIP, ZSTD = gzip.compress(WHOLE), zstandard.compress(WHOLE)
ALL, SOME, NONE = "all", "some", "none"
DAMAGED = {
    "unknown compression": ("lz4", ENTRY, "payload is compressed, not with gzip or zstd", NONE),
    "no gzip": ("gzip", ENTRY, "payload is not gzip", NONE),
    "a byte changed": ("gzip", GZIP[:600] + bytes((GZIP[600] ^ 255,)) + GZIP[601:], "gzip payload is damaged", NONE),
    "a wrong checksum": ("gzip", GZIP[:-8] + b"\0" * 8, "gzip payload is damaged", NONE),
    "no checksum": ("gzip", GZIP[:-6], "gzip payload ends early", ALL),
    "half a gzip": ("gzip", GZIP[: len(GZIP) // 2], "gzip payload ends early", SOME),
    "nothing of a gzip": ("gzip", GZIP[:3], "gzip payload ends early", NONE),
    "a second member damaged": ("gzip", GZIP + GZIP[:-8] + b"\0" * 8, "gzip payload is damaged", ALL),
    "junk after gzip": ("gzip", GZIP + b"junk", "gzip payload is damaged", ALL),
    "no header": ("gzip", b"\x1f\x8b\x08\x00garbage....", "gzip payload is damaged", NONE),
    "no zstd": ("zstd", b"\x28\xb5\x2f\xfd\x00\x58\x07\x00\x00", "zstd payload is damaged", NONE),
    "zstd cut off": ("zstd", ZSTD[:-3], "zstd payload ends early", NONE),
    "a second zstd frame cut off": ("zstd", ZSTD + ZSTD[:9], "zstd payload ends early", ALL),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_of_a_damaged_payload_what_is_surely_whole_is_taken_and_the_payload_is_a_fault_so_that_it_is_acked(
    kind: str,
) -> None:
    compressed, data, reason, expected = DAMAGED[kind]
    receiver = Receiver()
    receiver.feed(packed(data, compressed=compressed, chunk="c") + packed(ENTRY))

    items = list(receiver.items())

    assert [item.fault for item in items if isinstance(item, Skipped)] == [Fault(data, reason)]
    assert [ack for item in items if not isinstance(item, Skipped) for ack in item.acks] == [b"c"]
    *taken, following = [item.chunk.block or b"" for item in items if isinstance(item, Received)]
    count = {ALL: len(LINES), NONE: 0}.get(expected, taken[0].count(b"line") if taken else 0)
    assert b"".join(taken) == b"".join(LINES[:count])
    assert expected != SOME or 0 < count < len(LINES)
    assert following == ENTRY


def bomb(kind: str) -> bytes:
    zeros = b"\0" * (50 << 20)
    return gzip.compress(zeros, 9) if kind == "gzip" else bytes(zstandard.compress(zeros))


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_is_refused_before_it_takes_the_memory(kind: str) -> None:
    frame = packed(bomb(kind))

    tracemalloc.start()
    message = refused(frame, Limits(inflated_bytes=6 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert f"{kind} payload of" in message
    assert "inflates to more than 6291456 bytes" in message
    assert peak < 40 << 20


def test_a_hundred_thousand_tiny_gzip_members_are_read_in_linear_time() -> None:
    member = zlib.compress(b"", 1, 31)
    started = time.process_time()

    message = refused(packed(member * 250_000))

    assert "more than 200000 members" in message
    assert time.process_time() - started < 20


def test_a_header_that_promises_gigabytes_allocates_nothing() -> None:
    tracemalloc.start()
    for header in (
        b"\x92\xa1t\xc6\xff\xff\xff\xff",
        b"\x93\xa1t\x05\xdf\xff\xff\xff\xff",
        b"\x93\xa1t\x91\xdb\x7f\0\0\0",
    ):
        receiver = Receiver()
        receiver.feed(header)
        try:
            list(receiver.items())
        except ProtocolError:
            continue
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 << 20


def test_a_frame_that_never_ends_is_refused_at_the_limit_and_not_before() -> None:
    limits = Limits(frame_bytes=100_000)
    fits = b"\x92\xa1t" + bytes(msgpack.packb(b"\x92\x05\x81\xa1k" + bytes(msgpack.packb("x" * 99_900))))
    receiver = Receiver(limits=limits)

    receiver.feed(fits)
    whole = list(receiver.items())
    receiver.feed(b"\x93\xa1t\x05\x82\xa1k\xda\xff\xff" + b"x" * 65_535)
    list(receiver.items())
    receiver.feed(b"\xa1j\xda\xff\xff" + b"x" * 60_000)

    assert isinstance(whole[0], Received)
    with pytest.raises(ProtocolError, match="got a frame of more than 100000 bytes, expected at most that"):
        list(receiver.items())


@pytest.mark.parametrize("step", [7, 1000, 1 << 20])
def test_the_frame_limit_does_not_depend_on_how_bytes_arrive(step: int) -> None:
    frame = b"\x92\xa1t" + bytes(msgpack.packb(ENTRY * 200))
    receiver = Receiver(limits=Limits(frame_bytes=len(frame) - 1))

    with pytest.raises(ProtocolError, match="expected at most"):  # noqa: PT012 - somewhere on the way
        for start in range(0, len(frame), step):
            receiver.feed(frame[start : start + step])
            list(receiver.items())


def test_small_frames_are_not_mistaken_for_a_large_one() -> None:
    frame = b"\x92\xa1t" + bytes(msgpack.packb(ENTRY))
    receiver = Receiver(limits=Limits(frame_bytes=len(frame)))

    receiver.feed(frame * 5000)

    assert sum(item.chunk.count for item in receiver.items() if isinstance(item, Received)) == 5000


def test_finding_the_end_of_a_large_frame_takes_time_linear_in_its_length() -> None:
    def seconds(count: int) -> float:
        entries = msgpack.packb([5, {"log": "x" * 100}]) * count
        frame = b"\x92\xa1t\xdd" + struct.pack(">I", count) + entries
        receiver = Receiver()
        started = time.process_time()
        for start in range(0, len(frame), 1448):
            receiver.feed(frame[start : start + 1448])
            list(receiver.items())
        return time.process_time() - started

    small = min(seconds(5_000) for _ in range(3))
    large = min(seconds(40_000) for _ in range(2))

    # Eight times the bytes; a scan from the start at each segment would take sixty-four times as long.
    assert large < 24 * small


def test_an_entry_nested_past_what_can_be_read_is_skipped_and_its_neighbours_stay() -> None:
    deep = b"\x92\x05\x81\xa1k" + b"\x91" * 1010 + b"\xc0"
    receiver = Receiver()
    receiver.feed(b"\x92\xa1t\x93" + ENTRY + deep + ENTRY)

    items = list(receiver.items())

    skipped = [item.fault for item in items if isinstance(item, Skipped)]
    assert [(fault.entry, fault.reason) for fault in skipped] == [(deep, "nested too deeply")]
    assert [item.chunk.block for item in items if isinstance(item, Received)] == [ENTRY * 2]


def read(data: bytes, step: int) -> list[Item]:
    receiver = Receiver(limits=Limits(frame_bytes=1 << 16, inflated_bytes=1 << 16))
    items: list[Item] = []
    for start in range(0, len(data), step):
        receiver.feed(data[start : start + step])
        try:
            items.extend(receiver.items())
        except ProtocolError:
            break
    return items


def check(items: list[Item]) -> None:
    for item in items:
        if isinstance(item, Received):
            unpacker = msgpack.Unpacker()
            unpacker.feed(item.chunk.block)
            for _ in range(item.chunk.count):
                assert unpacker.read_array_header() == 2
                unpacker.skip()
                for _ in range(unpacker.read_map_header()):
                    unpacker.skip()
                    unpacker.skip()
            assert unpacker.tell() == len(item.chunk.block or b"")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 50))
@example(b"\x92\xa1t\x91\x92\x05\xde\xff\xff", 3)
def test_any_bytes_give_records_that_are_records_or_a_protocol_error(data: bytes, step: int) -> None:
    check(read(data, step))
    check(read(b"\x92\xa1t" + data, step))
    check(read(packed(data), step))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(path.name for path in GOLDEN.glob("*.c2s.bin") if path.stat().st_size < 1000)),
    st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(1, 400),
)
def test_recorded_frames_with_bytes_changed_give_records_or_a_protocol_error(
    name: str, changes: list[tuple[int, int]], step: int
) -> None:
    data = bytearray((GOLDEN / name).read_bytes())
    for place, value in changes:
        data[place % len(data)] = value

    check(read(bytes(data), step))
