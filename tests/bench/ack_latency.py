"""How long a sender waits for its ack with a file sink, against one write and fsync of the same bytes.

    python tests/bench/ack_latency.py [SECONDS]

A real `logllm serve` is a child. Each connection sends a chunk of 1,000 records, waits for the ack, and sends the next
at its time: 10 a second each, so that the waits are those of a service with room to spare. The ratio to a plain write
and fsync of as many bytes, measured in between on the same disk, is what can be compared between machines.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.bench.delivery import ACK_BYTES, served
from tests.bench.pipeline import bare, frames, hdfs

RECORDS = 1_000
EVERY_S = 0.1


def _sender(port: int, data: list[bytes], waits: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        due = time.perf_counter()
        for frame in data:
            time.sleep(max(0.0, due - time.perf_counter()))
            due += EVERY_S
            begun = time.perf_counter()
            sock.sendall(frame)
            got = 0
            while got < ACK_BYTES:
                piece = sock.recv(1024)
                if not piece:
                    raise AssertionError("the connection was closed before the ack")
                got += len(piece)
            waits.append(time.perf_counter() - begun)


def _syncs(path: Path, data: bytes, stop: threading.Event, waits: list[float]) -> None:
    with path.open("wb", buffering=0) as file:
        while not stop.wait(EVERY_S):
            begun = time.perf_counter()
            file.write(data)
            os.fdatasync(file.fileno())
            waits.append(time.perf_counter() - begun)


def _at(waits: list[float], share: float) -> float:
    """Milliseconds."""
    return sorted(waits)[min(int(len(waits) * share), len(waits) - 1)] * 1000


def main(seconds: float = 10.0) -> None:
    """Print waits for some numbers of connections."""
    source = random.Random(7)
    print("milliseconds to the ack of 1,000 records, 10 chunks a second and connection")
    print(f"  {'':16}{'p50':>8}{'p95':>8}{'p99':>8}{'fsync p50':>12}{'p99':>8}{'ratio p50':>12}")
    for connections in (1, 8, 32):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "logllm.cli", "serve", "--no-llm", "--json", "--listen", "127.0.0.1:0"]
            command += ["--http", "127.0.0.1:0", "--sink", f"file:{folder}/out.ndjson"]
            chunks = int(seconds / EVERY_S)
            made = [
                frames([bare(hdfs(source)) for _ in range(RECORDS)], at) for at in range(0, chunks * RECORDS, RECORDS)
            ]
            # A name of its own for each connection's chunks, or they would be taken for the same sent again.
            data = [[frame.replace(b"pU8E", b"%04d" % number) for frame in made] for number in range(connections)]
            waits: list[float] = []
            plain: list[float] = []
            stop = threading.Event()
            with served(command) as server:
                disk = threading.Thread(target=_syncs, args=(Path(folder) / "plain", data[0][0], stop, plain))
                threads = [threading.Thread(target=_sender, args=(server.forward_port, mine, waits)) for mine in data]
                for thread in [disk, *threads]:
                    thread.start()
                for thread in threads:
                    thread.join()
                stop.set()
                disk.join()
            waits = waits[connections * 5 :]
            p50, plain_p50 = _at(waits, 0.5), _at(plain, 0.5)
            print(
                f"  {connections:3} connections {p50:8.1f}{_at(waits, 0.95):8.1f}{_at(waits, 0.99):8.1f}"
                f"{plain_p50:12.1f}{_at(plain, 0.99):8.1f}{p50 / plain_p50:11.1f}x",
                flush=True,
            )


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:]))
