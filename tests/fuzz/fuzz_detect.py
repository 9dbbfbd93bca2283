"""A whole file's bytes to chunks: format told by the lines, in blocks as the input cuts them, records over blocks."""

from __future__ import annotations

from logllm.errors import SourceError
from logllm.sources.file_lines import LineSplitter
from logllm.sources.file_open import Recoder, check_text
from logllm.sources.file_records import RecordReader
from logllm.sources.file_stats import ReadStats
from logllm.sources.formats.line_format import Reading
from tests.fuzz.columns import check_columns
from tests.fuzz.inputs import Choices, check_refusal, pieces
from tests.fuzz.lines import LINES, stretched

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 500

_NOW = 1_700_000_000_000_000_000


def check(data: bytes) -> None:
    """Line numbers ascend over the whole file, each record's text is where it says, and what is cut is counted."""
    choices = Choices(data)
    steps = (60 + 4 * choices.below(256), 400)
    long = choices.below(64)
    most_line_bytes = (1 << 16, 100)[choices.below(4) == 3]
    keep_raw = choices.below(2) == 1
    text = stretched(choices.rest(), long)
    stats = ReadStats()
    reader = RecordReader("name", "path", Reading(_NOW, "svc"), stats, keep_raw=keep_raw)
    splitter = LineSplitter(stats.skipped, max_line_bytes=most_line_bytes)
    recoder = Recoder()
    try:
        check_text("name", text[:1000])
    except SourceError as error:
        check_refusal(error, "name: binary file")
    chunks = []
    for piece in pieces(text, steps):
        chunks += reader.feed(splitter.feed(recoder.feed(piece)), len(piece))
        assert splitter.waiting <= most_line_bytes
        assert reader.held <= reader.reading.max_record_lines
    chunks += reader.feed(splitter.feed(recoder.finish()) + splitter.finish(), 0) + reader.flush()

    last = records = size = 0
    for chunk in chunks:
        columns = chunk.columns
        assert columns is not None
        assert columns.position is not None
        assert chunk.count == len(columns) > 0
        first = int(columns.position[0])
        assert first > last
        columns.position -= 1
        messages = check_columns(columns, most_lines=stats.lines)
        last = int(columns.position[-1]) + 1
        assert all(len(message) <= max(most_line_bytes, reader.reading.max_record_chars) for message in messages)
        if keep_raw:
            assert columns.raw is not None
            assert len(columns.raw) == len(columns)
        records += chunk.count
        size += chunk.size_bytes
    assert records == stats.records
    assert size <= stats.bytes == len(text)
    assert all(count > 0 for count in stats.skipped.values())


def seeds() -> list[bytes]:
    """A few lines of every format; two formats after each other."""
    every = [lines[:450] for lines in LINES.values()]
    found = [bytes([3 * number, 0, number % 4, number % 2]) + lines for number, lines in enumerate(every)]
    both = zip(every, every[3:], strict=False)
    found += [bytes([number, 0, 0, 1]) + one[:240] + b"\n" + other[:240] for number, (one, other) in enumerate(both)]
    return [*found, b"\x40\x3f\0\0" + LINES["plain"], b"\x40\x3d\3\1" + LINES["json"]]
