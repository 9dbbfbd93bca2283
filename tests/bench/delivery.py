"""What a record costs from a sender's socket to its ack, against a plain `msgpack.Unpacker` loop over the same bytes.

    python tests/bench/delivery.py [RECORDS] [ROUNDS]

A real `logllm serve` is a child; the sender holds two connections, as Fluent Bit does, with frames of up to 2 MB and
an ack awaited for each. CPU time is the child's own, all threads, from when it listens to the last ack, without its
start. The first round, in which templates and formats are learned, is left out; of the rest the least counts. The
seconds cannot be compared between machines, the ratio can. "Receive" alone is the forward server and nothing behind it.
"""

from __future__ import annotations

import gc
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm import Pipeline
from logllm.sinks.file import FileSink, FileSinkConfig
from logllm.sinks.keys import delivery_key
from logllm.sinks.ledger import Ledger
from logllm.sinks.ndjson import ndjson
from logllm.sinks.parcel import Parcel
from logllm.sources.forward.protocol import Received, Receiver
from tests.bench.pipeline import bare, frames, hdfs, with_header

CONNECTIONS = 2
GOAL = 1.0
ACK_BYTES = len(msgpack.packb({"ack": "x" * 24}))
READ_BYTES = 1 << 20
FRAME = 10_000
"""Records in a frame: somewhat less than the 2 MB at which Fluent Bit closes a chunk."""

_ONLY_RECEIVE = """
import asyncio, sys, time
from logllm.sources.forward.server import ForwardConfig
from logllm.web.app import HttpServer

async def accept(*_):
    pass

async def main():
    server = ForwardConfig(listen="127.0.0.1:0").build(accept)
    def metrics():
        return f"logllm_process_cpu_seconds_total {time.process_time()}".encode()
    async with server, HttpServer("127.0.0.1:0", dict, list, metrics) as http:
        print(f"logllm: forward on 127.0.0.1:{server.address[1]}, http on 127.0.0.1:{http.address[1]}",
              file=sys.stderr, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


class Server:
    """A child that listens."""

    def __init__(self, command: list[str]) -> None:
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert self.child.stderr is not None
        line = self.child.stderr.readline().decode()
        self.forward_port, self.http_port = (int(port) for port in re.findall(r":(\d+)", line))

    def value(self, name: str) -> float:
        """A metric; 0 where it has none of that name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=30) as answer:
            found = re.search(rf"^{name}(?:{{.*}})? (\S+)$", answer.read().decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def cpu_s(self) -> float:
        """User and system time of all its threads."""
        return self.value("logllm_process_cpu_seconds_total")


@contextmanager
def served(command: list[str]) -> Iterator[Server]:
    """Run it, and end it."""
    server = Server(command)
    try:
        yield server
    finally:
        server.child.terminate()
        server.child.wait(60)
        assert server.child.stderr is not None
        server.child.stderr.close()


def send(port: int, data: list[bytes]) -> None:
    """Send frames over some connections at once, each waiting for its ack before the next."""
    waiting = iter(data)
    lock = threading.Lock()

    def one() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            while True:
                with lock:
                    frame = next(waiting, None)
                if frame is None:
                    return
                sock.sendall(frame)
                answer = b""
                while len(answer) < ACK_BYTES:
                    piece = sock.recv(1024)
                    if not piece:
                        raise AssertionError("the connection was closed before the ack")
                    answer += piece

    threads = [threading.Thread(target=one) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Row(msgspec.Struct, frozen=True):
    """CPU-seconds per million records, of logllm and of the plain loop, and records a second by the clock."""

    name: str
    cpu_s: float
    plain_s: float
    records_per_s: float


def _plain(data: list[bytes]) -> float:
    gc.collect()
    begun = time.process_time()
    for frame in data:
        unpacker = msgpack.Unpacker(max_buffer_size=len(frame) + 1, raw=False)
        unpacker.feed(frame)
        for _ in unpacker:
            pass
    return time.process_time() - begun


Shape = Callable[[str], dict[str, object]]


def measure(name: str, command: list[str], records: int, rounds: int, shape: Shape = bare) -> Row:
    """Send so many records in each round; every round has later ones, as a service sees them."""
    source = random.Random(7)
    cpu, plain, wall = [], [], []
    with served(command) as server:
        for number in range(rounds + 1):
            data = [
                frames([shape(hdfs(source)) for _ in range(FRAME)], number * records + at)
                for at in range(0, records, FRAME)
            ]
            plain.append(_plain(data))
            before, begun = server.cpu_s(), time.perf_counter()
            send(server.forward_port, data)
            wall.append(time.perf_counter() - begun)
            cpu.append(server.cpu_s() - before)
            plain.append(_plain(data))
        arrived = server.value("logllm_component_received_events_total")
    sent = len(data) * FRAME
    if arrived not in (0.0, sent * (rounds + 1)):
        raise AssertionError(f"{arrived:.0f} records arrived of {sent * (rounds + 1)}")
    scale = 1e6 / sent
    return Row(name, min(cpu[1:]) * scale, min(plain) * scale, sent / min(wall[1:]))


def commands(folder: Path) -> dict[str, tuple[list[str], Shape]]:
    """What is measured, by name."""
    serve = [sys.executable, "-m", "logllm.cli", "serve", "--no-llm", "--json"]
    serve += ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    return {
        "receive, ack": ([sys.executable, "-c", _ONLY_RECEIVE], bare),
        "receive, mine, detect, ack": (serve, bare),
        "the same, lines with a header": (serve, with_header),
        "+ file sink, msgpack": ([*serve, "--sink", f"file:{folder}/a.msgpack"], bare),
        "+ file sink, NDJSON": ([*serve, "--sink", f"file:{folder}/a.ndjson"], bare),
        "+ file sink, NDJSON, zstd": ([*serve, "--sink", f"file:{folder}/a.ndjson.zst"], bare),
        "lines with a header, NDJSON": ([*serve, "--sink", f"file:{folder}/b.ndjson"], with_header),
    }


def parts(records: int, rounds: int) -> dict[str, float]:
    """CPU-seconds per million records of the pieces by themselves, in this process and one thread."""
    source = random.Random(11)
    pipeline = Pipeline()
    least: dict[str, float] = {}

    def clocked(name: str, begun: float) -> float:
        now = time.process_time()
        least[name] = min(least.get(name, inf), (now - begun) * 1e6 / records)
        return now

    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger")
        sink = FileSink(FileSinkConfig(f"{folder}/a.msgpack", format="msgpack"), ledger)
        for number in range(rounds + 1):
            if number == 1:
                least.clear()  # What is learned once is no running cost.
            found: list[Received] = []
            data = frames([bare(hdfs(source)) for _ in range(records)], number * records)
            gc.collect()
            receiver = Receiver()
            begun = time.process_time()
            with memoryview(data) as view:
                for at in range(0, len(view), READ_BYTES):
                    receiver.feed(view[at : at + READ_BYTES])
                    found += [item for item in receiver.items() if isinstance(item, Received)]
            begun = clocked("frames: copy, walk, codes of texts (C)", begun)
            for item in found:
                pipeline.feed(item.chunk)
            begun = clocked("templates, windows, detectors", begun)
            for item in found:
                ndjson("app.hdf", item.chunk.block or b"", item.chunk.count)
            begun = clocked("NDJSON (C)", begun)
            for item in found:
                key = delivery_key("app.hdf", item.acks[0])
                sink.write([Parcel("app.hdf", item.chunk.block or b"", item.chunk.count, (key,))])
            clocked("write, fsync, ledger, each frame by itself", begun)
        sink.close()
        ledger.close()
    return least


def main(records: int = 400_000, rounds: int = 3) -> None:
    """Print the figures beside the goal."""
    print(f"{records:,} records a round, {CONNECTIONS} connections, frames of 10,000; CPU-seconds per million records")
    print(f"  {'':30}{'logllm':>8}{'Unpacker':>10}{'ratio':>8}{'records/s':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for name, (command, shape) in commands(Path(folder)).items():
            row = measure(name, command, records, rounds, shape)
            goal = "" if "sink" in name or "NDJSON" in name or name == "receive, ack" else f"   goal {GOAL}"
            print(
                f"  {row.name:30}{row.cpu_s:8.2f}{row.plain_s:10.2f}{row.cpu_s / row.plain_s:7.2f}x"
                f"{row.records_per_s:12,.0f}{goal}",
                flush=True,
            )
    print("  the pieces by themselves; what is missing to the rows above is sockets, asyncio, threads, freeing:")
    for name, seconds in parts(FRAME * 10, rounds).items():
        print(f"  {name:44}{seconds:8.3f}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
