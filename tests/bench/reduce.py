"""What the reducer costs a record, and what it leaves of a made-up day in which 50 things go wrong.

    python tests/bench/reduce.py [RECORDS]

First the day of tests/sinks/reduce/day.py goes through `logllm replay --proof`, written to a file and read back: bytes
out of bytes in, and whether what incidents cite, and what was said around it, is there. Then chunks are taken in by a
pipeline alone and by one with a reducer, in turns; figures are CPU-seconds per million records, the least of some
rounds. The ratio can be compared between machines and runs, the seconds cannot.
"""

from __future__ import annotations

import gc
import random
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgpack  # type: ignore[import-untyped]

from logllm import Config, Pipeline
from logllm.detectors.config import DetectConfig
from logllm.events import Chunk
from logllm.service.reduction import Reduction
from logllm.service.replay import ReplayOptions, replay
from logllm.service.stored import frames as stored_frames
from logllm.sinks.reduce.config import ReduceConfig
from logllm.sources.file_stats import ReadStats
from logllm.sources.forward.protocol import Received, Receiver
from tests.bench.pipeline import START_S, frames, hdfs, with_fields
from tests.sinks.reduce.day import made
from tests.sinks.reduce.silent import Silent

ROUNDS = 4
READ_BYTES = 1 << 20
GOAL_SHARE = 0.20
LEARNING_MINUTES = 70


def prove(path: Path, records: int) -> None:
    """Write the day, replay it, and print what is left of it and what is proved."""
    day = made(int(records * 0.93))
    day.write(path)
    begun = time.process_time()
    config = Config(detect=DetectConfig(alerts_per_day=200.0))
    replayed = replay(ReplayOptions(str(path), proof=True), config, Silent())
    took = time.process_time() - begun
    reduced, proofs = replayed.summary.reduced, replayed.proofs
    assert reduced is not None
    assert proofs is not None
    share = reduced.bytes_out / reduced.bytes_in
    cited, found = sum(one.cited for one in proofs), sum(one.cited_found for one in proofs)
    around = sum(one.before + one.after for one in proofs)
    around_found = sum(one.before_found + one.after_found for one in proofs)
    print(
        f"  {len(day):,} records, {reduced.bytes_in:,} bytes in; {reduced.records_out:,} records, "
        f"{reduced.bytes_out:,} bytes out = {share:.1%} (goal: {GOAL_SHARE:.0%})"
    )
    print(
        f"  {len(proofs)} incidents of {len(day.injected)} put in; in the output are {found} of {cited} records cited, "
        f"{around_found:,} of {around:,} around them; {took:.1f} CPU-s with the proof"
    )
    if share > GOAL_SHARE or found < cited or around_found < around:
        raise AssertionError("a goal is missed")


def learned() -> list[Chunk]:
    """A quiet hour and some minutes before `frames` begin, or the reducer would keep everything."""
    found = []
    for minute in range(LEARNING_MINUTES):
        stamp = struct.pack(">II", START_S - 60 * (LEARNING_MINUTES - minute), 0)
        entry = b"\x92\x92\xd7\0" + stamp + b"\x80" + bytes(msgpack.packb(with_fields(hdfs(random.Random(minute)))))
        found.append(Chunk("app.hdf", 1, len(entry), block=entry))
    return found


def busy(records: int, round_number: int) -> list[Chunk]:
    """Chunks of 2 MB at 2,000 records a second, as Fluent Bit sends them when there is much to send."""
    source = random.Random(round_number)
    data = frames([with_fields(hdfs(source)) for _ in range(records)], round_number * records)
    receiver = Receiver()
    found = []
    for at in range(0, len(data), READ_BYTES):
        receiver.feed(memoryview(data)[at : at + READ_BYTES])
        found += [item.chunk for item in receiver.items() if isinstance(item, Received)]
    return found


def measure(title: str, before: list[Chunk], chunks_of: Callable[[int], list[Chunk]], rounds: int) -> None:
    """Print what taking chunks in costs with a reducer and without."""
    config = Config(detect=DetectConfig(alerts_per_day=200.0))
    alone, reduced = Pipeline(config), Pipeline(config)
    reduction = Reduction(ReduceConfig(enabled=True), reduced)

    def with_reducer(chunk: Chunk) -> None:
        reduction.take(chunk, [], None)
        reduction.late()

    ways: dict[str, Callable[[Chunk], object]] = {
        "alone": lambda chunk: alone.take(chunk, []),
        "with a reducer": with_reducer,
    }
    for chunk in before:
        for way in ways.values():
            way(replace(chunk))
    best: dict[str, float] = {}
    for number in range(rounds):
        chunks = chunks_of(number)
        records = sum(chunk.count for chunk in chunks)
        for name, way in ways.items():
            mine = [replace(chunk) for chunk in chunks]
            gc.collect()
            begun = time.process_time()
            for chunk in mine:
                way(chunk)
            spent = (time.process_time() - begun) * 1e6 / records
            if number or rounds == 1:
                best[name] = min(best.get(name, spent), spent)
    bare, both = best["alone"], best["with a reducer"]
    total = reduction.meter.total
    print(
        f"  {title:34}pipeline {bare:6.2f}, with a reducer {both:6.2f} CPU-s per million: adds {both - bare:5.2f}, "
        f"{both / bare:4.2f} times; {total.bytes_out / total.bytes_in:.1%} of the bytes left"
    )


def main(records: int = 1_000_000) -> None:
    """Print the figures beside the goals."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "day.msgpack"
        print("the day, replayed and proved")
        prove(path, records)
        day = list(stored_frames(str(path), ReadStats()))
    print("what it costs; in the day a chunk has some 100 records, in the other some 10,000")
    measure("the day, after its first round", day[: len(day) // 4], lambda _: day[len(day) // 4 :], 1)
    measure("2 MB chunks, four fields", learned(), lambda number: busy(100_000, number), ROUNDS)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
