from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.filters.records import (
    entry,
    from_json,
    is_marker,
    join_entries,
    maps_of,
    pairs_of,
    raw_entries,
    split_entry,
    time_of,
    to_json,
)

INTS = st.integers(min_value=-(1 << 63), max_value=(1 << 64) - 1)
SCALARS = st.none() | st.booleans() | INTS | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
ODD_KEYS = {"7": "one", "null": "none", "true": "yes", "1.5": "half", "b": "bin"}
RECORDS = st.dictionaries(st.text(max_size=8), VALUES, max_size=20)


@given(RECORDS)
@settings(max_examples=100)
def test_a_record_comes_back_from_json_as_it_went(record: dict[str, Any]) -> None:
    packed = msgpack.packb(record)

    text = to_json(packed)

    assert json.loads(text) == record
    assert b"\0" not in text
    assert msgpack.unpackb(from_json(text)) == record


@given(RECORDS)
@settings(max_examples=50)
def test_the_slow_way_gives_what_the_fast_one_gives(record: dict[str, Any]) -> None:
    record.pop("odd", None)
    fast = to_json(msgpack.packb(record))

    # A value that has no form in JSON sends the whole record the slow way.
    slow = to_json(msgpack.packb({**record, "odd": b"bytes"}))

    rest = json.loads(slow)
    assert rest.pop("odd") == "bytes"
    assert rest == json.loads(fast)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"bin \xff", "bin \ufffd"),
        (msgpack.ExtType(7, b"\x01\xff"), "01ff"),
        (msgpack.ExtType(0, b"\0\0\0\x05\0\0\0\x06"), "0000000500000006"),
        (msgpack.Timestamp(5, 6), "0000001800000005"),
        (math.nan, None),
        (-math.inf, None),
        ([b"x", {"y": b"z"}], ["x", {"y": "z"}]),
        ({7: "one", None: "none", True: "yes", 1.5: "half", b"b": "bin"}, ODD_KEYS),
        ("nul \0 in it", "nul \0 in it"),
        ("x" * 70_000, "x" * 70_000),
    ],
)
def test_what_json_has_no_form_for_is_shown_as_text(value: object, shown: object) -> None:
    text = to_json(msgpack.packb({"v": value}))

    assert json.loads(text) == {"v": shown}


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (b"\x81\xa2\xff\xfe\xa1\xff", '{"\ufffd\ufffd":"\ufffd"}'),
        (b"\x81\x92\x01\x02\x03", '{"[1,2]":3}'),
        (b"\x81\x81\x01\x02\x03", '{"{\\"1\\":2}":3}'),
        (b"\x82\xa1a\x01\xa1a\x02", '{"a":2}'),
        (b"\xde\x00\x01\xa1a\x01", '{"a":1}'),
        (b"\x80", "{}"),
        (b"\x81\xa1\xc3\x28\x01", None),
    ],
)
def test_broken_text_and_odd_keys_become_json_all_the_same(record: bytes, text: str | None) -> None:
    if text is None:
        with pytest.raises(ValueError, match="no msgpack map"):
            to_json(record)
    else:
        assert to_json(record).decode() == text


@pytest.mark.parametrize(
    ("text", "record"),
    [
        (b'{"i":10,"f":10.0,"e":1e3}', {"i": 10, "f": 10.0, "e": 1000.0}),
        (b'{"a":18446744073709551615,"b":-9223372036854775808}', {"a": (1 << 64) - 1, "b": -(1 << 63)}),
        (b'{"a":18446744073709551616,"b":[-9223372036854775809]}', {"a": 2.0**64, "b": [-(2.0**63)]}),
        (b'{"a":"\xff\\u00e9"}', {"a": "\ufffd\u00e9"}),
        (b'{"a":"\\ud83d","b":"\\ud83d\\ude00"}', {"a": "\ufffd", "b": "\U0001f600"}),
        (b'{"a":1e999,"b":-1e999}', {"a": math.inf, "b": -math.inf}),
        (b'{"a":' + b"9" * 400 + b"}", {"a": math.inf}),
        (b' \r\n{"a" : [ true , null ]}\t', {"a": [True, None]}),
        (b'{"a":"\\u0000"}', {"a": "\0"}),
        (b'{"a":1,"a":2}', {"a": 2}),
    ],
)
def test_an_object_becomes_a_map_with_its_types_kept(text: bytes, record: dict[str, object]) -> None:
    packed = from_json(text)

    found = msgpack.unpackb(packed)
    assert found == record
    assert {key: type(one) for key, one in found.items()} == {key: type(one) for key, one in record.items()}


@pytest.mark.parametrize(
    "text",
    [b"", b"1", b"[]", b'"x"', b"null", b"{", b'{"a":}', b'{"a":NaN}', b'{"a":1}x', b'{"a":1}{}', b"\xff", b"{1:2}"],
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        from_json(text)


@pytest.mark.parametrize("depth", [400, 930, 1_100, 100_000])
def test_deep_nesting_is_converted_or_refused_and_never_worse(depth: int) -> None:
    text = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    record = b"\x81\xa1a" + b"\x91" * depth + b"\x01"

    if depth == 930:  # whether it goes depends on how deep the caller is
        for convert, data in ((from_json, text), (to_json, record)):
            with suppress(ValueError):
                convert(data)
    elif depth < 500:
        assert from_json(text).startswith(b"\x81\xa1a\x91")
        assert to_json(record).startswith(b'{"a":[')
    else:
        with pytest.raises(ValueError):
            from_json(text)
        with pytest.raises(ValueError):
            from_json(text.replace(b"[]", b"[18446744073709551616]"))
        with pytest.raises(ValueError):
            to_json(record)


@given(st.binary(max_size=60))
@settings(max_examples=200)
def test_any_bytes_are_converted_or_refused(data: bytes) -> None:
    for convert in (to_json, from_json, split_entry):
        with suppress(ValueError):
            convert(data)
    for one in (b"\x92" + data, data):
        seconds, nanoseconds = time_of(one)
        assert isinstance(seconds, int)
        assert 0 <= nanoseconds < 1 << 32
    with suppress(ValueError):
        assert len(maps_of(data, 3)) == 3


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (b"\x07", (7, 0)),
        (b"\xff", (-1, 0)),
        (b"\xce\xff\xff\xff\xff", (0xFFFF_FFFF, 0)),
        (b"\xcb" + msgpack.packb(1_700_000_000.25)[1:], (1_700_000_000, 250_000_000)),
        (b"\xd7\x00\x00\x00\x00\x09\x00\x00\x00\x01", (9, 1)),
        (b"\xc7\x08\x00\xff\xff\xff\xfe\x00\x00\x00\x00", (0xFFFF_FFFE, 0)),
        (b"\xcb\x7f\xf8\0\0\0\0\0\0", (0, 0)),
        (b"\xa1x", (0, 0)),
    ],
)
@pytest.mark.parametrize("array", [b"\x92", b"\xdc\x00\x02", b"\xdd\x00\x00\x00\x02"])
@pytest.mark.parametrize("metadata", [None, b"\x81\xa1k\x01"])
def test_a_time_is_read_in_every_form(
    time: bytes, expected: tuple[int, int], array: bytes, metadata: bytes | None
) -> None:
    first = time if metadata is None else array + time + metadata
    whole = array + first + b"\x81\xa1a\x01"

    head, record = split_entry(whole)

    assert (head, record) == (array + first, b"\x81\xa1a\x01")
    assert time_of(head) == expected
    assert is_marker(first) is time.startswith(b"\xc7\x08\x00\xff\xff\xff\xfe")


def test_an_entry_holds_its_time_its_metadata_and_its_record() -> None:
    made = entry(1 << 32 | 5, 6, b"\x80", b"\x81\xa1m\x01")

    assert msgpack.unpackb(made) == [[msgpack.ExtType(0, b"\0\0\0\x05\0\0\0\x06"), {"m": 1}], {}]
    assert time_of(split_entry(made)[0]) == (5, 6)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_536])
def test_a_block_taken_apart_and_joined_is_the_same_block(count: int) -> None:
    block = b"".join(entry(number, 0, msgpack.packb({"n": number})) for number in range(count))

    assert join_entries(raw_entries(block, count)) == block
    assert join_entries([(time, record) for time, record in pairs_of(block, count)]) == block
    assert maps_of(block, count) == [{"n": number} for number in range(count)]


def test_one_odd_record_changes_nothing_for_its_neighbours() -> None:
    no_time = b"\xc7\x0c\xff\xff\xff\xff\xff" + bytes(8)
    odd = [b"\xc0", b"\x81\xa1a\xc4\x01b", b"\x81\xa1a" + no_time]
    block = b"".join(b"\x92\x01" + record for record in (b"\x81\xa1a\x01", *odd, b"\x81\xa1z\x02"))

    assert maps_of(block, 5) == [{"a": 1}, None, {"a": "b"}, None, {"z": 2}]


def test_a_count_that_is_not_the_blocks_is_refused() -> None:
    block = entry(1, 2, b"\x80")

    for read in (pairs_of, raw_entries, maps_of):
        for count in (0, 2):
            with pytest.raises(ValueError, match=f"no {count} entries"):
                read(block, count)


def test_a_number_too_large_for_msgpack_is_told_when_joined() -> None:
    with pytest.raises(OverflowError):
        join_entries([(msgspec.Raw(b"\x01"), {"n": 1 << 64})])
