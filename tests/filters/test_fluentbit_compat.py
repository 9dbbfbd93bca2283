"""Modules made for Fluent Bit run unchanged: what its runtime does, and what guests have come to rely on."""

from __future__ import annotations

import json
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import PluginLoadError
from logllm.filters.config import Limits
from logllm.filters.fluentbit.block import texts
from logllm.filters.fluentbit.memory import without_maximum
from logllm.filters.instance import RecordFailed
from logllm.filters.records import from_json
from tests.filters.fluentbit_builds import Absent, c
from tests.filters.fluentbit_lives import BUDGET_MS, SIX, ask, block, bring_up, records_of, silent_host, wat

# Drops a record that has a byte above 126 in it.
ONLY_ASCII = """
  (loop $next (if (i32.lt_u (local.get $i) (local.get $len)) (then
    (if (i32.gt_u (i32.load8_u (i32.add (local.get $rec) (local.get $i))) (i32.const 126))
      (then (return (i32.const 0))))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next))))
  (local.get $rec)"""
SOME = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def like_tinygo(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Filters in C that behave as TinyGo's."""
    try:
        out = tmp_path_factory.mktemp("tinygo") / "tinygo.wasm"
        return c("tinygo.c", out, "-Wl,--initial-memory=131072", "-Wl,-z,stack-size=16384")
    except Absent as absent:
        pytest.skip(str(absent))


def answering(text: bytes) -> bytes:
    """A guest that always answers the same."""
    data = "".join(f"\\{byte:02x}" for byte in text)
    return wat("(i32.const 1024)", more=f'(data (i32.const 1024) "{data}\\00")')


def test_a_guest_is_given_ascii_as_fluent_bit_gives_it() -> None:
    records = [{"k\u00e9y": "Gr\u00fc\u00dfe \u4e16\u754c \U0001f600"}, {"del": "\x7f", "esc": "\x1b[0m"}, {"plain": 1}]

    assert ask(bring_up(wat(ONLY_ASCII)), *records) == records


def test_every_character_is_written_as_fluent_bit_writes_it() -> None:
    record = {"a": '\u00e9\U0001f600 "\\" \\\\n \n\\u00e9 \b\f\r\t\0\x1f\x7f/\u2028', 'k"\\\u00e9': 1}

    (text, *_) = texts([record])

    assert text == (
        rb'{"a":"\u00e9\ud83d\ude00 \"\\\" \\\\n \n\\u00e9 \b\f\r\t\u0000\u001f\u007f/\u2028","k\"\\\u00e9":1}'
    )


def test_a_record_that_is_much_longer_as_text_may_be_answered_as_it_is() -> None:
    plugin = bring_up(wat("(local.get $rec)"))
    given_block = block({"x": "\x01" * 400_000}, {"x": "\u00e9" * 200_000})

    assert plugin.process("app", given_block, 2, BUDGET_MS).block is given_block


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=5), SOME, max_size=4), max_size=5))
def test_many_records_are_written_as_each_alone_would_be(records: list[dict[str, Any]]) -> None:
    expected = [json.dumps(record, separators=(",", ":")).replace("\x7f", "\\u007f").encode() for record in records]

    assert texts(records)[: len(records)] == expected


def test_a_record_too_deep_for_json_does_not_change_its_neighbours() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}

    try:
        assert texts([{"a": "\u00e9"}, deep, None, {"b": 1}])[:4] == [b'{"a":"\\u00e9"}', b"null", b"null", b'{"b":1}']
    finally:
        while deep:
            deep = deep["a"]


def test_an_answer_may_have_control_characters_in_its_strings_but_a_line_of_input_may_not() -> None:
    answer = b'{"a":"x\ny\t\x1b[0m\x7f","b\n":1}'

    assert ask(bring_up(answering(answer)), {}) == [{"a": "x\ny\t\x1b[0m\x7f", "b\n": 1}]
    with pytest.raises(ValueError):
        from_json(answer)


@pytest.mark.parametrize(
    ("answer", "record"),
    [
        (b'{"a":1}\n', {"a": 1}),
        (b'\t {"a" :  1 } \r\n', {"a": 1}),
        (b"{}", {}),
        (b'{"a":1e16,"b":1.0,"c":-0.0,"d":1E5,"e":-0}', {"a": 1e16, "b": 1.0, "c": -0.0, "d": 1e5, "e": 0}),
        (b'{"\xc3\xa9":"\\u00e9\\ud83d\\ude00\\/\\u0000"}', {"\u00e9": "\u00e9\U0001f600/\0"}),
        (b'{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}),
    ],
)
def test_any_form_of_json_is_an_answer(answer: bytes, record: dict[str, Any]) -> None:
    (made,) = ask(bring_up(answering(answer)), {"k": 1})

    assert made == record
    assert [type(value) for value in made.values()] == [type(value) for value in record.values()]


@pytest.mark.parametrize(
    "answer", [b'\xef\xbb\xbf{"a":1}', b'{"a":1}{}', b'{"a":1,}', b"{1:2}", b'{"a":"\\x7f"}', b"[]"]
)
def test_what_fluent_bit_does_not_read_is_a_failure(answer: bytes) -> None:
    with pytest.raises(RecordFailed) as caught:
        ask(bring_up(answering(answer)), {"k": 1})

    assert (caught.value.reason, caught.value.broken) == ("bad_result", False)


def test_a_guest_whose_memory_may_not_grow_gets_its_records_all_the_same() -> None:
    text = wat("(local.get $rec)", pages=1).replace(b'(export "memory") 1', b'(export "memory") 1 1')
    records = [{"x": "y" * size} for size in (1, 70_000, 300_000)]

    assert ask(bring_up(text), *records) == records
    assert ask(bring_up(text, event_format="msgpack"), *records) == records


@pytest.mark.parametrize("limits", ["0", "1", "1 1", "3 70", "128 65536"])
def test_only_the_maximum_of_a_memory_is_taken_away(limits: str) -> None:
    code = bytes(wasmtime.wat2wasm(f'(module (memory (export "memory") {limits}) (func (export "f")) (data "x"))'))
    wanted = bytes(
        wasmtime.wat2wasm(f'(module (memory (export "memory") {limits.split()[0]}) (func (export "f")) (data "x"))')
    )

    assert without_maximum(code) == wanted


@pytest.mark.parametrize(
    ("imported", "words"),
    [
        ("(memory 2)", "it imports env.it, a memory; expected one of its own"),
        ("(table 2 funcref)", "it imports env.it, a table; expected one of its own"),
        ("(global i32)", "it imports env.it, a global; expected one of its own"),
    ],
)
def test_what_is_imported_and_no_function_is_named_for_what_it_is(imported: str, words: str) -> None:
    memory = "" if "memory" in imported else '(memory (export "memory") 1)'
    code = f'(module (import "env" "it" {imported}) {memory} (func (export "f") {SIX} (result i32) i32.const 0))'

    with pytest.raises(PluginLoadError) as caught:
        bring_up(code.encode())

    assert str(caught.value) == words


def test_what_wasm_bindgen_left_in_a_module_may_be_there_and_not_be_called() -> None:
    more = """(import "__wbindgen_placeholder__" "__wbindgen_describe" (func $describe (param i32)))
      (import "__wbindgen_externref_xform__" "__wbindgen_externref_table_grow" (func (param i32) (result i32)))
      (func (export "__wbindgen_describe_f") (call $describe (i32.const 1)))"""
    body = """(if (i32.gt_u (local.get $len) (i32.const 2)) (then (call $describe (i32.const 1)))) (local.get $rec)"""
    text = wat(body, more=more)

    assert ask(bring_up(text, function="filter"), {}) == [{}]
    with pytest.raises(RecordFailed) as caught:
        ask(bring_up(text, function="filter"), {"a": 1})

    assert str(caught.value) == "it called __wbindgen_describe, which only a browser has"


def test_what_wasm_bindgen_would_have_to_bring_from_a_browser_is_refused() -> None:
    text = wat("(local.get $rec)", more='(import "__wbindgen_placeholder__" "now" (func (result f64)))')

    with pytest.raises(PluginLoadError) as caught:
        bring_up(text)

    assert str(caught.value) == "it imports __wbindgen_placeholder__.now, which only a browser has"


def test_a_guest_like_tinygos_gives_what_it_should_for_any_record(like_tinygo: bytes) -> None:
    plugin = bring_up(like_tinygo, function="append_tag")
    records: list[dict[str, Any]] = [
        {"key": "val"},
        {"hello": [1, None, "world"], "f": [10.5, 0.00354789, 120, 120.0, 1e16, -0.0, 5e-324]},
        {"big": [2**64 - 1, -(2**63)], "text": 'Gr\u00fc\u00dfe \U0001f600 "\\/\b\n\0', "empty": {}, "": []},
        {},
        {"x": "y" * 100_000},
    ]

    made = ask(plugin, *records, tag="test.wasm")

    assert [list(one) for one in made] == [[*record, "tag"] for record in records]
    assert repr(made) == repr([{**record, "tag": "test.wasm"} for record in records])


def test_a_guest_like_tinygos_collects_what_it_was_given_and_made(like_tinygo: bytes) -> None:
    plugin = bring_up(like_tinygo, function="append_tag")
    records = [{"n": number, "x": "y" * (number % 700 if number % 97 else 50_000)} for number in range(2_000)]

    for _ in range(5):
        assert ask(plugin, *records, tag="t") == [{**one, "tag": "t"} for one in records]

    assert plugin.restarts == 0
    assert plugin.memory_bytes <= 2 << 20


@pytest.mark.parametrize("size", [20, 60_000])
def test_a_guest_like_tinygos_that_leaks_loses_no_record(like_tinygo: bytes, size: int) -> None:
    plugin = bring_up(like_tinygo, function="leak", limits=Limits(memory_bytes=4 << 20))
    given_block = block(*[{"n": number, "x": "y" * size} for number in range(200)])

    for _ in range(20_000_000 // (200 * (size + 80))):
        assert plugin.process("t", given_block, 200, BUDGET_MS).block is given_block

    assert plugin.restarts >= 2
    assert plugin.memory_bytes <= 4 << 20


def test_a_guest_like_tinygos_may_call_all_of_its_runtimes_imports(like_tinygo: bytes) -> None:
    lines: list[str] = []
    plugin = bring_up(like_tinygo, silent_host(lines), function="say_hello")
    marker = b"\x92\x92\xd7\x00\xff\xff\xff\xff\x00\x00\x00\x00\x81\xa1m\x92\x01\xc0" + msgpack.packb({"group": 1})

    made = plugin.process("t", block({"a": 1}) + marker + block({"b": 2}), 3, BUDGET_MS)

    assert records_of(made) == [{"a": 1}, {"group": 1}, {"b": 2}]
    assert lines == ["Hello from WASM!"] * 2
