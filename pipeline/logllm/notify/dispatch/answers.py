"""What people said of incidents: kept, so that it can be learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.notify.notification import Answer

if TYPE_CHECKING:
    import sqlite3

__all__ = ["ANSWERS_SCHEMA", "MOST_TOLD", "answers_of", "keep"]

ANSWERS_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    incident TEXT NOT NULL,
    verdict TEXT NOT NULL,
    who TEXT NOT NULL,
    time TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS answers_by_incident ON answers (incident, number);
"""

MOST_TOLD = 20
"""Answers for one incident that are told; what comes after them is kept."""

_MOST = 100_000
_MOST_EACH = 100
_LONGEST = 200


def keep(db: sqlite3.Connection, answer: Answer) -> tuple[Answer, bool]:
    """Keep an answer; returns it as it is kept, and whether it is news: another verdict, or another person."""
    text = answer.who[: _LONGEST + 1].encode(errors="replace").decode()
    who = "".join(char if char.isprintable() else " " for char in text)[:_LONGEST].strip()
    incident = answer.incident[:_LONGEST].encode(errors="replace").decode()
    kept = Answer(incident, answer.verdict, who, answer.time[:64].encode(errors="replace").decode())
    before = answers_of(db, incident)
    if before and (before[-1].verdict, before[-1].who) == (kept.verdict, kept.who):
        return kept, False
    db.execute(
        "INSERT INTO answers (incident, verdict, who, time) VALUES (?, ?, ?, ?)",
        (kept.incident, kept.verdict, kept.who, kept.time),
    )
    if len(before) >= _MOST_EACH:
        db.execute(
            "DELETE FROM answers WHERE number = (SELECT min(number) FROM answers WHERE incident = ?)", (incident,)
        )
    db.execute("DELETE FROM answers WHERE number <= (SELECT max(number) FROM answers) - ?", (_MOST,))
    return kept, len(before) < MOST_TOLD


def answers_of(db: sqlite3.Connection, incident: str) -> list[Answer]:
    """The answers for an incident, in order."""
    found = db.execute(
        "SELECT incident, verdict, who, time FROM answers WHERE incident = ? ORDER BY number", (incident,)
    )
    return [Answer(*row) for row in found]
