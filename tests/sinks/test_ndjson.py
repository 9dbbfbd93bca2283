"""Lines of JSON from blocks of entries: what they say, and that nothing a sender can think of makes them wrong."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from math import isfinite, isnan
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.sinks.ndjson import line_at, line_head, ndjson

EVENT_TIME = b"\xd7\0\x65\x53\xf1\0\0\0\0\7"
TIME = "1700000000.000000007"
HEAD = b"\x92\x92" + EVENT_TIME + b"\x80"

_SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.floats(width=32),
    st.text(max_size=40),
    st.binary(max_size=40),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=25,
)
_RECORDS = st.dictionaries(st.text(max_size=12) | st.sampled_from(["log", "a"]), _VALUES, max_size=8)


def packed(value: object) -> bytes:
    return bytes(msgpack.packb(value))


def said(value: Any) -> Any:
    """What reading the JSON of a value gives."""
    if isinstance(value, dict):
        return {key: said(one) for key, one in value.items()}
    if isinstance(value, msgpack.ExtType):
        return {"ext_type": value.code, "data": b64encode(value.data).decode()}
    if isinstance(value, list):
        return [said(one) for one in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def line(entry: bytes) -> str:
    """The only line of an entry, without what is the same in all of these tests."""
    text = ndjson("t", entry, 1).decode()
    assert text.endswith("}\n")
    assert text.startswith('{"tag":"t",')
    return text[len('{"tag":"t",') : -2]


def record(value: bytes) -> str:
    """How a value in a record is written."""
    text = line(HEAD + b"\x81\xa1v" + value)
    assert text.startswith(f'"time":"{TIME}","record":{{"v":')
    assert text.endswith("}")
    return text[len(f'"time":"{TIME}","record":{{"v":') : -1]


@given(st.lists(_RECORDS, max_size=5), st.text(max_size=20))
@settings(max_examples=150, deadline=None)
def test_every_record_can_be_read_back(records: list[dict[str, Any]], tag: str) -> None:
    block = b"".join(HEAD + packed(one) for one in records)

    lines = ndjson(tag, block, len(records)).split(b"\n")

    assert lines.pop() == b""
    assert [json.loads(one) for one in lines] == [{"tag": tag, "time": TIME, "record": said(one)} for one in records]


@given(_RECORDS)
@settings(max_examples=150, deadline=None)
def test_what_the_libraries_write_is_what_is_written_byte_by_byte(one: dict[str, Any]) -> None:
    entry = HEAD + packed(one)

    slowly, end = line_at(line_head("t"), entry, 0)

    assert (ndjson("t", entry, 1), end) == (slowly, len(entry))


@pytest.mark.parametrize(
    ("time", "written"),
    [
        (EVENT_TIME, TIME),
        (b"\xc7\x08" + EVENT_TIME[1:], TIME),
        (b"\xd7\0" + struct.pack(">II", 2**32 - 1, 999_999_999), "4294967295.999999999"),
        (b"\xd7\0" + struct.pack(">II", 1, 2_000_000_003), "3.000000003"),
        (packed(0), "0.000000000"),
        (packed(1_700_000_000), "1700000000.000000000"),
        (packed(-5), "-5.000000000"),
        (packed(2**64 - 1), "18446744073709551615.000000000"),
        (packed(1_700_000_000.25), "1700000000.250000000"),
        (packed(-1.25), "-1.250000000"),
        (b"\xca\x3f\xc0\0\0", "1.500000000"),
        (packed(msgpack.Timestamp(5, 0)), "5.000000000"),
        (packed(msgpack.Timestamp(2**33, 6)), "8589934592.000000006"),
        (packed(msgpack.Timestamp(-1, 500_000_000)), "-0.500000000"),
    ],
)
def test_a_time_is_seconds_with_nine_digits(time: bytes, written: str) -> None:
    alone = line(b"\x92" + time + b"\x80")
    with_metadata = line(b"\xdd\0\0\0\2\xdc\0\2" + time + b"\x80\x80")

    assert alone == with_metadata == f'"time":"{written}","record":{{}}'


@pytest.mark.parametrize(
    ("time", "written"),
    [
        (b"\xc0", "null"),
        (b"\xc3", "true"),
        (packed("10:15"), '"10:15"'),
        (packed(float("nan")), '"NaN"'),
        (packed([1]), "[1]"),
        (packed([1, 2, 3]), "[1,2,3]"),
        (packed({"a": 1}), '{"a":1}'),
        (b"\xd6\0abcd", '{"ext_type":0,"data":"YWJjZA=="}'),
        (b"\xd4\xff\1", '{"ext_type":-1,"data":"AQ=="}'),
    ],
)
def test_what_is_no_time_is_kept_beside_it(time: bytes, written: str) -> None:
    assert line(b"\x92" + time + b"\x80") == f'"time":"0.000000000","record":{{}},"odd_time":{written}'


@pytest.mark.parametrize(
    ("metadata", "written"),
    [(b"\x80", ""), (b"\xde\0\0", ""), (b"\xc0", ""), (packed({"a": {"b": 1}}), ',"metadata":{"a":{"b":1}}')],
)
def test_metadata_comes_last_where_there_is_some(metadata: bytes, written: str) -> None:
    assert line(b"\x92\x92" + EVENT_TIME + metadata + b"\x80") == f'"time":"{TIME}","record":{{}}{written}'


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (packed('"\\/\b\f\n\r\t\0\x1f\x7f\u2028é😀'), '"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\u2028é😀"'),
        (b"\xa6caf\xe9 \xff", '"caf\ufffd \ufffd"'),
        (b"\xa3\xf0\x9f\x98", '"\ufffd"'),
        (b"\xa3\xed\xa0\x80", '"\ufffd\ufffd\ufffd"'),
        (packed(b"caf\xe9"), '"Y2Fm6Q=="'),
        (packed(b"text"), '"dGV4dA=="'),
        (packed(2**64 - 1), "18446744073709551615"),
        (packed(-(2**63)), "-9223372036854775808"),
        (packed(1.0), "1.0"),
        (packed(-0.0), "-0.0"),
        (packed(1e16), "1e+16"),
        (packed(5e-324), "5e-324"),
        (b"\xca\x3d\xcc\xcc\xcd", "0.10000000149011612"),
        (packed(float("inf")), '"Infinity"'),
        (packed(-float("inf")), '"-Infinity"'),
        (packed(float("nan")), '"NaN"'),
        (b"\xc7\0\x05", '{"ext_type":5,"data":""}'),
        (b"\xd4\xff\1", '{"ext_type":-1,"data":"AQ=="}'),
        (packed([[], {}, [[1]], {"a": []}, 2]), '[[],{},[[1]],{"a":[]},2]'),
    ],
)
def test_a_value_is_written_as_promised(value: bytes, written: str) -> None:
    assert record(value) == written


@pytest.mark.parametrize(
    ("key", "written"),
    [
        (packed(1), '"1"'),
        (packed(-1.5), '"-1.5"'),
        (packed(float("nan")), '"NaN"'),
        (packed(None), '"null"'),
        (packed(True), '"true"'),
        (packed(b"caf\xe9\n"), '"caf\ufffd\\n"'),
        (packed([1, "a"]), '"[1,\\"a\\"]"'),
        (b"\xd4\5a", '"{\\"ext_type\\":5,\\"data\\":\\"YQ==\\"}"'),
        (b"\x81" + packed([1]) + b"\2", '"{\\"kQE=\\":2}"'),
    ],
)
def test_a_key_that_is_no_text_becomes_one(key: bytes, written: str) -> None:
    assert record(b"\x81" + key + b"\1") == f"{{{written}:1}}"


def test_a_key_that_comes_twice_stays_twice() -> None:
    assert record(b"\x83\xa1a\1\xa1b\2\xa1a\3") == '{"a":1,"b":2,"a":3}'


@pytest.mark.parametrize("depth", [50, 900, 20_000])
def test_nesting_has_no_end(depth: int) -> None:
    assert record(b"\x91" * depth + b"\1") == "[" * depth + "1" + "]" * depth
    assert record(b"\x81\1" * depth + b"\1") == '{"1":' * depth + "1" + "}" * depth


def test_maps_as_keys_of_maps_do_not_double_with_each_level() -> None:
    depth = 2000

    written = record(b"\x81" * depth + b"\1" * (depth + 1))

    assert len(written) < 4 * depth


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xc0",
        b"\x93\1\x80\x80",
        b"\x92\1\x90",
        b"\x92\1\xa0",
        b"\x92\1",
        b"\x92\1\x81\xa1a",
        b"\x92\1\x81\xa1a\xc1",
        b"\x92\1\x81\xa1a\xdd\xff\xff\xff\xff",
        b"\x92\1\x81\xa1a\xdb\xff\xff\xff\xff",
        b"\x92\1\x80\x92\1\x80",
        b"\x92\1\x80\xc0",
        HEAD,
        HEAD + b"\xd4\5a",
        b"\x92" + EVENT_TIME + b"\xc7\0\5",
        HEAD + b"\x81\xa1a\xcb\0\0",
        HEAD + b"\x81\xa1a\xc7",
    ],
)
def test_what_is_no_entry_or_one_too_many_is_refused(block: bytes) -> None:
    with pytest.raises(ValueError, match="block"):
        ndjson("t", block, 1)


def test_a_tag_with_surrogates_stops_nothing() -> None:
    assert ndjson("a\udcff", b"\x92\1\x80", 1) == '{"tag":"a\ufffd\ufffd\ufffd",'.encode() + (
        b'"time":"1.000000000","record":{}}\n'
    )
