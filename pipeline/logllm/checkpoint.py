"""What was learned, on disk: one file, written whole or not at all, never pickle."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from logllm.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["STATE_VERSION", "load", "save"]

STATE_VERSION = 1
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
    except OSError as error:
        raise StateError(f"{path}: cannot save state: {error.strerror or error}") from error


def load(path: Path) -> dict[str, Any] | None:
    """The state, or None where there is none yet.

    Raises:
        StateError: The file is damaged or no state of ours. It is kept, renamed to `NAME.damaged`.
    """
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: cannot read state: {error.strerror or error}") from error
    try:
        if not body.startswith(_MAGIC):
            raise StateError("it does not begin as one")
        state: dict[str, Any] = msgspec.msgpack.decode(memoryview(body)[len(_MAGIC) :], type=dict[str, Any])
    except (msgspec.MsgspecError, StateError, UnicodeDecodeError) as error:
        aside = path.with_name(path.name + ".damaged")
        path.replace(aside)
        raise StateError(f"{path}: not a state file of logllm ({error}); kept as {aside.name}") from error
    return state
