"""A bound on the bytes that are under way."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Room"]


class Room:
    """Lets work in while there is room, in the order it came; one piece larger than all of it goes alone.

    Args:
        most_bytes: What may be inside at once. Whoever waits holds nothing, so a single piece may exceed it.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        # One has been woken and has not come in yet: the next must see what it brings.
        self._waking = False

    async def wait(self) -> None:
        """Until there is room. The caller enters before it awaits anything else."""
        if self.used_bytes < self.most_bytes and not self._waiting and not self._waking:
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif turn.done() and not turn.cancelled():
                self._come_in()
            raise
        # The one behind is woken when this one has entered, or found that it has nothing to bring in.
        asyncio.get_running_loop().call_soon(self._come_in)

    def _come_in(self) -> None:
        self._waking = False
        self._next()

    def enter(self, size_bytes: int) -> None:
        """Take room."""
        self.used_bytes += size_bytes

    def leave(self, size_bytes: int) -> None:
        """Give it back."""
        self.used_bytes -= size_bytes
        self._next()

    def _next(self) -> None:
        while self._waiting and not self._waking and self.used_bytes < self.most_bytes:
            turn = self._waiting.popleft()
            if not turn.done():
                self._waking = True
                turn.set_result(None)
