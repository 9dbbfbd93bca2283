"""The scan in WebAssembly beside the Python it stands in for: large frames, cut as the input says, read by both."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from logllm.events import Chunk
from logllm.sources import scan
from logllm.sources.decode import Decoder
from logllm.sources.forward.entries import entries_of_stream
from logllm.sources.forward.protocol import Limits
from tests.fuzz.columns import seen
from tests.fuzz.frames import ENTRIES, captures, received
from tests.fuzz.inputs import Choices, pieces
from tests.sources.odd_entries import FILL, FILLED, Odd

if TYPE_CHECKING:
    from logllm.events import Columns
    from logllm.sources.forward.entries import Entries
    from tests.fuzz.frames import Outcome

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 2000

_NOW = 1_800_000_000_000_000_000
# To make one costs more than to use it. What it has learned of a tag is not used for the next input.
_SLOW_DECODER, _QUICK_DECODER = Decoder(), Decoder()
_numbers = count()
_LIMITS = (Limits(1 << 16, 1 << 16), Limits(5000, 1 << 16))
_OPTIONS = (b"", b"\xc0", b"\x81\xa5chunk\xa3abc", b"\x81\xa4size\5", b"\5", b"\xc1")


def check(data: bytes) -> None:
    """Nobody can tell which of the two has read a frame, or the records in it."""
    choices = Choices(data)
    kind, option = choices.below(3), choices.one_of(_OPTIONS)
    limits = _LIMITS[choices.below(8) == 7]
    more, step = choices.below(40), 64 + 20 * choices.below(256)
    body = choices.rest()
    try:
        if kind == 0:
            _check_block(body)
            return
        stream = bytes([0x93 if option else 0x92]) + b"\xa3app"
        if kind == 1:
            stream += b"\xdd" + (FILLED + more).to_bytes(4, "big") + FILL + body + option
        else:
            stream += b"\xc6" + (len(FILL) + len(body)).to_bytes(4, "big") + FILL + body + option
        scan.use(False)
        slowly = received((stream,), limits)
        scan.use(True)
        quickly = received(pieces(stream, (step, 1500)) if step % 100 else (stream,), limits)
        assert _alike(quickly, slowly)
    finally:
        scan.use(True)


def _alike(quickly: Outcome, slowly: Outcome) -> bool:
    # A byte that MessagePack never uses is seen by the scan once the entry around it ought to be whole.
    if slowly.refused and not quickly.refused and quickly.pending:
        quickly = replace(quickly, refused=True, pending=0)
    return quickly == slowly


def _check_block(body: bytes) -> None:
    block = FILL + body
    tag = f"{next(_numbers)}.web"
    scan.use(False)
    slowly = entries_of_stream(block, 0)
    columns = seen(_decoded(_SLOW_DECODER, tag, slowly))
    scan.use(True)
    quickly = entries_of_stream(block, 0)
    assert (quickly.block, quickly.count) == (slowly.block, slowly.count)
    assert (quickly.faults, quickly.markers) == (slowly.faults, slowly.markers)
    assert seen(_decoded(_QUICK_DECODER, tag, quickly)) == columns


def _decoded(decoder: Decoder, tag: str, entries: Entries) -> Columns:
    chunk = Chunk(tag, entries.count, len(entries.block), block=entries.block, scan=entries.scan)
    return decoder.decode(chunk, _NOW)


def seeds() -> list[bytes]:
    """Entries of every kind, and such as nobody sends, in blocks and frames."""
    bodies = [b"".join(ENTRIES[:5]), b"".join(ENTRIES), *captures(600)[:6]]
    bodies += [b"".join(Odd(seed).entries())[:1500] for seed in range(12)]
    bodies += [Odd(seed).entry()[:1500] for seed in range(40)]
    return [bytes([number % 3, number % 6, 0, 5, 3 * number]) + body for number, body in enumerate(bodies)]
