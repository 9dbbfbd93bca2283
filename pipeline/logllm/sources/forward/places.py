"""Whose place a newcomer gets when all are taken: never that of one who has sent a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logllm.sources.forward.connection import Connection

__all__ = ["Places"]

# A connection this young may be about to send its first byte.
_SPARED_S = 1.0
# A first frame that takes so many times `stall_s` need not be waited for.
_STALLS = 6


class Places:
    """All open connections, and which of them have shown that somebody sends.

    Each call takes constant time, so that a flood costs no more than its connections; only `left` looks at all.

    Attributes:
        connections: All, the oldest first.
        leaving: Those whose peer has gone while its chunk waits: what they hold is still delivered, but they take no
            place any more.
    """

    def __init__(self) -> None:
        self.connections: dict[Connection, None] = {}
        self.leaving: set[Connection] = set()
        self._swept_s = 0.0
        # Since when, the oldest first: those without a byte, and those without a whole frame.
        self._silent: dict[Connection, float] = {}
        self._unproved: dict[Connection, float] = {}

    def enter(self, connection: Connection, now: float) -> None:
        """A new connection."""
        self.connections[connection] = None
        self._silent[connection] = now

    def heard(self, connection: Connection, now: float) -> None:
        """Its first byte has come."""
        if self._silent.pop(connection, None) is not None:
            self._unproved[connection] = now

    def proved(self, connection: Connection) -> None:
        """Its first frame has come."""
        self._unproved.pop(connection, None)

    @property
    def taken(self) -> int:
        """Places that are somebody's."""
        return len(self.connections) - len(self.leaving)

    def left(self, now: float) -> list[Connection]:
        """Connections that wait for a chunk whose sender has gone; looked for once a second at most."""
        if now - self._swept_s < _SPARED_S:
            return []
        self._swept_s = now
        return [each for each in self.connections if each.busy and each not in self.leaving and each.peer.has_left]

    def leave(self, connection: Connection) -> None:
        """It has ended."""
        self.leaving.discard(connection)
        for known in (self.connections, self._silent, self._unproved):
            known.pop(connection, None)

    def spare(self, now: float, stall_s: float, *, crowded: bool) -> Connection | None:
        """The one to close for a newcomer; None where every place is somebody's.

        Args:
            now: Seconds, by the clock that the others were told.
            stall_s: Seconds without a byte after which a peer is stuck in its first frame.
            crowded: Whether peers have to wait to be read, and so cannot be blamed.
        """
        silent = next(iter(self._silent), None)
        if silent is not None and now - self._silent[silent] >= _SPARED_S:
            return silent
        stuck = next(iter(self._unproved), None)
        if stuck is None or stuck.busy or crowded:
            return None
        is_late = now - stuck.heard_s >= stall_s or now - self._unproved[stuck] >= _STALLS * stall_s
        return stuck if is_late else None
