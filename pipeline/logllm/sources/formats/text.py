"""Text without any header: the line is the message, the time the last one known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logllm.sources.formats.line_format import columns_of
from logllm.sources.multiline import record_starts, unfinished_lines

if TYPE_CHECKING:
    from logllm.events import Columns
    from logllm.sources.formats.line_format import Reading

__all__ = ["TextFormat"]


class TextFormat:
    """A `LineFormat` for lines that say nothing about themselves; joins stack traces by their shape."""

    name = "text"

    def __init__(self, reading: Reading) -> None:
        self.misses = 0
        self._reading = reading

    def parse(self, lines: list[str], *, join: bool = True) -> Columns:
        """See `LineFormat.parse`."""
        starts = record_starts(lines) if join and lines else None
        if starts is None:
            messages = list(lines)
            position = np.arange(len(lines), dtype=np.int64)
        else:
            messages = self._reading.joined(lines, lines, starts)
            position = starts.astype(np.int64)
        times = self._reading.untimed(len(messages))
        return columns_of(times, messages, None, self._reading.default_service, position)

    def unfinished(self, lines: list[str]) -> int:
        """See `LineFormat.unfinished`."""
        return unfinished_lines(lines)
