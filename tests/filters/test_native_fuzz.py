from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters import native
from logllm.filters.config import Limits, PluginConfig
from logllm.filters.host import Host
from tests.filters.native_guests import BUFFER_AT, ENTRY_BYTES, block, silent_host, wat

ROOT = Path(__file__).parents[2]
PAGES = 4
SIZE = PAGES * 65_536
LIMITS = Limits(output_bytes=5_000, state_bytes=10_000)
CONFIG = PluginConfig(path="x.wasm", limits=LIMITS)

# Answers what its memory says: where the result is stands at 0. What memory says comes in as a state.
TOLD = wat(
    "(i32.load (i32.const 0))",
    pages=PAGES,
    more="""(func (export "logllm_state_load") (param $p i32) (param $n i32) (result i32)
        (memory.copy (i32.const 0) (local.get $p) (local.get $n)) (i32.const 0))
      (func (export "logllm_flush") (param i64) (result i32) (i32.load (i32.const 0)))
      (func (export "logllm_state_save") (result i32) (i32.load (i32.const 0)))""",
)
PROGRAM = native.program(TOLD, CONFIG)

NUMBERS = st.one_of(
    st.integers(0, 40),
    st.sampled_from([0, SIZE - 33, SIZE - 32, SIZE - 31, SIZE, BUFFER_AT, 5_000, 5_001, 2**31, 2**32 - 1, 2**32 - 32]),
    st.integers(0, SIZE),
    st.integers(0, 2**32 - 1),
)
MODES = st.sampled_from([0, 1, 1, 1, 2, 2, 2, 3, 0xFFFF_FEFF, 0xFFFF_FF00, 0xFFFF_FFFF]) | NUMBERS


class Told(NamedTuple):
    """What the guest's memory says, and the block it was given."""

    result: int
    words: tuple[int, ...]
    rest: bytes
    entries: int


@st.composite
def stories(draw: st.DrawFn) -> Told:
    entries = draw(st.integers(0, 12))
    n_in = draw(st.just(entries) | NUMBERS)
    n_out = draw(st.integers(0, entries) | NUMBERS)
    words = (draw(MODES), n_in, n_out, *(draw(NUMBERS) for _ in range(5)))
    flags = draw(st.lists(st.sampled_from([0, 0, 1, 255]), min_size=40, max_size=60).map(bytes))
    return Told(draw(st.just(4) | NUMBERS), words, flags, entries)


def given_block(entries: int) -> bytes:
    return block(*(f"t{number}" for number in range(entries)))


def memory_of(told: Told) -> bytes:
    """The guest's memory when it answers."""
    state = struct.pack("<9I", told.result, *told.words) + told.rest
    memory = bytearray(SIZE)
    memory[: len(state)] = memory[BUFFER_AT : BUFFER_AT + len(state)] = state
    block = given_block(told.entries)
    memory[BUFFER_AT : BUFFER_AT + len(block)] = block
    return bytes(memory)


def expected(told: Told) -> bytes | str:
    """The block that must come out, or the reason of the trap: the ABI's text, word by word."""
    memory, count = memory_of(told), told.entries
    given = given_block(count)
    if told.result + 32 > SIZE:
        return "bad_pointer"
    mode, n_in, n_out, at, size, keep, *_ = struct.unpack_from("<8I", memory, told.result)
    if mode >= 0xFFFF_FF00:
        return "refused"
    if mode > 2 or n_in != count:
        return "bad_result"
    if mode == 0:
        return given
    if mode == 1:
        if keep + count > SIZE:
            return "bad_pointer"
        kept = [number for number in range(count) if memory[keep + number]]
        if len(kept) != n_out:
            return "bad_result"
        return b"".join(given[number * ENTRY_BYTES : (number + 1) * ENTRY_BYTES] for number in kept)
    if n_out > 16 * count + 16 or size > 5_000:
        return "output"
    if size and at + size > SIZE:
        return "bad_pointer"
    answer = memory[at : at + size]
    impossible = 3 * n_out > size or (size > 0 and n_out == 0) or (answer == given and n_out != count)
    return "bad_result" if impossible else answer


@given(stories())
@example(Told(4, (1, 3, 0, 0, 0, SIZE - 3, 0, 0), b"", 3))
@example(Told(4, (1, 0, 0, 0, 0, SIZE, 0, 0), b"", 0))
@example(Told(4, (2, 3, 0, 2**32 - 1, 0, 0, 0, 0), b"", 3))
@example(Told(4, (2, 2, 2, BUFFER_AT, 32, 0, 0, 0), b"", 2))
@example(Told(4, (0xFFFF_FF00, 0, 0, 0, 0, 0, SIZE - 1, 2), b"", 2))
@example(Told(SIZE - 32, (), b"", 0))
@settings(max_examples=300)
def test_every_answer_is_a_block_as_the_abi_says_or_the_trap_it_says(told: Told) -> None:
    plugin = PROGRAM.instance(CONFIG, LIMITS, silent_host())
    plugin.load(struct.pack(f"<{1 + len(told.words)}I", told.result, *told.words) + told.rest)
    wanted = expected(told._replace(words=(*told.words, *(0,) * (8 - len(told.words)))))

    try:
        made = plugin.process("t", given_block(told.entries), told.entries, 10_000)
        came: bytes | str = made.block
        assert made.count <= 16 * told.entries + 16
        assert 0 <= made.dropped <= told.entries
    except PluginTrap as trapped:
        came = trapped.reason
    finally:
        plugin.close()

    assert came == wanted


@given(stories(), st.booleans())
@settings(max_examples=150)
def test_a_flush_and_a_saved_state_are_bytes_within_their_bounds_or_traps(told: Told, flush: bool) -> None:
    plugin = PROGRAM.instance(CONFIG, LIMITS, silent_host())
    plugin.load(struct.pack("<9I", told.result, *told.words) + told.rest)

    try:
        if flush:
            held = plugin.flush(1)
            size, most = (0 if held is None else len(held.block)), LIMITS.most_output(0)
        else:
            size, most = len(plugin.save() or b""), LIMITS.state_bytes
    except PluginTrap as trapped:
        assert trapped.reason in {"bad_pointer", "bad_result", "output", "refused"}  # noqa: PT017
    else:
        assert size <= most
    finally:
        plugin.close()


@given(place=NUMBERS)
@settings(max_examples=100)
def test_wherever_a_guest_says_its_buffer_is_nothing_is_written_outside(place: int) -> None:
    given = given_block(3)
    code = wat(buffer=f"(i32.const {place})", pages=PAGES)

    plugin = native.program(code, CONFIG).instance(CONFIG, LIMITS, Host("p", 0))
    try:
        made = plugin.process("t", given, 3, 10_000)
    except PluginTrap as trapped:
        assert (place, trapped.reason) == (0, "memory") or place + 4096 > SIZE  # noqa: PT017
    else:
        assert made.block is given
        assert place + 4096 <= SIZE
    finally:
        plugin.close()


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_bytes_that_are_no_module_are_refused_in_one_line(code: bytes) -> None:
    for attempt in (code, b"\0asm\1\0\0\0" + code):
        with pytest.raises(PluginLoadError) as refused:
            native.program(attempt, CONFIG)
        assert str(refused.value)
        assert "\n" not in str(refused.value)


def test_mutated_modules_are_refused_trapped_or_work_and_never_end_the_process() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "filters" / "fuzz_native.py"), "1", "600"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
        env={**os.environ, "LOGLLM_CODE_CACHE": "", "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT}"},
    )

    assert done.returncode == 0, done.stderr[-3000:]
    counts = dict(line.split("=") for line in done.stdout.split())
    assert int(counts["refused"]) > 100
    assert int(counts["filtered"]) > 10
