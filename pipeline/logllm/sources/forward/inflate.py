"""Compressed payloads of the forward protocol, inflated under a limit."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import ProtocolError

if TYPE_CHECKING:
    import zstandard

__all__ = ["Inflated", "compression_of", "inflate"]

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}

# Fluentd appends a gzip member for each emit, so a chunk may hold tens of thousands; every member costs
# a fresh window, so there must be an end.
_MAX_MEMBERS = 200_000
_FIRST_SLICE = 4096
_SLICE = 262_144
# A zstd block of 4 bytes can stand for 128 KiB: small slices bound what one call may give (8 MiB).
_ZSTD_SLICE = 256
_ZSTD_WINDOW = 1 << 25


class Inflated(msgspec.Struct, frozen=True):
    """What a payload holds: all of it, what came before it was cut off, or the members before a damaged one.

    Where in a member the damage begins nobody can say: its checksum speaks for all of it.

    `fault` is why it is not all; empty where it is.
    """

    data: bytes
    fault: str = ""


def compression_of(payload: bytes) -> str | None:
    """How a packed payload is compressed, by its magic: neither can begin a MessagePack entry."""
    return _MAGIC.get(payload[:2])


def inflate(payload: bytes, kind: str, limit: int) -> Inflated:
    """The bytes in a payload of gzip members or zstd frames, one after the other.

    Args:
        payload: The compressed bytes, whole.
        kind: "gzip" or "zstd".
        limit: Bytes it may inflate to.

    Raises:
        ProtocolError: it inflates to more than `limit`, or has more members than can be read in good time.
    """
    return _gunzip(payload, limit) if kind == "gzip" else _unzstd(payload, limit)


class _Output:
    """Pieces up to a limit."""

    def __init__(self, payload: bytes, kind: str, limit: int) -> None:
        self._pieces: list[bytes] = []
        self._good = 0
        self._what = f"{kind} payload of {len(payload)} bytes"
        self._limit = self.left = limit

    def add(self, piece: bytes) -> None:
        self.left -= len(piece)
        if self.left < 0:
            raise ProtocolError(f"{self._what} inflates to more than {self._limit} bytes")
        self._pieces.append(piece)

    def member_ends(self) -> None:
        self._good = len(self._pieces)

    def before_damage(self, fault: str) -> Inflated:
        return Inflated(b"".join(self._pieces[: self._good]), fault)

    def so_far(self, fault: str = "") -> Inflated:
        return Inflated(b"".join(self._pieces), fault)


def _gunzip(payload: bytes, limit: int) -> Inflated:
    view = memoryview(payload)
    out = _Output(payload, "gzip", limit)
    at = 0
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(31)
        step = _FIRST_SLICE
        while not member.eof:
            data = view[at : at + step]
            if not data:
                return out.so_far("gzip payload ends early")
            at += len(data)
            step = _SLICE
            try:
                piece = member.decompress(data, out.left + 1)
            except zlib.error:
                return out.before_damage("gzip payload is damaged")
            out.add(piece)
        out.member_ends()
        at -= len(member.unused_data)
        if at == len(payload):
            return out.so_far()
    raise ProtocolError(f"gzip payload of more than {_MAX_MEMBERS} members")


def _unzstd(payload: bytes, limit: int) -> Inflated:
    import zstandard

    view = memoryview(payload)
    out = _Output(payload, "zstd", limit)
    at = 0
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    for _ in range(_MAX_MEMBERS):
        frame: zstandard.ZstdDecompressionObj = decompressor.decompressobj()
        while not frame.eof:
            data = view[at : at + _ZSTD_SLICE]
            if not data:
                return out.so_far("zstd payload ends early")
            try:
                piece = frame.decompress(data)
            except zstandard.ZstdError:
                return out.before_damage("zstd payload is damaged")
            at += len(data)
            out.add(piece)
        out.member_ends()
        at -= len(frame.unused_data)
        if at == len(payload):
            return out.so_far()
    raise ProtocolError(f"zstd payload of more than {_MAX_MEMBERS} frames")
