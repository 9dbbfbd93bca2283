"""The audit: added to, never changed, and a change shows; the database it is in."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from logllm.actions.audit import Audit, Entry
from logllm.actions.database import opened
from logllm.errors import StateError

TRIGGERS = ("audit_is_not_changed", "audit_is_not_cut")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "actions.db"


@pytest.fixture
def audit(path: Path) -> Iterator[Audit]:
    database = opened(path)
    found = Audit(database)
    with database.transaction() as db:
        for number in range(1_200):
            found.append(db, Entry("2023-11-14T22:13:20Z", "run", "refused", "restart", request=f"act-{number % 7}"))
    yield found
    database.close()


def tamper(path: Path, *statements: str) -> None:
    """As somebody does who has the file."""
    db = sqlite3.connect(path)
    for trigger in TRIGGERS:
        db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def test_entries_come_back_in_order_whole_or_by_request(audit: Audit) -> None:
    assert [seq for seq, _ in audit.entries()] == list(range(1, 1_201))
    assert [seq for seq, _ in audit.entries(request="act-3")] == list(range(4, 1_201, 7))
    assert [seq for seq, _ in audit.entries(after=1_198)] == [1_199, 1_200]


def test_a_chain_that_nobody_touched_is_verified(audit: Audit) -> None:
    count, head = audit.verify()

    assert (count, len(head)) == (1_200, 64)
    assert audit.verify(head) == (count, head)


@pytest.mark.parametrize("statement", ["UPDATE audit SET body = x'7b7d'", "DELETE FROM audit WHERE seq = 3"])
def test_the_database_itself_refuses_to_change_an_entry(path: Path, audit: Audit, statement: str) -> None:
    db = sqlite3.connect(path)

    with pytest.raises(sqlite3.IntegrityError, match="only added to"):
        db.execute(statement)

    db.close()
    audit.verify()


@pytest.mark.parametrize(
    ("statement", "at"),
    [
        ("UPDATE audit SET body = CAST(replace(body, 'restart', 'nothing') AS BLOB) WHERE seq = 600", 600),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 7", 7),
        ("DELETE FROM audit WHERE seq = 1", 1),
        ("DELETE FROM audit WHERE seq = 600", 600),
        ("UPDATE audit SET seq = 5000 WHERE seq = 1200", 1200),
        ("INSERT INTO audit SELECT 1201, body, hash FROM audit WHERE seq = 1200", 1201),
    ],
)
def test_an_entry_that_was_changed_taken_out_or_put_in_shows(path: Path, audit: Audit, statement: str, at: int) -> None:
    tamper(path, statement)

    with pytest.raises(StateError, match=f"entry {at} does not follow"):
        audit.verify()


def test_a_cut_off_end_shows_by_a_hash_that_was_kept_elsewhere(path: Path, audit: Audit) -> None:
    _, head = audit.verify()
    tamper(path, "DELETE FROM audit WHERE seq > 1000")

    assert audit.verify()[0] == 1_000
    with pytest.raises(StateError, match="cut or written anew"):
        audit.verify(head)


def test_the_database_is_its_owners_alone(path: Path, audit: Audit) -> None:
    audit.verify()

    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}


def test_what_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x" * 5_000)
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 9")
    newer.close()

    for path in (tmp_path / "text", tmp_path / "newer", tmp_path, tmp_path / "text" / "below"):
        with pytest.raises(StateError):
            opened(path)

    assert (tmp_path / "text").read_text() == "x" * 5_000


def test_a_transaction_that_fails_has_done_nothing(path: Path) -> None:
    database = opened(path)
    audit = Audit(database)

    def fail() -> None:
        with database.transaction() as db:
            audit.append(db, Entry("2023-11-14T22:13:20Z", "run", "refused", "restart"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert list(audit.entries()) == []
    database.close()
    database.close()
    with pytest.raises(StateError), database.transaction():
        pass
