"""The database of actions: what was asked for, and the audit, which is only added to."""

from __future__ import annotations

from pathlib import Path

from logllm.database import Database

__all__ = ["opened"]

_PATIENCE_S = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY,
    live TEXT UNIQUE,
    runbook TEXT NOT NULL,
    action TEXT NOT NULL,
    incident TEXT NOT NULL,
    state TEXT NOT NULL,
    created_s REAL NOT NULL,
    expires_s REAL NOT NULL,
    started_s REAL,
    refusals INTEGER NOT NULL DEFAULT 0,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS requests_by_state ON requests (state, created_s);
CREATE INDEX IF NOT EXISTS requests_by_start ON requests (runbook, action, started_s);
CREATE TABLE IF NOT EXISTS offers (
    incident TEXT NOT NULL,
    runbook TEXT NOT NULL,
    action TEXT NOT NULL,
    request TEXT NOT NULL,
    PRIMARY KEY (incident, runbook, action)
) STRICT;
CREATE INDEX IF NOT EXISTS offers_by_request ON offers (request);
CREATE TABLE IF NOT EXISTS declared (
    runbook TEXT NOT NULL,
    action TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (runbook, action)
) STRICT;
CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_not_cut BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;
"""


def opened(path: Path | None) -> Database:
    """The database in a file, or in memory. Raises StateError."""
    return Database(path, _SCHEMA, what="database of actions", patience_s=_PATIENCE_S)
