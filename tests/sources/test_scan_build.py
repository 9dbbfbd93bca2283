from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tools_scan", ROOT / "tools" / "scan.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_module_that_is_checked_in_is_what_its_source_compiles_to(tmp_path: Path) -> None:
    scan = tool()
    if scan.compiler() != scan.COMPILER:
        pytest.skip(f"ziglang {scan.COMPILER} is not installed: `make scan` does it")

    scan.build(tmp_path / "scan.wasm")

    assert (tmp_path / "scan.wasm").read_bytes() == scan.MODULE.read_bytes()


def test_the_module_asks_nothing_of_its_host_and_never_grows() -> None:
    wasmtime = pytest.importorskip("wasmtime", reason="the scan runs in wasmtime")

    module = wasmtime.Module.from_file(wasmtime.Engine(), str(tool().MODULE))

    (memory,) = (kind.type for kind in module.exports if isinstance(kind.type, wasmtime.MemoryType))
    assert [kind.name for kind in module.imports] == []
    assert memory.limits.min * 65_536 < 8 << 20
    assert memory.limits.max == memory.limits.min
