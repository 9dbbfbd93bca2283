"""Mutated modules of the native ABI, loaded and run: `python tests/filters/fuzz_native.py SEED COUNT [MODULE...]`.

Each must be refused with a PluginLoadError, fail with a PluginTrap, or filter. Anything else ends this process with an
error, which is why it is a process of its own. Prints how many came to what, and the slowest.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from pathlib import Path

import wasmtime

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters import native
from logllm.filters.config import Limits, PluginConfig
from logllm.filters.host import Host

CONFIG = PluginConfig(
    path="fuzzed.wasm",
    config={"answer": "keep"},
    grants=["log", "clock", "random", "kv", "metric", "anomaly", "ask"],
    limits=Limits(time_ms=10, init_ms=20, memory_bytes=4 << 20, stack_bytes=64 << 10),
)
LEVELS = b"".join(b"\x92%c\x81\xa5level\xa5%b" % (number, (b"debug", b"error")[number % 2]) for number in range(50))
EDGES = [
    b"\0",
    b"\1",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\x41\0",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x04",
    b"\x7b",
    b"\xfc\x0a",
]


def mutated(code: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """A few bytes changed, put in, taken out, doubled, or taken from another module."""
    made = bytearray(code)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(made) + 1)
        size = chance.choice((1, 1, 2, 4, 16, 100))
        match chance.randrange(7):
            case 0 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(made):
                made[at] = chance.randrange(256)
            case 2:
                made[at:at] = chance.choice(EDGES)
            case 3:
                del made[at : at + size]
            case 4:
                made[at:at] = made[at : at + size]
            case 5:
                other = chance.choice(others)
                start = chance.randrange(len(other))
                made[at : at + size] = other[start : start + size]
            case _:
                edge = chance.choice(EDGES)
                made[at : at + len(edge)] = edge
    return bytes(made)


def outcome(code: bytes, block: bytes) -> str:
    """What a module comes to, given 50 entries."""
    host = Host("fuzzed", 1 << 16, ask=lambda *_: True, tell=lambda *_: None)
    try:
        plugin = native.program(code, CONFIG).instance(CONFIG, CONFIG.limits, host)
    except PluginLoadError as refused:
        if not str(refused) or "\n" in str(refused):
            raise AssertionError(f"no clear refusal: {refused!r}") from refused
        return "refused"
    try:
        made = plugin.process("app", block, 50, 1000)
        plugin.flush(1)
        plugin.answer(1, "text")
        state = plugin.save()
        if state is not None:
            plugin.load(state)
    except PluginTrap as trapped:
        return f"trap_{trapped.reason}"
    finally:
        plugin.close()
    return "passed" if made.block is block else "filtered"


def main(seed: int, count: int, modules: list[str]) -> None:
    """Try `count` mutations of each module."""
    from tests.filters.native_guests import KEEP, MARK, block, wat

    texts = [wat(KEEP), wat(MARK)] if not modules else []
    codes = [bytes(wasmtime.wat2wasm(text)) for text in texts] + [Path(path).read_bytes() for path in modules]
    given = LEVELS if modules else block(*("dx"[number % 2] for number in range(50)))
    found: Counter[str] = Counter()
    slowest = 0.0
    for number in range(seed, seed + count):
        for code in codes:
            started = time.monotonic()
            found[outcome(mutated(code, random.Random(number), codes), given)] += 1
            slowest = max(slowest, time.monotonic() - started)
    print(*(f"{name}={times}" for name, times in sorted(found.items())), f"slowest={slowest * 1000:.0f}ms", sep="\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
