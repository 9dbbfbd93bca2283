"""What the forward sink writes, read by the forward source: any entries that were let in come out as they were."""

from __future__ import annotations

from logllm.sinks.forward_frames import Packing
from logllm.sinks.parcel import Parcel
from logllm.sources.forward.entries import cut_entries
from logllm.sources.forward.protocol import Limits
from tests.fuzz.frames import ENTRIES, Outcome, let_in, received
from tests.fuzz.inputs import Choices
from tests.sources.odd_entries import Odd

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1500

_LIMITS = Limits(1 << 20, 1 << 20)
_PACKINGS = (
    Packing(),
    Packing(packed=True),
    Packing(compress="gzip", max_frame_bytes=300),
    Packing(compress="zstd"),
    Packing(max_frame_bytes=50),
    Packing(legacy_entries=True),
)
_TAGS = ("app.web", "", "é\ud800", "x" * 300)


def check(data: bytes) -> None:
    """Each frame is whole, says which ack it waits for, and together they hold the block."""
    choices = Choices(data)
    packing = choices.one_of(_PACKINGS)
    tag = choices.one_of(_TAGS)
    named = choices.below(3)
    as_messages = choices.below(4) == 3
    given, count = let_in(choices.rest(), as_messages=as_messages)
    if not count:
        return
    ids: tuple[bytes, ...] = ()
    if named == 1:
        ids = (b"id\xff\n",)
    elif named == 2:
        ids = tuple(b"%d" % number for number in range(count))
    parcel = Parcel(tag, given, count, chunk_ids=ids)

    frames = list(packing.frames(parcel))

    outcomes = [received((b"".join(frame.pieces),), _LIMITS) for frame in frames]
    assert all(frame.size_bytes == sum(map(len, frame.pieces)) for frame in frames)
    assert [outcome.acks for outcome in outcomes] == [[frame.chunk_id] for frame in frames]
    assert sum(outcome.records for outcome in outcomes) == count
    assert all(outcome.frames == 1 and not outcome.refused and not outcome.pending for outcome in outcomes)
    block = b"".join(map(_block, outcomes))
    if packing.legacy_entries:
        assert len(cut_entries(block)) == count
    else:
        assert block == given
    assert list(packing.frames(parcel)) == frames


def _block(outcome: Outcome) -> bytes:
    ((kind, _, block),) = outcome.events
    assert kind == "records"
    assert isinstance(block, bytes)
    return block


def seeds() -> list[bytes]:
    """Entries of every kind, and such as nobody sends, in every packing."""
    bodies = [b"".join(ENTRIES[:5]), b"".join(ENTRIES)]
    bodies += [b"".join(Odd(seed).entries())[:1200] for seed in range(24)]
    bodies += [Odd(seed).entry()[:1200] for seed in range(30)]
    found = [bytes([number % 6, number % 4, number // 2, 0]) + body for number, body in enumerate(bodies)]
    return found + [bytes([number, 0, 0, 3]) + body[1:] for number, body in enumerate([*bodies[-20:], *ENTRIES])]
