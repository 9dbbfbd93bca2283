"""logfmt: `time=2024-01-02T03:04:05Z level=info msg="hello there" user=7`.

Writers keep the order of their first keys, so one expression made from the first lines takes nearly all lines of a
block at once; a line in another order is read pair by pair.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from logllm.sources.decode_values import picked
from logllm.sources.formats.header import NO_TIME
from logllm.sources.formats.json_fields import Place, places, scalars
from logllm.sources.formats.json_times import JsonTimes
from logllm.sources.formats.levels import severities
from logllm.sources.formats.line_fields import PairFields
from logllm.sources.formats.line_format import columns_of
from logllm.sources.multiline import continues, record_starts, unfinished_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.events import Columns
    from logllm.sources.formats.line_format import Reading

__all__ = ["LogfmtFormat", "is_logfmt", "pairs"]

# Each character is looked at once or twice: a pair begins a word, and nothing is given back (`*+`).
_VALUE = r"(?:\"(?:[^\"\\\n]|\\.)*+\"|[^\s\"]*+)"
_KEY = r"[A-Za-z_@][\w.@/-]*+"
_pair = re.compile(rf"(?<!\S)({_KEY})=({_VALUE})(?=\s|\Z)")
_escape = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_SAMPLE = 100
_FIELDS = ("time", "level", "service", "message")


def pairs(line: str) -> dict[str, str]:
    """The pairs of a line, quotes taken off; the first of equal keys counts.

    >>> pairs('level=info msg="said \\\\"hi\\\\"" n=1')
    {'level': 'info', 'msg': 'said "hi"', 'n': '1'}
    """
    found: dict[str, str] = {}
    for key, value in _pair.findall(line):
        found.setdefault(key, _plain(value))
    return found


def is_logfmt(line: str) -> bool:
    """Whether a line is pairs from its start: two at least, with little text between them."""
    match = _pair.match(line)
    if match is None:
        return False
    found = _pair.findall(line)
    return len(found) >= 2 and sum(len(key) + len(value) + 2 for key, value in found) >= 0.9 * len(line.strip())


class LogfmtFormat:
    """A `LineFormat` for logfmt; other lines become records of their own text."""

    name = "logfmt"

    def __init__(self, reading: Reading) -> None:
        self.misses = 0
        self._reading = reading
        self._times = JsonTimes(reading)
        self._find: re.Pattern[str] | None = None
        self._others: re.Pattern[str] | None = None
        self._fields = PairFields(reading.wanted, _VALUE, _plain)

    def parse(self, lines: list[str], *, join: bool = True) -> Columns:
        """See `LineFormat.parse`."""
        if self._find is None:
            self._learn(lines)
        count = len(lines)
        columns: dict[str, list[str]] = {name: [""] * count for name in _FIELDS}
        todo: list[int] | range = range(count)
        if self._find is not None and count:
            rows = self._find.findall("\n".join(lines))
            named = list(self._find.groupindex)
            # With one group there are no tuples.
            found = [rows] if len(named) == 1 else zip(*rows, strict=True)
            for name, column in zip(named, found, strict=True):
                columns[name] = list(map(_plain, column))
            todo = [row for row, text in enumerate(columns[named[0]]) if not text]
            if self._others is not None:
                # Level, time or service under a key that most lines do not have.
                todo = sorted({*todo, *(row for row, line in enumerate(lines) if self._others.search(line))})
        plain = self._one_by_one(lines, todo, columns)
        fields = self._fields.read(lines, pairs)
        starts = record_starts(lines) if join and (plain or "" in lines) else None
        position = np.arange(count, dtype=np.int64)
        messages = columns["message"]
        if starts is not None:
            messages = self._reading.joined(lines, messages, starts)
            columns = {name: [column[row] for row in starts.tolist()] for name, column in columns.items()}
            position = starts.astype(np.int64)
            fields = picked(fields, starts)
        services = [name or self._reading.default_service for name in columns["service"]]
        times = self._settle(columns["time"])
        return columns_of(times, messages, severities(columns["level"]), services, position, fields)

    def unfinished(self, lines: list[str]) -> int:
        """See `LineFormat.unfinished`."""
        return 0 if lines and is_logfmt(lines[-1]) else unfinished_lines(lines)

    def _learn(self, lines: list[str]) -> None:
        sample = [line for line in lines[:_SAMPLE] if is_logfmt(line)]
        if not sample:
            return
        records = [pairs(line) for line in sample]
        paths: Counter[Place] = Counter(places(dict(record)) for record in records)
        usual = paths.most_common(1)[0][0]
        wanted = {path[0]: name for name in _FIELDS if (path := getattr(usual, name))}
        other = {path[0] for place in paths for name in _FIELDS if (path := getattr(place, name))} - wanted.keys()
        if other:
            self._others = re.compile(rf"(?:^|\s)(?:{'|'.join(map(re.escape, sorted(other)))})=")
        if "message" not in wanted.values():
            return
        # The keys up to the last one wanted, as most lines have them.
        orders: Counter[tuple[str, ...]] = Counter()
        for record in records:
            keys = list(record)
            places_ = [keys.index(key) for key in wanted if key in record]
            if len(places_) == len(wanted):
                orders[tuple(keys[: max(places_) + 1])] += 1
        if not orders:
            return
        parts = [
            rf"{re.escape(key)}=(?P<{wanted[key]}>{_VALUE})" if key in wanted else rf"{re.escape(key)}={_VALUE}"
            for key in orders.most_common(1)[0][0]
        ]
        self._find = re.compile(rf"^(?:{' '.join(parts)}(?:[ \t].*)?$|.*$)", re.MULTILINE)

    def _one_by_one(self, lines: list[str], rows: list[int] | range, columns: dict[str, list[str]]) -> list[int]:
        """Fill in the rows that the expression did not take; returns those that are no logfmt."""
        self.misses = 0
        plain: list[int] = []
        for row in rows:
            line = lines[row]
            if not is_logfmt(line):
                columns["message"][row] = line
                plain.append(row)
                self.misses += line.strip() != "" and not continues(line)
                continue
            record = pairs(line)
            place = places(dict(record))
            for name in _FIELDS:
                path = getattr(place, name)
                columns[name][row] = record.get(path[0], "") if path else ""
            if place.message is None:
                columns["message"][row] = scalars(dict(record), place)
        return plain

    def _settle(self, texts: list[str]) -> NDArray[np.int64]:
        times, ok = self._times.read(texts)
        if not ok.all():
            unreadable = sum(1 for row in np.flatnonzero(~ok).tolist() if texts[row])
            if unreadable:
                self._reading.counts[NO_TIME] += unreadable
        return self._reading.settle(times, ok)


def _plain(value: str) -> str:
    """A value without its quotes and escapes."""
    if not value.startswith('"'):
        return value
    value = value[1:-1]
    if "\\" not in value:
        return value
    return _escape.sub(lambda match: _ESCAPES.get(match.group(1), match.group(1)), value).replace("\0", "")
