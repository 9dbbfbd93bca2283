"""What a record costs from a forward frame to the detectors, against `json.loads`; and a long file from disk.

    python tests/bench/pipeline.py [RECORDS] [FILE_LINES]

The ratio can be compared between machines and runs, the seconds cannot. Figures are CPU time, the least of some
rounds, with json.loads of the same records measured in between. The file is read in a process of its own, for its
peak memory.
"""

from __future__ import annotations

import gc
import json
import random
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm import Pipeline
from logllm.sources.forward.protocol import Received, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
FRAME_BYTES = 2_048_000
"""Fluent Bit's engine closes a chunk at this size, and a frame is a chunk."""
SEGMENTS_BYTES = (1 << 20, 1 << 16)
"""What one read from the socket brings: `serve` takes up to a megabyte at a time from a busy sender."""
START_S = 1_700_000_000
RECORDS_A_SECOND = 2_000
GOAL_RATIO, GOAL_LINES_A_SECOND, GOAL_RSS_MB = 6.0, 200_000, 300

_PACKAGE = Path(__file__).parents[2] / "pipeline"
_READ = """
import resource, sys, time
sys.path.insert(0, sys.argv[2])
from logllm import Pipeline, read_file
wall, cpu = time.perf_counter(), time.process_time()
pipeline = Pipeline(look_back=True)
for chunk in read_file(sys.argv[1]):
    pipeline.feed(chunk)
pipeline.finish()
found = pipeline.report()
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(pipeline.records, pipeline.detection.windows, len(found), wall, cpu,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


class ReadFigures(msgspec.Struct, frozen=True):
    """What reading a file took: wall and CPU seconds, peak resident memory."""

    records: int
    windows: int
    incidents: int
    wall_s: float
    cpu_s: float
    rss_mb: float


def hdfs(source: random.Random) -> str:
    """A message as HDFS's data nodes write them, 70 to 150 characters, without the header."""
    block = source.choice((-1, 1)) * source.randrange(10**17, 10**19)
    here, there = (f"10.25{source.randrange(2)}.{source.randrange(250)}.{source.randrange(250)}" for _ in range(2))
    port = source.randrange(32_000, 61_000)
    which = source.random()
    if which < 0.3:
        return f"BLOCK* NameSystem.addStoredBlock: blockMap updated: {here}:50010 is added to blk_{block} size 67108864"
    if which < 0.55:
        return f"Receiving block blk_{block} src: /{here}:{port} dest: /{there}:50010"
    if which < 0.8:
        return f"PacketResponder {port % 3} for block blk_{block} terminating"
    if which < 0.97:
        return f"Received block blk_{block} of size 67108864 from /{here}"
    if which < 0.995:
        return f"Deleting block blk_{block} file /mnt/hadoop/dfs/data/current/subdir{port % 64}/blk_{block}"
    return f"{here}:50010:Got exception while serving blk_{block} to /{there}:"


def bare(message: str) -> dict[str, object]:
    """What Fluent Bit's tail input makes of a line."""
    return {"log": message}


def with_header(message: str) -> dict[str, object]:
    """The line as HDFS writes it to its file: time, level and class must be taken out of the text."""
    return {"log": f"081109 203518 143 INFO dfs.DataNode$PacketResponder: {message}"}


def with_fields(message: str) -> dict[str, object]:
    """Four fields, about 190 bytes as JSON."""
    return {"log": message, "level": "info", "host": "node-17", "thread": "DataXceiver-1843", "pid": 1843}


def in_kubernetes(message: str) -> dict[str, object]:
    """With what the kubernetes filter adds, about 500 bytes as JSON."""
    labels = {"app": "hdfs", "pod-template-hash": "849c6d5b7", "tier": "storage"}
    pod = {"namespace_name": "data", "pod_name": "datanode-849c6d5b7-m5vgl", "container_name": "datanode"}
    where = {"host": "node-17", "pod_id": "8d0c2a44-1b1f-4a52-9f3c-444455556666", "container_image": "hdfs:3.3.6"}
    return {"log": message, "stream": "stdout", "level": "info", "kubernetes": {**pod, "labels": labels, **where}}


SHAPES = {
    "the message alone": bare,
    "the line with its header": with_header,
    "four fields": with_fields,
    "kubernetes": in_kubernetes,
}


def frames(records: list[dict[str, object]], first: int) -> bytes:
    """Forward-mode frames of about FRAME_BYTES, entries `[[EventTime, {}], record]`, RECORDS_A_SECOND of them.

    Args:
        first: The number of the first record, which its time follows from.
    """
    out = []
    each = max(1, FRAME_BYTES // (len(msgpack.packb(records[0])) + 14))
    for at in range(0, len(records), each):
        part = records[at : at + each]
        head = b"\x93\xa7app.hdf\xdd" + struct.pack(">I", len(part))
        entries = (
            b"\x92\x92\xd7\0"
            + struct.pack(">II", START_S + n // RECORDS_A_SECOND, n % RECORDS_A_SECOND * 500_000)
            + b"\x80"
            + bytes(msgpack.packb(record))
            for n, record in enumerate(part, first + at)
        )
        option = {"chunk": f"pU8EZcxql8lv5X1+{first + at:08d}", "size": len(part), "fluent_signal": 0}
        out += [head, *entries, bytes(msgpack.packb(option))]
    return b"".join(out)


def json_lines(records: list[dict[str, object]]) -> list[bytes]:
    """The same records as Fluent Bit sends them in JSON lines: bytes, for ours begin as bytes too."""
    return [json.dumps({"date": START_S + n / RECORDS_A_SECOND, **record}).encode() for n, record in enumerate(records)]


def _receive(data: bytes, segment_bytes: int) -> list[Received]:
    receiver = Receiver()
    found: list[Received] = []
    for at in range(0, len(data), segment_bytes):
        receiver.feed(memoryview(data)[at : at + segment_bytes])
        found += [item for item in receiver.items() if isinstance(item, Received)]
    return found


def measure_frames(
    count: int, shape: Callable[[str], dict[str, object]], segment_bytes: int
) -> tuple[dict[str, float], float]:
    """CPU seconds for `count` records of: json.loads, the whole way from bytes, and parts of it; then the first time.

    One pipeline goes on through all rounds, each with later records, as a service does. In the first it has
    everything to learn: what the lines look like, their templates, the scanner to compile.
    """
    source = random.Random(7)
    pipeline = Pipeline()
    seconds: dict[str, list[float]] = {}

    def clocked(name: str, begun: float) -> None:
        seconds.setdefault(name, []).append(time.process_time() - begun)

    for number in range(ROUNDS + 1):
        records = [shape(hdfs(source)) for _ in range(count)]
        data, texts = frames(records, number * count), json_lines(records)
        gc.collect()
        begun = time.process_time()
        for text in texts:
            json.loads(text)
        clocked("json.loads", begun)
        gc.collect()
        begun = time.process_time()
        received = _receive(data, segment_bytes)
        clocked("frames alone", begun)
        for item in received:
            pipeline.feed(item.chunk)
        clocked("all of it", begun)
        del received
        if pipeline.records != (number + 1) * count:
            raise AssertionError(f"{pipeline.records} records arrived of {(number + 1) * count}")
    return {name: min(each[1:]) for name, each in seconds.items()}, seconds["all of it"][0]


def write_syslog(path: Path, lines: int) -> None:
    """A syslog file of so many lines over one week: five services by day and night, a burst of errors now and then."""
    source = random.Random(3)
    seconds = 7 * 86_400
    with path.open("w", encoding="utf-8") as file:
        for n in range(lines):
            at = n * seconds // lines
            day, clock = 3 + at // 86_400, f"{at // 3600 % 24:02d}:{at // 60 % 60:02d}:{at % 60:02d}"
            which, who, number = source.random(), source.randrange(250), source.randrange(60_000)
            if which < 0.4:
                text = f"nginx[{900 + n % 8}]: 10.0.{who}.{number % 250} GET /api/v1/orders/{number} 200 in {who} ms"
            elif which < 0.6:
                text = f"sshd[{number}]: Accepted publickey for deploy from 10.1.{who}.7 port {number} ssh2"
            elif which < 0.8:
                text = f"postgres[{number}]: duration: {who}.{number % 1000:03d} ms statement {number % 40}"
            elif which < 0.99:
                text = f"kernel: eth{number % 4}: link state {number} checked, {who} packets in queue"
            else:
                text = f"worker[{number}]: job {number:016x} failed after {who} s: connection reset by peer"
            file.write(f"Mar {day:2d} {clock} web-{n % 4} {text}\n")


def measure_file(lines: int) -> ReadFigures:
    """Reads a generated file in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "messages.log"
        write_syslog(path, lines)
        command = [sys.executable, "-c", _READ, str(path), str(_PACKAGE)]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    records, windows, incidents, wall_s, cpu_s, rss_mb = out.split()
    return ReadFigures(int(records), int(windows), int(incidents), float(wall_s), float(cpu_s), float(rss_mb))


def main(records: int = 100_000, file_lines: int = 1_000_000) -> None:
    """Print the figures beside the goals."""
    # First, for a child's peak memory begins with that of the process it was split from.
    read = measure_file(file_lines)
    print(f"{records:,} forward records a round; CPU-seconds per million; the first round has all to learn")
    columns = ("json.loads", "frames alone", "all of it")
    print(f"  {'':26}{'read of':>10}" + "".join(f"{name:>14}" for name in (*columns, "first round")))
    for name, shape in SHAPES.items():
        for segment_bytes in SEGMENTS_BYTES:
            seconds, first = measure_frames(records, shape, segment_bytes)
            ratio = seconds["json.loads"] / seconds["all of it"]
            print(
                f"  {name:26}{segment_bytes >> 10:>6} KiB"
                + "".join(f"{value * 1e6 / records:14.2f}" for value in (*(seconds[c] for c in columns), first))
                + f"  {records / seconds['all of it']:10,.0f}/s = {ratio:.1f} x json.loads (goal: {GOAL_RATIO})"
            )
    print(f"file of {file_lines:,} lines over a week: {read.windows:,} windows, {read.incidents} incidents")
    print(
        f"  {read.records / read.cpu_s:,.0f} lines/s of CPU, {read.records / read.wall_s:,.0f} by the clock "
        f"(goal: {GOAL_LINES_A_SECOND:,}); peak {read.rss_mb:.0f} MB (goal: under {GOAL_RSS_MB})"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
