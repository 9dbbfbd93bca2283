"""A sink's thread: groups, tries again, bounds, the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from logllm.errors import DeliveryError
from logllm.service.sink_worker import Backoff, SinkWorker
from logllm.sinks.parcel import Parcel

SOON = Backoff(0.001, 0.002)
PATIENCE_S = 20


def parcel(number: int, size: int = 10) -> Parcel:
    return Parcel("t", bytes(size), 1, (b"%016d" % number,))


class Fake:
    """A sink that fails as often as it is told, takes so many at once, and waits at its gate."""

    refused = 0

    def __init__(self, *, failures: int = 0, at_once: int = 10**6) -> None:
        self.failures = failures
        self.at_once = at_once
        self.written: list[bytes] = []
        self.groups: list[int] = []
        self.closed = 0
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def write(self, parcels: Sequence[Parcel]) -> int:
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        if self.failures:
            self.failures -= 1
            raise DeliveryError("not now", kind="full")
        some = parcels[: self.at_once]
        self.groups.append(len(some))
        self.written += [each.keys[0] for each in some]
        return len(some)

    def close(self) -> None:
        self.closed += 1


class Results:
    def __init__(self, wanted: int) -> None:
        self.safe: list[bool] = []
        self._wanted = wanted
        self._all = threading.Event()

    def __call__(self, safe: bool) -> None:
        self.safe.append(safe)
        if len(self.safe) >= self._wanted:
            self._all.set()

    def wait(self) -> list[bool]:
        assert self._all.wait(PATIENCE_S)
        return self.safe


def test_what_waits_while_the_sink_is_at_work_is_written_together_and_in_order() -> None:
    sink, results = Fake(), Results(11)
    worker = SinkWorker("fake", lambda: sink, backoff=SOON)
    sink.gate.clear()
    worker.put(parcel(0), results)
    assert sink.entered.wait(PATIENCE_S)
    for number in range(1, 11):
        worker.put(parcel(number), results)

    sink.gate.set()

    assert results.wait() == [True] * 11
    assert sink.groups == [1, 10]
    assert sink.written == [b"%016d" % number for number in range(11)]
    worker.close(1)
    assert sink.closed == 1
    assert (worker.stats.events, worker.stats.waiting_bytes, worker.stats.waiting_events) == (11, 0, 0)


def test_what_fails_is_tried_again_until_it_is_there(caplog: pytest.LogCaptureFixture) -> None:
    sink, results = Fake(failures=5, at_once=1), Results(3)
    worker = SinkWorker("fake", lambda: sink, backoff=SOON)

    for number in range(3):
        worker.put(parcel(number), results)

    assert results.wait() == [True] * 3
    assert sink.written == [b"%016d" % number for number in range(3)]
    worker.close(1)
    assert worker.stats.errors == {"full": 5}
    assert worker.stats.failing is None
    assert caplog.text.count("not now") == 3
    assert "works again after 5 failures" in caplog.text


def test_a_sink_that_cannot_be_made_yet_is_made_later() -> None:
    sink, results, tries = Fake(), Results(1), list[int]()

    def build() -> Fake:
        tries.append(1)
        if len(tries) < 4:
            raise DeliveryError("read-only", kind="read_only")
        return sink

    worker = SinkWorker("fake", build, backoff=SOON)
    worker.put(parcel(1), results)

    assert results.wait() == [True]
    worker.close(1)
    assert len(tries) == 4


def test_a_sink_that_is_not_required_drops_what_finds_no_room_and_counts_it() -> None:
    sink, results = Fake(), Results(2)
    worker = SinkWorker("fake", lambda: sink, backoff=SOON, most_bytes=25)
    sink.gate.clear()

    taken = [worker.put(parcel(number), results) for number in range(4)]
    sink.gate.set()

    assert taken == [True, True, False, False]
    assert results.wait() == [True, True]
    worker.close(1)
    assert worker.stats.discarded == 2


def test_at_the_end_what_cannot_be_written_is_given_up_and_not_acknowledged() -> None:
    sink, results = Fake(failures=10**9), Results(2)
    worker = SinkWorker("fake", lambda: sink, backoff=SOON)
    worker.put(parcel(1), results)
    worker.put(parcel(2), results)

    worker.close(0.05)

    assert results.wait() == [False, False]
    assert not worker.put(parcel(3), results)
    worker.close(0.05)


def test_at_the_end_what_can_be_written_is() -> None:
    sink, results = Fake(at_once=1), Results(50)
    worker = SinkWorker("fake", lambda: sink, backoff=SOON)
    for number in range(50):
        worker.put(parcel(number), results)

    worker.close(PATIENCE_S)

    assert results.safe == [True] * 50


def test_an_error_that_nothing_can_mend_ends_the_sink_and_is_told() -> None:
    class Gone(Fake):
        def write(self, parcels: Sequence[Parcel]) -> int:
            raise DeliveryError("its reader has gone", kind="closed", last=True)

    told: list[DeliveryError] = []
    results = Results(1)
    worker = SinkWorker("fake", Gone, backoff=SOON, on_end=told.append)

    worker.put(parcel(1), results)

    assert results.wait() == [False]
    worker.close(1)
    assert [str(error) for error in told] == ["its reader has gone"]


def test_a_new_configuration_closes_the_sink_and_loses_nothing() -> None:
    first, second, results = Fake(failures=10**9), Fake(), Results(1)
    worker = SinkWorker("fake", lambda: first, backoff=Backoff(30, 30))
    worker.put(parcel(1), results)
    assert first.entered.wait(PATIENCE_S)

    worker.rebuild(lambda: second)

    assert results.wait() == [True]
    assert first.closed == 1
    assert second.written == [b"%016d" % 1]
    worker.close(1)


def test_what_a_sink_that_is_not_required_has_not_written_at_the_end_is_counted_as_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink, results = Fake(failures=10**6), Results(1)
    worker = SinkWorker("fake", lambda: sink, backoff=SOON, most_bytes=100)
    worker.put(parcel(1), results)
    assert sink.entered.wait(PATIENCE_S)

    worker.close(0)

    assert results.wait() == [False]
    assert worker.stats.discarded == 1
    assert "acknowledged" not in caplog.text
    assert "1 records were not written and are dropped" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_sink_is_told_and_what_waits_is_given_up() -> None:
    def broken() -> Fake:
        raise ZeroDivisionError("a bug")

    told: list[DeliveryError] = []
    results = Results(1)

    worker = SinkWorker("fake", broken, backoff=SOON, on_end=told.append)
    taken = worker.put(parcel(1), results)
    worker.close(PATIENCE_S)

    assert not taken or results.wait() == [False]
    assert [(error.last, "stopped by a bug: ZeroDivisionError" in str(error)) for error in told] == [(True, True)]


def test_a_write_that_does_not_end_does_not_hold_up_the_end() -> None:
    sink = Fake()
    sink.gate.clear()
    worker = SinkWorker("fake", lambda: sink, backoff=SOON)
    worker.put(parcel(1), Results(1))
    assert sink.entered.wait(PATIENCE_S)
    begun = time.monotonic()

    worker.close(0.1)

    assert time.monotonic() - begun < 5
    sink.gate.set()
