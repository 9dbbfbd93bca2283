"""What the whole pipeline holds on to when nothing repeats: resident memory by records, size of the state, saving it.

    python tests/bench/memory.py [RECORDS]

Records are Fluent Bit's blocks, at RECORDS_A_SECOND of event time, of services that come and go. Their messages are
random words, their fields have random names beside the known ones, and each has a trace, a user and a duration of its
own. That is what fills every table up to its bound: after that memory must be flat. It prints the resident memory
each 250,000 records, and in the end what a snapshot weighs and takes, part by part.
"""

from __future__ import annotations

import random
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm import Pipeline
from logllm.events import Chunk, Origin

START_S = 1_700_000_000
RECORDS_A_SECOND = 100
STEP = 250_000
_CHUNK = 2_500
_PAGE_BYTES = 4_096


def hostile(records: int, seed: int = 1) -> Iterator[Chunk]:
    """Blocks of records that share next to nothing."""
    source = random.Random(seed)
    letters = "bcdfghjklmnpqrstvwxz"
    for first in range(0, records, _CHUNK):
        block = bytearray()
        for n in range(first, min(first + _CHUNK, records)):
            words = " ".join("".join(source.choices(letters, k=6)) for _ in range(source.randrange(3, 8)))
            stamp = b"\x92\x92\xd7\0" + struct.pack(">II", START_S + n // RECORDS_A_SECOND, 0) + b"\x80"
            record = {
                "log": f"{words} {n} ms req-{source.getrandbits(64):016x}",
                "service": f"svc-{source.randrange(300)}",
                "trace_id": f"{source.getrandbits(64):x}",
                "user": f"u{source.getrandbits(40)}",
                "duration_ms": source.random() * 1000,
                "".join(source.choices(letters, k=5)) + "_ms": source.random(),
            }
            block += stamp + bytes(msgpack.packb(record))
        yield Chunk(
            f"app.{first // _CHUNK % 50}", min(_CHUNK, records - first), len(block), Origin("10.0.0.1"), bytes(block)
        )


def resident_mb() -> float:
    """What this process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6


def main(records: int = 3_000_000) -> list[float]:
    """Print the figures; returns resident MB at each step."""
    pipeline = Pipeline()
    held: list[float] = []
    begun = time.process_time()
    print(f"{resident_mb():7.0f} MB before the first record")
    for number, chunk in enumerate(hostile(records), 1):
        pipeline.feed(chunk)
        if number * _CHUNK % STEP == 0:
            held.append(resident_mb())
            print(
                f"{held[-1]:7.0f} MB after {number * _CHUNK:>11,} records; {pipeline.keys.count:,} keys, "
                f"{len(pipeline.miner):,} templates, {pipeline.detection.windows:,} windows, "
                f"{time.process_time() - begun:.0f} CPU-s",
                flush=True,
            )
    begun = time.process_time()
    state = pipeline.state()
    packed = msgspec.msgpack.encode(state)
    print(
        f"state: {len(packed) / 1e6:.1f} MB in {time.process_time() - begun:.2f} CPU-s; with it {resident_mb():.0f} MB"
    )
    for name, part in state.items():
        print(f"  {name:12}{len(msgspec.msgpack.encode(part)) / 1e6:8.2f} MB")
    return held


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
