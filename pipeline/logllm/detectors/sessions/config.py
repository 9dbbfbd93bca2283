"""How sessions are found and for how long they are remembered."""

from __future__ import annotations

from typing import Annotated

import msgspec

from logllm.detectors.sessions.pattern import compiled

__all__ = ["PATTERN_MARK", "SessionsConfig"]

PATTERN_MARK = "re:"


class SessionsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a session is.

    Args:
        key: Where a record says which session it is of: a field's name (dotted where nested); `re:PATTERN`, looked for
            in the message, its first group or all of it being the id; `auto` for well-known fields and, where a record
            has none, for ids in the text that recur over several kinds of message; `off` to judge no sessions.
        idle_s: Seconds of event time without a record after which a session is judged; again when it goes on.
        max_open: Sessions remembered at a time. Where there are more, every second, fourth... of them is followed.
    """

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] = "auto"
    idle_s: Annotated[int, msgspec.Meta(ge=60, le=7 * 86_400)] = 1_800
    max_open: Annotated[int, msgspec.Meta(ge=1_000, le=1_000_000)] = 100_000

    def __post_init__(self) -> None:
        if self.key.startswith(PATTERN_MARK):
            compiled(self.key.removeprefix(PATTERN_MARK))
