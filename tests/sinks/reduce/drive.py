"""Makes chunks of records, drives a reducer with them, and reads what comes out."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from logllm.events import Columns
from logllm.sinks.reduce.config import ReduceConfig
from logllm.sinks.reduce.meter import Meter, Named
from logllm.sinks.reduce.reducer import Out, Reducer
from tests.sinks.reduce.reference import Line, Made, Open

SECOND_NS = 1_000_000_000
START_NS = 1_770_000_000 * SECOND_NS
MINUTE_NS = 60 * SECOND_NS
BASE = 1 << 20
"""So that numbers take the same bytes each."""


def name_of(key: int) -> Named:
    return Named("app", str(key), f"template {key}")


def reducer(**settings: Any) -> Reducer:
    """One with these settings."""
    return Reducer(ReduceConfig(**settings), Meter(name_of, lambda: 0.0))


def entry(number: int, record: Made) -> bytes:
    """`[[EventTime, {}], {"n": number, ...}]`."""
    fields: dict[str, Any] = {"n": number + BASE, "pad": "x" * (record.key % 7 * 5)}
    if record.counted:
        fields["logllm_count"] = "came with it"
    stamp = struct.pack(">II", record.time_ns // SECOND_NS, record.time_ns % SECOND_NS)
    return b"\x92\x92\xd7\0" + stamp + b"\x80" + bytes(msgpack.packb(fields))


def columns_of(records: Sequence[Made]) -> Columns:
    """What detectors read of them."""
    return Columns(
        np.array([record.time_ns for record in records], np.int64),
        ["text"] * len(records),
        np.array([record.severity for record in records], np.uint8),
        np.array([record.service for record in records], np.int32),
        ["app"],
    )


@dataclass(frozen=True)
class See:
    """Records in between which detectors are not asked."""

    records: tuple[Made, ...]
    clock_ns: int
    learning: bool = False


@dataclass(frozen=True)
class Judged:
    """Detectors have looked."""

    cited: tuple[tuple[Open, tuple[Line, ...]], ...]
    open: tuple[Open, ...]


@dataclass(frozen=True)
class Merge:
    """Key `old` became part of key `new`."""

    old: int
    new: int


@dataclass(frozen=True)
class Forget:
    """A key is gone."""

    key: int


Step = See | Judged | Merge | Forget


@dataclass(slots=True)
class Driven:
    """A reducer's output: number -> entry as it came out, in order of coming out."""

    reducer: Reducer
    entries: dict[int, bytes] = field(default_factory=dict)
    twice: list[int] = field(default_factory=list)
    number: int = 0
    remembered: int = 10**9

    def run(self, steps: Iterable[Step], cuts: Iterable[int] = ()) -> None:
        """All steps; a chunk ends behind the records whose numbers are in `cuts`, and at the end."""
        parts = list(pieces(steps, set(cuts)))
        at = 0
        while at < len(parts):
            end = next((n for n in range(at, len(parts)) if isinstance(parts[n], str)), len(parts))
            self._chunk([step for step in parts[at:end] if not isinstance(step, str)])
            at = end + 1

    def _chunk(self, steps: list[Step]) -> None:
        records = [record for step in steps if isinstance(step, See) for record in step.records]
        entries = [entry(self.number + n, record) for n, record in enumerate(records)]
        self.number += len(records)
        starts = np.cumsum([0, *map(len, entries)])[:-1].astype(np.uint32)
        self.reducer.begin("app", b"".join(entries), starts)
        for step in steps:
            apply(self.reducer, step, self.remembered)
        out = self.reducer.end()
        self.take(self.reducer.late())
        self.take([out])

    def take(self, outs: Iterable[Out]) -> None:
        """Read what came out."""
        for out in outs:
            found = list(cut(out.block))
            assert len(found) == out.count
            for each in found:
                number = msgpack.unpackb(each[13:])["n"] - BASE
                if number in self.entries:
                    self.twice.append(number)
                self.entries[number] = each

    def finish(self) -> None:
        """No more records come."""
        self.reducer.flush()
        self.take(self.reducer.late())

    @property
    def counts(self) -> dict[int, int]:
        """Number -> what it says it stands for."""
        said = {number: msgpack.unpackb(each[13:]).get("logllm_count", 1) for number, each in self.entries.items()}
        return {number: count if isinstance(count, int) else 1 for number, count in said.items()}


def apply(made: Reducer, step: Step, remembered: int) -> None:
    """One step."""
    if isinstance(step, See):
        keys = np.array([record.key for record in step.records], np.int32)
        services = np.array([record.service for record in step.records], np.int32)
        bad = np.array([record.bad for record in step.records], np.bool_)
        columns = columns_of(step.records)
        made.see(columns, keys, services, bad, step.clock_ns, remembered, learning=step.learning)
    elif isinstance(step, Judged):
        for incident, cited in step.cited:
            made.cite(incident, cited)
        made.judged(list(step.open))
    elif isinstance(step, Merge):
        made.merge(step.old, step.new)
    else:
        made.forget([step.key])


def pieces(steps: Iterable[Step], cuts: set[int]) -> Iterator[Step | str]:
    """The steps with their records cut further; a word where a chunk ends."""
    number = 0
    for step in steps:
        if not isinstance(step, See):
            yield step
            continue
        begun = 0
        for at in range(1, len(step.records) + 1):
            if number + at in cuts or at == len(step.records):
                yield replace(step, records=step.records[begun:at])
                begun = at
            if number + at in cuts:
                yield "cut"
        number += len(step.records)


def cut(block: bytes) -> Iterator[bytes]:
    """The entries of a block."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(block) + 1)
    unpacker.feed(block)
    at = 0
    while at < len(block):
        unpacker.skip()
        yield block[at : unpacker.tell()]
        at = unpacker.tell()


def scenario(seed: int, minutes: int = 40, keys: int = 9, services: int = 3) -> list[Step]:
    """Some minutes of records with incidents, merges and keys that go, drawn from a seed."""
    source = random.Random(seed)
    steps: list[Step] = []
    alive = list(range(keys))
    service_of = {key: source.randrange(services) for key in range(200)}
    fresh = keys
    live: list[Open] = []
    recent: list[Made] = []
    for minute in range(minutes):
        clock_ns = START_NS // MINUTE_NS * MINUTE_NS + minute * MINUTE_NS
        for _ in range(source.randrange(1, 3)):
            records = []
            for _ in range(source.choice((1, 3, 40, 120))):
                key = source.choice(alive[: source.randrange(1, len(alive) + 1)])
                time_ns = clock_ns + source.randrange(-30, 60) * SECOND_NS + source.randrange(5)
                severity = source.choice((9,) * 60 + (17, 0))
                record = Made(time_ns, key, service_of[key], severity, source.random() < 0.5, source.random() < 0.01)
                records.append(replace(record, size=len(entry(0, record))))
            steps.append(See(tuple(records), clock_ns, minute < 2))
            recent = [*recent, *records][-400:]
        cited = []
        if source.random() < 0.25:
            lead = source.choice(recent)
            whole = source.random() < 0.1
            some = list(dict.fromkeys([lead.key, source.choice(alive)]))
            started = clock_ns // MINUTE_NS - source.randrange(3)
            live.append(Open(f"inc-{len(steps)}", -1 if whole else lead.service, some, started))
        for incident in live:
            if source.random() < 0.4:
                lines = [Line(one.time_ns, one.key) for one in source.sample(recent, min(3, len(recent)))]
                cited.append((incident, tuple(lines)))
        if live and source.random() < 0.2:
            live = live[1:]
        steps.append(Judged(tuple(cited), tuple(live)))
        if source.random() < 0.2 and len(alive) > 3:
            old, new = source.sample(alive, 2)
            if service_of[old] == service_of[new] and not any(old in incident.keys for incident in live):
                alive.remove(old)
                steps.append(Merge(old, new))
                recent = [replace(one, key=new) if one.key == old else one for one in recent]
        if source.random() < 0.15 and len(alive) > 3:
            gone = source.choice(alive)
            if not any(gone in incident.keys for incident in live):
                alive.remove(gone)
                steps.append(Forget(gone))
                recent = [one for one in recent if one.key != gone] or recent
        if source.random() < 0.3:
            alive.append(fresh)
            fresh += 1
    return steps
