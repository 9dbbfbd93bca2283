"""Parcels as OpenTelemetry's log records.

* `time_unix_nano` is the entry's time, 0 (unknown) where it has none; `observed_time_unix_nano` is now.
* `body` is the text of the field that holds the message; where there is none, all of the record as a map.
* `severity_number` and, where a text said so, `severity_text`; `trace_id`, `span_id`, `flags`; the resource.
* `attributes` are the other fields, and `fluent.tag`. A field that is told whole elsewhere is not told again.
* What Fluent Bit's OpenTelemetry input has put into the metadata under `otlp` goes back where it came from, and counts
  more than what the record says. Other metadata is the attribute `fluent.metadata`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct

from logllm.fields import MESSAGE_KEYS, SEVERITY_KEYS, severity_of
from logllm.sinks.entries import Fields, opened, text_of, time_and_metadata
from logllm.sinks.http_sink import Encoded
from logllm.sinks.json_value import end_at
from logllm.sinks.otlp.metadata import Metadata, metadata_of
from logllm.sinks.otlp.proto import scope
from logllm.sinks.otlp.resource import RESOURCE_KEYS, Origin, origin_of
from logllm.sinks.otlp.wire import any_value, delimited, key_value, text_value, varint
from logllm.sinks.parcel import Parcel
from logllm.sinks.said import Remembered, Shapes, decoded
from logllm.sinks.trace import NO_TRACE, TRACE_KEYS, Trace, trace_of

__all__ = ["Encoder"]

# Field numbers of LogRecord, with their wire types: opentelemetry/proto/logs/v1/logs.proto.
_TIMES = Struct("<BQBQ")
_TIME, _OBSERVED = 0x09, 0x59
_NUMBER, _TEXT, _BODY, _ATTRIBUTES, _DROPPED = b"\x10", b"\x1a", b"\x2a", b"\x32", b"\x38"
_FLAGS, _TRACE_ID, _SPAN_ID = b"\x45", b"\x4a", b"\x52"
# Of ScopeLogs, ResourceLogs and ExportLogsServiceRequest.
_SCOPE, _RECORDS, _RESOURCE, _SCOPE_LOGS, _RESOURCE_LOGS = b"\x0a", b"\x12", b"\x0a", b"\x12", b"\x0a"
_ALL_FIELDS = b"\x32"  # AnyValue.kvlist_value
_ITEM = b"\x0a"

_TAG = "fluent.tag"
_METADATA = "fluent.metadata"


class _Shape:
    """What is known of records with these names: which fields mean something, and the others' names, encoded."""

    def __init__(self, names: tuple[str, ...]) -> None:
        present = frozenset(names)
        self.messages = [key for key in MESSAGE_KEYS if key in present]
        self.severities = [key for key in SEVERITY_KEYS if key in present]
        self.resource = [(key, _text(key.encode())) for key in RESOURCE_KEYS if key in present]
        self.trace = [key for key in TRACE_KEYS if key in present]
        special = {*self.messages, *self.severities, *(key for key, _ in self.resource), *self.trace}
        fields = [(name, _text(name.encode())) for name in names]
        # Among attributes ours comes in its place.
        self.replaced = [field for field in fields if field[0] == _TAG]
        self.plain = [field for field in fields if field[0] not in special and field[0] != _TAG]
        self.special = [field for field in fields if field[0] in special]


def _text(text: bytes) -> bytes:
    """As MessagePack."""
    return b"\xdb" + len(text).to_bytes(4, "big") + text


def _attribute(field: bytes) -> bytes:
    """A field as an attribute: its name and its value, both as MessagePack, one behind the other."""
    name = end_at(field, 0)
    return delimited(_ATTRIBUTES, key_value(field[5:name], any_value(field[name:])))


def _severity(key: str) -> Callable[[bytes], tuple[int, bytes]]:
    """What a level field comes to: the number, and the text where it is one."""

    def find(value: bytes) -> tuple[int, bytes]:
        text = text_of(value) if 0xA0 <= value[0] < 0xC0 or 0xD9 <= value[0] <= 0xDB else None
        return severity_of(key, decoded(value)), text or b""

    return find


def _origin(said: bytes) -> Origin:
    """The resource that a tag and some fields come to, all of them as MessagePack, one behind the other."""
    end = end_at(said, 0)
    tag = said[5:end].decode()
    fields = {}
    while end < len(said):
        value = end_at(said, end)
        name, end = said[end + 5 : value].decode(), end_at(said, value)
        fields[name] = said[value:end]
    return origin_of(fields, tag)


class Encoder:
    """Makes log records of entries, and requests of log records. Not for several threads at once.

    Costs 3 us for a record of one field, and 0.3 us for each further one whose value repeats, three times that where
    it never does: `tests/bench/otlp.py`.

    Args:
        now_ns: The time at which records are observed, in nanoseconds since 1970.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._shapes = Shapes(_Shape)
        self._attributes: Remembered[bytes] = Remembered(_attribute, 8 << 20)
        self._severity = {key: Remembered(_severity(key)) for key in SEVERITY_KEYS}
        self._origins: Remembered[Origin] = Remembered(_origin, 16 << 20, longest=64 << 10)
        self._scope = delimited(_SCOPE, scope())

    def records(self, parcel: Parcel) -> list[Encoded]:
        """A parcel's entries, each as its resource and its log record. Raises ValueError for what is no block."""
        now_ns = self._now_ns()
        tag = parcel.tag.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        named = _text(tag.encode())
        tag_attribute = delimited(_ATTRIBUTES, key_value(_TAG.encode(), text_value(tag.encode())))
        made = []
        for head, record in opened(parcel.block, parcel.count):
            time_ns, said = time_and_metadata(bytes(head))
            shape = self._shapes.of(record)
            origin = self._origins[b"".join([named, *[name + record[key] for key, name in shape.resource]])]
            found = metadata_of(said) if said else None
            if found is not None and found.time_ns:
                time_ns = found.time_ns
            observed_ns = found.observed_ns if found is not None and found.observed_ns else now_ns
            parts = [_TIMES.pack(_TIME, time_ns, _OBSERVED, observed_ns)]
            moved = self._meaning(parts, shape, record, found) | origin.moved
            are_attributes = self._fields(parts, shape, record, moved)
            parts.append(tag_attribute)
            dropped = len(shape.replaced) if are_attributes else 0
            if found is not None:
                dropped += _add_metadata(parts, found, record if are_attributes else {})
            if dropped:
                parts.append(_DROPPED + varint(dropped))
            body = b"".join(parts)
            made.append(Encoded(origin.resource, _RECORDS + varint(len(body)) + body))
        return made

    def body(self, records: Sequence[Encoded]) -> bytes:
        """A request with these records, those of one resource together."""
        groups: dict[bytes, list[bytes]] = {}
        for resource, record in records:
            groups.setdefault(resource, []).append(record)
        return b"".join(
            delimited(
                _RESOURCE_LOGS,
                delimited(_RESOURCE, resource) + delimited(_SCOPE_LOGS, self._scope + b"".join(group)),
            )
            for resource, group in groups.items()
        )

    def _meaning(self, parts: list[bytes], shape: _Shape, record: Fields, found: Metadata | None) -> frozenset[str]:
        """Add the level and the trace; the fields that say nothing beyond them."""
        number, text, moved = self._level(shape, record)
        if found is not None and (found.severity or found.severity_text):
            number, text, moved = found.severity, found.severity_text, frozenset()
        if number:
            parts.append(_NUMBER + varint(number))
        if text:
            parts.append(_TEXT + varint(len(text)) + text)
        trace = trace_of({key: bytes(record[key]) for key in shape.trace}) if shape.trace else NO_TRACE
        if found is not None and found.trace is not NO_TRACE:
            trace = found.trace
        elif trace.moved:
            moved |= trace.moved
        if trace is not NO_TRACE:
            parts.append(_of_trace(trace))
        return moved

    def _fields(self, parts: list[bytes], shape: _Shape, record: Fields, moved: frozenset[str]) -> bool:
        """Add the body and the attributes; False where all fields are in the body."""
        key, message = _message(shape, record)
        known = self._attributes
        plain = [known[name + record[field]] for field, name in shape.plain]
        if not key:
            rest = [known[name + record[field]] for field, name in shape.special + shape.replaced]
            fields = b"".join([_ITEM + attribute[1:] for attribute in plain + rest])
            parts.append(delimited(_BODY, delimited(_ALL_FIELDS, fields)))
            return False
        parts.append(delimited(_BODY, text_value(message)))
        parts += plain
        for field, name in shape.special:
            if field != key and field not in moved:
                parts.append(known[name + record[field]])
        return True

    def _level(self, shape: _Shape, record: Fields) -> tuple[int, bytes, frozenset[str]]:
        for key in shape.severities:
            number, text = self._severity[key][bytes(record[key])]
            if number:
                return number, text, frozenset((key,)) if text else frozenset()
        return 0, b"", frozenset()


def _add_metadata(parts: list[bytes], found: Metadata, taken: Fields) -> int:
    """Add attributes that came as such, but for the names that are taken; how many those are."""
    free = {key: value for key, value in found.attributes.items() if key not in taken and key != _TAG}
    if found.rest and _METADATA not in taken:
        free.setdefault(_METADATA, found.rest)
    parts += [delimited(_ATTRIBUTES, key_value(key.encode(), any_value(value))) for key, value in free.items()]
    return len(found.attributes) - len(free.keys() & found.attributes.keys())


def _of_trace(trace: Trace) -> bytes:
    parts = [_FLAGS + trace.flags.to_bytes(4, "little")] if trace.flags else []
    if trace.trace_id:
        parts.append(delimited(_TRACE_ID, trace.trace_id))
    if trace.span_id:
        parts.append(delimited(_SPAN_ID, trace.span_id))
    return b"".join(parts)


def _message(shape: _Shape, record: Fields) -> tuple[str, bytes]:
    for key in shape.messages:
        text = text_of(bytes(record[key]))
        if text is not None:
            return key, text
    return "", b""
