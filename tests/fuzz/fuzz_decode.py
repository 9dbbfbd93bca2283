"""Blocks of entries to columns: any entry the receiver lets through, several blocks of one tag after each other."""

from __future__ import annotations

from itertools import count

from logllm.events import Chunk
from logllm.sources.decode import Decoder
from logllm.sources.decode_lines import detected
from tests.fuzz.columns import check_columns
from tests.fuzz.frames import ENTRIES, let_in
from tests.fuzz.inputs import Choices
from tests.sources.odd_entries import Odd

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1500

_NOW = 1_800_000_000_000_000_000
# To make one costs more than to use it. What it has learned of a tag is not used for the next input.
_DECODERS = (Decoder(), Decoder(detected))
_numbers = count()
_TAGS = ("app.web", "", "kube.var.log.containers.cart-7d9_shop_main-0123456789abcdef.log", "a\0b")


def check(data: bytes) -> None:
    """Every entry is there, in order, as one row of columns that hold what they must."""
    choices = Choices(data)
    tag = f"{next(_numbers)}.{choices.one_of(_TAGS)}"
    decoder = choices.one_of(_DECODERS)
    now = (_NOW, 0)[choices.below(2)]
    places = sorted(choices.below(256) * 4 for _ in range(choices.below(3)))
    as_messages = choices.below(4) == 3
    stream = choices.rest()
    for start, end in zip((0, *places), (*places, len(stream)), strict=True):
        block, number = let_in(stream[start:end], as_messages=as_messages)
        if number:
            columns = decoder.decode(Chunk(tag, number, 0, block=block), now)
            assert len(columns) == number
            check_columns(columns)


def seeds() -> list[bytes]:
    """Entries of every kind, and such as nobody sends."""
    bodies = [b"".join(ENTRIES[:5]), b"".join(ENTRIES)]
    bodies += [b"".join(Odd(seed).entries())[:1200] for seed in range(20)]
    bodies += [Odd(seed).entry()[:1200] for seed in range(60)]
    found = [bytes([number % 4, number, number // 2, 0, 0]) + body for number, body in enumerate(bodies)]
    found += [bytes([number % 4, number, 0, 0, 3]) + body[1:] for number, body in enumerate([*bodies[-30:], *ENTRIES])]
    line = b"\x92\xce\x65\x53\xf1\0\x81\xa3log\xd9\x35Jan  2 03:04:05 host sshd[12]: Failed password for root\n"
    return [*found, b"\0\1\0\2\x40\x60\0" + line * 6]
