"""What a record costs from a block of entries to a line of JSON, against what Python's libraries need for the same.

    python tests/bench/ndjson.py [ENTRIES]

The ratios can be compared between machines and runs, the seconds cannot. Figures are CPU time, the least of some
rounds in which all ways take turns. An Unpacker alone writes nothing: it is what any way through Python objects costs
before it begins.
"""

from __future__ import annotations

import gc
import json
import random
import struct
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]

from logllm.sinks import transcode
from logllm.sinks.ndjson import in_python, line_head, ndjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 5
GOAL_S_PER_MILLION = 0.25
"""For the first shape."""
BLOCK_BYTES = 2_048_000
"""Fluent Bit's engine closes a chunk at this size, and a block is a chunk."""
START_S = 1_700_000_000
RECORDS_A_SECOND = 2_000
TAG = "app.web"


def message(source: random.Random) -> str:
    """A line of 100 characters."""
    who, port, took = source.randrange(250), source.randrange(32_000, 61_000), source.randrange(1000)
    text = f"10.250.{who}.17:{port} GET /api/v1/orders/{source.randrange(10**9)}/items?page={who} 200 {took} ms "
    return (text + "upstream=cart-7d9f6c5b44-x2x7q cache=miss retries=0 tls=1.3")[:100]


def bare(text: str, _: random.Random) -> dict[str, object]:
    """What Fluent Bit's tail input makes of a line."""
    return {"log": text}


def with_fields(text: str, source: random.Random) -> dict[str, object]:
    """What an application that logs in JSON sends."""
    return {"log": text, "level": "info", "status": 200, "took_ms": round(source.uniform(0, 90), 3)}


def in_kubernetes(text: str, source: random.Random) -> dict[str, object]:
    """With what the kubernetes filter adds."""
    labels = {"app": "cart", "pod-template-hash": "7d9f6c5b44", "tier": "shop"}
    pod = {"namespace_name": "shop", "pod_name": "cart-7d9f6c5b44-x2x7q", "container_name": "cart"}
    where = {"host": f"node-{source.randrange(9)}", "pod_id": "8d0c2a44-1b1f-4a52-9f3c-444455556666"}
    return {"log": text, "stream": "stdout", "level": "info", "kubernetes": {**pod, "labels": labels, **where}}


def in_quotes(text: str, _: random.Random) -> dict[str, object]:
    """JSON as text, as container logs hold it: a quote every few characters."""
    return {"log": json.dumps({"level": "info", "msg": text[:60], "user": "José", "n": 1}, ensure_ascii=False) + "\n"}


def with_exponent(text: str, source: random.Random) -> dict[str, object]:
    """A float that Python writes with an exponent: each is left to it."""
    return {"log": text, "rate": source.uniform(1e-7, 9e-7)}


SHAPES = {
    "the line alone": bare,
    "four fields": with_fields,
    "kubernetes": in_kubernetes,
    "JSON as text": in_quotes,
    "odd floats": with_exponent,
}


def blocks_of(count: int, shape: Callable[[str, random.Random], dict[str, object]]) -> Iterator[tuple[bytes, int]]:
    """Blocks of about BLOCK_BYTES with their counts; entries `[[EventTime, {}], record]`, RECORDS_A_SECOND of them."""
    source = random.Random(7)
    entries: list[bytes] = []
    size = 0
    for n in range(count):
        time_of_it = struct.pack(">II", START_S + n // RECORDS_A_SECOND, n % RECORDS_A_SECOND * 500_000)
        record = bytes(msgpack.packb(shape(message(source), source)))
        entries.append(b"\x92\x92\xd7\0" + time_of_it + b"\x80" + record)
        size += len(entries[-1])
        if size >= BLOCK_BYTES or n == count - 1:
            yield b"".join(entries), len(entries)
            entries, size = [], 0


def unpacker_of(block: bytes) -> msgpack.Unpacker:
    """With all of a block to give."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(block) + 1)
    unpacker.feed(block)
    return unpacker


def unpack(block: bytes) -> None:
    """The entries as Python objects, one at a time."""
    for _ in unpacker_of(block):
        pass


def measure(block: bytes, count: int) -> dict[str, float]:
    """CPU seconds for each way through a block."""
    records = [entry[1] for entry in unpacker_of(block)]
    ways: dict[str, Callable[[], object]] = {
        "ndjson": lambda: ndjson(TAG, block, count),
        "in Python": lambda: in_python(line_head(TAG), block, count),
        "Unpacker": lambda: unpack(block),
        "json.dumps": lambda: [json.dumps(record) for record in records],
    }
    if ways["ndjson"]() != ways["in Python"]():
        raise AssertionError("the two ways differ")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            gc.collect()
            begun = time.process_time()
            way()
            seconds[name].append(time.process_time() - begun)
    return {name: min(each) for name, each in seconds.items()}


def main(count: int = 50_000) -> None:
    """Print the figures beside the goal."""
    if not transcode.available():
        print("the transcoder cannot be loaded here: both of the first columns are Python")
    print(f"{count:,} entries; CPU-seconds per million (goal for the line alone: {GOAL_S_PER_MILLION})")
    print(
        f"  {'':16}{'bytes':>7}" + "".join(f"{name:>12}" for name in ("ndjson", "in Python", "Unpacker", "json.dumps"))
    )
    for name, shape in SHAPES.items():
        seconds: dict[str, float] = defaultdict(float)
        size = 0
        for block, entries in blocks_of(count, shape):
            size += len(block)
            for way, took in measure(block, entries).items():
                seconds[way] += took
        mine = seconds["ndjson"]
        print(
            f"  {name:16}{size // count:7}"
            + "".join(f"{value * 1e6 / count:12.3f}" for value in seconds.values())
            + f"   {seconds['in Python'] / mine:.0f} x Python, {seconds['Unpacker'] / mine:.1f} x Unpacker, "
            + f"{seconds['json.dumps'] / mine:.0f} x json.dumps; {size / mine / 1e6:,.0f} MB/s"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
