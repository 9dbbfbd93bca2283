"""Grouping: Alertmanager's words, and when each message goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logllm.notify.dispatch.dispatcher import Traits
from logllm.notify.notification import Count
from logllm.notify.routing.owners import Owners, Team
from logllm.notify.routing.routes import RoutingConfig
from tests.notify.dispatch.dispatching import EDITING, PLAIN, Bench, incident, route


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_the_first_incident_of_a_quiet_group_is_told_at_once(bench: Bench) -> None:
    bench.accept(incident(1))

    assert bench.new() == ["open inc-1"]
    (message,) = bench.messages()
    assert (message.thread, message.route, message.total) == ("inc-1", "default", 1)
    assert bench.outbox.covered(message.id) == [("inc-1", "open")]


def test_of_several_at_once_the_gravest_has_a_message_of_its_own_and_the_others_wait(bench: Bench) -> None:
    bench.accept(incident(1), incident(2, severity="info"), incident(3, severity="critical"))
    at_once = bench.new()
    bench.tick(30)

    assert at_once == ["open inc-3"]
    assert bench.new() == ["digest 2"]


def test_what_comes_within_group_wait_is_told_together_when_it_is_over(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2, severity="info"), after_s=10)
    bench.accept(incident(3, severity="info"), after_s=10)
    bench.tick(9.9)
    early = bench.new()
    bench.tick(0.1)

    assert early == ["open inc-1"]
    assert bench.new() == ["digest 2"]
    digest = bench.messages()[-1]
    assert digest.counts == [Count("payments", "info", "open", 2)]
    assert digest.thread == digest.id
    assert bench.outbox.covered(digest.id) == [("inc-2", "open"), ("inc-3", "open")]


def test_a_single_one_that_waited_has_a_message_of_its_own(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2), after_s=10)
    bench.tick(20)

    assert bench.new() == ["open inc-1", "open inc-2"]


def test_later_news_of_a_group_comes_every_group_interval_at_most(bench: Bench) -> None:
    bench.accept(incident(1))
    at: list[float] = []
    for number in range(2, 90):
        bench.accept(incident(number), after_s=10)
        if bench.new():
            at.append(bench.now_s)

    assert at == [10, 30, 330, 630]


def test_after_a_quiet_interval_the_next_one_is_told_at_once(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2), after_s=31)
    waiting = bench.new()
    bench.tick(300)
    bench.new()
    bench.accept(incident(3), after_s=300)

    assert waiting == ["open inc-1"]
    assert bench.new() == ["open inc-3"]


def test_groups_do_not_wait_for_each_other(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2, service="checkout"), after_s=1)
    bench.accept(incident(3, service="search"), after_s=1)

    assert bench.new() == ["open inc-1", "open inc-2", "open inc-3"]


@pytest.mark.parametrize(
    ("group_by", "messages"),
    [([], 1), (["service"], 2), (["service", "severity"], 3), (["severity"], 2), (["owner"], 2)],
)
def test_group_by_says_who_is_told_together(group_by: list[str], messages: int) -> None:
    owners = Owners({"shop": Team(["checkout"]), "money": Team(["payments"])})
    bench = Bench(config=RoutingConfig(to=[PLAIN], group_by=group_by), owners=owners)

    bench.accept(
        incident(1), incident(2, service="checkout"), incident(3, service="checkout", severity="info"), incident(4)
    )

    shown = bench.new()
    bench.close()
    assert len(shown) == messages


def test_an_update_and_the_end_are_news_where_the_destination_cannot_edit(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(1, "update", minute=1), after_s=60)
    bench.tick(239)
    waited = bench.new()
    bench.tick(1)
    update = bench.new()
    bench.accept(incident(1, "resolve", minute=20), after_s=900)
    bench.tick(29)
    collecting = bench.new()
    bench.tick(1)

    assert (waited, update, collecting) == (["open inc-1"], ["update inc-1"], [])
    assert bench.new() == ["resolve inc-1"]
    assert {message.thread for message in bench.messages()} == {"inc-1"}


def test_what_waits_takes_in_what_comes_after_it(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2, minute=1), after_s=5)
    bench.accept(incident(2, "update", minute=2), after_s=5)
    bench.tick(20)

    message = bench.messages()[-1]
    assert (message.kind, message.incidents[0].event, message.incidents[0].time) == (
        "open",
        "open",
        "2026-11-30T12:02:00.000Z",
    )
    assert bench.outbox.covered(message.id) == [("inc-2", "open"), ("inc-2", "update")]


def test_a_destination_that_edits_is_told_of_changes_at_once() -> None:
    bench = Bench(config=RoutingConfig(to=[EDITING]))
    bench.accept(incident(1))
    bench.accept(incident(1, "update", minute=1), after_s=1)
    bench.accept(incident(1, "resolve", minute=2), after_s=1)

    shown = bench.new(EDITING)
    bench.close()

    assert shown == ["open inc-1", "update inc-1", "resolve inc-1"]


def test_edits_are_bounded_too_and_only_the_latest_state_is_told() -> None:
    bench = Bench(config=RoutingConfig(to=[EDITING]), traits={EDITING: Traits(edits=True)})
    bench.accept(incident(1))
    for minute in range(1, 41):
        bench.accept(incident(1, "update", minute=minute), after_s=1)
    first_minute = len(bench.new(EDITING))
    bench.tick(60)

    rest = bench.messages(EDITING)[first_minute:]
    covered = bench.covered(EDITING)
    bench.close()

    assert first_minute == 1 + 30
    assert [message.incidents[0].time for message in rest] == ["2026-11-30T12:40:00.000Z"]
    assert covered == {("inc-1", "open"), ("inc-1", "update")}


def test_an_incident_that_becomes_critical_is_told_at_once(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(1, "update", severity="critical", minute=1), after_s=2)

    assert bench.new() == ["open inc-1", "update inc-1"]
    assert bench.messages()[-1].severity == "critical"
    assert bench.messages()[-1].raised


def test_the_first_critical_one_among_warnings_does_not_wait_for_company(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2, severity="critical"), after_s=60)
    at_once = bench.new()
    bench.accept(incident(3, severity="critical"), after_s=1)

    assert at_once == ["open inc-1", "open inc-2"]
    assert bench.new() == []


def test_a_route_that_an_incident_reaches_only_when_it_is_critical_tells_it_as_new() -> None:
    config = RoutingConfig(
        to=[PLAIN], routes=[route("all", [], continue_=True), route("grave", ["severity=critical"], to=[EDITING])]
    )
    bench = Bench(config=config)
    bench.accept(incident(1))
    before = bench.new(EDITING)
    bench.accept(incident(1, "update", severity="critical", minute=1), after_s=400)

    both = bench.new(EDITING), bench.new()
    bench.close()

    assert before == []
    assert both == (["open inc-1"], ["open inc-1", "update inc-1"])


def test_several_routes_to_one_destination_tell_it_once() -> None:
    routes = [route("one", ["service=payments"], continue_=True), route("two", ["severity=warning"])]
    bench = Bench(config=RoutingConfig(to=[PLAIN], routes=routes))
    bench.accept(incident(1))

    shown = bench.messages()
    bench.close()

    assert [message.route for message in shown] == ["one"]


def test_what_ended_before_it_was_told_is_in_the_next_digest(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2), after_s=40)
    bench.accept(incident(2, "resolve", minute=1), after_s=10)
    bench.accept(incident(3), incident(4), after_s=10)
    bench.tick(240)

    assert bench.new() == ["open inc-1", "digest 3"]
    digest = bench.messages()[-1]
    assert {(count.event, count.count) for count in digest.counts} == {("open", 2), ("unseen", 1)}
    assert ("inc-2", "resolve") in bench.outbox.covered(digest.id)


def test_what_ended_before_it_was_told_disturbs_nobody_by_itself_for_the_repeat_interval(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2), after_s=40)
    bench.accept(incident(1, "resolve", minute=1), incident(2, "resolve", minute=1), after_s=10)
    bench.tick(14_399)
    before = bench.new()
    bench.tick(1)

    assert before == ["open inc-1", "resolve inc-1"]
    assert bench.new() == ["resolve inc-2"]
    assert {("inc-2", "open"), ("inc-2", "resolve")} <= bench.covered()


def test_the_same_event_again_changes_nothing(bench: Bench) -> None:
    events = [incident(1), incident(1, "update", minute=1), incident(1, "resolve", minute=2)]
    for event in events:
        bench.accept(event, after_s=400)
        bench.tick(60)
    before = bench.new()
    for event in events:
        bench.accept(event, after_s=400)
    bench.tick(20_000)

    assert before == ["open inc-1", "update inc-1", "resolve inc-1"]
    assert bench.new() == []
    assert bench.dispatcher.counts()["known"] == 3


def test_a_digest_shows_the_gravest_twenty_and_counts_all(bench: Bench) -> None:
    grave = [incident(n, severity="critical") for n in range(99, 105)]
    bench.accept(*(incident(n, severity="info") for n in range(60)), *grave)
    bench.tick(30)

    _, digest = bench.messages()
    assert digest.total == 65
    assert len(digest.incidents) == 20
    assert [shown.severity for shown in digest.incidents[:6]] == [*["critical"] * 5, "info"]
    assert digest.counts == [Count("payments", "info", "open", 60), Count("payments", "critical", "open", 5)]


def test_the_thread_of_a_digest_is_closed_when_all_of_it_is_over(bench: Bench) -> None:
    bench.accept(incident(0), incident(1), incident(2), incident(3))
    bench.tick(30)
    opened = bench.messages()[-1]
    bench.accept(incident(1, "resolve", minute=16), incident(2, "resolve", minute=16), after_s=960)
    bench.tick(30)
    bench.accept(incident(3, "resolve", minute=30), after_s=900)
    bench.tick(30)

    assert bench.new() == ["open inc-0", "digest 3", "digest 2", "digest 1"]
    _, _, part, last = bench.messages()
    assert part.thread == part.id
    assert last.thread == opened.id


def test_a_clock_that_was_put_back_keeps_nothing_silent(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2), after_s=5)
    bench.now_s -= 1_000_000
    bench.tick(31)
    put_back = bench.new()
    bench.accept(incident(3))
    bench.tick(300)

    assert put_back == ["open inc-1", "open inc-2"]
    assert bench.new() == ["open inc-3"]


def test_incidents_over_the_bound_are_forgotten_those_that_ended_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "notify.db", keep=10)
    for number in range(8):
        bench.accept(incident(number), after_s=400)
    bench.accept(*(incident(n, "resolve", minute=n) for n in range(4)), after_s=400)
    bench.tick(400)
    for number in range(8, 16):
        bench.accept(incident(number), after_s=400)
    bench.tick(100)

    with bench.database.reading() as db:
        left = {row[0] for row in db.execute("SELECT incident FROM dispatch_incidents")}
    counts = bench.dispatcher.counts()
    bench.close()

    assert left == {f"inc-{n}" for n in range(6, 16)}
    assert counts["forgotten"] == 0


def test_a_day_after_everything_ended_the_tables_are_empty(bench: Bench) -> None:
    bench.accept(*(incident(n, service=f"s{n}") for n in range(50)))
    bench.accept(*(incident(n, "resolve", service=f"s{n}", minute=16) for n in range(50)), after_s=960)
    bench.tick(90_000)

    with bench.database.reading() as db:
        left = [
            db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("dispatch_incidents", "dispatch_events", "tellings", "groups", "escalations", "bursts")
        ]
    assert left[:5] == [0, 0, 0, 0, 0]
    assert left[5] <= 5
