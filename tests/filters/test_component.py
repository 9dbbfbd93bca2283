"""Components as they are meant to be: batches, answers, rights, configuration."""

from __future__ import annotations

import json
import threading

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import PluginLoadError
from logllm.filters.component import program
from logllm.filters.component.batch import CALL_BYTES, CALL_RECORDS
from logllm.filters.config import Limits
from logllm.filters.host import Host
from logllm.filters.instance import Filtered, RecordFailed, entries_of
from logllm.filters.records import entry
from tests.filters.component_guests import (
    LOG,
    METRIC,
    alive,
    block,
    compiled,
    configured,
    host,
    record,
    records_of,
    wat,
)

BUDGET_MS = 60_000


def test_a_block_that_nothing_changes_in_is_the_very_same_block() -> None:
    given = block("keep", "keep")

    made = alive().process("app", given, 2, BUDGET_MS)

    assert made.block is given
    assert (made.count, made.dropped) == (2, 0)


def test_records_are_kept_dropped_and_changed_each_for_itself() -> None:
    given = block("keep", "drop", "change", "keep")

    made = alive().process("app", given, 4, BUDGET_MS)

    assert records_of(made) == [{"do": "keep"}, {"changed": 1}, {"do": "keep"}]
    assert (made.count, made.dropped) == (3, 1)


def test_a_changed_record_keeps_its_time_and_its_metadata() -> None:
    given = record("change")

    made = alive().process("app", given, 1, BUDGET_MS)

    assert made.block == entry(7, 9, b"\x81\xa7changed\x01", b"\x81\xa1m\x01")


def test_an_untouched_record_keeps_its_bytes_beside_a_changed_one() -> None:
    # What JSON cannot tell: binary, an extension, a float of four bytes, an integer that is longer than it need be.
    odd = b"\x85\xa2do\xa4keep\xa1b\xc4\x02\xff\x00\xa1e\xd4\x05\x01\xa1f\xca\x3f\x80\x00\x00\xa1i\xcf" + bytes(8)
    given = b"\xdc\x00\x02\xcb" + bytes(8) + odd

    made = alive().process("app", given + record("change"), 2, BUDGET_MS)

    assert entries_of(made.block, 2)[0] == given


def test_the_guest_is_told_the_tag_and_all_nine_digits_of_each_time() -> None:
    lines: list[tuple[int, str]] = []
    given = entry(1_700_000_000, 1, b"\x80") + b"\x92\x05\x80" + b"\x92\xcb" + b"\x40\x16" + bytes(6) + b"\x80"

    alive(lines=lines).process("app.\ud800web", given, 3, BUDGET_MS)

    times = "\\x0a".join(["1700000000.000000001", "5.000000000", "5.500000000"])
    assert [text for _, text in lines] == ["app.?web", times]


def test_markers_of_groups_are_not_shown_and_stay_in_their_place() -> None:
    lines: list[tuple[int, str]] = []
    begin, end = entry(0xFFFF_FFFF, 0, b"\x80"), entry(0xFFFF_FFFE, 0, b"\x80")

    made = alive(lines=lines).process("app", begin + block("drop", "change") + end, 4, BUDGET_MS)

    assert entries_of(made.block, 3)[0] == begin
    assert entries_of(made.block, 3)[2] == end
    assert (made.count, made.dropped) == (3, 1)
    assert lines[1][1] == "7.000000009\\x0a7.000000009"


@pytest.mark.parametrize("time", [b"\xff", b"\xce\xff\xff\xff\xff", b"\xcb\xbf\xe0\0\0\0\0\0\0"])
def test_a_time_that_is_nearly_a_markers_does_not_get_a_record_past_the_filter(time: bytes) -> None:
    lines: list[tuple[int, str]] = []

    alive(lines=lines).process("app", b"\x92" + time + b"\x81\xa3log\xa6secret", 1, BUDGET_MS)

    assert lines != []


def test_a_block_of_markers_alone_is_not_handed_over_at_all() -> None:
    lines: list[tuple[int, str]] = []
    given = entry(0xFFFF_FFFF, 0, b"\x80") + entry(0xFFFF_FFFE, 0, b"\x80")

    made = alive(lines=lines).process("app", given, 2, BUDGET_MS)

    assert made.block is given
    assert lines == []


def test_an_empty_block_is_none_of_the_guests_business() -> None:
    made = alive().process("app", b"", 0, BUDGET_MS)

    assert made == Filtered(b"", 0, 0)


def test_all_dropped_is_an_empty_block() -> None:
    made = alive().process("app", block(*["drop"] * 3), 3, BUDGET_MS)

    assert made == Filtered(b"", 0, 3)


@pytest.mark.parametrize("count", [1, CALL_RECORDS, CALL_RECORDS + 1, 2 * CALL_RECORDS + 7])
def test_a_large_block_is_cut_into_calls_and_put_together_again(count: int) -> None:
    lines: list[tuple[int, str]] = []
    dos = ["drop" if n % 7 == 0 else "change" if n % 5 == 0 else f"keep {n}" for n in range(count)]

    made = alive(lines=lines).process("app", block(*dos), count, BUDGET_MS)

    assert records_of(made) == [{"changed": 1} if do == "change" else {"do": do} for do in dos if do != "drop"]
    assert len(lines) == 2 * -(-count // CALL_RECORDS)


def test_a_call_is_not_given_more_text_than_it_should_be_and_a_huge_record_goes_alone() -> None:
    lines: list[tuple[int, str]] = []
    sizes = [CALL_BYTES // 3] * 5 + [2 * CALL_BYTES, 10]
    given = b"".join(record("keep", text="x" * size) for size in sizes)

    made = alive(lines=lines).process("app", given, len(sizes), BUDGET_MS)

    assert made.block is given
    assert [text.count(".") for _, text in lines[1::2]] == [2, 2, 1, 1, 1]


def test_a_record_that_fails_costs_itself_and_no_record_is_seen_twice() -> None:
    lines: list[tuple[int, str]] = []
    instance = alive(lines=lines)
    given = block("drop", "keep", "fail", "change", "fail", "keep")
    rest = b"".join(entries_of(given, 6)[3:])
    last = b"".join(entries_of(given, 6)[5:])

    with pytest.raises(RecordFailed) as first:
        instance.process("app", given, 6, BUDGET_MS)
    with pytest.raises(RecordFailed) as second:
        instance.process("app", rest, 3, BUDGET_MS)
    made = instance.process("app", last, 1, BUDGET_MS)

    assert (first.value.index, first.value.broken, first.value.reason) == (2, False, "refused")
    assert str(first.value) == "because"
    assert records_of(first.value.done) == [{"do": "keep"}]
    assert first.value.done.dropped == 1
    assert second.value.index == 1
    assert records_of(second.value.done) == [{"changed": 1}]
    assert made.block is last
    assert len(lines) == 2, "one call"


def test_after_a_record_that_failed_another_block_is_a_new_block() -> None:
    lines: list[tuple[int, str]] = []
    instance = alive(lines=lines)
    with pytest.raises(RecordFailed):
        instance.process("app", block("fail", "change"), 2, BUDGET_MS)

    made = instance.process("other", block("change"), 1, BUDGET_MS)

    assert records_of(made) == [{"changed": 1}]
    assert len(lines) == 4


@pytest.mark.parametrize("do", ["array", "nope"])
def test_a_line_that_is_no_object_costs_that_record_only(do: str) -> None:
    with pytest.raises(RecordFailed) as failed:
        alive().process("app", block("change", do, "keep"), 3, BUDGET_MS)

    assert (failed.value.index, failed.value.reason, failed.value.broken) == (1, "bad_result", False)
    assert records_of(failed.value.done) == [{"changed": 1}]


def test_a_record_that_is_no_map_fails_and_the_guest_is_not_asked() -> None:
    lines: list[tuple[int, str]] = []

    with pytest.raises(RecordFailed) as failed:
        alive(lines=lines).process("app", b"\x92\x01\x90", 1, BUDGET_MS)

    assert (failed.value.index, failed.value.reason) == (0, "bad_record")
    assert lines == []


def test_numbers_and_broken_text_come_back_as_msgpack_can_hold_them() -> None:
    made = alive().process("app", block("ints", "half"), 2, BUDGET_MS)

    numbers, half = records_of(made)
    assert numbers == {"a": 2**64 - 1, "b": float(2**64), "c": 1.0}
    assert [type(one) for one in numbers.values()] == [int, float, float]
    assert half == {"h": "\ufffd"}


def test_an_import_that_is_not_granted_is_named_with_its_grant() -> None:
    kv = '(import "kv-get" (func $kv (param "key" string) (result (option string))))'
    code = compiled(wat(imports=LOG + METRIC + kv))

    with pytest.raises(PluginLoadError, match=r'it imports metric, kv-get; expected in its `grants`: "metric", "kv"'):
        program(code, configured(grants=["log", "clock"]))

    assert program(code, configured(grants=["kv", "metric"])).abi == "component"


def test_what_is_not_of_this_world_is_refused_by_name() -> None:
    other = '(import "fetch" (func (param "url" string) (result string)))'

    with pytest.raises(PluginLoadError, match=r"it imports fetch, not to be had here; expected some of log, now"):
        program(compiled(wat(imports=LOG + other)), configured())


def test_an_import_of_another_type_is_refused() -> None:
    odd = '(import "now" (func (param "zone" string) (result s64)))'

    with pytest.raises(PluginLoadError, match=r"it imports now as \(string\) -> s64; expected \(\) -> u64"):
        program(compiled(wat(imports=LOG + odd)), configured(grants=["clock"]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(component)", r"exports no function on-batch; expected \(string, string, string\) -> string"),
        (
            '(component (core module $m (func (export "f"))) (core instance $i (instantiate $m)) '
            '(func (export "on-batch") (canon lift (core func $i "f"))))',
            r"its function on-batch is \(\); expected \(string, string, string\) -> string",
        ),
        ('(component (instance $i) (export "on-batch" (instance $i)))', "its function on-batch is no function"),
    ],
)
def test_what_does_not_export_the_world_is_refused(text: str, said: str) -> None:
    with pytest.raises(PluginLoadError, match=said):
        program(compiled(text), configured())


def test_the_configuration_arrives_as_json_and_may_be_refused() -> None:
    with pytest.raises(PluginLoadError, match=r"it refused its configuration: because"):
        alive(config={"rate": 0})


def test_the_models_answer_is_handed_on() -> None:
    lines: list[tuple[int, str]] = []

    alive(lines=lines).answer(3, "a bad \ud800 disk")

    assert lines == [(30, "a bad ? disk")]


def test_a_component_holds_nothing_back_and_keeps_no_state() -> None:
    instance = alive()

    instance.load(b"state of an older plugin")

    assert instance.flush(0) is None
    assert instance.save() is None


def test_a_component_without_configure_and_answer_is_a_plugin_too() -> None:
    text = wat().replace('(func (export "configure") (param "c', '(func (export "other") (param "c')
    text = text.replace('(func (export "answer") (param "t', '(func (export "another") (param "t')
    instance = alive(text, config={"refuse": 1})

    instance.answer(1, "nobody listens")

    assert instance.process("app", block("drop"), 1, BUDGET_MS).dropped == 1


def test_instances_share_nothing_and_one_goes_on_when_another_is_closed() -> None:
    chosen = configured()
    made = program(compiled(wat()), chosen)
    first, second = (made.instance(chosen, chosen.limits, host()) for _ in range(2))

    first.close()

    assert second.process("app", block("change"), 1, BUDGET_MS).count == 1


def test_what_a_host_function_raises_comes_out_in_its_own_thread() -> None:
    chosen = configured()
    made = program(compiled(wat()), chosen)
    given = block("keep")
    wrong: list[object] = []

    def raiser(number: int) -> None:
        def tell(level: int, text: str) -> None:
            raise LookupError(number)

        for _ in range(50):
            instance = made.instance(chosen, chosen.limits, Host("guest", 0, tell=tell))
            try:
                instance.process("app", given, 1, BUDGET_MS)
                wrong.append("nothing raised")
            except LookupError as error:
                if error.args != (number,):
                    wrong.append(error)
            finally:
                instance.close()

    threads = [threading.Thread(target=raiser, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert wrong == []


def test_the_memory_it_began_with_is_told() -> None:
    assert alive().memory_bytes == 2 * 65_536


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["keep", "drop", "change"]), values), max_size=12))
def test_whatever_a_record_holds_it_is_kept_dropped_or_changed_as_the_guest_said(
    given: list[tuple[str, object]],
) -> None:
    entries = [record(do, value=value) for do, value in given]

    made = SHARED.process("app", b"".join(entries), len(entries), BUDGET_MS)

    expected = [b if do == "keep" else None for (do, _), b in zip(given, entries, strict=True) if do != "drop"]
    found = entries_of(made.block, made.count)
    assert len(found) == len(expected)
    for one, wanted in zip(found, expected, strict=True):
        assert one == wanted or (wanted is None and msgpack.unpackb(one)[1] == {"changed": 1})


SHARED = alive(limits=Limits(time_ms=60_000))


def test_a_million_records_take_no_more_memory_than_a_thousand() -> None:
    resource = pytest.importorskip("resource")
    instance = alive(limits=Limits(time_ms=60_000))
    given = block(*["keep", "change", "drop", "keep"] * 250)
    for _ in range(50):
        instance.process("app", given, 1000, BUDGET_MS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for _ in range(1000):
        instance.process("app", given, 1000, BUDGET_MS)

    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 8 << 10, "KiB"


def test_its_json_is_compact_and_of_real_characters() -> None:
    lines: list[tuple[int, str]] = []
    instance = alive(wat(lines="(call $log (i32.const 1) (local.get $at) (local.get $n))"), lines=lines)

    instance.process("app", record("k", text="größer\n\x00"), 1, BUDGET_MS)

    shown = lines[-1][1]
    assert json.loads(shown) == {"do": "k", "text": "größer\n\x00"}
    assert shown == '{"do":"k","text":"größer\\n\\u0000"}'
