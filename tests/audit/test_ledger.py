from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.audit.entry import CUT, GAP, GENESIS, SCHEMA, Entry, digest_of, entries, packed, sealed, unpacked
from logllm.audit.ledger import FILE, Ledger
from logllm.audit.verify import Reading, Verdict
from logllm.egress import EgressConfig, Recorder, about
from logllm.errors import ConfigError, SourceError, StateError

# A ledger waits for its disk with each entry; a folder in memory is as good here, and does not wait for others.
MEMORY = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="logllm-test-") as folder:
        yield Path(folder)


def written(path: Path, bodies: list[bytes], *, keep_bytes: int = 1 << 20, keep_rows: int = 1_000) -> None:
    clock = iter(range(1_000, 1_000_000)).__next__
    ledger = Ledger(path, clock=clock, keep_bytes=keep_bytes, keep_rows=keep_rows)
    for number, body in enumerate(bodies):
        ledger.append("webhook", f"ours-{number}", "127.0.0.1:9", body, about=f"inc-{number}")
    ledger.close()


def verdict(path: Path, head: str = "") -> Verdict:
    reading = Reading(path)
    try:
        return reading.verify(head)
    finally:
        reading.close()


def listed(path: Path) -> list[Entry]:
    reading = Reading(path)
    try:
        return list(reading.entries())
    finally:
        reading.close()


def body_of(path: Path, number: int) -> bytes | None:
    reading = Reading(path)
    try:
        entry = reading.entry(number)
        return None if entry is None else reading.body(entry)
    finally:
        reading.close()


def changed(path: Path, statement: str, *values: object) -> int:
    db = sqlite3.connect(path)
    count = db.execute(statement, values).rowcount
    db.commit()
    db.close()
    return count


def test_an_entry_says_what_left_to_whom_and_about_what_and_holds_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / FILE
    ledger = Ledger(path, clock=lambda: 5)
    recorder: Recorder = ledger
    body = '{"text": "naïve"}'.encode()

    with about("inc-1 message-9"):
        recorder("slack", "team")("hooks.example.com:443", body)
    ledger.close()

    (entry,) = listed(path)
    assert entry == sealed(entry)
    assert msgspec.structs.replace(entry, hash="") == Entry(
        number=1,
        time_ns=5,
        kind="slack",
        name="team",
        to="hooks.example.com:443",
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        kept_sha256=digest_of(body),
        about="inc-1 message-9",
        previous=GENESIS,
    )
    assert body_of(path, 1) == body
    assert not entry.is_blanked
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_our_own_secrets_are_sent_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / FILE
    key = "k3y" * 10
    body = f'{{"routing_key":"{key}"}}'.encode()
    ledger = Ledger(path)

    ledger("pagerduty", "p", (key, ""))("events.example.com:443", body)
    ledger.close()

    (entry,) = listed(path)
    assert entry.is_blanked
    assert entry.sha256 == digest_of(body)
    assert body_of(path, 1) == body.replace(key.encode(), b"*" * len(key))
    assert key.encode() not in path.read_bytes()
    assert verdict(path).wrong == ""


def test_a_whole_chain_is_whole_and_its_head_vouches_for_it(tmp_path: Path) -> None:
    path = tmp_path / FILE
    written(path, [b"one", b"", b"x" * 100_000])

    found = verdict(path)

    assert found == Verdict("", 3, listed(path)[-1].hash, 3, 3, 0)
    assert verdict(path, found.head).wrong == ""
    assert verdict(path, listed(path)[0].hash).wrong == ""
    assert "the end was cut off, or" in verdict(path, "f" * 64).wrong


_COLUMNS = (
    "number", "time_ns", "kind", "name", "whither", "size", "sha256", "kept_sha256", "about", "previous", "hash",
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(data=st.data(), bodies=st.lists(st.binary(max_size=60), min_size=1, max_size=6))
def test_any_one_change_of_any_entry_or_body_is_found(data: st.DataObject, bodies: list[bytes]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="logllm-test-") as folder:
        find_one_change(Path(folder) / FILE, data, bodies)


def find_one_change(path: Path, data: st.DataObject, bodies: list[bytes]) -> None:
    written(path, bodies)
    head = verdict(path).head
    number = data.draw(st.integers(1, len(bodies)))
    change = data.draw(st.sampled_from([*_COLUMNS, "row", "body", "no body", "swapped body"]))
    before = tuple(listed(path)), [body_of(path, each) for each in range(1, len(bodies) + 1)]

    if change == "row":
        changed(path, "DELETE FROM sent WHERE number = ?", number)
    elif change == "no body":
        # From the oldest on bodies make room, so only a later one's absence tells; the last one's always does.
        number = len(bodies)
        changed(path, "DELETE FROM bodies WHERE number = ?", number)
    elif change == "body":
        changed(
            path, "UPDATE bodies SET packed = ? WHERE number = ?", packed(data.draw(st.binary(max_size=60))), number
        )
    elif change == "swapped body":
        other = data.draw(st.integers(1, len(bodies)))
        changed(
            path,
            "UPDATE bodies SET packed = (SELECT packed FROM bodies WHERE number = ?) WHERE number = ?",
            other,
            number,
        )
    else:
        integer = change in ("number", "time_ns", "size")
        numbers = st.integers(-(2**63), 2**63 - 1).map(lambda n: n if change != "number" or n < 1 else n + len(bodies))
        numbers = numbers.filter(lambda n: n < 2**63)
        value: object = data.draw(numbers if integer else st.text(st.characters(codec="utf-8")))
        changed(path, f"UPDATE sent SET {change} = ? WHERE number = ?", value, number)  # noqa: S608 - names of ours
    try:
        after = tuple(listed(path)), [body_of(path, each) for each in range(1, len(bodies) + 1)]
        is_same = after == before
    except (TypeError, StateError):
        is_same = False

    found = verdict(path, head)

    assert bool(found.wrong) is not is_same


def test_the_first_entry_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / FILE
    written(path, [b"a", b"b", b"c", b"d", b"e"])
    changed(path, "UPDATE sent SET about = 'another' WHERE number IN (3, 4)")

    assert verdict(path).wrong == "entry 3: it was changed"


def test_a_changed_entry_that_is_sealed_anew_is_found_by_the_one_after_it(tmp_path: Path) -> None:
    path = tmp_path / FILE
    written(path, [b"a", b"b", b"c"])
    forged = sealed(msgspec.structs.replace(listed(path)[1], to="nobody:1"))
    changed(path, "UPDATE sent SET whither = ?, hash = ? WHERE number = 2", forged.to, forged.hash)

    assert verdict(path).wrong == "entry 3: it follows another entry than the one before it"


def test_another_body_of_the_same_size_is_found(tmp_path: Path) -> None:
    path = tmp_path / FILE
    written(path, [b"to: team", b"to: else"])
    changed(path, "UPDATE bodies SET packed = ? WHERE number = 1", packed(b"to: nobo"))

    assert verdict(path).wrong == "entry 1: its body was changed"


def test_bodies_that_are_all_gone_did_not_make_room(tmp_path: Path) -> None:
    path = tmp_path / FILE
    written(path, [b"a", b"b"])
    changed(path, "DELETE FROM bodies")

    assert verdict(path).wrong == "entry 2: its body is missing"


def test_an_end_that_was_cut_off_is_found_by_the_note_of_the_last_or_by_a_hash_kept_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / FILE
    written(path, [b"a", b"b", b"c"])
    head = verdict(path).head
    changed(path, "DELETE FROM sent WHERE number = 3")
    changed(path, "DELETE FROM bodies WHERE number = 3")

    careless = verdict(path).wrong
    changed(path, "UPDATE room SET last = 2")
    careful = verdict(path)

    assert careless == "entry 3: it is missing, and so are all to 3"
    assert careful.wrong == ""
    assert verdict(path, head).wrong.startswith("no entry has the hash")


def test_a_body_that_would_fill_the_memory_is_not_unpacked() -> None:
    bomb = packed(b"\0" * 10_000_000)

    tracemalloc.start()
    found = unpacked(bomb, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found is None
    assert peak < 1_000_000
    assert unpacked(bomb, 1 << 40) is None
    assert unpacked(bomb, -1) is None
    assert unpacked(b"no such thing", 13) is None
    assert unpacked(packed(b""), 0) == b""


def test_old_bodies_make_room_and_the_chain_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / FILE
    bodies = [os.urandom(1_000) for _ in range(20)]

    written(path, bodies, keep_bytes=5_500)

    found = verdict(path)
    assert (found.wrong, found.entries, found.bodies, found.dropped) == ("", 20, 5, 15)
    assert body_of(path, 15) is None
    assert body_of(path, 16) == bodies[15]


def test_a_body_larger_than_all_the_room_leaves_its_digest_and_the_others(tmp_path: Path) -> None:
    path = tmp_path / FILE

    written(path, [b"small", os.urandom(10_000)], keep_bytes=1_000)

    assert body_of(path, 1) == b"small"
    assert body_of(path, 2) is None
    assert listed(path)[1].kept_sha256 == ""
    assert listed(path)[1].size == 10_000
    assert verdict(path).wrong == ""


def test_old_entries_make_room_and_an_entry_says_up_to_where(tmp_path: Path) -> None:
    path = tmp_path / FILE

    written(path, [b"%d" % number for number in range(350)], keep_rows=100)

    left = listed(path)
    cut = [entry for entry in left if entry.kind == CUT][-1]
    assert 100 <= len(left) <= 106
    assert cut.about == f"{left[0].number - 1} {left[0].previous}"
    assert verdict(path).wrong == ""
    assert verdict(path, left[0].previous).wrong == ""
    changed(path, "DELETE FROM sent WHERE number = ?", left[0].number)
    changed(path, "DELETE FROM bodies WHERE number = ?", left[0].number)
    assert verdict(path).wrong == f"entry {left[0].number}: it is missing, and no entry says that it made room"


def test_several_threads_and_another_process_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / FILE
    ledger = Ledger(path)
    code = (
        "import sys; from pathlib import Path; from logllm.audit.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "for n in range(40): ledger.append('model', 'other', 'h:1', b'%d' % n)\n"
        "ledger.close()"
    )

    def write(name: str) -> None:
        for number in range(40):
            ledger.append("webhook", name, "h:1", b"%d" % number)

    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as other:
        threads = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert other.wait(30) == 0
    ledger.close()

    found = verdict(path)
    assert (found.wrong, found.entries) == ("", 200)
    for name in ("t0", "t1", "t2", "t3", "other"):
        mine = [body_of(path, entry.number) for entry in listed(path) if entry.name == name]
        assert mine == [b"%d" % number for number in range(40)]


def test_a_kill_between_the_entry_and_the_sending_leaves_the_entry(tmp_path: Path) -> None:
    path = tmp_path / FILE
    code = (
        "import os, sys; from pathlib import Path; from logllm.audit.ledger import Ledger\n"
        "Ledger(Path(sys.argv[1]))('slack', 's')('h:1', b'about to leave')\n"
        "os.kill(os.getpid(), 9)"
    )

    subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=30)

    assert [entry.kind for entry in listed(path)] == ["slack"]
    assert body_of(path, 1) == b"about to leave"
    assert verdict(path).wrong == ""


def test_what_cannot_be_written_down_leaves_all_the_same_and_a_gap_says_so_later(tmp_path: Path) -> None:
    path = tmp_path / FILE
    told: list[str] = []
    ledger = Ledger(path, tell=told.append, clock=iter(range(10**18, 10**18 + 100)).__next__)
    ledger.append("webhook", "w", "h:1", b"first")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("CREATE TRIGGER full BEFORE INSERT ON sent BEGIN SELECT RAISE(FAIL, 'disk is full'); END")

    ledger.append("webhook", "w", "h:1", b"lost")
    ledger.append("webhook", "w", "h:1", b"lost too")
    missed = ledger.missed
    blocker.execute("DROP TRIGGER full")
    blocker.close()
    ledger.append("webhook", "w", "h:1", b"last")
    ledger.close()

    assert missed == ledger.failed == 2
    assert ledger.written == {"webhook": 2}
    assert len(told) == 1
    assert "disk is full" in told[0]
    assert [(entry.kind, entry.size) for entry in listed(path)] == [("webhook", 5), (GAP, 12), ("webhook", 4)]
    assert listed(path)[1].about == "2 not written down since 2001-09-09T01:46:40.000Z"
    assert ledger.missed == 0
    assert verdict(path).wrong == ""


def test_where_it_is_required_what_cannot_be_written_down_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    ledger = Ledger(path, required=True)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("CREATE TRIGGER full BEFORE INSERT ON sent BEGIN SELECT RAISE(FAIL, 'disk is full'); END")
    blocker.close()

    with pytest.raises(StateError, match="disk is full"):
        ledger("webhook", "w")("h:1", b"stays here")
    ledger.close()

    assert listed(path) == []


def test_a_file_that_is_no_ledger_stops_nobody_but_where_it_is_required(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(b"not a database, and long enough to be looked at as one" * 20)
    told: list[str] = []

    with pytest.raises(StateError, match="not a database"):
        Ledger(path, required=True)
    ledger = Ledger(path, tell=told.append)
    ledger.append("webhook", "w", "h:1", b"x")
    path.unlink()
    ledger.append("webhook", "w", "h:1", b"y")
    ledger.close()

    assert len(told) == 1
    assert [entry.kind for entry in listed(path)] == [GAP, "webhook"]


def test_a_ledger_that_is_deleted_under_a_running_process_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / FILE
    told: list[str] = []
    ledger = Ledger(path, tell=told.append)
    ledger.append("webhook", "w", "h:1", b"before")
    path.unlink()

    ledger.append("webhook", "w", "h:1", b"after")
    ledger.close()

    assert "was deleted" in told[0]
    assert verdict(path)[:2] == ("", 2)
    assert body_of(path, 1) == b"before"


def test_the_configuration_says_whether_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a data_dir"):
        Ledger.of(EgressConfig(ledger="required"), None)

    assert Ledger.of(EgressConfig(ledger="off"), tmp_path) is None
    assert Ledger.of(EgressConfig(), None) is None
    assert not (tmp_path / FILE).exists()
    made = Ledger.of(EgressConfig(), tmp_path)
    assert made is not None
    made.close()
    assert (tmp_path / FILE).exists()


def test_reading_makes_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing was written down here"):
        Reading(tmp_path / FILE)

    assert not (tmp_path / FILE).exists()


def test_entries_are_found_by_kind_receiver_and_time(tmp_path: Path) -> None:
    path = tmp_path / FILE
    ledger = Ledger(path, clock=iter(range(1, 100)).__next__)
    ledger.append("slack", "team", "hooks.example.com:443", b"")
    ledger.append("model", "m", "127.0.0.1:9", b"")
    ledger.append("webhook", "w", "127.0.0.1:99", b"")
    ledger.close()
    reading = Reading(path)

    found = {
        "kind": [entry.number for entry in reading.entries(kind="model")],
        "host": [entry.number for entry in reading.entries(to="127.0.0.1")],
        "port": [entry.number for entry in reading.entries(to="127.0.0.1:9")],
        "name": [entry.number for entry in reading.entries(to="team")],
        "since": [entry.number for entry in reading.entries(since_ns=2)],
        "hostile": [entry.number for entry in reading.entries(to="' OR 1 = 1 --")],
    }
    with reading._database.reading() as db:
        assert [entry.number for entry in entries(db)] == [1, 2, 3]
    reading.close()

    assert found == {"kind": [2], "host": [2, 3], "port": [2], "name": [1], "since": [2, 3], "hostile": []}
    assert "CREATE TABLE" in SCHEMA
