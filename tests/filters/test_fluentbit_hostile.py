from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters.config import Limits
from logllm.filters.fluentbit.block import Made
from logllm.filters.instance import Filtered, RecordFailed, entries_of
from tests.filters.fluentbit_lives import BUDGET_MS, SIX, ask, block, bring_up, records_of, silent_host, wat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from logllm.filters.fluentbit import FluentBitInstance

LOOP = "(loop $for_ever (br $for_ever)) unreachable"
# Does `odd` for records whose first key begins with x, and leaves the rest.
ODD = "(if (i32.eq (i32.load8_u offset=2 (local.get $rec)) (i32.const 0x78)) (then {odd})) (local.get $rec)"


def failed(instance: FluentBitInstance, *records: object, budget_ms: float = BUDGET_MS) -> RecordFailed:
    """How filtering some records failed."""
    with pytest.raises(RecordFailed) as caught:
        instance.process("app", block(*records), len(records), budget_ms)
    return caught.value


@pytest.mark.parametrize(
    ("odd", "reason", "broken"),
    [
        ("unreachable", "trap", True),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "trap", True),
        ("(drop (i32.load (i32.const -4)))", "trap", True),
        ("(call $again)", "stack", True),
        (LOOP, "timeout", True),
        ("(call $exit (i32.const 0))", "exit", True),
        ("(return (i32.const -1))", "bad_pointer", False),
        ("(return (i32.const 131072))", "bad_pointer", False),
        ("(return (i32.const 0x80000000))", "bad_pointer", False),
        ("(return (i32.const 65536))", "bad_result", False),
    ],
)
@pytest.mark.parametrize("event_format", ["json", "msgpack"])
def test_a_record_that_a_guest_fails_at_is_named_and_those_before_it_are_done(
    odd: str, reason: str, broken: bool, event_format: str
) -> None:
    exit_ = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
    code = f"""(module {exit_} (memory (export "memory") 2) (data (i32.const 65536) "[1]\\00")
      (func $again (call $again))
      (global $next (mut i32) (i32.const 1024))
      (func (export "malloc") (param $size i32) (result i32) (global.set $next (i32.add (global.get $next)
        (local.get $size))) (i32.sub (global.get $next) (local.get $size)))
      (func (export "filter") {SIX} (result i32) {ODD.format(odd=odd)}))""".encode()
    plugin = bring_up(code, limits=Limits(time_ms=20), event_format=event_format)

    trap = failed(plugin, {"a": 1}, {"b": 1}, {"x": 1}, {"c": 1})

    assert (trap.reason, trap.index, trap.broken) == (reason, 2, broken)
    assert records_of(trap.done) == [{"a": 1}, {"b": 1}]
    if broken:
        assert plugin.memory_bytes == 0, "what has failed is closed"
        with pytest.raises(PluginTrap, match="expected a new instance"):
            ask(plugin, {"a": 1})
    else:
        assert ask(plugin, {"c": 1}) == [{"c": 1}]


def test_an_endless_loop_costs_what_its_limit_says() -> None:
    plugin = bring_up(wat(LOOP), limits=Limits(time_ms=50))
    begun = time.monotonic()

    trap = failed(plugin, {"a": 1})

    assert trap.reason == "timeout"
    # The limit, two ticks, and what a busy machine adds.
    assert 0.05 <= time.monotonic() - begun < 2


def test_each_record_has_its_own_time_and_the_block_has_a_budget() -> None:
    # About a millisecond each, far less than a record may take, together more than the block may.
    spin = """(loop $on (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $on (i32.lt_u (local.get $i) (i32.const 1000000))))"""
    plugin = bring_up(wat(f"{spin} (local.get $rec)"), limits=Limits(time_ms=2_000))
    records = [{"k": number} for number in range(2_000)]

    trap = failed(plugin, *records, budget_ms=60)

    assert trap.reason == "timeout"
    assert 0 < trap.index < 2_000
    assert records_of(trap.done) == records[: trap.index]
    if not trap.broken:
        assert ask(plugin, {"k": 1}) == [{"k": 1}]


def test_no_budget_is_a_failure_that_leaves_the_guest_whole() -> None:
    plugin = bring_up(wat("(local.get $rec)"))

    trap = failed(plugin, {"a": 1}, {"b": 2}, budget_ms=0)

    assert (trap.reason, trap.index, trap.broken, trap.done.count) == ("timeout", 0, False, 0)
    assert ask(plugin, {"a": 1}) == [{"a": 1}]


def test_a_memory_bomb_gets_the_memory_it_may_have() -> None:
    body = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (local.get $rec)"
    plugin = bring_up(wat(body), limits=Limits(memory_bytes=8 << 20))

    for _ in range(3):
        made = ask(plugin, {"a": 1}, {"b": 2})
        assert made == [{"a": 1}, {"b": 2}]
        assert plugin.memory_bytes <= 8 << 20

    assert plugin.restarts == 5, "made anew before each record but the first"


def test_a_module_that_begins_with_too_much_memory_is_refused() -> None:
    with pytest.raises(PluginLoadError, match="memory"):
        bring_up(wat("(local.get $rec)", pages=200), limits=Limits(memory_bytes=8 << 20))


def test_a_record_that_there_is_no_room_for_fails_alone() -> None:
    plugin = bring_up(wat("(local.get $rec)"), limits=Limits(memory_bytes=1 << 20))

    trap = failed(plugin, {"a": 1}, {"b": "x" * (2 << 20)}, {"c": 1})

    assert (trap.reason, trap.index, trap.broken) == ("memory", 1, False)
    assert ask(plugin, {"c": 1}) == [{"c": 1}]


@pytest.mark.parametrize(
    ("malloc", "reason", "broken"),
    [
        ("(i32.const 0)", "memory", False),
        ("(i32.const -16)", "bad_pointer", True),
        ("unreachable", "trap", True),
        (LOOP, "timeout", True),
        ("(i32.sub (i32.const 131072) (local.get 0))", None, False),
    ],
)
@pytest.mark.parametrize("reuse", [True, False])
def test_an_allocator_may_fail_in_any_way(malloc: str, reason: str | None, broken: bool, reuse: bool) -> None:
    code = wat("(i32.const 100)", more=f'(func (export "malloc") (param i32) (result i32) {malloc})')
    plugin = bring_up(code, reuse_buffer=reuse, limits=Limits(time_ms=20))

    if reason is None:
        assert ask(plugin, {"a": 1}) == []
    else:
        trap = failed(plugin, {"a": 1})
        assert (trap.reason, trap.broken) == (reason, broken)


def test_a_malloc_of_another_type_is_not_called() -> None:
    plugin = bring_up(wat("(local.get $rec)", more='(func (export "malloc") (param i32 i32) (result i32) unreachable)'))

    assert ask(plugin, {"a": 1}) == [{"a": 1}]


def test_a_guest_that_overwrites_all_of_its_memory_spoils_only_its_own_answers() -> None:
    body = "(memory.fill (i32.const 0) (i32.const 0x41) (i32.mul (memory.size) (i32.const 65536))) (local.get $rec)"
    plugin = bring_up(wat(body))

    trap = failed(plugin, {"a": 1})

    assert trap.reason == "bad_pointer"
    assert "has no end" in str(trap)


# A key without letters, and 3 MiB of text.
HEADER = "(i64.store (i32.const 65536) (i64.const 0x2000003000dba081))"


@pytest.mark.parametrize(("event_format", "header"), [("json", ""), ("msgpack", HEADER)])
def test_an_output_bomb_is_stopped_at_the_limit(event_format: str, header: str) -> None:
    body = f"(memory.fill (i32.const 65536) (i32.const 0x20) (i32.const 3145800)) {header} (i32.const 65536)"
    plugin = bring_up(wat(body, pages=60), event_format=event_format)

    trap = failed(plugin, {"a": 1})

    assert (trap.reason, trap.broken) == ("output", False)
    roomy = bring_up(wat(body, pages=60), event_format=event_format, limits=Limits(output_bytes=4 << 20))
    if event_format == "msgpack":
        assert ask(roomy, {"a": 1}) == [{"": " " * (3 << 20)}]


def test_what_all_answers_of_a_block_may_take_is_bounded() -> None:
    text = "{\\22a\\22:\\22" + "x" * 10_000 + "\\22}\\00"
    plugin = bring_up(wat("(i32.const 64)", more=f'(data (i32.const 64) "{text}")'), limits=Limits(output_bytes=55_000))

    trap = failed(plugin, *({"k": number} for number in range(10)))

    assert (trap.reason, trap.index, trap.done.count) == ("output", 5, 5)
    assert len(ask(plugin, {"k": 1}, {"k": 2})) == 2


@pytest.mark.parametrize(
    "answer",
    ["[]", "1", "null", "{", '{"a":1}{}', '{"a":NaN}', "x", '"', "{'a':1}", "[" * 3_000, '{"a":' + "[" * 3_000],
)
def test_an_answer_that_is_no_object_fails_that_record_only(answer: str) -> None:
    text = answer.replace('"', "\\22")
    plugin = bring_up(wat(ODD.format(odd="(return (i32.const 64))"), more=f'(data (i32.const 64) "{text}\\00")'))

    trap = failed(plugin, {"a": 1}, {"x": 1})

    assert (trap.reason, trap.index, trap.broken) == ("bad_result", 1, False)
    assert ask(plugin, {"b": 1}) == [{"b": 1}]


@pytest.mark.parametrize("answer", ["c0", "90", "c1", "7b7d", "ff", "df ff ff ff ff", "de 00", "81 c1", "81" * 3_000])
def test_msgpack_that_is_no_map_fails_that_record_only(answer: str) -> None:
    # It stands at the very end of the memory.
    text = "".join(f"\\{byte:02x}" for byte in bytes.fromhex(answer))
    at = 131_072 - len(bytes.fromhex(answer))
    malloc = '(func (export "malloc") (param i32) (result i32) (i32.const 1024))'
    plugin = bring_up(
        wat(f"(i32.const {at})", more=f'(data (i32.const {at}) "{text}") {malloc}'), event_format="msgpack"
    )

    trap = failed(plugin, {"x": 1})

    assert (trap.reason, trap.broken) == ("bad_result", False)


def test_a_record_that_has_no_form_in_json_is_a_failure_and_not_a_way_around_the_filter() -> None:
    plugin = bring_up(wat("(i32.const 0)"))
    no_time = b"\x81\xa1t\xc7\x0c\xff\xff\xff\xff\xff" + bytes(8)

    trap = failed(plugin, {"a": 1}, no_time, {"b": 1})

    assert (trap.reason, trap.index, trap.broken) == ("bad_record", 1, False)


def test_an_answer_that_can_be_read_and_not_packed_fails_alone() -> None:
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    made = Made(block({"a": 1}, {"b": 1}, {"c": 1}), 3)
    made.leave(0)
    made.put(2, made.pairs[2][0], {"deep": deep})

    with pytest.raises(RecordFailed, match="cannot be packed") as caught:
        made.until(3)

    assert (caught.value.index, caught.value.broken, caught.value.reason) == (2, False, "bad_result")
    assert (caught.value.done.count, caught.value.done.dropped) == (1, 1)
    assert records_of(caught.value.done) == [{"a": 1}]


def test_a_guest_that_does_not_come_back_from_being_made_anew_is_broken() -> None:
    home = "wasi_snapshot_preview1"
    code = f"""(module (import "{home}" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_initialize") (drop (call $time (i32.const 0) (i64.const 0) (i32.const 8)))
        (if (i64.ne (i64.load (i32.const 8)) (i64.const 5000000000)) (then unreachable)))
      (func (export "filter") {SIX} (result i32) (drop (memory.grow (i32.const 20))) (local.get $rec)))""".encode()
    times = iter([5_000_000_000])
    plugin = bring_up(
        code, silent_host(clock_ns=lambda: next(times, 9_000_000_000)), limits=Limits(memory_bytes=2 << 20)
    )

    trap = failed(plugin, {"a": 1}, {"b": 1})

    assert (trap.reason, trap.index, trap.broken) == ("memory", 1, True)
    assert "could not be made anew: its start failed" in str(trap)
    assert records_of(trap.done) == [{"a": 1}]


def test_a_block_that_is_none_is_refused() -> None:
    plugin = bring_up(wat("(local.get $rec)"))

    for data, count in ((b"\x92\x01", 1), (b"\x92\x01\x80", 2), (b"\x93\x01\x80\x80", 1), (b"\x91" * 5_000, 1)):
        with pytest.raises(PluginTrap, match="entries"):
            plugin.process("app", data, count, BUDGET_MS)
    assert ask(plugin, {"a": 1}) == [{"a": 1}]


def outcome(instance: FluentBitInstance, record: object) -> Filtered | None:
    """What becomes of a record; None where that record failed, and the guest is whole."""
    try:
        return instance.process("app", block(record), 1, BUDGET_MS)
    except RecordFailed as trap:
        if trap.broken or trap.reason not in ("bad_pointer", "bad_result", "output"):
            raise
        return None


# Answers where the record's digits say: {"p":123} is the pointer 123.
POINTED = """(local.set $rec (i32.add (local.get $rec) (i32.const 5)))
  (block $done (loop $next
    (br_if $done (i32.gt_u (i32.sub (i32.load8_u (local.get $rec)) (i32.const 48)) (i32.const 9)))
    (local.set $i (i32.add (i32.mul (local.get $i) (i32.const 10)) (i32.sub (i32.load8_u (local.get $rec))
      (i32.const 48))))
    (local.set $rec (i32.add (local.get $rec) (i32.const 1)))
    (br $next)))
  (local.get $i)"""


@pytest.fixture(scope="module")
def pointing() -> Iterator[FluentBitInstance]:
    junk = "".join(f"\\{byte:02x}" for byte in bytes(range(1, 256)) * 3 + b'{"a":1}\0[]\0{"b":"\\u00e9"}\0{}')
    plugin = bring_up(wat(POINTED, more=f'(data (i32.const 1000) "{junk}\\00")'))
    yield plugin
    plugin.close()


@given(st.one_of(st.integers(900, 1_900), st.integers(0, 0xFFFF_FFFF), st.integers(196_600, 196_700)))
@settings(max_examples=300)
def test_any_pointer_is_an_answer_or_a_failure_of_that_record(pointing: FluentBitInstance, pointer: int) -> None:
    made = outcome(pointing, {"p": pointer})

    if made is not None:
        assert made.count + made.dropped == 1
        assert all(isinstance(one, dict) for one in records_of(made))


@given(st.binary(min_size=1, max_size=40))
@settings(max_examples=150)
def test_any_bytes_as_a_packed_answer_are_an_answer_or_a_failure(packing: FluentBitInstance, data: bytes) -> None:
    # The guest answers with what the first value of the record holds.
    made = outcome(packing, {"v": data})

    if made is not None:
        assert made.dropped == (data[0] == 0)
        assert len(entries_of(made.block, made.count)) == 1 - made.dropped


@pytest.fixture(scope="module")
def packing() -> Iterator[FluentBitInstance]:
    # 81 a1 76 c4 SIZE: the bytes begin at 5.
    plugin = bring_up(wat("(i32.add (local.get $rec) (i32.const 5))"), event_format="msgpack")
    yield plugin
    plugin.close()


def test_no_files_no_network_no_other_process_are_to_be_had(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    home = "wasi_snapshot_preview1"
    code = f"""(module
      (import "{home}" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "{home}" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
      (import "{home}" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 8) "{tmp_path}/secret")
      (func (export "filter") {SIX} (result i32)
        (if (i32.ne (i32.const 76) (call $open (i32.const 3) (i32.const 1) (i32.const 8)
            (i32.const {len(str(tmp_path)) + 7}) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0)))
          (then unreachable))
        (if (i32.eqz (call $accept (i32.const 3) (i32.const 0) (i32.const 0))) (then unreachable))
        (drop (call $environ (i32.const 0) (i32.const 4)))
        (if (i32.load (i32.const 0)) (then unreachable))
        (i32.const 0)))""".encode()

    assert ask(bring_up(code), {"a": 1}) == []


def test_a_flood_of_lines_is_bounded_and_counted() -> None:
    home = "wasi_snapshot_preview1"
    lines: list[str] = []
    host = silent_host(lines)
    code = f"""(module (import "{home}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\02\\00\\00\\00") (data (i32.const 16) "x\\0a")
      (func (export "filter") {SIX} (result i32) (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1)
        (i32.const 64))) (local.get $rec)))""".encode()
    plugin = bring_up(code, host)

    ask(plugin, *({"k": number} for number in range(1_000)))

    assert len(lines) < 200
    assert host.lost.log_lines == 1_000 - len(lines)


def test_many_calls_leave_the_memory_flat() -> None:
    plugin = bring_up(wat("(local.get $rec)"))
    given = block(*({"k": "x" * (number % 90)} for number in range(1_000)))
    plugin.process("app", given, 1_000, BUDGET_MS)
    before = plugin.memory_bytes

    for _ in range(20):
        assert plugin.process("app", given, 1_000, BUDGET_MS) == Filtered(given, 1_000)

    assert plugin.memory_bytes == before
    assert plugin.restarts == 0
