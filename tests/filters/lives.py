"""What the tests of a plugin's life share: guests, clocks, and the slow obvious reference."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from logllm.filters.chain import Filters
from logllm.filters.config import PluginConfig
from logllm.filters.instance import entries_of
from tests.filters.native_guests import wat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NEVER = 1_000_000_000
LOG = '(import "logllm" "log" (func $log (param i32 i32 i32)))'

# The answer of a guest that changed the block where it stood.
CHANGED = """
  (call $answer (i32.const 2) (local.get $count) (local.get $count) (local.get $p) (local.get $n) (i32.const 0))"""

# Does what the first letter of a record's text says. P: traps. B: says it was given another number of entries.
# F: says that it failed. W: answers bytes that are no entry. D: drops the record. M: makes the letter an X. Anything
# else is left alone. Where nothing is changed it answers PASS or KEEP, else REPLACE.
LETTERS = """
  (global.set $bad (i32.const 0)) (global.set $changed (i32.const 0))
  (local.set $flags_at (i32.add (local.get $p) (local.get $n)))
  (global.set $to (i32.add (local.get $flags_at) (local.get $count)))
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
    (global.set $at (i32.add (local.get $p) (i32.mul (local.get $i) (i32.const 16))))
    (global.set $letter (i32.load8_u offset=10 (global.get $at)))
    (if (i32.eq (global.get $letter) (i32.const 80)) (then unreachable))
    (if (i32.eq (global.get $letter) (i32.const 66)) (then (global.set $bad (i32.const 1))))
    (if (i32.eq (global.get $letter) (i32.const 70)) (then
      (return (call $answer (i32.const 0xffffff00) (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0)))))
    (local.set $keep (i32.ne (global.get $letter) (i32.const 68)))
    (i32.store8 (i32.add (local.get $flags_at) (local.get $i)) (local.get $keep))
    (if (local.get $keep) (then
      (memory.copy (global.get $to) (global.get $at) (i32.const 16))
      (if (i32.eq (global.get $letter) (i32.const 77)) (then
        (i32.store8 offset=10 (global.get $to) (i32.const 88)) (global.set $changed (i32.const 1))))
      (if (i32.eq (global.get $letter) (i32.const 87)) (then
        (i32.store8 (global.get $to) (i32.const 0xc1)) (global.set $changed (i32.const 1))))
      (global.set $to (i32.add (global.get $to) (i32.const 16)))
      (local.set $kept (i32.add (local.get $kept) (i32.const 1)))))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next)))
  (if (global.get $bad) (then
    (return (call $answer (i32.const 0) (i32.add (local.get $count) (i32.const 1)) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0)))))
  (if (global.get $changed) (then
    (return (call $answer (i32.const 2) (local.get $count) (local.get $kept)
      (i32.add (local.get $flags_at) (local.get $count)) (i32.mul (local.get $kept) (i32.const 16)) (i32.const 0)))))
  (call $answer (select (i32.const 0) (i32.const 1) (i32.eq (local.get $kept) (local.get $count)))
    (local.get $count) (local.get $kept) (i32.const 0) (i32.const 0) (local.get $flags_at))"""

GLOBALS = "".join(f"(global ${name} (mut i32) (i32.const 0))" for name in ("bad", "changed", "to", "at", "letter"))

# Counts the records it has seen in its state, and writes the count over the text of each record: `n 0042`.
COUNTING = """
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
    (local.set $keep (i32.add (local.get $p) (i32.mul (local.get $i) (i32.const 16))))
    (if (i32.eq (i32.load8_u offset=10 (local.get $keep)) (i32.const 80)) (then unreachable))
    (i32.store (i32.const 128) (i32.add (i32.load (i32.const 128)) (i32.const 1)))
    (i32.store8 offset=15 (local.get $keep)
      (i32.add (i32.const 48) (i32.rem_u (i32.load (i32.const 128)) (i32.const 10))))
    (i32.store8 offset=14 (local.get $keep)
      (i32.add (i32.const 48) (i32.rem_u (i32.div_u (i32.load (i32.const 128)) (i32.const 10)) (i32.const 10))))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next)))
  (call $answer (i32.const 2) (local.get $count) (local.get $count) (local.get $p) (local.get $n) (i32.const 0))"""

STATE = """
  (func (export "logllm_state_save") (result i32)
    (call $answer (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 128) (i32.const 4) (i32.const 0)))
  (func (export "logllm_state_load") (param $p i32) (param $n i32) (result i32)
    (if (i32.ne (local.get $n) (i32.const 4)) (then (return (i32.const 1))))
    (i32.store (i32.const 128) (i32.load (local.get $p))) (i32.const 0))"""


def letters() -> bytes:
    """The guest that does what the letters say."""
    return wat(LETTERS, more=GLOBALS)


def counting(more: str = STATE) -> bytes:
    """The guest that counts."""
    return wat(COUNTING, more=more)


def fluent(body: str, *, more: str = "", imports: str = "") -> bytes:
    """A guest of Fluent Bit's ABI, JSON: $tag, $tag_len, $sec, $nsec, $at, $len; a bump allocator that starts over."""
    return f"""(module {imports}
      (memory (export "memory") 4)
      (global $heap (mut i32) (i32.const 65536))
      (func (export "malloc") (param $size i32) (result i32) (local $at i32)
        (local.set $at (global.get $heap))
        (global.set $heap (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15))
          (i32.const -16)))
        (local.get $at))
      (func (export "free") (param i32))
      (func (export "filter") (param $tag i32) (param $tag_len i32) (param $sec i32) (param $nsec i32)
        (param $at i32) (param $len i32) (result i32)
        (local $i i32)
        {body})
      {more})""".encode()


@dataclass
class Clock:
    """A clock that stands still until it is told."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Checks:
    """The pipeline's check: counts its calls, gives the entries as its scan."""

    calls: int = 0
    seen: deque[int] = field(default_factory=lambda: deque(maxlen=100))

    def __call__(self, block: bytes, count: int) -> object | None:
        self.calls += 1
        self.seen.append(count)
        try:
            return entries_of(block, count)
        except ValueError:
            return None


def put(path: Path, code: bytes) -> PluginConfig:
    """A file of WebAssembly text and the configuration that names it."""
    path.write_bytes(code)
    return PluginConfig(path=str(path))


def chain(
    folder: Path, code: bytes, *, check: Checks | None = None, clock: Clock | None = None, **config: Any
) -> Filters:
    """A chain of one plugin."""
    path = folder / "guest.wat"
    path.write_bytes(code)
    more: dict[str, Any] = {} if clock is None else {"clock_s": clock}
    for name in ("state_dir", "ask", "spawn", "load"):
        if name in config:
            more[name] = config.pop(name)
    return Filters([PluginConfig(path=str(path), **config)], check=check or Checks(), **more)


def texts(block: bytes, count: int) -> list[str]:
    """The texts of a block's entries, without the blanks behind them."""
    return [entry[10:16].decode().rstrip() for entry in entries_of(block, count)]


def reference(given: Sequence[str], on_error: str) -> list[str]:
    """What `letters` makes of texts, one at a time."""
    made: list[str] = []
    for text in given:
        letter = text[:1]
        if letter in ("P", "B", "F", "W"):
            if on_error == "keep":
                made.append(text)
        elif letter == "M":
            made.append("X" + text[1:])
        elif letter != "D":
            made.append(text)
    return made


def at_once(work: Callable[[], None]) -> None:
    """Instead of a thread."""
    work()
