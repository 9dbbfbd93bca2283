"""Blocks of entries to OpenTelemetry's protocol, read by its published classes."""

from __future__ import annotations

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from logllm.sinks.entries import opened, time_and_metadata
from logllm.sinks.otlp.encode import Encoder
from logllm.sinks.parcel import Parcel
from tests.fuzz.frames import ENTRIES, captures, let_in
from tests.fuzz.inputs import Choices
from tests.sources.odd_entries import Odd

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1500

_NOW_NS = 1_800_000_000_000_000_000
_TAGS = ("app.web", "", "é\ud800", "kube.var.log.containers.cart-7d9f_shop_cart-" + "0" * 64 + ".log", "a\0.log")
_ENCODER = Encoder(lambda: _NOW_NS)


def check(data: bytes) -> None:
    """Whatever the receiver lets through is a log record each, with a time, under a resource that has a service."""
    choices = Choices(data)
    tag = choices.one_of(_TAGS)
    as_messages = choices.below(4) == 3
    # Most blocks go through one encoder, which remembers what it has seen.
    encoder = Encoder(lambda: _NOW_NS) if choices.below(8) == 7 else _ENCODER
    block, count = let_in(choices.rest(), as_messages=as_messages)
    if not count:
        return
    made = encoder.records(Parcel(tag, block, count))
    body = encoder.body(made)
    assert encoder.records(Parcel(tag, block, count)) == made
    request = ExportLogsServiceRequest.FromString(body)
    whole = request.ByteSize()
    request.DiscardUnknownFields()
    assert request.ByteSize() == whole
    found = 0
    for resource in request.resource_logs:
        names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        assert names["service.name"]
        for scope in resource.scope_logs:
            assert scope.scope.name == "logllm"
            for record in scope.log_records:
                found += 1
                assert 0 <= record.time_unix_nano < 1 << 63
                assert record.observed_time_unix_nano
                assert 0 <= record.severity_number <= 24
                assert len(record.trace_id) in (0, 16)
                assert len(record.span_id) in (0, 8)
                assert record.HasField("body")
                keys = [pair.key for pair in record.attributes]
                assert len(set(keys)) == len(keys)
                assert "fluent.tag" in keys
    assert found == count == len(made)
    times = [time_and_metadata(bytes(head))[0] for head, _ in opened(block, count)]
    assert all(0 <= time_ns < 1 << 63 for time_ns in times)


def seeds() -> list[bytes]:
    """Entries of every kind, what OpenTelemetry's input puts into metadata, and such as nobody sends."""
    bodies = [b"".join(ENTRIES[:5]), b"".join(ENTRIES)]
    bodies += [capture[capture.find(b"\x92\x92") :] for capture in captures(600) if b"\x92\x92" in capture][:6]
    bodies += [b"".join(Odd(seed).entries())[:1200] for seed in range(20)]
    bodies += [Odd(seed).entry()[:1200] for seed in range(40)]
    bodies += [b"\x92\5\x81\xa1k" + around * 300 + b"\xc0" for around in (b"\x91", b"\x81\xa1k", b"\x81\5")]
    time = b"\xd7\0\x65\x53\xf1\0\0\0\0\7"
    said = b"\x81\xa4otlp\x84\xafseverity_number\x11\xa8trace_id\xc4\x10" + bytes(range(1, 17))
    said += b"\xa9timestamp\xcf\x17\x97\x9c\xfe\x36\x00\x00\x00\xaaattributes\x81\xa1a\x91\x01"
    bodies.append(b"\x92\x92" + time + said + b"\x82\xa3log\xa1x\xa1a\1")
    parent = b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"
    container = b"\xaakubernetes\x82\xa6labels\x81\xa3app\xa4cart\xa8pod_name\x91\1"
    known = b"\x83\xa5level\xa4WARN\xabtraceparent\xd9" + bytes([len(parent)]) + parent + container
    bodies.append(b"\x92" + time + known)
    found = [bytes([number % 5, 0, number % 8]) + body for number, body in enumerate(bodies)]
    return found + [bytes([number % 5, 3, 0]) + body[1:] for number, body in enumerate([*bodies[-20:], *ENTRIES])]
