"""`learned.toml` on the disk: read again when it has changed, and written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.errors import ConfigError, StateError
from logllm.incidents.learned import MOST_ANSWERS, Lesson, latest, parsed, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LearnedFile"]

_MODE = 0o600
_LARGEST_BYTES = 16 << 20


class LearnedFile:
    """The answers in one file, which several processes may change, one after the other; safe to use from threads.

    A link is followed, so that the file itself may be kept elsewhere, in a checkout say. A new file is its owner's
    alone; one that is there keeps its mode.

    Args:
        path: None keeps the answers in memory.

    Raises:
        ConfigError: What is in the file cannot be used; says where.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._lessons: list[Lesson] = []
        self._is_fresh = False
        self.refresh()

    @property
    def lessons(self) -> list[Lesson]:
        """The answers as they were last read, sorted."""
        return self._lessons

    def refresh(self) -> bool:
        """Read the file again if it is another one than before; whether it was. Costs one look at it where not.

        Raises:
            ConfigError: What is in it now cannot be used; the answers stay as they were. Told once for each change.
        """
        if self.path is None:
            fresh, self._is_fresh = self._is_fresh, False
            return fresh
        with self._lock:
            stamp = _stamp(self.path)
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            self._lessons = _load(self.path)
            return True

    def change(self, edit: Callable[[list[Lesson]], list[Lesson]]) -> list[Lesson]:
        """Put what `edit` makes of the answers in their place; it is on the disk when this returns them.

        Raises:
            ConfigError: What is in the file cannot be used; it stays as it is.
            StateError: It cannot be written; it stays as it was.
        """
        if self.path is None:
            with self._lock:
                self._lessons = _few_enough(latest(edit(self._lessons)), "memory")
                self._is_fresh = True
                return self._lessons
        try:
            with self._lock, _held(self.path) as path:
                lessons = _few_enough(latest(edit(_load(path))), str(self.path))
                _write(path, written(lessons))
        except OSError as error:
            raise StateError(f"{self.path}: cannot keep the answer: {error.strerror or error}") from error
        return lessons


def _few_enough(lessons: list[Lesson], where: str) -> list[Lesson]:
    if len(lessons) > MOST_ANSWERS:
        raise StateError(f"{where}: {MOST_ANSWERS:,} answers are the most there can be; forget some first")
    return lessons


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _load(path: Path) -> list[Lesson]:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ConfigError(f"{path}: larger than {_LARGEST_BYTES >> 20} MB, expected some thousand answers at most")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from error
    return parsed(text, str(path))


@contextmanager
def _held(path: Path) -> Iterator[Path]:
    """The file itself, which nobody else changes meanwhile."""
    target = path.resolve()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
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
