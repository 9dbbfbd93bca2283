"""Who may send while unfinished frames hold too much memory.

Back-pressure is not reading; nobody is closed for having to wait. While all unfinished frames together are over the
limit, every connection is held but one, which may finish its frame; then comes the next that has something to send.
A peer that has its turn, or for which nothing waits in the socket, holds itself up; it is not we who do. After
`stall_s` of that without progress it is closed, as otherwise a crowd of half-sent frames would hold everybody for ever.
"""

from __future__ import annotations

import asyncio
import select
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from logllm.sources.forward.connection import Connection
    from logllm.sources.forward.stats import ForwardStats

__all__ = ["Turns"]

# An idle turn is passed on after this, if somebody else has something to send.
_LOOK_S = 0.05
# Fewer bytes in `stall_s` are no progress: one now and then would hold memory for ever.
_LEAST_BYTES = 16_384


class Turns:
    """Reading in turn, begun and ended by the memory that unfinished frames take.

    Args:
        connections: All that are open.
        limit_bytes: Where it begins; it ends at three quarters of that.
        stall_s: Seconds without progress after which a peer that may send is closed.
        stats: Where it is counted.
        warn: Takes a log line with its arguments.
    """

    def __init__(
        self,
        connections: Iterable[Connection],
        limit_bytes: int,
        stall_s: float,
        stats: ForwardStats,
        warn: Callable[..., None],
    ) -> None:
        self.limit_bytes, self.stall_s = limit_bytes, stall_s
        self.held_bytes = 0
        self._connections = connections
        self._stats = stats
        self._warn = warn
        self._queue: dict[Connection, None] = {}
        self._holder: Connection | None = None
        self._looked_s = self._turn_s = 0.0
        # Of those that hold memory: seconds in which they might have sent, and bytes that came.
        self._own_s: dict[Connection, float] = {}
        self._brought: Counter[Connection] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def crowded(self) -> bool:
        """Whether connections read in turn now."""
        return self._timer is not None

    def enter(self, connection: Connection) -> None:
        """A new connection waits like all others."""
        if self.crowded:
            self._wait(connection)

    def leave(self, connection: Connection) -> None:
        """A connection has ended; it has counted its bytes off."""
        self._queue.pop(connection, None)
        self._settle(connection)
        if connection is self._holder:
            self._holder = None
            self._next()

    def count(self, connection: Connection, change: int) -> None:
        """A connection holds so many bytes more, or fewer."""
        self.held_bytes += change
        if self.crowded:
            self._brought[connection] += max(change, 0)
            if self.held_bytes <= self.limit_bytes * 3 // 4:
                self._end()
        elif self.held_bytes > self.limit_bytes:
            self._begin()

    def taken(self, connection: Connection) -> None:
        """A frame of a connection has been accepted: its turn is over."""
        self._settle(connection)
        if connection is self._holder:
            self._pass_on()

    def close(self) -> None:
        """No more turns; everybody reads."""
        if self.crowded:
            self._end()

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._looked_s = loop.time()
        self._timer = loop.call_later(self._look_s, self._look)
        self._stats.crowded += 1
        self._warn("%d bytes of unfinished frames are held: connections are read in turn", self.held_bytes)
        for connection in self._connections:
            self._wait(connection)
        self._next()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._holder = None
        for kept in (self._queue, self._own_s, self._brought):
            kept.clear()
        for connection in self._connections:
            connection.hold(False)

    def _wait(self, connection: Connection) -> None:
        self._queue[connection] = None
        connection.hold(True)

    def _pass_on(self) -> None:
        if self._holder is not None:
            self._wait(self._holder)
            self._holder = None
        self._next()

    def _next(self, ready: set[int] | None = None) -> None:
        if not self.crowded or self._holder is not None:
            return
        ready = self._ready() if ready is None else ready
        for connection in self._queue:
            if not connection.busy and connection.fileno in ready:
                del self._queue[connection]
                self._holder = connection
                self._turn_s = asyncio.get_running_loop().time()
                connection.hold(False)
                return

    def _ready(self) -> set[int]:
        """Descriptors of those that have something to send, or have ended."""
        poll = select.poll()
        for connection in self._queue:
            if connection.fileno >= 0:
                poll.register(connection.fileno, select.POLLIN)
        return {descriptor for descriptor, _ in poll.poll(0)}

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        passed_s, self._looked_s = now - self._looked_s, now
        self._timer = loop.call_later(self._look_s, self._look)
        ready = self._ready()
        holder = self._holder
        for connection in [*self._queue, *([holder] if holder is not None else [])]:
            if connection.busy or not connection.held_bytes:
                self._settle(connection)
            elif connection is holder or connection.fileno not in ready:
                self._judge(connection, passed_s)
        if holder is not None and holder is self._holder and not holder.busy:
            had_s = now - self._turn_s
            if min(had_s, now - holder.heard_s) >= self._look_s or had_s >= self.stall_s:
                self._pass_on()
        self._next(ready)

    def _judge(self, connection: Connection, passed_s: float) -> None:
        own_s = self._own_s[connection] = self._own_s.get(connection, 0.0) + passed_s
        if own_s < self.stall_s or not self.crowded:
            return
        if self._brought[connection] >= _LEAST_BYTES:
            self._settle(connection)
            return
        self._stats.connections_stalled += 1
        connection.give_up(
            f"{self.held_bytes} bytes of unfinished frames are held, {connection.held_bytes} of them here, "
            f"and it does not go on with them for {self.stall_s:g} s"
        )

    def _settle(self, connection: Connection) -> None:
        self._own_s.pop(connection, None)
        self._brought.pop(connection, None)

    @property
    def _look_s(self) -> float:
        return min(_LOOK_S, self.stall_s / 4)
