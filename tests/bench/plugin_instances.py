"""What an instance of a plugin costs: to load from the cache, to make anew, to keep a thousand of in memory.

    python tests/bench/plugin_instances.py [INSTANCES]

Times are the least of some rounds, in wall-clock milliseconds; memory is what the process grew by, divided. "first
call" is all from reading the file to the first 1,000 records filtered, in a process that has done so before; the goal
for it is 10 ms. "new process" is the same in one that has just started, with loading Python's modules and wasmtime.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from logllm.filters.chain import Filters
from logllm.filters.config import GRANTS, PluginConfig
from logllm.filters.host import Host
from logllm.filters.instance import entries_of
from logllm.filters.loader import load
from logllm.filters.shipped import shipped
from tests.filters.lives import fluent
from tests.filters.native_guests import block, wat

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS = 1000
ROUNDS = 7
GOAL_MS = 10.0
_HEAVY_BYTES = 500_000

_NEW_PROCESS = """
import sys, time
began = time.perf_counter()
from logllm.filters.chain import Filters
from logllm.filters.config import GRANTS, PluginConfig
filters = Filters([PluginConfig(path=sys.argv[1], grants=list(GRANTS), reload=False)], check=lambda block, count: block)
filters.apply("ingest", "app", "", b"\\x92\\xce\\0\\0\\0\\0\\x81\\xa1m\\xa6text  " * 1000, 1000)
print((time.perf_counter() - began) * 1000)
"""


def records() -> bytes:
    """A thousand small records, of one size: the least plugin knows no other."""
    return block(*(f"w{number}" for number in range(RECORDS)))


def check(block: bytes, count: int) -> object | None:
    """The entries."""
    return entries_of(block, count)


def configured(path: Path, **more: object) -> PluginConfig:
    """With all rights, so that any plugin starts."""
    return msgspec.convert({"path": str(path), "grants": list(GRANTS), "reload": False, **more}, PluginConfig)


def least_ms(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The least of some rounds, in milliseconds."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        began_s = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began_s)
    return best * 1000


def first_call_ms(path: Path, given: bytes) -> float:
    """From the file to the first records filtered."""

    def work() -> None:
        filters = Filters([configured(path)], check=check)
        filters.apply("ingest", "app", "", given, RECORDS)
        filters.close()

    return least_ms(work)


def new_process_ms(path: Path) -> float:
    """The same in a process of its own."""
    best = float("inf")
    for _ in range(3):
        run = [sys.executable, "-c", _NEW_PROCESS, str(path)]
        best = min(best, float(subprocess.run(run, check=True, capture_output=True, timeout=120).stdout))
    return best


def restart_ms(path: Path) -> float:
    """An instance made and given back."""
    config = configured(path)
    program = load(config).program
    return least_ms(lambda: program.instance(config, config.limits, Host("bench", 1 << 20)).close(), 30)


def resident_bytes() -> int:
    """What the process has in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def memory_kib(path: Path, given: bytes, instances: int) -> tuple[float, float]:
    """KiB for each of many instances that have filtered a block, and the linear memory of each as it is given out."""
    filters = Filters([configured(path, tenant="peer", most_tenants=instances)], check=check)
    filters.apply("ingest", "app", "first", given, RECORDS)
    gc.collect()
    before = resident_bytes()
    for number in range(1, instances):
        filters.apply("ingest", "app", f"peer{number}", given, RECORDS)
    gc.collect()
    grown = resident_bytes() - before
    status = filters.status()[0]
    filters.close()
    return grown / 1024 / max(instances - 1, 1), status.memory_bytes / 1024 / max(status.instances, 1)


def main(instances: int = 1000) -> int:
    """Print the table; nonzero where a plugin of an ordinary size misses the goal."""
    given = records()
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        smallest = {"the least, native": wat(), "the least, Fluent Bit's ABI": fluent("(local.get $at)")}
        paths: dict[str, Path] = {}
        for name, code in smallest.items():
            paths[name] = Path(folder) / f"{len(paths)}.wat"
            paths[name].write_bytes(code)
        paths |= shipped()
        first_call_ms(paths["the least, native"], given)
        print(
            f"{'plugin':30}{'file KB':>9}{'first call ms':>15}{'new process ms':>16}{'restart ms':>12}"
            f"{'instances':>11}{'KiB each':>10}{'linear KiB':>12}"
        )
        for name, path in paths.items():
            size = path.stat().st_size
            heavy = size > _HEAVY_BYTES
            many = max(instances // 50, 2) if heavy else instances
            first = first_call_ms(path, given)
            new, again = new_process_ms(path), restart_ms(path)
            each, linear = memory_kib(path, given, many)
            missed += first > GOAL_MS and not heavy
            print(
                f"{name:30}{size / 1000:9.1f}{first:15.2f}{new:16.1f}{again:12.3f}{many:11}{each:10.1f}{linear:12.0f}",
                flush=True,
            )
    print(f"goal: the first call of a cached plugin within {GOAL_MS:.0f} ms: {'missed' if missed else 'kept'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
