"""What a plugin adds to a record's whole way, from a forward frame to the detectors.

    python tests/bench/plugins_in_pipeline.py [RECORDS]

The same frames go through a pipeline without a plugin, with plugins that ship, and through the same rule written in
Python over decoded records. CPU-seconds per million records, the least of some rounds, all in one run; the last column
is what the plugin adds, and the goal for it is 0.3.
"""

from __future__ import annotations

import gc
import importlib.util
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]

from logllm import Config, Pipeline
from logllm.filters import shipped
from logllm.filters.config import PluginConfig
from logllm.sources.forward.protocol import Received, Receiver

if TYPE_CHECKING:
    from logllm.events import Chunk

ROUNDS = 4
READ_BYTES = 1 << 20
GOAL_S = 0.3


def _neighbour(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


pipeline_bench = _neighbour("pipeline")

LEVELS = ("info",) * 17 + ("debug", "debug", "error")
"""One record in ten is debug and dropped, one in twenty an error and changed."""


def in_python(chunk: Chunk) -> Chunk:
    """The template's rule, as one would write it with msgpack and a dict."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(chunk.block)
    packer = msgpack.Packer()
    out = []
    for head, record in unpacker:
        if record.get("level") == "debug":
            continue
        if record.get("level") == "error":
            record["seen_by"] = "python"
        out.append(packer.pack([head, record]))
    return replace(chunk, block=b"".join(out), count=len(out), scan=None)


def received(records: int, first: int, source: random.Random) -> list[Chunk]:
    """The chunks of so many records as Fluent Bit's frames bring them."""
    rows = []
    for _ in range(records):
        record = pipeline_bench.with_fields(pipeline_bench.hdfs(source))
        rows.append({**record, "level": source.choice(LEVELS)})
    data = pipeline_bench.frames(rows, first)
    receiver = Receiver()
    found = []
    for at in range(0, len(data), READ_BYTES):
        receiver.feed(memoryview(data)[at : at + READ_BYTES])
        found += [item.chunk for item in receiver.items() if isinstance(item, Received)]
    return found


def measure(records: int, ways: dict[str, Callable[[Pipeline, Chunk], object]], configs: dict[str, Config]) -> None:
    """Print a line a way."""
    pipelines = {name: Pipeline(configs.get(name)) for name in ways}
    best: dict[str, float] = {}
    for number in range(ROUNDS + 1):
        chunks = received(records, number * records, random.Random(number))
        for name, way in ways.items():
            mine = [replace(chunk) for chunk in chunks]
            gc.collect()
            begun = time.process_time()
            for chunk in mine:
                way(pipelines[name], chunk)
            spent = (time.process_time() - begun) * 1e6 / records
            if number:
                best[name] = min(best.get(name, spent), spent)
    bare = best["no plugin"]
    for name, spent in best.items():
        kept = pipelines[name].records / ((ROUNDS + 1) * records)
        print(
            f"  {name:34}{spent:8.2f} CPU-s per million, records kept {kept:5.1%}, {spent / bare:5.2f} times no plugin,"
            f" adds {spent - bare:6.2f} (goal for native: {GOAL_S})"
        )
    for one in pipelines.values():
        one.filtering.close()


def main(records: int = 100_000, *paths: str) -> None:
    """Print the figures; further .wasm files may be named."""
    ways: dict[str, Callable[[Pipeline, Chunk], object]] = {"no plugin": lambda pipeline, chunk: pipeline.feed(chunk)}
    configs: dict[str, Config] = {}
    wanted = [*(str(path) for name, path in shipped.shipped().items() if name != "sample"), *paths]
    for path in wanted:
        name = Path(path).stem
        configs[name] = Config(plugins=[PluginConfig(path=path)])
        ways[name] = ways["no plugin"]
    ways["the template's rule in Python"] = lambda pipeline, chunk: pipeline.feed(in_python(chunk))
    print(f"{records:,} records of some 190 bytes a round, taken in from frames that were read already")
    measure(records, ways, configs)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100_000, *sys.argv[2:])
