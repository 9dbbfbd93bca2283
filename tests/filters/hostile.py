"""Plugins that mean harm, in both ABIs of core modules, and what they are to cost. The bench prints the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.filters.lives import fluent
from tests.filters.native_guests import wat

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FLUENT", "NATIVE", "Hostile"]

FOR_EVER = "(loop $ever (br $ever))"
_NOTHING = (
    "(call $answer (i32.const 0) (local.get $count) (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0))"
)
_RECURSION = "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))"
_FLOOD = 500


@dataclass(frozen=True)
class Hostile:
    """One hostile guest.

    Args:
        code: Its text. Where it looks at records, it does harm only at those whose text begins with `P`.
        reasons: What its failures are counted as; none where it does not fail.
        lost: What of its flood goes over the bounds, by name; at least so many.
    """

    name: str
    code: bytes
    reasons: frozenset[str] = frozenset()
    grants: tuple[str, ...] = ("log",)
    lost: Mapping[str, int] = field(default_factory=dict)


def _at_poison(harm: str, then: str = _NOTHING) -> str:
    """Harm at a record that begins with P, else nothing."""
    return f"""
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
        (if (i32.eq (i32.const 80) (i32.load8_u offset=10
          (i32.add (local.get $p) (i32.mul (local.get $i) (i32.const 16))))) (then {harm}))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      {then}"""


def _flood(call: str) -> str:
    """Something that is done over and over."""
    return f"""
      (local.set $i (i32.const {_FLOOD}))
      (loop $again {call} (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $again (local.get $i)))
      {_NOTHING}"""


def _answers(*words: int) -> str:
    """Whatever it is given, it answers mode, n_in (-1: the right one), n_out, ptr, len, keep_ptr."""
    texts = ["(local.get $count)" if word == -1 else f"(i32.const {word})" for word in words]
    return f"(return (call $answer {' '.join(texts)}))"


def _import(name: str, params: str, results: str = "(result i32)") -> str:
    return f'(import "logllm" "{name}" (func ${name} (param {params}) {results}))'


_HUGE = 0x7FFF_FFF0
_GROW = "(drop (memory.grow (i32.const 16)))"
_GROW_ALL = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))"

NATIVE = [
    Hostile("infinite loop", wat(_at_poison(FOR_EVER)), frozenset({"timeout"})),
    Hostile("trap on record k", wat(_at_poison("unreachable")), frozenset({"trap"})),
    Hostile(
        "stack overflow", wat(_at_poison("(drop (call $deep (i32.const 1)))"), more=_RECURSION), frozenset({"stack"})
    ),
    Hostile("memory bomb, then trap", wat(_at_poison(_GROW_ALL + "unreachable")), frozenset({"trap"})),
    Hostile("memory bomb that goes on", wat(_GROW + _NOTHING)),
    Hostile("reads outside its memory", wat(_at_poison("(drop (i32.load (i32.const -16)))")), frozenset({"trap"})),
    Hostile("result outside memory", wat(_at_poison("(return (i32.const -32))")), frozenset({"bad_pointer"})),
    Hostile("bad pointer", wat(_at_poison(_answers(2, -1, 1, -64, 16, 0))), frozenset({"bad_pointer"})),
    Hostile("huge length", wat(_at_poison(_answers(2, -1, 1, 0, _HUGE, 0))), frozenset({"output", "bad_pointer"})),
    Hostile("output bomb", wat(_at_poison(_answers(2, -1, 1, 0, 2 << 20, 0)), pages=40), frozenset({"output"})),
    Hostile(
        "more entries than it may make", wat(_at_poison(_answers(2, -1, 99_999, 0, 300_000, 0))), frozenset({"output"})
    ),
    Hostile("entries that are none", wat(_at_poison(_answers(2, -1, 3, 0, 48, 0))), frozenset({"bad_result"})),
    Hostile("an unknown mode", wat(_at_poison(_answers(77, -1, 1, 0, 0, 0))), frozenset({"bad_result"})),
    Hostile("counts wrongly", wat(_at_poison(_answers(0, 12345, 1, 0, 0, 0))), frozenset({"bad_result"})),
    Hostile("keeps more than it was given", wat(_at_poison(_answers(1, -1, 999, 0, 0, 64))), frozenset({"bad_result"})),
    Hostile(
        "corrupts its own memory",
        wat(_at_poison("(memory.fill (i32.const 0) (i32.const 255) (i32.const 262144)) (return (i32.const 64))")),
        frozenset({"bad_result", "refused"}),
    ),
    Hostile(
        "log flood",
        wat(
            _flood("(call $log (i32.const 3) (i32.const 256) (i32.const 65536))"),
            imports=_import("log", "i32 i32 i32", ""),
            more=f'(data (i32.const 256) "{"flood " * 700}")',
        ),
        lost={"log_lines": _FLOOD - 100},
    ),
    Hostile(
        "ask flood",
        wat(_flood("(drop (call $ask (i32.const 0) (i32.const 5)))"), imports=_import("ask", "i32 i32")),
        grants=("ask",),
        lost={"asks": _FLOOD - 4},
    ),
    Hostile(
        "anomaly flood",
        wat(
            _flood("(drop (call $anomaly (i32.const 1000) (i32.const 256) (i32.const 12)))"),
            imports=_import("anomaly", "i32 i32 i32"),
            more='(data (i32.const 256) "{\\"rule\\":\\"r\\"}")',
        ),
        grants=("anomaly",),
        lost={"anomalies": _FLOOD - 16},
    ),
    Hostile(
        "kv flood",
        wat(
            _flood(
                "(i32.store (i32.const 512) (local.get $i))"
                "(drop (call $kv_set (i32.const 512) (i32.const 4) (i32.const 1024) (i32.const 4096)))"
            ),
            imports=_import("kv_set", "i32 i32 i32 i32"),
        ),
        grants=("kv",),
        lost={"kv": _FLOOD - 256},
    ),
    Hostile(
        "metric flood",
        wat(
            _flood(
                "(i32.store (i32.const 512) (i32.add (i32.const 0x61616161) (local.get $i)))"
                "(drop (call $metric (i32.const 512) (i32.const 4) (i64.const 1)))"
            ),
            imports=_import("metric", "i32 i32 i64"),
        ),
        grants=("metric",),
        lost={"metrics": _FLOOD - 100},
    ),
]

_SAME = "(local.get $at)"


def _fluent_at_poison(harm: str, more: str = "", imports: str = "") -> bytes:
    """{"m":"P... does harm."""
    poison = f"(if (i32.eq (i32.load8_u offset=6 (local.get $at)) (i32.const 80)) (then {harm}))"
    return fluent(poison + _SAME, more=more, imports=imports)


def _wasi(name: str, params: str) -> str:
    return f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {params}) (result i32)))'


FLUENT = [
    Hostile("infinite loop", _fluent_at_poison(FOR_EVER), frozenset({"timeout"})),
    Hostile("trap on record k", _fluent_at_poison("unreachable"), frozenset({"trap"})),
    Hostile("stack overflow", _fluent_at_poison("(drop (call $deep (i32.const 1)))", _RECURSION), frozenset({"stack"})),
    Hostile("memory bomb, then trap", _fluent_at_poison(_GROW_ALL + "unreachable"), frozenset({"trap"})),
    Hostile("memory bomb that goes on", fluent(_GROW + _SAME)),
    Hostile("bad pointer", _fluent_at_poison("(return (i32.const -64))"), frozenset({"bad_pointer", "bad_result"})),
    Hostile(
        "an answer without end",
        _fluent_at_poison(
            "(memory.fill (i32.const 65536) (i32.const 65) (i32.sub (i32.mul (memory.size) (i32.const 65536)) "
            "(i32.const 65536))) (return (i32.const 65536))"
        ),
        frozenset({"bad_result", "bad_pointer"}),
    ),
    Hostile(
        "output bomb",
        _fluent_at_poison(
            "(drop (memory.grow (i32.const 64))) (memory.fill (i32.const 262144) (i32.const 65) (i32.const 4194303)) "
            "(return (i32.const 262144))"
        ),
        frozenset({"output"}),
    ),
    Hostile(
        "answers no JSON",
        _fluent_at_poison("(i32.store (local.get $at) (i32.const 0x242424))"),
        frozenset({"bad_result"}),
    ),
    Hostile(
        "ends itself",
        _fluent_at_poison(
            "(call $proc_exit (i32.const 3))",
            imports='(import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))',
        ),
        frozenset({"exit"}),
    ),
    Hostile(
        "leaks at every record",
        fluent("(drop (memory.grow (i32.const 1))) (local.get $at)"),
    ),
]
