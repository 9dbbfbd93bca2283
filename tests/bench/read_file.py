"""What reading a log file costs a line, as a ratio to `json.loads` of as many 190-byte records in the same run.

Run by hand or by `make bench`; nothing is asserted here.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.sources.file import read_file

if TYPE_CHECKING:
    from collections.abc import Callable

LINES = 100_000
ROUNDS = 5
REFERENCE_NS = 1_767_225_600 * 1_000_000_000


def _clock(row: int) -> str:
    return f"{row // 36_000 % 24:02d}:{row // 600 % 60:02d}:{row // 10 % 60:02d}"


def syslog(row: int) -> str:
    """An RFC 3164 line of sshd's kind."""
    return (
        f"Dec {1 + row % 28:2d} {_clock(row)} web-{row % 5} sshd[{20_000 + row % 9_000}]: "
        f"Failed password for invalid user u{row % 90} from 10.1.{row % 250}.{row % 199} port {row % 60_000} ssh2"
    )


def log4j(row: int) -> str:
    """A line of log4j's usual pattern."""
    level = "WARN" if row % 17 == 0 else "INFO"
    return (
        f"2025-12-{1 + row % 28:02d} {_clock(row)},{row % 1000:03d} {level} [worker-{row % 8}] "
        f"com.example.store.OrderService: order {row} of customer {row * 7 % 5_000} stored in {row % 90} ms"
    )


def json_record(row: int) -> str:
    """A record of about 190 bytes."""
    return json.dumps(
        {
            "time": f"2025-12-{1 + row % 28:02d}T{_clock(row)}.{row % 1000:03d}Z",
            "level": "error" if row % 31 == 0 else "info",
            "service": f"store-{row % 4}",
            "message": f"order {row} of customer {row * 7 % 5_000} stored in {row % 90} ms",
            "request_id": f"{row * 2_654_435_761 % (1 << 32):08x}",
            "path": "/orders",
        }
    )


def plain(row: int) -> str:
    """A line with a header of no known program."""
    when = f"2025/12/{1 + row % 28:02d} {_clock(row)}"
    return f"[{when}] ({row % 9}) <notice> cache: {row % 700} entries dropped after {row} s"


def _best(run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> None:
    """Print microseconds a line and the ratio for each kind of file."""
    records = [json_record(row) for row in range(LINES)]
    size = sum(map(len, records)) / LINES
    base = _best(lambda: [json.loads(record) for record in records]) / LINES * 1e6
    print(f"json.loads         {base:6.2f} us a record of {size:.0f} bytes")
    with tempfile.TemporaryDirectory() as folder:
        for make in (syslog, log4j, json_record, plain):
            path = Path(folder) / f"{make.__name__}.log"
            path.write_text("".join(make(row) + "\n" for row in range(LINES)))

            def read(path: Path = path) -> int:
                return sum(chunk.count for chunk in read_file(path, reference_ns=REFERENCE_NS))

            if read() != LINES:
                raise SystemExit(f"{make.__name__}: {read()} records of {LINES} lines")
            cost = _best(read) / LINES * 1e6
            print(f"read {make.__name__:13s} {cost:6.2f} us a line, {cost / base:4.2f} of json.loads")


if __name__ == "__main__":
    main()
