"""Large modules are compiled in a process of their own (`compile_child.py`): one that takes for ever can be ended."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from logllm.errors import PluginLoadError

__all__ = ["LARGE_BYTES", "LIMIT_S", "REFUSED", "abandon", "apart"]

LARGE_BYTES = 1 << 20
"""What is smaller is compiled where it is asked for: a process costs a fifth of a second, it at worst a few."""

LIMIT_S = 120.0

REFUSED = 3
_PACKAGE = Path(__file__).parents[2]
_running: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()


def apart(code: bytes, kind: str, stack_bytes: int, limit_s: float = LIMIT_S) -> bytes:
    """The machine code of a module, as wasmtime serialises it.

    Args:
        kind: "Module" or "Component".
        limit_s: Ended after so long.

    Raises:
        PluginLoadError: It is no module, or takes too long.
        OSError: No process can be started.
    """
    with tempfile.TemporaryDirectory(prefix="logllm-compile-") as folder:
        out = Path(folder) / "code"
        child = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-m", "logllm.wasm.compile_child", kind, str(stack_bytes), str(out)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [str(_PACKAGE), os.environ.get("PYTHONPATH")])),
            },
            start_new_session=True,  # Ctrl-C is for us
        )
        with _lock:
            _running.add(child)
        try:
            _, told = child.communicate(code, timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise PluginLoadError(f"it takes longer than {limit_s:g} s to compile") from None
        finally:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stderr):
                if pipe is not None:
                    pipe.close()
            with _lock:
                _running.discard(child)
        words = told.decode("utf-8", "replace").strip()
        if child.returncode == REFUSED:
            raise PluginLoadError(words[:500] or "wasmtime refused it")
        if child.returncode != 0:
            why = words.rpartition("\n")[2][:200] or f"its compiler ended with {child.returncode}"
            raise PluginLoadError(f"it cannot be compiled: {why}")
        return out.read_bytes()


def abandon() -> None:
    """End what is being compiled; whoever waits for it gets a PluginLoadError."""
    with _lock:
        for child in _running:
            child.kill()
