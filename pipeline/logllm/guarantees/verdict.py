"""How the check of a promise can end."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Broken", "Status", "Unchecked", "Verdict"]

Status = Literal["holds", "broken", "unchecked"]


class Broken(Exception):  # noqa: N818 - a verdict, not a fault of the check
    """The promise was seen not to hold; the message says what was seen and what was expected."""


class Unchecked(Exception):  # noqa: N818 - see Broken
    """Nothing can be said here; the message says what the check lacks."""


class Verdict(msgspec.Struct, frozen=True):
    """What one check came to.

    Args:
        id: The promise's.
        seen: What was seen, in a few words.
        seconds: How long it took.
    """

    id: str
    status: Status
    seen: str
    seconds: float
