"""A plugin in C that walks real msgpack, built by the compiler that authors use."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import PluginTrap
from tests.filters.native_guests import bring_up

SOURCE = Path(__file__).parent / "native_guest.c"
TARGET = ["-target", "wasm32-freestanding", "-O3", "-nostdlib", "-mbulk-memory", "-Wl,--no-entry", "-Wl,--strip-all"]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The module, compiled once."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs a C compiler for WebAssembly: pip install ziglang")
    out = tmp_path_factory.mktemp("built") / "guest.wasm"
    subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", *TARGET, str(SOURCE), "-o", str(out)], check=True, timeout=300
    )
    return out.read_bytes()


TIMES: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 2**40),
    st.floats(0, 2e9),
    st.binary(min_size=8, max_size=8).map(lambda raw: msgpack.ExtType(0, raw)),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=300)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=8), inner, max_size=18),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.text(max_size=8), VALUES, max_size=18).flatmap(
    lambda record: st.sampled_from(["debug", "error", "debugs", None]).map(lambda level: {**record, "level": level})
)


@given(
    entries=st.lists(st.tuples(TIMES, st.booleans(), RECORDS), max_size=8),
    answer=st.sampled_from(["keep", "replace"]),
)
@settings(max_examples=30)
def test_what_the_plugin_leaves_is_what_python_would_leave(
    code: bytes, entries: list[tuple[Any, bool, dict[str, Any]]], answer: str
) -> None:
    packed = [msgpack.packb([[time, {}] if meta else time, record]) for time, meta, record in entries]
    left = [raw for raw, (_, _, record) in zip(packed, entries, strict=True) if record["level"] != "debug"]
    plugin = bring_up(code, config={"answer": answer})

    made = plugin.process("app", b"".join(packed), len(packed), 10_000)
    plugin.close()

    assert made.block == b"".join(left)
    assert (made.count, made.dropped) == (len(left), len(packed) - len(left))


def test_blocks_of_every_size_follow_each_other_in_one_instance(code: bytes) -> None:
    plugin = bring_up(code)
    info, debug = (msgpack.packb([1, {"level": level, "n": "x" * 200}]) for level in ("info", "debug"))

    for size in (1, 1_000, 10, 20_000, 0, 3):
        made = plugin.process("app", (info + debug) * size, 2 * size, 10_000)
        assert made.block == info * size
        assert made.dropped == size


def test_bytes_that_are_no_entries_are_a_failure_that_says_so(code: bytes) -> None:
    plugin = bring_up(code)

    with pytest.raises(PluginTrap, match="an entry that is none") as trapped:
        plugin.process("app", b"\x92\x01\xa5level", 1, 10_000)

    assert trapped.value.reason == "refused"


@given(st.binary(max_size=200), st.integers(0, 20))
@settings(max_examples=150)
def test_no_bytes_make_the_guest_leave_its_memory_or_its_time(code: bytes, block: bytes, count: int) -> None:
    plugin = bring_up(code)

    try:
        made = plugin.process("app", block, count, 10_000)
    except PluginTrap as trapped:
        assert trapped.reason in ("refused", "bad_result")  # noqa: PT017
    else:
        assert made.block == block or len(made.block) < len(block)
    finally:
        plugin.close()
