"""Where each field of a record ends up in OpenTelemetry's log record and resource."""

from __future__ import annotations

import struct
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from logllm import __version__
from logllm.sinks.otlp.encode import Encoder
from logllm.sinks.parcel import Parcel
from tests.sinks.receivers import values_of

NOW_NS = 1_800_000_000_000_000_000
TIME = msgpack.ExtType(0, struct.pack(">II", 1_700_000_000, 123_456_789))
TIME_NS = 1_700_000_000_123_456_789
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def sent(
    *records: dict[Any, Any], tag: str = "app.web", metadata: dict[Any, Any] | None = None, time: object = TIME
) -> ExportLogsServiceRequest:
    entries = [msgpack.packb([[time, metadata or {}], record]) for record in records]
    encoder = Encoder(lambda: NOW_NS)
    made = encoder.records(Parcel(tag, b"".join(entries), len(entries)))
    request: ExportLogsServiceRequest = ExportLogsServiceRequest.FromString(encoder.body(made))
    return request


def one(record: dict[Any, Any], **more: Any) -> tuple[dict[str, object], LogRecord, dict[str, object]]:
    """The resource's attributes, the log record, its attributes."""
    (resource,) = sent(record, **more).resource_logs
    ((found,),) = (scope.log_records for scope in resource.scope_logs)
    return values_of(resource.resource.attributes), found, values_of(found.attributes)


def test_every_part_of_a_record_of_a_container_is_in_its_place() -> None:
    record = {
        "log": "payment failed\n",
        "stream": "stderr",
        "level": "ERROR",
        "status": 502,
        "took_s": 0.25,
        "retried": True,
        "next": None,
        "user": {"id": 7, "roles": ["a", "b"]},
        "traceparent": f"00-{TRACE}-{SPAN}-01",
        "kubernetes": {
            "pod_name": "payments-7d9f-x2x7q",
            "namespace_name": "shop",
            "pod_id": "8d0c2a44-1b1f-4a52-9f3c-444455556666",
            "labels": {"app": "payments", "tier": "back"},
            "annotations": {"checksum/config": "abc"},
            "host": "node-3",
            "container_name": "main",
            "docker_id": "0123456789ab",
            "container_image": "registry/payments:1.2",
            "container_hash": "registry/payments@sha256:12",
        },
    }

    resource, found, attributes = one(record, tag="kube.x")

    assert resource == {
        "service.name": "payments",
        "k8s.pod.name": "payments-7d9f-x2x7q",
        "k8s.namespace.name": "shop",
        "k8s.pod.uid": "8d0c2a44-1b1f-4a52-9f3c-444455556666",
        "k8s.pod.label.app": "payments",
        "k8s.pod.label.tier": "back",
        "k8s.pod.annotation.checksum/config": "abc",
        "k8s.node.name": "node-3",
        "host.name": "node-3",
        "k8s.container.name": "main",
        "container.id": "0123456789ab",
        "container.image.name": "registry/payments:1.2",
        "kubernetes.container_hash": "registry/payments@sha256:12",
    }
    assert (found.time_unix_nano, found.observed_time_unix_nano) == (TIME_NS, NOW_NS)
    assert found.body.string_value == "payment failed\n"
    assert (found.severity_number, found.severity_text) == (SeverityNumber.SEVERITY_NUMBER_ERROR, "ERROR")
    assert (found.trace_id.hex(), found.span_id.hex(), found.flags) == (TRACE, SPAN, 1)
    assert attributes == {
        "stream": "stderr",
        "status": 502,
        "took_s": 0.25,
        "retried": True,
        "next": None,
        "user": {"id": 7, "roles": ["a", "b"]},
        "fluent.tag": "kube.x",
    }


def test_the_scope_is_ours_and_records_of_one_resource_stand_together() -> None:
    request = sent({"log": "1", "app": "a"}, {"log": "2", "app": "b"}, {"log": "3", "app": "a"})

    groups = [
        (values_of(each.resource.attributes), [record.body.string_value for record in each.scope_logs[0].log_records])
        for each in request.resource_logs
    ]

    assert groups == [({"service.name": "a"}, ["1", "3"]), ({"service.name": "b"}, ["2"])]
    for each in request.resource_logs:
        assert (each.scope_logs[0].scope.name, each.scope_logs[0].scope.version) == ("logllm", __version__)


def test_a_record_without_a_message_is_its_own_body() -> None:
    _, found, attributes = one({"status": 200, "level": "warn", "in": {"a": [1]}})

    assert values_of(found.body.kvlist_value.values) == {"status": 200, "level": "warn", "in": {"a": [1]}}
    assert found.severity_number == SeverityNumber.SEVERITY_NUMBER_WARN
    assert attributes == {"fluent.tag": "app.web"}


def test_of_two_messages_the_better_one_is_the_body_and_the_other_stays() -> None:
    _, found, attributes = one({"log": '{"message":"hi"}', "message": "hi", "msg": {"a": 1}})

    assert found.body.string_value == "hi"
    assert attributes == {"log": '{"message":"hi"}', "msg": {"a": 1}, "fluent.tag": "app.web"}


@pytest.mark.parametrize(
    ("fields", "number", "text", "kept"),
    [
        ({"level": "Warning"}, 13, "Warning", {}),
        ({"severity": "notice"}, 9, "notice", {}),
        ({"levelname": "CRITICAL"}, 21, "CRITICAL", {}),
        ({"level": 50}, 17, "", {"level": 50}),
        ({"PRIORITY": "3"}, 17, "3", {}),
        ({"severity_number": 18}, 18, "", {"severity_number": 18}),
        ({"level": "nonsense", "severity": "info"}, 9, "info", {"level": "nonsense"}),
        ({"level": {"name": "ERROR", "no": 40}}, 17, "", {"level": {"name": "ERROR", "no": 40}}),
        ({"level": "nonsense"}, 0, "", {"level": "nonsense"}),
    ],
)
def test_levels_become_the_number_and_where_they_are_texts_the_text(
    fields: dict[str, Any], number: int, text: str, kept: dict[str, Any]
) -> None:
    _, found, attributes = one({"log": "x", **fields})

    assert (found.severity_number, found.severity_text) == (number, text)
    assert attributes == {**kept, "fluent.tag": "app.web"}


@pytest.mark.parametrize(
    ("fields", "trace", "span", "flags", "kept"),
    [
        ({"trace_id": TRACE, "span_id": SPAN}, TRACE, SPAN, 0, {}),
        ({"traceId": TRACE.upper(), "spanId": SPAN, "trace_flags": "01"}, TRACE, SPAN, 1, {}),
        ({"trace.id": TRACE}, TRACE, "", 0, {}),
        ({"TraceId": bytes.fromhex(TRACE), "SpanId": bytes.fromhex(SPAN)}, TRACE, SPAN, 0, {}),
        ({"trace_id": SPAN}, "0" * 16 + SPAN, "", 0, {}),
        ({"trace_id": "0" * 32}, "", "", 0, {"trace_id": "0" * 32}),
        ({"trace_id": TRACE[:-1]}, "", "", 0, {"trace_id": TRACE[:-1]}),
        ({"trace_id": "x" * 32}, "", "", 0, {"trace_id": "x" * 32}),
        ({"trace_id": "1 " * 16}, "", "", 0, {"trace_id": "1 " * 16}),
        ({"trace_id": 17, "span_id": None}, "", "", 0, {"trace_id": 17, "span_id": None}),
        ({"traceparent": f"ff-{TRACE}-{SPAN}-01"}, "", "", 0, {"traceparent": f"ff-{TRACE}-{SPAN}-01"}),
        ({"traceparent": f"cc-{TRACE}-{SPAN}-01-x"}, TRACE, SPAN, 1, {"traceparent": f"cc-{TRACE}-{SPAN}-01-x"}),
        ({"trace_id": TRACE, "trace_flags": 300}, TRACE, "", 0, {"trace_flags": 300}),
    ],
)
def test_trace_ids_are_bytes_and_what_is_no_id_stays_where_it_was(
    fields: dict[str, Any], trace: str, span: str, flags: int, kept: dict[str, Any]
) -> None:
    _, found, attributes = one({"log": "x", **fields})

    assert (found.trace_id.hex(), found.span_id.hex(), found.flags) == (trace, span, flags)
    assert attributes == {**kept, "fluent.tag": "app.web"}


_FULL = "kube.var.log.containers.cart-7d9f_shop_main-" + "ab" * 32 + ".log"


@pytest.mark.parametrize(
    ("fields", "tag", "resource", "kept"),
    [
        ({"service": "cart"}, "x", {"service.name": "cart"}, {}),
        ({"service": {"name": "cart", "v": 2}}, "x", {"service.name": "cart"}, {"service": {"name": "cart", "v": 2}}),
        ({"_SYSTEMD_UNIT": "ssh.service"}, "x", {"service.name": "ssh"}, {"_SYSTEMD_UNIT": "ssh.service"}),
        ({"hostname": "web-1"}, "app", {"service.name": "app", "host.name": "web-1"}, {}),
        ({"host": "shop.example.com"}, "app", {"service.name": "app"}, {"host": "shop.example.com"}),
        (
            {"container_name": "/cart-1", "container_id": "ab" * 32},
            "docker",
            {"service.name": "cart-1", "container.id": "ab" * 32, "container.name": "cart-1"},
            {},
        ),
        ({}, "", {"service.name": "unknown_service"}, {}),
        ({"kubernetes": "none"}, "app", {"service.name": "none"}, {}),
        ({"kubernetes": {}}, "app", {"service.name": "app"}, {}),
        (
            {},
            _FULL,
            {
                "service.name": "main",
                "k8s.pod.name": "cart-7d9f",
                "k8s.namespace.name": "shop",
                "k8s.container.name": "main",
                "container.id": "ab" * 32,
            },
            {},
        ),
    ],
)
def test_the_resource_is_read_from_what_there_is(
    fields: dict[str, Any], tag: str, resource: dict[str, Any], kept: dict[str, Any]
) -> None:
    found, _, attributes = one({"log": "x", **fields}, tag=tag)

    assert found == resource
    assert attributes == {**kept, "fluent.tag": tag}


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (1_700_000_000, 1_700_000_000 * 10**9),
        (1_700_000_000.5, 1_700_000_000_500_000_000),
        (-5, 0),
        (None, 0),
        (float("inf"), 0),
        (2**63, 0),
        (msgpack.ExtType(5, b"12345678"), 0),
        (msgpack.Timestamp(1_700_000_000, 7), 1_700_000_000_000_000_007),
    ],
)
def test_times_of_every_kind_are_nanoseconds_or_unknown(time: object, expected: int) -> None:
    _, found, _ = one({"log": "x"}, time=time)

    assert (found.time_unix_nano, found.observed_time_unix_nano) == (expected, NOW_NS)


def test_what_came_as_opentelemetry_goes_back_where_it_came_from() -> None:
    metadata = {
        "otlp": {
            "observed_timestamp": 1_700_000_001_000_000_001,
            "timestamp": 1_700_000_000_999_999_999,
            "severity_number": 19,
            "severity_text": "ERROR3",
            "attributes": {"http.status": 500, "status": "hidden"},
            "trace_id": bytes.fromhex(TRACE),
            "span_id": bytes.fromhex(SPAN),
            "trace_flags": 1,
        },
        "source": "gateway",
    }

    _, found, attributes = one({"log": "x", "level": "info", "status": 1, "trace_id": "1" * 32}, metadata=metadata)

    assert (found.time_unix_nano, found.observed_time_unix_nano) == (
        1_700_000_000_999_999_999,
        1_700_000_001_000_000_001,
    )
    assert (found.severity_number, found.severity_text) == (19, "ERROR3")
    assert (found.trace_id.hex(), found.span_id.hex(), found.flags) == (TRACE, SPAN, 1)
    assert attributes == {
        "level": "info",
        "status": 1,
        "trace_id": "1" * 32,
        "http.status": 500,
        "fluent.metadata": {"source": "gateway"},
        "fluent.tag": "app.web",
    }
    assert found.dropped_attributes_count == 1


@pytest.mark.parametrize(
    "otlp",
    [
        7,
        {},
        {"timestamp": "x", "severity_number": 99, "attributes": [1], "trace_id": b"short", "span_id": 7},
        {"severity_text": {}, "observed_timestamp": -1, "trace_flags": b""},
    ],
)
def test_metadata_that_is_none_of_that_changes_nothing(otlp: object) -> None:
    _, found, _ = one({"log": "x", "level": "info"}, metadata={"otlp": otlp})

    assert (found.time_unix_nano, found.observed_time_unix_nano) == (TIME_NS, NOW_NS)
    assert (found.severity_number, found.trace_id, found.span_id) == (9, b"", b"")


def test_a_tag_that_is_no_utf8_stops_nothing() -> None:
    resource, _, attributes = one({"log": "x"}, tag="app.\udcff")

    assert resource["service.name"] == "\ufffd" * 3
    assert attributes == {"fluent.tag": "app.\ufffd\ufffd\ufffd"}
