"""Incidents in SQLite: what was put is got, what cannot be used is refused, what is too much is dropped."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import msgspec
import pytest

from logllm.errors import StateError
from logllm.events import Explanation
from logllm.incidents.store import IncidentStore
from tests.incidents.parts import event


def _explanation(number: int, cause: str = "the disk is full") -> Explanation:
    return Explanation(f"inc-{number:010x}", "ok", cause, None, [], [], 0.5, "tiny")


def test_an_incident_and_its_explanation_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "logllm.db"
    store = IncidentStore(path)
    store.put(event(1))
    store.explain(_explanation(1))
    store.close()

    again = IncidentStore(path)
    found = again.get(event(1).id)
    again.close()

    assert found == (event(1), _explanation(1))


def test_the_latest_event_is_kept_and_the_explanation_stays() -> None:
    store = IncidentStore(":memory:")
    store.put(event(1))
    store.explain(_explanation(1))
    store.put(event(1, "update"))
    store.put(event(1, "resolve"))

    rows = list(store.latest())
    store.close()

    assert rows == [(event(1, "resolve"), _explanation(1))]


def test_latest_comes_first_and_can_be_picked_by_state() -> None:
    store = IncidentStore(":memory:")
    for number in range(10):
        store.put(event(number))
        if number % 2:
            store.put(event(number, "resolve"))

    everything, resolved, open_ = (
        [row[0].count for row in store.latest(limit, state=state)]
        for limit, state in ((4, None), (50, "resolved"), (2, "open"))
    )
    store.close()

    assert everything == [9, 8, 7, 6]
    assert resolved == [9, 7, 5, 3, 1]
    assert open_ == [8, 6]


def test_the_beginning_of_an_id_is_enough_where_it_is_unambiguous() -> None:
    store = IncidentStore(":memory:")
    store.put(event(0xAB00000000))
    store.put(event(0xAC00000000))

    found = [store.get(prefix) for prefix in ("inc-ab", "inc-a", "inc-ff", "", "%", "inc-a_")]
    store.close()

    assert [row[0].count if row else None for row in found] == [0xAB00000000, None, None, None, None, None]


def test_an_explanation_of_an_incident_that_is_not_here_is_dropped() -> None:
    store = IncidentStore(":memory:")

    store.explain(_explanation(7))

    assert list(store.latest()) == []
    store.close()


def test_no_more_are_kept_than_asked_for_and_the_oldest_go() -> None:
    store = IncidentStore(":memory:", keep=5)
    for number in range(30):
        store.put(event(number))

    kept = [row[0].count for row in store.latest()]
    store.close()

    assert kept == [29, 28, 27, 26, 25]


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "logllm.db"
    IncidentStore(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()

    with pytest.raises(StateError, match="version 99"):
        IncidentStore(path)

    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (99,)
    database.close()


def test_a_database_of_the_first_version_is_read_and_can_keep_what_people_say(tmp_path: Path) -> None:
    path = tmp_path / "logllm.db"
    database = sqlite3.connect(path)
    database.executescript(
        "CREATE TABLE incidents (id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, state TEXT NOT NULL, "
        "started TEXT NOT NULL, updated TEXT NOT NULL, body BLOB NOT NULL, explanation BLOB) STRICT;"
        "PRAGMA user_version = 1;"
    )
    old = event(3)
    database.execute(
        "INSERT INTO incidents VALUES (?, ?, 'open', ?, ?, ?, NULL)",
        (old.id, old.fingerprint, old.started, old.time, msgspec.json.encode(old)),
    )
    database.commit()
    database.close()

    store = IncidentStore(path)
    assert store.get(old.id) == (old, None)
    assert store.told([1], "", 5) == [(old, "", "")]
    assert store.solve(old.id, "a restart")
    store.judge(old.id, "real")
    store.close()

    store = IncidentStore(path)
    assert store.told([1], "", 5) == [(old, "real", "a restart")]
    store.close()


def test_what_people_said_stays_when_an_incident_goes_on_and_is_bounded() -> None:
    store = IncidentStore(":memory:")
    store.put(event(1))
    store.judge(event(1).id, "noise")
    store.solve(event(1).id, "\ud800" + "x" * 5_000)

    store.put(event(1, "resolve"))
    ((_, verdict, outcome),) = store.told([1], "", 5)
    assert not store.solve("inc-none", "a restart")
    store.close()

    assert verdict == "noise"
    assert outcome == "?" + "x" * 399


def test_rows_are_given_in_the_order_they_were_kept_and_by_fingerprint() -> None:
    store = IncidentStore(":memory:")
    for number in range(1, 10):
        store.put(event(number))

    after = store.after(5, 3)
    same = store.told([1], event(2).fingerprint, 5)
    store.close()

    assert [(row, each.id) for row, each in after] == [(row, event(row).id) for row in (7, 8, 9)]
    assert {each.id for each, _, _ in same} == {event(1).id, event(2).id, event(9).id}


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "logllm.db"
    path.write_bytes(b"not a database at all" * 100)

    with pytest.raises(StateError, match=r"logllm\.db"):
        IncidentStore(path)

    assert path.read_bytes() == b"not a database at all" * 100


def test_a_folder_and_a_path_below_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    for path in (tmp_path, tmp_path / "file" / "logllm.db"):
        with pytest.raises(StateError):
            IncidentStore(path)


def test_a_row_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "logllm.db"
    store = IncidentStore(path)
    store.put(event(1))
    database = sqlite3.connect(path)
    database.execute("UPDATE incidents SET body = x'00'")
    database.commit()
    database.close()

    with pytest.raises(StateError, match="cannot be read"):
        store.get(event(1).id)

    store.close()


def test_a_closed_store_says_so_instead_of_raising_what_sqlite_raises() -> None:
    store = IncidentStore(":memory:")
    store.close()

    with pytest.raises(StateError):
        store.put(event(1))
    with pytest.raises(StateError):
        store.get("inc-1")


def test_several_threads_may_put_and_read_at_once(tmp_path: Path) -> None:
    store = IncidentStore(tmp_path / "logllm.db")
    wrong: list[BaseException] = []

    def work(base: int) -> None:
        try:
            for number in range(base, base + 40):
                store.put(event(number))
                store.explain(_explanation(number))
                list(store.latest(3))
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(base,)) for base in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    rows = list(store.latest(1_000))
    store.close()

    assert wrong == []
    assert len(rows) == 160
    assert all(explanation is not None for _, explanation in rows)
