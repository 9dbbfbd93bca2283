"""How many new templates may be made: enough for any real system, too few for random texts to fill memory."""

from __future__ import annotations

import msgspec

__all__ = ["MOST_ROOMS", "STRETCH", "Room", "Rooms"]

STRETCH = 100_000
MOST_ROOMS = 1_024
_LEAST = 50
_MOST_PAUSE = 64
# Loki's limit: more than a quarter of what is new pushes out something else.
_DISPLACED = 0.25


class Room(msgspec.Struct):
    """Allows `limit` new templates in each stretch of 100,000 messages, half as many after a stretch that used them
    all up, twice as many again after one that did not.

    It is shut for a pause after a stretch that used up even the least number, and after one in which more than a
    quarter of the new templates pushed out others. The pause is a stretch, then two, four, up to 64, as long as
    each opening ends the same way. Counts messages, not time, so that it repeats exactly.
    """

    limit: int
    allowed: int
    stretch: int = 0
    used: int = 0
    made: int = 0
    displaced: int = 0
    pause: int = 0
    shut_until: int = 0

    def open(self, message: int) -> bool:
        """Whether message number `message` (from 0, never going back) may be a new template."""
        stretch = message // STRETCH
        if stretch != self.stretch and stretch >= self.shut_until:
            self._turn(stretch)
        return stretch >= self.shut_until and self.used < self.allowed

    def _turn(self, stretch: int) -> None:
        least = min(_LEAST, self.limit)
        full = self.used >= self.allowed
        pushing = self.made >= least and self.displaced > self.made * _DISPLACED
        reopened = self.shut_until > self.stretch
        if pushing or (full and self.allowed <= least):
            self.allowed = max(least, self.allowed // 2)
            self.pause = min(max(1, self.pause * 2), _MOST_PAUSE)
            self.shut_until = self.stretch + 1 + self.pause
        elif full and stretch == self.stretch + 1:
            self.allowed = max(least, self.allowed // 2)
        elif not reopened:
            self.allowed = min(self.limit, self.allowed * 2)
            self.pause //= 2
        self.stretch = stretch
        self.used = self.made = self.displaced = 0


class Rooms:
    """A room for each service, by its code; those above MOST_ROOMS share the last one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.of: dict[int, Room] = {}

    def get(self, service: int) -> Room:
        room = self.of.get(service)
        if room is None:
            if len(self.of) >= MOST_ROOMS:
                service = -1
            room = self.of.setdefault(service, Room(self.limit, self.limit))
        return room
