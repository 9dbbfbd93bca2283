"""JSON, one record a line.

The keys are learned from the first records; a block is then decoded at once into a typed struct of just those
(0.4 us a record), and only records that lack them are looked at singly.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from logllm.sources.decode_values import merged, picked
from logllm.sources.formats.header import NO_TIME
from logllm.sources.formats.json_fields import (
    Path,
    Place,
    common_places,
    lookup,
    places,
    scalars,
    severity_of_json,
    text_of,
)
from logllm.sources.formats.json_rows import JsonRows
from logllm.sources.formats.json_times import JsonTimes
from logllm.sources.formats.line_fields import LineFields
from logllm.sources.formats.line_format import columns_of
from logllm.sources.multiline import continues, record_starts, unfinished_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from logllm.events import Columns, Fields
    from logllm.sources.formats.line_format import LineFormat, Reading

__all__ = ["JsonFormat", "decode_record"]

_SAMPLE = 100
_T = TypeVar("_T")


class JsonFormat:
    """A `LineFormat` for JSON lines; lines that are no JSON object become records of their own text."""

    name = "json"

    def __init__(self, reading: Reading, detect: Callable[[list[str], Reading], LineFormat] | None = None) -> None:
        self.misses = 0
        self._reading = reading
        self._detect = detect
        self._inner: LineFormat | None = None
        self._times = JsonTimes(reading)
        self._paths: dict[str, list[Path]] = {}
        self._rows = JsonRows([])
        self._fields = LineFields(reading.wanted)

    def parse(self, lines: list[str], *, join: bool = True) -> Columns:
        """See `LineFormat.parse`."""
        if not self._paths:
            self._learn(lines)
        if self._fields.look(lines, decode_record):
            self._rows = self._made()
        decoded, bad = self._rows.decode(lines)
        self.misses = 0
        times, levels, services, messages = (
            self._rows.column(decoded, bad, self._paths.get(name, ())) for name in Place.__slots__
        )
        if not all(type(message) is str for message in messages):
            self._look_closer(lines, times, levels, services, messages)
        position = np.arange(len(lines), dtype=np.int64)
        fields = self._fields.read(lambda top: self._rows.column(decoded, bad, [(top,)]), len(lines))
        starts = record_starts(lines) if join and bad else None
        if starts is not None:
            messages = self._reading.joined(lines, messages, starts)
            chosen = starts.tolist()
            times, levels, services = ([column[row] for row in chosen] for column in (times, levels, services))
            position = starts.astype(np.int64)
            fields = picked(fields, starts)
        messages = _clean(messages)
        severity = self._severity(levels)
        if self._inner is not None:
            severity, messages, inside = self._look_inside(self._inner, severity, services, messages)
            fields = merged(fields, inside)
        return columns_of(self._settle(times), messages, severity, self._named(services), position, fields)

    def unfinished(self, lines: list[str]) -> int:
        """See `LineFormat.unfinished`: a JSON object is whole; only text between them may go on."""
        return 0 if lines and lines[-1].lstrip().startswith("{") else unfinished_lines(lines)

    def _learn(self, lines: list[str]) -> None:
        records = [record for line in lines[:_SAMPLE] if (record := decode_record(line)) is not None]
        if records:
            self._paths = common_places(records)
            self._rows = self._made()

        if self._detect is not None and not self._paths.get("level"):
            texts = [_first_line(text) for record in records if isinstance(text := _message(record), str)]
            inner = self._detect(texts, replace(self._reading, counts=Counter())) if texts else None
            self._inner = None if inner is None or inner.name == "text" else inner

    def _made(self) -> JsonRows:
        paths = [path for paths in self._paths.values() for path in paths]
        return JsonRows([*paths, *((top,) for top in self._fields.tops)])

    def _look_inside(
        self, inner: LineFormat, severity: NDArray[np.uint8], services: list[Any], messages: list[str]
    ) -> tuple[NDArray[np.uint8], list[str], Fields | None]:
        """Records without a level whose text is a log line itself: its level, its service, its message, its fields."""
        heads = [_first_line(message) for message in messages]
        columns = inner.parse(heads, join=False)
        names = columns.service_names
        for row, code in enumerate(columns.service_codes.tolist()):
            if services[row] is None and names[code] != self._reading.default_service:
                services[row] = names[code]
        whole = [
            text if len(head) == len(message) else text + message[len(head) :]
            for text, head, message in zip(columns.messages, heads, messages, strict=True)
        ]
        return np.where(severity > 0, severity, columns.severity), whole, columns.fields

    def _look_closer(self, lines: list[str], *columns: list[Any]) -> None:
        """Fill in the records whose message is not where most have it."""
        times, levels, services, messages = columns
        elsewhere = 0
        for row, message in enumerate(messages):
            if type(message) is str:
                continue
            record = decode_record(lines[row])
            if record is None:
                messages[row] = lines[row]
                self.misses += lines[row].strip() != "" and not continues(lines[row])
                continue
            place = places(record)
            for column, path in ((times, place.time), (levels, place.level), (services, place.service)):
                if column[row] is None and path is not None:
                    column[row] = lookup(record, path)
            if place.message is not None:
                messages[row] = lookup(record, place.message)
                elsewhere += 1
            elif message is not None:
                messages[row] = text_of(message)
            else:
                messages[row] = scalars(record, place)
        if elsewhere > len(lines) // 2:
            self._paths = {}  # another writer than the first lines': learned anew from the next ones

    def _settle(self, values: list[Any]) -> NDArray[np.int64]:
        times, ok = self._times.read(values)
        if not ok.all():
            unreadable = sum(1 for row in np.flatnonzero(~ok).tolist() if values[row] is not None)
            if unreadable:
                self._reading.counts[NO_TIME] += unreadable
        return self._reading.settle(times, ok)

    def _severity(self, levels: list[Any]) -> NDArray[np.uint8]:
        otel = any(path[-1].lower() in {"severitynumber", "severity_number"} for path in self._paths.get("level", ()))
        table = _table(levels, lambda value: int(severity_of_json(value, otel=otel)))
        return np.fromiter(table, np.uint8, len(levels))

    def _named(self, services: list[Any]) -> list[str]:
        return _table(services, lambda value: _clean([text_of(value)])[0] or self._reading.default_service)


def _table(values: list[Any], convert: Callable[[Any], _T]) -> list[_T]:
    """`convert` of each value, called once for each different one."""
    try:
        table = {value: convert(value) for value in set(values)}
    except TypeError:  # a list or an object where a word belongs
        return [convert(value) for value in values]
    return list(map(table.__getitem__, values))


def _message(record: dict[str, Any]) -> Any:
    path = places(record).message
    return None if path is None else lookup(record, path)


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0]


def _clean(messages: list[str]) -> list[str]:
    """Without NUL and lone surrogates, which JSON can escape and nothing after us can carry."""
    joined = "".join(messages)
    if "\n" in joined:
        messages = [message.rstrip("\n") for message in messages]
    if "\0" not in joined and joined.isascii():
        return messages
    return [message.replace("\0", "").encode("utf-8", "replace").decode("utf-8") for message in messages]


def decode_record(line: str) -> dict[str, Any] | None:
    """One line as a JSON object; None if it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
