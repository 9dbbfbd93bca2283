"""Records in a file: durable before they are acknowledged, each exactly once, whatever crashes in between."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from logllm.errors import ConfigError, DeliveryError
from logllm.sinks.ledger import Position
from logllm.sinks.mark import take_over
from logllm.sinks.ndjson import ndjson
from logllm.sinks.rotation import rotated_away, rotated_name
from logllm.wire.frame import frame_head

if TYPE_CHECKING:
    from logllm.sinks.ledger import Ledger
    from logllm.sinks.parcel import Parcel

__all__ = ["FileSink", "FileSinkConfig"]

_MODE = 0o640
_KINDS = {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EROFS: "read_only"}
_ZSTD_LEVEL = 3

_log = logging.getLogger("logllm.sinks")


class FileSinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="file"):
    """Where records are written, and how.

    Args:
        path: The file; its folder must be there. It is appended to.
        name: In metrics and messages; else `file:PATH`.
        required: Chunks are acknowledged only when they are in this sink; else what finds no room is dropped.
        format: `ndjson`, a line a record; `msgpack`, the forward protocol's frames, byte for byte what came:
            they can be sent again as they are.
        compress: `zstd` makes each group of chunks a frame of its own; the file is a valid `.zst`.
        rotate_bytes: The file gets another name before it would be larger; 0: never.
        rotate_s: And when the clock passes a multiple of this; 0: never.
        keep: Rotated files that are kept, the rest is deleted, oldest first; 0: all.
        fsync: False leaves it to the kernel when bytes reach the disk: a crash of the process loses nothing, a
            crash of the machine what was acknowledged in the last half minute.
    """

    path: str
    name: str = ""
    required: bool = True
    format: Literal["ndjson", "msgpack"] = "ndjson"
    compress: Literal["", "zstd"] = ""
    rotate_bytes: int = 0
    rotate_s: Annotated[float, msgspec.Meta(le=10 * 366 * 86_400)] = 0.0
    keep: int = 0
    fsync: bool = True

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or f"file:{self.path}"

    def ledger_path(self) -> Path:
        """Where its ledger is, where there is no data folder: beside the file, hidden."""
        path = Path(self.path)
        return path.with_name(f".{path.name}.ledger")

    def check(self) -> None:
        """Raises ConfigError for what waiting cannot mend."""
        path = Path(self.path)
        if not path.name or "\0" in self.path:
            raise ConfigError(f"sink {self.label}: {self.path!r} names no file")
        try:
            if path.is_dir():
                raise ConfigError(f"sink {self.label}: {path} is a folder, expected a file")
            if not path.parent.is_dir():
                raise ConfigError(f"sink {self.label}: the folder {path.parent} does not exist")
            if path.exists() and not path.is_file():
                raise ConfigError(f"sink {self.label}: {path} is no regular file, expected one (or the sink `stdout`)")
        except OSError as error:
            raise ConfigError(f"sink {self.label}: {path} cannot be used: {error.strerror or error}") from error
        if self.rotate_bytes < 0 or self.rotate_s < 0 or self.keep < 0:
            raise ConfigError(f"sink {self.label}: rotate_bytes, rotate_s and keep: expected 0 or more")
        # A disk that is read-only just now may be mended; rights of this user are not waited for.
        if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
            return
        if not os.access(path if path.exists() else path.parent, os.R_OK | os.W_OK):
            what = "read and written" if path.exists() else "made"
            raise ConfigError(f"sink {self.label}: {path} cannot be {what} by this user")

    def build(self, ledger: Ledger) -> FileSink:
        """The sink, its file open. Raises DeliveryError where that cannot be done now."""
        return FileSink(self, ledger)


class FileSink:
    """Appends to a file and keeps a ledger of what is in it.

    On opening, what lies behind the committed size is cut off: it was never acknowledged. A file that is another one
    than the ledger knows (rotated by someone else, or there before us) is left as it is and appended to.

    Args:
        config: See there.
        ledger: Its own; no other sink may commit to it.
        clock: Unix time in seconds.

    Raises:
        DeliveryError: The file cannot be opened now.
    """

    refused = 0

    def __init__(self, config: FileSinkConfig, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self._path = Path(config.path)
        self._ledger = ledger
        self._clock = clock
        self._fd = -1
        self._at = Position(0, 0, 0, 0.0)
        # Bytes that are durable and whose commit failed: they must not be written a second time.
        self._unsettled: tuple[Sequence[Parcel], Position] | None = None
        # Bytes may lie behind the committed size: a write did not come to its end.
        self._torn = False
        self._open()

    def _open(self) -> None:
        with self._failing("open"):
            self._finish_rotation()
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            with self._failing("open"):
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise DeliveryError(f"{self._path}: another process is writing to it", kind="in_use") from error
                self._at = self._begin(fd)
                self._sync_folder()
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _begin(self, fd: int) -> Position:
        found = os.fstat(fd)
        known = self._ledger.position
        is_ours = take_over(fd, self._ledger.identity)
        if known is None or not is_ours or (known.device, known.inode) != (found.st_dev, found.st_ino):
            size = found.st_size
            if size and self.config.format == "ndjson" and not self.config.compress:
                # Somebody else's file: a line that has no end must not run into ours.
                size += 0 if os.pread(fd, 1, size - 1) == b"\n" else os.pwrite(fd, b"\n", size)
            # From here on what is behind this size is ours to cut.
            at = Position(found.st_dev, found.st_ino, size, self._clock())
            self._ledger.commit((), at)
            return at
        if found.st_size > known.size:
            _log.warning(
                "%s: %d bytes that were never acknowledged are cut off", self._path, found.st_size - known.size
            )
            # A commit that failed may be on the disk all the same, and a crash would find it: the older size goes on
            # top of it before the bytes go that it speaks of.
            self._ledger.commit((), known)
            os.ftruncate(fd, known.size)
        elif found.st_size < known.size:
            _log.error("%s: %d bytes shorter than it was committed", self._path, known.size - found.st_size)
            known = self._shortened(known, found.st_size)
        return known

    def _shortened(self, at: Position, size: int) -> Position:
        """Commit that the file has become shorter, or a crash would find what comes next below the old size."""
        at = msgspec.structs.replace(at, size=size)
        self._ledger.commit((), at)
        return at

    def _finish_rotation(self) -> None:
        """Give the file the name that was committed, if a crash has prevented it."""
        known = self._ledger.position
        if known is None or not known.renaming_to:
            return
        with contextlib.suppress(FileNotFoundError):
            found = self._path.stat()
            if (found.st_dev, found.st_ino) == (known.device, known.inode):
                os.truncate(self._path, known.size)
                self._path.rename(known.renaming_to)

    def write(self, parcels: Sequence[Parcel]) -> int:
        """See `Sink`. All of them, or none."""
        if self._unsettled is not None:
            return self._settle(*self._unsettled)
        data = self._encoded(parcels)
        self._follow_renames()
        if self._fd < 0:
            self._open()
        if self._is_due(len(data)):
            self._rotate()
        if data:
            with self._failing("write"):
                self._append(data)
        return self._settle(parcels, msgspec.structs.replace(self._at, size=self._at.size + len(data)))

    def _settle(self, parcels: Sequence[Parcel], at: Position) -> int:
        # Where the commit fails it may have reached the disk all the same. So the bytes stay, and only the commit
        # is tried again: whichever of the two a crash finds, file and ledger agree.
        self._unsettled = parcels, at
        self._ledger.commit([key for parcel in parcels for key in parcel.keys], at)
        self._unsettled = None
        self._at = at
        return len(parcels)

    def _encoded(self, parcels: Sequence[Parcel]) -> bytes:
        if self.config.format == "msgpack":
            data = b"".join(
                [part for each in parcels if each.count for part in (frame_head(each.tag, each.count), each.block)]
            )
        else:
            data = b"".join([ndjson(each.tag, each.block, each.count) for each in parcels if each.count])
        if not self.config.compress or not data:
            return data
        import zstandard

        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(data)

    def _append(self, data: bytes) -> None:
        if self._torn:
            os.ftruncate(self._fd, self._at.size)
        self._torn = True
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self._fd, view[done:], self._at.size + done)
        if self.config.fsync:
            os.fdatasync(self._fd)
        self._torn = False

    def _is_due(self, more: int) -> bool:
        config, at = self.config, self._at
        if not at.size:
            return False
        if config.rotate_bytes and at.size + more > config.rotate_bytes:
            return True
        return bool(config.rotate_s) and self._clock() // config.rotate_s != at.begun_s // config.rotate_s

    def _rotate(self) -> None:
        with self._failing("rotate"):
            name = rotated_name(self._path, self._clock())
        # The intent first: a crash between the two finds it, and the rename is done then.
        self._ledger.commit((), msgspec.structs.replace(self._at, renaming_to=str(name)))
        with self._failing("rotate"):
            os.ftruncate(self._fd, self._at.size)
            self._path.rename(name)
            self._close_file()
        self._open()
        if self.config.keep:
            # What cannot be deleted now is deleted at the next rotation.
            with contextlib.suppress(OSError):
                for old in rotated_away(self._path)[: -self.config.keep]:
                    old.unlink()

    def _follow_renames(self) -> None:
        """Go on in a new file where someone has moved ours away, as logrotate does."""
        if self._fd < 0:
            return
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._leave_file()
            return
        except OSError as error:
            raise self._error("look at", error) from error
        if (found.st_dev, found.st_ino) != (self._at.device, self._at.inode):
            self._leave_file()
        elif found.st_size < self._at.size:
            _log.warning("%s: was cut to %d bytes by someone else", self._path, found.st_size)
            self._at = self._shortened(self._at, found.st_size)

    def _leave_file(self) -> None:
        """Let go of a file that was moved away. What a failed write has left at its end goes into the new one."""
        with self._failing("leave"):
            try:
                if self._torn and os.fstat(self._fd).st_size > self._at.size:
                    os.ftruncate(self._fd, self._at.size)
            finally:
                self._close_file()

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(what, error) from error

    def _error(self, what: str, error: OSError) -> DeliveryError:
        kind = _KINDS.get(error.errno or 0, "io")
        return DeliveryError(f"{self._path}: cannot {what}: {error.strerror or error}", kind=kind)

    def _close_file(self) -> None:
        self._torn = False
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with contextlib.suppress(OSError):
            self._close_file()
