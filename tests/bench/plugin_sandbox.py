"""What hostile plugins cost: time, calls and new instances until the limits stop them; and what neighbours notice.

    python tests/bench/plugin_sandbox.py [CALLS]

The guests are those of the sandbox suite, with the limits that are in force where nothing is configured. Each is given
blocks of 1,000 records, at one of which it does harm, until it is bypassed (or twenty of them); records are counted.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from logllm.filters.chain import Filters
from logllm.filters.config import Limits, PluginConfig
from tests.filters.hostile import FLUENT, FOR_EVER, NATIVE, Hostile
from tests.filters.lives import CHANGED, Checks, chain, fluent
from tests.filters.native_guests import block, wat

RECORDS = 1000
BLOCKS = 20
_POISON_AT = 611


def hostile_row(folder: Path, abi: str, one: Hostile, given: bytes) -> str:
    """One hostile plugin."""
    filters = chain(folder, one.code, grants=list(one.grants), ask=lambda *_: True)
    slowest_s, out, blocks = 0.0, 0, 0
    while blocks < BLOCKS and not filters.status()[0].bypassed:
        began_s = time.perf_counter()
        out += filters.apply("ingest", "app", "", given, RECORDS).count
        slowest_s = max(slowest_s, time.perf_counter() - began_s)
        blocks += 1
    status = filters.status()[0]
    filters.close()
    failures = ", ".join(f"{reason} {count}" for reason, count in status.failures.items())
    floods = ", ".join(f"{name} {count}" for name, count in status.lost.items() if count)
    lost = blocks * RECORDS - out
    return (
        f"{abi:10}{one.name:30}{blocks:7}{status.calls:7}{status.restarts:9}{status.seconds * 1000:10.1f}"
        f"{slowest_s * 1000:11.1f}{lost:6}{'yes' if status.bypassed else 'no':>10}  {failures or floods or '-'}"
    )


def flat_row(folder: Path, name: str, code: bytes, calls: int) -> str:
    """Many calls of one record each, and how memory grows."""
    filters = chain(folder, code, reload=False)
    given = block("a")
    for _ in range(1000):
        filters.apply("ingest", "app", "", given, 1)
    before, linear = _resident_kib(), filters.status()[0].memory_bytes
    began_s = time.perf_counter()
    for _ in range(calls):
        filters.apply("ingest", "app", "", given, 1)
    spent_s = time.perf_counter() - began_s
    grown, more = _resident_kib() - before, filters.status()[0].memory_bytes - linear
    filters.close()
    each_us = spent_s / calls * 1e6
    return f"{name:40}{calls:10} calls, process {grown:+d} KiB, linear memory {more:+d} bytes, {each_us:.1f} us a call"


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4


def neighbour_rows(folder: Path) -> list[str]:
    """How long a good tenant's blocks take alone, and beside one that loops for ever, each in a thread of its own."""
    body = f"(if (i32.eq (i32.load8_u offset=10 (local.get $p)) (i32.const 80)) (then {FOR_EVER})) {CHANGED}"
    path = folder / "neighbours.wat"
    path.write_bytes(wat(body))
    config = PluginConfig(path=str(path), tenant="tag:1", breaker_failures=1_000_000, limits=Limits(chunk_ms=1000))
    filters = Filters([config], check=Checks())
    given = block(*(f"w{i % 1000}" for i in range(RECORDS)))
    done, began = threading.Event(), threading.Event()

    def hostile() -> None:
        while not done.is_set():
            began.set()
            filters.apply("ingest", "bad.app", "", block("P"), 1)

    rows = []
    for title in ("alone", "beside a tenant that loops"):
        thread = None
        if title != "alone":
            thread = threading.Thread(target=hostile)
            thread.start()
            began.wait()
        times_ms = []
        for _ in range(400):
            began_s = time.perf_counter()
            filters.apply("ingest", "good.app", "", given, RECORDS)
            times_ms.append((time.perf_counter() - began_s) * 1000)
        if thread is not None:
            done.set()
            thread.join()
        ordered = sorted(times_ms)
        rows.append(
            f"a good tenant's block of {RECORDS} records, {title:28} median {statistics.median(ordered):.2f} ms, "
            f"of 100 the slowest {ordered[len(ordered) * 99 // 100]:.2f} ms, slowest {ordered[-1]:.2f} ms"
        )
    filters.close()
    return rows


def main(calls: int = 1_000_000) -> None:
    """Print the tables."""
    logging.getLogger("logllm.plugin").setLevel(logging.CRITICAL)
    limits = Limits()
    print(f"limits: {msgspec.json.encode(limits).decode()}")
    words = [f"w{i}" for i in range(RECORDS)]
    words[_POISON_AT] = "P"
    given = block(*words)
    print(
        f"{'ABI':10}{'plugin':30}{'blocks':>7}{'calls':>7}{'restarts':>9}{'ms in all':>10}{'worst block':>11}"
        f"{'lost':>6}{'bypassed':>10}  failures, or what was cut"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for abi, many in (("native", NATIVE), ("fluentbit", FLUENT)):
            for one in many:
                print(hostile_row(folder, abi, one, given), flush=True)
        always = {"loops at every record": FOR_EVER + "(i32.const 0)", "traps at every record": "unreachable"}
        for title, body in always.items():
            print(hostile_row(folder, "native", Hostile(title, wat(body)), given), flush=True)
        print()
        print(
            flat_row(
                folder,
                "native, every record changed",
                wat("(i32.store8 offset=10 (local.get $p) (i32.const 90))" + CHANGED),
                calls,
            )
        )
        same = (
            "(global.set $heap (i32.const 65536)) (i32.store8 offset=6 (local.get $at) (i32.const 90)) (local.get $at)"
        )
        print(flat_row(folder, "Fluent Bit's ABI, every record changed", fluent(same), calls))
        print()
        for row in neighbour_rows(folder):
            print(row)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
