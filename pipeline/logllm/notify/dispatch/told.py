"""Notes what was told to a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.notify.dispatch import escalation

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from logllm.notify.dispatch.tellings import Row

__all__ = ["closed_thread", "forget_empty", "mark"]


def closed_thread(db: sqlite3.Connection, destination: str, told: Sequence[Row]) -> str:
    """The digest that told of some of these first, where all it told of is over and nothing else is told now.

    So the thread of a digest is closed by a message of its own, as an incident's is.
    """
    if any(row.news != "resolve" for row in told):
        return ""
    for thread in dict.fromkeys(row.thread for row in told if row.thread and not row.own):
        left = db.execute(
            "SELECT 1 FROM tellings JOIN dispatch_incidents USING (incident) WHERE destination = ? AND thread = ? "
            "AND is_open LIMIT 1",
            (destination, thread),
        ).fetchone()
        if left is None:
            return thread
    return ""


def forget_empty(db: sqlite3.Connection, destination: str, now_s: float) -> None:
    """Groups whose news was held or told otherwise have none."""
    db.execute(
        "UPDATE groups SET due_s = NULL WHERE destination = ?1 AND due_s <= ?2 AND NOT EXISTS (SELECT 1 FROM tellings "
        "WHERE destination = ?1 AND tellings.grp = groups.grp AND way = 'group' AND hold = '')",
        (destination, now_s),
    )


def mark(
    db: sqlite3.Connection,
    destination: str,
    told: Sequence[Row],
    now_s: float,
    *,
    thread: str | None = None,
    explained: bool = False,
) -> None:
    """Incidents were told to a destination, with all that waited.

    Args:
        thread: The digest that told them; None: each by a message of its own.
        explained: With their explanation.
    """
    db.executemany(
        "UPDATE tellings SET way = NULL, news = '', events = '', due_s = NULL, step = NULL, hold = '', "
        "thread = CASE WHEN told_s IS NULL THEN ? ELSE thread END, "
        "told_s = coalesce(told_s, ?), told_severity = severity, own = max(own, ?), "
        "explain = CASE WHEN ? THEN NULL ELSE explain END WHERE destination = ? AND incident = ?",
        [(thread, now_s, thread is None, explained, destination, row.incident) for row in told],
    )
    escalation.begin(db, (row.incident for row in told), now_s)
