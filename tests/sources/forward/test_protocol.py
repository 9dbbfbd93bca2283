"""The receiving side of the forward protocol against recorded bytes, every shape of frame, and any way of cutting."""

from __future__ import annotations

import gzip
import io
import struct
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import ProtocolError
from logllm.sources.forward.entries import cut_entries
from logllm.sources.forward.protocol import Item, Notice, Received, Receiver, Skipped, ack_bytes
from tests.sources.odd_entries import FILLED, PLAIN

GOLDEN = Path(__file__).parents[2] / "golden" / "wire"
TIME = msgpack.ExtType(0, struct.pack(">II", 1_700_000_000, 123_456_789))
RECORD = {
    "log": "hello world", "n": 0, "u16": 300, "neg": -5, "pi": 3.25, "ok": True, "nil": None,
    "arr": [1, "a"], "map": {"k": "v"}, "utf8": "héllo ✓",
}  # fmt: skip
METADATA = {
    "metadata": {"trace_id": "abc123", "sev": 9},
    "message_dynamic_tag_meta_ack": {"trace_id": "abc123"},
}
FLUENT_BIT_CHUNK = b"pU8EZcxql8lv5X1+KIPo2w=="


def pack(*values: Any) -> bytes:
    return b"".join(msgpack.packb(value) for value in values)


def receive(data: bytes, cuts: tuple[int, ...] = ()) -> list[Item]:
    receiver = Receiver("peer")
    items: list[Item] = []
    for start, end in pairwise((0, *sorted(cuts), len(data))):
        receiver.feed(data[start:end])
        items += receiver.items()
    assert receiver.pending_bytes == 0
    return items


def chunks(items: list[Item]) -> list[Received]:
    return [item for item in items if isinstance(item, Received)]


def acks(items: list[Item]) -> list[bytes]:
    return [ack for item in items if not isinstance(item, Skipped) for ack in item.acks]


def entries(items: list[Item]) -> list[Any]:
    block = b"".join(item.chunk.block or b"" for item in chunks(items))
    found = list(msgpack.Unpacker(io.BytesIO(block), strict_map_key=False))
    assert len(found) == sum(item.chunk.count for item in chunks(items))
    return found


def capture(name: str) -> bytes:
    """A recorded stream, without the PING that a handshake would have taken."""
    data = (GOLDEN / f"{name}.c2s.bin").read_bytes()
    if data[1:6] == b"\xa4PING":
        unpacker = msgpack.Unpacker()
        unpacker.feed(data)
        unpacker.skip()
        data = data[unpacker.tell() :]
    return data


LOGS = {
    "ack": [FLUENT_BIT_CHUNK],
    "ack_closed_then_retry.conn0": [FLUENT_BIT_CHUNK],
    "ack_closed_then_retry.conn1": [FLUENT_BIT_CHUNK],
    "ack_gzip": [FLUENT_BIT_CHUNK],
    "ack_late": [FLUENT_BIT_CHUNK],
    "ack_wrong_then_retry.conn0": [FLUENT_BIT_CHUNK],
    "ack_wrong_then_retry.conn1": [FLUENT_BIT_CHUNK],
    "add_option": [],
    "empty_shared_key_userauth": [],
    "gzip": [],
    "gzip_legacy_entries": [],
    "message_dynamic_tag": [],
    "message_dynamic_tag_meta_ack": [b"IWCrkDOkDpcVkjX6lmVNOQ=="] * 3,
    "metadata": [],
    "metadata_dropped": [],
    "plain": [],
    "plain_legacy_entries": [],
    "send_options": [],
    "shared_key": [],
    "shared_key_bad_pong_worker1": [],
    "shared_key_userauth_ack": [FLUENT_BIT_CHUNK],
    "static_tag_override": [],
    "time_as_integer": [],
    "time_as_integer_ack": [FLUENT_BIT_CHUNK],
    "tls": [],
    "unix_socket": [],
}


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "byte by byte"])
def test_every_recorded_log_stream_gives_its_records_tags_times_and_chunk_ids(name: str, bytewise: bool) -> None:
    data = capture(name)

    items = receive(data, tuple(range(1, len(data))) if bytewise else ())

    tag = {"static_tag_override": "fixed.tag"}.get(name, "dyn.checkout" if "dynamic" in name else "app.web")
    record = {"log": "hello world", "svc": "checkout"} | RECORD if "dynamic" in name else RECORD
    assert {item.chunk.tag for item in chunks(items)} == {tag}
    found = entries(items)
    assert [body for _, body in found] == [record] * 3
    for head, _ in found:
        time, metadata = head if isinstance(head, list) else (head, {})
        assert time == (1_700_000_000 if "integer" in name else TIME)
        assert metadata == METADATA.get(name, {})
    assert acks(items) == LOGS[name]
    assert all(item.chunk.origin.peer == "peer" for item in chunks(items))


@pytest.mark.parametrize("name", ["ack", "ack_gzip", "time_as_integer_ack", "message_dynamic_tag_meta_ack"])
def test_the_acks_are_the_bytes_that_fluent_bit_took(name: str) -> None:
    items = receive(capture(name))

    sent = b"".join(ack_bytes(chunk_id) for chunk_id in acks(items))

    assert sent == (GOLDEN / f"{name}.s2c.bin").read_bytes()


@pytest.mark.parametrize("name", ["metrics.conn0", "metrics_gzip.conn0", "metrics_fluentd_compat.conn0"])
def test_metrics_are_counted_and_are_no_records(name: str) -> None:
    items = receive(capture(name))

    assert items == [Notice("metrics"), Notice("metrics")]


def test_a_handshake_nobody_asked_for_is_refused_by_name() -> None:
    receiver = Receiver()
    receiver.feed((GOLDEN / "shared_key.c2s.bin").read_bytes())

    with pytest.raises(ProtocolError, match="array of 6 elements"):
        list(receiver.items())


E1, E2 = pack([TIME, {"log": "a"}]), pack([[TIME, {}], {"log": "b"}])
FLOAT = pack([1.5, {"log": "c"}])
START = pack([[msgpack.ExtType(0, b"\xff\xff\xff\xff\0\0\0\0"), {}], {"resource": {}}])
END = pack([[msgpack.ExtType(0, b"\xff\xff\xff\xfe\0\0\0\0"), {}], {}])
BAD = pack(["x", "not a map"])
ID = {"chunk": "id"}


def forward(*parts: bytes, option: Any = ID) -> bytes:
    return b"\x93" + pack("t") + bytes([0x90 | len(parts)]) + b"".join(parts) + pack(option)


def packed(payload: bytes, option: Any = ID) -> bytes:
    return b"\x93" + pack("t") + pack(payload) + pack(option)


def str32(payload: bytes) -> bytes:
    return b"\xdb" + struct.pack(">I", len(payload)) + payload


# The frames of the notes' table of Fluent Bit's answers, with ours: records, acks. Where Fluent Bit closes the
# connection over one odd value we keep the records and count what is odd.
ROWS: dict[str, tuple[bytes, int, list[bytes]]] = {
    "Message, int time": (pack(["t", 5, {}]), 1, []),
    "Message, ext8 time": (b"\x93\xa1t\xc7\x08\0" + TIME.data + b"\x80", 1, []),
    "Message, nil option": (pack(["t", 5, {}, None]), 1, []),
    "Message, 5 elements": (pack(["t", 5, {}, {}, 1]), 1, []),
    "Message, float time": (pack(["t", 5.5, {}]), 1, []),
    "Message, negative time": (pack(["t", -5, {}]), 1, []),
    "Message, EventTime with 1e9 nanoseconds": (pack(["t", msgpack.ExtType(0, b"\0\0\0\1\x3b\x9a\xca\0"), {}]), 1, []),
    "Message, record is no map": (pack(["t", 5, "text", ID]), 0, [b"id"]),
    "Forward v1": (forward(E1, E1), 2, [b"id"]),
    "Forward v2": (forward(E2, E2), 2, [b"id"]),
    "Forward mixed": (forward(E1, E2, FLOAT), 3, [b"id"]),
    "Forward, a bad entry between good ones": (forward(E1, BAD, E2), 2, [b"id"]),
    "Forward, no entries": (forward(), 0, [b"id"]),
    "Forward, wrong size": (forward(E1, option={"size": 9, "chunk": "id"}), 1, [b"id"]),
    "Forward, group markers": (forward(START, E2, END), 1, [b"id"]),
    "Packed bin": (packed(E1 + E2), 2, [b"id"]),
    "Packed, wrong size": (packed(E1 + E2, {"size": 1}), 2, []),
    "Packed str32 with text and a newline in the id": (
        b"\x93\xa1t" + str32(E1 + E2) + pack({"size": 2, "compressed": "text", "chunk": "Zm9v\n"}), 2, [b"Zm9v\n"]),
    "Packed garbage": (packed(b"\xc1garbage"), 0, [b"id"]),
    "Packed, cut off at the end": (packed(E1 + E2[:-1]), 1, [b"id"]),
    "Packed, nil option": (packed(E1, None), 1, []),
    "Packed, two elements": (b"\x92\xa1t" + pack(E1), 1, []),
    "gzip": (packed(gzip.compress(E2), ID | {"compressed": "gzip"}), 1, [b"id"]),
    "gzip, two members": (packed(gzip.compress(E2) + gzip.compress(E1), {"compressed": "gzip"}), 2, []),
    "gzip, not said": (packed(gzip.compress(E2), {"size": 1}), 1, []),
    "gzip, called text": (packed(gzip.compress(E2), {"compressed": "text"}), 1, []),
    "zstd": (packed(zstandard.compress(E2), ID | {"compressed": "zstd"}), 1, [b"id"]),
    "zstd, two frames": (packed(zstandard.compress(E2) + zstandard.compress(E1), {"compressed": "zstd"}), 2, []),
    "nil": (b"\xc0", 0, []),
    "tag as bin": (pack([b"t", 5, {}]), 1, []),
    "chunk id as bin": (pack(["t", 5, {}, {"chunk": b"id"}]), 1, [b"id"]),
    "option with keys that are no strings": (pack(["t", 5, {}, {7: 8, "chunk": "id"}]), 1, [b"id"]),
    "nesting 200 deep": (forward(b"\x92\x05\x81\xa1k" + b"\x91" * 200 + b"\xc0"), 1, [b"id"]),
    "traces": (packed(b"\x92", ID | {"fluent_signal": 2}), 0, [b"id"]),
    "two frames, both with a chunk id": (
        forward(E1, option={"chunk": "one"}) + forward(E2, option={"chunk": "two"}), 2, [b"one", b"two"]),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_odd_frames_keep_their_records_and_get_their_ack(row: str) -> None:
    frame, count, expected = ROWS[row]

    items = receive(frame)

    assert sum(item.chunk.count for item in chunks(items)) == count
    assert len(entries(items)) == count
    assert acks(items) == expected


def test_bad_entries_are_handed_out_with_their_reason_and_the_rest_goes_on() -> None:
    items = receive(forward(E1, BAD, BAD, b"\x01", E2))

    faults = [(item.fault.entry, item.fault.reason, item.fault.count) for item in items if isinstance(item, Skipped)]
    assert faults == [(BAD + BAD, "record is not a map", 2), (b"\x01", "not an array of two", 1)]
    assert chunks(items)[0].chunk.block == E1 + E2


def test_group_markers_are_dropped_and_counted() -> None:
    items = receive(forward(START, E2, END))

    assert Notice("group_marker", 2) in items
    assert chunks(items)[0].chunk.block == E2


def test_bytes_inside_a_record_that_look_like_a_group_marker_stay() -> None:
    entry = pack([5, {"bin": b"\xd7\0\xff\xff\xff\xff\0\0\0\0"}])

    items = receive(forward(entry))

    assert chunks(items)[0].chunk.block == entry


def test_the_ack_echoes_ids_of_any_length_that_are_not_utf8_as_strings() -> None:
    for length in (0, 1, 31, 32, 255, 256, 65535):
        chunk_id = bytes(i % 256 for i in range(length))

        answer = msgpack.unpackb(ack_bytes(chunk_id), raw=True)

        assert answer == {b"ack": chunk_id}
        assert ack_bytes(chunk_id)[5] != 0xC4


def test_message_frames_that_arrive_together_become_one_chunk() -> None:
    frames = b"".join(pack(["a", i, {"log": str(i)}]) for i in range(100)) + pack(["b", 1, {}])

    items = chunks(receive(frames))

    assert [(item.chunk.tag, item.chunk.count, item.acks) for item in items] == [("a", 100, ()), ("b", 1, ())]
    assert items[0].chunk.size_bytes + items[1].chunk.size_bytes == len(frames)


def test_joined_message_frames_keep_an_ack_for_each_record_and_never_mix_with_such_without() -> None:
    frames = pack(["a", 1, {}, {"chunk": "x"}], ["a", 2, {}, {"chunk": "y"}], ["a", 3, {}])

    items = chunks(receive(frames))

    assert [(item.chunk.count, item.acks, item.chunk.origin.chunk_id) for item in items] == [
        (2, (b"x", b"y"), None),
        (1, (), None),
    ]


def test_frames_before_a_malformed_one_are_given_out_first() -> None:
    receiver = Receiver()
    receiver.feed(pack(["a", 1, {}]) + forward(E1) + pack("not a frame"))
    items: list[Item] = []

    with pytest.raises(ProtocolError, match=r"got a string .*expected a MessagePack array"):
        items.extend(iter(receiver.items()))

    assert [item.chunk.tag for item in chunks(items)] == ["a", "t"]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
records = st.dictionaries(st.text(), values, max_size=5)
times = st.integers(0, 2**32 - 1) | st.floats(0, 1e10) | st.just(TIME)
record_entries = st.lists(st.tuples(times | st.tuples(times, records), records), max_size=6)


class Sent(NamedTuple):
    """A stream of frames, and what a receiver must make of it."""

    data: bytes
    entries: list[tuple[str, bytes]]
    ids: list[bytes]
    heartbeats: int
    markers: int


@st.composite
def streams(draw: st.DrawFn) -> Sent:
    """Frames of all modes for two tags, heartbeats between them, group markers among the entries."""
    data, entries, ids, heartbeats, markers = b"", list[tuple[str, bytes]](), list[bytes](), 0, 0
    for _ in range(draw(st.integers(1, 6))):
        mode = draw(st.sampled_from(["forward", "packed", "gzip", "zstd", "message", "heartbeat"]))
        if mode == "heartbeat":
            data += b"\xc0"
            heartbeats += 1
            continue
        tag = draw(st.sampled_from(["t", "other.tag"]))
        chunk_id = draw(st.none() | st.binary(max_size=40))
        option: dict[str, Any] = draw(st.dictionaries(st.sampled_from(["x", "size"]), st.integers(0, 9)))
        option |= {} if chunk_id is None else {"chunk": chunk_id}
        ids += [] if chunk_id is None else [chunk_id]
        if mode == "message":
            time, metadata, record = draw(times), draw(st.none() | records), draw(records)
            data += b"\x94" + pack(tag, time, record, option if metadata is None else option | {"metadata": metadata})
            entries.append((tag, pack([time if metadata is None else [time, metadata], record])))
            continue
        # Large frames are read as they come, those that begin with an odd entry are not.
        parts = [PLAIN] * draw(st.sampled_from([0, 0, 0, FILLED]))
        for entry in draw(record_entries):
            whole = pack(entry)
            # Fluent Bit's legacy entries have this header.
            parts.append(draw(st.sampled_from([whole, b"\xdd\0\0\0\2" + whole[1:]])))
        parts[len(parts) // 2 : 0] = among = draw(st.lists(st.sampled_from([START, END]), max_size=2))
        markers += len(among)
        entries += [(tag, part) for part in parts if part not in (START, END)]
        body = b"".join(parts)
        if mode == "forward":
            data += b"\x93" + pack(tag) + b"\xdd" + struct.pack(">I", len(parts)) + body + pack(option)
        else:
            body = {"gzip": gzip.compress, "zstd": zstandard.compress}.get(mode, bytes)(body)  # type: ignore[operator]
            payload = draw(st.sampled_from([pack(body), str32(body)]))
            named = option | {"compressed": mode if mode != "packed" else "text"}
            data += b"\x93" + pack(tag) + payload + pack(named)
    return Sent(data, entries, ids, heartbeats, markers)


@settings(max_examples=150, deadline=None)
@given(streams(), st.data())
def test_any_way_of_cutting_any_frames_gives_exactly_the_records_that_were_sent(
    sent: Sent, data: st.DataObject
) -> None:
    cuts = tuple(data.draw(st.lists(st.integers(0, len(sent.data)), max_size=12)))

    items = receive(sent.data, cuts)

    found = [(item.chunk.tag, part) for item in chunks(items) for part in cut_entries(item.chunk.block or b"")]
    assert found == sent.entries
    assert sum(item.chunk.count for item in chunks(items)) == len(sent.entries)
    assert acks(items) == sent.ids
    noticed = Counter[str]()
    for item in items:
        assert not isinstance(item, Skipped)
        if isinstance(item, Notice):
            noticed[item.kind] += item.count
    assert (noticed["heartbeat"], noticed["group_marker"]) == (sent.heartbeats, sent.markers)
