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
    import io
    from collections.abc import Iterator

    from logllm.sources.file_stats import ReadStats

__all__ = ["STDIN", "Recoder", "blocks_of", "check_text", "open_binary"]

STDIN = "-"
# A text file with a NUL this early is none; later ones are dropped and counted.
_LOOK_FOR_NUL = 8_192


def open_binary(path: str, *, wait: bool = True) -> BinaryIO:
    """A file opened for reading, unbuffered; without `wait` reads of a pipe return None when there is nothing.

    Raises:
        SourceError: it is missing, a directory or not readable; one line that names it.
    """
    name = Path(path).name or path
    try:
        file = open(  # noqa: SIM115 - the caller closes it
            path, "rb", buffering=0, opener=None if wait else _open_at_once
        )
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


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


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
    # Unbuffered, a read gives what is there at once, a typed line as well as a full pipe, and a thread that waits in it
    # holds no lock that the interpreter needs when it ends.
    stream: io.RawIOBase | BinaryIO = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    while block := stream.read(chunk_bytes):
        yield block


class Recoder:
    """Turns a text's bytes into UTF-8: UTF-16 by its byte order mark; a UTF-8 mark is taken off."""

    def __init__(self) -> None:
        self._decoder: codecs.IncrementalDecoder | None = None
        self._started = False

    def feed(self, block: bytes) -> bytes:
        """The block in UTF-8; the first must hold two bytes at least for a mark to be seen."""
        if not self._started and block:
            self._started = True
            if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                self._decoder = codecs.getincrementaldecoder("utf-16")("replace")
            block = block.removeprefix(codecs.BOM_UTF8)
        return block if self._decoder is None else self._decoder.decode(block).encode("utf-8", "replace")

    def finish(self) -> bytes:
        """What an unfinished character comes to."""
        return b"" if self._decoder is None else self._decoder.decode(b"", final=True).encode("utf-8", "replace")


def _text(name: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks in UTF-8 without byte order mark.

    Raises:
        SourceError: the first block is binary.
    """
    recoder = Recoder()
    checked = False
    for block in blocks:
        text = recoder.feed(block)
        if not checked and text:
            checked = True
            check_text(name, text)
        yield text
    yield recoder.finish()
