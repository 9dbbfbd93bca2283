"""One file that is followed: read to its end, then as it grows, over rotation, truncation and deletion."""

from __future__ import annotations

import os
import stat
from collections import deque
from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO

from logllm.errors import SourceError
from logllm.fields import Wanted
from logllm.sources.file import service_of
from logllm.sources.file_inflate import compression_of
from logllm.sources.file_lines import LineSplitter
from logllm.sources.file_open import Recoder, blocks_of, check_text, open_binary
from logllm.sources.file_records import RecordReader
from logllm.sources.file_years import first_year
from logllm.sources.formats.line_format import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from logllm.events import Chunk
    from logllm.sources.file_stats import ReadStats

__all__ = ["FINGERPRINT_BYTES", "FollowedFile", "Identity"]

FINGERPRINT_BYTES = 256
# Rotated files whose beginnings are remembered, so that a glob does not bring them back.
_REMEMBERED = 32
Identity = tuple[int, int]
"""Device and inode."""


class FollowedFile:
    """Reads one path a block at a time; never waits.

    A compressed file is read once. A plain one is read on: when the path names another file the rest of the old one
    comes first; when it shrinks, or its first bytes change, it is read from its start again.

    Args:
        start_at_end: do not read what the file holds already.
        keep_raw: fill `Columns.raw`.

    Raises:
        SourceError: it cannot be opened or is binary.
    """

    def __init__(
        self,
        path: str,
        stats: ReadStats,
        *,
        format_name: str,
        service: str | None,
        zone: ZoneInfo | None,
        chunk_bytes: int,
        max_line_bytes: int,
        start_at_end: bool = False,
        keep_raw: bool = False,
        wanted: Wanted | None = None,
    ) -> None:
        self.path = path
        self.caught_up = False
        self.done = False
        self._stats = stats
        self._chunk_bytes = chunk_bytes
        self._max_line_bytes = max_line_bytes
        self._file: BinaryIO | None = None
        self._blocks: Iterator[bytes] | None = None  # of a compressed file
        self._regular = True
        self._offset = 0
        self._fingerprint = b""
        self._checked: tuple[int, int] | None = None
        self._pushed = b""
        self._recoder = Recoder()
        self._splitter = LineSplitter(stats.skipped, max_line_bytes=max_line_bytes)
        self._rotated = False
        self._refused: Identity | None = None
        self._quiet_since_ns: int | None = None
        self._past: deque[tuple[Identity | None, bytes]] = deque(maxlen=_REMEMBERED)
        reading = Reading(0, service_of(path) if service is None else service, zone, wanted=wanted or Wanted())
        self._records = RecordReader(
            PurePath(path).name, path, reading, stats, format_name=format_name, keep_raw=keep_raw
        )
        status = self._open()
        self.modified_ns = reading.reference_ns = status.st_mtime_ns
        if start_at_end:
            self._skip(status.st_size)

    @property
    def identity(self) -> Identity | None:
        """The file that is open, whatever it is called by now."""
        if self._file is None:
            return None
        status = os.fstat(self._file.fileno())
        return status.st_dev, status.st_ino

    @property
    def head(self) -> bytes:
        """The first bytes of the text as far as known, `FINGERPRINT_BYTES` at most; decompressed."""
        if self._blocks is not None and not self._fingerprint:
            self._pushed = self._read()
        return self._fingerprint

    def has_read(self, identity: Identity | None, head: bytes) -> bool:
        """Whether this path was, or is, a file of this identity that begins so, or a copy of one."""
        for known, begin in [*self._past, (self.identity, self._fingerprint)]:
            if begin and known is not None and known == identity and head.startswith(begin):
                return True
            if len(begin) == FINGERPRINT_BYTES and begin == head:
                return True
        return False

    def step(self, now_ns: int, flush_after_ns: int) -> list[Chunk]:
        """What one block more gives; nothing if there is none.

        Args:
            now_ns: the time of day; no time without a year lies after it, once the file was read to its end.
            flush_after_ns: after so long without a new byte the unfinished record and line are given away.
        """
        if self.done:
            return []
        if self.caught_up:
            self._records.reading.reference_ns = max(self._records.reading.reference_ns, now_ns)
        chunks = self._restart() if self._rewritten() else []
        block = self._read()
        if block:
            self._quiet_since_ns = None
            text = self._recoder.feed(block)
            return chunks + self._records.feed(self._splitter.feed(text), len(block))
        self.caught_up = True
        if self._blocks is not None:
            self.done = True
            return chunks + self.finish()
        chunks += self._turn()
        if self._quiet_since_ns is None:
            self._quiet_since_ns = now_ns
        elif now_ns - self._quiet_since_ns >= flush_after_ns:
            chunks += self.flush()
        return chunks

    def flush(self) -> list[Chunk]:
        """What is still held: a line without end, a record that might have gone on."""
        if not self._splitter.waiting and not self._records.held:
            return []
        return self._records.feed(self._splitter.finish(), 0) + self._records.flush()

    def finish(self) -> list[Chunk]:
        """What is still held; then the file is closed."""
        chunks = self.flush()
        self.close()
        return chunks

    def close(self) -> None:
        """Close the file; harmless twice."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> os.stat_result:
        name = PurePath(self.path).name
        file = open_binary(self.path, wait=False)
        try:
            status = os.fstat(file.fileno())
            regular = stat.S_ISREG(status.st_mode)
            head = os.pread(file.fileno(), 8_192, 0) if regular else b""
            blocks = None
            if compression_of(head) is not None:
                blocks = blocks_of(self.path, chunk_bytes=self._chunk_bytes, stats=self._stats)
                head = b""
            else:
                check_text(name, Recoder().feed(head))
        except OSError as error:
            file.close()
            raise SourceError(f"{name}: cannot be read: {error.strerror}") from None
        except SourceError:
            file.close()
            raise
        self._file, self._blocks, self._regular = file, blocks, regular
        self._begin(head[:FINGERPRINT_BYTES])
        if regular and blocks is None and self._records.reading.last_ns is None:
            self._records.reading.first_year = first_year(file, status.st_size, status.st_mtime_ns)
        return status

    def _skip(self, size: int) -> None:
        self.caught_up = True
        self.done = self._blocks is not None
        if self._file is not None and self._regular:
            self._offset = self._file.seek(size)

    def _begin(self, fingerprint: bytes) -> None:
        self._fingerprint = fingerprint
        self._checked = None
        self._offset = 0
        self._pushed = b""
        self._recoder = Recoder()
        self._splitter = LineSplitter(self._stats.skipped, max_line_bytes=self._max_line_bytes)

    def _read(self) -> bytes:
        if self._pushed:
            block, self._pushed = self._pushed, b""
            return block
        if self._blocks is not None:
            # A block may be empty in the middle, where a decompressor needs more input.
            for block in self._blocks:
                if block:
                    if len(self._fingerprint) < FINGERPRINT_BYTES:
                        self._fingerprint = (self._fingerprint + block)[:FINGERPRINT_BYTES]
                    return block
            return b""
        if self._file is None:
            return b""
        try:
            block = self._file.read(self._chunk_bytes) or b""
        except OSError as error:
            self._stats.skipped["read error"] += 1
            self._stats.notices.append(f"{PurePath(self.path).name}: cannot be read: {error.strerror}")
            self.close()
            self.done = True
            return b""
        if self._offset < FINGERPRINT_BYTES and block:
            self._fingerprint = (self._fingerprint[: self._offset] + block)[:FINGERPRINT_BYTES]
        self._offset += len(block)
        return block

    def _rewritten(self) -> bool:
        """Whether the open file was truncated, perhaps filled again, since we read it."""
        if self._file is None or not self._regular or self._blocks is not None or not self._offset:
            return False
        status = os.fstat(self._file.fileno())
        if status.st_size < self._offset:
            return True
        seen = (status.st_size, status.st_mtime_ns)
        if seen == self._checked:
            return False
        self._checked = seen
        known = self._fingerprint[: self._offset]
        return os.pread(self._file.fileno(), len(known), 0) != known

    def _restart(self) -> list[Chunk]:
        self._past.append((None, self._fingerprint))
        chunks = self.flush()
        self._records.restart()
        if self._file is not None:
            self._file.seek(0)
        self._begin(b"")
        return chunks

    def _turn(self) -> list[Chunk]:
        """At the end of the open file: go over to the one that the path names now, if that is another."""
        try:
            status = os.stat(self.path)  # noqa: PTH116 - once a poll for each file
        except OSError:
            self._rotated = False
            return []
        named = (status.st_dev, status.st_ino)
        if named in (self.identity, self._refused):
            self._rotated = False
            return []
        if self._file is not None and not self._rotated:
            # The writer may still be writing to the old file: look at it once more first.
            self._rotated = True
            return []
        self._rotated = False
        self._past.append((self.identity, self._fingerprint))
        chunks = self.flush()
        self._records.restart()
        self.close()
        try:
            self._open()
        except SourceError as error:
            self._refused = named
            self._stats.skipped["file unreadable"] += 1
            self._stats.notices.append(str(error))
        return chunks
