"""The rows of a CSV file from outside, whatever is in it: never more than one row of bounded length in memory."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LONGEST_ROW_CHARS", "csv_rows", "listed"]

LONGEST_ROW_CHARS = 1 << 20
"""More is no row but a quote that nobody has closed, or no CSV file at all."""

_GZIP = b"\x1f\x8b"
_MOST_LISTED = 50
_LONGEST_LISTED = 60
_DELIMITERS = ",\t;|"


@contextmanager
def csv_rows(path: Path | str, *, strict: bool = False) -> Iterator[Iterator[list[str]]]:
    """The rows, its head among them, separated by what its first line has most of; a byte order mark is taken off.

    What is compressed with gzip is read so, whatever its name; bytes that are no UTF-8 are replaced. It is read once
    from front to end, so a pipe will do; "-" is stdin. Cost: about a microsecond a row beyond the csv module's.

    Args:
        strict: Refuse a quote that stands where none may, or that is never closed.

    Raises:
        SourceError: It cannot be read, its compressed data are damaged or end early, a row is longer than
            LONGEST_ROW_CHARS, or with `strict` it is no CSV file.
    """
    csv.field_size_limit(LONGEST_ROW_CHARS)
    where = "stdin" if str(path) == "-" else str(path)
    try:
        with _opened(path) as binary:
            # Of a pipe that is slow one read may bring one byte; then it is taken for text, and refused as such.
            packed = binary.peek(2).startswith(_GZIP) or where.endswith(".gz")
            stream = gzip.GzipFile(fileobj=binary) if packed else binary
            with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="") as text:
                yield _rows(text, strict=strict, where=where)
    except zlib.error as error:
        raise SourceError(f"{where}: cannot read: damaged gzip data ({error})") from error
    except (OSError, EOFError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SourceError(f"{where}: cannot read: {said}") from error


def listed(head: list[str]) -> str:
    r"""The columns of a head for a message: one line, of bounded length, whatever they are called.

    >>> listed(["time", "a b", "x\ny"]), listed([])
    ("time, a b, 'x\\ny'", 'none: it is empty')
    """
    names = [name[:_LONGEST_LISTED] for name in head[:_MOST_LISTED]]
    return ", ".join(name if name.isprintable() and name else repr(name) for name in names) or "none: it is empty"


def _opened(path: Path | str) -> io.BufferedReader:
    if str(path) == "-":
        return open(sys.stdin.fileno(), "rb", closefd=False)
    try:
        return Path(path).open("rb")
    except ValueError as error:
        raise SourceError(f"{str(path)!r}: cannot read: {error}") from error


def _rows(text: io.TextIOWrapper, *, strict: bool, where: str) -> Iterator[list[str]]:
    lines = _Lines(text)
    at = 1
    try:
        head = next(lines, "")
        reader = csv.reader(lines.again(head), delimiter=max(_DELIMITERS, key=head.count), strict=strict)
        for row in reader:
            lines.taken, at = 0, reader.line_num + 1
            yield row
    except csv.Error as error:
        raise SourceError(f"{where}: no CSV file: in the row from line {at} on: {error}") from error


class _Lines:
    """Lines of a text, until more than a row's worth of them has been taken in a row."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_ROW_CHARS + 1)
        self.taken += len(line)
        if self.taken > LONGEST_ROW_CHARS:
            raise csv.Error(f"a row of more than {LONGEST_ROW_CHARS:,} characters")
        if not line:
            raise StopIteration
        return line

    def again(self, head: str) -> Iterator[str]:
        """This line, and then those that follow."""
        if head:
            yield head
            yield from self
