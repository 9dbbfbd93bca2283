"""Guests of the component world as WAT text: what they do with a record is in its field `do`, which comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import wasmtime

from logllm.filters.component import program
from logllm.filters.config import Limits, PluginConfig
from logllm.filters.host import Host
from logllm.filters.instance import Filtered, entries_of
from logllm.filters.records import entry

if TYPE_CHECKING:
    from logllm.filters.instance import Instance

# What stands behind `{"do":"`, and what becomes of the line. Whatever is not named here stays.
LINES = """
  (if (i32.eq (local.get $c) (i32.const 99))  ;; c: changed
    (then (call $text (i32.const 16) (i32.const 13)) (return)))
  (if (i32.eq (local.get $c) (i32.const 100))  ;; d: dropped
    (then (return)))
  (if (i32.eq (local.get $c) (i32.const 102))  ;; f: failed
    (then (call $text (i32.const 32) (i32.const 8)) (return)))
  (if (i32.eq (local.get $c) (i32.const 97))  ;; a: an array
    (then (call $text (i32.const 48) (i32.const 3)) (return)))
  (if (i32.eq (local.get $c) (i32.const 110))  ;; n: no JSON
    (then (call $text (i32.const 51) (i32.const 4)) (return)))
  (if (i32.eq (local.get $c) (i32.const 104))  ;; h: half a pair of surrogates
    (then (call $text (i32.const 56) (i32.const 14)) (return)))
  (if (i32.eq (local.get $c) (i32.const 105))  ;; i: integers that are large
    (then (call $text (i32.const 80) (i32.const 62)) (return)))
  (if (i32.eq (local.get $c) (i32.const 120))  ;; x: an extra line
    (then (call $text (i32.const 192) (i32.const 1)) (return)))
  (if (i32.eq (local.get $c) (i32.const 117))  ;; u: a trap
    (then unreachable))
  (if (i32.eq (local.get $c) (i32.const 108))  ;; l: a loop
    (then (loop $for_ever (br $for_ever))))
  (if (i32.eq (local.get $c) (i32.const 115))  ;; s: all the stack
    (then (call $deeper)))
  (if (i32.eq (local.get $c) (i32.const 109))  ;; m: all the memory
    (then (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
  (if (i32.eq (local.get $c) (i32.const 111))  ;; o: 3 MiB of output
    (then (loop $again
      (call $text (i32.const 48) (i32.const 3))
      (br_if $again (i32.lt_u (i32.sub (global.get $out) (global.get $begin)) (i32.const 3145728)))) (return)))
  (if (i32.eq (local.get $c) (i32.const 112))  ;; p: the answer is outside of the memory
    (then (global.set $begin (i32.const 0x7fff0000))))
  (if (i32.eq (local.get $c) (i32.const 56))  ;; 8: the answer is no UTF-8
    (then (call $text (i32.const 193) (i32.const 1)) (return)))
"""

# What `configure` does with `{"X`.
CONFIGURE = """
  (if (i32.eq (local.get $c) (i32.const 114))  ;; r: refuses
    (then (i32.store (i32.const 0) (i32.const 1)) (i32.store (i32.const 4) (i32.const 33))
      (i32.store (i32.const 8) (i32.const 7))))
  (if (i32.eq (local.get $c) (i32.const 117)) (then unreachable))
  (if (i32.eq (local.get $c) (i32.const 108)) (then (loop $for_ever (br $for_ever))))
"""

LOG = '(import "log" (func $log (param "level" u8) (param "message" string)))'
METRIC = '(import "metric" (func $metric (param "name" string) (param "delta" s64)))'


def wat(*, imports: str = LOG, more: str = "", lines: str = LINES, pages: str = "2", core: str = "") -> str:
    """A component. It logs what a call gave it (tag, times) with level 0, and answers to `ask` with level 2.

    Args:
        imports: Functions of the world it imports; it calls `log` only.
        more: Other parts of the component.
        core: Other parts of its module.
    """
    return f"""(component
  {imports}
  {more}
  (core module $memories
    (memory (export "memory") {pages})
    (global $top (export "top") (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $top))
      (global.set $top (i32.add (local.get $at) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8))))
      (if (i32.gt_u (global.get $top) (i32.shl (memory.size) (i32.const 16)))
        (then (if (i32.eq (i32.const -1) (memory.grow
            (i32.add (i32.const 1) (i32.shr_u (local.get 3) (i32.const 16))))) (then unreachable))))
      (local.get $at)))
  (core instance $memory (instantiate $memories))
  (core func $log (canon lower (func $log) (memory (core memory $memory "memory"))))
  (core module $filters
    (import "host" "log" (func $log (param i32 i32 i32)))
    (import "memory" "memory" (memory 1))
    (import "memory" "top" (global $top (mut i32)))
    (import "memory" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (global $out (mut i32) (i32.const 0))
    (global $begin (mut i32) (i32.const 0))
    (data (i32.const 16) "{{\\"changed\\":1}}")
    (data (i32.const 32) "!because")
    (data (i32.const 48) "[1]nope")
    (data (i32.const 56) "{{\\"h\\":\\"\\\\ud800\\"}}")
    (data (i32.const 80) "{{\\"a\\":18446744073709551615,\\"b\\":18446744073709551616,\\"c\\":1.0}}   ")
    (data (i32.const 192) "\\n\\ff")
    {core}
    (func $text (param $at i32) (param $n i32)
      (if (i32.gt_u (i32.add (global.get $out) (i32.const 65536)) (i32.shl (memory.size) (i32.const 16)))
        (then (drop (memory.grow (i32.const 4)))))
      (memory.copy (global.get $out) (local.get $at) (local.get $n))
      (global.set $out (i32.add (global.get $out) (local.get $n))))
    (func $deeper (call $deeper) (call $deeper))
    (func $line (param $at i32) (param $n i32) (local $c i32)
      (local.set $c (i32.load8_u (i32.add (local.get $at) (i32.const 7))))
      {lines}
      (call $text (local.get $at) (local.get $n)))
    (func (export "configure") (param $p i32) (param $n i32) (result i32) (local $c i32)
      (local.set $c (i32.load8_u (i32.add (local.get $p) (i32.const 2))))
      (i32.store (i32.const 0) (i32.const 0))
      {CONFIGURE}
      (i32.const 0))
    (func (export "answer") (param $ticket i32) (param $p i32) (param $n i32)
      (call $log (i32.const 2) (local.get $p) (local.get $n)))
    (func (export "on-batch") (param $g i32) (param $gn i32) (param $t i32) (param $tn i32)
        (param $p i32) (param $n i32) (result i32) (local $i i32) (local $start i32)
      (call $log (i32.const 0) (local.get $g) (local.get $gn))
      (call $log (i32.const 0) (local.get $t) (local.get $tn))
      (global.set $begin (call $realloc (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.add (i32.mul (local.get $n) (i32.const 4)) (i32.const 65536))))
      (global.set $out (global.get $begin))
      (loop $next
        (local.set $start (local.get $i))
        (loop $scan
          (if (i32.lt_u (local.get $i) (local.get $n)) (then
            (if (i32.ne (i32.load8_u (i32.add (local.get $p) (local.get $i))) (i32.const 10)) (then
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $scan))))))
        (call $line (i32.add (local.get $p) (local.get $start)) (i32.sub (local.get $i) (local.get $start)))
        (if (i32.lt_u (local.get $i) (local.get $n)) (then
          (call $text (i32.const 192) (i32.const 1))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next))))
      (i32.store (i32.const 0) (global.get $begin))
      (i32.store (i32.const 4) (i32.sub (global.get $out) (global.get $begin)))
      (i32.const 0))
    (func (export "done") (param i32) (global.set $top (i32.const 4096))))
  (core instance $filter (instantiate $filters
    (with "memory" (instance $memory))
    (with "host" (instance (export "log" (func $log))))))
  (func (export "configure") (param "config-json" string) (result (option string))
    (canon lift (core func $filter "configure")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func (export "answer") (param "ticket" s32) (param "text" string)
    (canon lift (core func $filter "answer")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func (export "on-batch") (param "tag" string) (param "times" string) (param "records" string) (result string)
    (canon lift (core func $filter "on-batch")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))
      (post-return (core func $filter "done")))))"""


def compiled(text: str) -> bytes:
    """A component's bytes."""
    return bytes(wasmtime.wat2wasm(text))


def configured(**fields: Any) -> PluginConfig:
    """A configuration with a path that nobody reads."""
    return PluginConfig(path="guest.wasm", name="guest", **fields)


def host(lines: list[tuple[int, str]] | None = None) -> Host:
    """A host that keeps every line, however many."""
    heard = [] if lines is None else lines
    # A second goes by between lines, so none is one too many.
    seconds = iter(range(1_000_000_000))
    return Host(
        "guest", 1 << 20, tell=lambda level, text: heard.append((level, text)), monotonic_s=lambda: next(seconds)
    )


def alive(
    text: str | None = None,
    *,
    code: bytes | None = None,
    lines: list[tuple[int, str]] | None = None,
    limits: Limits | None = None,
    config: dict[str, Any] | None = None,
) -> Instance:
    """An instance of a guest, of a text or a component's bytes."""
    chosen = configured(config=config or {}, limits=limits or Limits())
    made = program(code or compiled(wat() if text is None else text), chosen)
    return made.instance(chosen, chosen.limits, host(lines))


def record(do: str, **fields: object) -> bytes:
    """An entry at 7.000000009 with metadata."""
    return entry(7, 9, bytes(msgpack.packb({"do": do, **fields})), b"\x81\xa1m\x01")


def block(*dos: str) -> bytes:
    """An entry a word."""
    return b"".join(record(do) for do in dos)


def records_of(made: Filtered) -> list[dict[str, Any]]:
    """The records of a block, decoded."""
    return [msgpack.unpackb(one, timestamp=0)[1] for one in entries_of(made.block, made.count)]
