"""Random and mutated .wasm files through the whole of a chain: a clear refusal or a counted failure, nothing else."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logllm.errors import PluginLoadError
from logllm.filters.chain import Filters
from logllm.filters.config import GRANTS, Limits, PluginConfig
from logllm.filters.interface import interface
from logllm.filters.loader import about, recognise
from logllm.filters.sections import MAGIC, append, plugin_section, sections, strip
from logllm.wasm.engine import engine
from tests.filters.lives import COUNTING, GLOBALS, LETTERS, STATE, Checks, fluent, texts
from tests.filters.native_guests import block, wat
from tests.filters.test_sections import COMPONENT, binary

IMPORTS = """(import "logllm" "log" (func (param i32 i32 i32)))
  (import "logllm" "kv_set" (func (param i32 i32 i32 i32) (result i32)))"""
GOOD = {
    "letters": binary(wat(LETTERS, more=GLOBALS, imports=IMPORTS)),
    "counting": append(binary(wat(COUNTING, more=STATE)), {"name": "x", "wants": ["kv"]}),
    "fluentbit": binary(fluent("(i32.store8 offset=6 (local.get $at) (i32.const 90)) (local.get $at)")),
    "component": append(COMPONENT, {"name": "y"}),
}
LIMITS = Limits(memory_bytes=1 << 20, time_ms=10, chunk_ms=40, init_ms=20, state_bytes=1000, kv_bytes=1000)
WORDS = ["a", "M", "D", "P"]


@pytest.fixture(autouse=True, scope="module")
def no_cache() -> Iterator[None]:
    """Thousands of broken modules are not worth keeping."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGLLM_CODE_CACHE", "")
        yield


def read_everything(code: bytes) -> None:
    """All that looks at bytes alone; each may refuse."""
    for look in (lambda one: list(sections(one)), interface, recognise, about, plugin_section, strip):
        said = ""
        try:
            look(code)
        except PluginLoadError as error:
            said = str(error)
        assert "\n" not in said


@given(st.binary(max_size=200), st.sampled_from([b"", MAGIC, MAGIC + b"\x01\0\0\0", MAGIC + b"\x0d\0\x01\0"]))
def test_any_bytes_are_read_or_refused(rest: bytes, begin: bytes) -> None:
    read_everything(begin + rest)


@given(
    kind=st.sampled_from([1, 2, 3, 7, 10, 11]),
    content=st.binary(max_size=60),
    component=st.booleans(),
)
def test_any_section_is_read_or_refused(kind: int, content: bytes, component: bool) -> None:
    begin = MAGIC + (b"\x0d\0\x01\0" if component else b"\x01\0\0\0")

    read_everything(begin + bytes([kind, len(content)]) + content)


def mutated(code: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, taken out, doubled or put elsewhere."""
    made = bytearray(code)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(8, len(made))
        other = chance.randrange(8, len(made))
        match chance.randrange(5):
            case 0:
                made[at] = chance.randrange(256)
            case 1:
                made[at] ^= 1 << chance.randrange(8)
            case 2:
                del made[at : at + chance.randint(1, 8)]
            case 3:
                made[at:at] = made[other : other + chance.randint(1, 16)]
            case _:
                made[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        if len(made) < 20:
            break
    return bytes(made)


def valid(code: bytes) -> bool:
    """Whether wasmtime takes it as a core module."""
    try:
        wasmtime.Module.validate(engine(), code)
    except wasmtime.WasmtimeError:
        return False
    return True


@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32))
def test_a_mutated_file_is_refused_or_its_failures_are_counted(name: str, seed: int) -> None:
    code = mutated(GOOD[name], random.Random(seed))
    read_everything(code)
    if valid(code):
        # What can run is never refused for what its sections look like to us.
        interface(code)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated.wasm"
        path.write_bytes(code)
        config = PluginConfig(path=str(path), limits=LIMITS, grants=list(GRANTS), breaker_failures=3)
        refused = None
        try:
            filters = Filters([config], check=Checks(), state_dir=Path(folder) / "state", ask=lambda *_: True)
        except PluginLoadError as error:
            refused = str(error)
        if refused is not None:
            assert str(path) in refused
            assert "\n" not in refused
            return
        for _ in range(3):
            passed = filters.apply("ingest", "t", "", block(*WORDS), len(WORDS))
            # Whatever it answered, what goes on is well-formed.
            assert Checks()(passed.block, passed.count) is not None
        filters.flush("ingest", 1000)
        filters.save()
        status = filters.status()[0]
        filters.close()

    assert status.records_in == 3 * len(WORDS)
    assert status.memory_bytes <= LIMITS.memory_bytes
    assert bool(status.failed_records) <= bool(status.failures)


# What a guest that goes wrong puts where its result is: each word is any number, or one near something that matters.
WORD = st.integers(0, 0xFFFF_FFFF) | st.sampled_from([0, 1, 4, 16, 64, 65_536, 262_144, 0xFFFF_FF00, 0xFFFF_FFFF])


@settings(max_examples=200)
@given(words=st.lists(WORD, min_size=8, max_size=8), at=st.sampled_from([64, 0, 262_112, 262_113]) | WORD)
def test_any_result_struct_at_any_pointer_is_a_counted_failure_or_well_formed_records(
    words: list[int], at: int
) -> None:
    stores = "".join(f"(i32.store (i32.const {64 + 4 * i}) (i32.const {word}))" for i, word in enumerate(words))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guest.wat"
        path.write_bytes(wat(f"{stores} (i32.const {at})"))
        filters = Filters([PluginConfig(path=str(path), limits=LIMITS)], check=Checks())

        passed = filters.apply("ingest", "t", "", block(*WORDS), 4)
        status = filters.status()[0]
        filters.close()

    assert Checks()(passed.block, passed.count) is not None
    if status.failures:
        assert status.failed_records > 0
    if status.failed_records == 4:
        assert texts(passed.block, passed.count) == WORDS
