"""Follows files as they grow: `tail -F` for many files and globs at once."""

from __future__ import annotations

import glob
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.errors import SourceError
from logllm.sources.file_lines import MAX_LINE_BYTES
from logllm.sources.file_stats import ReadStats
from logllm.sources.follow_file import FollowedFile, Identity
from logllm.sources.formats.line_format import zone_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from logllm.events import Chunk
    from logllm.fields import Wanted

__all__ = ["Follower"]

_ROTATION = re.compile(
    r"(?:\.(?:gz|bz2|xz|zst)|[._-]\d{1,3}|[._-]\d{4}-?\d\d-?\d\d(?:[T_.-]?[\d:.-]{2,8})?|\.old)$", re.IGNORECASE
)


class Follower:
    """Reads each file from its start to its end, then what is written to it, until it is closed.

    Rotation by rename, copy and truncate, deletion and creation again, and files that come to match a glob later are
    followed. A rotated file that matches the glob is known by its inode or its first bytes and not read twice. Files
    take turns, a block each; of a file and its rotated ones the oldest is read first. Nothing here waits but `run`.

    A file that is rotated twice between two polls is missed in part: poll more often than files rotate.

    Args:
        patterns: paths, and globs (`**` too). A path that cannot be read at the start is an error (`drain_errors`);
            the others go on.
        poll_interval_s: how long `run` sleeps when there was nothing to read.
        clock: the time of day in nanoseconds; no time without a year lies after it.
        flush_after_s: after so long without a new byte an unfinished line or record is given away.
        budget_bytes: about how much one `poll` reads at most.
        from_end: do not read what the files hold already.
        keep_raw: fill `Columns.raw`, for filters.
        wanted: see `read_file`.

    Raises:
        ConfigError: there is no such format or zone.
    """

    def __init__(
        self,
        patterns: Sequence[str | Path],
        *,
        poll_interval_s: float = 0.25,
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], object] = time.sleep,
        flush_after_s: float = 1.0,
        format: str = "auto",  # noqa: A002 - the option's name
        service: str | None = None,
        tz: str = "UTC",
        stats: ReadStats | None = None,
        chunk_bytes: int = 1 << 20,
        budget_bytes: int = 4 << 20,
        max_line_bytes: int = MAX_LINE_BYTES,
        from_end: bool = False,
        keep_raw: bool = False,
        wanted: Wanted | None = None,
    ) -> None:
        self.stats = ReadStats() if stats is None else stats
        self._interval_s = poll_interval_s
        self._clock = clock
        self._sleep = sleep
        self._flush_after_ns = int(flush_after_s * 1e9)
        self._format = format
        self._service = service
        self._zone = zone_named(tz)
        self._chunk_bytes = chunk_bytes
        self._blocks_a_poll = max(1, budget_bytes // chunk_bytes)
        self._max_line_bytes = max_line_bytes
        self._keep_raw = keep_raw
        self._wanted = wanted
        self._files: list[FollowedFile] = []
        self._paths: set[str] = set()
        self._refused: set[tuple[str, Identity | None]] = set()
        self._globs: list[str] = []
        self._closed = False
        plain: list[str] = []
        for pattern in map(str, patterns):
            if glob.has_magic(pattern) and not Path(pattern).exists():
                self._globs.append(pattern)
            else:
                plain.append(pattern)
        try:
            for path in dict.fromkeys(plain):
                try:
                    self._files.append(self._follow(path, from_end))
                    self._paths.add(path)
                except SourceError as error:
                    self.stats.notices.append(str(error))
            self._scan(at_start=True, from_end=from_end)
        except BaseException:
            self.close()
            raise

    @property
    def caught_up(self) -> bool:
        """Whether every file known now was read to its end once."""
        return all(file.caught_up for file in self._files)

    @property
    def exhausted(self) -> bool:
        """Whether nothing more can ever come: only files that are read once, or none at all."""
        return not self._globs and all(file.done for file in self._files)

    def drain_errors(self) -> list[str]:
        """What went wrong since the last call, a line each: files that could not be read, damaged compressed data.

        They are taken out of `stats.notices`.
        """
        errors = self.stats.notices[:]
        del self.stats.notices[: len(errors)]
        return errors

    @property
    def paths(self) -> list[str]:
        """The files that are followed now."""
        return [file.path for file in self._files if not file.done]

    def poll(self) -> list[Chunk]:
        """What there is to read now, within the budget; an empty list if nothing is new. Never waits."""
        if self._closed:
            return []
        self._scan(at_start=False, from_end=False)
        now_ns = self._clock()
        left = self._blocks_a_poll
        chunks, active = self._turns()
        while active and left > 0:
            reading: list[FollowedFile] = []
            for file in active:
                before = self.stats.bytes
                chunks += file.step(now_ns, self._flush_after_ns)
                if self.stats.bytes > before:
                    left -= 1
                    reading.append(file)
            active = reading
        # The next poll begins with another file, so that a busy one cannot starve the rest.
        if len(self._files) > 1:
            self._files.append(self._files.pop(0))
        return chunks

    def run(self, stop: Callable[[], bool]) -> Iterator[list[Chunk]]:
        """Poll after poll until `stop()`; an empty list after each sleep lets the caller look at its clock."""
        while not stop():
            chunks = self.poll()
            yield chunks
            if self.exhausted:
                return
            if not chunks and self.caught_up:
                self._sleep(self._interval_s)

    def finish(self) -> list[Chunk]:
        """What is still held back of every file; then all are closed."""
        chunks = [chunk for file in self._files for chunk in file.finish()]
        self.close()
        return chunks

    def close(self) -> None:
        """Close all files; harmless twice."""
        self._closed = True
        for file in self._files:
            file.close()

    def _turns(self) -> tuple[list[Chunk], list[FollowedFile]]:
        """The files that may be read now: of a file and its rotated ones only the first not yet at its end.

        With what the older ones still hold: it comes before the younger ones' records.
        """
        older: dict[str, FollowedFile] = {}
        chunks: list[Chunk] = []
        active: set[int] = set()
        for file in sorted(self._files, key=lambda file: file.modified_ns):
            before = older.get(stem := _stem(file.path))
            if before is not None and not before.caught_up:
                continue
            if before is not None and not file.caught_up:
                chunks += before.flush()
            older[stem] = file
            if not file.done:
                active.add(id(file))
        return chunks, [file for file in self._files if id(file) in active]

    def _follow(self, path: str, from_end: bool) -> FollowedFile:
        return FollowedFile(
            path,
            self.stats,
            format_name=self._format,
            service=self._service,
            zone=self._zone,
            chunk_bytes=self._chunk_bytes,
            max_line_bytes=self._max_line_bytes,
            start_at_end=from_end,
            keep_raw=self._keep_raw,
            wanted=self._wanted,
        )

    def _scan(self, *, at_start: bool, from_end: bool) -> None:
        """Take up files that match a glob and are not followed yet."""
        for pattern in self._globs:
            for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207 - absolute patterns
                if path in self._paths or not Path(path).is_file():
                    continue
                identity = _identity(path)
                if (path, identity) in self._refused or any(file.identity == identity for file in self._files):
                    continue
                try:
                    file = self._follow(path, from_end)
                except SourceError as error:
                    self._refused.add((path, identity))
                    self.stats.skipped["file unreadable"] += 1
                    self.stats.notices.append(str(error))
                    continue
                if not at_start and self._was_read(file, identity):
                    file.close()
                    self._refused.add((path, identity))
                    continue
                self._paths.add(path)
                self._files.append(file)

    def _was_read(self, found: FollowedFile, identity: Identity | None) -> bool:
        """Whether a new path is a file, or a copy (perhaps compressed) of one, that was read under another name."""
        stem = _stem(found.path)
        return any(file.has_read(identity, found.head) for file in self._files if _stem(file.path) == stem)


def _stem(path: str) -> str:
    """The path without suffixes of rotation: `app.log.2.gz` is rotated from `app.log`."""
    while (shorter := _ROTATION.sub("", path)) != path:
        path = shorter
    return path


def _identity(path: str) -> Identity | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
