"""What filters with Fluent Bit's ABI cost a record, as JSON and as msgpack, against the same filter in Python.

    python tests/bench/plugin_fluentbit_abi.py [RECORDS]

Each row is CPU seconds for a million records of ten fields (280 bytes of JSON) in blocks of a thousand, the least of
some rounds: all of it, the guest alone (its function called again and again for one record that stays where it is),
what is left for the host, and the same filter in Python on the same block (decode, change, encode), measured in
between. The ratio can be compared between machines and runs, the seconds cannot.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import wasmtime

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from logllm.filters import fluentbit
from logllm.filters.config import PluginConfig
from logllm.filters.host import Host
from logllm.filters.records import entry
from tests.filters import fluentbit_builds as builds
from tests.filters.fluentbit_lives import wat

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GOAL_S", "Row", "main", "measure"]

COUNT = 16_000
BLOCK = 1_000
ROUNDS = 5
GUEST_CALLS = 4_000
TAG = "kube.shop.cart"
GOAL_S = 30.0
"""CPU seconds per million records with a guest that parses and rewrites JSON with a garbage collector."""

_PACK = msgspec.msgpack.Encoder()
_UNPACK = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, dict[str, Any]]])
Record = dict[str, Any]


class Row(NamedTuple):
    """CPU seconds per million records."""

    name: str
    all_s: float
    guest_s: float
    python_s: float


def record(number: int) -> Record:
    """One of those that are filtered; every seventh is noise."""
    return {
        "level": "debug" if number % 7 == 0 else "warn",
        "msg": f"user {number} logged in from 10.0.0.{number % 256} after 3 attempts",
        "service": "checkout",
        "host": "web-01",
        "status": 200,
        "latency": number / 8,
        "trace": f"4bf92f3577b34da6a3ce{number:012x}",
        "path": "/api/v1/cart/items?id=99",
        "agent": "Mozilla/5.0 (X11; Linux)",
        "tags": [1, None, "world"],
    }


def same(given: Record) -> Record | None:
    return given


def none(given: Record) -> Record | None:
    return None


def mark(given: Record) -> Record | None:
    if given["level"] == "debug":
        return None
    given["tag"] = TAG
    return given


def in_python(filter_: Callable[[Record], Record | None], block: bytes, count: int) -> bytes:
    """A filter as one would write it in Python."""
    kept = []
    for head, one in _UNPACK.decode(b"\xdd" + count.to_bytes(4, "big") + block):
        made = filter_(one)
        if made is not None:
            kept.append((head, made))
    return _PACK.encode(kept)


def measure(name: str, code: bytes, filter_: Callable[[Record], Record | None], count: int, **options: Any) -> Row:
    """A row for one guest."""
    config = PluginConfig(path="bench.wasm", **options)
    program = fluentbit.FluentBitProgram(code, config)
    instance = program.instance(config, config.limits, Host("bench", 1 << 20, tell=lambda *_: None))
    blocks = [
        b"".join(entry(1_700_000_000 + row, row, _PACK.encode(record(row))) for row in range(at, at + BLOCK))
        for at in range(0, count, BLOCK)
    ]
    all_s = guest_s = python_s = float("inf")
    for _ in range(ROUNDS):
        python_s = min(python_s, _seconds(lambda: [in_python(filter_, block, BLOCK) for block in blocks]))
        all_s = min(all_s, _seconds(lambda: [instance.process(TAG, block, BLOCK, 60_000) for block in blocks]))
        guest_s = min(guest_s, _guest_seconds(program, config))
    instance.close()
    return Row(name, all_s / count * 1e6, guest_s / GUEST_CALLS * 1e6, python_s / count * 1e6)


def _guest_seconds(program: fluentbit.FluentBitProgram, config: PluginConfig) -> float:
    """The function alone, for a record that is not dropped and stays where it is."""
    one = record(1)
    data = _PACK.encode(one) if config.event_format == "msgpack" else msgspec.json.encode(one)
    tag = TAG.encode() + bytes(8 - len(TAG) % 8)
    instance = program.instance(config, config.limits, Host("bench", 1 << 20, tell=lambda *_: None))
    guest = instance.guest
    call = guest.function(program.function, 6)
    with guest.clock:
        guest.limit(60_000)
        place = guest.function("malloc")(4096) if guest.has("malloc") else guest.grow(1) or 0
        guest.write(place, tag + data + b"\0")
        values = (place, len(TAG), 1, 2, place + len(tag), len(data))
        seconds = _seconds(lambda: [call(*values) for _ in range(GUEST_CALLS)])
    instance.close()
    return seconds


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> int:
    """Print a row for each guest that can be built here; 1 where the goal is missed."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else COUNT
    count = max(count // BLOCK, 1) * BLOCK
    identity = bytes(wasmtime.wat2wasm(wat("(local.get $rec)")))
    drop = bytes(wasmtime.wat2wasm(wat("(i32.const 0)")))
    print(f"{'CPU seconds per million records':44}{'all':>8}{'guest':>8}{'host':>8}{'Python':>8}{'ratio':>8}")
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        c, rust = (lambda: builds.c("filter.c", out / "c.wasm")), (lambda: builds.rust(out / "rs.wasm"))
        script, go = (lambda: builds.assemblyscript(out / "as.wasm")), (lambda: builds.go(out / "go.wasm"))
        packed: dict[str, Any] = {"event_format": "msgpack"}
        guests: list[tuple[str, Callable[[], bytes], Callable[[Record], Record | None], dict[str, Any]]] = [
            ("identity, JSON", lambda: identity, same, {}),
            ("identity, msgpack", lambda: identity, same, packed),
            ("drop all, JSON", lambda: drop, none, {}),
            ("drop all, msgpack", lambda: drop, none, packed),
            ("C, adds a field to the text", c, mark, {"function": "mark"}),
            ("Rust, adds a field, msgpack", rust, mark, packed),
            ("AssemblyScript, adds a field", script, mark, {}),
            ("Go, parses and rewrites (as TinyGo does)", go, mark, {}),
            ("  the same, a place for each record", (out / "go.wasm").read_bytes, mark, {"reuse_buffer": False}),
        ]
        for name, build, filter_, options in guests:
            try:
                code = build()
            except (builds.Absent, FileNotFoundError) as absent:
                print(f"{name:44} not measured: {absent}")
                continue
            row = measure(name, code, filter_, count, **options)
            host_s, ratio = row.all_s - row.guest_s, row.all_s / row.python_s
            print(f"{row.name:44}{row.all_s:8.2f}{row.guest_s:8.2f}{host_s:8.2f}{row.python_s:8.2f}{ratio:7.1f}x")
            missed += name.startswith("Go") and row.all_s > GOAL_S
    print(f"goal: at most {GOAL_S:.0f} with a guest that parses and rewrites: {'missed' if missed else 'kept'}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
