"""An optional short cut from entries to lines of JSON: one pass in C, compiled to WebAssembly.

Whatever it gives is what the Python code of `sinks/ndjson.py` would give; where it is in doubt, or wasmtime cannot be
loaded, that code does the work. `transcode.c` says how.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from logllm.wasm.short_cut import ShortCut

if TYPE_CHECKING:
    from logllm.sinks.transcode.host import Transcoder

__all__ = ["FEWEST_BYTES", "LONGEST_HEAD", "available", "transcoder", "use"]

_log = logging.getLogger("logllm.transcode")

FEWEST_BYTES = 256
"""Smaller blocks are written by Python before a call into the sandbox would be back."""

LONGEST_HEAD = 4096
"""Bytes of what each line begins with; the lines of longer tags are written by Python."""

_TEST = (
    b"\x92\x92\xd7\0\x65\x53\xf1\0\0\0\0\7\x81\xa1m\xc3"
    b'\x83\xa3log\xa5a"\n\xc3\xa9\1\x92\xc0\xff\xa1f\xcb\x3f\xf4\0\0\0\0\0\0'
)
_EXPECTED = '{"time":"1700000000.000000007","record":{"log":"a\\"\\né","1":[null,-1],"f":1.25},"metadata":{"m":true}}\n'


def _load() -> Transcoder:
    from logllm.sinks.transcode.host import Transcoder

    return Transcoder()


def _passes(loaded: Transcoder) -> bool:
    return loaded.lines(b'{"time":"', _TEST, 1, _never) == _EXPECTED.encode()


def _never(_block: bytes, at: int) -> tuple[bytes, int]:
    raise ValueError(f"it left the entry at byte {at} to Python")


_short_cut = ShortCut(_load, _passes, _log, "lines of JSON are written by Python alone")


def use(wanted: bool) -> None:
    """Whether entries may be transcoded in the sandbox from now on, in all threads."""
    _short_cut.use(wanted)


def available() -> bool:
    """Whether they are; loads what it takes (some 100 ms) the first time it is asked in a thread."""
    return transcoder() is not None


def transcoder() -> Transcoder | None:
    """This thread's transcoder; None where there is none."""
    return _short_cut.get()
