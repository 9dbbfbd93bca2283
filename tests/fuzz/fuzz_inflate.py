"""Compressed payloads and files: damaged, cut off, bombs; gzip, zstd, bzip2, xz."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib

import msgpack  # type: ignore[import-untyped]
import zstandard

from logllm.sources.file_inflate import compression_of, inflate
from logllm.sources.file_stats import ReadStats
from logllm.sources.forward.protocol import Limits
from tests.fuzz.frames import ENTRIES, received
from tests.fuzz.inputs import Choices, pieces

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1200

_KINDS = ("gzip", "zstd", "bzip2", "xz")
_FRAME_BYTES = 1 << 16
_BLOCK = b"".join(ENTRIES[:5])
_TEXT = b"2024-01-02 03:04:05 INFO hello 12\n" * 20
_LONG = _BLOCK * 200
_ZEROS = b"\0" * 300_000
_ENOUGH = 4 * len(_ZEROS)
# zstandard knows no bound for what a call gives, so a block of a frame may come at once.
_ZSTD_SLACK = 1 << 24


def _compressed(kind: str, data: bytes) -> bytes:
    if kind == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if kind == "zstd":
        return bytes(zstandard.compress(data))
    return bz2.compress(data) if kind == "bzip2" else lzma.compress(data, preset=0)


_WHOLE = {kind: [_compressed(kind, text) for text in (_BLOCK, _TEXT, _LONG, _ZEROS)] for kind in _KINDS}


def check(data: bytes) -> None:
    """What is readable is read, within its bound; the same however the bytes are cut."""
    choices = Choices(data)
    kind = choices.one_of(_KINDS)
    as_frame = choices.below(2) == 0
    made = choices.below(6)
    steps = (1 + choices.below(256), 1 + choices.below(16))
    limit = (100, 5000, 1 << 16)[choices.below(3)]
    rest = choices.rest()
    payload = rest if made >= 4 else _damaged(_WHOLE[kind][made], rest)
    if as_frame:
        _check_frame(payload, kind, limit)
    else:
        _check_file(payload, kind, steps, 64 + limit)


def _damaged(whole: bytes, changes: bytes) -> bytes:
    """Changed at places that the input names, three bytes each: where, and what to; the last ones cut it off or add."""
    made = bytearray(whole)
    for at in range(0, len(changes) - 2, 3):
        place = int.from_bytes(changes[at : at + 2], "little")
        if place >= 0xFF00:
            del made[-1 - changes[at + 2] :]
        elif place >= 0xFE00:
            made += whole[: changes[at + 2]]
        elif made:
            made[place % len(made)] = changes[at + 2]
    return bytes(made)


def _check_frame(payload: bytes, kind: str, limit: int) -> None:
    option = b"\x81\xaacompressed" + bytes(msgpack.packb(kind)) if kind in ("gzip", "zstd") else b"\x80"
    frame = b"\x93\xa1t" + bytes(msgpack.packb(payload)) + option
    outcome = received((frame,), Limits(_FRAME_BYTES, limit))
    given = sum(len(part) for event in outcome.events for part in event[2:] if isinstance(part, bytes))
    # What cannot be read is handed out as it came.
    assert given <= limit + len(payload)


def _check_file(payload: bytes, kind: str, steps: tuple[int, ...], most: int) -> None:
    taken: list[tuple[bytes, int]] = []
    for cuts in ((len(payload) + 1,), steps):
        stats = ReadStats()
        made = bytearray()
        for block in inflate(kind, pieces(payload, cuts), most, "name", stats):
            assert len(block) <= (most if kind != "zstd" else _ZSTD_SLACK)
            made += block
            if len(made) > _ENOUGH:
                break
        taken.append((bytes(made), stats.skipped.total()))
        assert all(notice.startswith("name: ") and "\n" not in notice for notice in stats.notices)
        assert stats.skipped.total() == len(stats.notices)
    if taken[0][1] == 0 and len(taken[0][0]) <= _ENOUGH:
        assert taken[0] == taken[1]
        if kind == "gzip" and payload:
            assert taken[0][0] == _gunzipped(payload)
    else:
        # What is lost at the damage, or left unread, depends on the cut; what is there is the beginning of the same.
        short, long = sorted((taken[0][0], taken[1][0]), key=len)
        assert long.startswith(short)
    assert payload or taken[0] == (b"", 0)
    assert compression_of(payload) in (None, *_KINDS)


def _gunzipped(payload: bytes) -> bytes:
    out = b""
    while payload:
        member = zlib.decompressobj(31)
        out += member.decompress(payload) + member.flush()
        payload = member.unused_data.lstrip(b"\0")
    return out


def seeds() -> list[bytes]:
    """Whole ones and damaged ones of each kind, read as a frame and as a file."""
    found = []
    for number, kind in enumerate(_KINDS):
        for as_file in (0, 1):
            head = bytes([number, as_file])
            found += [head + bytes([made, 10, 3, 2]) for made in range(4)]
            found.append(head + b"\0\x40\1\2" + b"\x05\0\x55\x20\0\1\0\xff\3")
            found.append(head + b"\1\x40\1\1" + b"\0\xfe\xff\0\xfe\x09")
            found.append(head + b"\4\1\1\2" + _WHOLE[kind][0])
            found.append(head + b"\5\xff\x0f\2" + _WHOLE[kind][0] + _WHOLE[kind][1])
    return found
