"""What `logllm plugin bench` measures: a plugin's cost for blocks of records, beside that of copying them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.cli.plugin_lines import records_of
from logllm.cli.plugin_run import DEFAULT_TAG
from logllm.cli.plugin_trial import Trial
from logllm.cli.render_text import size
from logllm.errors import ConfigError, PluginError, PluginTrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logllm.filters.config import PluginConfig

__all__ = ["Measured", "measure", "table"]

BLOCK_RECORDS = 1_000

_LEAST_S = 1.0
_ROUNDS = 5
_TIME_S = 1_700_000_000


@dataclass(frozen=True)
class Measured:
    """The cost of a plugin.

    Args:
        record_bytes: Bytes of an entry, on average.
        records_per_s: With the plugin, of the best round.
        cpu_s_per_million: The processor's time for a million records, of the best round.
        copy_cpu_s_per_million: The same for copying the blocks only.
        load_ms: Reading it, taking its code from the cache, and an instance. What comes before only once, importing
            wasmtime and compiling the file, is not in it.
        first_call_ms: The first block.
        memory_bytes: Its linear memory in the end.
        kept: Of a thousand records, so many come out.
        failures: Calls that failed while measuring.
    """

    name: str
    abi: str
    records: str
    record_bytes: float
    records_per_s: float
    cpu_s_per_million: float
    copy_cpu_s_per_million: float
    load_ms: float
    first_call_ms: float
    memory_bytes: int
    kept: int


def measure(target: str, records: Path | None, said: PluginConfig | None = None, least_s: float = _LEAST_S) -> Measured:
    """Measure a project's folder, a .wasm file or a plugin that ships.

    Args:
        records: Records to filter; None are the project's fixtures, else made ones.
        said: What options say of how to run it; what they leave as it is by default, a project's `plugin.toml` says.
        least_s: How long to measure, in total.

    Raises:
        PluginLoadError: The plugin cannot be used.
        PluginError: It is not built, or fails at the records.
        ConfigError: `records` or `plugin.toml` is wrong.
    """
    config, folder = _meant(target)
    if said is not None:
        config = _joined(config, said)
    lines, told = _lines(folder, records)
    block, count = _block(lines)
    with Trial(config, tell=lambda level, text: None):
        pass
    began = time.perf_counter()
    with Trial(config, tell=lambda level, text: None) as trial:
        loaded = time.perf_counter()
        try:
            first = trial.raw(DEFAULT_TAG, block, count)
            called = time.perf_counter()
            wall_s, cpu_s = _best(lambda: trial.raw(DEFAULT_TAG, block, count), least_s)
        except PluginTrap as trap:
            raise PluginError(f"{config.path}: it fails at these records: {trap.reason}: {trap}") from trap
        memory_bytes = trial.memory_bytes
        _, copy_s = _best(lambda: bytes(bytearray(block)), least_s / 10)
    return Measured(
        name=trial.name,
        abi=trial.abi,
        records=told,
        record_bytes=len(block) / count,
        records_per_s=count / wall_s,
        cpu_s_per_million=cpu_s / count * 1e6,
        copy_cpu_s_per_million=copy_s / count * 1e6,
        load_ms=(loaded - began) * 1e3,
        first_call_ms=(called - loaded) * 1e3,
        memory_bytes=memory_bytes,
        kept=round(first.count / count * 1_000),
    )


def table(found: Measured) -> Iterator[str]:
    """The figures for a person, a line each."""
    ratio = found.cpu_s_per_million / max(found.copy_cpu_s_per_million, 1e-9)
    yield f"{found.name} ({found.abi}), {found.records}, {found.record_bytes:.0f} bytes each, {BLOCK_RECORDS} a block"
    yield f"records/s                 {found.records_per_s:>14,.0f}"
    yield f"CPU-s per million         {found.cpu_s_per_million:>14.3f}"
    yield f"copied only, no plugin    {found.copy_cpu_s_per_million:>14.3f}   the plugin takes {ratio:,.1f} times that"
    yield f"load from the cache, ms   {found.load_ms:>14.1f}"
    yield f"first call, ms            {found.first_call_ms:>14.1f}"
    yield f"memory                    {size(found.memory_bytes):>14}"
    yield f"records kept, of 1,000    {found.kept:>14,}"


def _meant(target: str) -> tuple[PluginConfig, Path | None]:
    """What to measure and, for a project, its folder. A project is run as its `plugin.toml` says."""
    from logllm.filters.config import PluginConfig
    from logllm.filters.manifest import FILE, Manifest
    from logllm.filters.shipped import resolve

    folder = Path(target)
    if not folder.is_dir():
        path = resolve(target)
        folder = path.parent
        if not (folder / FILE).is_file() or Manifest.load(folder).wasm(folder).name != path.name:
            return PluginConfig(path=str(path)), None
    manifest = Manifest.load(folder)
    wasm = manifest.wasm(folder)
    if not wasm.is_file():
        raise PluginError(f"{wasm}: not built; expected `logllm plugin build` before `bench`")
    return manifest.plugin(wasm), folder


def _joined(config: PluginConfig, said: PluginConfig) -> PluginConfig:
    from msgspec.structs import replace

    from logllm.filters.config import PluginConfig

    unsaid = PluginConfig(path=said.path)
    named = ("function", "event_format", "config", "grants")
    changed = {name: getattr(said, name) for name in named if getattr(said, name) != getattr(unsaid, name)}
    return replace(config, **changed)


def _lines(folder: Path | None, records: Path | None) -> tuple[list[bytes], str]:
    if records is not None:
        lines = records_of(records)
        if not lines:
            raise ConfigError(f"{records}: no records; expected JSON objects, one a line")
        return lines, f"records of {records}"
    fixtures = [] if folder is None else sorted((folder / "fixtures").glob("*.in.ndjson"))
    lines = [line for path in fixtures for line in records_of(path)]
    return (lines, "records of its fixtures") if lines else (_made(), "made records")


def _made() -> list[bytes]:
    """Records as a web service writes them: one in five is for debugging, one in fifty an error."""
    levels = ["info", "debug", "info", "warn", "info"] * 10
    levels[7] = "error"
    return [
        b'{"time":"2026-11-22T10:00:%02d.123Z","level":"%s","service":"checkout","host":"node-%d","trace":"%032x",'
        b'"status":%d,"duration_ms":%d.5,"message":"GET /api/v1/orders/%d took %d ms"}'
        % (at % 60, level.encode(), at % 7, at * 0x9E3779B97F4A7C15, 200 + at % 3, at, 1000 + at, at)
        for at, level in enumerate(levels)
    ]


def _block(lines: list[bytes]) -> tuple[bytes, int]:
    from logllm.filters.records import entry, from_json

    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(from_json(line))
        except ValueError as error:
            raise ConfigError(f"record {number}: {error}") from error
    count = max(BLOCK_RECORDS, len(records))
    return b"".join(entry(_TIME_S, at, records[at % len(records)]) for at in range(count)), count


def _best(work: Callable[[], object], least_s: float) -> tuple[float, float]:
    """Seconds and processor seconds of one call, of the best of some rounds: what else runs only ever adds."""
    began = time.perf_counter()
    work()
    calls = max(1, int(least_s / _ROUNDS / max(time.perf_counter() - began, 1e-7)))
    rounds = []
    for _ in range(_ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            work()
        rounds.append(((time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls))
    return min(wall for wall, _ in rounds), min(cpu for _, cpu in rounds)
