"""How many messages a destination gets in a minute: when there would be more, one digest a minute tells it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

__all__ = ["BURSTS_SCHEMA", "EDITS", "SPAN_S", "Burst"]

BURSTS_SCHEMA = """
CREATE TABLE IF NOT EXISTS bursts (
    destination TEXT NOT NULL,
    kind TEXT NOT NULL,
    at_s REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS bursts_by_destination ON bursts (destination, at_s);
"""

SPAN_S = 60.0

# Half of what Slack takes, so that news never stands behind a queue of edits for long.
EDITS = 30


class Burst:
    """The last minute of one destination.

    For a minute after the digest of a storm nothing is told, and what is too much in the minute after that is all in
    the next digest: a storm of hours is one message a minute, not five.

    Attributes:
        goes_on: So much was told in the last two minutes that what is too much now is a storm that goes on.
        free: Messages that may disturb now.
        free_s: When the next one may, as it was before any was spent; Unix time.
        edits: Edits that may go now.
        edits_s: When the next one may, likewise.
    """

    def __init__(self, db: sqlite3.Connection, destination: str, limit: int, now_s: float) -> None:
        self._db = db
        self._destination = destination
        self._now_s = now_s
        # What lies in the future was written before the clock was put back.
        found = db.execute(
            "SELECT kind, at_s FROM bursts WHERE destination = ? AND at_s > ? AND at_s <= ? ORDER BY at_s",
            (destination, now_s - 2 * SPAN_S, now_s),
        ).fetchall()
        latest = [(kind, at_s) for kind, at_s in found if at_s + SPAN_S > now_s]
        messages = [at_s for kind, at_s in latest if kind != "edit"]
        edits = [at_s for kind, at_s in latest if kind == "edit"]
        storms = [at_s for kind, at_s in latest if kind == "storm"]
        before = [kind for kind, _ in found if kind != "edit"]
        self.goes_on = "storm" in before or len(before) >= limit
        self.free, self.free_s = _room(messages, max(1, limit), now_s)
        self.edits, self.edits_s = _room(edits, EDITS, now_s)
        if storms:
            self.free, self.free_s = 0, max(self.free_s, storms[-1] + SPAN_S)

    def spend(self, kind: str) -> None:
        """One message goes: a `message`, an `edit`, or a digest of a `storm`."""
        self._db.execute(
            "DELETE FROM bursts WHERE destination = ? AND (at_s <= ? OR at_s > ?)",
            (self._destination, self._now_s - 2 * SPAN_S, self._now_s),
        )
        self._db.execute("INSERT INTO bursts VALUES (?, ?, ?)", (self._destination, kind, self._now_s))
        if kind == "edit":
            self.edits -= 1
        else:
            self.free = 0 if kind == "storm" else self.free - 1


def _room(times: list[float], limit: int, now_s: float) -> tuple[int, float]:
    free = limit - len(times)
    return (free, now_s) if free > 0 else (0, times[-limit] + SPAN_S)
