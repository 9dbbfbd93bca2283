"""Raw lines in records: what their shapes say of their headers, beside what the expression says of each line."""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]

from logllm.events import Chunk
from logllm.sources import scan
from logllm.sources.decode import Decoder
from logllm.sources.decode_lines import detected
from tests.fuzz.columns import check_columns, seen
from tests.fuzz.inputs import Choices
from tests.fuzz.lines import LINES

if TYPE_CHECKING:
    from logllm.sources.formats.line_format import LineFormat

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 600

_NOW = 1_800_000_000_000_000_000
_USUAL = tuple(lines.decode("utf-8", "replace").split("\n") for name, lines in LINES.items() if name != "utf-16")
_BLOCK_BYTES = 5000
_numbers = count()


@cache
def _format_of(place: int) -> LineFormat | None:
    return detected("", _USUAL[place] * 5, _NOW)


def _format_for(tag: str, lines: list[str], observed_ns: int) -> LineFormat | None:
    # To tell it from the lines costs more than all the rest; `fuzz_detect` does that.
    return _format_of(int(tag.split(".")[1]))


_SLOW_DECODER, _QUICK_DECODER = Decoder(_format_for), Decoder(_format_for)


def check(data: bytes) -> None:
    """Three blocks of a tag, so that what the first ones taught is used on the last: nobody can tell who read them."""
    choices = Choices(data)
    place = choices.below(len(_USUAL))
    usual = _USUAL[place]
    tag = f"{next(_numbers)}.{place}.{('web', 'var.log.containers.a_b_c.log')[choices.below(8) == 7]}"
    turns = [choices.below(10), choices.below(10)]
    odd = choices.rest().decode("utf-8", "replace").split("\n")[:12]
    try:
        for lines, turn in ((usual, 0), (usual * 3 + odd, turns[0]), (usual + odd, turns[1])):
            chunk = _chunk(tag, lines, turn)
            scan.use(False)
            slowly = _SLOW_DECODER.decode(chunk, _NOW)
            scan.use(True)
            quickly = _QUICK_DECODER.decode(chunk, _NOW)
            check_columns(quickly)
            assert seen(quickly) == seen(slowly)
    finally:
        scan.use(True)


def _chunk(tag: str, lines: list[str], turn: int) -> Chunk:
    """So many records that the scan reads them; the last digit of each line turns from one to the next."""
    entries: list[bytes] = []
    size = number = 0
    while size < _BLOCK_BYTES:
        line = lines[number % len(lines)]
        at = max(line.rfind(str(digit)) for digit in range(10))
        if turn and at >= 0:
            line = f"{line[:at]}{(int(line[at]) + turn * number) % 10}{line[at + 1 :]}"
        entries.append(b"\x92\xce\x65\x53\xf1\0\x81\xa3log" + bytes(msgpack.packb(line[:1000])))
        size += len(entries[-1])
        number += 1
    return Chunk(tag, number, size, block=b"".join(entries))


def seeds() -> list[bytes]:
    """Lines of every format among those of the same and of another."""
    texts = ["\n".join(lines).encode()[:590] for lines in _USUAL]
    found = [bytes([number, 0, 1, 3]) + text for number, text in enumerate(texts)]
    return found + [bytes([number, number, 2, 0]) + texts[number - 1] for number in range(len(texts))]
