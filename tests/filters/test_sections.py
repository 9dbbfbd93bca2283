from __future__ import annotations

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import PluginLoadError
from logllm.filters.interface import FLUENT_BIT, Function, interface
from logllm.filters.sections import CORE, MAGIC, PLUGIN_SECTION, append, custom, plugin_section, sections, strip
from tests.filters.native_guests import wat

COMPONENT_TEXT = """(component
  (import "log" (func (param "level" u8) (param "message" string)))
  (import "kv-get" (func (param "key" string) (result (option string))))
  (import "wasi:io/poll@0.2.0" (instance (export "poll" (func))))
  (core module $m (func (export "a")) (func $not_seen (export "logllm_abi")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "a")))
  (export "on-batch" (func $f)))"""


def binary(text: str | bytes) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


MODULE = binary(wat())
COMPONENT = binary(COMPONENT_TEXT)


def unnamed(kind: int, content: bytes) -> bytes:
    """A section of up to 127 bytes."""
    return bytes([kind, len(content)]) + content


def named(name: bytes, content: bytes) -> bytes:
    return unnamed(0, bytes([len(name)]) + name + content)


@pytest.mark.parametrize("code", [MODULE, COMPONENT], ids=["module", "component"])
def test_what_is_appended_is_read_back_and_wasmtime_still_takes_the_file(code: bytes) -> None:
    about = {"name": "redact", "version": "1.2.3", "wants": ["kv"], "ü": "ß"}

    made = append(code, about)

    assert plugin_section(code) is None
    assert plugin_section(made) == about
    engine = wasmtime.Engine()
    if code is MODULE:
        wasmtime.Module(engine, made)
    else:
        from wasmtime.component import Component

        Component(engine, made)


@pytest.mark.parametrize("code", [MODULE, COMPONENT], ids=["module", "component"])
def test_appending_replaces_what_was_appended_and_is_the_same_every_time(code: bytes) -> None:
    twice = append(append(code, {"a": 1, "version": "1"}), {"version": "2", "name": "x"})

    assert twice == append(code, {"name": "x", "version": "2"})
    assert len([one for one in sections(twice) if one.name == PLUGIN_SECTION]) == 1


def test_stripping_takes_custom_sections_and_nothing_else() -> None:
    padded = MODULE[:8] + named(b"name", b"abc") + MODULE[8:] + named(b"producers", b"x") + named(b"mine", b"y")

    assert strip(padded) == strip(MODULE)
    assert custom(strip(padded, lambda name: name == "mine"), "mine") == b"y"
    assert custom(strip(padded, lambda name: name == "mine"), "producers") is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (b"", "it is empty"),
        (MAGIC, "it is cut off"),
        (MAGIC + b"\x02\0\0\0", "of an unknown version (02000000)"),
        (b"\x7fELF\x02\x01\x01", "it is an ELF program or library"),
        (b"\0aot\x03\0\0\0", "it is compiled ahead of time, by wamrc for one kind of machine"),
        (b"MZ\x90\0", "it is a Windows program"),
        (b"\x1f\x8b\x08", "it is gzip"),
        (b"  (module)", "WebAssembly text; give it a name that ends in .wat"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is text"),
        (b"<!DOCTYPE html>", "it is text"),
        (b"\xfe\xff\x00", "it is no WebAssembly"),
        (MODULE[:-1], "it is cut off: a section at byte"),
        (MAGIC + CORE + b"\0", "no number at byte 9"),
        (MAGIC + CORE + b"\0\xff\xff\xff\xff\xff\xff", "no number at byte 9"),
        (MAGIC + CORE + b"\0\xff\xff\xff\xff\x1f", "no number at byte 9"),
        (MAGIC + CORE + unnamed(0, b"\x05ab"), "no name at byte 10"),
        (MAGIC + CORE + unnamed(0, b""), "no number at byte 10"),
    ],
)
def test_what_is_no_module_is_told_apart(code: bytes, words: str) -> None:
    with pytest.raises(PluginLoadError) as refused:
        list(sections(code))

    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'"x"', b'{"a":"\xff"}', b"[" * 100, b'{"a":' * 20])
def test_a_section_that_holds_no_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(PluginLoadError, match=r"its section 'logllm\.plugin' is no JSON object"):
        plugin_section(MODULE + named(PLUGIN_SECTION.encode(), content))


def test_a_section_of_many_bytes_is_not_read() -> None:
    with pytest.raises(PluginLoadError, match="larger than 64 KiB"):
        plugin_section(append(MODULE, {"name": "x" * 70_000}))


def test_the_interface_of_a_module_is_read_with_its_types() -> None:
    text = """(module
      (import "env" "memory" (memory 1 2)) (import "env" "table" (table 1 3 funcref))
      (import "env" "global" (global (mut i64))) (import "logllm" "now" (func $now (result i64)))
      (type $unused (func (param v128 externref) (result f32 f64)))
      (func (export "filter") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))
      (func (export "two") (type $unused) (f32.const 0) (f64.const 0))
      (export "again" (func $now)) (export "mem" (memory 0)))"""

    found = interface(binary(text))

    assert found.imports == [("env", "memory"), ("env", "table"), ("env", "global"), ("logllm", "now")]
    assert found.exports == {
        "filter": FLUENT_BIT,
        "two": Function(("v128", "externref"), ("f32", "f64")),
        "again": Function((), ("i64",)),
        "mem": None,
    }


def test_types_of_newer_proposals_are_left_out_and_the_rest_is_read() -> None:
    text = """(module
      (type $plain (func (param i32) (result i32)))
      (type $odd (func (param (ref null $plain))))
      (rec (type $struct (struct (field i32))))
      (type $after (func (param i32)))
      (func (export "plain") (type $plain) (i32.const 0)) (func (export "odd") (type $odd))
      (func (export "after") (type $after)))"""

    found = interface(binary(text))

    assert found.exports == {"plain": Function(("i32",), ("i32",)), "odd": None, "after": None}


def test_the_interface_of_a_component_is_its_own_not_that_of_the_modules_inside() -> None:
    found = interface(COMPONENT)

    assert found.component
    assert found.imports == [("", "log"), ("", "kv-get"), ("", "wasi:io/poll@0.2.0")]
    assert found.exports == {"on-batch": None}


@given(st.data())
def test_the_interface_is_what_wasmtime_says(data: st.DataObject) -> None:
    kinds = st.sampled_from(["i32", "i64", "f32", "f64"])
    functions = data.draw(st.lists(st.tuples(st.lists(kinds, max_size=8), st.lists(kinds, max_size=3)), max_size=5))
    body = "".join(
        f'(func (export "f{number}") (param {" ".join(params)}) (result {" ".join(results)}) unreachable)'
        for number, (params, results) in enumerate(functions)
    )
    code = binary(f"(module {body})")

    found = interface(code)

    theirs = {
        one.name: (tuple(map(str, one.type.params)), tuple(map(str, one.type.results)))
        for one in wasmtime.Module(wasmtime.Engine(), code).exports
        if isinstance(one.type, wasmtime.FuncType)
    }
    ours = {name: (kind.params, kind.results) for name, kind in found.exports.items() if kind is not None}
    assert ours == theirs
