"""`learned.toml` on the disk: read again when it has changed, and written whole or not at all."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from logllm.errors import StateError
from logllm.incidents.learned import MOST_ANSWERS, Lesson, latest, parsed, written
from logllm.shared_file import SharedFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["LearnedFile"]


class LearnedFile:
    """The answers in one `SharedFile`; safe to use from threads.

    Args:
        path: None keeps the answers in memory.

    Raises:
        ConfigError: What is in the file cannot be used; says where.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file = None if path is None else SharedFile(path)
        self._lock = threading.Lock()
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
        if self._file is None:
            fresh, self._is_fresh = self._is_fresh, False
            return fresh
        if not self._file.changed():
            return False
        self._lessons = parsed(self._file.read(), str(self.path))
        return True

    def change(self, edit: Callable[[list[Lesson]], list[Lesson]]) -> list[Lesson]:
        """Put what `edit` makes of the answers in their place; it is on the disk when this returns them.

        Raises:
            ConfigError: What is in the file cannot be used; it stays as it is.
            StateError: It cannot be written; it stays as it was.
        """
        if self._file is None:
            with self._lock:
                self._lessons = _few_enough(latest(edit(self._lessons)), "memory")
                self._is_fresh = True
                return self._lessons
        lessons: list[Lesson] = []

        def rewritten(text: str) -> str:
            lessons[:] = _few_enough(latest(edit(parsed(text, str(self.path)))), str(self.path))
            return written(lessons)

        self._file.change(rewritten)
        return lessons


def _few_enough(lessons: list[Lesson], where: str) -> list[Lesson]:
    if len(lessons) > MOST_ANSWERS:
        raise StateError(f"{where}: {MOST_ANSWERS:,} answers are the most there can be; forget some first")
    return lessons
