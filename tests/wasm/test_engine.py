from __future__ import annotations

import threading

import pytest

from logllm.errors import PluginLoadError
from logllm.wasm import engine

CODE = b"""(module (memory (export "memory") 1) (func (export "f") (result i32) (i32.const 42)))"""


@pytest.mark.parametrize("code", [b"", b"\0asm", b"nonsense", b"\0asm\1\0\0\0\xff", b"(module (func (call 7)))"])
def test_what_is_no_module_is_refused_in_one_line(code: bytes) -> None:
    with pytest.raises(PluginLoadError) as refused:
        engine.module(code)

    assert str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_component_is_refused() -> None:
    with pytest.raises(PluginLoadError):
        engine.component(CODE)


@pytest.mark.parametrize(
    "text",
    [
        '(module (memory (export "memory") 1 2 shared))',
        "(module (type (array (mut i64))))",
        "(module (type (struct (field i32))))",
    ],
)
def test_threads_and_a_heap_beside_the_memory_are_not_to_be_had(text: str) -> None:
    with pytest.raises(PluginLoadError):
        engine.module(text.encode())


def test_every_thread_gets_the_same_engine_and_clock_however_many_stacks_there_are() -> None:
    sizes = [65_536 + 4096 * number for number in range(12)]
    found: list[list[object]] = []

    def ask() -> None:
        found.append([(engine.engine(size), engine.ticker(size)) for size in sizes])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ask()

    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("size", [0, -1, engine.MOST_STACK_BYTES + 1, 1 << 40])
def test_a_stack_that_wasmtime_would_abort_at_is_refused(size: int) -> None:
    with pytest.raises(PluginLoadError, match="expected at most 2097152"):
        engine.engine(size)


def test_the_largest_stack_is_usable_in_a_thread_to_its_end() -> None:
    from logllm.errors import PluginTrap
    from logllm.wasm.guest import Guest

    deep = b"""(module (memory (export "memory") 1)
      (func $f (export "f") (param i64) (result i64)
        (i64.add (call $f (i64.add (local.get 0) (i64.const 1))) (local.get 0))))"""
    reasons: list[str] = []

    def dive() -> None:
        most = engine.MOST_STACK_BYTES
        guest = Guest(engine.module(deep, most), {}, memory_bytes=65_536, stack_bytes=most)
        try:
            guest.run(guest.function("f"), 0, time_ms=60_000)
        except PluginTrap as trapped:
            reasons.append(trapped.reason)

    thread = threading.Thread(target=dive)
    thread.start()
    thread.join()

    assert reasons == ["stack"]


def test_the_clock_ticks_while_somebody_is_inside_and_then_falls_silent() -> None:
    ticked = threading.Semaphore(0)
    clock = engine.Ticker(ticked.release)

    with clock, clock:
        assert all(ticked.acquire(timeout=60) for _ in range(3))
    while ticked.acquire(timeout=0.2):  # at most one that was on its way
        pass
    silent = not ticked.acquire(timeout=20 * engine.TICK_MS / 1000)
    with clock:
        wakes = ticked.acquire(timeout=60)

    assert silent
    assert wakes


@pytest.mark.parametrize(("late", "made_up"), [(1, 1), (2, 2), (200, 2)])
def test_a_late_tick_is_made_up_for_and_a_long_halt_is_not_held_against_the_guests(late: int, made_up: int) -> None:
    ticked, epoch, now_s = threading.Semaphore(0), [0], [1000.0]

    def tick() -> None:
        epoch[0] += 1
        ticked.release()

    clock = engine.Ticker(tick, lambda: now_s[0])
    idle = clock.ticks(50)

    with clock:
        now_s[0] += (late + 0.5) * engine.TICK_MS / 1000
        before = epoch[0]
        deadline = clock.ticks(50)
        after = epoch[0]
        came = all(ticked.acquire(timeout=60) for _ in range(made_up))
        more = ticked.acquire(timeout=10 * engine.TICK_MS / 1000)

    assert idle == 50 // engine.TICK_MS + 1
    assert came
    assert not more
    # The clock may have made up for them before, while or after it was asked.
    assert made_up + idle in (before + deadline, after + deadline)
