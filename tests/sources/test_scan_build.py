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


BUILT = pytest.mark.parametrize("module", list(tool().MODULES), ids=lambda module: module.stem)


@BUILT
def test_the_module_that_is_checked_in_is_what_its_source_compiles_to(module: Path, tmp_path: Path) -> None:
    builder = tool()
    if builder.compiler() != builder.COMPILER:
        pytest.skip(f"ziglang {builder.COMPILER} is not installed: `make scan` does it")

    builder.build(module, tmp_path / "built.wasm")

    assert (tmp_path / "built.wasm").read_bytes() == module.read_bytes()


@BUILT
def test_the_module_asks_nothing_of_its_host_and_never_grows(module: Path) -> None:
    wasmtime = pytest.importorskip("wasmtime", reason="the modules run in wasmtime")

    loaded = wasmtime.Module.from_file(wasmtime.Engine(), str(module))

    (memory,) = (kind.type for kind in loaded.exports if isinstance(kind.type, wasmtime.MemoryType))
    assert [kind.name for kind in loaded.imports] == []
    assert memory.limits.min * 65_536 == tool().MODULES[module] < 8 << 20
    assert memory.limits.max == memory.limits.min
