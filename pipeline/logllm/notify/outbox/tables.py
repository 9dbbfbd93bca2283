"""The outbox's tables, and what a row of them is."""

from __future__ import annotations

import json
from typing import Literal

import msgspec

from logllm.notify.notification import Notification

__all__ = ["OUTBOX_SCHEMA", "Message", "State", "Waiting", "decoded", "encoded", "noted"]

OUTBOX_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    destination TEXT NOT NULL,
    thread TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    queued_s REAL NOT NULL,
    finished_s REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    note TEXT NOT NULL DEFAULT '',
    ref TEXT NOT NULL DEFAULT '',
    body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_by_destination ON outbox (destination, state, seq);
CREATE INDEX IF NOT EXISTS outbox_by_state ON outbox (state, seq);
CREATE INDEX IF NOT EXISTS outbox_by_thread ON outbox (destination, thread, state, seq);
CREATE TABLE IF NOT EXISTS outbox_covers (
    number INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    incident TEXT NOT NULL,
    event TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_covers_by_message ON outbox_covers (message);
CREATE INDEX IF NOT EXISTS outbox_covers_by_incident ON outbox_covers (incident);
CREATE TRIGGER IF NOT EXISTS outbox_forgets AFTER DELETE ON outbox BEGIN
    DELETE FROM outbox_covers WHERE message = old.seq;
END;
CREATE TABLE IF NOT EXISTS outbox_threads (
    destination TEXT NOT NULL,
    thread TEXT NOT NULL,
    ref TEXT NOT NULL,
    used_s REAL NOT NULL,
    PRIMARY KEY (destination, thread)
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_threads_by_use ON outbox_threads (used_s);
CREATE TABLE IF NOT EXISTS outbox_destinations (
    destination TEXT PRIMARY KEY,
    last_sent_s REAL NOT NULL DEFAULT 0,
    not_before_s REAL NOT NULL DEFAULT 0
) STRICT;
"""

State = Literal["queued", "sent", "dead"]
_NOTE_CHARACTERS = 500


class Waiting(msgspec.Struct, frozen=True):
    """The message whose turn it is.

    Args:
        attempts: How often it was sent already without being taken, as far as anybody knows.
        queued_s: Since when it waits, Unix time.
        last_sent_s: When something was last sent to its destination, taken or not; 0 where nothing was.
        not_before_s: Until when its destination is to be left alone, decided at `last_sent_s`; 0 where it is not.
    """

    id: str
    notification: Notification
    attempts: int = 0
    queued_s: float = 0.0
    last_sent_s: float = 0.0
    not_before_s: float = 0.0


class Message(msgspec.Struct, frozen=True):
    """A message as people ask for it.

    Args:
        note: The last error; of one that is sent, why it needed no sending.
        ref: By which the destination finds it again.
        notification: None where it cannot be read.
    """

    id: str
    destination: str
    thread: str
    kind: str
    state: State
    queued_s: float
    finished_s: float | None
    attempts: int
    note: str
    ref: str
    notification: Notification | None


def noted(text: str) -> str:
    """An error as it is kept: one line, which a terminal can only show, of at most 500 characters."""
    return "".join(char if char.isprintable() else " " for char in text[:_NOTE_CHARACTERS])


def encoded(notification: Notification) -> bytes:
    """A notification as it is kept, whatever characters are in it."""
    try:
        return msgspec.json.encode(notification)
    except UnicodeEncodeError:
        # Half a surrogate pair, which no UTF-8 can hold: a message with a "?" in it is better than none.
        return json.dumps(msgspec.to_builtins(notification), ensure_ascii=False).encode(errors="replace")


def decoded(body: bytes) -> Notification | None:
    """What was kept; None where it cannot be read."""
    try:
        return msgspec.json.decode(body, type=Notification)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
