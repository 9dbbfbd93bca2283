"""Build our own WebAssembly modules, each from the C beside it: the scan of frames and the transcoder to JSON.

    python tools/scan.py            # needs `pip install ziglang==0.17.1` (a C compiler, 100 MB)

The same compiler gives the same bytes on every machine, so the modules that are checked in can be checked.
"""

# ruff: noqa: S603 - the command is ours
from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PACKAGE = ROOT / "pipeline" / "logllm"
MODULES = {
    _PACKAGE / "sources" / "scan" / "scan.wasm": 6 << 20,
    _PACKAGE / "sinks" / "transcode" / "transcode.wasm": 2 << 20,
}
"""Each with the bytes of its memory: all it will ever have, so that it cannot grow."""
COMPILER = "0.17.1"

# No features beyond these: what wasmtime has had for years, on every processor.
FEATURES = "mvp+simd128+bulk_memory+sign_ext+nontrapping_fptoint+mutable_globals"
FLAGS = (
    *("-target", "wasm32-freestanding", f"-mcpu={FEATURES}", "-std=c11", "-O3", "-Wall", "-Wextra", "-Werror"),
    *("-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all"),
)


def compiler() -> str | None:
    """The version of the compiler that is installed; None where there is none."""
    try:
        return version("ziglang")
    except PackageNotFoundError:
        return None


def build(module: Path, target: Path) -> None:
    """Compile the source of one of the modules to a file. Raises CalledProcessError with the compiler's words."""
    memory = (f"-Wl,--initial-memory={MODULES[module]}", f"-Wl,--max-memory={MODULES[module]}")
    source = module.with_suffix(".c")
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *memory, source.name, "-o", str(target.resolve())]
    subprocess.run(command, check=True, cwd=source.parent, timeout=300)


def main() -> int:
    """Build them in their places."""
    if compiler() != COMPILER:
        print(f"ziglang {compiler()} is installed, expected {COMPILER}: pip install ziglang=={COMPILER}")
        return 1
    for module in MODULES:
        build(module, module)
        print(f"{module.relative_to(ROOT)}: {module.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
