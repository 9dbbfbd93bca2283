"""The catalogue of runbooks and its search: SQLite FTS5, no model, a fraction of a millisecond a look-up."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from logllm.explain.runbooks.file import Risk, Runbook, commands_of, parse_runbook, read_folders
from logllm.explain.runbooks.signals import Shown, SignalIndex
from logllm.explain.runbooks.weights import features, log_odds
from logllm.explain.runbooks.words import terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["FITS", "LEAST_SHOWN", "Catalogue", "Match", "Risk", "Runbook", "commands_of", "fitting", "parse_runbook"]

# The share of a signal from which on a line shows it (`Catalogue.shows`), and the least that is worth citing.
FITS = 0.7
LEAST_SHOWN = 0.35

_QUERY_TERMS = 200
_COLUMNS = ("title", "signals", "what", "steps")
_WEIGHTS = (3.0, 4.0, 1.5, 0.5)
_NOT_SHOWN = Shown(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Match(NamedTuple):
    """A runbook and how well the text fits it.

    `score` orders matches: the log-odds, by words alone, that this runbook is meant rather than none; above 0 it fits.
    `signal` is what share of a signal the best line carries, 0 to 1 (`FITS` or more: the text shows this problem),
    `bm25` the plain BM25 over title, signals, description and steps, `signs` what `score` is made of.
    """

    runbook: Runbook
    score: float
    signal: float
    bm25: float = 0.0
    signs: tuple[float, ...] = ()


class Catalogue:
    """Runbooks by id, and search over them.

    Safe to call from several threads. Close it when done, or use it in a `with`.

    >>> with Catalogue([parse_runbook('''+++
    ... id = "disk-full"
    ... title = "Disk full"
    ... signals = ["No space left on device"]
    ... +++
    ... ## What it is
    ... A file system has no free blocks.
    ... ## Check
    ... - `df -h`
    ... ## Do
    ... - Free space.
    ... ''')]) as catalogue:
    ...     catalogue.best("write failed: ENOSPC").id
    'disk-full'
    """

    def __init__(self, runbooks: Iterable[Runbook]) -> None:
        self.by_id: dict[str, Runbook] = {runbook.id: runbook for runbook in runbooks}
        self._order = list(self.by_id.values())
        self._place = {runbook.id: number for number, runbook in enumerate(self._order)}
        self._lock = threading.Lock()
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._db.execute(f"CREATE VIRTUAL TABLE book USING fts5({', '.join(_COLUMNS)}, tokenize = 'porter unicode61')")
        self._db.executemany(
            "INSERT INTO book (rowid, title, signals, what, steps) VALUES (?, ?, ?, ?, ?)",
            (
                (
                    number,
                    _normal(f"{runbook.id} {runbook.title}"),
                    _normal(" \n ".join(runbook.signals)),
                    _normal(runbook.what),
                    _normal(" ".join((*runbook.checks, *runbook.steps))),
                )
                for number, runbook in enumerate(self._order)
            ),
        )
        self._signals = SignalIndex(self._order)

    @classmethod
    def load(cls, folders: Sequence[str | Path] = (), *, shipped: bool = True) -> Catalogue:
        """The shipped catalogue and the user's folders; a user's file with the same `id` replaces ours.

        Raises:
            ConfigError: naming file, line and what was expected.
        """
        return cls(read_folders(folders, shipped=shipped))

    def __len__(self) -> int:
        return len(self._order)

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the index. A second call does nothing."""
        self._db.close()

    @property
    def digest(self) -> str:
        """Changes when any runbook does: part of the explanation cache's key."""
        import hashlib

        return hashlib.blake2b(msgspec.msgpack.encode(self._order), digest_size=8).hexdigest()

    def search(self, text: str, limit: int = 5) -> list[Match]:
        """The runbooks that share words with `text`, best first, at most `limit`; a few milliseconds."""
        lines, shown = self._signals.telling(text)
        bm25 = self._bm25("\n".join(lines) or text)
        top = max(bm25.values(), default=0.0)
        found = []
        for number in bm25:
            how = shown.get(number, _NOT_SHOWN)
            signs = features(how, bm25[number], top)
            found.append(Match(self._order[number], log_odds(signs), how.best, bm25[number], signs))
        found.sort(key=lambda match: (-match.score, match.runbook.id))
        return found[:limit]

    def _bm25(self, text: str) -> dict[int, float]:
        words = list(dict.fromkeys(terms(text)))[:_QUERY_TERMS]
        if not words or not self._order:
            return {}
        query = " OR ".join(f'"{word}"' for word in words)
        with self._lock:
            rows = self._db.execute(
                f"SELECT rowid, -bm25(book, {', '.join(map(str, _WEIGHTS))}) FROM book WHERE book MATCH ?",  # noqa: S608 - constants
                (query,),
            ).fetchall()
        return dict(rows)

    def best(self, text: str) -> Runbook | None:
        """The runbook whose signals the text shows, or None: most log lines need no runbook."""
        match = fitting(self.search(text, 5))
        return None if match is None else match.runbook

    def shows(self, runbook: Runbook, line: str) -> float:
        """What share of the runbook's best fitting signal this one line carries, 0 to 1."""
        number = self._place.get(runbook.id)
        return 0.0 if number is None else self._signals.share(number, line)


def fitting(matches: Sequence[Match]) -> Match | None:
    """The match that counts, of a search's: the first, if it is likelier than none."""
    return matches[0] if matches and matches[0].score > 0.0 else None


def _normal(text: str) -> str:
    return " ".join(terms(text))
