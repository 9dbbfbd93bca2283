"""The catalogue of runbooks and its search: SQLite FTS5, no model, a fraction of a millisecond a look-up."""

from __future__ import annotations

import math
import sqlite3
import threading
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from logllm.explain.runbooks.file import Risk, Runbook, commands_of, parse_runbook, read_folders
from logllm.explain.runbooks.words import WEAK, stem, terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["FITS", "LEAST_SHOWN", "Catalogue", "Match", "Risk", "Runbook", "commands_of", "fitting", "parse_runbook"]

# Calibrated on the shipped catalogue (tests/bench/explain.py): ordinary log lines stay below, lines that show
# a problem reach it. A larger value says "none fits" more often.
FITS = 0.7

_QUERY_TERMS = 200
_COLUMNS = ("title", "signals", "what", "steps")
_WEIGHTS = (3.0, 4.0, 1.5, 0.5)
_WEAK_WEIGHT = 0.25
# Where no signal fits in full, the first match still counts when it is well ahead. Scanned with the labelled excerpts
# of the tests: 75 % right, 3 % wrong, 40 of 42 "none" right, against 60 %, 4 % and 42 by the signals' share alone.
_CLEAR = 10.0
LEAST_SHOWN = 0.35
_AHEAD = 1.3
_FLOOR = 2.0
# A signal's words in their own order, next to each other, count at least this much however common they are.
_PHRASE = 0.75


class Match(NamedTuple):
    """A runbook and how well the text fits it.

    `score` orders matches: BM25 over title, signals, description and steps, times what share of a signal the text
    carries. `signal` is that share alone, 0 to 1 (`FITS` or more: the text shows this problem).
    """

    runbook: Runbook
    score: float
    signal: float


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
        self._signals = _SignalIndex(self._order)

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
        """The runbooks that share words with `text`, best first, at most `limit`."""
        words = list(dict.fromkeys(terms(text)))[:_QUERY_TERMS]
        if not words or not self._order:
            return []
        query = " OR ".join(f'"{word}"' for word in words)
        with self._lock:
            rows = self._db.execute(
                f"SELECT rowid, -bm25(book, {', '.join(map(str, _WEIGHTS))}) FROM book WHERE book MATCH ?",  # noqa: S608 - constants
                (query,),
            ).fetchall()
        shares = self._signals.shares(text)
        found = []
        for number, bm25 in rows:
            signal = shares.get(number, 0.0)
            found.append(Match(self._order[number], bm25 * (0.35 + signal), signal))
        found.sort(key=lambda match: (-match.score, match.runbook.id))
        return found[:limit]

    def best(self, text: str) -> Runbook | None:
        """The runbook whose signals the text shows, or None: most log lines need no runbook."""
        match = fitting(self.search(text, 5))
        return None if match is None else match.runbook

    def shows(self, runbook: Runbook, line: str) -> float:
        """What share of the runbook's best fitting signal this one line carries, 0 to 1."""
        number = self._place.get(runbook.id)
        return 0.0 if number is None else self._signals.shares(line).get(number, 0.0)


def fitting(matches: Sequence[Match]) -> Match | None:
    """The match that counts, of a search's: the first, if a signal of it is there or it is well ahead of the rest."""
    if not matches:
        return None
    first = matches[0]
    ahead = len(matches) == 1 or first.score >= _AHEAD * matches[1].score
    clear = first.score >= _CLEAR and first.signal >= LEAST_SHOWN and ahead
    return first if first.signal >= FITS or clear else None


class _SignalIndex:
    """Which share of each runbook's best fitting signal a text carries: an inverted index of the signals' words."""

    def __init__(self, runbooks: list[Runbook]) -> None:
        weights = _term_weights(runbooks)
        self._owner: list[int] = []
        self._total: list[float] = []
        self._phrase: list[str] = []
        self._least: list[int] = []
        self._by_word: dict[str, list[tuple[int, float]]] = {}
        for number, runbook in enumerate(runbooks):
            for signal in runbook.signals:
                words = [stem(word) for word in terms(signal)]
                place = len(self._owner)
                self._owner.append(number)
                self._least.append(min(2, len(set(words))))
                self._phrase.append(f" {' '.join(words)} " if len(words) > 1 else "")
                # A signal of one or two weak words must not decide whatever else is in the line.
                self._total.append(max(_FLOOR, sum(weights[word] for word in set(words))))
                for word in set(words):
                    self._by_word.setdefault(word, []).append((place, weights[word]))

    def shares(self, text: str) -> dict[int, float]:
        """Runbook number to share, 0 to 1; runbooks without any word in common are absent."""
        best: dict[int, float] = {}
        for words in {tuple(stem(word) for word in terms(line)) for line in text.splitlines()[:64]}:
            sums: dict[int, float] = {}
            hits: dict[int, int] = {}
            for word in set(words):
                for place, weight in self._by_word.get(word, ()):
                    sums[place] = sums.get(place, 0.0) + weight
                    hits[place] = hits.get(place, 0) + 1
            spaced = f" {' '.join(words)} "
            for place, total in sums.items():
                # One word of several is a coincidence: "image" is no broken image cache.
                if hits[place] < self._least[place]:
                    continue
                share = min(1.0, total / self._total[place])
                if self._phrase[place] and self._phrase[place] in spaced:
                    share = max(share, _PHRASE)
                number = self._owner[place]
                if share > best.get(number, 0.0):
                    best[number] = share
        return best


def _normal(text: str) -> str:
    return " ".join(terms(text))


def _term_weights(runbooks: list[Runbook]) -> dict[str, float]:
    """Rare among the runbooks' signals weighs more; words that any log has weigh little. 0.1 to 2."""
    seen: dict[str, int] = {}
    for runbook in runbooks:
        for word in {stem(word) for signal in runbook.signals for word in terms(signal)}:
            seen[word] = seen.get(word, 0) + 1
    weak = {stem(word) for word in WEAK}
    count = max(len(runbooks), 8)
    return {
        word: min(2.0, max(0.4, math.log((count + 1) / (number + 0.5)) / math.log(8)))
        * (_WEAK_WEIGHT if word in weak else 1.0)
        for word, number in seen.items()
    }
