"""What the loki sink pushes, and what it makes of Loki's answers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import ConfigError, DeliveryError
from logllm.sinks.http_sink import HttpSink
from logllm.sinks.json_value import value_at
from logllm.sinks.loki import LokiSinkConfig
from logllm.sinks.loki_encode import Encoder, Streams
from logllm.sinks.parcel import Parcel
from tests.sinks.forward_parts import parcel
from tests.sinks.odd_blocks import OddBlocks
from tests.sinks.receivers import CUT_AFTER_TAKING, HANG, Answer, Got, Line, LokiReceiver, MemoryLedger, refusing

NOW_NS = 1_800_000_000_000_000_000
START_S = 1_700_000_000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def of(*records: dict[Any, Any], tag: str = "app.web", metadata: object = None, time: object = None) -> Parcel:
    """A second apart from each other."""
    entries = []
    for number, record in enumerate(records):
        when = time or msgpack.ExtType(0, struct.pack(">II", START_S + number, 5))
        entries.append(msgpack.packb([when if metadata is None else [when, metadata], record]))
    return Parcel(tag, b"".join(entries), len(entries), (b"key",))


def sink_for(receiver: LokiReceiver, ledger: MemoryLedger | None = None, **options: Any) -> HttpSink:
    config = LokiSinkConfig(receiver.url, **options)
    return config.build(ledger or MemoryLedger(), now_ns=lambda: NOW_NS)


def pushed(*parcels: Parcel, **options: Any) -> list[Line]:
    with LokiReceiver() as receiver:
        sink = sink_for(receiver, **options)
        assert sink.write(parcels) == len(parcels)
    return receiver.pushed


def labels(**said: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({"job": "logllm", **said}.items()))


def test_a_record_is_a_line_of_json_in_the_stream_of_its_service_severity_and_tag() -> None:
    record = {"log": 'say "hi"\n', "level": "warning", "app": "cart", "status": 200, "user": {"name": "José"}}

    (line,) = pushed(of(record))

    assert line.labels == labels(service="cart", severity="warn", tag="app.web")
    assert line.time_ns == START_S * 10**9 + 5
    assert json.loads(line.text) == record
    assert " " not in line.text.replace('say \\"hi', "").replace("\\n", "")


def test_the_receiver_is_shown_its_tenant_and_json_that_is_compressed() -> None:
    with LokiReceiver() as receiver:
        sink_for(receiver, tenant="shop").write([parcel("a")])

    (got,) = receiver.got
    assert got.path == "/loki/api/v1/push"
    assert (got.headers["x-scope-orgid"], got.headers["content-encoding"]) == ("shop", "gzip")


def test_lines_can_be_the_message_alone_and_the_record_where_there_is_none() -> None:
    lines = pushed(of({"log": "hi", "status": 1}, {"status": 2}, {"message": b"bytes \xff"}), line_format="message")

    assert [line.text for line in lines] == ["hi", '{"status":2}', "bytes \ufffd"]


def test_trace_ids_go_along_where_that_is_wanted() -> None:
    record = {"log": "x", "trace_id": TRACE, "span_id": SPAN}

    (without,) = pushed(of(record))
    bare, traced = pushed(of({"log": "y"}, record), structured_metadata=True)

    assert without.metadata == bare.metadata == ()
    assert dict(traced.metadata) == {"trace_id": TRACE, "span_id": SPAN}


def test_metadata_is_a_field_of_the_line_and_a_record_without_a_time_has_that_of_now() -> None:
    first, empty = pushed(of({"log": "x"}, {}, metadata={"otlp": {"severity_number": 17}}))
    (odd,) = pushed(of({"log": "x"}, time="yesterday"))

    assert json.loads(first.text) == {"log": "x", "_metadata": {"otlp": {"severity_number": 17}}}
    assert json.loads(empty.text) == {"_metadata": {"otlp": {"severity_number": 17}}}
    assert (odd.time_ns, odd.text) == (NOW_NS, '{"log":"x"}')


def test_lines_of_a_stream_stand_in_the_order_of_their_times() -> None:
    late, early = of({"n": 1}, {"n": 2}, {"n": 3}), of({"n": 4}, time=msgpack.ExtType(0, struct.pack(">II", 7, 0)))

    lines = pushed(late, early)

    assert [json.loads(line.text)["n"] for line in lines] == [4, 1, 2, 3]


def test_labels_can_be_fields_and_those_that_say_nothing_are_left_out() -> None:
    record = {"log": "x", "http.status": 500, "2xx": True, "deep": {"a": 1}, "empty": ""}

    (line,) = pushed(
        of(record), labels={"env": "prod"}, label_keys=["http.status", "2xx", "deep", "empty", "absent", "severity"]
    )

    assert dict(line.labels) == {"env": "prod", "http_status": "500", "_2xx": "True"}


def test_a_long_value_is_cut_to_what_loki_takes() -> None:
    (line,) = pushed(of({"log": "x", "app": "a" * 5000}), label_keys=["app"])

    assert dict(line.labels)["app"] == "a" * 256


def test_streams_are_bounded_and_what_is_beyond_goes_to_one_that_is_other() -> None:
    records = [{"log": "x", "app": f"app-{n % 50}", "level": "error"} for n in range(200)]
    with LokiReceiver() as receiver:
        sink = sink_for(receiver, most_streams=10)
        sink.write([of(*records)])
        sink.write([of({"log": "y", "app": "app-3", "level": "error"})])

    streams = {line.labels for line in receiver.pushed}
    assert len(receiver.pushed) == 201
    assert len(streams) == 11
    assert labels(service="other", severity="error", tag="other") in streams
    assert receiver.pushed[-1].labels == labels(service="app-3", severity="error", tag="app.web")


def test_a_stream_that_is_not_used_makes_room_after_an_hour() -> None:
    now_s = [0.0]
    streams = Streams({"job": "x"}, ["service"], 2, lambda: now_s[0])
    first, second = streams.of(("a",), 0.0), streams.of(("b",), 0.0)

    full = streams.of(("c",), 10.0)
    streams.of(("b",), 3000.0)
    free = streams.of(("c",), 3700.0)

    assert [json.loads(each)["service"] for each in (first, second, full, free)] == ["a", "b", "other", "c"]
    assert streams.others == 1
    assert streams.of(("b",), 3700.0) == second


@pytest.mark.parametrize("seed", range(60))
def test_whatever_a_record_holds_the_push_is_json_with_a_line_for_each(seed: int) -> None:
    blocks = OddBlocks(seed)
    entries = blocks.entries()
    config = LokiSinkConfig("http://h")
    streams = Streams(config.labels, config.label_keys, 100, lambda: 0.0)
    encoder = Encoder(
        streams, config.label_keys, as_message=seed % 2 == 0, with_trace=True, now_ns=lambda: NOW_NS, clock=lambda: 0.0
    )

    made = encoder.records(Parcel("a\udcff", b"".join(entries), len(entries)))
    said = json.loads(encoder.body(made))

    values = [value for stream in said["streams"] for value in stream["values"]]
    assert len(values) == len(entries)
    assert all(int(time) > 0 and isinstance(text, str) for time, text, *_ in values)


@pytest.mark.parametrize("depth", [20, 400, 3000])
def test_what_nests_deeply_is_a_line_too(depth: int) -> None:
    record = b"\x81\xa1a" + b"\x91" * depth + b"\x01"
    entries = [b"\x92\x92\x01\x81\xa1m\x01" + record, b"\x92\x01" + record]

    lines = pushed(Parcel("t", b"".join(entries), 2))

    text, _ = value_at(record, 0)
    assert lines[1].text == text
    assert text[:-1] in lines[0].text


def test_equal_lines_that_come_twice_are_there_once() -> None:
    ledger = MemoryLedger()
    with LokiReceiver(CUT_AFTER_TAKING) as receiver:
        sink = sink_for(receiver, ledger)
        with pytest.raises(DeliveryError):
            sink.write([of({"log": "a"}, {"log": "b"})])
        before = list(ledger.keys)
        sink.write([of({"log": "a"}, {"log": "b"})])

    assert (before, ledger.keys) == ([], [b"key"])
    assert len(receiver.pushed) == 4
    assert [json.loads(line.text)["log"] for line in receiver.lines] == ["a", "b"]


@pytest.mark.parametrize(
    "answer", [Answer(429, b"ingestion rate limit"), Answer(500), Answer(503), Answer(401, b"no org id"), HANG]
)
def test_what_loki_cannot_take_now_goes_again(answer: Answer) -> None:
    with LokiReceiver(answer) as receiver:
        sink = sink_for(receiver, deadline_s=0.3)
        with pytest.raises(DeliveryError):
            sink.write([of({"log": "a"})])
        done = sink.write([of({"log": "a"})])

    assert (done, len(receiver.lines)) == (1, 1)


def test_lines_that_are_too_old_are_kept_here_and_the_rest_is_pushed(tmp_path: Path) -> None:
    with LokiReceiver(after=refusing(b"too-old", taken=204)) as receiver:
        sink = sink_for(receiver, MemoryLedger(tmp_path / "loki.ledger"))
        done = sink.write([of({"log": "a"}, {"log": "too-old"}, {"log": "c"})])
        sink.close()

    assert (done, sink.refused) == (1, 1)
    assert sorted(json.loads(line.text)["log"] for line in receiver.lines) == ["a", "c"]
    assert "too-old" in (tmp_path / "loki.refused.ndjson").read_text()


def test_a_line_that_is_refused_alone_is_judged_by_whether_loki_reads_us(tmp_path: Path) -> None:
    def as_loki(got: Got) -> Answer:
        empty = not json.loads(got.body)["streams"]
        return (
            Answer(422, b"error at least one valid stream is required for ingestion") if empty else Answer(400, b"old")
        )

    with LokiReceiver(after=as_loki) as receiver:
        sink = sink_for(receiver, MemoryLedger(tmp_path / "loki.ledger"))
        done = sink.write([of({"log": "a"})])
        sink.close()

    assert (done, sink.refused, len(receiver.got)) == (1, 1, 2)


@pytest.mark.parametrize(("options", "wrong"), [
    ({"labels": {}}, "`labels`: expected one at least"),
    ({"labels": {"job": ""}}, "a value for each"),
    ({"labels": {"a-b": "x"}}, "label 'a-b'"),
    ({"labels": {"__name__": "x"}}, "label '__name__'"),
    ({"labels": {"tag": "x"}}, "label 'tag' is there twice"),
    ({"label_keys": ["a.b", "a_b"]}, "label 'a_b' is there twice"),
    ({"tenant": "a\nb"}, "header X-Scope-OrgID"),
])  # fmt: skip
def test_labels_that_loki_refuses_are_a_config_error(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"^sink loki:") as error:
        LokiSinkConfig("http://127.0.0.1:3100", **options).check()

    assert wrong in str(error.value)


def test_a_path_in_the_address_is_taken_as_it_is() -> None:
    with LokiReceiver(Answer(204, takes=False)) as receiver:
        config = LokiSinkConfig(f"{receiver.url}/tenant/push?x=1")
        config.build(MemoryLedger()).write([parcel("a")])

    assert receiver.got[0].path == "/tenant/push?x=1"
