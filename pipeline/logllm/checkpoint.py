"""What was learned, on disk: one file, written whole or not at all, never pickle."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from logllm.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["STATE_VERSION", "decode", "load", "save", "set_aside"]

STATE_VERSION = 2
_MAGIC = b"logllm-state\n"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write the state beside `path`, force it to the disk, and put it in place.

    Raises:
        StateError: It cannot be written; the file that was there stays as it was.
    """
    body = _MAGIC + msgspec.msgpack.encode(state)
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StateError(f"{path}: cannot save state: {error.strerror or error}") from error


def load(path: Path) -> dict[str, Any] | None:
    """The state, or None where there is none yet.

    Raises:
        StateError: The file is damaged, of another version or no state of ours. It is kept, renamed to
            `NAME.damaged`.
    """
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: cannot read state: {error.strerror or error}") from error
    try:
        return decode(body)
    except StateError as error:
        raise StateError(f"{path}: {error}; {set_aside(path)}") from error


def decode(body: bytes) -> dict[str, Any]:
    """The state in the bytes of such a file. Raises StateError: they are damaged or of another version."""
    try:
        if not body.startswith(_MAGIC):
            raise StateError("it does not begin as one")
        state: dict[str, Any] = msgspec.msgpack.decode(memoryview(body)[len(_MAGIC) :], type=dict[str, Any])
        if state.get("version") != STATE_VERSION:
            raise StateError(f"it has version {state.get('version')}, expected {STATE_VERSION}")
    except (msgspec.MsgspecError, StateError, UnicodeDecodeError, RecursionError) as error:
        raise StateError(f"not a state file of logllm ({error})") from error
    return state


def set_aside(path: Path) -> str:
    """Rename a state file that cannot be used, so that `save` does not overwrite it; says what became of it."""
    aside = path.with_name(path.name + ".damaged")
    try:
        path.replace(aside)
    except OSError as error:
        return f"it stays where it is: {error.strerror or error}"
    return f"kept as {aside.name}"
