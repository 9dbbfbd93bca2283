"""What nobody wants to hear of for a while, and maintenance windows: silences, which all end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import ConfigError
from logllm.notify.routing.matchers import Matchers, parse_matchers

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from logllm.database import Database
    from logllm.notify.routing.plan import Labels

__all__ = ["LONGEST_S", "SILENCES_SCHEMA", "Silence", "Silences"]

SILENCES_SCHEMA = """
CREATE TABLE IF NOT EXISTS silences (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    matchers TEXT NOT NULL,
    starts_s REAL NOT NULL,
    ends_s REAL NOT NULL,
    who TEXT NOT NULL,
    comment TEXT NOT NULL,
    added_s REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS silences_by_end ON silences (ends_s);
"""

LONGEST_S = 90 * 86_400.0
"""The longest silence, and how far ahead it may start."""

MOST = 1_000
"""Silences that have not ended."""

LONGEST_COMMENT = 1_000
LONGEST_NAME = 200

_FARTHEST_S = 4_000_000_000.0
_KEPT_S = 30 * 86_400.0
_MOST_KEPT = 10_000


class Silence(msgspec.Struct, frozen=True):
    """Incidents that match all of `matchers` are not told from `starts_s` on until `ends_s`, Unix seconds.

    Args:
        by: Who added it, as they say; untrusted, and so is `comment`.
    """

    id: int
    matchers: list[str]
    starts_s: float
    ends_s: float
    by: str
    comment: str
    added_s: float

    def state(self, now_s: float) -> str:
        """`pending` before it starts, `active`, or `expired`."""
        if now_s >= self.ends_s:
            return "expired"
        return "active" if now_s >= self.starts_s else "pending"


class Silences:
    """The silences in the outbox's database. What another process adds or expires holds from the next look on.

    They hold back what is new, updates, reminders and escalations. That something which was told has ended is told
    all the same; what is still open when its silence ends is told then.

    Args:
        database: Opened with `SILENCES_SCHEMA`.

    Raises:
        StateError: From every method: the disk is full, the file is damaged.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read: dict[int, Matchers | None] = {}

    def add(
        self,
        matchers: Sequence[str],
        *,
        starts_s: float,
        ends_s: float,
        by: str,
        comment: str,
        now_s: float,
    ) -> Silence:
        """A new silence; one that starts later is a maintenance window.

        Args:
            matchers: In Alertmanager's syntax, `service="payments"`.
            comment: Why; control characters in it become spaces.

        Raises:
            ConfigError: A matcher is none or would match every incident, it has ended already, it is longer than 90
                days or starts later than that, it has no comment, or there are 1,000 silences.
        """
        found = parse_matchers(matchers)
        if found.match({}):
            raise ConfigError(
                f"silence of {', '.join(found.texts) or 'no matcher'}: it would silence every incident, "
                'expected a matcher as service="payments"; all of them on purpose: severity=~".+"'
            )
        if not starts_s < ends_s or ends_s <= now_s:
            raise ConfigError("silence: it ends before it begins, or has ended, expected an end in the future")
        if ends_s - max(starts_s, now_s) > LONGEST_S or starts_s - now_s > LONGEST_S or ends_s > _FARTHEST_S:
            raise ConfigError("silence: expected at most 90 days, starting within 90 days")
        by, comment = _plain(by, LONGEST_NAME), _plain(comment, LONGEST_COMMENT)
        if not comment:
            raise ConfigError("silence: no comment, expected why")
        with self._database.transaction() as db:
            _forget(db, now_s)
            (count,) = db.execute("SELECT count(*) FROM silences WHERE ends_s > ?", (now_s,)).fetchone()
            if count >= MOST:
                raise ConfigError(f"silence: there are {count} already, expected at most {MOST}; expire some")
            made = db.execute(
                "INSERT INTO silences (matchers, starts_s, ends_s, who, comment, added_s) VALUES (?, ?, ?, ?, ?, ?) "
                "RETURNING id",
                (json.dumps(found.texts), max(starts_s, now_s), ends_s, by, comment, now_s),
            ).fetchall()
        return Silence(made[0][0], list(found.texts), max(starts_s, now_s), ends_s, by, comment, now_s)

    def expire(self, silence_id: int, now_s: float) -> bool:
        """End one now; False where there is none of this number that has not ended."""
        with self._database.transaction() as db:
            return (
                db.execute(
                    "UPDATE silences SET ends_s = ?1, starts_s = min(starts_s, ?1) WHERE id = ?2 AND ends_s > ?1",
                    (now_s, silence_id),
                ).rowcount
                > 0
            )

    def active(self, now_s: float) -> Sequence[Silence]:
        """Those that hold now."""
        return [silence for silence in self.list(now_s) if silence.starts_s <= now_s]

    def list(self, now_s: float, *, expired: bool = False) -> Sequence[Silence]:
        """Those that hold or will, the first to end first; with `expired` also those of the last 30 days, first."""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT id, matchers, starts_s, ends_s, who, comment, added_s FROM silences WHERE ends_s > ? "
                "ORDER BY ends_s, id",
                (now_s - _KEPT_S if expired else now_s,),
            ).fetchall()
        return [Silence(row[0], _texts(row[1]), *row[2:]) for row in found]

    def matchers(self, silence: Silence) -> Matchers | None:
        """What it matches; None where that cannot be read, so that it silences nothing."""
        if silence.id not in self._read:
            if len(self._read) >= 2 * MOST:
                self._read.clear()
            try:
                found = parse_matchers(silence.matchers)
            except ConfigError:
                found = None
            self._read[silence.id] = None if found is None or found.match({}) else found
        return self._read[silence.id]

    def matching(self, silences: Sequence[Silence], labels: Labels) -> Silence | None:
        """The first of some silences that matches an incident's labels."""
        for silence in silences:
            matchers = self.matchers(silence)
            if matchers is not None and matchers.match(labels):
                return silence
        return None


def _texts(kept: str) -> list[str]:
    try:
        return msgspec.json.decode(kept, type=list[str])
    except msgspec.MsgspecError:
        return []


def _plain(text: str, longest: int) -> str:
    cut = text[: longest + 1].encode(errors="replace").decode()
    shown = "".join(char if char.isprintable() else " " for char in cut).strip()
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _forget(db: sqlite3.Connection, now_s: float) -> None:
    db.execute("DELETE FROM silences WHERE ends_s <= ?", (now_s - _KEPT_S,))
    db.execute(
        "DELETE FROM silences WHERE id IN (SELECT id FROM silences WHERE ends_s <= ? ORDER BY ends_s DESC "
        "LIMIT -1 OFFSET ?)",
        (now_s, _MOST_KEPT),
    )
