"""What container runtimes write: CRI lines and Docker's JSON. The payload is a line of some format of its own.

The runtime's time wins; level, service and message come from the payload. Partial lines (CRI's `P`, Docker's payload
without newline) are put together by stream, and so are stack traces: stdout never breaks a trace on stderr.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from logllm.events import Columns
from logllm.sources.decode_values import joined
from logllm.sources.formats.clock import Clock
from logllm.sources.formats.header import NO_TIME
from logllm.sources.formats.json_lines import decode_record
from logllm.sources.formats.json_rows import JsonRows
from logllm.sources.formats.line_format import LineFormat, Reading
from logllm.sources.formats.notations import NOTATIONS
from logllm.sources.multiline import CUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["ContainerFormat", "is_cri", "is_docker"]

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)"
_cri = re.compile(rf"^(?:({_TIME}) (stdout|stderr) ([PF][^ \n]*)(?: (.*))?$|.*$)", re.MULTILINE)
_cri_line = re.compile(rf"{_TIME} (?:stdout|stderr) [PF](?:\S*)(?: |\Z)")
_DOCKER_KEYS = {"log", "stream", "time", "attrs"}
_LOOK_BACK = 256


def is_cri(line: str) -> bool:
    """Whether a line is one of the Container Runtime Interface: time, stream, `P` or `F`, payload."""
    return _cri_line.match(line) is not None


def is_docker(line: str) -> bool:
    """Whether a line is one of Docker's json-file driver."""
    record = decode_record(line)
    return record is not None and "log" in record and len(record) > 1 and record.keys() <= _DOCKER_KEYS


@dataclass(slots=True)
class _Outer:
    """Lines without their container header. `partial` marks those whose record the next line of the stream goes on."""

    times: list[str]
    streams: list[str]
    payloads: list[str]
    partial: list[bool]


class ContainerFormat:
    """A `LineFormat` around another one for each stream, which `detect` finds from the first payloads."""

    def __init__(self, name: str, reading: Reading, detect: Callable[[list[str], Reading], LineFormat]) -> None:
        self.name = name
        self.misses = 0
        self._reading = reading
        self._detect = detect
        self._clock = Clock(NOTATIONS["iso"], reading)
        self._docker = JsonRows([("log",), ("stream",), ("time",)])
        self._inner: dict[str, LineFormat] = {}
        self._inside: dict[str, Reading] = {}
        self._newlines = False

    def parse(self, lines: list[str], *, join: bool = True) -> Columns:
        """See `LineFormat.parse`."""
        outer = self._split(lines)
        self.misses = outer.times.count("")
        reading = self._reading
        times, ok = self._clock.read(outer.times)
        unreadable = int(len(ok) - ok.sum()) - self.misses
        if unreadable:
            reading.counts[NO_TIME] += unreadable
        times = reading.settle(times, ok)
        streams = dict.fromkeys(outer.streams)
        parts: list[tuple[Columns, NDArray[np.int64]]] = []
        for stream in streams:
            rows = range(len(lines)) if len(streams) == 1 else [i for i, s in enumerate(outer.streams) if s == stream]
            first, payloads = _put_together(rows, outer, join=join)
            if join and not any(payloads):
                continue
            columns = self._of(stream, payloads).parse(payloads, join=join)
            if cut := self._inside[stream].counts.pop(CUT, 0):
                reading.counts[CUT] += cut
            parts.append((columns, np.array(first, np.int64)[_positions(columns)]))
        merged = _merge(parts)
        merged.time_ns = times[_positions(merged)]
        return merged

    def unfinished(self, lines: list[str]) -> int:
        """See `LineFormat.unfinished`: as far back as the last record of any stream."""
        window = lines[-_LOOK_BACK:]
        outer = self._split(window)
        back = 0
        for stream in dict.fromkeys(outer.streams):
            rows = [row for row, name in enumerate(outer.streams) if name == stream]
            first, payloads = _put_together(rows, outer, join=True)
            held = self._of(stream, payloads).unfinished(payloads)
            if outer.partial[rows[-1]]:
                held = max(held, 1)
            if held:
                back = max(back, len(window) - first[-held])
        return back

    def _of(self, stream: str, payloads: list[str]) -> LineFormat:
        if stream not in self._inner:
            # Times inside are not used, so what is wrong with them is not worth counting.
            inside = replace(self._reading, counts=Counter())
            self._inside[stream] = inside
            self._inner[stream] = self._detect(payloads, inside)
        return self._inner[stream]

    def _split(self, lines: list[str]) -> _Outer:
        if self.name == "cri":
            rows = _cri.findall("\n".join(lines)) if lines else []
            times, streams, flags, payloads = (
                (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 4
            )
            for row, time in enumerate(times):
                if not time:
                    payloads[row] = lines[row]
            return _Outer(times, streams, payloads, [flag[:1] == "P" for flag in flags])
        decoded, bad = self._docker.decode(lines)
        logs, streams, times = (self._docker.column(decoded, bad, [(key,)]) for key in ("log", "stream", "time"))
        # Some shippers write the same JSON without the newlines; then no line is partial.
        self._newlines = self._newlines or any(type(log) is str and log.endswith("\n") for log in logs)
        payloads, partial = [], []
        for row, log in enumerate(logs):
            if type(log) is not str:
                payloads.append(lines[row])
                partial.append(False)
                times[row] = streams[row] = ""
                continue
            partial.append(self._newlines and not log.endswith("\n"))
            payloads.append(_one_line(log))
        return _Outer(
            [time if type(time) is str else "" for time in times],
            [stream if type(stream) is str else "" for stream in streams],
            payloads,
            partial,
        )


def _one_line(log: str) -> str:
    log = log.rstrip("\r\n")
    if "\n" in log or "\0" in log or not log.isascii():
        return log.replace("\n", " ").replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return log


def _put_together(rows: range | list[int], outer: _Outer, *, join: bool) -> tuple[list[int], list[str]]:
    """The payloads of one stream, partial ones put together, and the row each begins at."""
    if not join or True not in outer.partial:
        return list(rows), outer.payloads if len(rows) == len(outer.payloads) else [outer.payloads[row] for row in rows]
    first: list[int] = []
    payloads: list[list[str]] = []
    goes_on = False
    for row in rows:
        if goes_on:
            payloads[-1].append(outer.payloads[row])
        else:
            first.append(row)
            payloads.append([outer.payloads[row]])
        goes_on = outer.partial[row]
    return first, ["".join(parts) for parts in payloads]


def _positions(columns: Columns) -> NDArray[np.int64]:
    return np.arange(len(columns), dtype=np.int64) if columns.position is None else columns.position


def _merge(found: list[tuple[Columns, NDArray[np.int64]]]) -> Columns:
    """The columns of all streams with their lines, in the order of these."""
    parts = [columns for columns, _ in found]
    if len(parts) == 1:
        parts[0].position = found[0][1]
        return parts[0]
    names = list(dict.fromkeys(name for part in parts for name in part.service_names))
    empty = np.zeros(0, np.int64)
    position = np.concatenate([empty, *(lines for _, lines in found)])
    order = np.argsort(position, kind="stable")
    codes = [
        np.array([names.index(name) for name in part.service_names], np.int32)[part.service_codes] for part in parts
    ]
    messages = [message for part in parts for message in part.messages]
    placed = np.split(np.argsort(order), np.cumsum([len(part) for part in parts])[:-1]) if parts else []
    return Columns(
        empty,
        [messages[row] for row in order.tolist()],
        np.concatenate([np.zeros(0, np.uint8), *(part.severity for part in parts)])[order],
        np.concatenate([np.zeros(0, np.int32), *codes])[order],
        names,
        position[order],
        fields=joined([(part.fields, places) for part, places in zip(parts, placed, strict=True)], len(order)),
    )
