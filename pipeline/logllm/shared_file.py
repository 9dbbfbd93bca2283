"""A small text file that people and several processes change: read when it has changed, written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from logllm.errors import ConfigError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["SharedFile"]

_MODE = 0o600


class SharedFile:
    """One file, changed by one process after the other; safe to use from threads.

    A link is followed, so that the file itself may be kept elsewhere, in a checkout say. A new file is its owner's
    alone; one that is there keeps its mode.

    Args:
        largest_bytes: More is refused, unread.
    """

    def __init__(self, path: Path, largest_bytes: int = 16 << 20) -> None:
        self.path = path
        self._largest_bytes = largest_bytes
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = (-1, -1, -1)

    def changed(self) -> bool:
        """Whether it is another file than when this was last asked. Costs one look at it."""
        with self._lock:
            stamp = _stamp(self.path)
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            return True

    def read(self) -> str:
        """Its text; "" where there is none. Raises ConfigError."""
        try:
            # A pipe in its place must not hold up whoever looks, nor a device never end.
            with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise ConfigError(f"{self.path}: not a file, expected one of text")
                data = file.read(self._largest_bytes + 1)
            if len(data) > self._largest_bytes:
                raise ConfigError(f"{self.path}: larger than {self._largest_bytes >> 20} MB, the most that is read")
            return data.decode().replace("\r\n", "\n")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.path}: not UTF-8 text at byte {error.start}") from error

    def change(self, edit: Callable[[str], str]) -> None:
        """Put what `edit` makes of the text in its place; it is on the disk when this returns.

        Raises:
            ConfigError: It cannot be read; it stays as it is. So with whatever `edit` raises.
            StateError: It cannot be written; it stays as it was.
        """
        try:
            with self._lock, _held(self.path) as path:
                _write(path, edit(self.read()))
        except OSError as error:
            raise StateError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


@contextmanager
def _held(path: Path) -> Iterator[Path]:
    """The file itself, which nobody else changes meanwhile."""
    try:
        target = path.resolve()
    except RuntimeError as error:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a file")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            there = _stamp(target)
            # Whoever held it before us has put another file in its place.
            if there is not None and there[0] == os.fstat(descriptor).st_ino:
                yield target
                return
        finally:
            os.close(descriptor)


def _write(path: Path, text: str) -> None:
    # Nobody else writes one while the lock is held; what a kill has left is overwritten.
    temporary = path.with_name(f".{path.name}.new")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, _MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            if os.geteuid() == 0:
                # Written by root for a service that is another user's.
                folder = path.parent.stat()
                os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
