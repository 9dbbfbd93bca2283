"""What the otlp sink is to send, the slow and obvious way: entries as trees, log records as the published classes.

Of the resource it says only the service, and records that name hosts, containers or traces are not its business:
those have tests of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from logllm.fields import MESSAGE_KEYS, SERVICE_KEYS, SEVERITY_KEYS, service_of, severity_of
from logllm.sinks.json_value import head_at, number_at, signed, value_at

__all__ = ["Ext", "Map", "Text", "any_value", "log_record", "plain", "tree_at"]

_DEEPEST = 16


@dataclass
class Text:
    """A str, perhaps not of UTF-8."""

    data: bytes


@dataclass
class Ext:
    """An extension."""

    kind: int
    data: bytes


@dataclass
class Map:
    """Of keys that came twice the last value, in the place of the first."""

    fields: dict[str, object]
    packed: dict[str, bytes]


@dataclass
class Deep:
    """What nests too deeply, as it came."""

    packed: bytes


def tree_at(block: bytes, at: int, deepest: int = _DEEPEST) -> tuple[object, int]:
    """The value at a place, and where it ends."""
    kind, body, size = head_at(block, at)
    end = body + size
    data = block[body:end]
    if kind == "str":
        return Text(data), end
    if kind == "bin":
        return data, end
    if kind == "number":
        return number_at(block, at), end
    if kind == "constant":
        return {0xC0: None, 0xC2: False, 0xC3: True}[block[at]], body
    if kind == "ext":
        return Ext(signed(data[0]), data[1:]), end
    if not deepest:
        end = value_at(block, at)[1]
        return Deep(block[at:end]), end
    if kind == "array":
        items, at = [], body
        for _ in range(size):
            item, at = tree_at(block, at, deepest - 1)
            items.append(item)
        return items, at
    found, at = Map({}, {}), body
    for _ in range(size):
        name, at = _name_at(block, at)
        begin = at
        found.fields[name], at = tree_at(block, at, deepest - 1)
        found.packed[name] = block[begin:at]
    return found, at


def _name_at(block: bytes, at: int) -> tuple[str, int]:
    kind, body, size = head_at(block, at)
    if kind in ("str", "bin"):
        return block[body : body + size].decode("utf-8", "replace"), body + size
    name, end = value_at(block, at)
    return name.strip('"') if kind == "number" else name, end


def plain(value: object) -> object:
    """As msgpack gives it, with texts that are no UTF-8 replaced."""
    if isinstance(value, Text):
        return value.data.decode("utf-8", "replace")
    if isinstance(value, Map):
        return {name: plain(each) for name, each in value.fields.items()}
    return None if isinstance(value, Ext | Deep | list) else value


def any_value(value: object) -> AnyValue:
    """By OpenTelemetry's mapping."""
    if isinstance(value, Text):
        try:
            return AnyValue(string_value=value.data.decode())
        except UnicodeDecodeError:
            return AnyValue(bytes_value=value.data)
    if isinstance(value, Deep):
        return AnyValue(string_value=value_at(value.packed, 0)[0])
    if isinstance(value, Ext):
        data = KeyValue(key="data", value=AnyValue(bytes_value=value.data))
        kind = KeyValue(key="ext_type", value=AnyValue(int_value=value.kind))
        return AnyValue(kvlist_value=KeyValueList(values=[kind, data]))
    if isinstance(value, Map):
        return AnyValue(kvlist_value=KeyValueList(values=list(_pairs(value))))
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(each) for each in value]))
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, int):
        fits = -(2**63) <= value < 2**63
        return AnyValue(int_value=value) if fits else AnyValue(string_value=str(value))
    assert value is None
    return AnyValue()


def _pairs(value: Map) -> Iterator[KeyValue]:
    for name, each in value.fields.items():
        yield KeyValue(key=name, value=any_value(each))


def _text(value: object) -> str | None:
    value = plain(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if isinstance(value, dict) or value is None else str(value)


def log_record(tag: str, time_ns: int, now_ns: int, record: Map) -> LogRecord:
    """Of an entry without metadata."""
    made = LogRecord(time_unix_nano=time_ns, observed_time_unix_nano=now_ns)
    fields = dict(record.fields)
    for key in SEVERITY_KEYS:
        if key in fields and (number := severity_of(key, plain(fields[key]))):
            made.severity_number = number  # type: ignore[assignment]
            value = record.fields[key]
            if isinstance(value, Text) and value.data:
                made.severity_text = value.data.decode("utf-8", "replace")
                del fields[key]
            break
    for key in SERVICE_KEYS:
        if key in record.fields and (name := service_of(key, plain(record.fields[key]))):
            if _text(record.fields[key]) == name:
                fields.pop(key, None)
            break
    for key in MESSAGE_KEYS:
        if key in record.fields and (text := _text(record.fields[key])) is not None:
            made.body.string_value = text
            fields.pop(key, None)
            made.dropped_attributes_count = int("fluent.tag" in fields)
            fields.pop("fluent.tag", None)
            made.attributes.extend(_pairs(Map(fields, {})))
            break
    else:
        made.body.CopyFrom(any_value(record))
    made.attributes.append(KeyValue(key="fluent.tag", value=AnyValue(string_value=tag)))
    return made
