"""An optional short cut for blocks of entries: one pass in C, compiled to WebAssembly, instead of several in Python.

Whatever it gives is what the Python code beside it would give; where it is in doubt, or wasmtime cannot be loaded, that
code does the work. `scan.c` says how.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from logllm.wasm.short_cut import ShortCut

if TYPE_CHECKING:
    from logllm.sources.scan.host import Part, Scanner

__all__ = ["FEWEST_BYTES", "available", "scan_block", "scanner", "use"]

_log = logging.getLogger("logllm.scan")

FEWEST_BYTES = 4096
"""Smaller blocks are read by Python before a call into the sandbox would be back."""

_LONGEST_BLOCK = 1 << 31
# One record in both forms of entry, and what must be found in it.
_TEST = (
    b"\x92\xce\x65\x53\xf1\x00\x82\xa3log\xa4a1b\n\xa5level\xa4info"
    b"\x92\x92\xd7\0\x65\x53\xf1\0\0\0\0\7\x80\x81\xa3msg\xa2ab"
)


def _load() -> Scanner:
    from logllm.sources.scan.host import Scanner

    return Scanner()


def _passes(loaded: Scanner) -> bool:
    from logllm.sources.scan.host import WHOLE

    parts, at, status = loaded.read(_TEST, 0, 2)
    if (at, status) != (len(_TEST), WHOLE) or len(parts) != 1:
        return False
    (part,) = parts
    times = [1_700_000_000_000_000_000, 1_700_000_000_000_000_007]
    same = part.text_code[0] == part.text_code[1] != 0 and part.level_code[0] != 0 == part.level_code[1]
    return bool(part.time_ns.tolist() == times and part.text_bytes.tolist() == [3, 2] and same and not part.slow.any())


_short_cut = ShortCut(_load, _passes, _log, "blocks are read by Python alone")


def use(wanted: bool) -> None:
    """Whether blocks may be scanned from now on, in all threads."""
    _short_cut.use(wanted)


def available() -> bool:
    """Whether blocks are scanned; loads what it takes (some 100 ms) the first time it is asked in a thread."""
    return scanner() is not None


def scanner() -> Scanner | None:
    """This thread's scanner; None where there is none."""
    return _short_cut.get()


def scan_block(block: bytes) -> Part | None:
    """All entries of a block by column; None where some of it is no plain entry, or nothing can be said."""
    if not FEWEST_BYTES <= len(block) < _LONGEST_BLOCK or (found := scanner()) is None:
        return None
    from logllm.sources.scan.host import WHOLE, Part

    found.refresh()
    parts, at, status = found.read(block, 0, len(block))
    return Part.joined(parts) if status == WHOLE and at == len(block) else None
