"""The transcoder in its sandbox: memory shared as arrays, one instance for each thread that uses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logllm.sinks.transcode import LONGEST_HEAD
from logllm.wasm.short_cut import FixedModule

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["MODULE", "Transcoder"]

MODULE = Path(__file__).with_name("transcode.wasm")

# As in transcode.c.
_INPUT, _OUTPUT, _ROOM = 1 << 18, 1 << 19, 512
_ABSENT = 4096
_WHOLE, _CUT, _FULL, _SLOW = range(4)

# The module declares all the memory it will ever have.
_MEMORY_BYTES = 2 << 20


class Transcoder:
    """One instance of the module. Not for several threads at once.

    Raises whatever wasmtime raises where it cannot be had: `logllm.sinks.transcode.transcoder` is the way to one.
    """

    def __init__(self) -> None:
        self._module = module = FixedModule(MODULE, _MEMORY_BYTES)
        self._call = module.function("transcode")
        layout = module.layout(6)
        self._input, self._head, self._output = (
            module.view(at, np.dtype("u1"), size)
            for at, size in zip(layout, (_INPUT, LONGEST_HEAD, _OUTPUT + _ROOM), strict=False)
        )
        self._found = module.view(layout[3], np.dtype("<u4"), 4)
        self._absent = module.view(layout[4], np.dtype("<f8"), _ABSENT)
        self._absent_at = module.view(layout[5], np.dtype("<u4"), _ABSENT)

    def lines(self, head: bytes, block: bytes, count: int, slowly: Callable[[bytes, int], tuple[bytes, int]]) -> bytes:
        """The first `count` entries of a block as lines.

        Args:
            head: What each line begins with, at most LONGEST_HEAD bytes.
            slowly: The line of the entry at a place of the block, and where that ends: asked for the entries that are
                left to Python, and for those that do not fit into the module's memory.

        Raises:
            ValueError: There are more bytes, or fewer entries; or whatever `slowly` raises.
        """
        source = np.frombuffer(block, np.uint8)
        self._head[: len(head)] = np.frombuffer(head, np.uint8)
        lines: list[bytes] = []
        at = 0
        while count and at < len(block):
            take = min(len(block) - at, _INPUT)
            self._input[:take] = source[at : at + take]
            inside = 0
            while count and inside < take:
                done = self._call(inside, take, len(head), min(count, 0x7FFFFFFF))
                inside, written, status, absent = self._found.tolist()
                begin = 0
                if absent:
                    for place, value in zip(self._absent_at[:absent].tolist(), self._absent.tolist(), strict=False):
                        lines += (self._output[begin:place].tobytes(), repr(value).encode())
                        begin = place
                lines.append(self._output[begin:written].tobytes())
                count -= done
                if status == _WHOLE or (status == _FULL and done):
                    continue
                if status == _CUT and inside and at + take < len(block):
                    break
                line, end = slowly(block, at + inside)
                lines.append(line)
                count -= 1
                inside = end - at
            at += inside
        if count or at != len(block):
            raise ValueError(f"block: {len(block) - at} bytes left and {count} entries to come, expected none of both")
        return b"".join(lines)
