"""Opens what a path names as a stream of text bytes: plain, compressed, UTF-16, or stdin."""

from __future__ import annotations

import codecs
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from logllm.errors import SourceError
from logllm.sources.file_inflate import compression_of, inflate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.sources.file_stats import ReadStats

__all__ = ["STDIN", "blocks_of", "check_text", "open_binary", "recoded"]

STDIN = "-"
# A text file with a NUL this early is none; later ones are dropped and counted.
_LOOK_FOR_NUL = 8_192


def open_binary(path: str) -> BinaryIO:
    """A file opened for reading, unbuffered.

    Raises:
        SourceError: it is missing, a directory or not readable; one line that names it.
    """
    name = Path(path).name or path
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 - the caller closes it
    except FileNotFoundError:
        raise SourceError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise SourceError(f"{name}: is a directory, expected a file") from None
    except PermissionError:
        raise SourceError(f"{name}: permission denied") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{name}: cannot be opened: {reason}") from None
    if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
        file.close()
        raise SourceError(f"{name}: is a directory, expected a file")
    return file


def check_text(name: str, head: bytes) -> None:
    """Raise if the first bytes of a file are not those of a text.

    Raises:
        SourceError: there is a NUL among them.
    """
    at = head[:_LOOK_FOR_NUL].find(b"\0")
    if at >= 0:
        raise SourceError(f"{name}: binary file (NUL byte at offset {at}), expected text")


def blocks_of(path: str, *, chunk_bytes: int, stats: ReadStats) -> Iterator[bytes]:
    """The text of a file in blocks of about `chunk_bytes`, decompressed and in UTF-8. "-" is stdin.

    A compressed file that ends early or is damaged gives what can be read and a notice in `stats`.

    Raises:
        SourceError: it cannot be opened or is binary.
    """
    name = "stdin" if path == STDIN else Path(path).name
    if path == STDIN:
        yield from _text(name, _stdin(chunk_bytes))
        return
    with open_binary(path) as file:
        head = _read(file, 16, name)
        kind = compression_of(head)
        file_blocks = _file(file, head, chunk_bytes, name)
        if kind is not None:
            file_blocks = inflate(kind, file_blocks, chunk_bytes, name, stats)
        yield from _text(name, file_blocks)


def _read(file: BinaryIO, count: int, name: str) -> bytes:
    try:
        return file.read(count) or b""
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {error.strerror}") from None


def _file(file: BinaryIO, head: bytes, chunk_bytes: int, name: str) -> Iterator[bytes]:
    block = head + _read(file, chunk_bytes, name)
    while block:
        yield block
        block = _read(file, chunk_bytes, name)


def _stdin(chunk_bytes: int) -> Iterator[bytes]:
    # Not through a buffer: what is there comes at once, a line that is typed or a full pipe.
    while block := os.read(sys.stdin.fileno(), chunk_bytes):
        yield block


def _text(name: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks in UTF-8 without byte order mark.

    Raises:
        SourceError: the first block is binary.
    """
    first = next(blocks, b"")
    decoded = recoded(first, blocks)
    head = next(decoded, b"")
    check_text(name, head)
    if head:
        yield head
    yield from decoded


def recoded(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """`first` and the rest as UTF-8: UTF-16 by its byte order mark, a UTF-8 mark taken off."""
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield decoder.decode(first).encode("utf-8", "replace")
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "replace")
        yield decoder.decode(b"", final=True).encode("utf-8", "replace")
        return
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from blocks
