"""What the tests of Fluent Bit's ABI share: records as blocks and back, and guests brought to life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]

from logllm.filters import fluentbit
from logllm.filters.config import PluginConfig
from logllm.filters.host import Host
from logllm.filters.instance import entries_of
from logllm.filters.records import entry, split_entry

if TYPE_CHECKING:
    from logllm.filters.fluentbit import FluentBitInstance
    from logllm.filters.instance import Filtered

SIX = "(param $tag i32) (param $tag_len i32) (param $sec i32) (param $nsec i32) (param $rec i32) (param $len i32)"
BUDGET_MS = 10_000


def wat(body: str, *, more: str = "", pages: int = 2) -> bytes:
    """A module with one filter: six parameters with Fluent Bit's names, `body` gives the pointer."""
    return f"""(module {more if more.startswith("(import") else ""}
      (memory (export "memory") {pages})
      {"" if more.startswith("(import") else more}
      (func (export "filter") {SIX} (result i32) (local $i i32) {body}))""".encode()


def block(*records: object, sec: int = 1_700_000_000) -> bytes:
    """An entry for each record, a second apart, with metadata."""
    metadata = msgpack.packb({"m": [1, None]})
    return b"".join(
        entry(sec + number, number, one if isinstance(one, bytes) else msgpack.packb(one), metadata)
        for number, one in enumerate(records)
    )


def bring_up(code: bytes, host: Host | None = None, **config: Any) -> FluentBitInstance:
    """An instance of a module, or of the WAT text of one."""
    import wasmtime

    binary = code if code.startswith(b"\0asm") else bytes(wasmtime.wat2wasm(code))
    made = PluginConfig(path="test.wasm", **config)
    lived = fluentbit.program(binary, made).instance(made, made.limits, host or silent_host())
    assert isinstance(lived, fluentbit.FluentBitInstance)
    return lived


def silent_host(lines: list[str] | None = None, **more: Any) -> Host:
    """A host whose log goes to a list."""
    kept: list[str] = [] if lines is None else lines
    return Host("test", 1 << 20, tell=lambda _, text: kept.append(text), **more)


def records_of(made: Filtered) -> list[Any]:
    """The records of a block, after a look at what stands before them."""
    found = []
    for one in entries_of(made.block, made.count):
        head, record = split_entry(one)
        assert head.endswith(msgpack.packb({"m": [1, None]}))
        found.append(msgpack.unpackb(record, strict_map_key=False))
    return found


def ask(instance: FluentBitInstance, *records: object, tag: str = "app.log") -> list[Any]:
    """What becomes of some records."""
    return records_of(instance.process(tag, block(*records), len(records), BUDGET_MS))
