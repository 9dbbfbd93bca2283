from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters import native
from logllm.filters.config import Limits, PluginConfig
from tests.filters.native_guests import MARK, PASS, block, bring_up, silent_host, wat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from logllm.filters.instance import Instance

FIVE = block("alpha", "debug", "beta", "dull", "gamma")
QUICK = Limits(time_ms=20, init_ms=50, memory_bytes=4 << 20)
FOR_EVER = "(loop $ever (br $ever))"


@pytest.fixture(autouse=True, params=["unchecked", "checked"])
def way_of_calling(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test runs with both ways to call a guest."""
    from logllm.wasm import call

    call.use_unchecked(request.param == "unchecked")
    yield
    call.use_unchecked(True)


def answer(mode: int, n_in: int, n_out: int, at: int = 0, size: int = 0, keep: int = 0) -> str:
    """A `logllm_process` that always answers this."""
    words = " ".join(f"(i32.const {word})" for word in (mode, n_in, n_out, at, size, keep))
    return f"(call $answer {words})"


def refusal(code: bytes, **config: Any) -> str:
    """Why a module is not taken."""
    with pytest.raises(PluginLoadError) as refused:
        bring_up(code, **config)
    return str(refused.value)


def trap(plugin: Instance, given: bytes = FIVE, count: int = 5, budget_ms: float = 1000) -> PluginTrap:
    """What a block comes to; the instance is of no more use after it."""
    with pytest.raises(PluginTrap) as trapped:
        plugin.process("t", given, count, budget_ms)
    with pytest.raises(PluginTrap, match="expected a new instance"):
        plugin.process("t", given, count, budget_ms)
    plugin.close()
    return trapped.value


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("logllm_abi", "exports no function logllm_abi; expected () -> (i32)"),
        ("logllm_buffer", "exports no function logllm_buffer; expected (i32) -> (i32)"),
        ("logllm_process", "exports no function logllm_process; expected (i32, i32, i32) -> (i32)"),
        ("memory", "expected an export named `memory`"),
    ],
)
def test_a_module_that_lacks_something_is_told_what(lacking: str, words: str) -> None:
    assert words in refusal(wat().replace(f'(export "{lacking}")'.encode(), b""))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('(func (export "logllm_init") (param i32))', "logllm_init is (i32) -> (); expected (i32, i32) -> (i32)"),
        ('(func (export "logllm_tag") (param i32 i64))', "logllm_tag is (i32, i64) -> (); expected (i32, i32) -> ()"),
        (
            '(func (export "logllm_flush") (param i32) (result i32) (i32.const 0))',
            "logllm_flush is (i32) -> (i32); expected (i64) -> (i32)",
        ),
        ('(func (export "logllm_answer") (param f32))', "logllm_answer is (f32) -> (); expected (i32, i32, i32) -> ()"),
        ('(func (export "logllm_state_save") (param externref))', "logllm_state_save is (?) -> ()"),
        ('(func (export "_initialize") (param v128))', "_initialize is (?) -> (); expected () -> ()"),
    ],
)
def test_a_function_of_another_type_is_told_with_the_type_it_should_have(more: str, words: str) -> None:
    assert words in refusal(wat(more=more))


def test_another_major_version_is_refused_and_a_later_minor_one_is_taken() -> None:
    refused = refusal(wat(abi=0x0002_0001))
    taken = bring_up(wat(abi=0x0001_0009))

    assert refused == "it is made for version 2.1 of the native ABI; expected 1.x"
    assert taken.process("t", FIVE, 5, 1000).block is FIVE


def test_all_grants_that_are_missing_are_named_at_once() -> None:
    imports = """(import "logllm" "log" (func (param i32 i32 i32)))
      (import "logllm" "now" (func (result i64)))
      (import "logllm" "kv_get" (func (param i32 i32 i32 i32) (result i32)))
      (import "logllm" "kv_set" (func (param i32 i32 i32 i32) (result i32)))
      (import "logllm" "ask" (func (param i32 i32) (result i32)))"""

    some = refusal(wat(imports=imports), grants=["log", "kv"])
    most = refusal(wat(imports=imports), grants=[])

    assert some == 'it imports logllm.now, logllm.ask; expected in its `grants`: "clock", "ask"'
    assert most.endswith('expected in its `grants`: "clock", "kv", "ask"')
    assert bring_up(wat(imports=imports), grants=["clock", "kv", "ask"])


@pytest.mark.parametrize(
    ("imports", "words"),
    [
        ('(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))', "without WASI"),
        ('(import "env" "abort" (func))', "env.abort, not to be had here; expected imports from logllm only"),
        ('(import "logllm" "system" (func (param i32)))', "logllm.system, not to be had here; expected of logllm: log"),
        ('(import "logllm" "log" (func (param i32)))', "logllm.log as (i32) -> (); expected (i32, i32, i32) -> ()"),
        ('(import "logllm" "log" (global i32))', "logllm.log, which is not to be had"),
        ('(import "env" "memory" (memory 1))', "env.memory, not to be had here"),
        ('(import "env" "__table" (table 1 funcref))', "env.__table, not to be had here"),
        ('(import "" "" (func))', "not to be had here"),
    ],
)
def test_what_is_not_to_be_had_is_refused_by_name(imports: str, words: str) -> None:
    assert words in refusal(wat(imports=imports))


def test_many_strange_imports_do_not_make_a_long_message() -> None:
    imports = "".join(f'(import "env" "f{number}" (func))' for number in range(500))

    assert len(refusal(wat(imports=imports))) < 200


@pytest.mark.parametrize(
    "code",
    [
        b"",
        b"\0asm",
        b"\0asm\1\0\0\0",
        b"\0asm\1\0\0\0" + b"\xff" * 100,
        b"#!/bin/sh\n",
        b"(module",
        b"\0asm\x0d\0\1\0",
        wat(more='(func (export "g") (param (ref null (array i8))))'),
        wat(more="(type (array (mut i64)))"),
        wat(more="(memory 1 1 shared)"),
        wat().replace(b"(memory", b"(memory i64", 1).replace(b'"memory") 4', b'"memory") 0x1000000000000', 1),
    ],
)
def test_what_is_no_module_for_this_sandbox_is_refused(code: bytes) -> None:
    assert refusal(code)


@pytest.mark.parametrize(
    "more",
    [
        '(tag (export "oops") (param i32))',
        '(global (export "g") externref (ref.null extern))',
        '(table (export "t") 4 funcref)',
        '(func (export "f") (param externref funcref v128) (result f64) (f64.const 0))',
        '(func (export "two") (result i32 i32) (i32.const 1) (i32.const 2))',
    ],
)
def test_exports_that_are_none_of_ours_do_no_harm(more: str) -> None:
    assert bring_up(wat(more=more)).process("t", FIVE, 5, 1000).block is FIVE


def test_memory_that_begins_above_the_limit_is_refused_in_clear_words() -> None:
    refused = refusal(wat(pages=100), limits=Limits(memory_bytes=1 << 20))

    assert refused == "its memory begins with 6553600 bytes; its limit `memory_bytes` is 1048576"


def test_a_second_memory_is_refused() -> None:
    assert "memor" in refusal(wat(more="(memory 1)"))


def test_a_memory_of_no_bytes_has_room_for_nothing() -> None:
    plugin = bring_up(wat(pages=0))

    assert trap(plugin).reason == "bad_pointer"


@pytest.mark.parametrize(
    "more",
    [
        f'(func (export "_initialize") {FOR_EVER})',
        f'(func (export "logllm_init") (param i32 i32) (result i32) {FOR_EVER} (i32.const 0))',
        f"(func $go {FOR_EVER}) (start $go)",
        "(func $go unreachable) (start $go)",
        '(func (export "_initialize") unreachable)',
        '(func $deep (export "_initialize") (call $deep))',
    ],
)
def test_a_start_that_fails_or_never_ends_is_a_refusal(more: str) -> None:
    assert "its start" in refusal(wat(more=more), limits=QUICK)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (wat(f"{FOR_EVER} {PASS}"), "timeout"),
        (wat(buffer=f"{FOR_EVER} (i32.const 0)"), "timeout"),
        (wat(more=f'(func (export "logllm_tag") (param i32 i32) {FOR_EVER})'), "timeout"),
        (wat("unreachable"), "trap"),
        (wat(f"(drop (i32.load (i32.const -4))) {PASS}"), "trap"),
        (wat(f"(drop (i32.div_u (i32.const 1) (i32.const 0))) {PASS}"), "trap"),
        (wat(f"(call $deep) {PASS}", more="(func $deep (call $deep))"), "stack"),
        (wat(buffer="(i32.const 0)"), "memory"),
        (wat(buffer="(i32.const -16)"), "bad_pointer"),
        (wat(buffer="(i32.const 262128)"), "bad_pointer"),
        (wat("(i32.const -1)"), "bad_pointer"),
        (wat("(i32.const 262120)"), "bad_pointer"),
        (wat(answer(0, 4, 4)), "bad_result"),
        (wat(answer(3, 5, 5)), "bad_result"),
        (wat(answer(0xFFFF_FEFF, 5, 5)), "bad_result"),
        (wat(answer(0xFFFF_FF00, 5, 5)), "refused"),
        (wat(answer(0xFFFF_FFFF, 0, 0)), "refused"),
        (wat(answer(1, 5, 5, keep=-1)), "bad_pointer"),
        (wat(answer(1, 5, 5, keep=262_140)), "bad_pointer"),
        (wat(answer(1, 5, 5, keep=4096)), "bad_result"),
        (wat(answer(1, 6, 0, keep=4096)), "bad_result"),
        (wat(answer(2, 5, 5, at=-1, size=100)), "bad_pointer"),
        (wat(answer(2, 5, 5, at=65_536, size=262_144)), "bad_pointer"),
        (wat(answer(2, 5, 5, at=0, size=-1)), "output"),
        (wat(answer(2, 5, 97, at=0, size=1000)), "output"),
        (wat(answer(2, 5, -1, at=0, size=1000)), "output"),
        (wat(answer(2, 5, 0, at=0, size=1)), "bad_result"),
        (wat(answer(2, 5, 34, at=0, size=100)), "bad_result"),
        (wat(answer(2, 5, 4, at=65_536, size=80)), "bad_result"),
    ],
)
def test_a_call_that_fails_or_an_answer_that_is_none_is_counted_by_its_kind(code: bytes, reason: str) -> None:
    plugin = bring_up(code, limits=QUICK)

    trapped = trap(plugin)

    assert trapped.reason == reason
    assert str(trapped)


@pytest.mark.parametrize(
    "name",
    ["logllm_flush", "logllm_answer", "logllm_state_save", "logllm_state_load"],
)
def test_every_way_into_a_guest_is_bounded(name: str) -> None:
    kinds = {
        "logllm_flush": "(param i64) (result i32)",
        "logllm_answer": "(param i32 i32 i32)",
        "logllm_state_save": "(result i32)",
        "logllm_state_load": "(param i32 i32) (result i32)",
    }
    value = "(i32.const 0)" if "result" in kinds[name] else ""
    plugin = bring_up(wat(more=f'(func (export "{name}") {kinds[name]} {FOR_EVER} {value})'), limits=QUICK)
    ways: dict[str, Callable[[], object]] = {
        "logllm_flush": lambda: plugin.flush(1),
        "logllm_answer": lambda: plugin.answer(1, "x"),
        "logllm_state_save": plugin.save,
        "logllm_state_load": lambda: plugin.load(b"x"),
    }
    enter = ways[name]

    with pytest.raises(PluginTrap) as trapped:
        enter()

    assert trapped.value.reason == "timeout"
    with pytest.raises(PluginTrap, match="expected a new instance"):
        enter()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (answer(1, 0, 0), "bad_result"),
        (answer(0, 5, 0), "bad_result"),
        (answer(2, 0, 1, at=0, size=(1 << 20) + 1), "output"),
        (answer(2, 0, 10, at=0, size=10), "bad_result"),
        (answer(0xFFFF_FF01, 0, 0), "refused"),
        ("(i32.const -5)", "bad_pointer"),
    ],
)
def test_a_flush_is_judged_like_a_block_of_no_entries(words: str, reason: str) -> None:
    plugin = bring_up(wat(more=f'(func (export "logllm_flush") (param i64) (result i32) {words})'))

    with pytest.raises(PluginTrap) as trapped:
        plugin.flush(1)

    assert trapped.value.reason == reason


def test_a_failing_plugin_may_say_why_in_so_many_words() -> None:
    fails = """(i32.store (i32.const 88) (i32.const {at})) (i32.store (i32.const 92) (i32.const {size}))
      (call $answer (i32.const 0xffffff02) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"""
    said = '(data (i32.const 4096) "entry 3: \\1b[31mno map\\ff")'

    why = trap(bring_up(wat(fails.format(at=4096, size=21), more=said)))
    long = trap(bring_up(wat(fails.format(at=4096, size=100_000), more=said)))
    none = trap(bring_up(wat(fails.format(at=262_140, size=-1), more=said)))

    assert str(why) == "entry 3:  [31mno map\ufffd"
    assert len(str(long)) <= 4096
    assert "outside its memory" in str(none)
    assert "does not say why" in str(trap(bring_up(wat(fails.format(at=-1, size=0)))))


def test_a_memory_bomb_gets_no_more_than_its_limit_and_goes_on() -> None:
    bomb = "(block $full (loop $more (br_if $full (i32.eq (i32.const -1) (memory.grow (i32.const 1)))) (br $more)))"
    plugin = bring_up(wat(bomb + PASS), limits=Limits(memory_bytes=8 << 20))

    made = plugin.process("t", FIVE, 5, 1000)

    assert made.block is FIVE
    assert plugin.memory_bytes == 8 << 20


def test_a_table_bomb_is_bounded_too() -> None:
    grown = "(i32.store (i32.const 600) (table.grow $t (ref.null func) (i32.const 99000000)))"
    told = """(call $answer (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 600) (i32.const 4) (i32.const 0))"""
    save = f'(func (export "logllm_state_save") (result i32) {grown} {told})'
    plugin = bring_up(wat(more=f"(table $t 1 funcref) {save}"))

    assert plugin.save() == b"\xff\xff\xff\xff"


def test_what_is_left_of_the_budget_bounds_a_call_as_well() -> None:
    plugin = bring_up(wat(f"{FOR_EVER} {PASS}"), limits=Limits(time_ms=60_000))

    started = time.monotonic()
    trapped = trap(plugin, budget_ms=12.5)

    assert trapped.reason == "timeout"
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("budget_ms", [0, -3.5, 0.001])
def test_a_budget_that_is_used_up_still_stops_a_guest(budget_ms: float) -> None:
    assert trap(bring_up(wat(f"{FOR_EVER} {PASS}")), budget_ms=budget_ms).reason == "timeout"


def test_output_is_bounded_by_what_was_given_or_by_the_configuration() -> None:
    answers = wat(answer(2, 5, 5, at=0, size=2_000_000), pages=40)

    by_default = trap(bring_up(answers))
    by_choice = trap(bring_up(answers, limits=Limits(output_bytes=1_999_999)))
    allowed = bring_up(answers, limits=Limits(output_bytes=2_000_000)).process("t", FIVE, 5, 1000)

    assert "allows 1048576" in str(by_default)
    assert (by_choice.reason, len(allowed.block)) == ("output", 2_000_000)


def test_a_guest_that_ruins_its_own_memory_ruins_nobody_elses() -> None:
    config = PluginConfig(path="x.wasm")
    ruin = "(memory.fill (i32.const 0) (i32.const 0xaa) (i32.mul (memory.size) (i32.const 65536)))"
    ruined = native.program(wat(f"{ruin} (i32.const 64)"), config)
    healthy = bring_up(wat(MARK))

    trapped = trap(ruined.instance(config, config.limits, silent_host()))
    made = healthy.process("t", block("one"), 1, 1000)

    assert trapped.reason == "bad_result"
    assert made.block == block("Xne")


def test_floods_of_every_import_cost_only_their_bounds() -> None:
    imports = """(import "logllm" "log" (func $log (param i32 i32 i32)))
      (import "logllm" "ask" (func $ask (param i32 i32) (result i32)))
      (import "logllm" "metric" (func $metric (param i32 i32 i64) (result i32)))
      (import "logllm" "kv_set" (func $kv_set (param i32 i32 i32 i32) (result i32)))
      (import "logllm" "anomaly" (func $anomaly (param i32 i32 i32) (result i32)))"""
    flood = f"""(loop $next
      (call $log (i32.const 3) (i32.const 1024) (i32.const 60000))
      (drop (call $ask (i32.const 1024) (i32.const 4)))
      (i32.store8 (i32.const 1026) (i32.add (i32.const 48) (i32.rem_u (local.get $i) (i32.const 10))))
      (i32.store8 (i32.const 1027) (i32.add (i32.const 48)
        (i32.rem_u (i32.div_u (local.get $i) (i32.const 10)) (i32.const 10))))
      (i32.store8 (i32.const 1028) (i32.add (i32.const 48) (i32.div_u (local.get $i) (i32.const 100))))
      (drop (call $metric (i32.const 1024) (i32.const 5) (i64.const 1)))
      (drop (call $kv_set (i32.const 1024) (i32.const 5) (i32.const 2048) (i32.const 20000)))
      (drop (call $anomaly (i32.const 900) (i32.const 1040) (i32.const 12)))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 500))))
      {PASS}"""
    words = """(data (i32.const 1024) "name") (data (i32.const 1040) "{\\22rule\\22:\\22r\\22}")"""
    lines: list[str] = []
    host = silent_host(lines, ask=lambda *_: True, monotonic_s=lambda: 1000.0)
    grants = ["log", "ask", "metric", "kv", "anomaly"]
    plugin = bring_up(wat(flood, imports=imports, more=words), host, grants=grants, limits=Limits(time_ms=60_000))

    made = plugin.process("t", FIVE, 5, 60_000)

    assert made.block is FIVE
    assert (len(lines), host.lost.log_lines) == (50, 450)
    assert max(map(len, lines)) <= 4 * 4096
    assert (host.tickets, host.lost.asks) == (4, 496)
    assert (len(host.metrics), host.lost.metrics) == (100, 400)
    assert (len(host.signals), host.lost.anomalies) == (16, 484)
    assert sum(len(key) + len(value) for key, value in host.kv.items()) <= 1 << 20
    assert host.lost.kv == 500 - len(host.kv)


def test_an_error_inside_a_host_function_comes_out_as_itself_and_ends_the_instance() -> None:
    imports = '(import "logllm" "now" (func $now (result i64)))'
    code = wat(f"(drop (call $now)) {FOR_EVER} {PASS}", imports=imports)

    def broken() -> int:
        raise KeyboardInterrupt

    plugin = bring_up(code, silent_host(clock_ns=broken), grants=["clock"], limits=Limits(time_ms=60_000))

    with pytest.raises(KeyboardInterrupt):
        plugin.process("t", FIVE, 5, 60_000)
    with pytest.raises(PluginTrap, match="expected a new instance"):
        plugin.process("t", FIVE, 5, 1000)


def sizes() -> tuple[int, int]:
    """Address space and resident memory of this process, in bytes."""
    pages = Path("/proc/self/statm").read_text().split()
    return int(pages[0]) * 4096, int(pages[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to see what this process holds")
@pytest.mark.parametrize("end", [PASS, "unreachable", "(i32.const -1)"])
def test_instances_that_come_and_go_leave_no_memory_behind(end: str) -> None:
    config = PluginConfig(path="x.wasm")
    # Each instance writes to a megabyte of its own.
    program = native.program(
        wat(f"(memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576)) {end}", pages=17), config
    )

    def live_and_die(times: int) -> None:
        for _ in range(times):
            plugin = program.instance(config, config.limits, silent_host())
            try:
                plugin.process("t", FIVE, 5, 1000)
            except PluginTrap:
                pass
            finally:
                plugin.close()

    live_and_die(200)
    space, resident = sizes()
    live_and_die(2_000)
    space_after, resident_after = sizes()

    assert space_after - space < 64 << 20
    assert resident_after - resident < 16 << 20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to see what this process holds")
def test_thirty_thousand_calls_take_no_more_memory_than_a_few() -> None:
    plugin = bring_up(wat(MARK))
    one = block("one")
    for _ in range(1_000):
        plugin.process("t", one, 1, 1000)
    _, before = sizes()

    for _ in range(30_000):
        plugin.process("t", one, 1, 1000)

    assert sizes()[1] - before < 4 << 20
    assert plugin.memory_bytes == 4 * 65_536
