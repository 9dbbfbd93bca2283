"""One promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from logllm.guarantees.place import Place

__all__ = ["Check", "Promise"]

Check = Callable[["Place"], str]
"""Sees for itself and says what it saw; raises Broken or Unchecked."""


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence, how far it goes, and what holds it.

    Args:
        id: Short, for `--only`.
        sentence: The promise.
        limits: What it does not promise; "" where it has no limits.
        tests: Those that hold it in full, `tests/FILE.py::NAME`.
        short: What the check on the user's machine leaves out, or does in another way; "" for nothing of note.
        check: The short form, for the user's machine.
    """

    id: str
    sentence: str
    limits: str = ""
    tests: tuple[str, ...]
    short: str = ""
    check: Check
