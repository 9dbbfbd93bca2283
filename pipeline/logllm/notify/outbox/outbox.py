"""What is to be told, kept on the disk until it has arrived: a queue for each destination, and what became of it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from logllm.notify.outbox.tables import OUTBOX_SCHEMA, Message, State, Waiting, decoded, encoded, noted

if TYPE_CHECKING:
    import sqlite3

    from logllm.database import Database
    from logllm.notify.notification import Notification

__all__ = ["OUTBOX_SCHEMA", "Message", "Outbox", "State", "Waiting"]

# A digest of a storm covers thousands of incidents: their table has a bound of its own.
_COVERS_A_MESSAGE = 50
_FORGOTTEN_AT_ONCE = 20_000
_MESSAGE = "id, destination, thread, kind, state, queued_s, finished_s, attempts, note, ref, body"

_log = logging.getLogger("logllm.notify")


class Outbox:
    """Messages to destinations, in order, each id once. Safe to use from several threads and beside another process.

    Args:
        database: Opened with `OUTBOX_SCHEMA`.
        keep: Messages that were sent, and as many dead ones, that are remembered; the oldest are forgotten first.
            What waits is never forgotten.
        longest_s: What has waited longer is given up when it fails again.

    Raises:
        StateError: From every method: the disk is full, the file is damaged. Nothing has happened then.
    """

    def __init__(self, database: Database, *, keep: int = 10_000, longest_s: float = 86_400.0) -> None:
        self._database = database
        self._keep = keep
        self._longest_s = longest_s

    def put(
        self,
        destination: str,
        notification: Notification,
        *,
        now_s: float,
        covers: Sequence[tuple[str, str]] = (),
    ) -> bool:
        """Queue a message, behind those of its destination; within a transaction of the database it is part of that.

        Args:
            covers: The incidents it accounts for, each with what happened to it (`open`, `update`, `resolve`...).

        Returns:
            False where a message of this id is known already, waiting or done with.
        """
        with self._database.transaction() as db:
            added = db.execute(
                "INSERT INTO outbox (id, destination, thread, kind, state, queued_s, body) "
                "VALUES (?, ?, ?, ?, 'queued', ?, ?) ON CONFLICT (id) DO NOTHING RETURNING seq",
                (notification.id, destination, notification.thread, notification.kind, now_s, encoded(notification)),
            ).fetchall()
            if not added:
                return False
            db.executemany(
                "INSERT INTO outbox_covers (message, incident, event) VALUES (?, ?, ?)",
                [(added[0][0], incident, event) for incident, event in dict.fromkeys(covers)],
            )
            return True

    def next(self, destination: str) -> Waiting | None:
        """The oldest message that waits; one that cannot be read any more is a dead letter."""
        while True:
            with self._database.reading() as db:
                row = db.execute(
                    "SELECT id, body, attempts, queued_s, coalesce(last_sent_s, 0), coalesce(not_before_s, 0) "
                    "FROM outbox LEFT JOIN outbox_destinations USING (destination) "
                    "WHERE destination = ? AND state = 'queued' ORDER BY seq LIMIT 1",
                    (destination,),
                ).fetchone()
            if row is None:
                return None
            notification = decoded(row[1])
            if notification is not None:
                return Waiting(row[0], notification, *row[2:])
            _log.error("%s: message %s cannot be read and is a dead letter", destination, row[0])
            self.dead(row[0], "cannot be read: damaged, or of another version", row[3])

    def newer(self, waiting: Waiting) -> str | None:
        """The update that waits right behind this one in its thread, and says all that this update says; else None."""
        if waiting.notification.kind != "update":
            return None
        with self._database.reading() as db:
            row = db.execute(
                "SELECT later.id, later.kind FROM outbox JOIN outbox AS later USING (destination, thread, state) "
                "WHERE outbox.id = ? AND outbox.state = 'queued' AND later.seq > outbox.seq ORDER BY later.seq LIMIT 1",
                (waiting.id,),
            ).fetchone()
        return row[0] if row is not None and row[1] == "update" else None

    def begin(self, message_id: str, now_s: float) -> None:
        """A message is about to be sent; kept, so that the pause after it holds even if we are killed meanwhile."""
        with self._database.transaction() as db:
            db.execute("UPDATE outbox SET attempts = attempts + 1 WHERE id = ? AND state = 'queued'", (message_id,))
            _paced(db, message_id, now_s)

    def sent(self, message_id: str, ref: str, now_s: float) -> None:
        """Its receiver has it. The latest `ref` is the thread's: a message that was gone may have been posted anew."""
        with self._database.transaction() as db:
            self._finish(db, message_id, "sent", "", now_s)
            _paced(db, message_id, now_s)
            if ref:
                db.execute("UPDATE outbox SET ref = ? WHERE id = ?", (ref, message_id))
            db.execute(
                "INSERT INTO outbox_threads SELECT destination, thread, ?, ? FROM outbox WHERE id = ? AND ? != '' "
                "ON CONFLICT DO UPDATE SET ref = excluded.ref, used_s = excluded.used_s",
                (ref, now_s, message_id, ref),
            )
            db.execute(
                "DELETE FROM outbox_threads WHERE used_s < "
                "(SELECT used_s FROM outbox_threads ORDER BY used_s DESC LIMIT 1 OFFSET ?)",
                (self._keep - 1,),
            )

    def skip(self, message_id: str, why: str, now_s: float) -> None:
        """It is done with and need not be sent: its destination has no words for it, or a newer one says it all."""
        with self._database.transaction() as db:
            self._finish(db, message_id, "sent", why, now_s)

    def failed(self, message_id: str, error: str, retry_at_s: float, now_s: float) -> None:
        """It was not taken, or nobody knows; its destination is left alone until `retry_at_s`."""
        with self._database.transaction() as db:
            db.execute("UPDATE outbox SET note = ? WHERE id = ? AND state = 'queued'", (noted(error), message_id))
            _paced(db, message_id, now_s, retry_at_s)

    def dead(self, message_id: str, error: str, now_s: float) -> None:
        """It is given up, and shown as such."""
        with self._database.transaction() as db:
            self._finish(db, message_id, "dead", error, now_s)

    def expire(self, destination: str, error: str, now_s: float) -> int:
        """Give up all that has waited for longer than `longest_s`; how many they were."""
        return self._give_up("destination = ? AND queued_s < ?", (destination, now_s - self._longest_s), error, now_s)

    def abandon(self, known: Collection[str], now_s: float) -> int:
        """Give up what waits for destinations that are none of these: nobody will ever send it. How many they were."""
        marks = ", ".join("?" * len(known))
        return self._give_up(f"destination NOT IN ({marks})", tuple(known), "there is no such destination now", now_s)

    def requeue(self, message_id: str, now_s: float) -> bool:
        """Have a dead letter sent after all, in its old place; False where it is none."""
        with self._database.transaction() as db:
            return (
                db.execute(
                    "UPDATE outbox SET state = 'queued', queued_s = ?, finished_s = NULL, attempts = 0 "
                    "WHERE id = ? AND state = 'dead'",
                    (now_s, message_id),
                ).rowcount
                > 0
            )

    def ref(self, destination: str, thread: str) -> str:
        """By which the thread's first message can be found again at its destination; empty where there is none."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT ref FROM outbox_threads WHERE destination = ? AND thread = ?", (destination, thread)
            ).fetchone()
        return "" if row is None else str(row[0])

    def last_sent_s(self, destination: str) -> float:
        """When something was last sent there, taken or not, Unix time; 0.0 where nothing was."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT last_sent_s FROM outbox_destinations WHERE destination = ?", (destination,)
            ).fetchone()
        return 0.0 if row is None else float(row[0])

    def waiting(self, destination: str) -> tuple[int, float | None]:
        """How many messages wait, and since when the one whose turn it is does."""
        where = "FROM outbox WHERE destination = ? AND state = 'queued'"
        with self._database.reading() as db:
            (count,) = db.execute(f"SELECT count(*) {where}", (destination,)).fetchone()
            first = db.execute(f"SELECT queued_s {where} ORDER BY seq LIMIT 1", (destination,)).fetchone()
        return count, None if first is None else first[0]

    def rows(self, state: State | None = None, destination: str | None = None, limit: int = 50) -> list[Message]:
        """Messages, latest first."""
        return self._messages(
            "WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR destination = ?2) ORDER BY seq DESC LIMIT ?3",
            (state, destination, limit),
        )

    def get(self, beginning: str) -> Message | None:
        """A message by its id, or by the beginning of it where that is unambiguous."""
        found = self._messages("WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id = ?1 DESC LIMIT 2", (beginning,))
        return found[0] if len(found) == 1 or (found and found[0].id == beginning) else None

    def telling(self, incident: str) -> list[Message]:
        """The messages that account for an incident, in order."""
        return self._messages(
            "WHERE seq IN (SELECT message FROM outbox_covers WHERE incident = ?) ORDER BY seq", (incident,)
        )

    def covered(self, message_id: str) -> list[tuple[str, str]]:
        """The incidents that a message accounts for, and what happened to each."""
        with self._database.reading() as db:
            return db.execute(
                "SELECT incident, event FROM outbox_covers WHERE message = (SELECT seq FROM outbox WHERE id = ?) "
                "ORDER BY number",
                (message_id,),
            ).fetchall()

    def counts(self) -> dict[tuple[str, State], int]:
        """How many messages there are, by destination and state."""
        with self._database.reading() as db:
            found = db.execute("SELECT destination, state, count(*) FROM outbox GROUP BY destination, state").fetchall()
        return {(destination, state): count for destination, state, count in found}

    def _messages(self, where: str, parameters: tuple[object, ...]) -> list[Message]:
        with self._database.reading() as db:
            found = db.execute(f"SELECT {_MESSAGE} FROM outbox {where}", parameters).fetchall()  # noqa: S608
        return [Message(*(*row[:-1], decoded(row[-1]))) for row in found]

    def _give_up(self, which: str, parameters: tuple[object, ...], error: str, now_s: float) -> int:
        with self._database.transaction() as db:
            count = db.execute(
                "UPDATE outbox SET state = 'dead', finished_s = ?, note = ? "  # noqa: S608 - of our own making
                f"WHERE state = 'queued' AND {which}",
                (now_s, noted(error), *parameters),
            ).rowcount
            if count:
                self._forget(db, "dead")
        return count

    def _finish(self, db: sqlite3.Connection, message_id: str, state: State, note: str, now_s: float) -> None:
        db.execute(
            "UPDATE outbox SET state = ?, finished_s = ?, note = ? WHERE id = ? AND state = 'queued'",
            (state, now_s, noted(note), message_id),
        )
        self._forget(db, state)

    def _forget(self, db: sqlite3.Connection, state: State) -> None:
        db.execute(
            "DELETE FROM outbox WHERE state = ?1 AND seq <= "
            "(SELECT seq FROM outbox WHERE state = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
            (state, self._keep),
        )
        db.execute(
            "DELETE FROM outbox_covers WHERE number IN (SELECT number FROM outbox_covers AS old "
            "WHERE number <= (SELECT max(number) FROM outbox_covers) - ? ORDER BY number LIMIT ?) "
            "AND NOT EXISTS (SELECT 1 FROM outbox WHERE seq = message AND state = 'queued')",
            (self._keep * _COVERS_A_MESSAGE, _FORGOTTEN_AT_ONCE),
        )


def _paced(db: sqlite3.Connection, message_id: str, now_s: float, not_before_s: float = 0.0) -> None:
    db.execute(
        "INSERT INTO outbox_destinations SELECT destination, ?, ? FROM outbox WHERE id = ? "
        "ON CONFLICT DO UPDATE SET last_sent_s = excluded.last_sent_s, not_before_s = excluded.not_before_s",
        (now_s, not_before_s, message_id),
    )
