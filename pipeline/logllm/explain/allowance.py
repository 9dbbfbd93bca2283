"""What the model may cost: tokens an hour, shared by how bad incidents are, and the hours it may work in."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from logllm.database import Database
from logllm.explain.model.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from logllm.explain.config import ExplainConfig

__all__ = ["FILE", "Allowance", "Usage", "usage_in"]

FILE = "explanations.db"
"""In the data folder: answers of the model, incidents that wait for one, tokens."""
HOUR_S = 3600.0
# What each severity may use up of an hour's tokens: a storm of small things must leave something for the worst.
_SHARE = {"critical": 1.0, "warning": 0.8, "info": 0.5}
_KEPT_S = 30 * 24 * HOUR_S
_SCHEMA = """
CREATE TABLE IF NOT EXISTS llm_tokens (
    time REAL NOT NULL,
    read INTEGER NOT NULL,
    written INTEGER NOT NULL,
    saved INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS llm_tokens_by_time ON llm_tokens (time);
CREATE TABLE IF NOT EXISTS llm_tokens_ever (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    since REAL NOT NULL,
    read INTEGER NOT NULL,
    written INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    spared INTEGER NOT NULL
) STRICT;
"""


class Usage(msgspec.Struct, frozen=True):
    """Tokens that the model read and wrote, and those that the cache saved, since `since` (Unix seconds).

    `asked` and `spared` are the answers it was asked for and those that came from the cache. `hour` is what counts
    against `per_hour` now.
    """

    since: float
    read: int
    written: int
    saved: int
    asked: int
    spared: int
    hour: int = 0
    per_hour: int = 0


class Allowance:
    """Keeps account of tokens over restarts, and says how long the model must not be asked. Safe to use from threads.

    Args:
        path: The database; None keeps it in memory.
        opens_in_s: Seconds from a Unix time until the model may work; by default as the configuration's windows say.
        clock: Unix seconds.

    Raises:
        ConfigError: A window is none.
        StateError: The database cannot be used.
    """

    def __init__(
        self,
        config: ExplainConfig,
        path: Path | None = None,
        *,
        opens_in_s: Callable[[float], float] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._per_hour = config.tokens_per_hour
        self._critical_any_time = config.critical_any_time
        self._opens_in_s = opens_in_s or Schedule(config.windows, "[explain] windows").opens_in_s
        self._clock = clock
        self._db = Database(path, _SCHEMA, what="account of tokens")
        now_s = clock()
        with self._db.transaction() as db:
            db.execute("DELETE FROM llm_tokens WHERE time < ?", (now_s - _KEPT_S,))
            db.execute("INSERT OR IGNORE INTO llm_tokens_ever VALUES (1, ?, 0, 0, 0, 0, 0)", (now_s,))

    def shut_s(self, severity: str) -> float:
        """Seconds until a window for an incident of this severity begins; 0: it is one, or there are none."""
        if severity == "critical" and self._critical_any_time:
            return 0.0
        return self._opens_in_s(self._clock())

    def dry_s(self, severity: str) -> float:
        """Seconds until this severity's share of an hour's tokens is not used up any more; 0: it is not."""
        limit = self._per_hour * _SHARE.get(severity, _SHARE["info"])
        now_s = self._clock()
        with self._db.reading() as db:
            rows = db.execute(
                "SELECT time, read + written FROM llm_tokens WHERE time > ? AND time <= ? ORDER BY time",
                (now_s - HOUR_S, now_s),
            ).fetchall()
        left = sum(tokens for _, tokens in rows)
        if left < limit:
            return 0.0
        # What was spent first is the first not to count any more.
        for when, tokens in rows:
            left -= tokens
            if left < limit:
                return max(1.0, float(when) + HOUR_S - now_s)
        return HOUR_S

    def spend(self, read: int, written: int) -> None:
        """The model has read and written so many tokens. Raises StateError."""
        self._count(read, written, 0)

    def spare(self, tokens: int) -> None:
        """An answer came from the cache, which cost so many when it was made. Raises StateError."""
        self._count(0, 0, tokens)

    def _count(self, read: int, written: int, saved: int) -> None:
        asked = int(read + written > 0)
        with self._db.transaction() as db:
            db.execute("INSERT INTO llm_tokens VALUES (?, ?, ?, ?)", (self._clock(), read, written, saved))
            db.execute(
                "UPDATE llm_tokens_ever SET read = read + ?, written = written + ?, saved = saved + ?, "
                "asked = asked + ?, spared = spared + ?",
                (read, written, saved, asked, 1 - asked),
            )

    def usage(self) -> Usage:
        """What was spent and saved so far. Raises StateError."""
        with self._db.reading() as db:
            return _usage(db, self._clock(), self._per_hour)

    def close(self) -> None:
        """Close the database. A second call does nothing."""
        self._db.close()


def usage_in(data_dir: Path, clock: Callable[[], float] = time.time) -> Usage | None:
    """The account in a data folder, also while a service keeps it; None where there is none that can be read."""
    path = data_dir / FILE
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as db:
            return _usage(db, clock(), 0)
    except (sqlite3.Error, TypeError):
        return None


def _usage(db: sqlite3.Connection, now_s: float, per_hour: int) -> Usage:
    since, read, written, saved, asked, spared = db.execute(
        "SELECT since, read, written, saved, asked, spared FROM llm_tokens_ever"
    ).fetchone()
    (hour,) = db.execute(
        "SELECT coalesce(sum(read + written), 0) FROM llm_tokens WHERE time > ?", (now_s - HOUR_S,)
    ).fetchone()
    return Usage(since, read, written, saved, asked, spared, hour, per_hour)
