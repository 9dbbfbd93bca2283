"""The ledger: keys and position in one commit, forgotten in order, safe against damage."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from logllm.errors import DeliveryError
from logllm.sinks.keys import delivery_key
from logllm.sinks.ledger import Ledger, Position


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def keys(*numbers: int) -> list[bytes]:
    return [delivery_key("tag", b"%d" % number) for number in numbers]


@pytest.mark.parametrize("in_memory", [True, False])
def test_keys_are_counted_and_the_position_goes_with_them(in_memory: bool, tmp_path: Path) -> None:
    ledger = Ledger(None if in_memory else tmp_path / "ledger")
    at = Position(1, 2, 300, 5.0)

    ledger.commit(keys(1, 2, 1), at)
    ledger.commit(keys(2))

    assert ledger.times(keys(1, 2, 3)) == {keys(1)[0]: 2, keys(2)[0]: 2}
    assert ledger.position == at
    ledger.close()
    ledger.close()


def test_what_was_committed_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger")
    first.commit(keys(7), Position(1, 2, 3, 4.0, "away"))
    first.close()

    second = Ledger(tmp_path / "ledger")

    assert second.times(keys(7)) == {keys(7)[0]: 1}
    assert second.position == Position(1, 2, 3, 4.0, "away")
    second.close()


def test_old_keys_go_by_age_and_by_number_and_new_ones_stay() -> None:
    clock = Clock()
    ledger = Ledger(None, window_s=100, most=200, clock=clock)

    for number in range(640):
        ledger.commit(keys(number))
    by_number = len(ledger)
    newest = ledger.times(keys(639))
    clock.now += 101
    for number in range(1000, 1064):
        ledger.commit(keys(number))

    assert by_number <= 264
    assert newest == {keys(639)[0]: 1}
    assert len(ledger) == 64
    ledger.close()


def test_a_key_that_comes_again_is_found_for_as_long_as_the_window_since_its_first() -> None:
    clock = Clock()
    ledger = Ledger(None, window_s=100, clock=clock)

    ledger.commit(keys(1))
    clock.now += 90
    ledger.commit(keys(1))
    for number in range(100, 163):
        ledger.commit(keys(number))

    assert ledger.times(keys(1)) == {keys(1)[0]: 2}
    ledger.close()


def test_a_thousand_keys_are_looked_up_at_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")

    ledger.commit(keys(*range(3000)))

    assert len(ledger.times(keys(*range(2500, 5000)))) == 500
    ledger.close()


def test_one_thread_commits_while_others_look_up(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    done = threading.Event()
    seen: list[int] = []

    def look() -> None:
        while not done.is_set():
            seen.append(len(ledger.times(keys(*range(50)))))

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(50):
        ledger.commit(keys(number))
    done.set()
    for reader in readers:
        reader.join(10)

    assert seen
    assert len(ledger.times(keys(*range(50)))) == 50
    ledger.close()


def test_a_damaged_ledger_is_put_aside_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"this is no database, and long enough not to be taken for an empty one" * 20)

    ledger = Ledger(path)

    assert ledger.position is None
    assert (tmp_path / "ledger.damaged").exists()
    assert "damaged" in caplog.text
    ledger.close()


def test_a_ledger_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(DeliveryError, match="version 99, expected at most 1"):
        Ledger(path)

    assert path.exists()


def test_a_commit_that_cannot_be_done_changes_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger._writer.execute("PRAGMA busy_timeout = 1")

    with pytest.raises(DeliveryError, match="cannot commit"):
        ledger.commit(keys(1), Position(1, 1, 10, 0.0))
    other.execute("ROLLBACK")
    other.close()
    before = ledger.position
    ledger.commit(keys(1), Position(1, 1, 10, 0.0))

    assert before is None
    assert ledger.times(keys(1)) == {keys(1)[0]: 1}
    ledger.close()


def test_a_ledger_that_is_deleted_while_in_use_is_begun_anew_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "delivery"
    folder.mkdir()
    ledger = Ledger(folder / "ledger")
    ledger.commit(keys(1))

    shutil.rmtree(folder)
    ledger.commit(keys(2), Position(1, 2, 3, 4.0))
    ledger.close()
    again = Ledger(folder / "ledger")

    assert again.times(keys(1, 2)) == {keys(2)[0]: 1}
    assert again.position == Position(1, 2, 3, 4.0)
    assert "deleted while in use" in caplog.text
    again.close()
