"""Lines to chunks: finds the format, keeps back the record that is not finished, numbers the lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from logllm.events import Chunk, Origin
from logllm.sources.formats.detect import detect_in, named_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from logllm.events import Columns
    from logllm.sources.file_stats import ReadStats
    from logllm.sources.formats.line_format import LineFormat, Reading

__all__ = ["CHUNK_LINES", "RecordReader"]

CHUNK_LINES = 8_000
# A format told by fewer lines than this is told anew when there are twice as many.
_SURE = 200
_CHANGED = 20


class RecordReader:
    """Turns the lines of one file into chunks.

    The last record is kept back while the next line may continue it; `flush` gives it away. A file that turns out to
    be in another format than its first lines said, or that changes its format, is noticed and read in that one.

    Args:
        tag: the chunks' tag, a file's name.
        path: the chunks' origin.
        format_name: a format's name, or `auto`.
        keep_raw: fill `Columns.raw`.

    Raises:
        ConfigError: there is no such format.
    """

    def __init__(
        self,
        tag: str,
        path: str,
        reading: Reading,
        stats: ReadStats,
        *,
        format_name: str = "auto",
        keep_raw: bool = False,
    ) -> None:
        self._tag = tag
        self._origin = Origin(peer=path)
        self.reading = reading
        self._stats = stats
        self._auto = format_name == "auto"
        self._keep_raw = keep_raw
        self._format: LineFormat | None = None if self._auto else named_in(format_name, reading)
        self._held: list[str] = []
        self._sample: list[str] = []
        self._told_by = 0
        self._recheck_at = 1
        self._chunks = 0
        self._bytes = 0
        self._number = 1  # of the first line in `_held`, or of the next one

    @property
    def format_name(self) -> str:
        """The format in use; "" before the first line."""
        return "" if self._format is None else self._format.name

    @property
    def held(self) -> int:
        """Lines kept back."""
        return len(self._held)

    def feed(self, lines: list[str], size_bytes: int) -> list[Chunk]:
        """The chunks that are complete with these lines; `size_bytes` is what they took in the file."""
        self._bytes += size_bytes
        self._stats.bytes += size_bytes
        self._stats.lines += len(lines)
        chunks: list[Chunk] = []
        for start in range(0, len(lines), CHUNK_LINES):
            part = self._held + lines[start : start + CHUNK_LINES]
            chosen = self._choose(part)
            back = chosen.unfinished(part)
            if back > self.reading.max_record_lines:
                back = 0
            self._held = part[len(part) - back :]
            chunks += self._parse(part[: len(part) - back] if back else part)
        return chunks

    def flush(self) -> list[Chunk]:
        """The record that was kept back."""
        held, self._held = self._held, []
        return self._parse(held)

    def restart(self) -> None:
        """Number lines from 1 again: the file begins anew. What was held must have been flushed."""
        self._number = 1

    def _choose(self, part: list[str]) -> LineFormat:
        if self._auto and self._told_by < _SURE:
            self._sample = (self._sample + part[len(self._held) :])[: 2 * _SURE]
            if len(self._sample) >= max(1, 2 * self._told_by):
                self._told_by = len(self._sample)
                self._format = detect_in(self._sample, self.reading)
        if self._format is None:
            self._format = detect_in(part, self.reading)
        return self._format

    def _parse(self, lines: list[str]) -> list[Chunk]:
        if not lines or self._format is None:
            return []
        before = self.reading.last_ns
        columns = self._format.parse(lines)
        if self._auto and self._told_by >= _SURE:
            columns = self._reconsider(self._format, lines, columns, before)
        first = self._number
        self._number += len(lines)
        if not len(columns):
            return []
        if columns.position is not None:
            if self._keep_raw:
                columns.raw = _raw(lines, columns.position)
            columns.position = columns.position + first
        self._stats.records += len(columns)
        self._stats.skipped.update({reason: count for reason, count in self.reading.counts.items() if count})
        self.reading.counts.clear()
        chunk = Chunk(self._tag, len(columns), self._bytes, self._origin, columns=columns)
        self._bytes = 0
        return [chunk]

    def _reconsider(self, old: LineFormat, lines: list[str], columns: Columns, last_ns: int | None) -> Columns:
        """The columns in another format where `lines` fit that much better."""
        self._chunks += 1
        text = old.name == "text"
        if text and self._chunks >= self._recheck_at:
            self._recheck_at *= 2
        elif text or old.misses < max(_CHANGED, len(lines) // 2):
            return columns
        trial = replace(self.reading, last_ns=last_ns, counts=Counter())
        other = detect_in(lines, trial)
        found = other.parse(lines)
        if other.name == "text" or (not text and other.misses * 2 > old.misses):
            return columns
        self._format = detect_in(lines, self.reading)
        self.reading.last_ns, self.reading.counts = trial.last_ns, trial.counts
        return found


def _raw(lines: list[str], starts: NDArray[np.int64]) -> list[str]:
    """Each record's lines as one text; empty lines after it are no part of it. `starts`: int64[n], its first line."""
    ends = [*starts[1:].tolist(), len(lines)]
    return [
        lines[start] if end - start == 1 else "\n".join(lines[start:end]).rstrip("\n")
        for start, end in zip(starts.tolist(), ends, strict=True)
    ]
