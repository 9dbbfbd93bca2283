from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from logllm.errors import PluginLoadError
from logllm.wasm import compile as compiling
from logllm.wasm import engine
from logllm.wasm.compile import LARGE_BYTES, abandon, apart
from logllm.wasm.guest import Guest

STACK = engine.STACK_BYTES


def leb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def section(number: int, content: bytes) -> bytes:
    return bytes([number]) + leb(len(content)) + content


def module(body: bytes, padding: int = 0) -> bytes:
    """A module with a memory and one function `f`: () -> i32, and a custom section of so many bytes."""
    function = b"\0" + body + b"\x0b"
    return (
        b"\0asm\1\0\0\0"
        + section(1, b"\1\x60\0\1\x7f")
        + section(3, b"\1\0")
        + section(5, b"\1\0\1")
        + section(7, b"\2\x01f\0\0\x06memory\2\0")
        + section(10, b"\1" + leb(len(function)) + function)
        + (section(0, b"\3pad" + bytes(padding)) if padding else b"")
    )


ANSWER = b"\x41\x2a"
# An `if` without anything in it, over and over: each is two blocks for the compiler, and they cost more than their sum.
SLOW = module(b"\x41\0\x04\x40\x0b" * 1_000_000 + ANSWER)


def test_a_large_module_is_compiled_apart_and_runs_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGLLM_CODE_CACHE", str(tmp_path / "code"))
    code = module(ANSWER, LARGE_BYTES)

    for _ in range(2):  # compiled, then from the cache
        guest = Guest(engine.module(code), {}, memory_bytes=1 << 20)
        answer = guest.run(guest.function("f", 0), time_ms=1000)
        guest.close()

        assert answer == 42
    assert len(list((tmp_path / "code").glob("*.cwasm"))) == 1


def test_one_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()

    with pytest.raises(PluginLoadError, match=r"longer than 1 s to compile"):
        apart(SLOW, "Module", STACK, limit_s=1.0)

    assert time.monotonic() - began < 20
    assert compiling._running == set()


def test_what_is_going_on_can_be_given_up() -> None:
    said: list[str] = []

    def wait() -> None:
        try:
            apart(SLOW, "Module", STACK)
        except PluginLoadError as error:
            said.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    while waiting.is_alive():
        abandon()
        waiting.join(0.05)

    assert len(said) == 1
    assert "cannot be compiled" in said[0]


@pytest.mark.parametrize("code", [b"\0asm\1\0\0\0" + bytes(LARGE_BYTES), b"nonsense" * LARGE_BYTES])
def test_a_large_file_that_is_no_module_is_refused_in_wasmtimes_words(code: bytes) -> None:
    with pytest.raises(PluginLoadError) as error:
        engine.module(code)

    assert "Traceback" not in str(error.value)
    assert str(error.value)
