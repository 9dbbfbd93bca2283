"""A made-up service's log of some hours, with things in it that must be found, as chunks cut anywhere."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import msgpack  # type: ignore[import-untyped]
import msgspec
import numpy as np

from logllm.events import Chunk, Columns, IncidentEvent, Origin
from logllm.explain.runbooks.search import Catalogue
from logllm.pipeline import Pipeline

__all__ = ["START_NS", "Record", "blocks", "chunks", "eventful", "json_of", "pipeline", "run"]

SECOND_NS = 1_000_000_000
START_NS = 1_772_000_100 * SECOND_NS
"""A quarter past a full hour."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line. `second` is counted from START_NS."""

    second: float
    service: str
    message: str
    severity: int = 0


@cache
def catalogue() -> Catalogue:
    """The shipped runbooks, read once."""
    return Catalogue.load()


def pipeline(*, look_back: bool = False) -> Pipeline:
    """A pipeline that shares the runbooks with all others here."""
    made = Pipeline(look_back=look_back)
    made.advice.use(catalogue())
    return made


@cache
def eventful(hours: float = 3.0, seed: int = 1) -> tuple[Record, ...]:
    """Traffic of three services; from 1.5 h on a burst of errors, a new error, a fatal one, and a heartbeat that stops.

    Records are out of order by up to four seconds, and texts vary in words too, so that templates merge on the way.
    """
    source = random.Random(seed)
    end = hours * 3600
    rows: list[Record] = []

    def often(per_minute: float, start: float = 0.0, until: float = end) -> Iterator[float]:
        at = start + source.expovariate(per_minute / 60)
        while at < until:
            yield at
            at += source.expovariate(per_minute / 60)

    names = [f"{first}{last}" for first in "abcdefgh" for last in ("nna", "ert", "olf")]
    for at in often(9):
        rows.append(Record(at, "shop", f"GET /orders/{source.randrange(9999)} 200 in {source.randrange(90)} ms", 9))
    for at in often(3):
        rows.append(
            Record(at, "shop", f"customer {source.choice(names)} signed in from 10.0.0.{source.randrange(250)}", 9)
        )
    for at in often(4):
        rows.append(Record(at, "db", f"checkpoint {source.randrange(999)} written, {source.randrange(80)} buffers"))
    for at in often(0.4):
        rows.append(Record(at, "db", f"slow query took {source.randrange(9000)} ms, retrying", 13))
    for beat in range(0, int(end * 0.8), 20):
        rows.append(Record(beat, "pulse", f"heartbeat {beat} ok", 9))
    for at in often(40, 1.55 * 3600, 1.7 * 3600):
        rows.append(Record(at, "db", f"could not extend file base/{source.randrange(99)}: No space left on device", 17))
    for at in often(3, 1.9 * 3600, 2.0 * 3600):
        who = names[int(at - 1.9 * 3600) // 60]
        rows.append(Record(at, "shop", f"payment {source.randrange(99)} of {who} failed: upstream timed out", 17))
    for at in (2.2 * 3600, 2.21 * 3600):
        rows.append(Record(at, "shop", "kernel panic: out of memory", 21))
    ordered = sorted(rows, key=lambda row: row.second + 4.0 * source.random())
    return tuple(row for row in ordered if row.second < end)


def chunks(records: Iterable[Record], cuts: Iterable[int] = (), *, first_line: int = 1) -> Iterator[Chunk]:
    """The records as chunks that begin at `cuts`; each names its services in alphabetical order."""
    rows = list(records)
    edges = sorted({0, len(rows), *(cut for cut in cuts if 0 < cut < len(rows))})
    for start, end in pairwise(edges):
        part = rows[start:end]
        names = sorted({row.service for row in part})
        columns = Columns(
            np.array([START_NS + int(row.second * SECOND_NS) for row in part], np.int64),
            [row.message for row in part],
            np.array([row.severity for row in part], np.uint8),
            np.array([names.index(row.service) for row in part], np.int32),
            names,
            np.arange(first_line + start, first_line + end, dtype=np.int64),
        )
        yield Chunk("app.log", len(part), sum(len(row.message) + 30 for row in part), columns=columns)


def blocks(records: Iterable[Record], cuts: Iterable[int] = ()) -> Iterator[Chunk]:
    """The same as a forward protocol's sender cuts them: blocks of entries `[[EventTime, {}], record]`."""
    levels = {0: None, 9: "info", 13: "warn", 17: "error", 21: "fatal"}
    rows = list(records)
    edges = sorted({0, len(rows), *(cut for cut in cuts if 0 < cut < len(rows))})
    for start, end in pairwise(edges):
        block = b""
        for row in rows[start:end]:
            time_ns = START_NS + int(row.second * SECOND_NS)
            fields = {"log": row.message, "service": row.service}
            level = levels[row.severity]
            record = fields if level is None else {**fields, "level": level}
            stamp = struct.pack(">II", time_ns // SECOND_NS, time_ns % SECOND_NS)
            block += b"\x92\x92\xd7\0" + stamp + b"\x80" + bytes(msgpack.packb(record))
        yield Chunk("app", end - start, len(block), Origin("10.0.0.1:5170"), block=block)


def run(made: Pipeline, records: Iterable[Record], cuts: Iterable[int] = (), **more: int) -> list[IncidentEvent]:
    """Feed it all, to the end of the input."""
    told = [event for chunk in chunks(records, cuts, **more) for event in made.feed(chunk)]
    return told + made.finish()


def json_of(events: Iterable[IncidentEvent]) -> list[bytes]:
    """The events as they are written out."""
    return [msgspec.json.encode(event) for event in events]
