"""Bytes to lines: ends of lines, broken UTF-8, lines without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter

__all__ = ["INVALID_UTF8", "LINE_CUT", "MAX_LINE_BYTES", "NUL", "LineSplitter"]

MAX_LINE_BYTES = 65_536
LINE_CUT = "line cut"
INVALID_UTF8 = "invalid UTF-8"
NUL = "NUL bytes"


class LineSplitter:
    """Cuts a stream of bytes into lines of text; the last, unfinished line waits for more bytes.

    Ends of lines are "\\n" and "\\r\\n". Bytes that are no UTF-8 become U+FFFD, NULs vanish, a line longer than
    `max_line_bytes` loses its rest; each such line is counted. Never holds more than that of an unfinished line.
    """

    def __init__(self, counts: Counter[str], *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._counts = counts
        self._max = max_line_bytes
        self._rest = b""
        self._cutting = False

    @property
    def waiting(self) -> int:
        """Bytes of the unfinished line that are held."""
        return len(self._rest)

    def feed(self, block: bytes) -> list[str]:
        """The lines that end in `block`."""
        if self._cutting:
            end = block.find(b"\n")
            if end < 0:
                return []
            self._cutting = False
            block = block[end + 1 :]
        data = self._rest + block if self._rest else block
        end = data.rfind(b"\n")
        lines = self._lines(data[:end]) if end >= 0 else []
        self._rest = data[end + 1 :]
        if len(self._rest) > self._max:
            lines += self.finish()
            self._cutting = True
        return lines

    def finish(self) -> list[str]:
        """The unfinished line, which no more bytes will end; none if there is none."""
        rest, self._rest = self._rest, b""
        return self._lines(rest) if rest else []

    def _lines(self, data: bytes) -> list[str]:
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
            data = data[:-1] if data.endswith(b"\r") else data
        if b"\0" in data:
            self._counts[NUL] += sum(b"\0" in line for line in data.split(b"\n"))
            data = data.replace(b"\0", b"")
        try:
            lines = data.decode().split("\n")
        except UnicodeDecodeError:
            lines = [self._decode(line) for line in data.split(b"\n")]
        if max(map(len, lines)) * 4 > self._max:
            lines = [self._cut(line) for line in lines]
        return lines

    def _decode(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError:
            self._counts[INVALID_UTF8] += 1
            return line.decode("utf-8", "replace")

    def _cut(self, line: str) -> str:
        if len(line) * 4 <= self._max:
            return line
        data = line.encode()
        if len(data) <= self._max:
            return line
        self._counts[LINE_CUT] += 1
        return data[: self._max].decode("utf-8", "ignore")
