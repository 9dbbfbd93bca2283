"""The bytes we write are those of the published classes, whatever a record holds."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from logllm.sinks.otlp import wire
from logllm.sinks.otlp.encode import Encoder
from logllm.sinks.parcel import Parcel
from tests.sinks.odd_blocks import OddBlocks
from tests.sinks.otlp_reference import Map, any_value, log_record, tree_at

NOW_NS = 1_800_000_000_000_000_000
START_S = 1_700_000_000
TIME = b"\xd7\0" + struct.pack(">II", START_S, 5)

_TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(["é", "\0", "\U0001f600", "x" * 300, "日本" * 80]))
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([2**63, 2**63 - 1, -(2**63), 127, 128, -1, 2**32]),
    st.floats(),
    _TEXTS,
    st.binary(max_size=40),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXTS, inner, max_size=4)),
    max_leaves=12,
)
_KEYS = st.one_of(_TEXTS, st.sampled_from(["log", "message", "level", "service", "status", "fluent.tag", "levelno"]))
RECORDS = st.dictionaries(_KEYS, _VALUES, max_size=8)


def sent(blocks: Iterable[bytes], tag: str = "app.web") -> list[LogRecord]:
    """What the classes read of our bytes, in order."""
    encoder = Encoder(lambda: NOW_NS)
    blocks = list(blocks)
    made = encoder.records(Parcel(tag, b"".join(blocks), len(blocks)))
    records = []
    for each in made:
        request = ExportLogsServiceRequest.FromString(encoder.body([each]))
        (resource,) = request.resource_logs
        (scope,) = resource.scope_logs
        records += scope.log_records
    whole = ExportLogsServiceRequest.FromString(encoder.body(made))
    size = whole.ByteSize()
    whole.DiscardUnknownFields()
    assert whole.ByteSize() == size
    return records


def assert_same(found: LogRecord, expected: LogRecord) -> None:
    """In the order of their names, which have none; as bytes, since NaN is not equal to itself."""
    for record in (found, expected):
        record.attributes.sort(key=lambda pair: pair.key)
        if record.body.HasField("kvlist_value"):
            record.body.kvlist_value.values.sort(key=lambda pair: pair.key)
    assert found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@given(RECORDS)
@example({"log": "hi", "fluent.tag": "spoofed"})
@example({"level": 30, "msg": "hi"})
@example({})
@settings(max_examples=300, deadline=None)
def test_any_record_is_what_the_published_classes_make_of_it(record: dict[str, Any]) -> None:
    packed = bytes(msgpack.packb(record, unicode_errors="surrogatepass"))
    tree, _ = tree_at(packed, 0, wire.DEEPEST + 1)
    assert isinstance(tree, Map)

    (found,) = sent([b"\x92\x92" + TIME + b"\x80" + packed])

    expected = log_record("app.web", START_S * 10**9 + 5, NOW_NS, tree)
    assert_same(found, expected)


@pytest.mark.parametrize("seed", range(150))
def test_odd_bytes_are_what_the_published_classes_make_of_them(seed: int) -> None:
    blocks = OddBlocks(seed)
    packed = [blocks.map(0) for _ in range(3)]
    trees = [tree_at(each, 0, wire.DEEPEST + 1)[0] for each in packed]

    found = sent(b"\x92" + TIME + each for each in packed)

    for record, tree in zip(found, trees, strict=True):
        assert isinstance(tree, Map)
        assert_same(record, log_record("app.web", START_S * 10**9 + 5, NOW_NS, tree))


@given(st.binary(max_size=60), st.text(max_size=5))
def test_texts_that_are_no_utf8_are_bytes_in_attributes_and_replaced_in_the_body(data: bytes, more: str) -> None:
    text = data + more.encode()
    packed = b"\xdb" + len(text).to_bytes(4, "big") + text
    (record,) = sent([b"\x92" + TIME + b"\x82\xa3log" + packed + b"\xa1a" + packed])

    attribute = next(pair.value for pair in record.attributes if pair.key == "a")

    assert record.body.string_value == text.decode("utf-8", "replace")
    assert (attribute.string_value.encode() or attribute.bytes_value) == text


@pytest.mark.parametrize("depth", [15, 16, 17, 40, 500, 3000])
@pytest.mark.parametrize(("around", "inside"), [(b"\x91", b"\x07"), (b"\x81\xa1k", b"\xa2hi")])
def test_what_nests_too_deeply_for_readers_of_protobuf_is_text_inside(depth: int, around: bytes, inside: bytes) -> None:
    packed = around * depth + inside

    found = AnyValue.FromString(wire.any_value(packed))

    assert found == any_value(tree_at(packed, 0)[0])
    (record,) = sent([b"\x92" + TIME + b"\x82\xa3log\xa2hi\xa1a" + packed])
    assert record.body.string_value == "hi"


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 16_383, 16_384, 2**32, 2**63 - 1])
def test_numbers_take_the_bytes_they_take_in_protobuf(number: int) -> None:
    expected = AnyValue(int_value=number).SerializeToString() if number else b"\x18\0"

    assert b"\x18" + wire.varint(number) == expected


@pytest.mark.parametrize("seed", range(30))
def test_damaged_blocks_end_in_a_value_error_or_in_records(seed: int) -> None:
    blocks = OddBlocks(seed)
    entries = blocks.entries()
    parcel = Parcel("a", blocks.damaged(b"".join(entries)), len(entries))
    encoder = Encoder(lambda: NOW_NS)

    made = []
    with contextlib.suppress(ValueError):
        made = encoder.records(parcel)

    ExportLogsServiceRequest.FromString(encoder.body(made))
