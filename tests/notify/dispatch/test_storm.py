"""Ten thousand incidents in a minute: a handful of messages, and each incident in one of them."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.database import Database
from logllm.events import IncidentEvent
from logllm.notify.dispatch.dispatcher import Traits
from logllm.notify.dispatch.storm import BURSTS_SCHEMA, EDITS, Burst
from logllm.notify.routing.routes import RoutingConfig
from tests.notify.dispatch.dispatching import EDITING, PLAIN, START_S, Bench, incident

COUNT = 10_000
SEVERITIES = ("warning", "info", "critical")


def many(what: str, minute: int, count: int = COUNT) -> list[IncidentEvent]:
    """Incidents of 200 services, a third of them critical."""
    return [
        incident(n, what, service=f"service-{n % 200}", severity=SEVERITIES[n % 3], minute=minute)  # type: ignore[arg-type]
        for n in range(count)
    ]


def pour(bench: Bench, events: list[IncidentEvent], batch: int) -> None:
    """Over one minute, so many at once."""
    for first in range(0, len(events), batch):
        bench.accept(*events[first : first + batch])
        bench.tick(60 * batch / len(events))


@pytest.mark.parametrize("destination", [PLAIN, EDITING])
@pytest.mark.parametrize("batch", [50, COUNT])
def test_ten_thousand_incidents_are_a_handful_of_messages_and_none_is_unaccounted_for(
    tmp_path: Path, destination: str, batch: int
) -> None:
    bench = Bench(tmp_path / "notify.db", RoutingConfig(to=[destination]))
    began_s = time.process_time()
    pour(bench, many("open", 0), batch)
    bench.restart()
    bench.tick(840)
    opened, told = bench.new(destination), bench.covered(destination)
    bench.restart()
    pour(bench, many("resolve", 16), batch)
    bench.restart()
    bench.tick(1_000)
    resolved, covered = bench.new(destination), bench.covered(destination)
    used_s = time.process_time() - began_s
    counts, next_s = bench.dispatcher.counts(), bench.next_s
    bench.close()

    assert len(opened) <= 20
    assert len(opened) + len(resolved) <= 20
    assert {name for name, _ in told} == {f"inc-{n}" for n in range(COUNT)}
    assert covered == {(f"inc-{n}", event) for n in range(COUNT) for event in ("open", "resolve")}
    assert (counts["waiting"], counts["held"], next_s is None or next_s > START_S) == (0, 0, True)
    assert used_s < 20  # it takes about 2


def test_a_long_storm_is_about_one_message_a_minute() -> None:
    bench = Bench()
    minutes, number = 20, 0
    for _ in range(minutes * 6):
        bench.accept(*(incident(number + more, service=f"s{number + more}") for more in range(20)))
        number += 20
        bench.tick(10)
    bench.tick(120)

    shown, covered = bench.new(), bench.covered()
    bench.close()

    assert len(shown) <= 5 + minutes
    assert covered == {(f"inc-{n}", "open") for n in range(number)}


def test_the_digest_of_a_storm_tells_the_gravest_first_and_how_many_of_what() -> None:
    bench = Bench()
    for number in range(5):
        bench.accept(incident(f"first-{number}", service=f"early-{number}"))
    bench.accept(*many("open", 0, 600), after_s=1)
    bench.tick(60)

    storm = bench.messages()[-1]
    bench.close()

    assert (storm.kind, storm.total, storm.route, storm.thread) == ("digest", 600, "default", storm.id)
    assert len(storm.incidents) == 20
    assert {shown.severity for shown in storm.incidents} == {"critical"}
    assert len(storm.counts) == 200
    assert {count.event for count in storm.counts} == {"open"}


def test_one_destination_in_a_storm_does_not_hold_up_another() -> None:
    bench = Bench(config=RoutingConfig(to=[PLAIN, EDITING]), traits={PLAIN: Traits(), EDITING: Traits(burst=1_000)})
    bench.accept(*many("open", 0, 400))

    both = len(bench.new(PLAIN)), len(bench.new(EDITING))
    bench.close()

    assert both == (5, 200)


def test_a_kept_database_of_a_storm_that_is_rolled_back_tells_it_all_at_the_next_try(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "notify.db")
    bench.dispatcher.accept(many("open", 0, 1_000), START_S)
    put = bench.outbox.put
    calls = 0

    def full(*arguments: object, **named: object) -> bool:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise sqlite3.OperationalError("database or disk is full")
        return put(*arguments, **named)  # type: ignore[arg-type]

    bench.outbox.put = full  # type: ignore[method-assign]
    with pytest.raises(Exception, match="disk is full"):
        bench.tick()
    after_failure = bench.new()
    counts = bench.dispatcher.counts()
    bench.tick()

    shown, covered = bench.new(), bench.covered()
    bench.close()

    assert after_failure == []
    assert counts["digested"] == 0
    assert [one.split()[0] for one in shown] == [*["open"] * 4, "digest"]
    assert len(covered) == 1_000


@given(st.lists(st.floats(0.0, 300.0), max_size=60), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_in_no_minute_are_there_more_messages_than_allowed(times: list[float], limit: int) -> None:
    database = Database(None, BURSTS_SCHEMA)
    sent: list[float] = []
    with database.transaction() as db:
        for at_s in sorted(times):
            burst = Burst(db, "x", limit, at_s)
            if burst.free:
                burst.spend("message")
                sent.append(at_s)
            else:
                assert at_s < burst.free_s <= at_s + 60
    database.close()

    assert all(sum(at_s <= other < at_s + 60 for other in sent) <= limit for at_s in sent)
    assert EDITS < 60


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_in_whatever_order_every_event_is_told_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    destination = chance.choice([PLAIN, EDITING])
    path = tmp_path / "notify.db"
    bench = Bench(path, RoutingConfig(to=[destination], group_by=chance.choice([[], ["service"]])))
    alive: dict[int, int] = {}
    events: set[tuple[str, str]] = set()
    for number in range(400):
        minute = int(bench.now_s // 60)
        what = chance.choice(["open", "open", "update", "resolve"])
        if what == "open" or not alive:
            alive[number] = minute
            events.add((f"inc-{number}", "open"))
            bench.accept(incident(number, service=f"s{number % 7}", minute=minute))
        else:
            one = chance.choice(sorted(alive))
            severity = chance.choice(["warning", "critical"])
            event = incident(one, what, service=f"s{one % 7}", severity=severity, minute=minute)  # type: ignore[arg-type]
            if what == "resolve":
                del alive[one]
            events.add((event.id, what))
            bench.accept(event)
        if chance.random() < 0.1:
            bench.restart()
        bench.tick(chance.choice([0.0, 0.5, 10.0, 70.0, 400.0]))
    bench.tick(20_000)

    messages = bench.messages(destination)
    pairs = [pair for message in messages for pair in bench.outbox.covered(message.id)]
    opened = Counter(pair for pair in pairs if pair[1] in ("open", "resolve"))
    bench.close()

    assert {pair for pair in pairs if pair[1] in ("open", "update", "resolve")} == events
    assert max(opened.values()) == 1
    assert len({message.id for message in messages}) == len(messages)
