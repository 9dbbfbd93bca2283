"""NDJSON in and out: lines from a stream as they come, records as lines."""

from __future__ import annotations

import io
import json
import os
import select
import time
from typing import TYPE_CHECKING, BinaryIO

from logllm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["BATCH_RECORDS", "LINE_BYTES", "Line", "batches", "records_of", "written_time"]

BATCH_RECORDS = 1_000
BATCH_BYTES = 8 << 20
LINE_BYTES = 16 << 20

_READ_BYTES = 1 << 18

Line = tuple[int, bytes | None]
"""A line's number, from 1, and its text; None where it is longer than LINE_BYTES."""


def batches(stream: BinaryIO, idle_s: float = 1.0) -> Iterator[list[Line]]:
    """Lines, up to BATCH_RECORDS together, or what there is when the input pauses. Empty lines are left out.

    An empty list is given about once in `idle_s` while nothing comes, for what is to be done from time to time.
    """
    try:
        handle = stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        handle = -1
    pending: list[Line] = []
    size = 0
    for line in _lines(stream) if handle < 0 else _lines_of(handle, idle_s):
        if line is not None:
            pending.append(line)
            size += len(line[1] or b"")
            if len(pending) < BATCH_RECORDS and size < BATCH_BYTES:
                continue
        yield pending
        pending, size = [], 0
    if pending:
        yield pending


def _lines(stream: BinaryIO) -> Iterator[Line | None]:
    for number, line in enumerate(stream, 1):
        text = line.strip()
        if text:
            yield number, text if len(text) <= LINE_BYTES else None


def _lines_of(handle: int, idle_s: float) -> Iterator[Line | None]:
    """The lines of a file descriptor; None where it pauses."""
    number = 0
    rest = bytearray()
    too_long = paused = False
    while True:
        if not select.select([handle], [], [], idle_s if paused else 0)[0]:
            paused = True
            yield None
            continue
        paused = False
        chunk = os.read(handle, _READ_BYTES)
        *whole, last = chunk.split(b"\n")
        for end in whole:
            number += 1
            text = bytes(rest + end).strip()
            if too_long or len(text) > LINE_BYTES:
                yield number, None
            elif text:
                yield number, text
            rest.clear()
            too_long = False
        rest += last
        if len(rest) > LINE_BYTES:
            too_long = True
            rest.clear()
        if not chunk:
            text = bytes(rest).strip()
            if too_long or text:
                yield number + 1, None if too_long else text
            return


def records_of(path: Path) -> list[bytes]:
    """The records of a file, one JSON object a line.

    Raises:
        ConfigError: It cannot be read, or a line is no JSON object.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror or error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}:{number}: no JSON: {error}; expected one JSON object a line") from error
        if not isinstance(value, dict):
            raise ConfigError(f"{path}:{number}: expected a JSON object")
        found.append(line.strip())
    return found


def written_time(text: str | None) -> tuple[int, int]:
    """Seconds and nanoseconds as `--time` writes them, all nine digits kept; None is now.

    >>> written_time("1700000000.000000001"), written_time("1700000000.5")
    ((1700000000, 1), (1700000000, 500000000))

    Raises:
        ConfigError: It is no such time, or after the year 2106, which a record's time cannot tell.
    """
    if text is None:
        return divmod(time.time_ns(), 1_000_000_000)
    seconds, _, fraction = text.partition(".")
    digits = seconds + fraction
    right = digits.isascii() and digits.isdigit() and seconds and len(fraction) <= 9 and len(seconds) <= 10
    if not right or int(seconds) >= 1 << 32:
        raise ConfigError(f"--time {text!r}: expected seconds since 1970, such as 1700000000.000000001")
    return int(seconds), int(fraction.ljust(9, "0"))
