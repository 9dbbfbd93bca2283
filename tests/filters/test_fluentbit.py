from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import PluginLoadError
from logllm.filters.config import Limits
from logllm.filters.instance import RecordFailed, entries_of
from tests.filters.fluentbit_lives import BUDGET_MS, SIX, ask, block, bring_up, records_of, silent_host, wat

if TYPE_CHECKING:
    from collections.abc import Iterator

SAME = "(local.get $rec)"
NULL = "(i32.const 0)"
EMPTY = "(i32.const 100)"
FIXED = '(data (i32.const 64) "{\\22a\\22:1}\\00")'
HEAP = """
  (global $next (mut i32) (i32.const 70000)) (global $given (mut i32) (i32.const 0)) (global $freed (mut i32)
    (i32.const 0))
  (func (export "malloc") (param $size i32) (result i32)
    (global.set $given (i32.add (global.get $given) (i32.const 1)))
    (global.set $next (i32.add (global.get $next) (i32.const 16)))
    (global.set $next (i32.add (global.get $next) (local.get $size)))
    (loop $grow (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
      (then (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (return (i32.const 0)))) (br $grow))))
    (i32.sub (global.get $next) (local.get $size)))
  (func (export "free") (param i32) (global.set $freed (i32.add (global.get $freed) (i32.const 1))))"""
# Answers {"a":N}, N being one digit.
DIGIT = """(i32.store8 (i32.const 69) (i32.add (i32.const 48) {number})) (i32.const 64)"""


@pytest.fixture(autouse=True, params=["unchecked", "checked"])
def way_of_calling(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test runs with both ways to call a guest."""
    from logllm.wasm import call

    call.use_unchecked(request.param == "unchecked")
    yield
    call.use_unchecked(True)


def test_a_block_that_is_answered_as_it_was_is_the_very_object_that_was_given() -> None:
    plugin = bring_up(wat(SAME))
    # A float that JSON would write anew, bytes, an extension: nothing of it is lost.
    given = block({"f": 0.1, "b": b"\xff\x00", "e": msgpack.ExtType(5, b"x")}, b"\xde\x00\x01\xa1a\x01")

    made = plugin.process("app", given, 2, BUDGET_MS)

    assert made.block is given
    assert (made.count, made.dropped) == (2, 0)


@pytest.mark.parametrize("event_format", ["json", "msgpack"])
@pytest.mark.parametrize("body", [NULL, EMPTY])
def test_null_and_an_empty_string_drop_a_record_in_both_formats(body: str, event_format: str) -> None:
    plugin = bring_up(wat(body), event_format=event_format)

    made = plugin.process("app", block({"a": 1}, {"a": 2}), 2, BUDGET_MS)

    assert (made.block, made.count, made.dropped) == (b"", 0, 2)


def test_a_new_record_keeps_the_time_and_the_metadata_of_the_old_one() -> None:
    plugin = bring_up(wat("(i32.const 64)", more=FIXED))
    given = block({"x": 1}, {"y": 2})

    made = plugin.process("app", given, 2, BUDGET_MS)

    heads = [one[: one.rindex(b"\x81")] for one in entries_of(given, 2)]
    assert [one[: one.rindex(b"\x81")] for one in entries_of(made.block, 2)] == heads
    assert records_of(made) == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize(
    "time", [b"\x09", b"\xca\x41\x10\x00\x00", b"\xd7\x00\x00\x00\x00\x09\x00\x00\x00\x00", b"\x92\x09\x80"]
)
def test_entries_with_any_form_of_time_are_filtered(time: bytes) -> None:
    plugin = bring_up(wat(DIGIT.format(number="(local.get $sec)"), more=FIXED))

    made = plugin.process("app", b"\x92" + time + b"\x81\xa1x\x01", 1, BUDGET_MS)

    assert made.block == b"\x92" + time + b"\x81\xa1a\x09"


def test_a_guest_gets_the_tag_the_time_and_the_record_as_strings_that_end() -> None:
    # The length of the tag, of the record, and the bytes after both.
    number = """(i32.add (i32.add (local.get $tag_len) (i32.sub (local.get $len) (i32.const 7)))
      (i32.add (i32.load8_u (i32.add (local.get $tag) (local.get $tag_len)))
               (i32.load8_u (i32.add (local.get $rec) (local.get $len)))))"""
    plugin = bring_up(wat(DIGIT.format(number=number), more=FIXED))

    assert ask(plugin, {"k": 1}, tag="abc") == [{"a": 3}]
    assert ask(plugin, {"k": 10}, tag="") == [{"a": 1}]
    assert ask(plugin, {"k": 1}, tag="12345678") == [{"a": 8}]


def test_seconds_and_nanoseconds_go_in_as_they_are() -> None:
    body = """(if (i32.and (i32.eq (local.get $sec) (i32.const 0xfffffff0)) (i32.eq (local.get $nsec)
      (i32.const 999999999))) (then (return (i32.const 0)))) (local.get $rec)"""
    plugin = bring_up(wat(body))
    late = b"\x92\xd7\x00\xff\xff\xff\xf0\x3b\x9a\xc9\xff\x81\xa1x\x01"

    assert plugin.process("app", late, 1, BUDGET_MS).dropped == 1
    assert plugin.process("app", b"\x92\x01\x80", 1, BUDGET_MS).dropped == 0


RECORD_TIMES = [
    b"\xff",
    b"\xfe",
    b"\xce\xff\xff\xff\xff",
    b"\xcb\xbf\xe0\0\0\0\0\0\0",
    b"\xd7\x00\xff\xff\xff\xff\0\0\0\5",
    b"\x92\xff\x80",
]
"""What a sender may write and the forward protocol takes for a record's: -1, -2, 2**32 - 1, -0.5..."""


@pytest.mark.parametrize(
    "time",
    [
        b"\xd7\x00\xff\xff\xff\xff\0\0\0\0",
        b"\xd7\x00\xff\xff\xff\xfe\0\0\0\0",
        b"\xc7\x08\x00\xff\xff\xff\xff\0\0\0\0",
        b"\x92\xd7\x00\xff\xff\xff\xff\0\0\0\0\x81\xa1g\x01",
    ],
)
def test_group_markers_go_by_untouched(time: bytes) -> None:
    plugin = bring_up(wat(NULL))
    marker = b"\x92" + time + b"\x81\xa8resource\x80"

    made = plugin.process("app", b"\x92\x01\x80" + marker + b"\x92\x02\x80", 3, BUDGET_MS)

    assert (made.block, made.count, made.dropped) == (marker, 1, 2)


@pytest.mark.parametrize("time", RECORD_TIMES)
def test_a_time_that_is_nearly_a_markers_does_not_get_a_record_past_the_filter(time: bytes) -> None:
    plugin = bring_up(wat(NULL))

    made = plugin.process("app", b"\x92" + time + b"\x81\xa3log\xa6secret", 1, BUDGET_MS)

    assert (made.count, made.dropped) == (0, 1)


@pytest.mark.parametrize("event_format", ["json", "msgpack"])
def test_what_is_no_map_goes_by_untouched(event_format: str) -> None:
    plugin = bring_up(wat(NULL), event_format=event_format)
    given = b"\x92\x01\xc0" + b"\x92\x01\x91\x80"

    made = plugin.process("app", given, 2, BUDGET_MS)

    assert made.block == given
    assert made.dropped == 0


def test_a_block_of_nothing_is_nothing() -> None:
    plugin = bring_up(wat("unreachable"))

    made = plugin.process("app", b"", 0, BUDGET_MS)

    assert (made.block, made.count, made.dropped) == (b"", 0, 0)


def test_a_string_that_ends_with_the_last_byte_of_the_memory_is_read() -> None:
    # {} and a NUL at the very end of two pages.
    body = """(i32.store16 (i32.const 131069) (i32.const 0x7d7b)) (i32.store8 (i32.const 131071) (i32.const 0))
      (i32.const 131069)"""
    plugin = bring_up(wat(body, more=HEAP))

    assert ask(plugin, {"a": 1}) == [{}]


def test_a_packed_map_that_ends_with_the_memory_is_read() -> None:
    body = "(i32.store8 (i32.const 131069) (i32.const 0x81)) (i32.store16 (i32.const 131070) (i32.const 0x0101))"
    plugin = bring_up(wat(f"{body} (i32.const 131069)", more=HEAP), event_format="msgpack")

    assert ask(plugin, {"a": 1}) == [{1: 1}]


def test_a_pointer_above_two_gibibytes_is_a_pointer() -> None:
    at = 0x8000_0100
    body = f"(i32.store (i32.const {at}) (i32.const 0x7d7b)) (i32.const {at})"
    plugin = bring_up(wat(body, pages=32_769), limits=Limits(memory_bytes=1 << 32))

    assert ask(plugin, {"a": 1}, {"b": 2}) == [{}, {}]


def test_a_record_above_two_gibibytes_is_where_the_guest_is_told() -> None:
    plugin = bring_up(wat(SAME, pages=32_769), limits=Limits(memory_bytes=1 << 32))
    given = block({"a": 1})

    # Without malloc the record stands on pages after the guest's own.
    assert plugin.process("app", given, 1, BUDGET_MS).block is given


@pytest.mark.parametrize(
    "record",
    [
        {f"key {number}": number for number in range(16)},
        {f"key {number}": "x" * number for number in range(300)},
        {"s": "x" * 256, "t": "y" * 65_535, "u": "z" * 65_536},
        {"nul": "a\0b\0", "bin": b"\0\0", "zero": 0, "none": None},
        {"deep": [[[[[[[{"a": 1}]]]]]]]},
    ],
)
def test_msgpack_answers_are_whole_objects_however_many_zero_bytes_are_in_them(record: dict[str, Any]) -> None:
    # A copy elsewhere, and no zero byte after it.
    body = """(memory.copy (i32.const 65536) (local.get $rec) (local.get $len))
      (memory.fill (i32.add (i32.const 65536) (local.get $len)) (i32.const 0x7a) (i32.const 100))
      (i32.const 65536)"""
    plugin = bring_up(wat(body, pages=8), event_format="msgpack")
    given = block(record, {"plain": 1})

    made = plugin.process("app", given, 2, BUDGET_MS)

    assert made.block == given


def test_msgpack_answers_may_be_followed_by_anything() -> None:
    # {"a": 300} as the guest has it, then bytes that begin another object.
    data = '(data (i32.const 64) "\\81\\a1a\\cd\\01\\2c\\de\\ff")'
    plugin = bring_up(wat("(i32.const 64)", more=data), event_format="msgpack")

    assert ask(plugin, {"x": 1}, {"y": 2}) == [{"a": 300}, {"a": 300}]


def test_numbers_keep_their_kinds() -> None:
    text = r"{\22int\22:120,\22float\22:10.5,\22exp\22:0.00354789,\22whole\22:120.0,\22null\22:[1,null]}\00"
    plugin = bring_up(wat("(i32.const 64)", more=f'(data (i32.const 64) "{text}")'))

    (made,) = ask(plugin, {})

    assert made == {"int": 120, "float": 10.5, "exp": 0.00354789, "whole": 120.0, "null": [1, None]}
    assert [type(made[key]) for key in ("int", "whole")] == [int, float]


def test_broken_text_in_an_answer_is_replaced() -> None:
    plugin = bring_up(wat("(i32.const 64)", more=r'(data (i32.const 64) "{\22a\22:\22\ff\fe\22}\00")'))

    assert ask(plugin, {}) == [{"a": "\ufffd\ufffd"}]


def test_integers_beyond_msgpack_become_floats_and_only_those() -> None:
    text = r"{\22a\22:18446744073709551616,\22b\22:18446744073709551615}\00"
    plugin = bring_up(wat("(i32.const 64)", more=f'(data (i32.const 64) "{text}")'))

    assert ask(plugin, {}, {}) == [{"a": 2.0**64, "b": (1 << 64) - 1}] * 2


@pytest.mark.parametrize("allocates", [False, True])
def test_records_of_any_size_find_room(allocates: bool) -> None:
    plugin = bring_up(wat(SAME, more=HEAP if allocates else ""))
    given = [{"n": "x" * size} for size in (1, 10_000, 100, 100_000, 3_000_000, 5)]

    for _ in range(3):
        data = block(*given)
        assert plugin.process("app", data, len(given), BUDGET_MS).block is data


@pytest.mark.parametrize("allocates", [False, True])
def test_a_tag_and_a_record_that_the_guest_spoils_are_whole_again_for_the_next(allocates: bool) -> None:
    # Counts how many of the two begin as they should.
    spoil = """(local.set $i (i32.add (i32.eq (i32.load8_u (local.get $tag)) (i32.const 0x74))
                                     (i32.eq (i32.load8_u (local.get $rec)) (i32.const 0x7b))))
      (i32.store8 (local.get $tag) (i32.const 0)) (i32.store8 (local.get $rec) (i32.const 0))"""
    body = spoil + DIGIT.format(number="(local.get $i)")
    plugin = bring_up(wat(body, more=FIXED + (HEAP if allocates else "")))

    assert ask(plugin, {"x": 1}, {"x": 2}, tag="tag") == [{"a": 2}, {"a": 2}]


@pytest.mark.parametrize(("reuse", "calls"), [(True, 1), (False, 6)])
def test_the_input_buffer_is_allocated_once_or_for_each_record(reuse: bool, calls: int) -> None:
    plugin = bring_up(wat(DIGIT.format(number="(global.get $given)"), more=FIXED + HEAP), reuse_buffer=reuse)

    assert ask(plugin, {"x": 1}, {"x": 2}, {"x": 3})[-1] == {"a": calls}


def test_the_old_buffer_is_given_back_when_a_larger_one_is_taken() -> None:
    plugin = bring_up(wat(DIGIT.format(number="(global.get $freed)"), more=FIXED + HEAP))

    assert ask(plugin, {"x": 1}, {"x": "y" * 9_000}, {"x": 1}) == [{"a": 0}, {"a": 1}, {"a": 1}]


def test_the_only_function_of_the_type_is_found() -> None:
    plugin = bring_up(wat(NULL))

    assert ask(plugin, {"a": 1}) == []


TWO = f"""(module (memory (export "memory") 1)
  (func (export "one") {SIX} (result i32) (i32.const 0)) (func (export "two") {SIX} (result i32) (local.get $rec))
  (func (export "short") (param i32 i32) (result i32) (i32.const 0)))""".encode()


def test_the_function_that_is_named_is_taken() -> None:
    assert ask(bring_up(TWO, function="one"), {"a": 1}) == []
    assert ask(bring_up(TWO, function="two"), {"a": 1}) == [{"a": 1}]


@pytest.mark.parametrize(
    ("code", "function", "words"),
    [
        (TWO, "", "no function is configured, and those that can be are one, two; expected `function` to name one"),
        (TWO, "three", "it exports no function 'three'; those that can be are one, two"),
        (TWO, "short", r"its function 'short' is \(i32, i32\) -> \(i32\), expected \(tag, tag_len.*\) -> i32; those"),
        (TWO, "memory", "it exports no function 'memory'"),
        (b'(module (memory (export "memory") 1))', "", "no function is configured, and none of its exports is"),
        (f'(module (func (export "f") {SIX} (result i32) (i32.const 0)))'.encode(), "", "it exports no memory"),
        (wat(NULL, more='(import "env" "fork" (func (result i32)))'), "", "it imports env.fork, which is none of the"),
        (wat(NULL, more='(import "wasi_snapshot_preview1" "exec" (func))'), "", "which is no function of WASI"),
        (wat(NULL, more='(import "wasi_snapshot_preview1" "fd_close" (func))'), "", r"fd_close as .*expected \(i32\)"),
        (wat(NULL, more='(import "env" "malloc" (func (param i64) (result i32)))'), "", "env.malloc as .*expected"),
        (wat(NULL, more='(import "network" "open" (func))'), "", "it imports network.open, not to be had"),
        (wat(NULL, more='(import "logllm" "now" (func (result i64)))'), "", 'expected in its `grants`: "clock"'),
        (wat(NULL, more='(func (export "_initialize") unreachable)'), "", "its start failed: wasm trap"),
        (wat(NULL, more='(func (export "_initialize") (param i32))'), "", "_initialize takes or gives something"),
        (wat(NULL, more="(func $s unreachable) (start $s)"), "", "its start function failed"),
        (b"\0asm\1\0\0\0junk", "", "."),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(code: bytes, function: str, words: str) -> None:
    with pytest.raises(PluginLoadError, match=words):
        bring_up(code, function=function)


COUNTED = "(global $n (mut i32) (i32.const 0)) (func $count (global.set $n (i32.add (global.get $n) (i32.const 1))))"
WASI = '(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))'


@pytest.mark.parametrize(
    ("more", "counted"),
    [
        ('(export "_initialize" (func $count))', 1),
        ('(export "_start" (func $count))', 0),
        ('(export "__wasm_call_ctors" (func $count))', 1),
        ('(export "_initialize" (func $count)) (export "__wasm_call_ctors" (func $count))', 1),
        ('(export "_start" (func $count)) (export "__wasm_call_ctors" (func $count))', 1),
        ('(export "__post_instantiate" (func $count)) (start $count)', 2),
        (f'{WASI} (export "__wasm_call_ctors" (func $count))', 0),
        (f'{WASI} (export "_initialize" (func $count)) (export "_start" (func $count))', 1),
    ],
)
def test_a_guest_is_started_as_fluent_bit_starts_it_and_never_as_a_program(more: str, counted: int) -> None:
    imported = WASI if WASI in more else ""
    code = f"""(module {imported} (memory (export "memory") 1) {FIXED} {COUNTED} {more.replace(WASI, "")}
      (func (export "filter") {SIX} (result i32) {DIGIT.format(number="(global.get $n)")}))""".encode()

    assert ask(bring_up(code), {}) == [{"a": counted}]


def test_a_guest_that_leaks_is_made_anew_and_loses_no_record() -> None:
    # Copies each record to a new place, marks it, and never gives the place back.
    leak = """(local.set $i (call $malloc (i32.add (local.get $len) (i32.const 10001))))
      (if (i32.eqz (local.get $i)) (then unreachable))
      (memory.copy (local.get $i) (local.get $rec) (i32.add (local.get $len) (i32.const 1)))
      (i32.store8 offset=2 (local.get $i) (i32.const 0x4c)) (local.get $i)"""
    heap = HEAP.replace('(func (export "malloc")', '(func $malloc (export "malloc")')
    plugin = bring_up(wat(leak, more=heap), limits=Limits(memory_bytes=4 << 20))
    most = 0

    for start in range(0, 2_000, 500):
        made = ask(plugin, *({"k": number} for number in range(start, start + 500)))
        assert made == [{"L": number} for number in range(start, start + 500)]
        most = max(most, plugin.memory_bytes)

    assert 4 <= plugin.restarts <= 20
    assert most <= 4 << 20


def test_what_a_plugin_prints_and_asks_of_our_own_module_works_here_too() -> None:
    log = '(import "logllm" "log" (func $log (param i32 i32 i32)))'
    lines: list[str] = []
    plugin = bring_up(
        wat("(call $log (i32.const 1) (local.get $rec) (local.get $len)) (local.get $rec)", more=log),
        silent_host(lines),
    )

    ask(plugin, {"a": 1})

    assert lines == ['{"a":1}']


def test_a_record_that_fails_is_named_and_the_rest_can_go_on() -> None:
    # No object for records that begin with {"x.
    body = """(if (i32.eq (i32.load8_u offset=2 (local.get $rec)) (i32.const 0x78)) (then (return (i32.add
      (local.get $rec) (i32.const 1))))) (local.get $rec)"""
    plugin = bring_up(wat(body))
    records: list[object] = [{"a": 1}, {"x": 1}, {"b": 2}]

    with pytest.raises(RecordFailed, match=r'no JSON object: .*"x":1\}') as caught:
        ask(plugin, *records)

    assert (caught.value.index, caught.value.broken, caught.value.reason) == (1, False, "bad_result")
    assert records_of(caught.value.done) == [{"a": 1}]
    assert ask(plugin, *records[2:]) == [{"b": 2}]


def test_it_holds_nothing_back_and_has_no_state() -> None:
    plugin = bring_up(wat(SAME))

    plugin.answer(1, "yes")
    plugin.load(b"state")

    assert plugin.flush(0) is None
    assert plugin.save() is None
    assert plugin.memory_bytes == 2 << 16
    plugin.close()
    assert plugin.memory_bytes == 0


def test_a_go_program_without_an_allocator_is_refused_for_its_memory_is_all_its_own() -> None:
    with pytest.raises(PluginLoadError, match="a Go program that exports no `malloc` and `free`"):
        bring_up(wat(NULL, more='(data "go:buildid")'))
