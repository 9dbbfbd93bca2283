"""Compiled modules kept on disk, from one start to the next.

What is kept is machine code that is run as it is, so it is only read from a folder that nobody else can change.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
import time
from functools import cache
from pathlib import Path

__all__ = ["KEPT_FILES", "code_dir", "keep", "ours"]

KEPT_FILES = 200
"""So many compiled modules stay; those that were used longest ago go first."""

_NEW = ".new-"
_ABANDONED_S = 3600.0
_log = logging.getLogger("logllm.wasm")


def code_dir() -> Path | None:
    """Where compiled modules are kept: LOGLLM_CODE_CACHE, else below the user's cache folder; None for nowhere."""
    named = os.environ.get("LOGLLM_CODE_CACHE")
    if named == "":
        return None
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = Path(named).expanduser() if named else base / "logllm" / "code"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wrong = _not_ours_alone(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        _say_once(f"compiled plugins are not kept: {error}", logging.INFO)
        return None
    if wrong:
        _say_once(f"{folder}: compiled plugins are not kept: {wrong}", logging.WARNING)
        return None
    return folder


def _not_ours_alone(folder: Path) -> str:
    """Why others could put a file there, "" where they cannot."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        return "others may read or write there; expected a folder of mode 700, our own"
    for above in folder.resolve().parents:
        about = above.stat()
        anyone = about.st_mode & stat.S_IWOTH and not about.st_mode & stat.S_ISVTX
        if anyone or about.st_uid not in (0, os.getuid()):
            return f"others may put another in its place: {above} is not our own"
    return ""


@cache
def _say_once(words: str, level: int) -> None:
    _log.log(level, "%s", words)


def ours(path: Path) -> bool:
    """Whether a file is there, and nobody else can have written it."""
    try:
        about = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o022


def keep(path: Path, compiled: bytes | bytearray) -> None:
    """Write it whole or not at all; a full disk costs the cache only."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_NEW)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(compiled)
                file.flush()
                # A file that a power cut left with holes could still be taken for machine code.
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        _tidy(path.parent)
    except OSError as error:
        _log.info("%s: not kept: %s", path, error)


def _tidy(folder: Path) -> None:
    """Remove what was used longest ago, and what a process that was killed left half written."""
    found = []
    for path in folder.iterdir():
        try:
            found.append((path.stat().st_mtime, path))
        except FileNotFoundError:  # another process tidies too
            continue
    found.sort()
    old = time.time() - _ABANDONED_S
    gone = [path for used, path in found if path.name.startswith(_NEW) and used < old]
    gone += [path for _, path in found if path.suffix == ".cwasm"][:-KEPT_FILES]
    for path in gone:
        path.unlink(missing_ok=True)
