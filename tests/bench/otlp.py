"""What it costs to write records for an OTLP receiver and for Loki: `python -m tests.bench.otlp [ENTRIES]`.

CPU seconds of one thread for a million entries, beside what opentelemetry-proto's own classes take for the same
request in the same run, and what gzip takes for it. The classes are given objects that msgpack has made, and serialise
all of it at once. Each block is written once before it is measured, so that what is remembered of fields that repeat
is remembered; `never the same` has a field that never repeats.
"""

from __future__ import annotations

import gc
import gzip
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from logllm.fields import severity_of
from logllm.sinks import loki_encode
from logllm.sinks.loki import LokiSinkConfig
from logllm.sinks.otlp import encode
from logllm.sinks.parcel import Parcel
from tests.bench.ndjson import TAG, bare, blocks_of, in_kubernetes, unpacker_of, with_fields

ROUNDS = 3


def never_the_same(text: str, source: random.Random) -> dict[str, object]:
    """With an id that is another one in each record, and nested fields."""
    return {"log": text, "level": "info", "request": {"id": source.randbytes(8).hex(), "ms": source.random()}}


SHAPES = {
    "the line alone": bare,
    "four fields": with_fields,
    "kubernetes": in_kubernetes,
    "never the same": never_the_same,
}


def any_value(value: object) -> AnyValue:
    """As the classes have it."""
    match value:
        case str():
            return AnyValue(string_value=value)
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
        case list():
            return AnyValue(array_value=ArrayValue(values=[any_value(each) for each in value]))
    return AnyValue()


def pairs(fields: dict[str, object]) -> list[KeyValue]:
    """A map's fields."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in fields.items()]


def by_classes(block: bytes) -> bytes:
    """One resource, the message as the body, the level, and the other fields: less than the sink finds out."""
    now_ns = time.time_ns()
    records = []
    for (when, _), record in unpacker_of(block):
        text = record.pop("log")
        level = record.pop("level", None)
        record["fluent.tag"] = TAG
        seconds, rest = int.from_bytes(when.data[:4], "big"), int.from_bytes(when.data[4:], "big")
        records.append(
            LogRecord(
                time_unix_nano=seconds * 10**9 + rest,
                observed_time_unix_nano=now_ns,
                body=AnyValue(string_value=text),
                severity_text=level or "",
                severity_number=severity_of("level", level),  # type: ignore[arg-type]
                attributes=pairs(record),
            )
        )
    scope = ScopeLogs(scope=InstrumentationScope(name="logllm"), log_records=records)
    resource = Resource(attributes=pairs({"service.name": "web"}))
    request = ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=resource, scope_logs=[scope])])
    return bytes(request.SerializeToString())


def measure(block: bytes, count: int) -> dict[str, float]:
    """CPU seconds for each way through a block."""
    otlp = encode.Encoder(time.time_ns)
    config = LokiSinkConfig("http://127.0.0.1")
    streams = loki_encode.Streams(config.labels, config.label_keys, config.most_streams, time.monotonic)
    loki = loki_encode.Encoder(
        streams, config.label_keys, as_message=False, with_trace=False, now_ns=time.time_ns, clock=time.monotonic
    )
    parcel = Parcel(TAG, block, count)
    bodies = [each.body(each.records(parcel)) for each in (otlp, loki)]
    ways: dict[str, Callable[[], object]] = {
        "otlp": lambda: otlp.body(otlp.records(parcel)),
        "its classes": lambda: by_classes(block),
        "gzip": lambda: gzip.compress(bodies[0], 1),
        "loki": lambda: loki.body(loki.records(parcel)),
        "gzip ": lambda: gzip.compress(bodies[1], 1),
    }
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            gc.collect()
            begun = time.process_time()
            way()
            seconds[name].append(time.process_time() - begun)
    return {name: min(each) for name, each in seconds.items()}


def main(count: int = 50_000) -> None:
    """Print the figures."""
    names = ("otlp", "its classes", "gzip", "loki", "gzip ")
    print(f"{count:,} entries; CPU seconds per million")
    print(f"  {'':16}" + "".join(f"{name:>13}" for name in names))
    for name, shape in SHAPES.items():
        seconds: dict[str, float] = defaultdict(float)
        for block, entries in blocks_of(count, shape):
            for way, took in measure(block, entries).items():
                seconds[way] += took
        figures = "".join(f"{seconds[way] * 1e6 / count:13.2f}" for way in names)
        print(f"  {name:16}{figures}   the classes take {seconds['its classes'] / seconds['otlp']:.1f} times as long")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
