"""Reads a log file, once, from its start to its end."""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from logllm.fields import Wanted
from logllm.sources.file_lines import MAX_LINE_BYTES, LineSplitter
from logllm.sources.file_open import STDIN, blocks_of, open_binary
from logllm.sources.file_records import RecordReader
from logllm.sources.file_stats import ReadStats
from logllm.sources.file_years import first_year
from logllm.sources.formats.line_format import Reading, zone_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.events import Chunk

__all__ = ["ReadStats", "read_file", "service_of"]

_ROTATED = re.compile(
    r"(?:[._-]\d{1,3}|[._-]\d{4}-?\d\d-?\d\d(?:[T_.-]?[\d:.-]{2,8})?|\.(?:gz|bz2|xz|zst|old|bak|log|txt|out|json|jsonl|ndjson|err))$",
    re.IGNORECASE,
)
_CONTAINER_FILE = re.compile(r"[^_/]+_[^_/]+_(?P<container>[^_/]+)-[0-9a-f]{64}\.log")


def read_file(
    path: str | Path,
    *,
    format: str = "auto",  # noqa: A002 - the option's name
    service: str | None = None,
    tz: str = "UTC",
    reference_ns: int | None = None,
    chunk_bytes: int = 1 << 20,
    stats: ReadStats | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
    keep_raw: bool = False,
    wanted: Wanted | None = None,
) -> Iterator[Chunk]:
    """The records of a file as chunks of columns, in the file's order; memory stays flat however large the file is.

    Plain text, gzip, bzip2, xz and zstd are told by their first bytes; "-" is stdin. Broken UTF-8, NULs and lines
    longer than `max_line_bytes` are repaired and counted in `stats`. `position` is the line number from 1.

    Args:
        format: a name of `formats.detect.NAMES`, or `auto`: told by the first lines.
        service: the service of records that name none; by default the file's name without rotation suffixes.
        tz: the zone of times that name none.
        reference_ns: no time without a year lies after it; by default the file's mtime, the clock for pipes.
        stats: counts grow here.
        keep_raw: fill `Columns.raw`, for filters.
        wanted: the further fields that are read where a format has fields; by default those that are well known.

    Raises:
        SourceError: the file is missing, unreadable or a directory (at the call), or binary (at the first chunk).
        ConfigError: there is no such format or zone (at the call).
    """
    path = str(path)
    stats = ReadStats() if stats is None else stats
    year: int | None = None
    if path != STDIN:
        with open_binary(path, wait=False) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                reference_ns = status.st_mtime_ns if reference_ns is None else reference_ns
                year = first_year(file, status.st_size, reference_ns)
    reference_ns = time.time_ns() if reference_ns is None else reference_ns
    name = "stdin" if path == STDIN else PurePath(path).name
    service = service_of(path) if service is None else service
    reading = Reading(reference_ns, service, zone_named(tz), first_year=year, wanted=wanted or Wanted())
    reader = RecordReader(name, path, reading, stats, format_name=format, keep_raw=keep_raw)
    splitter = LineSplitter(stats.skipped, max_line_bytes=max_line_bytes)
    return _chunks(path, reader, splitter, chunk_bytes, stats)


def _chunks(
    path: str, reader: RecordReader, splitter: LineSplitter, chunk_bytes: int, stats: ReadStats
) -> Iterator[Chunk]:
    for block in blocks_of(path, chunk_bytes=chunk_bytes, stats=stats):
        yield from reader.feed(splitter.feed(block), len(block))
    yield from reader.feed(splitter.finish(), 0)
    yield from reader.flush()


def service_of(path: str) -> str:
    """The service a file is named for: its name without suffixes of kind and rotation; "" for stdin.

    Kubernetes names the container in the file (`/var/log/containers`) or the folder (`/var/log/pods`).

    >>> service_of("/var/log/nginx/access.log.2.gz"), service_of("app-20240102.log"), service_of("-")
    ('access', 'app', '')
    """
    if path == STDIN:
        return ""
    pure = PurePath(path)
    if match := _CONTAINER_FILE.fullmatch(pure.name):
        return match["container"]
    if len(pure.parts) > 3 and pure.parts[-4] == "pods" and re.fullmatch(r"\d+\.log.*", pure.name):
        return pure.parts[-2]
    name = pure.name
    while (shorter := _ROTATED.sub("", name)) != name and shorter:
        name = shorter
    return name
