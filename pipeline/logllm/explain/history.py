"""Earlier incidents that were like this one, and what people said of them: found by words, as runbooks are."""

from __future__ import annotations

import math
import sqlite3
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from logllm.events import SeenBefore
from logllm.explain.prompt import tame
from logllm.explain.runbooks.words import WEAK, stem, terms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logllm.events import IncidentEvent
    from logllm.explain.redact.redactor import Redactor

__all__ = ["History", "Past", "likeness", "masked_outcome"]

MOST_SHOWN = 3
LEAST_LIKE = 0.45
"""Measured on pairs of labelled excerpts: see tests/explain/test_history.py for what it lets through and misses."""

MOST_KEPT = 5_000
"""The latest so many are searched: reading and indexing them takes 0.6 s once and 20 MB; a search takes 10 ms."""

_AT_ONCE = 1_000
_CANDIDATES = 30
_QUERY_TERMS = 100
_WEAK_WEIGHT = 0.2
_LEAST_COMMON = 1.0
"""One word that not every log has, or five that any has: two messages of a word each are not alike by chance."""

_OTHER_SERVICE = 0.85
_SAME_LEAD = 0.9
_ABSENT = frozenset({"silence", "heartbeat"})
_OPPOSITE = 0.4
"""That a message stopped is not like that it came too often."""

_APART = timedelta(hours=1)
"""What began within the hour before is a part of the same trouble, not its past."""

MAX_OUTCOME = 300


class Past(Protocol):
    """Whoever keeps incidents: `incidents.store.IncidentStore`."""

    def after(self, row: int, limit: int) -> list[tuple[int, IncidentEvent]]:
        """The latest `limit` of those kept after row `row`, in that order."""

    def told(self, rows: Iterable[int], fingerprint: str, limit: int) -> list[tuple[IncidentEvent, str, str]]:
        """Those of these rows and of a fingerprint, with verdict and outcome."""


class _Like(NamedTuple):
    likeness: float
    outcome: str
    verdict: str
    event: IncidentEvent


class History:
    """Search over the incidents of a store, by BM25 over their words; the index is in memory and made when asked.

    Not for incidents of another store, nor for what happens at the same time: what began less than an hour before is
    left out. Safe to use from several threads. Close it when done.

    Raises:
        StateError: From `search`: the store cannot be read.
    """

    def __init__(self, past: Past) -> None:
        self._past = past
        self._last_row = 0
        self._lock = threading.Lock()
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        # Only asked which rows match: the text itself need not be kept.
        self._db.execute("CREATE VIRTUAL TABLE past USING fts5(words, content = '', tokenize = 'porter unicode61')")

    def search(self, incident: IncidentEvent, limit: int = MOST_SHOWN) -> list[SeenBefore]:
        """What was like it, the likest first; of as good ones what helped is known of, then the latest.

        Of incidents with the same fingerprint one is given. Empty where nothing is like it.
        """
        with self._lock:
            self._read_on()
            words = list(dict.fromkeys(terms(_text(incident))))[:_QUERY_TERMS]
            rows = self._rows(words)
            told = self._past.told(rows, incident.fingerprint, _CANDIDATES)
        before = _began(incident)
        best: dict[str, _Like] = {}
        for event, verdict, outcome in told:
            began = _began(event)
            if event.id == incident.id or (before is not None and (began is None or before - began < _APART)):
                continue
            found = _Like(likeness(incident, event), outcome, verdict, event)
            about = event.fingerprint or event.id
            if found.likeness >= LEAST_LIKE and (about not in best or _order(found) < _order(best[about])):
                best[about] = found
        likest = sorted(best.values(), key=_order)[: max(0, limit)]
        return [
            SeenBefore(
                incident=like.event.id,
                time=like.event.started or like.event.time,
                title=like.event.title[:300],
                verdict=like.verdict,
                outcome=like.outcome,
                likeness=round(like.likeness, 2),
            )
            for like in likest
        ]

    def close(self) -> None:
        """Free the index. A second call does nothing."""
        with self._lock:
            self._db.close()

    def _read_on(self) -> None:
        start = self._last_row
        for row, event in self._past.after(start, MOST_KEPT if start == 0 else _AT_ONCE):
            self._db.execute("INSERT INTO past (rowid, words) VALUES (?, ?)", (row, " ".join(terms(_text(event)))))
            self._last_row = row

    def _rows(self, words: list[str]) -> list[int]:
        if not words:
            return []
        query = " OR ".join(f'"{word}"' for word in words)
        found = self._db.execute(
            "SELECT rowid FROM past WHERE past MATCH ? ORDER BY bm25(past), rowid DESC LIMIT ?", (query, _CANDIDATES)
        )
        return [row for (row,) in found]


def likeness(one: IncidentEvent, other: IncidentEvent) -> float:
    """How alike two incidents are, 0 to 1: 1 for the same message of the same service, else by the words they share."""
    if one.fingerprint and one.fingerprint == other.fingerprint:
        return 1.0
    factor = 1.0 if one.service == other.service else _OTHER_SERVICE
    if (set(one.kinds) <= _ABSENT) != (set(other.kinds) <= _ABSENT):
        factor *= _OPPOSITE
    if one.template and one.template == other.template:
        return _SAME_LEAD * factor
    return factor * min(_SAME_LEAD, max(_shared(_lead(one), _lead(other)), _shared(_said(one), _said(other))))


def masked_outcome(text: str, redactor: Redactor) -> str:
    """What an operator wrote, as it may be kept and shown: one line, at most 300 characters, secrets and names gone.

    Pseudonyms lose their numbers, since those of another process would be taken for somebody else's.
    """
    import re

    words = tame(redactor.mask(text[: 4 * MAX_OUTCOME]))
    words = re.sub(r"<(ip|host|email|mac|user|phone|secret)_\w{1,16}>", r"<\1>", words)
    return words if len(words) <= MAX_OUTCOME else words[: MAX_OUTCOME - 1].rstrip() + "…"


def _order(like: _Like) -> tuple[float, bool, bool, str, str]:
    """Likest first; times sort backwards, so that of equal ones the latest comes first."""
    latest_first = "".join(chr(0x7F - ord(char)) if ord(char) < 0x7F else char for char in like.event.started)
    return -round(like.likeness, 1), not like.outcome, not like.verdict, latest_first, like.event.id


def _began(event: IncidentEvent) -> datetime | None:
    try:
        return datetime.fromisoformat(event.started or event.time)
    except ValueError:
        return None


def _lead(event: IncidentEvent) -> str:
    return event.template or event.title


def _text(event: IncidentEvent) -> str:
    return "\n".join([event.service, *event.services, event.title, _said(event)])


def _said(event: IncidentEvent) -> str:
    """What the log said, without our own words for it: those are the same for any two incidents of a kind."""
    lines = [event.template, *event.templates[:12], *(evidence.text[:500] for evidence in event.evidence[:6])]
    return "\n".join(lines)


def _shared(one: str, other: str) -> float:
    """The cosine of two texts as sets of words, those that any log has counting little."""
    mine, theirs = _weights(one), _weights(other)
    common = sum(weight for word, weight in mine.items() if word in theirs)
    whole = math.sqrt(sum(mine.values()) * sum(theirs.values()))
    return common / whole if common >= _LEAST_COMMON else 0.0


def _weights(text: str) -> dict[str, float]:
    return {word: _WEAK_WEIGHT if word in _WEAK_STEMS else 1.0 for word in map(stem, terms(text))}


_WEAK_STEMS = frozenset(stem(word) for word in WEAK)
