"""Guests of the native ABI as WAT text, for entries that are all of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.filters import native
from logllm.filters.config import Limits, PluginConfig
from logllm.filters.host import Host

if TYPE_CHECKING:
    from typing import Any

    from logllm.filters.instance import Instance

ENTRY_BYTES = 16
RESULT_AT = 64
BUFFER_AT = 65_536

PASS = "(call $answer (i32.const 0) (local.get $count) (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0))"

# Answers its own input, with the first letter of every text made an `X`.
MARK = """
  (local.set $i (i32.const 0))
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
    (i32.store8 (i32.add (i32.add (local.get $p) (local.get $i)) (i32.const 10)) (i32.const 88))
    (local.set $i (i32.add (local.get $i) (i32.const 16)))
    (br $next)))
  (call $answer (i32.const 2) (local.get $count) (local.get $count) (local.get $p) (local.get $n) (i32.const 0))"""

# Keeps the entries whose text does not begin with `d`; the flags stand behind the block.
KEEP = """
  (local.set $flags_at (i32.add (local.get $p) (local.get $n)))
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
    (local.set $keep (i32.ne (i32.const 100) (i32.load8_u
      (i32.add (i32.add (local.get $p) (i32.mul (local.get $i) (i32.const 16))) (i32.const 10)))))
    (i32.store8 (i32.add (local.get $flags_at) (local.get $i)) (local.get $keep))
    (local.set $kept (i32.add (local.get $kept) (local.get $keep)))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next)))
  (call $answer (i32.const 1) (local.get $count) (local.get $kept) (i32.const 0) (i32.const 0) (local.get $flags_at))"""


def entry(number: int, text: str) -> bytes:
    """`[number, {"m": text}]` for a text of up to six letters."""
    return b"\x92\xce" + number.to_bytes(4, "big") + b"\x81\xa1m\xa6" + text.encode().ljust(6)


def block(*texts: str) -> bytes:
    """One entry a text."""
    return b"".join(entry(number, text) for number, text in enumerate(texts))


def wat(
    process: str = PASS,
    *,
    imports: str = "",
    more: str = "",
    pages: int = 4,
    buffer: str = "(i32.const 65536)",
    abi: int = native.VERSION,
) -> bytes:
    """A module with the three functions every plugin has.

    Args:
        process: The body of `logllm_process`, with $p, $n, $flags, and $count entries; $answer makes a result of
            mode, n_in, n_out, ptr, len and keep_ptr, at 64.
        imports: What stands before everything else.
        more: Other functions and data.
        pages: Of memory, at the start.
        buffer: The body of `logllm_buffer`, with $size.
        abi: What `logllm_abi` gives.
    """
    return f"""(module {imports}
      (memory (export "memory") {pages})
      (func (export "logllm_abi") (result i32) (i32.const {abi}))
      (func (export "logllm_buffer") (param $size i32) (result i32) {buffer})
      (func $answer (param $mode i32) (param $in i32) (param $out i32)
        (param $at i32) (param $len i32) (param $keep i32) (result i32)
        (i32.store (i32.const 64) (local.get $mode)) (i32.store (i32.const 68) (local.get $in))
        (i32.store (i32.const 72) (local.get $out)) (i32.store (i32.const 76) (local.get $at))
        (i32.store (i32.const 80) (local.get $len)) (i32.store (i32.const 84) (local.get $keep))
        (i32.const 64))
      (func (export "logllm_process") (param $p i32) (param $n i32) (param $flags i32) (result i32)
        (local $count i32) (local $i i32) (local $kept i32) (local $keep i32) (local $flags_at i32)
        (local.set $count (i32.div_u (local.get $n) (i32.const 16)))
        {process})
      {more})""".encode()


def bring_up(code: bytes, host: Host | None = None, **config: Any) -> Instance:
    """An instance of a module."""
    made = PluginConfig(path="test.wasm", **config)
    return native.program(code, made).instance(made, made.limits, host or silent_host())


def silent_host(lines: list[str] | None = None, **more: Any) -> Host:
    """A host whose log goes to a list."""
    kept: list[str] = [] if lines is None else lines
    return Host("test", Limits().kv_bytes, tell=lambda _, text: kept.append(text), **more)
