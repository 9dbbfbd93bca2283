"""Folders that logllm writes to: really written, forced to the disk, and with room left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from logllm.doctor.finding import Finding, fail, ok, warn

__all__ = ["examine_folder"]

_SLOW_MS = 50.0
_FEWEST_BYTES, _FEW_BYTES, _FEW_SHARE = 64 << 20, 1 << 30, 0.05
_FEW_INODES = 1_000
_PROBE = b"logllm doctor\n" * 256


def examine_folder(about: str, folder: Path) -> Iterator[Finding]:
    """Look at one folder. One that is not there yet is made and removed again."""
    missing = []
    try:
        at = folder
        while not at.exists() and at != at.parent:
            missing.append(at)
            at = at.parent
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        yield fail(about, f"cannot be made: {error.strerror or error}", "set another, or create it for this user")
        return
    try:
        yield from _examined(about, folder, made=bool(missing))
    finally:
        for one in missing:
            try:
                one.rmdir()
            except OSError:
                break


def _examined(about: str, folder: Path, *, made: bool) -> Iterator[Finding]:
    probe = folder / f".logllm-doctor-{os.getpid()}"
    try:
        taken_ms = _written(probe)
    except OSError as error:
        yield fail(about, f"cannot be written: {error.strerror or error}", "give this user the folder, or free space")
        return
    told = f"{'can be made, ' if made else ''}written and forced to the disk in {taken_ms:.1f} ms"
    if taken_ms > _SLOW_MS:
        yield warn(about, told, "use a faster disk: each chunk is forced to it before it is acknowledged")
    else:
        yield ok(about, told)
    yield from _room(about, folder)


def _written(probe: Path) -> float:
    """Milliseconds for a write and an fsync; the file is gone again."""
    began = time.perf_counter()
    number = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(number, _PROBE)
        os.fsync(number)
        return (time.perf_counter() - began) * 1e3
    finally:
        os.close(number)
        probe.unlink()


def _room(about: str, folder: Path) -> Iterator[Finding]:
    found = os.statvfs(folder)
    free, whole = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    share = free / whole if whole else 1.0
    told = f"{_size(free)} of {_size(whole)} free ({share * 100:.0f} %)"
    if free < _FEWEST_BYTES:
        yield fail(about, told, "free space: nothing is acknowledged once a sink cannot write")
    elif free < _FEW_BYTES or share < _FEW_SHARE:
        yield warn(about, told, "free space")
    else:
        yield ok(about, told)
    if found.f_files and found.f_favail < _FEW_INODES:
        yield (fail if not found.f_favail else warn)(about, f"{found.f_favail} inodes free", "remove small files")


def _size(count: int) -> str:
    """Bytes in binary units, as `df -h` has them.

    >>> _size(63 << 20), _size(1 << 40)
    ('63.0 MiB', '1024.0 GiB')
    """
    for unit, shift in (("GiB", 30), ("MiB", 20)):
        if count >= 1 << shift:
            return f"{count / (1 << shift):.1f} {unit}"
    return f"{count / 1024:.1f} KiB"
