"""A courier's thread: it is woken, it looks for itself, and it ends in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from logllm.database import Database
from logllm.notify.outbox.courier import Courier
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox
from tests.notify.fake_http import FakeHttp, Reply
from tests.notify.outbox.kill_child import Posting, alert

PATIENCE_S = 20.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(tmp_path / "notify.db", OUTBOX_SCHEMA)
    yield found
    found.close()


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


def put(outbox: Outbox, *numbers: int) -> None:
    for number in numbers:
        outbox.put("hook", alert("hook", number), now_s=time.time())


def test_it_sends_what_is_put_when_it_is_woken(outbox: Outbox) -> None:
    with FakeHttp() as receiver:
        courier = Courier(Posting("hook", receiver.url), outbox, wait=lambda event, seconds: event.wait(PATIENCE_S))
        courier.start()
        put(outbox, 1)
        courier.wake()

        receiver.wait_for(1)

        courier.close(5.0)
        assert outbox.counts() == {("hook", "sent"): 1}


def test_it_looks_by_itself_within_seconds_for_what_another_process_requeued(outbox: Outbox) -> None:
    waits: list[float] = []
    looked = threading.Event()

    def wait(event: threading.Event, seconds: float) -> None:
        waits.append(seconds)
        looked.set()
        event.wait(PATIENCE_S)

    courier = Courier(Posting("hook", "http://127.0.0.1:9/"), outbox, wait=wait)
    courier.start()
    assert looked.wait(PATIENCE_S)
    courier.close(5.0)

    assert waits[0] == 2.0


def test_what_waits_at_the_end_is_still_sent_within_the_grace(outbox: Outbox) -> None:
    put(outbox, *range(20))
    with FakeHttp() as receiver:
        courier = Courier(Posting("hook", receiver.url), outbox)
        courier.start()

        courier.close(PATIENCE_S)

        assert len(receiver.requests) == 20
    assert outbox.counts() == {("hook", "sent"): 20}


@pytest.mark.parametrize("reply", [Reply(status=500), Reply(status=429, headers={"Retry-After": "3600"})])
def test_the_end_does_not_wait_for_a_destination_that_fails(outbox: Outbox, reply: Reply) -> None:
    put(outbox, 1, 2)
    with FakeHttp(otherwise=reply) as receiver:
        courier = Courier(Posting("hook", receiver.url), outbox)
        courier.start()
        receiver.wait_for(1)

        begun = time.monotonic()
        courier.close(PATIENCE_S)

        assert time.monotonic() - begun < PATIENCE_S / 2
    assert outbox.counts() == {("hook", "queued"): 2}


def test_the_end_does_not_wait_for_a_receiver_that_hangs_and_the_message_stays(
    database: Database, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, 1)
    destination_closed = threading.Event()

    class Closing(Posting):
        def close(self) -> None:
            destination_closed.set()

    with FakeHttp(Reply(way="hang")) as receiver:
        courier = Courier(Closing("hook", receiver.url, deadline_s=PATIENCE_S), outbox)
        courier.start()
        receiver.wait_for(1)

        begun = time.monotonic()
        courier.close(0.1)
        courier.close(PATIENCE_S)

        assert time.monotonic() - begun < PATIENCE_S / 2
        assert "left alone" in caplog.text
        assert outbox.counts() == {("hook", "queued"): 1}
        database.close()

    # Its answer comes when nobody can write it down any more.
    assert destination_closed.wait(PATIENCE_S)


def test_a_courier_that_was_never_started_lets_go_of_its_destination(outbox: Outbox) -> None:
    destination = Posting("hook", "http://127.0.0.1:9/")
    courier = Courier(destination, outbox)

    courier.close(0.0)
    courier.close(0.0)

    assert destination.closed == 1


def test_two_destinations_do_not_wait_for_each_other(outbox: Outbox) -> None:
    with FakeHttp(otherwise=lambda one: Reply(way="hang" if one.path == "/slow" else "answer")) as receiver:
        couriers = [Courier(Posting(name, receiver.url, deadline_s=PATIENCE_S), outbox) for name in ("slow", "hook")]
        outbox.put("slow", alert("slow", 1), now_s=time.time())
        for courier in couriers:
            courier.start()
        receiver.wait_for(1)
        put(outbox, 1, 2, 3)
        couriers[1].wake()

        receiver.wait_for(4)

        couriers[1].close(5.0)
        couriers[0].close(0.0)
    assert outbox.counts()["hook", "sent"] == 3
