"""The process in which a large module is compiled.

python -m logllm.wasm.compile_child Module|Component STACK_BYTES OUT < code.wasm
"""

from __future__ import annotations

import sys
from pathlib import Path

from logllm.errors import PluginLoadError
from logllm.wasm import engine
from logllm.wasm.compile import REFUSED

__all__ = ["main"]


def main(args: list[str]) -> int:
    """Compile standard input; REFUSED where wasmtime refuses it."""
    kind, stack_bytes, out = args
    code = sys.stdin.buffer.read()
    try:
        Path(out).write_bytes(engine.compiled(code, kind, int(stack_bytes)))
    except PluginLoadError as error:
        sys.stderr.write(str(error))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
