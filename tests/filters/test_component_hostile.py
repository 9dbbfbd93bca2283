"""Components that mean no good, or do not know better: each costs what its limits say, and nothing else."""

from __future__ import annotations

import time
from functools import cache

import msgpack  # type: ignore[import-untyped]
import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import PluginError, PluginLoadError, PluginTrap
from logllm.filters.component import program
from logllm.filters.component.memory import memories_of
from logllm.filters.config import Limits
from logllm.filters.host import LOG_BURST, Host
from logllm.filters.instance import RecordFailed
from logllm.filters.records import entry
from tests.filters.component_guests import LOG, alive, block, compiled, configured, host, record, records_of, wat

BUDGET_MS = 60_000


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGLLM_CODE_CACHE", "")


@pytest.mark.parametrize(
    ("do", "reason", "words"),
    [
        ("loop", "timeout", "ran for longer than it may"),
        ("unreachable", "trap", "unreachable"),
        ("stack", "stack", "its call stack is full"),
        ("memory", "trap", "out of memory"),
        ("outputs", "output", "`output_bytes` allows"),
        ("x: an extra line", "bad_result", "it answered 2 lines to 1 records"),
        ("pointer", "trap", "out of bounds"),
        ("8 bits", "trap", "utf-8"),
    ],
)
def test_what_a_guest_does_to_itself_is_a_trap_with_a_reason(do: str, reason: str, words: str) -> None:
    instance = alive(limits=Limits(time_ms=30 if do == "loop" else 5_000))

    with pytest.raises(PluginTrap) as trap:
        instance.process("app", block(do), 1, BUDGET_MS)

    assert (trap.value.reason, words in str(trap.value).lower()) == (reason, True), str(trap.value)
    assert not isinstance(trap.value, RecordFailed)


def test_a_trapped_instance_is_not_entered_again_and_a_new_one_works() -> None:
    chosen = configured()
    made = program(compiled(wat()), chosen)
    instance = made.instance(chosen, chosen.limits, host())
    with pytest.raises(PluginTrap):
        instance.process("app", block("unreachable"), 1, BUDGET_MS)

    with pytest.raises(PluginTrap, match="expected a new instance"):
        instance.process("app", block("keep"), 1, BUDGET_MS)
    instance.close()
    again = made.instance(chosen, chosen.limits, host()).process("app", block("change"), 1, BUDGET_MS)

    assert records_of(again) == [{"changed": 1}]


def test_a_closed_instance_says_so_and_closing_twice_is_nothing() -> None:
    instance = alive()

    instance.close()
    instance.close()

    with pytest.raises(PluginTrap, match="or was closed"):
        instance.process("app", block("keep"), 1, BUDGET_MS)


def test_a_loop_ends_when_its_time_is_up_and_not_much_later() -> None:
    instance = alive(limits=Limits(time_ms=50))
    began = time.process_time()

    with pytest.raises(PluginTrap):
        instance.process("app", block("loop"), 1, BUDGET_MS)

    assert time.process_time() - began < 1


def test_what_is_left_of_the_chunks_time_counts_for_a_call_too() -> None:
    with pytest.raises(PluginTrap) as trap:
        alive(limits=Limits(time_ms=60_000)).process("app", block("loop"), 1, 20)

    assert trap.value.reason == "timeout"


def test_no_time_left_is_told_before_the_guest_is_asked() -> None:
    lines: list[tuple[int, str]] = []

    with pytest.raises(PluginTrap, match="`chunk_ms`"):
        alive(lines=lines).process("app", block("keep"), 1, 0)

    assert lines == []


def test_it_gets_no_more_memory_than_it_may_have() -> None:
    hog = wat(lines='(loop $m (br_if $m (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) '
              "(call $log (i32.const 1) (i32.const 1024) (i32.const 0))"
              "(if (i32.gt_u (memory.size) (i32.const 32)) (then unreachable))")  # fmt: skip

    made = alive(hog, limits=Limits(memory_bytes=2 << 20)).process("app", block("keep"), 1, BUDGET_MS)

    assert made.count == 1


def test_many_memories_together_get_no_more_than_one() -> None:
    second = '(core module $b (memory (export "m") 1)) (core instance (instantiate $b))'
    hog = wat(
        more=second,
        lines="(loop $m (br_if $m (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) "
        "(if (i32.gt_u (memory.size) (i32.const 17)) (then unreachable))",
    )

    made = alive(hog, limits=Limits(memory_bytes=2 << 20)).process("app", block("keep"), 1, BUDGET_MS)

    assert memories_of(compiled(hog)).count == 2
    assert made.count == 1


def test_a_module_that_is_brought_to_life_more_often_than_it_has_memories_is_refused() -> None:
    again = "(core module $b (memory 1)) (core instance (instantiate $b)) (core instance (instantiate $b))"

    with pytest.raises(PluginLoadError, match="memory count too high"):
        alive(wat(more=again))


def test_hundreds_of_memories_are_refused() -> None:
    many = "".join(f"(core module $b{n} (memory 0))" for n in range(100))

    with pytest.raises(PluginLoadError, match="more than 16 memories"):
        alive(wat(more=many))


def test_hundreds_of_instances_are_refused() -> None:
    many = "(core module $b)" + "(core instance (instantiate $b))" * 300

    with pytest.raises(PluginLoadError, match="instance count too high"):
        alive(wat(more=many))


def test_a_limit_that_is_too_small_to_start_with_is_told_with_what_it_needs() -> None:
    with pytest.raises(PluginLoadError, match=r"it needs 12.5 MiB of memory to start; `memory_bytes` allows 1.0 MiB"):
        alive(wat(pages="200"), limits=Limits(memory_bytes=1 << 20))


def test_a_start_that_does_not_end_is_ended() -> None:
    with pytest.raises(PluginLoadError, match="its start failed: ran for longer than it may"):
        alive(wat(core="(func $go (loop $l (br $l))) (start $go)"), limits=Limits(init_ms=30))
    with pytest.raises(PluginLoadError, match="its start failed: ran for longer than it may"):
        alive(config={"loop": 1}, limits=Limits(init_ms=30))


def test_a_start_that_traps_is_told() -> None:
    with pytest.raises(PluginLoadError, match="its start failed"):
        alive(wat(core="(func $go unreachable) (start $go)"))
    with pytest.raises(PluginLoadError, match="its start failed"):
        alive(config={"unreachable": 1})


def test_a_call_to_wasi_ends_the_guest_and_names_what_it_called() -> None:
    wasi = '(import "wasi:cli/environment@0.2.9" (instance $wasi (export "get-initial-cwd" (func))))'
    call = (
        '(alias export $wasi "get-initial-cwd" (func $cwd)) (core func $cwd (canon lower (func $cwd)))'
        '(core module $b (import "w" "cwd" (func $cwd)) (func $go (call $cwd)) (start $go))'
        '(core instance (instantiate $b (with "w" (instance (export "cwd" (func $cwd))))))'
    )

    with pytest.raises(PluginLoadError, match=r"it called wasi:cli/environment@0.2.9#get-initial-cwd, and has no WASI"):
        alive(wat(imports=LOG + wasi, more=call))

    assert alive(wat(imports=LOG + wasi)).process("app", block("keep"), 1, BUDGET_MS).count == 1


def test_a_flood_of_imports_is_refused_in_one_short_line() -> None:
    flood = "".join(f'(import "flood-{"x" * 60}{n}" (func))' for n in range(3_000))

    with pytest.raises(PluginLoadError, match="and 2995 more, not to be had here") as refused:
        alive(wat(imports=LOG + flood))

    assert len(str(refused.value)) < 1_000


def test_a_flood_of_lines_is_cut_and_counted() -> None:
    chosen = configured()
    heard: list[str] = []
    calls = "(loop $l (call $log (i32.const 9) (local.get $at) (local.get $n)) "
    calls += (
        "(local.set $c (i32.add (local.get $c) (i32.const 1))) (br_if $l (i32.lt_u (local.get $c) (i32.const 500))))"
    )
    text = wat(lines=calls)
    quiet = Host("guest", 0, tell=lambda level, text: heard.append(text), monotonic_s=lambda: 1.0)
    instance = program(compiled(text), chosen).instance(chosen, chosen.limits, quiet)

    instance.process("app", record("x" * 10_000), 1, BUDGET_MS)

    assert len(heard) == LOG_BURST
    assert all(len(one) <= 4096 for one in heard)
    assert quiet.lost.log_lines > 300


def test_half_characters_nul_and_depth_go_through_a_guest_and_stay_what_they_were() -> None:
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    given = record("keep", nul="a\0b", line="\u2028\n\r", deep=deep) + entry(
        1, 2, b"\x82\xa2do\xa4keep\xa1x\xa3\xed\xa0\x80"
    )

    made = alive().process("app", given, 2, BUDGET_MS)

    assert made.block is given


def test_at_any_depth_a_record_goes_through_or_is_a_failure() -> None:
    chosen = configured()
    made = program(compiled(wat()), chosen)
    ends: set[str] = set()

    for levels in range(400, 1_200, 20):
        instance = made.instance(chosen, chosen.limits, host())
        try:
            given = block("change") + _deep(levels)
            ends.add(str(instance.process("app", given, 2, BUDGET_MS).count))
        except PluginTrap as trap:
            ends.add(trap.reason)
        finally:
            instance.close()

    assert ends == {"2", "bad_record"}


def test_a_block_nested_deeper_than_it_can_be_taken_apart_is_a_failure_like_any_other() -> None:
    with pytest.raises(PluginTrap, match="the block cannot be taken apart"):
        alive().process("app", block("change") + _deep(5_000), 2, BUDGET_MS)


def _deep(levels: int) -> bytes:
    return entry(1, 2, b"\x81\xa1d" + b"\x91" * levels + b"\x01")


def test_what_comes_of_all_calls_together_is_bounded_too() -> None:
    # A record of 20 bytes becomes one of some hundred; 2 MiB in all.
    fat = b"".join(entry(1, 2, b"\x81\xa2do\xa1i") for _ in range(20_000))

    with pytest.raises(PluginTrap) as trap:
        alive(limits=Limits(output_bytes=400_000, time_ms=5_000)).process("app", fat, 20_000, BUDGET_MS)

    assert trap.value.reason == "output"


def test_a_stack_may_be_larger_for_one_instance_than_for_another() -> None:
    chosen = configured()
    made = program(compiled(wat()), chosen)
    large = made.instance(chosen, Limits(stack_bytes=1 << 20, time_ms=5_000), host())

    with pytest.raises(PluginTrap) as trap:
        large.process("app", block("stack"), 1, BUDGET_MS)

    assert trap.value.reason == "stack"


def test_a_host_function_that_fails_stops_the_guest_at_once() -> None:
    chosen = configured()

    def tell(level: int, text: str) -> None:
        raise KeyboardInterrupt

    instance = program(compiled(wat()), chosen).instance(chosen, Limits(time_ms=60_000), Host("guest", 0, tell=tell))

    with pytest.raises(KeyboardInterrupt):
        instance.process("app", block("loop"), 1, BUDGET_MS)


@pytest.mark.parametrize("code", [b"", b"\0asm", b"\0asm\x0d\0\x01\0\xff", b"\0asm\x01\0\0\0", b"\x7fELF", b"\0" * 99])
def test_what_is_no_component_is_refused(code: bytes) -> None:
    with pytest.raises(PluginLoadError):
        program(code, configured())


def test_components_within_components_are_followed_only_so_far() -> None:
    deep = "(component " * 40 + ")" * 40

    with pytest.raises(PluginLoadError, match=r"components within components|nesting"):
        program(compiled(deep), configured())


def test_a_memory_of_64_bits_is_refused() -> None:
    with pytest.raises(PluginLoadError, match="expected an ordinary one"):
        program(compiled(wat(more="(core module (memory i64 1))")), configured())


@cache
def _whole() -> bytes:
    return compiled(wat())


@settings(max_examples=80)
@given(st.data())
def test_a_damaged_component_is_refused_or_fails_and_never_more(data: st.DataObject) -> None:
    code = bytearray(_whole())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(code) - 1))
        match data.draw(st.sampled_from(["byte", "cut", "gone", "more"])):
            case "byte":
                code[at] = data.draw(st.integers(0, 255))
            case "cut":
                del code[max(at, 1) :]
            case "gone":
                del code[at : at + data.draw(st.integers(1, 40))]
            case _:
                code[at:at] = data.draw(st.binary(max_size=20))
        code = code or bytearray(b"\0")
    chosen = configured(limits=Limits(time_ms=50, init_ms=50, memory_bytes=4 << 20), grants=["log"])

    try:
        instance = program(bytes(code), chosen).instance(chosen, chosen.limits, host())
        made = instance.process("app", block("keep", "change", "drop"), 3, 200)
    except PluginError:
        return

    assert made.count <= 3


@settings(max_examples=60)
@given(st.text(alphabet=st.sampled_from('\n!{}[]"a1:,\\u\ud800é\0 '), max_size=40))
def test_whatever_text_a_guest_answers_it_is_an_answer_or_a_failure(answer: str) -> None:
    data = answer.encode("utf-8", "replace")
    told = "".join(f"\\{byte:02x}" for byte in data)
    text = wat(
        lines=f"(call $text (i32.const 1024) (i32.const {len(data)})) (return)",
        core=f'(data (i32.const 1024) "{told}")',
    )

    made, reason = None, ""
    try:
        made = alive(text).process("app", block("keep"), 1, BUDGET_MS)
    except PluginTrap as trap:
        reason = trap.reason

    if made is None:
        assert reason in ("bad_result", "refused")
        return
    assert made.count + made.dropped == 1
    if made.count:
        assert isinstance(msgpack.unpackb(made.block)[1], dict)


def test_the_component_itself_is_what_wasmtime_takes() -> None:
    assert wasmtime.component.Component(wasmtime.Engine(), _whole()).type is not None
