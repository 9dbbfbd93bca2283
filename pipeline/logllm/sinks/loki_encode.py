"""Parcels as Loki's push API takes them: streams by their labels, lines with their times, in JSON.

JSON with gzip and not protobuf with snappy: Loki takes both, and the standard library has only the former.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from logllm.sinks.entries import Fields, opened, text_of, time_and_metadata
from logllm.sinks.http_sink import Accepted, Encoded
from logllm.sinks.ndjson import line_head, ndjson
from logllm.sinks.parcel import Parcel
from logllm.sinks.said import Said
from logllm.sinks.trace import TRACE_KEYS, trace_of
from logllm.wire.http import HttpAnswer

__all__ = ["Encoder", "Streams", "label_name"]

_LEVELS = ("", "trace", "debug", "info", "warn", "error", "fatal")
# Loki's own bound is 2048.
_LONGEST_VALUE = 256
_OTHER = "other"
_IDLE_S = 3600.0
_LOOK_S = 60.0
_BEHIND_TIME = b'","record":'

_log = logging.getLogger("logllm.sinks")


class _Line(msgspec.Struct):
    record: msgspec.Raw
    metadata: msgspec.Raw = msgspec.Raw(b"")


_read_line = msgspec.json.Decoder(_Line).decode
_quoted = msgspec.json.Encoder().encode


def label_name(key: str) -> str:
    """A field's name as Loki lets a label be called.

    >>> label_name("http.status"), label_name("2xx")
    ('http_status', '_2xx')
    """
    name = re.sub(r"[^a-zA-Z0-9_]", "_", key)
    return f"_{name}" if name[:1].isdigit() else name


class Streams:
    """The streams that records belong to, so many and no more: each is a file of its own in Loki.

    A stream that had nothing for an hour makes room for another. Beyond the bound all labels of a record but those
    of `fixed` and its severity are "other".

    Args:
        fixed: Labels of all streams.
        keys: The labels that records say, in the order of the values that `of` is given.
        most: Streams at once.
        clock: Seconds that never go back.
    """

    def __init__(self, fixed: Mapping[str, str], keys: Sequence[str], most: int, clock: Callable[[], float]) -> None:
        self.others = 0
        self._fixed, self._names, self._most, self._clock = fixed, [label_name(key) for key in keys], most, clock
        self._kept = [key == "severity" for key in keys]
        self._known: dict[tuple[str, ...], bytes] = {}
        self._used_s: dict[tuple[str, ...], float] = {}
        self._looked_s = clock() - _LOOK_S

    def of(self, values: tuple[str, ...], now_s: float) -> bytes:
        """The labels of a stream, as JSON; a value that is "" is no label."""
        found = self._known.get(values)
        if found is None:
            if len(self._known) >= self._most:
                self._forget(now_s)
            if len(self._known) >= self._most:
                return self._other(values)
            found = self._known[values] = self._labels(values)
        self._used_s[values] = now_s
        return found

    def _labels(self, values: tuple[str, ...]) -> bytes:
        said = {name: value for name, value in zip(self._names, values, strict=True) if value}
        return _quoted({**self._fixed, **said})

    def _other(self, values: tuple[str, ...]) -> bytes:
        self.others += 1
        if self.others & (self.others - 1) == 0:
            text = "%d records have the label %r: there are %d streams already"
            _log.warning(text, self.others, _OTHER, self._most)
        pairs = zip(values, self._kept, strict=True)
        return self._labels(tuple(value if kept or not value else _OTHER for value, kept in pairs))

    def _forget(self, now_s: float) -> None:
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        for values in [values for values, used_s in self._used_s.items() if now_s - used_s >= _IDLE_S]:
            del self._known[values], self._used_s[values]


class Encoder:
    """Makes lines of entries, and requests of lines. Not for several threads at once. Costs 3 us for a short record.

    Args:
        streams: Which labels go together.
        keys: The labels that records say: `service`, `severity`, `tag`, or a field's name.
        as_message: Lines are the message where there is one, and not the record's JSON.
        with_trace: Trace and span ids go along as structured metadata, which Loki knows since 2.9.
        now_ns: Nanoseconds since 1970, for records without a time.
        clock: Of `streams`.
    """

    content_type = "application/json"
    probe = b'{"streams":[]}'

    def __init__(
        self,
        streams: Streams,
        keys: Sequence[str],
        *,
        as_message: bool,
        with_trace: bool,
        now_ns: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self.streams = streams
        self._keys, self._as_message, self._with_trace = tuple(keys), as_message, with_trace
        self._now_ns, self._clock = now_ns, clock
        self._said = Said()

    def records(self, parcel: Parcel) -> list[Encoded]:
        """A parcel's entries, each as its labels and `["nanoseconds","line"]`. Raises ValueError."""
        now_ns, now_s, skipped = self._now_ns(), self._clock(), len(line_head(parcel.tag))
        tag = parcel.tag.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        lines = ndjson(parcel.tag, parcel.block, parcel.count).split(b"\n")
        made = []
        for line, (head, record) in zip(lines, opened(parcel.block, parcel.count), strict=False):
            head = bytes(head)
            time_ns, metadata = time_and_metadata(head)
            is_plain = not metadata and time_ns > 0
            text = (self._message(record) if self._as_message else None) or _shown(line, skipped, is_plain)
            group = self.streams.of(tuple([self._value(key, record, tag) for key in self._keys]), now_s)
            time = b'["%d",' % (time_ns or now_ns)
            made.append(Encoded(group, b"".join((time, _quoted(text), self._trace(record), b"]"))))
        return made

    def body(self, records: Sequence[Encoded]) -> bytes:
        """A push of these lines, those of a stream together and by their time."""
        groups: dict[bytes, list[bytes]] = {}
        for labels, line in records:
            groups.setdefault(labels, []).append(line)
        streams = []
        for labels, lines in groups.items():
            lines.sort(key=_time_of)
            streams.append(b'{"stream":%b,"values":[%b]}' % (labels, b",".join(lines)))
        return b'{"streams":[%b]}' % b",".join(streams)

    def accepted(self, answer: HttpAnswer) -> Accepted:
        """All of it."""
        return Accepted()

    def _value(self, key: str, record: Fields, tag: str) -> str:
        if key == "tag":
            return tag[:_LONGEST_VALUE]
        if key == "severity":
            return _LEVELS[(self._said.severity(record) + 3) // 4]
        if key == "service":
            return self._said.service(record, tag)[:_LONGEST_VALUE]
        text = text_of(bytes(record[key])) if key in record else None
        return "" if text is None else text.decode()[:_LONGEST_VALUE]

    def _message(self, record: Fields) -> str | None:
        for key in self._said.messages(record):
            text = text_of(bytes(record[key]))
            if text is not None:
                return text.decode()
        return None

    def _trace(self, record: Fields) -> bytes:
        if not self._with_trace or record.keys().isdisjoint(TRACE_KEYS):
            return b""
        trace = trace_of({key: bytes(record[key]) for key in TRACE_KEYS if key in record})
        ids = {"trace_id": trace.trace_id.hex(), "span_id": trace.span_id.hex()}
        found = {name: text for name, text in ids.items() if text}
        return b"," + _quoted(found) if found else b""


def _shown(line: bytes, skipped: int, is_plain: bool) -> str:
    """The record's JSON out of a line as files have it; metadata goes into it as `_metadata`."""
    rest = line[line.index(_BEHIND_TIME, skipped) + len(_BEHIND_TIME) : -1]
    if is_plain:
        return rest.decode()
    whole = b'{"record":%b}' % rest
    try:
        found = _read_line(whole)
    except (msgspec.DecodeError, RecursionError):
        # Deeper than it reads.
        return whole.decode()
    record, metadata = bytes(found.record), bytes(found.metadata)
    if metadata:
        record = b'%b%b"_metadata":%b}' % (record[:-1], b"" if record == b"{}" else b",", metadata)
    return record.decode()


def _time_of(line: bytes) -> int:
    return int(line[2 : line.index(b'"', 2)])
