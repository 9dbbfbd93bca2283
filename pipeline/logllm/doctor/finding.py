"""What one check found."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Finding", "Level", "fail", "ok", "skipped", "warn"]

Level = Literal["ok", "warn", "fail", "skipped"]


class Finding(msgspec.Struct, frozen=True, tag_field="type", tag="check"):
    """One line of `logllm doctor`.

    Args:
        level: `ok`; `warn`: it works, and something can be lost or is not as it could be; `fail`: it does not work, or
            records are lost; `skipped`: it was not looked at, and `found` says why.
        about: What was looked at.
        found: What was found. May hold text from files and from services that answered: hostile until shown safely.
        advice: What to do; "" where nothing is.
    """

    level: Level
    about: str
    found: str
    advice: str = ""


def ok(about: str, found: str) -> Finding:
    """All is well."""
    return Finding("ok", about, found)


def warn(about: str, found: str, advice: str) -> Finding:
    """It works, but."""
    return Finding("warn", about, found, advice)


def fail(about: str, found: str, advice: str) -> Finding:
    """It does not work, or it loses records."""
    return Finding("fail", about, found, advice)


def skipped(about: str, why: str) -> Finding:
    """Not looked at."""
    return Finding("skipped", about, why)
