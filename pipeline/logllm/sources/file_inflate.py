"""Decompression that never makes more than it was asked for at once, and gives what is readable of a damaged file."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.sources.file_stats import ReadStats

__all__ = ["DAMAGED", "compression_of", "inflate"]

DAMAGED = "compressed data damaged"
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
# Small inputs bound what one call makes (zstandard knows no other bound), and what is lost with the call that fails.
_INPUT_BYTES = 16_384


def compression_of(head: bytes) -> str | None:
    """`gzip`, `bzip2`, `xz` or `zstd` by a file's first bytes; None for others."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def inflate(kind: str, blocks: Iterator[bytes], chunk_bytes: int, name: str, stats: ReadStats) -> Iterator[bytes]:
    """The decompressed blocks, of `chunk_bytes` at most (zstd: about). Several members in one file follow each other.

    Data that is damaged or ends early ends the blocks, with a notice in `stats`.
    """
    member: _Member | None = None
    for data in _slices(blocks):
        while True:
            if member is None or member.eof:
                if member is not None:
                    data = data.lstrip(b"\0")  # padding after the last member
                if not data:
                    break
                member = _member(kind)
            try:
                out = member.take(data, chunk_bytes)
            except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError, _zstd_error()) as error:
                _notice(stats, f"{name}: damaged {kind} data ({error}); what is readable before it was read")
                return
            if out:
                yield out
            data = member.left()
            if not data and not member.more():
                break
    if member is not None and not member.eof:
        _notice(stats, f"{name}: {kind} data ends early; what is there was read")


def _slices(blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        for start in range(0, len(block), _INPUT_BYTES):
            yield block[start : start + _INPUT_BYTES]


class _Member(Protocol):
    """One member of a compressed file: `take` gives at most so many bytes, `left` is the input it did not take,
    `more` tells whether it has output for no further input."""

    @property
    def eof(self) -> bool: ...
    def take(self, data: bytes, most: int) -> bytes: ...
    def left(self) -> bytes: ...
    def more(self) -> bool: ...


def _member(kind: str) -> _Member:
    if kind == "gzip":
        return _Gzip()
    if kind == "zstd":
        return _Zstd()
    return _Bzip2() if kind == "bzip2" else _Xz()


def _notice(stats: ReadStats, text: str) -> None:
    stats.skipped[DAMAGED] += 1
    stats.notices.append(text)


class _Gzip:
    """`zlib` keeps what it did not take in `unconsumed_tail`."""

    def __init__(self) -> None:
        self._one = zlib.decompressobj(wbits=31)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._one.eof

    def take(self, data: bytes, most: int) -> bytes:
        out = self._one.decompress(data, most)
        self._full = len(out) == most
        return out

    def left(self) -> bytes:
        return self._one.unused_data if self._one.eof else self._one.unconsumed_tail

    def more(self) -> bool:
        return self._full and not self._one.eof


class _Bzip2:
    """`bz2` and `lzma` keep their input themselves."""

    def __init__(self) -> None:
        self._one: bz2.BZ2Decompressor | lzma.LZMADecompressor = bz2.BZ2Decompressor()

    @property
    def eof(self) -> bool:
        return self._one.eof

    def take(self, data: bytes, most: int) -> bytes:
        return self._one.decompress(data, most)

    def left(self) -> bytes:
        return self._one.unused_data if self._one.eof else b""

    def more(self) -> bool:
        return not self._one.eof and not self._one.needs_input


class _Xz(_Bzip2):
    def __init__(self) -> None:
        self._one = lzma.LZMADecompressor()


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        self._one = zstandard.ZstdDecompressor().decompressobj()

    @property
    def eof(self) -> bool:
        return self._one.eof

    def take(self, data: bytes, most: int) -> bytes:
        return self._one.decompress(data)

    def left(self) -> bytes:
        return self._one.unused_data if self._one.eof else b""

    def more(self) -> bool:
        return False


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError
