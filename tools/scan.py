"""Build `pipeline/logllm/sources/scan/scan.wasm` from the C beside it.

    python tools/scan.py            # needs `pip install ziglang==0.17.1` (a C compiler, 100 MB)

The same compiler gives the same bytes on every machine, so the module that is checked in can be checked.
"""

# ruff: noqa: S603 - the command is ours
from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "pipeline" / "logllm" / "sources" / "scan" / "scan.c"
MODULE = SOURCE.with_suffix(".wasm")
COMPILER = "0.17.1"

# No features beyond these: what wasmtime has had for years, on every processor.
FEATURES = "mvp+simd128+bulk_memory+sign_ext+nontrapping_fptoint+mutable_globals"
MEMORY = 6 << 20  # all of it, so that it cannot grow
FLAGS = (
    *("-target", "wasm32-freestanding", f"-mcpu={FEATURES}", "-std=c11", "-O3", "-Wall", "-Wextra", "-Werror"),
    *("-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all", f"-Wl,--initial-memory={MEMORY}", f"-Wl,--max-memory={MEMORY}"),
)


def compiler() -> str | None:
    """The version of the compiler that is installed; None where there is none."""
    try:
        return version("ziglang")
    except PackageNotFoundError:
        return None


def build(target: Path) -> None:
    """Compile to a file. Raises CalledProcessError with the compiler's words."""
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, SOURCE.name, "-o", str(target.resolve())]
    subprocess.run(command, check=True, cwd=SOURCE.parent, timeout=300)


def main() -> int:
    """Build it in its place."""
    if compiler() != COMPILER:
        print(f"ziglang {compiler()} is installed, expected {COMPILER}: pip install ziglang=={COMPILER}")
        return 1
    build(MODULE)
    print(f"{MODULE.relative_to(ROOT)}: {MODULE.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
