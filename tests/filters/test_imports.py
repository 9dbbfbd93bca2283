from __future__ import annotations

from typing import Any

import pytest

from logllm.filters import imports
from logllm.filters.host import Host
from logllm.wasm import engine
from logllm.wasm.guest import Guest

TYPES = {
    "log": "(param i32 i32 i32)",
    "now": "(result i64)",
    "random": "(param i32 i32) (result i32)",
    "kv_get": "(param i32 i32 i32 i32) (result i32)",
    "kv_set": "(param i32 i32 i32 i32) (result i32)",
    "metric": "(param i32 i32 i64) (result i32)",
    "anomaly": "(param i32 i32 i32) (result i32)",
    "ask": "(param i32 i32) (result i32)",
}
PAGE = 65_536
OUTSIDE = [(PAGE, 1), (PAGE - 3, 4), (0, PAGE + 1), (0xFFFF_FFFF, 0xFFFF_FFFF), (0xFFFF_FFF0, 16)]
FAILED, TOO_LARGE, ABSENT = 0xFFFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFD


class World:
    """A guest that hands every call on to the function it imports, with its host and a look into its memory."""

    def __init__(self, host: Host, lines: list[str]) -> None:
        wanted = "".join(f'(import "logllm" "{name}" (func ${name} {kind}))' for name, kind in TYPES.items())
        passed = "".join(
            f'(func (export "{name}") {kind} (call ${name} '
            + " ".join(f"(local.get {number})" for number in range(kind.partition("(result")[0].count("i")))
            + "))"
            for name, kind in TYPES.items()
        )
        code = f'(module {wanted} (memory (export "memory") 1) {passed})'.encode()
        self.host, self.lines = host, lines
        self.guest = Guest(engine.module(code), imports.functions(host), memory_bytes=PAGE)

    def call(self, name: str, *values: int) -> int:
        return self.guest.run(self.guest.function(name), *values, time_ms=5_000)

    def put(self, at: int, data: bytes) -> tuple[int, int]:
        self.guest.write(at, data)
        return at, len(data)


def world(**host: Any) -> World:
    lines: list[str] = []
    return World(Host("p", 1000, tell=lambda _, text: lines.append(text), **host), lines)


def test_every_function_of_the_abi_is_there_with_its_type_and_its_grant() -> None:
    given = imports.functions(Host("p", 0))

    assert {name for _, name in given} == set(TYPES) == set(imports.NEEDS)
    assert {home for home, _ in given} == {"logllm"}
    world()  # a type that were another would be refused


def test_log_takes_four_kibibytes_of_a_line() -> None:
    here = world()

    here.call("log", 1, *here.put(0, b"a line\n"))
    here.call("log", 1, *here.put(100, b"x" * 5000))
    here.call("log", 1, 0, 0)

    assert here.lines == ["a line", "x" * 4096, ""]


def test_now_is_the_hosts_clock_in_milliseconds() -> None:
    here = world(clock_ns=lambda: 1_767_225_600_123_999_999)

    assert here.call("now") == 1_767_225_600_123


def test_random_fills_what_it_is_asked_for_and_no_more() -> None:
    here = world()

    filled = here.call("random", 100, 4096)
    too_many = here.call("random", 100, 4097)
    none = here.call("random", 100, 0)

    assert (filled, too_many, none) == (0, FAILED, 0)
    assert here.guest.read(0, 100) == bytes(100)
    assert len(set(here.guest.read(100, 4096))) > 200
    assert here.guest.read(4196, 100) == bytes(100)


def test_a_value_is_written_only_where_there_is_room_for_it() -> None:
    here = world()
    key, value = here.put(0, b"key"), here.put(16, b"value")

    assert here.call("kv_get", *key, 32, 100) == ABSENT
    assert here.call("kv_set", *key, *value) == 0
    assert here.call("kv_get", *key, 32, 4) == 5
    assert here.guest.read(32, 5) == bytes(5)
    assert here.call("kv_get", *key, 32, 5) == 5
    assert here.guest.read(32, 5) == b"value"
    assert here.call("kv_get", *key, PAGE, 0) == 5
    assert here.call("kv_set", *key, 0, 0) == 0
    assert here.call("kv_get", *key, 32, 100) == ABSENT


def test_keys_and_values_that_are_too_large_are_refused_without_being_copied() -> None:
    here = world()

    assert here.call("kv_set", 0, PAGE, 0, 1) == TOO_LARGE
    assert here.call("kv_set", 0, 3, 0, PAGE) == TOO_LARGE
    assert here.call("kv_get", 0, PAGE, 0, 0) == ABSENT
    assert here.host.kv == {}


def test_metrics_go_up_and_down() -> None:
    here = world()
    name = here.put(0, b"seen")

    assert here.call("metric", *name, 5) == 0
    assert here.call("metric", *name, -7) == 0
    assert here.call("metric", *here.put(8, b"no name"), 1) == FAILED
    assert here.host.metrics == {"seen": -2}


def test_an_anomaly_may_have_a_negative_score_which_is_none() -> None:
    here = world()
    text = here.put(0, b'{"rule": "flood", "text": "much"}')

    assert here.call("anomaly", -5, *text) == 0
    assert here.call("anomaly", 500, *text) == 0
    assert here.call("anomaly", 500, 0, 5000) == FAILED
    assert [one.score for one in here.host.signals] == [0.0, 0.5]


def test_a_question_gives_a_ticket() -> None:
    asked: list[str] = []

    def take(_: int, text: str) -> bool:
        asked.append(text)
        return True

    here = world(ask=take)

    assert here.call("ask", *here.put(0, b"why?")) >= 1
    assert here.call("ask", 0, 3000) == FAILED
    assert asked == ["why?"]


@pytest.mark.parametrize(("pointer", "size"), OUTSIDE)
def test_a_bad_pointer_is_minus_one_and_neither_a_trap_nor_an_error(pointer: int, size: int) -> None:
    here = world(ask=lambda *_: True)
    key = here.put(0, b"key")
    here.call("kv_set", *key, *here.put(8, b"four"))

    assert here.call("log", 1, pointer, size) == 0
    assert here.call("random", max(pointer, PAGE - 3), 4096) == FAILED
    assert here.call("kv_get", pointer, size, 0, 10) == FAILED
    assert here.call("kv_get", *key, max(pointer, PAGE - 3), 10) == FAILED
    assert here.call("kv_set", pointer, size, 0, 1) == FAILED
    assert here.call("kv_set", *key, pointer, size) == FAILED
    assert here.call("metric", pointer, size, 1) == FAILED
    assert here.call("anomaly", 1, pointer, size) == FAILED
    assert here.call("ask", pointer, size) == FAILED
    assert here.lines == []
    assert here.host.kv == {b"key": b"four"}


def test_a_start_function_has_no_memory_to_point_at_yet() -> None:
    code = b"""(module (import "logllm" "metric" (func $metric (param i32 i32 i64) (result i32)))
      (memory (export "memory") 1) (data (i32.const 0) "early") (global $got (export "got") (mut i32) (i32.const 7))
      (func $go (global.set $got (call $metric (i32.const 0) (i32.const 5) (i64.const 1)))) (start $go))"""
    host = Host("p", 0)

    guest = Guest(engine.module(code), imports.functions(host), memory_bytes=PAGE)

    assert guest.value("got") == -1
    assert host.metrics == {}
