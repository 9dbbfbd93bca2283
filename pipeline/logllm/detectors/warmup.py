"""What a young installation cannot tell yet."""

from __future__ import annotations

import msgspec

__all__ = ["Missing"]


class Missing(msgspec.Struct, frozen=True):
    """One thing that takes more log to tell.

    Args:
        kind: "all", "release", "budget", "season": a stable name.
        what: In words, what is then told, or told better.
        windows: Windows of log that are still missing.
    """

    kind: str
    what: str
    windows: int
