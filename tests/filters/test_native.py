from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters import native
from logllm.filters.config import Limits, PluginConfig
from tests.filters.native_guests import KEEP, MARK, PASS, block, bring_up, silent_host, wat

if TYPE_CHECKING:
    from collections.abc import Iterator

FIVE = block("alpha", "debug", "beta", "dull", "gamma")


@pytest.fixture(autouse=True, params=["unchecked", "checked"])
def way_of_calling(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test runs with both ways to call a guest."""
    from logllm.wasm import call

    call.use_unchecked(request.param == "unchecked")
    yield
    call.use_unchecked(True)


def test_a_block_that_a_plugin_passes_is_the_very_object_that_was_given() -> None:
    plugin = bring_up(wat(PASS))

    made = plugin.process("app", FIVE, 5, 1000)

    assert made.block is FIVE
    assert (made.count, made.dropped) == (5, 0)


def test_the_entries_a_plugin_keeps_are_the_original_bytes() -> None:
    plugin = bring_up(wat(KEEP))

    made = plugin.process("app", FIVE, 5, 1000)

    assert made.block == FIVE[:16] + FIVE[32:48] + FIVE[64:]
    assert (made.count, made.dropped) == (3, 2)


@pytest.mark.parametrize(("texts", "kept"), [([], 0), (["d", "d2"], 0), (["a", "b"], 2)])
def test_none_kept_all_kept_and_none_given(texts: list[str], kept: int) -> None:
    plugin = bring_up(wat(KEEP))
    given = block(*texts)

    made = plugin.process("app", given, len(texts), 1000)

    assert made.block == (given if kept else b"")
    assert (made.count, made.dropped) == (kept, len(texts) - kept)


def test_a_replaced_block_is_what_the_plugin_wrote() -> None:
    plugin = bring_up(wat(MARK))

    made = plugin.process("app", block("one", "two"), 2, 1000)

    assert made.block == block("Xne", "Xwo")
    assert (made.count, made.dropped) == (2, 0)


def test_an_answer_of_the_same_bytes_is_the_very_object_that_was_given() -> None:
    same = block("X", "Xyz")
    plugin = bring_up(wat(MARK))

    made = plugin.process("app", same, 2, 1000)

    assert made.block is same


def test_a_plugin_may_make_more_entries_than_it_was_given() -> None:
    twice = """(memory.copy (i32.add (local.get $p) (local.get $n)) (local.get $p) (local.get $n))
      (call $answer (i32.const 2) (local.get $count) (i32.mul (local.get $count) (i32.const 2)) (local.get $p)
        (i32.mul (local.get $n) (i32.const 2)) (i32.const 0))"""
    plugin = bring_up(wat(twice))

    made = plugin.process("app", FIVE, 5, 1000)

    assert made.block == FIVE + FIVE
    assert (made.count, made.dropped) == (10, 0)


def test_entries_of_every_shape_keep_their_bytes_when_some_are_dropped() -> None:
    import msgspec

    odd = [
        b"\x92\x01\x80",
        b"\x92\x92\xd7\x00" + bytes(8) + b"\x81\xa1k\xc0" + msgspec.msgpack.encode({"deep": [{"a": b"\x00" * 300}]}),
        b"\x92\xcb" + bytes(8) + b"\xdf\x00\x00\x00\x01\xa1k\xdb\x00\x00\x00\x02hi",
        b"\x92\xd7\x00" + bytes(8) + b"\x81\xa1x\xd6\x07abcd",
    ]
    every_other = """(i32.store (i32.const 200) (i32.const 0x00010001))
      (call $answer (i32.const 1) (i32.const 4) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 200))"""
    plugin = bring_up(wat(every_other))

    made = plugin.process("app", b"".join(odd), 4, 1000)

    assert made.block == odd[0] + odd[2]


def test_the_configuration_comes_first_and_as_json() -> None:
    logs = '(import "logllm" "log" (func $log (param i32 i32 i32)))'
    init = """(func (export "_initialize") (call $log (i32.const 1) (i32.const 128) (i32.const 5)))
      (data (i32.const 128) "first")
      (func (export "logllm_init") (param $p i32) (param $n i32) (result i32)
        (call $log (i32.const 1) (local.get $p) (local.get $n)) (i32.const 0))"""
    lines: list[str] = []

    bring_up(wat(imports=logs, more=init), silent_host(lines), config={"level": "debug", "n": [1, 2.5]})

    assert lines[0] == "first"
    assert json.loads(lines[1]) == {"level": "debug", "n": [1, 2.5]}


def test_a_configuration_that_json_has_no_form_for_is_refused() -> None:
    deep: dict[str, object] = {}
    for _ in range(5_000):
        deep = {"a": deep}

    for config in (deep, {"a": "\ud800"}):
        with pytest.raises(PluginLoadError, match="its `config` cannot be written as JSON"):
            bring_up(wat(), config=config)


def test_a_plugin_that_refuses_its_configuration_says_why() -> None:
    init = """(data (i32.const 128) "`level` is no level")
      (func (export "logllm_init") (param i32 i32) (result i32)
        (call $log (i32.const 3) (i32.const 128) (i32.const 19)) (i32.const 1))"""
    code = wat(imports='(import "logllm" "log" (func $log (param i32 i32 i32)))', more=init)

    with pytest.raises(PluginLoadError, match=r"refused its configuration; it says: `level` is no level"):
        bring_up(code)


def test_the_tag_is_handed_over_only_when_it_changes() -> None:
    code = wat(
        imports='(import "logllm" "log" (func $log (param i32 i32 i32)))',
        more="""(func (export "logllm_tag") (param $p i32) (param $n i32)
          (call $log (i32.const 1) (local.get $p) (local.get $n)))""",
    )
    lines: list[str] = []
    plugin = bring_up(code, silent_host(lines))

    for tag in ("a.b", "a.b", "ü", "a.b", ""):
        plugin.process(tag, FIVE, 5, 1000)

    assert lines == ["a.b", "ü", "a.b", ""]


def test_one_place_serves_blocks_that_fit_and_a_larger_one_is_asked_for() -> None:
    # The guest writes how often it was asked, and for how much, into its answer's place: the log tells.
    code = wat(
        imports='(import "logllm" "metric" (func $metric (param i32 i32 i64) (result i32)))',
        buffer="""(drop (call $metric (i32.const 128) (i32.const 5) (i64.const 1))) (i32.const 65536)""",
        more='(data (i32.const 128) "asked")',
        pages=32,
    )
    host = silent_host()
    plugin = bring_up(code, host, grants=["metric"])

    for size in (10, 100, 50, 1, 6_000, 6_000, 5, 60_000):
        given = block(*["x"] * size)
        assert plugin.process("t", given, size, 1000).block is given

    assert host.metrics == {"asked": 3}


def test_records_held_back_are_given_by_flush_with_the_time() -> None:
    flush = """(func (export "logllm_flush") (param $now i64) (result i32)
        (if (result i32) (i64.eqz (local.get $now))
          (then (call $answer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
          (else
            (i64.store (i32.const 256) (i64.const 0x0080_cf92)) (i64.store (i32.const 264) (local.get $now))
            (call $answer (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 256) (i32.const 16) (i32.const 0)))))"""
    plugin = bring_up(wat(more=flush))

    none, some = plugin.flush(0), plugin.flush(1 << 40)

    assert none is None
    assert some is not None
    assert (some.block[8:], some.count, some.dropped) == ((1 << 40).to_bytes(8, "little"), 1, 0)


def test_a_plugin_without_the_optional_functions_has_nothing_to_flush_save_or_be_told() -> None:
    plugin = bring_up(wat())

    plugin.answer(1, "text")
    plugin.load(b"state")

    assert plugin.flush(1) is None
    assert plugin.save() is None


STATE = """
  (global $size (mut i32) (i32.const 0))
  (func (export "logllm_state_save") (result i32)
    (call $answer (select (i32.const 2) (i32.const 0) (global.get $size)) (i32.const 0) (i32.const 0)
      (i32.const 1024) (global.get $size) (i32.const 0)))
  (func (export "logllm_state_load") (param $p i32) (param $n i32) (result i32)
    (memory.copy (i32.const 1024) (local.get $p) (local.get $n)) (global.set $size (local.get $n))
    (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 33)))"""


def test_a_state_goes_from_one_instance_to_the_next() -> None:
    first, second = bring_up(wat(more=STATE)), bring_up(wat(more=STATE))

    empty = first.save()
    first.load(b"counted: 12")
    second.load(first.save() or b"")

    assert empty is None
    assert second.save() == b"counted: 12"
    assert second.process("t", FIVE, 5, 1000).block is FIVE


def test_a_state_that_is_refused_or_too_large_is_a_trap() -> None:
    refusing = bring_up(wat(more=STATE))
    small = bring_up(wat(more=STATE), limits=Limits(state_bytes=4))

    with pytest.raises(PluginTrap, match="will not have its saved state") as refused:
        refusing.load(b"!")
    with pytest.raises(PluginTrap, match="`state_bytes` allows 4"):
        small.load(b"12345")

    assert refused.value.reason == "refused"


def test_a_state_larger_than_allowed_is_not_taken_over() -> None:
    code = wat(more=STATE.replace("(i32.const 0))\n  (func", "(i32.const 5000))\n  (func", 1))
    plugin = bring_up(code, limits=Limits(state_bytes=4_999))

    with pytest.raises(PluginTrap, match="5000 bytes; `state_bytes` allows 4999") as trapped:
        plugin.save()

    assert trapped.value.reason == "output"


def test_the_answer_to_a_question_comes_with_its_ticket() -> None:
    code = wat(
        imports="""(import "logllm" "log" (func $log (param i32 i32 i32)))
          (import "logllm" "metric" (func $metric (param i32 i32 i64) (result i32)))""",
        more="""(data (i32.const 128) "ticket")
          (func (export "logllm_answer") (param $ticket i32) (param $p i32) (param $n i32)
            (drop (call $metric (i32.const 128) (i32.const 6) (i64.extend_i32_u (local.get $ticket))))
            (call $log (i32.const 1) (local.get $p) (local.get $n)))""",
    )
    lines: list[str] = []
    host = silent_host(lines)
    plugin = bring_up(code, host, grants=["log", "metric"])

    plugin.answer(7, "a disk is full")

    assert lines == ["a disk is full"]
    assert host.metrics == {"ticket": 7}


def test_the_memory_that_an_instance_has_is_told_and_given_back() -> None:
    plugin = bring_up(wat(pages=3))

    before = plugin.memory_bytes
    plugin.close()

    assert before == 3 * 65_536
    assert plugin.memory_bytes == 0


def test_a_closed_instance_is_of_no_more_use_and_may_be_closed_again() -> None:
    plugin = bring_up(wat())
    plugin.close()

    plugin.close()

    with pytest.raises(PluginTrap, match="was closed"):
        plugin.process("t", FIVE, 5, 1000)


def test_instances_of_one_program_share_nothing() -> None:
    counting = """(global $calls (mut i32) (i32.const 0))
      (func (export "logllm_state_save") (result i32)
        (i32.store (i32.const 512) (global.get $calls))
        (call $answer (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 512) (i32.const 4) (i32.const 0)))"""
    code = wat(f"(global.set $calls (i32.add (global.get $calls) (i32.const 1))) {PASS}", more=counting)
    config = PluginConfig(path="x.wasm")
    program = native.program(code, config)
    one, two = (program.instance(config, config.limits, silent_host()) for _ in range(2))

    one.process("t", FIVE, 5, 1000)
    one.process("t", FIVE, 5, 1000)

    assert (one.save(), two.save()) == (b"\x02\0\0\0", b"\0\0\0\0")


def test_one_program_serves_tenants_with_other_stacks() -> None:
    config = PluginConfig(path="x.wasm")
    program = native.program(wat(MARK), config)

    made = [
        program.instance(config, Limits(stack_bytes=size), silent_host()).process("t", block("one"), 1, 1000)
        for size in (65_536, 131_072, 65_536)
    ]

    assert [one.block for one in made] == [block("Xne")] * 3


GO = """(@custom "producers" "\\01\\0cprocessed-by\\01\\0eGo cmd/compile\\041.27")"""
PRINTS = """(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"""
PRINT = """(data (i32.const 512) "hello from go\\n/etc/passwd")
  (func (export "logllm_init") (param i32 i32) (result i32)
    (i32.store (i32.const 500) (i32.const 512)) (i32.store (i32.const 504) (i32.const 14))
    (drop (call $fd_write (i32.const 1) (i32.const 500) (i32.const 1) (i32.const 508)))
    (i32.eqz (call $path_open (i32.const 3) (i32.const 0) (i32.const 526) (i32.const 11) (i32.const 0)
      (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 496))))"""


def test_a_module_built_by_go_gets_wasi_that_reaches_nothing_but_its_log() -> None:
    lines: list[str] = []

    plugin = bring_up(wat(imports=f"{GO} {PRINTS}", more=PRINT), silent_host(lines))

    assert lines == ["hello from go"]
    assert plugin.process("t", FIVE, 5, 1000).block is FIVE


def test_a_module_of_another_language_gets_no_wasi() -> None:
    with pytest.raises(PluginLoadError, match=r"wasi_snapshot_preview1\.fd_write.*without WASI"):
        bring_up(wat(imports=PRINTS, more=PRINT))


def test_a_module_built_by_go_gets_nothing_else_than_wasi() -> None:
    with pytest.raises(PluginLoadError, match=r"env\.abort"):
        bring_up(wat(imports=f'{GO} {PRINTS} (import "env" "abort" (func))', more=PRINT))
