"""Compressed payloads of the forward protocol, inflated under a limit."""

from __future__ import annotations

import zlib

from logllm.errors import ProtocolError

__all__ = ["compression_of", "inflate"]

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}

# Fluentd appends a gzip member for each emit, so a chunk may hold tens of thousands; every member costs
# a fresh window, so there must be an end.
_MAX_MEMBERS = 200_000
_FIRST_SLICE = 4096
_SLICE = 262_144
# A zstd block of 4 bytes can stand for 128 KiB: small slices bound what one call may give (8 MiB).
_ZSTD_SLICE = 256
_ZSTD_WINDOW = 1 << 25


def compression_of(payload: bytes) -> str | None:
    """How a packed payload is compressed, by its magic: neither can begin a MessagePack entry."""
    return _MAGIC.get(payload[:2])


def inflate(payload: bytes, kind: str, limit: int) -> bytes:
    """The bytes in a payload of gzip members or zstd frames, one after the other.

    Args:
        payload: The compressed bytes, whole.
        kind: "gzip" or "zstd".
        limit: Bytes it may inflate to.

    Raises:
        ProtocolError: it is damaged, cut off, or inflates to more than `limit`.
    """
    return _gunzip(payload, limit) if kind == "gzip" else _unzstd(payload, limit)


def _gunzip(payload: bytes, limit: int) -> bytes:
    view = memoryview(payload)
    out: list[bytes] = []
    left, at = limit, 0
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(31)
        step = _FIRST_SLICE
        while not member.eof:
            data = member.unconsumed_tail or view[at : at + step]
            if not data:
                raise ProtocolError(f"gzip payload ends early: {len(payload)} bytes, its last member is not whole")
            if data is not member.unconsumed_tail:
                at += len(data)
                step = _SLICE
            try:
                piece = member.decompress(data, left + 1)
            except zlib.error as error:
                raise ProtocolError(f"gzip payload is damaged: {error}") from error
            left -= len(piece)
            if left < 0:
                raise ProtocolError(f"gzip payload of {len(payload)} bytes inflates to more than {limit} bytes")
            out.append(piece)
        at -= len(member.unused_data)
        if at == len(payload):
            return b"".join(out)
    raise ProtocolError(f"gzip payload of more than {_MAX_MEMBERS} members")


def _unzstd(payload: bytes, limit: int) -> bytes:
    import zstandard

    view = memoryview(payload)
    out: list[bytes] = []
    left, at = limit, 0
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    for _ in range(_MAX_MEMBERS):
        frame = decompressor.decompressobj()
        while not frame.eof:
            data = view[at : at + _ZSTD_SLICE]
            if not data:
                raise ProtocolError(f"zstd payload ends early: {len(payload)} bytes, its last frame is not whole")
            try:
                piece = frame.decompress(data)
            except zstandard.ZstdError as error:
                raise ProtocolError(f"zstd payload is damaged: {error}") from error
            at += len(data)
            left -= len(piece)
            if left < 0:
                raise ProtocolError(f"zstd payload of {len(payload)} bytes inflates to more than {limit} bytes")
            out.append(piece)
        at -= len(frame.unused_data)
        if at == len(payload):
            return b"".join(out)
    raise ProtocolError(f"zstd payload of more than {_MAX_MEMBERS} frames")
