"""The forward protocol's receiver over any bytes: small frames, cut as the input says, under small limits."""

from __future__ import annotations

from logllm.sources.forward.protocol import Limits
from tests.fuzz.frames import ENTRIES, captures, frames, received
from tests.fuzz.inputs import Choices, pieces

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1500

_LIMITS = [
    Limits(frame_bytes=frame_bytes, inflated_bytes=inflated_bytes)
    for frame_bytes, inflated_bytes in ((1 << 16, 1 << 16), (200, 1 << 16), (1 << 16, 100), (40, 40))
]
_BUILT = (
    *ENTRIES, b"\x92\xa1t", b"\x93\xa1t", b"\x94\xa1t", b"\x93\xa1t\5", b"\x81\xa5chunk\xa1x", b"\x80", b"\xc0",
    b"\x91", b"\x92", b"\x93", b"\xdc\0\2", b"\xdd\0\0\0\3", b"\x81\xaacompressed\xa4gzip", b"\x81\xadfluent_signal\2",
    b"\xc4\x10", b"\xd9\x20", b"\xc1", b"\x81\xa4size\xff", b"\x81\xa8metadata\x81\xa1m\1", b"\xd4\5\0", b"\xa0",
)  # fmt: skip


def check(data: bytes) -> None:
    """Cut in whatever way, the same comes of a stream."""
    choices = Choices(data)
    limits = choices.one_of(_LIMITS)
    steps = (1 + choices.below(256), 1 + choices.below(40), 1 + choices.below(4))
    built = choices.below(4) == 3
    stream = choices.rest()
    if built:
        stream = b"".join([_BUILT[byte % len(_BUILT)] for byte in stream[:60]])

    at_once = received((stream,), limits)
    cut = received(pieces(stream, steps), limits)

    assert cut == at_once


def seeds() -> list[bytes]:
    """Recorded and made frames under each of the limits, cut and whole; and some put together from parts."""
    streams = captures() + frames()
    streams.append(b"".join(frames()[:8]))
    heads = (b"\0\xff\xff\3\0", b"\0\6\2\0\1", b"\1\x10\1\1\0", b"\2\1\x20\1\2")
    found = [heads[number % len(heads)] + stream for number, stream in enumerate(streams)]
    found += [heads[1][:4] + b"\3" + bytes(range(start, start + 12)) for start in range(0, 30, 6)]
    return found
