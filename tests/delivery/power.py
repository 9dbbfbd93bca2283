"""What a disk holds after the power has gone: every change up to a moment, but only what had been forced down by then.

`faults.c` notes what a process does to its files. From the notes the files are made again as they may be after a cut
at any place in them: writes that no sync followed are there, or not, or some of them; so are names that no sync of
their folder followed. A sync that failed drops what it was to force down, as Linux does it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Disk", "Note", "notes"]


class Note(NamedTuple):
    """One change, as it was done."""

    call: str
    inode: int
    offset: int
    data: bytes
    path: Path
    to: Path | None


def notes(trace: Path) -> Iterator[Note]:
    """The notes of a trace, in order."""
    data = trace.read_bytes()
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        call, inode, offset, length, names = data[at:end].decode().split(" ", 4)
        path, _, to = names.partition(" -> ")
        at = end + 1 + int(length)
        yield Note(call, int(inode), int(offset), data[end + 1 : at], Path(path), Path(to) if to else None)


class _File:
    """One inode: what is down for sure, and what is not yet."""

    def __init__(self) -> None:
        self.down = bytearray()
        self.pending: list[Note] = []

    def sync(self) -> None:
        for note in self.pending:
            _apply(self.down, note)
        self.pending.clear()

    def after(self, kept: list[bool]) -> bytes:
        found = bytearray(self.down)
        for note, is_kept in zip(self.pending, kept, strict=True):
            if is_kept:
                _apply(found, note)
        return bytes(found)


def _apply(data: bytearray, note: Note) -> None:
    if note.call == "truncate":
        del data[note.offset :]
        data.extend(bytes(note.offset - len(data)))
        return
    if note.offset > len(data):
        data.extend(bytes(note.offset - len(data)))
    data[note.offset : note.offset + len(note.data)] = note.data


class Disk:
    """Files under one folder, fed with notes."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._names: dict[Path, int] = {}
        # A rename is one change to two names.
        self._changes: list[dict[Path, int | None]] = []
        # The file that has this number now; a number comes back when a file is gone.
        self._numbers: dict[int, int] = {}
        self._count = 0

    def feed(self, note: Note) -> None:
        """Do what was done."""
        if note.call == "create":
            self._count += 1
            self._numbers[note.inode] = self._count
            self._files[self._count] = _File()
            self._changes.append({note.path: self._count})
        elif note.call == "rename":
            assert note.to is not None
            self._changes.append({note.path: None, note.to: self._numbers[note.inode]})
        elif note.call == "unlink":
            self._changes.append({note.path: None})
        elif (number := self._numbers.get(note.inode)) is None:
            if note.call == "sync":
                self._sync_folder(note.path)
        elif note.call == "sync":
            self._files[number].sync()
        elif note.call == "lost":
            self._files[number].pending.clear()
        else:
            self._files[number].pending.append(note)

    def _sync_folder(self, folder: Path) -> None:
        for change in self._changes:
            if folder in {path.parent for path in change}:
                _rename(self._names, change)
        self._changes = [change for change in self._changes if folder not in {path.parent for path in change}]

    def restore(self, under: Path, to: Path, chance: random.Random, likely: float) -> dict[int, Path]:
        """Make the files anew in another folder.

        Args:
            likely: How likely each change that was not forced down is there all the same. Of changes to names only
                the first so many are, since a journal keeps their order.

        Returns:
            The files by the numbers they had.
        """
        names = dict(self._names)
        for change in self._changes[: _share(len(self._changes), chance, likely)]:
            _rename(names, change)
        inodes = {number: inode for inode, number in self._numbers.items()}
        made = {}
        for path, number in names.items():
            file = self._files[number]
            place = to / path.relative_to(under)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.after([chance.random() < likely for _ in file.pending]))
            if number in inodes:
                made[inodes[number]] = place
        return made


def _rename(names: dict[Path, int], change: dict[Path, int | None]) -> None:
    for path, number in change.items():
        if number is None:
            names.pop(path, None)
        else:
            names[path] = number


def _share(count: int, chance: random.Random, likely: float) -> int:
    kept = 0
    while kept < count and chance.random() < likely:
        kept += 1
    return kept
