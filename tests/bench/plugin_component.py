"""What components cost a record, as a ratio to the same filter in Python outside of any sandbox, in one run.

Run by hand or by `make bench`; nothing is asserted here. Languages whose toolchain is absent are left out.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.filters.component import program
from logllm.filters.config import GRANTS, Limits, PluginConfig
from logllm.filters.host import Host
from logllm.filters.instance import entries_of
from logllm.filters.records import entry
from logllm.filters.shipped import root
from tests.filters.component_guests import compiled, wat
from tests.sdk.components import built
from tests.sdk.node import install_node_modules

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS = 1_000
ROUNDS = 7
INSTANCES = 100
BUDGET_MS = 600_000
ASKING = {
    "python": "import logllm\n\n\ndef filter(record):\n    logllm.metric('n')\n    return record\n",
    "javascript": 'import { metric } from "./sdk/logllm.js";\n'
    'export function filter(record) { metric("n"); return record; }\n',
}


def records() -> bytes:
    """A block of records of some 210 bytes of JSON; a tenth is of level debug, a tenth of level error."""
    levels = ("debug", "error", *["info"] * 8)
    made = [
        {
            "time": f"2025-12-01T10:{n % 60:02d}:07.{n % 1000:03d}Z",
            "level": levels[n % 10],
            "service": f"store-{n % 4}",
            "message": f"order {n} of customer {n * 7 % 5_000} stored in {n % 90} ms",
            "request_id": f"{n * 2_654_435_761 % (1 << 32):08x}",
            "took": n % 90 / 7,
            "http": {"status": 200, "path": "/orders"},
        }
        for n in range(RECORDS)
    ]
    return b"".join(entry(1_700_000_000, n, bytes(msgpack.packb(one))) for n, one in enumerate(made))


def in_python(block: bytes) -> bytes:
    """The templates' filter without a sandbox: each record decoded, changed, encoded."""
    out = []
    for one in entries_of(block, RECORDS):
        time_and_metadata, record = msgpack.unpackb(one, timestamp=0)
        if record.get("level") == "debug":
            continue
        if record.get("level") == "error":
            record["seen_by"] = "hello"
        out.append(msgpack.packb([time_and_metadata, record]))
    return b"".join(out)


def best_us(call: Callable[[], object]) -> float:
    """CPU microseconds a record, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best / RECORDS * 1e6


def resident_bytes() -> int:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def show(name: str, code: bytes, base_us: float, asking: bytes | None) -> None:
    """One line for a component."""
    chosen = PluginConfig(path=name, grants=list(GRANTS), limits=Limits(time_ms=60_000, memory_bytes=256 << 20))

    def host() -> Host:
        return Host(name, 0, tell=lambda level, text: None)

    program(code, chosen)
    began = time.perf_counter()
    made = program(code, chosen)
    load_ms = (time.perf_counter() - began) * 1000
    began = time.perf_counter()
    instance = made.instance(chosen, chosen.limits, host())
    instance.process("app", entry(1, 2, b"\x80"), 1, BUDGET_MS)
    first_ms = (time.perf_counter() - began) * 1000
    block = records()
    instance.process("app", block, RECORDS, BUDGET_MS)
    each_us = best_us(lambda: instance.process("app", block, RECORDS, BUDGET_MS))
    before = resident_bytes()
    many = [made.instance(chosen, chosen.limits, host()) for _ in range(INSTANCES)]
    instance_mib = (resident_bytes() - before) / INSTANCES / (1 << 20)
    for one in many:
        one.close()
    call = ""
    if asking is not None:
        other = program(asking, chosen).instance(chosen, chosen.limits, host())
        other.process("app", block, RECORDS, BUDGET_MS)
        call = f"{best_us(lambda: other.process('app', block, RECORDS, BUDGET_MS)):10.1f}"
    print(
        f"{name:12} {len(code) / 1e6:8.2f} {load_ms:8.1f} {first_ms:9.1f} {each_us:9.2f} {1 / each_us * 1e3:9.1f} "
        f"{each_us / base_us:8.2f} {instance_mib:9.2f} {call}"
    )


def main() -> None:
    """All of them."""
    block = records()
    base_us = best_us(lambda: in_python(block))
    print(f"outside of any sandbox, in Python: {base_us:.2f} us a record\n")
    print(
        "component      size MB  load ms  first ms  us/record  k rec/s  x Python  instance MiB  with a host call each"
    )
    show("echo (WAT)", compiled(wat()), base_us, None)
    for language in ("javascript", "python"):
        try:
            with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
                if language == "javascript":
                    patch.setenv("LOGLLM_NODE_MODULES", str(install_node_modules("javascript")))
                template = built(Path(scratch) / "template", language)
                asking = built(Path(scratch) / "asking", language, ASKING[language], ("log", "metric"))
        except pytest.skip.Exception as absent:
            print(f"{language:12} left out: {absent}")
            continue
        show(language, template, base_us, asking)
    show("sample", (root() / "sample/sample.wasm").read_bytes(), base_us, None)


if __name__ == "__main__":
    main()
