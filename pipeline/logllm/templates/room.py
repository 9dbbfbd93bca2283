"""How many new templates may be made: enough for any real system, too few for random texts to fill memory."""

from __future__ import annotations

import msgspec

__all__ = ["STRETCH", "Room"]

STRETCH = 100_000
_LEAST = 50


class Room(msgspec.Struct):
    """Allows `limit` new templates in each stretch of 100,000 messages, half as many after a stretch that used them
    all up, twice as many again after one that did not. Counts messages, not time, so that it repeats exactly.
    """

    limit: int
    allowed: int
    stretch: int = 0
    used: int = 0

    def open(self, message: int) -> bool:
        """Whether message number `message` (from 0, never going back) may be a new template."""
        stretch = message // STRETCH
        if stretch != self.stretch:
            if self.used < self.allowed or stretch > self.stretch + 1:
                self.allowed = min(self.limit, self.allowed * 2)
            else:
                self.allowed = max(min(_LEAST, self.limit), self.allowed // 2)
            self.stretch = stretch
            self.used = 0
        return self.used < self.allowed
