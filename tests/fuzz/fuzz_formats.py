"""The formats of log lines, each by its name, over any bytes: JSON, logfmt, syslog, containers, headers, plain text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from logllm.sources.file_lines import LineSplitter
from logllm.sources.file_open import Recoder
from logllm.sources.formats.detect import NAMES, by_name, detect
from tests.fuzz.columns import check_columns
from tests.fuzz.inputs import Choices
from tests.fuzz.lines import LINES, stretched

if TYPE_CHECKING:
    from logllm.sources.formats.line_format import LineFormat

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1000

_NOW = 1_700_000_000_000_000_000
# These ask every notation at every place first, so they have one input in sixteen.
_LEARNED = ("plain", "python", "log4j")
_QUICK = tuple(name for name in NAMES if name not in _LEARNED)


def check(data: bytes) -> None:
    """Lines become records: as many as there are lines without `join`, no more than that with it."""
    choices = Choices(data)
    learned = choices.below(16) == 15
    name = choices.one_of(_LEARNED if learned else _QUICK)
    long = choices.below(64)
    lines = _lines(stretched(choices.rest(), long))
    chosen: LineFormat
    if learned and long % 4 == 1:
        chosen = detect(lines, reference_ns=_NOW, default_service="svc")
    else:
        chosen = by_name(name, reference_ns=_NOW, default_service="svc", tz=("UTC", "Europe/Berlin")[long % 2])
    each = chosen.parse(lines, join=False)
    messages = check_columns(each, most_lines=len(lines))
    assert len(messages) == len(lines)
    joined = chosen.parse(lines)
    assert len(check_columns(joined, most_lines=len(lines))) <= len(lines)
    assert 0 <= chosen.unfinished(lines) <= len(lines)
    assert 0 <= chosen.misses <= len(lines)


def _lines(data: bytes) -> list[str]:
    recoder, splitter = Recoder(), LineSplitter(Counter(), max_line_bytes=1 << 16)
    return splitter.feed(recoder.feed(data)) + splitter.feed(recoder.finish()) + splitter.finish()


def seeds() -> list[bytes]:
    """A few lines of every format, read as that and as its neighbour."""
    found = []
    for number, (name, lines) in enumerate(LINES.items()):
        if name in _QUICK:
            found.append(bytes([0, _QUICK.index(name), number % 2]) + lines)
            found.append(bytes([1, (_QUICK.index(name) + number) % len(_QUICK), number % 2]) + lines)
        found.append(bytes([15, number, number % 4]) + lines)
    return found
