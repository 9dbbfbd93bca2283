"""What a plugin costs by language: the same filter in each, against none and against the same filter in Python itself.

    python tests/bench/plugin_languages.py [LANGUAGE...]

The filter is the template of every SDK: it drops debug records (one in five here), marks errors (one in fifty), leaves
the rest. Each is built as `logllm plugin build` builds it, where its toolchain is there; what was built is kept in the
user's cache folder until the SDK changes. Figures are CPU time for a million records of some 200 bytes in blocks of a
thousand, the least of some rounds, all languages in turn in each: the ratios can be compared between runs, the seconds
cannot.

"In Python" is `msgpack` to objects, a plain function, `msgpack` back. "Over none" is the pipeline with the plugin less
the pipeline without: all that logllm does around a plugin is in it, but for the scan of the block, which is due without
plugins as well.
"""

from __future__ import annotations

import gc
import hashlib
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgpack  # type: ignore[import-untyped]

from logllm.cli.plugin_build import build, recipe_for, toolchain
from logllm.cli.plugin_new import create
from logllm.filtering import well_formed
from logllm.filters.chain import Filters
from logllm.filters.config import Limits, PluginConfig
from logllm.filters.host import Host
from logllm.filters.loader import load
from logllm.filters.manifest import Manifest
from logllm.filters.shipped import languages, sdk

__all__ = ["Figures", "block", "in_python", "main", "measure", "template"]

RECORDS = 1_000
ROUNDS = 15
GOAL_CPU_S = 0.3
"""What the native ABI may cost over no plugin, from the design."""
NATIVE_GOAL = ("rust", "c", "zig", "go", "assemblyscript")
NAME = "bench"
# Components copy text through the sandbox and parse it there: what they may take here is not the question.
LIMITS = Limits(time_ms=5_000, chunk_ms=5_000, memory_bytes=256 << 20)


@dataclass(frozen=True)
class Figures:
    """CPU seconds for a million records: in the plugin's instance, and what the pipeline takes more than without it."""

    language: str
    abi: str
    size_bytes: int
    instance_s: float
    over_none_s: float
    memory_bytes: int


def block(count: int = RECORDS) -> bytes:
    """Records as a web service writes them, packed as Fluent Bit packs them."""
    levels = ["info", "debug", "info", "warn", "info"] * 10
    levels[7] = "error"
    records = (
        {
            "level": levels[at % 50],
            "service": "checkout",
            "host": f"node-{at % 7}",
            "trace": f"{at * 0x9E3779B97F4A7C15:032x}"[:32],
            "status": 200 + at % 3,
            "duration_ms": at + 0.5,
            "message": f"GET /api/v1/orders/{1000 + at} for user {at * 7919 % 10_007} took {at} ms",
        }
        for at in range(count)
    )
    stamp = b"\x92\x92\xd7\x00" + struct.pack(">II", 1_700_000_000, 5) + b"\x80"
    return b"".join(stamp + bytes(msgpack.packb(record)) for record in records)


def in_python(given: bytes) -> bytes:
    """The same filter without a sandbox."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(given)
    packer = msgpack.Packer()
    out = []
    for head, record in unpacker:
        level = record.get("level")
        if level == "debug":
            continue
        if level == "error":
            record["seen_by"] = NAME
        out.append(packer.pack((head, record)))
    return b"".join(out)


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "logllm" / "bench"
    base.mkdir(parents=True, exist_ok=True)
    return base


def template(language: str) -> tuple[Path | None, str]:
    """The built template of a language, from the cache where it is there; None and why where it cannot be had."""
    folder = sdk(language)
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    kept = _cache() / f"{language}-{digest.hexdigest()[:16]}.wasm"
    if kept.is_file():
        return kept, ""
    with tempfile.TemporaryDirectory(prefix="logllm-bench-") as scratch:
        project = create(NAME, folder, Path(scratch))
        manifest = Manifest.load(project)
        recipe = recipe_for(project, manifest)
        way = toolchain(project, manifest, recipe)
        if way is None:
            return None, f"no toolchain: {recipe.hint}"
        fresh = build(project, manifest, way).path.read_bytes()
    kept.write_bytes(fresh)
    return kept, ""


def _runs(path: Path, given: bytes) -> tuple[str, Callable[[], bytes], Callable[[], bytes], Callable[[], int]]:
    config = PluginConfig(path=str(path), name=NAME, limits=LIMITS, reload=False)
    program = load(config).program
    instance = program.instance(config, config.limits, Host(NAME, 0))
    filters = Filters([config], check=well_formed)
    alone: Callable[[], bytes] = lambda: instance.process("bench", given, RECORDS, 5_000).block  # noqa: E731
    whole: Callable[[], bytes] = lambda: filters.apply("ingest", "bench", "", given, RECORDS).block  # noqa: E731
    return program.abi, alone, whole, lambda: instance.memory_bytes


def measure(wanted: Sequence[str]) -> tuple[list[Figures], float, float, dict[str, str]]:
    """A row a language, the cost of the filter in Python, that of scanning a block, and what could not be had and why.

    Raises:
        AssertionError: A language's filter gives other records than the one in Python.
    """
    given = block()
    expected = _records(in_python(given))
    missing: dict[str, str] = {}
    works: dict[str, Callable[[], object]] = {
        "python": lambda: in_python(given),
        "scan": lambda: well_formed(given, RECORDS),
    }
    about: dict[str, tuple[str, int, Callable[[], int]]] = {}
    for language in wanted or languages():
        path, why = template(language)
        if path is None:
            missing[language] = why
            continue
        abi, alone, whole, memory = _runs(path, given)
        assert _records(alone()) == expected, f"{language}: not what the filter in Python gives"
        assert _records(whole()) == expected, f"{language}: not what the filter in Python gives, in the pipeline"
        works[f"{language} alone"], works[f"{language} whole"] = alone, whole
        about[language] = (abi, path.stat().st_size, memory)
    least = dict.fromkeys(works, float("inf"))
    gc.collect()
    gc.disable()
    for _ in range(ROUNDS):
        for name, work in works.items():
            least[name] = min(least[name], _cpu_s(work))
    gc.enable()
    scale = 1e6 / RECORDS

    def over(name: str) -> float:
        return least[f"{name} whole"] - least["scan"]

    rows = [
        Figures(name, abi, size, least[f"{name} alone"] * scale, over(name) * scale, memory())
        for name, (abi, size, memory) in about.items()
    ]
    return rows, least["python"] * scale, least["scan"] * scale, missing


def _records(given: bytes) -> list[object]:
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(given)
    return [record for _, record in unpacker]


def _cpu_s(work: Callable[[], object]) -> float:
    times = 1
    while True:
        started = time.process_time()
        for _ in range(times):
            work()
        took = time.process_time() - started
        if took > 0.01 or times > 1000:
            return took / times
        times *= 4


def table(rows: list[Figures], python_s: float, scan_s: float) -> Iterator[str]:
    """The figures for a person, a line each, the cheapest first."""
    yield "CPU seconds for a million records"
    yield f"{'':16}{'the plugin':>14}{'over none':>14}{'in Python is':>14}{'file':>12}{'memory':>12}"
    for row in sorted(rows, key=lambda row: row.instance_s):
        ratio = python_s / row.over_none_s
        yield (
            f"{row.language:16}{row.instance_s:>14.3f}{row.over_none_s:>14.3f}{f'x {ratio:.2f}':>14}"
            f"{f'{row.size_bytes / 1000:,.0f} kB':>12}{f'{row.memory_bytes / 1000:,.0f} kB':>12}   {row.abi}"
        )
    yield f"{'in Python':16}{python_s:>14.3f}"
    yield f"{'no plugin, scan':16}{scan_s:>14.3f}"


def main(wanted: Sequence[str] = ()) -> None:
    """Print a row a language, all there are or those named."""
    rows, python_s, scan_s, missing = measure(wanted)
    print("\n".join(table(rows, python_s, scan_s)))
    for language, why in missing.items():
        print(f"{language}: not measured: {why}")
    slow = [row.language for row in rows if row.language in NATIVE_GOAL and row.over_none_s > GOAL_CPU_S]
    print(f"goal: a native plugin costs at most {GOAL_CPU_S} CPU-s per million over none: ", end="")
    print(f"missed by {', '.join(slow)}" if slow else "met")


if __name__ == "__main__":
    main(sys.argv[1:])
