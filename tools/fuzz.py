"""Fuzz what reads bytes from outside, each harness of tests/fuzz in processes of its own, and print what came of it.

    python tools/fuzz.py                            # every harness, 20 000 executions
    python tools/fuzz.py receiver scan=50000        # these two, the second with its own number
    python tools/fuzz.py --runs 1000000 --blind     # mutate what earlier runs have kept, without watching coverage

It needs `pip install --group fuzz` (atheris; not with --blind). An input that raises, takes longer than 5 s or more
than 2 GB is a finding: it is left in `build/fuzz/NAME/`, and the exit code is 1. What reached new code stays there too,
for the next time.
"""

# ruff: noqa: S603 - the commands are ours
from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HARNESSES = ROOT / "tests" / "fuzz"
CHILD = HARNESSES / "child.py"
KEPT = Path("build") / "fuzz"
MOST_WORKERS = 2
# Atheris itself loses some 6 KB at each execution; a new process begins anew.
RUNS_OF_A_PROCESS = 100_000
TIMEOUT_S = 5
MEMORY_MB = 2048
_STAT = re.compile(r"^stat::(\w+):\s+(\d+)$", re.MULTILINE)
_PROGRESS = re.compile(r"^#(\d+)\s", re.MULTILINE)

HEAD = f"{'harness':<12}{'executions':>12}{'exec/s':>10}{'peak MB':>10}{'slowest s':>11}{'findings':>10}"


@dataclass
class Result:
    """What came of one harness; `findings` are files or, where there is none, how its process ended."""

    name: str
    executions: int = 0
    seconds: float = 0.0
    peak_mb: int = 0
    slowest_s: int = 0
    findings: list[str] = field(default_factory=list)

    def row(self) -> str:
        """A line of the table."""
        speed = self.executions / self.seconds if self.seconds else 0.0
        return (
            f"{self.name:<12}{self.executions:>12,}{speed:>10,.0f}{self.peak_mb:>10}{self.slowest_s:>11}"
            f"{len(self.findings):>10}"
        )


def names() -> list[str]:
    """The harnesses there are."""
    return sorted(path.stem.removeprefix("fuzz_") for path in HARNESSES.glob("fuzz_*.py"))


def wanted(words: list[str], runs: int) -> dict[str, int]:
    """Executions by harness, of `NAME` and `NAME=RUNS`. Raises ValueError for what is neither."""
    found = {}
    for word in words or names():
        name, _, number = word.partition("=")
        if name not in names() or (number and not number.isdigit()):
            raise ValueError(f"no harness {word!r}, expected NAME or NAME=RUNS of {' '.join(names())}")
        found[name] = int(number) if number else runs
    return found


def fuzz(name: str, runs: int, *, mode: str, keep: Path, child: Path = CHILD) -> Result:
    """Run one harness until it has had its executions or found something."""
    result = Result(name)
    while result.executions < runs and not result.findings:
        run_once(result, min(runs - result.executions, RUNS_OF_A_PROCESS), mode, keep / name, child)
        print(result.row(), flush=True)
    return result


def run_once(result: Result, runs: int, mode: str, folder: Path, child: Path) -> None:
    """One process in this folder, its counts added to the result."""
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.glob("*-*"))
    command = [sys.executable, str(child), result.name, mode, *map(str, (runs, TIMEOUT_S, MEMORY_MB))]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False, env=environment
    )
    result.seconds += time.monotonic() - started
    told = done.stderr + done.stdout
    stats = {key: int(value) for key, value in _STAT.findall(told)}
    progress = _PROGRESS.findall(told)
    result.executions += stats.get("number_of_executed_units", int(progress[-1]) if progress else 0)
    result.peak_mb = max(result.peak_mb, stats.get("peak_rss_mb", 0))
    result.slowest_s = max(result.slowest_s, stats.get("slowest_unit_time_sec", 0))
    if done.returncode or not stats.get("number_of_executed_units"):
        current = folder / "current"
        if done.returncode < 0 and current.exists():
            # What a signal has ended left its input there, the length in front.
            data = current.read_bytes()
            size = int.from_bytes(data[:4], "little")
            (folder / f"timeout-{time.time_ns()}").write_bytes(data[4 : 4 + size])
        found = sorted(path for path in set(folder.glob("*-*")) - before if not path.name.startswith("slow-unit"))
        result.findings += [str(path) for path in found] or [f"exit code {done.returncode}"]
        print(f"\n{result.name}: exit code {done.returncode}\n{told[-4000:]}", flush=True)


def main(arguments: list[str]) -> int:
    """1 where something was found; 2 where it cannot begin."""
    parser = argparse.ArgumentParser(description="Fuzz what reads bytes from outside.")
    parser.add_argument("harness", nargs="*", help=f"NAME or NAME=RUNS of {' '.join(names())}")
    parser.add_argument("--runs", type=int, default=20_000, help="executions of each harness")
    parser.add_argument("--blind", action="store_true", help="without watching coverage: five times as quick")
    parser.add_argument("--keep", type=Path, default=KEPT, help="the folder of what is kept")
    parser.add_argument("--workers", type=int, default=1, choices=range(1, MOST_WORKERS + 1))
    options = parser.parse_args(arguments)
    if not options.blind and find_spec("atheris") is None:
        print("atheris is not installed: pip install --group fuzz")
        return 2
    try:
        chosen = wanted(options.harness, options.runs)
    except ValueError as error:
        print(error)
        return 2
    print(HEAD, flush=True)
    with ThreadPoolExecutor(options.workers) as pool:
        work = partial(fuzz, mode="blind" if options.blind else "guided", keep=options.keep)
        results = list(pool.map(work, chosen, chosen.values()))
    print(f"\n{HEAD}", *(result.row() for result in results), sep="\n")
    findings = [f"{result.name}: {finding}" for result in results for finding in result.findings]
    executions = sum(result.executions for result in results)
    print(f"\n{executions:,} executions, {len(findings)} findings", *findings, sep="\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
