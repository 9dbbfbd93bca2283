"""Couriers and a receiver that answers as badly as real ones do: nothing is lost, and order is kept."""

from __future__ import annotations

import itertools
import json
import logging
import random
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logllm.database import Database
from logllm.errors import DeliveryError, NotifyError
from logllm.notify.destination import Destination
from logllm.notify.notification import Kind, Notification
from logllm.notify.outbox.courier import Courier
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox
from logllm.notify.slack import SlackConfig
from tests.notify.fake_http import OK, FakeHttp, Reply
from tests.notify.outbox.kill_child import NoLinks, Posting, alert

MANY = 5_000


class Clock:
    """Unix time that goes on only when somebody waits."""

    def __init__(self, now_s: float = 1_770_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def wait(self, event: threading.Event, seconds: float) -> None:
        if not event.is_set():
            self.now_s += seconds


class Scripted:
    """A destination whose answers are functions; what it was given is in `sent`."""

    def __init__(self, *answers: Callable[[], str], edits: bool = False, pause_s: float = 0.0) -> None:
        self.name = "slack"
        self.pause_s = pause_s
        self.edits = edits
        self.sent: list[tuple[str, str]] = []
        self._answers = list(answers)

    def takes(self, notification: Notification) -> bool:
        return True

    def send(self, notification: Notification, ref: str) -> str:
        self.sent.append((notification.id, ref))
        return self._answers.pop(0)() if self._answers else ""

    def close(self) -> None:
        pass


def fails(error: Exception) -> Callable[[], str]:
    def answer() -> str:
        raise error

    return answer


def message(name: str, kind: Kind = "open", thread: str = "inc-1") -> Notification:
    return Notification(id=name, kind=kind, thread=thread, incidents=[])


def pauses(courier: Courier, clock: Clock) -> list[float]:
    """Let it work until nothing waits; the pauses it made."""
    found: list[float] = []
    for _ in range(MANY):
        pause_s = courier.step()
        if pause_s is None:
            return found
        if pause_s:
            found.append(pause_s)
            clock.now_s += pause_s
    raise AssertionError("it never comes to an end")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database() -> Iterator[Database]:
    found = Database(None, OUTBOX_SCHEMA)
    yield found
    found.close()


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


HANG = Reply(takes=True, way="hang")
BAD = [
    *[Reply(status=429, headers={"Retry-After": "1"}), Reply(status=429, headers={"Retry-After": "30"})],
    *[Reply(status=429), Reply(status=500), Reply(status=503), HANG],
    *[Reply(status=200, takes=True, way="cut"), Reply(takes=False, way="cut"), Reply(takes=True, way="half")],
    *[Reply(status=400, body=b"invalid_blocks"), Reply(status=404, body=b"no_service")],
]


class Witness:
    """A destination, and what came of each try: when it was, and the error if there was one."""

    def __init__(self, destination: Destination, clock: Clock) -> None:
        self.name, self.pause_s, self.edits = destination.name, destination.pause_s, destination.edits
        self.tries: list[tuple[str, float, DeliveryError | None]] = []
        self.takes, self.close = destination.takes, destination.close
        self._send = destination.send
        self._clock = clock

    def send(self, notification: Notification, ref: str) -> str:
        try:
            found = self._send(notification, ref)
        except DeliveryError as error:
            self.tries.append((notification.id, self._clock(), error))
            raise
        self.tries.append((notification.id, self._clock(), None))
        return found


def least(url: str) -> Destination:
    return Posting("slack", url, pause_s=1.0, deadline_s=0.15)


def slack(url: str) -> Destination:
    return SlackConfig(url=f"{url}services/T0/B0/s3cret", deadline_s=0.15).build(NoLinks())


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("built", [slack, least])
def test_no_alert_is_lost_or_out_of_order_whatever_the_receiver_answers(
    outbox: Outbox, clock: Clock, built: Callable[[str], Destination], seed: int
) -> None:
    chosen = random.Random(seed)
    ids = [alert("slack", number).id for number in range(120)]
    for number in range(len(ids)):
        outbox.put("slack", alert("slack", number), now_s=clock.now_s)

    with FakeHttp(otherwise=lambda _: chosen.choice(BAD) if chosen.random() < 0.4 else OK) as receiver:
        witness = Witness(built(receiver.url), clock)
        pauses(Courier(witness, outbox, clock=clock, jitter=chosen.random), clock)
        came = [re.findall(r"\b[0-9a-f]{16}\b", one.body.decode())[-1] for one in receiver.taken]

    dead = {row.id for row in outbox.rows("dead", limit=MANY)}
    assert dead == {name for name, _, error in witness.tries if isinstance(error, NotifyError) and error.final}
    assert 0 < len(dead) < len(ids) / 2
    assert set(came) | dead == set(ids)
    assert outbox.counts() == {("slack", "sent"): len(ids) - len(dead), ("slack", "dead"): len(dead)}
    # In order, and what came again came right behind itself.
    assert [name for name, _ in itertools.groupby(came)] == [name for name in ids if name in came]
    assert [name for name, _ in itertools.groupby(name for name, *_ in witness.tries)] == ids
    for (name, before_s, error), (later, after_s, _) in itertools.pairwise(witness.tries):
        assert name != later or error is not None
        asked_s = error.retry_after_s if isinstance(error, NotifyError) else None
        assert after_s - before_s >= (asked_s or 1.0) - 1e-6


@pytest.mark.parametrize(
    "reply",
    [
        Reply(way="drip", takes=False),
        Reply(way="cut", takes=False),
        Reply(way="half", takes=False),
        Reply(status=500, body=b"x" * 1_000_000),
        Reply(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        Reply(status=429, headers={"Retry-After": "\u00e9ternity"}),
        Reply(status=429, headers={"Retry-After": "999999999999999999"}),
        Reply(status=500, headers={"Content-Length": "-7"}),
    ],
)
def test_after_a_hostile_answer_the_message_still_arrives(outbox: Outbox, clock: Clock, reply: Reply) -> None:
    outbox.put("slack", alert("slack", 1), now_s=clock.now_s)
    with FakeHttp(reply) as receiver:
        courier = Courier(Posting("slack", receiver.url, deadline_s=0.3), outbox, clock=clock)

        (pause_s,) = pauses(courier, clock)

        assert 0.25 <= pause_s <= 86_400.0
        assert len(receiver.taken) == 1
        assert courier.stats.sent == 1
        assert courier.stats.failing is None


def test_a_megabyte_of_answer_to_a_message_that_was_taken_is_no_failure(outbox: Outbox, clock: Clock) -> None:
    outbox.put("slack", alert("slack", 1), now_s=clock.now_s)
    with FakeHttp(Reply(body=b"x" * 1_000_000)) as receiver:
        assert pauses(Courier(Posting("slack", receiver.url), outbox, clock=clock), clock) == []

        assert len(receiver.requests) == 1
        assert outbox.ref("slack", "1") == "x" * 20


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [
        (1.0, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]),
        (0.0, [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 150.0, 150.0]),
    ],
)
def test_pauses_double_up_to_five_minutes_and_half_of_each_is_jitter(
    outbox: Outbox, clock: Clock, jitter: float, expected: list[float]
) -> None:
    down = [fails(DeliveryError("nothing listens there", kind="refused"))] * len(expected)
    outbox.put("slack", message("a"), now_s=clock.now_s)

    found = pauses(Courier(Scripted(*down), outbox, clock=clock, jitter=lambda: jitter), clock)

    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("asked_s", "pause_s"), [(1.0, 1.0), (30.0, 30.0), (0.0, 0.5), (-5.0, 0.5), (1e300, 86_400.0), (float("nan"), 0.5)]
)
def test_the_pause_a_receiver_asks_for_is_the_pause_it_gets(
    outbox: Outbox, clock: Clock, asked_s: float, pause_s: float
) -> None:
    busy = fails(NotifyError("busy", kind="rate_limited", retry_after_s=asked_s))
    outbox.put("slack", message("a"), now_s=clock.now_s)

    assert pauses(Courier(Scripted(busy), outbox, clock=clock), clock) == pytest.approx([pause_s], abs=1e-6)


def test_the_pause_a_receiver_asks_for_holds_across_a_restart(tmp_path: Path, clock: Clock) -> None:
    before = Database(tmp_path / "notify.db", OUTBOX_SCHEMA)
    Outbox(before).put("slack", message("a"), now_s=clock.now_s)
    Courier(Scripted(fails(NotifyError("busy", retry_after_s=30.0))), Outbox(before), clock=clock).step()
    before.close()
    clock.now_s += 10.0

    after = Database(tmp_path / "notify.db", OUTBOX_SCHEMA)
    found = pauses(Courier(Scripted(), Outbox(after), clock=clock), clock)
    after.close()

    assert found == pytest.approx([20.0])


def test_one_message_a_second_also_across_a_restart_and_a_kill(outbox: Outbox, clock: Clock) -> None:
    for name in "abc":
        outbox.put("slack", message(name), now_s=clock.now_s)

    first = Courier(Scripted(pause_s=1.0), outbox, clock=clock)
    assert first.step() == 0.0
    assert first.step() == pytest.approx(1.0)

    clock.now_s += 0.25
    assert Courier(Scripted(pause_s=1.0), outbox, clock=clock).step() == pytest.approx(0.75)

    # Killed in the middle of sending.
    clock.now_s += 5.0
    outbox.begin("b", clock.now_s)
    clock.now_s += 0.4
    assert pauses(Courier(Scripted(pause_s=1.0), outbox, clock=clock), clock) == pytest.approx([0.6, 1.0])


def test_a_clock_that_is_set_back_makes_no_pause_longer(outbox: Outbox, clock: Clock) -> None:
    outbox.put("slack", message("a"), now_s=clock.now_s)
    outbox.put("slack", message("b"), now_s=clock.now_s)
    busy = fails(NotifyError("busy", retry_after_s=30.0))
    courier = Courier(Scripted(busy, pause_s=1.0), outbox, clock=clock)
    courier.step()

    clock.now_s -= 10_000_000.0

    assert courier.step() == pytest.approx(30.0)
    clock.now_s += 10_000_030.0
    assert courier.step() == 0.0
    clock.now_s -= 10_000_000.0
    assert courier.step() == pytest.approx(1.0)


def test_what_can_never_arrive_is_a_dead_letter_said_once_and_the_next_one_goes_out(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outbox.put("slack", message("a"), now_s=clock.now_s)
    outbox.put("slack", message("b"), now_s=clock.now_s)
    courier = Courier(Scripted(fails(NotifyError("gone\nfor ever", kind="gone", final=True))), outbox, clock=clock)

    courier.step()

    assert courier.stats.failing == "gone for ever"
    assert pauses(courier, clock) == []
    (dead,) = outbox.rows("dead")
    assert (dead.id, dead.note, dead.attempts) == ("a", "gone for ever", 1)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert said == ["slack: dead letter a (open of inc-1): gone for ever"]
    assert (courier.stats.sent, courier.stats.dead, dict(courier.stats.failed)) == (1, 1, {"gone": 1})
    assert courier.stats.failing is None


def test_what_waits_for_longer_than_a_day_is_given_up_at_once_and_said_once(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    begun_s = clock.now_s
    down = [fails(NotifyError("503: closed", kind="server"))] * MANY
    for number in range(100):
        outbox.put("slack", message(str(number)), now_s=begun_s + number / 1000)
    outbox.put("slack", message("young"), now_s=begun_s + 80_000.0)
    courier = Courier(Scripted(*down), outbox, clock=clock)

    for _ in range(MANY):
        pause_s = courier.step() or 0.0
        if courier.stats.dead:
            break
        clock.now_s += pause_s

    assert clock.now_s - begun_s == pytest.approx(86_400.0, abs=400.0)
    assert courier.stats.dead == len(outbox.rows("dead", limit=MANY)) == 100
    assert outbox.counts()["slack", "queued"] == 1
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "slack: waited too long, dead letters: 100; the last error was: 503: closed"
    ]
    assert 149.0 < (courier.step() or 0.0) <= 300.0
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) < 12


def test_a_bug_in_a_destination_costs_one_message_after_three_tries_and_shows_no_secret(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    bug = fails(ValueError("invalid URL 'https://hooks.example.com/s3cret'"))
    outbox.put("slack", message("a"), now_s=clock.now_s)
    outbox.put("slack", message("b"), now_s=clock.now_s)
    destination = Scripted(bug, bug, bug)
    courier = Courier(destination, outbox, clock=clock)

    pauses(courier, clock)

    assert [name for name, _ in destination.sent] == ["a", "a", "a", "b"]
    assert [(row.id, row.note) for row in outbox.rows("dead")] == [("a", "a bug in the destination: ValueError")]
    assert courier.stats.failed == {"bug": 3}
    assert "test_courier.py" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_message_that_was_taken_is_not_sent_again_when_the_outbox_cannot_write_it_down(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "notify.db"
    database = Database(path, OUTBOX_SCHEMA)
    with database.reading() as db:
        db.execute("PRAGMA busy_timeout = 0")
    outbox = Outbox(database)
    outbox.put("slack", message("a"), now_s=clock.now_s)
    outbox.put("slack", message("b"), now_s=clock.now_s)
    other = sqlite3.connect(path, isolation_level=None)

    def lock() -> str:
        other.execute("BEGIN IMMEDIATE")
        return "ts-1"

    destination = Scripted(lock)
    courier = Courier(destination, outbox, clock=clock)

    stuck = [courier.step() for _ in range(9)]
    failing = courier.stats.failing or ""
    other.execute("ROLLBACK")
    found = pauses(courier, clock)

    assert all(pause_s is not None and 0.25 <= pause_s <= 16.0 for pause_s in stuck)
    assert "locked" in failing
    assert found == []
    assert destination.sent == [("a", ""), ("b", "ts-1")]
    assert courier.stats.failing is None
    assert caplog.text.count("nothing is sent meanwhile") == 4
    other.close()
    database.close()


def test_of_updates_that_pile_up_only_the_newest_is_sent_where_messages_are_edited(
    outbox: Outbox, clock: Clock
) -> None:
    kinds: list[tuple[Kind, str]] = [
        ("open", "x"),
        ("update", "x"),
        ("update", "y"),
        ("update", "x"),
        ("update", "x"),
        ("resolve", "x"),
        ("open", "x"),
        ("update", "x"),
        ("update", "y"),
    ]
    for number, (kind, thread) in enumerate(kinds, 1):
        outbox.put("slack", message(str(number), kind, thread), now_s=clock.now_s, covers=[(thread, kind)])
    destination = Scripted(fails(NotifyError("down")), edits=True)
    courier = Courier(destination, outbox, clock=clock)

    pauses(courier, clock)

    assert [name for name, _ in destination.sent] == ["1", "1", "5", "6", "7", "8", "9"]
    notes = {row.id: row.note for row in outbox.rows("sent") if row.note.startswith("superseded")}
    assert notes == {"2": "superseded by 4", "4": "superseded by 5", "3": "superseded by 9"}
    assert courier.stats.skipped == 3
    assert len(outbox.telling("x")) == 7


def test_where_messages_are_not_edited_each_update_is_sent(outbox: Outbox, clock: Clock) -> None:
    for name in "123":
        outbox.put("slack", message(name, "update"), now_s=clock.now_s)
    destination = Scripted()

    pauses(Courier(destination, outbox, clock=clock), clock)

    assert [name for name, _ in destination.sent] == ["1", "2", "3"]


def test_later_messages_of_a_thread_get_what_the_one_before_returned(outbox: Outbox, clock: Clock) -> None:
    for name, thread in (("1", "x"), ("2", "y"), ("3", "x"), ("4", "x")):
        outbox.put("slack", message(name, "open", thread), now_s=clock.now_s)
    destination = Scripted(lambda: "ts-x", lambda: "ts-y", lambda: "ts-reply")

    pauses(Courier(destination, outbox, clock=clock), clock)

    assert destination.sent == [("1", ""), ("2", ""), ("3", "ts-x"), ("4", "ts-reply")]


def test_what_a_destination_has_no_words_for_is_done_with_unsent(outbox: Outbox, clock: Clock) -> None:
    outbox.put("slack", message("1", "reminder"), now_s=clock.now_s)
    outbox.put("slack", message("2"), now_s=clock.now_s)
    with FakeHttp() as receiver:
        courier = Courier(Posting("slack", receiver.url, pause_s=1.0), outbox, clock=clock)

        assert pauses(courier, clock) == []

        assert [json.loads(one.body)["id"] for one in receiver.requests] == ["2"]
    assert (courier.stats.skipped, courier.stats.sent) == (1, 1)


def test_what_waits_and_since_when_is_shown(outbox: Outbox, clock: Clock) -> None:
    begun_s = clock.now_s
    outbox.put("slack", message("1"), now_s=begun_s)
    outbox.put("slack", message("2"), now_s=begun_s + 1.0)
    courier = Courier(Scripted(fails(NotifyError("down", kind="server"))), outbox, clock=clock)

    courier.step()
    stats = courier.stats
    failed = (stats.queued, stats.oldest_s, stats.failing, dict(stats.failed))
    pauses(courier, clock)

    assert failed == (2, begun_s, "down", {"server": 1})
    assert (stats.queued, stats.oldest_s, stats.failing, stats.sent) == (0, None, None, 2)
