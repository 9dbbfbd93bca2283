"""Blocks to columns: every field name, every time, and against a slow obvious reader."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.events import Chunk, Columns, Severity
from logllm.sources.decode import Decoder
from logllm.sources.formats.line_format import EARLIEST_NS
from logllm.sources.forward.protocol import Received, Receiver

GOLDEN = Path(__file__).parents[1] / "golden" / "wire"
SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND


def event_time(seconds: int, nanoseconds: int = 0) -> msgpack.ExtType:
    return msgpack.ExtType(0, struct.pack(">II", seconds, nanoseconds))


def chunk_of(entries: list[Any], tag: str = "app.web") -> Chunk:
    block = b"".join(entry if isinstance(entry, bytes) else msgpack.packb(entry) for entry in entries)
    return Chunk(tag, len(entries), len(block), block=block)


def decode(*records: Any, tag: str = "app.web", decoder: Decoder | None = None) -> Columns:
    entries = [[[event_time(1_700_000_000 + i), {}], record] for i, record in enumerate(records)]
    return (decoder or Decoder()).decode(chunk_of(entries, tag), NOW)


def services(columns: Columns) -> list[str]:
    return [columns.service_names[code] for code in columns.service_codes]


@pytest.mark.parametrize("name", ["plain", "plain_legacy_entries", "metadata", "gzip", "message_dynamic_tag"])
def test_recorded_fluent_bit_chunks_decode_to_their_message_and_time(name: str) -> None:
    receiver = Receiver()
    receiver.feed((GOLDEN / f"{name}.c2s.bin").read_bytes())
    (received,) = (item for item in receiver.items() if isinstance(item, Received))

    columns = Decoder().decode(received.chunk, NOW)

    assert columns.messages == ["hello world"] * 3
    assert columns.time_ns.tolist() == [1_700_000_000_123_456_789] * 3
    assert columns.time_ns.dtype == np.int64
    assert columns.severity.dtype == np.uint8
    assert columns.service_codes.dtype == np.int32
    assert services(columns) == ["checkout" if "dynamic" in name else "web"] * 3


@pytest.mark.parametrize("key", ["log", "message", "msg", "MESSAGE", "body", "event", "short_message"])
def test_the_message_is_found_under_each_of_its_names(key: str) -> None:
    columns = decode({"first": 1, key: "the text", "last": 2})

    assert columns.messages == ["the text"]


def test_the_message_taken_out_of_a_raw_line_is_preferred_to_the_line() -> None:
    columns = decode({"log": '{"message": "boom", "level": "error"}', "message": "boom", "level": "error"})

    assert columns.messages == ["boom"]


@pytest.mark.parametrize(
    ("record", "severity"),
    [
        ({"level": "warning"}, Severity.WARN),
        ({"level": "E"}, Severity.ERROR),
        ({"severity": "CRITICAL"}, Severity.FATAL),
        ({"lvl": "dbg"}, Severity.DEBUG),
        ({"log.level": "info"}, Severity.INFO),
        ({"levelname": "ERROR"}, Severity.ERROR),
        ({"severity_text": "Trace"}, Severity.TRACE),
        ({"PRIORITY": "3"}, Severity.ERROR),
        ({"PRIORITY": 6}, Severity.INFO),
        ({"pri": "165"}, Severity.INFO),
        ({"severity_number": 13}, Severity.WARN),
        ({"level": 30}, Severity.INFO),
        ({"level": 50}, Severity.ERROR),
        ({"level": 4}, Severity.WARN),
        ({"levelno": 30}, Severity.WARN),
        ({"levelno": 10}, Severity.DEBUG),
        ({"levelno": 20}, Severity.INFO),
        ({"levelno": 40}, Severity.ERROR),
        ({"levelno": 50}, Severity.FATAL),
        ({"level": b"warn"}, Severity.WARN),
        ({"level": None, "severity": "error"}, Severity.ERROR),
        ({"level": {"name": "error", "value": 3}}, Severity.ERROR),
        ({"level": ["odd"]}, Severity.UNSPECIFIED),
        ({"level": "what"}, Severity.UNSPECIFIED),
        ({"level": -1}, Severity.UNSPECIFIED),
        ({"level": True}, Severity.UNSPECIFIED),
        ({}, Severity.UNSPECIFIED),
    ],
    ids=str,
)
def test_the_severity_is_read_in_each_dialect(record: dict[str, Any], severity: Severity) -> None:
    assert decode({"log": "x"} | record).severity.tolist() == [severity]
    # `log` as bytes takes the slow way, which must say the same.
    assert decode({"log": b"x"} | record).severity.tolist() == [severity]


@pytest.mark.parametrize(
    ("record", "service"),
    [
        ({"service": "cart"}, "cart"),
        ({"service.name": "cart"}, "cart"),
        ({"service": {"name": "cart"}}, "cart"),
        ({"app": "cart"}, "cart"),
        ({"kubernetes": {"labels": {"app.kubernetes.io/name": "cart"}, "container_name": "c"}}, "cart"),
        ({"kubernetes": {"labels": {"app": "cart"}}}, "cart"),
        ({"kubernetes": {"container_name": "cart", "labels": {"x": "y"}}}, "cart"),
        ({"kubernetes": "odd"}, "odd"),
        ({"container_name": "/cart"}, "cart"),
        ({"ident": "sshd"}, "sshd"),
        ({"SYSLOG_IDENTIFIER": "sshd"}, "sshd"),
        ({"_SYSTEMD_UNIT": "ssh.service"}, "ssh"),
        ({"service": None, "app": "cart"}, "cart"),
        ({"service": 7}, "web"),
        ({}, "web"),
    ],
    ids=str,
)
def test_the_service_is_read_under_each_of_its_names(record: dict[str, Any], service: str) -> None:
    assert services(decode({"log": "x"} | record)) == [service]
    assert services(decode({"log": b"x"} | record)) == [service]


@pytest.mark.parametrize("key", ["a\nb", 'say "hi"', "back\\slash", "\0", ""])
def test_a_field_with_any_name_is_passed_over(key: str) -> None:
    columns = decode({"log": "a", key: 1, "level": "error"}, {"log": "b"})

    assert columns.messages == ["a", "b"]
    assert columns.severity.tolist() == [Severity.ERROR, 0]


def test_a_kubernetes_tag_names_the_container() -> None:
    tag = "kube.var.log.containers.cart-7d9fc-x2x_shop_cart-main-" + "ab" * 32 + ".log"

    assert services(decode({"log": "x"}, tag=tag)) == ["cart-main"]


def test_records_of_different_shapes_in_one_block_keep_their_order_and_fields() -> None:
    columns = decode(
        {"log": "a"},
        {"msg": "b", "level": "error", "service": "x"},
        {"log": b"caf\xe9"},
        {"path": "/", "status": 500},
        {"log": "e\n", "level": "info"},
    )

    assert columns.messages == ["a", "b", "caf\ufffd", "path=/ status=500", "e"]
    assert columns.severity.tolist() == [0, 17, 0, 0, 9]
    assert services(columns) == ["web", "x", "web", "web", "web"]


def test_a_key_that_appears_later_is_not_missed() -> None:
    decoder = Decoder()

    first = decode({"log": "a"}, decoder=decoder)
    later = decode({"log": "b"}, {"log": "c", "level": "error"}, decoder=decoder)
    last = decode({"log": "d"}, decoder=decoder)

    assert [*first.messages, *later.messages, *last.messages] == ["a", "b", "c", "d"]
    assert later.severity.tolist() == [0, 17]


def test_ever_new_keys_do_not_make_ever_new_decoders() -> None:
    decoder = Decoder()

    for i in range(200):
        columns = decode({"log": "x", f"key{i}": i, "level": "warn"}, decoder=decoder)
        assert columns.messages == ["x"]
        assert columns.severity.tolist() == [13]

    assert len(decoder._shapes) < 80


def test_a_record_without_a_message_becomes_its_fields_in_order() -> None:
    columns = decode({"method": "GET", "status": 200, "ok": True, "in": {"ms": 1.5, "x": [1]}, "none": None})

    assert columns.messages == ["method=GET status=200 ok=True in.ms=1.5"]


def test_an_ecs_record_with_a_map_under_log_is_read() -> None:
    columns = decode({"message": "boom", "log": {"level": "error"}, "service": {"name": "cart"}})

    assert columns.messages == ["boom"]
    assert columns.severity.tolist() == [17]
    assert services(columns) == ["cart"]


def test_records_no_decoder_takes_are_kept_as_text() -> None:
    deep = b"\x92\x05\x81\xa3log" + b"\x91" * 900 + b"\xa4boom"
    map_key = b"\x92\x05\x82\x80\x01\xa3log\xa4boom"
    bad_key = b"\x92\x05\x82\xa1\xff\x01\xa3log\xa4boom"

    columns = Decoder().decode(chunk_of([deep, map_key, bad_key, [5, {"log": "fine"}]]), NOW)

    assert len(columns) == 4
    assert all("boom" in message for message in columns.messages[:3])
    assert columns.messages[2:] == ["boom", "fine"]


def test_nuls_and_line_ends_are_taken_off() -> None:
    columns = decode({"log": "a\0b\r\n"}, {"log": "two\nlines\n"}, {"log": "c"}, {"log": b"d\0\n"}, {"x": "\0"})

    assert columns.messages == ["ab", "two\nlines", "c", "d", "x="]


def test_an_empty_block_is_empty_columns() -> None:
    columns = Decoder().decode(chunk_of([]), NOW)

    assert len(columns) == 0
    assert columns.time_ns.shape == (0,)


def slow_time(head: Any, last: int | None) -> int:
    time = head[0] if type(head) is tuple else head  # an ExtType is a tuple as well
    if isinstance(time, msgpack.ExtType):
        seconds, nanoseconds = struct.unpack(">II", time.data)
        found = seconds * SECOND + nanoseconds
    else:
        found = int(time) * SECOND + int((time % 1) * 1e9)
    good = EARLIEST_NS <= found <= NOW + 86_400 * SECOND
    return found if good else NOW if last is None else last


def slow_message(record: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    scalars = {key: value for key, value in record.items() if not isinstance(value, list) and value is not None}
    told = next((text(scalars[key]) for key in ("message", "msg", "log") if key in scalars), None)
    if told is None:
        shown = {key: value for key, value in record.items() if key not in ("level", "app")}
        told = " ".join(f"{key}={text(value)}" for key, value in shown.items() if key in scalars)
        told = told or " ".join(str(value[0]) for value in shown.values() if isinstance(value, list))
    return told.replace("\0", "").rstrip("\r\n")


stamps = st.integers(0, 2**32 - 1) | st.builds(event_time, st.integers(0, 2**32 - 1), st.integers(0, SECOND - 1))
heads = stamps | st.tuples(stamps, st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2))
texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=20)
values = st.none() | texts | st.binary(max_size=5) | st.integers(0, 99) | st.just([1])
keys = st.sampled_from(["log", "message", "msg", "level", "app", "a", "b", "c"])
entries = st.lists(st.tuples(heads, st.dictionaries(keys, values, max_size=4)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(entries, min_size=1, max_size=4))
def test_the_bulk_decoder_agrees_with_a_slow_obvious_one(blocks: list[Any]) -> None:
    decoder, last = Decoder(), None

    for block in blocks:
        columns = decoder.decode(chunk_of(block), NOW)

        expected = []
        for head, _ in block:
            last = slow_time(head, last)
            expected.append(last)
        assert columns.time_ns.tolist() == expected
        assert columns.messages == [slow_message(record) for _, record in block]
        assert len(columns.severity) == len(columns.service_codes) == len(block)
        assert all(0 <= code < len(columns.service_names) for code in columns.service_codes)
        assert len(set(columns.service_names)) == len(columns.service_names)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=30)), max_size=5))
def test_whatever_the_receiver_lets_through_is_decoded_entry_by_entry(raw: list[tuple[bytes, bytes]]) -> None:
    payload = b"".join(b"\x92" + head + b"\x81\xa3log" + body for head, body in raw)
    receiver = Receiver()
    receiver.feed(b"\x92\xa1t" + msgpack.packb(payload))

    for item in receiver.items():
        if isinstance(item, Received):
            columns = Decoder().decode(item.chunk, NOW)
            assert len(columns) == item.chunk.count
            assert not any("\0" in message for message in columns.messages)
