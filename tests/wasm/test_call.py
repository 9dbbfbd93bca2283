from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest
import wasmtime

from logllm.wasm import call as calls
from logllm.wasm import engine
from logllm.wasm.guest import Guest, HostFunction

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDE = b"""(module (memory (export "memory") 1)
  (func (export "nothing"))
  (func (export "one") (result i32) (i32.const -1))
  (func (export "long") (param i64) (result i64) (local.get 0))
  (func (export "six") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.sub (local.get 5) (local.get 0)))
  (func (export "trap") (param i32) (result i32) unreachable)
  (func (export "float") (param f32)) (func (export "double") (result f64) (f64.const 0))
  (func (export "vector") (param v128)) (func (export "any") (param externref)) (func (export "ref") (param funcref))
  (func (export "two") (result i32 i32) (i32.const 1) (i32.const 2)))"""


@pytest.fixture(params=["unchecked", "checked"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """The way functions are bound during a test."""
    calls.use_unchecked(request.param == "unchecked")
    yield request.param
    calls.use_unchecked(True)


def guest() -> Guest:
    return Guest(engine.module(WIDE), {}, memory_bytes=1 << 20)


def test_the_unchecked_call_passes_its_test_with_the_wasmtime_that_is_installed() -> None:
    assert calls.unchecked()


@pytest.mark.usefixtures("way")
def test_values_go_in_and_come_out_in_all_their_bits() -> None:
    here = guest()

    def call(name: str, *values: int) -> int:
        return here.run(here.function(name), *values, time_ms=1000)

    assert call("nothing") == 0
    assert call("one") == 0xFFFF_FFFF
    assert call("long", -1) == call("long", (1 << 64) - 1) == (1 << 64) - 1
    assert call("long", 1 << 63) == 1 << 63
    assert call("six", 1, 2, 3, 4, 5, 0) == 0xFFFF_FFFF
    assert call("six", 0xFFFF_FFFF, 2, 3, 4, 5, -1) == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("float", "(f32) -> ()"),
        ("double", "() -> (f64)"),
        ("vector", "(?) -> ()"),
        ("any", "(?) -> ()"),
        ("ref", "(?) -> ()"),
        ("two", "() -> (i32, i32)"),
    ],
)
def test_what_is_no_integer_is_not_bound_and_does_not_end_the_process(name: str, kind: str) -> None:
    store = wasmtime.Store(engine.engine())
    func = wasmtime.Instance(store, engine.module(WIDE), []).exports(store)[name]
    assert isinstance(func, wasmtime.Func)

    with pytest.raises(TypeError) as refused:
        calls.bind(store, func)

    assert str(refused.value) == kind


def test_another_version_of_wasmtime_is_called_the_slow_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(calls, "_KNOWN_MAJOR", "49")

    assert not calls.unchecked.__wrapped__()
    assert "slow way" in caplog.text


@pytest.mark.parametrize("error", [AttributeError("gone"), TypeError("other"), ValueError("odd")])
def test_a_private_name_that_has_changed_means_the_slow_way(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> calls.Call:
        raise error

    monkeypatch.setattr(calls, "_bind_unchecked", broken)

    assert not calls.unchecked.__wrapped__()
    assert str(error) in caplog.text


def test_a_fast_call_that_gives_other_values_means_the_slow_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(calls, "_SLOT_WORDS", 4)
    caplog.set_level(logging.WARNING)

    assert not calls.unchecked.__wrapped__()
    assert "failed its test" in caplog.text


ASKING = b"""(module (import "host" "ask" (func $ask (param i32 i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "ask") (param i32 i64) (result i64) (call $ask (local.get 0) (local.get 1)))
  (func (export "ask_and_go_on") (param i32 i64) (result i64)
    (drop (call $ask (local.get 0) (local.get 1))) (loop $ever (br $ever)) (i64.const 0)))"""


def asking(answer: HostFunction) -> Guest:
    return Guest(engine.module(ASKING), {("host", "ask"): answer}, memory_bytes=1 << 20)


@pytest.mark.usefixtures("way")
def test_a_host_function_gets_and_gives_all_bits() -> None:
    got: list[tuple[int, int]] = []

    def answer(_: Guest, word: int, long: int) -> int:
        got.append((word, long))
        return -long

    here = asking(HostFunction(("i32", "i64"), ("i64",), answer))
    ask = here.function("ask")

    answers = [here.run(ask, word, long, time_ms=1000) for word, long in ((-1, -1), (1 << 31, 1 << 63), (0, 0))]

    assert got == [(0xFFFF_FFFF, (1 << 64) - 1), (1 << 31, 1 << 63), (0, 0)]
    assert answers == [((1 << 64) - ((1 << 64) - 1)), 1 << 63, 0]


@pytest.mark.usefixtures("way")
def test_a_host_function_that_raises_ends_the_guest_there_and_its_error_comes_out() -> None:
    def answer(_: Guest, word: int, __: int) -> int:
        raise ZeroDivisionError(word)

    here = asking(HostFunction(("i32", "i64"), ("i64",), answer))

    with pytest.raises(ZeroDivisionError, match="77"):
        here.run(here.function("ask_and_go_on"), 77, 0, time_ms=60_000)


class OddError(Exception):
    """What one thread's host raises."""


@pytest.mark.usefixtures("way")
def test_errors_raised_in_two_threads_at_once_are_neither_swapped_nor_lost() -> None:
    wrong: list[str] = []

    def work(mine: int) -> None:
        def answer(_: Guest, word: int, __: int) -> int:
            if word % 2:
                raise OddError(f"{mine}:{word}")
            return word

        here = asking(HostFunction(("i32", "i64"), ("i64",), answer))
        ask = here.function("ask")
        for word in range(5_000):
            try:
                answered = here.run(ask, word, 0, time_ms=60_000)
            except OddError as error:
                if word % 2 == 0 or str(error) != f"{mine}:{word}":
                    wrong.append(f"{mine} got {error} at {word}")
            else:
                if word % 2 or answered != word:
                    wrong.append(f"{mine} got no error at {word}")
        here.close()

    threads = [threading.Thread(target=work, args=(mine,)) for mine in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
