"""Small guests of the native ABI as WebAssembly text, and what runs `logllm plugin` on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import wasmtime
from click.testing import CliRunner, Result

from logllm.cli.main import main

# What `records.entry` puts before a record begins with these four bytes: enough to count entries without a decoder.
_HEAD = "0x00d79292"

NATIVE = f"""
  (func (export "logllm_abi") (result i32) (i32.const 0x00010000))
  (func (export "logllm_buffer") (param $size i32) (result i32)
    (if (i32.gt_u (local.get $size) (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.div_u (local.get $size) (i32.const 65536)) (i32.const 1))))))
    (i32.const 65536))
  (func $entries (param $at i32) (param $size i32) (result i32)
    (local $found i32) (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $size)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $found (i32.add (local.get $found) (i32.eq (i32.load (local.get $at)) (i32.const {_HEAD}))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (local.get $found))
  (func $has (param $at i32) (param $size i32) (param $word i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $size)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (if (i32.eq (i32.load (local.get $at)) (local.get $word)) (then (return (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (i32.const 0))
  (func $answer (param $mode i32) (param $in i32) (param $out i32) (param $at i32) (param $size i32) (result i32)
    (i32.store (i32.const 64) (local.get $mode)) (i32.store (i32.const 68) (local.get $in))
    (i32.store (i32.const 72) (local.get $out)) (i32.store (i32.const 76) (local.get $at))
    (i32.store (i32.const 80) (local.get $size))
    (i32.const 64))"""
"""All of a guest but its memory (of at least two pages) and `logllm_process`; `$entries` counts those of a block."""

BOOM, SPIN = 0x6D6F6F62, 0x6E697073
"""The words "boom" and "spin", as `$has` looks for them."""

FUSSY = f"""(module (memory (export "memory") 2) {NATIVE}
  (func (export "logllm_process") (param $at i32) (param $size i32) (param i32) (result i32)
    (if (call $has (local.get $at) (local.get $size) (i32.const {BOOM})) (then (unreachable)))
    (if (call $has (local.get $at) (local.get $size) (i32.const {SPIN})) (then (loop $on (br $on))))
    (call $answer (i32.const 0) (call $entries (local.get $at) (local.get $size)) (i32.const 0) (i32.const 0)
      (i32.const 0))))"""
"""Lets all records by, traps at the word "boom" and never comes back from "spin"."""

HOLDING = f"""(module (memory (export "memory") 64) {NATIVE}
  (global $held (mut i32) (i32.const 0)) (global $count (mut i32) (i32.const 0))
  (func (export "logllm_process") (param $at i32) (param $size i32) (param i32) (result i32)
    (local $in i32)
    (local.set $in (call $entries (local.get $at) (local.get $size)))
    (memory.copy (i32.add (i32.const 2097152) (global.get $held)) (local.get $at) (local.get $size))
    (global.set $held (i32.add (global.get $held) (local.get $size)))
    (global.set $count (i32.add (global.get $count) (local.get $in)))
    (call $answer (i32.const 2) (local.get $in) (i32.const 0) (i32.const 0) (i32.const 0)))
  (func (export "logllm_flush") (param i64) (result i32)
    (local $size i32) (local $out i32)
    (local.set $size (global.get $held)) (local.set $out (global.get $count))
    (global.set $held (i32.const 0)) (global.set $count (i32.const 0))
    (call $answer (i32.const 2) (i32.const 0) (local.get $out) (i32.const 2097152) (local.get $size))))"""
"""Holds every record back until it is flushed."""


def guest(folder: Path, text: str, name: str = "guest") -> Path:
    """The .wasm file of a guest's text."""
    path = folder / f"{name}.wasm"
    path.write_bytes(wasmtime.wat2wasm(text))
    return path


def logllm(*arguments: object, given: bytes = b"") -> Result:
    """`logllm` with its streams apart, in this process."""
    return CliRunner().invoke(main, [str(one) for one in arguments], input=given)


def ndjson(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


DROPPING = """(module (memory (export "memory") 2)
  (func (export "filter") (param i32 i32 i32 i32) (param $record i32) (param $size i32) (result i32)
    (local $at i32)
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $size)))
      (if (i32.eq (i32.load (i32.add (local.get $record) (local.get $at))) (i32.const 0x75626564))
        (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (local.get $record)))"""
"""Of Fluent Bit's ABI: drops records with "debu" in them."""

BUILD = """hint = "pip install a-wat-compiler"

[[try]]
probe = [["no-such-compiler-of-wat", "--version"]]
run = [["no-such-compiler-of-wat"]]

[[try]]
probe = [["{python}", "-c", "import wasmtime"]]
run = [["{python}", "{sdk}/compile.py", "{dir}/src/filter.wat", "{out}"]]
env = { MARK = "{name}" }
"""

_COMPILE = """import os, sys
from pathlib import Path
import wasmtime

assert os.environ["MARK"] == Path(sys.argv[2]).stem
try:
    Path(sys.argv[2]).write_bytes(wasmtime.wat2wasm(Path(sys.argv[1]).read_text()))
except wasmtime.WasmtimeError as error:
    sys.exit(f"filter.wat: {error}")
"""


def wat_sdk(folder: Path, text: str = DROPPING) -> Path:
    """An SDK for WebAssembly text, as those in plugins/sdk/ are."""
    sdk = folder / "sdk-wat"
    for name in ("sdk", "template/src", "template/fixtures"):
        (sdk / name).mkdir(parents=True)
    files = {
        "build.toml": BUILD,
        "sdk/compile.py": _COMPILE,
        "template/plugin.toml": 'name = "{{name}}"\nversion = "0.1.0"\nlicense = "MIT"\nlanguage = "wat"\n',
        "template/README.md": "# {{name}}, {{Name}}, {{name_}}\n",
        "template/src/filter.wat": text,
        "template/src/{{name_}}.txt": "{{Name}} keeps {{other}}\n",
        "template/fixtures/levels.in.ndjson": '{"level":"info","n":1}\n{"level":"debug","n":2}\n{"n":3}\n',
        "template/fixtures/levels.out.ndjson": '{"n":1,"level":"info"}\n\n{"n":3}\n',
    }
    for name, content in files.items():
        (sdk / name).write_text(content, encoding="utf-8")
    return sdk
