"""Incidents that were open when logllm was killed, and that nobody watches any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logllm.notify.dispatch.inhibit import InhibitRule
from logllm.notify.routing.routes import RoutingConfig
from tests.notify.dispatch.dispatching import PLAIN, START_S, Bench, incident

INHIBIT = [InhibitRule(source=["severity=critical"], target=["severity!=critical"], equal=["service"])]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "notify.db", RoutingConfig(to=[PLAIN], repeat_interval_s=3_600.0), inhibit=INHIBIT)
    yield bench
    bench.close()


def lose_sight(bench: Bench, *watched: str, before_s: float) -> int:
    return bench.dispatcher.lose_sight(watched, START_S + before_s, START_S + bench.now_s)


def test_it_is_ended_and_said_so_and_neither_repeated_nor_inhibits_any_more(bench: Bench) -> None:
    bench.accept(incident(1, severity="critical"))
    bench.restart()
    bench.accept(incident(2), after_s=100)
    before = bench.new()

    count = lose_sight(bench, "inc-2", before_s=50)
    bench.tick(600)

    shown, last = bench.new(), bench.messages()[-1]
    bench.tick(4_000)
    later = bench.new()
    assert (count, before, shown, later) == (1, ["open inc-1"], ["digest 2"], ["reminder inc-2"])
    assert bench.outbox.covered(last.id) == [("inc-1", "resolve"), ("inc-2", "open")]
    (end,) = [each for each in last.incidents if each.id == "inc-1"]
    assert end.title == "Not watched any more since a restart, it may go on: connection refused, number 1"


def test_what_is_watched_or_was_heard_of_since_is_left_alone(bench: Bench) -> None:
    bench.accept(incident(1), incident(2, service="checkout"))
    bench.accept(incident(2, "update", service="checkout", minute=2), after_s=120)

    count = lose_sight(bench, "inc-1", before_s=60)

    assert count == 0


def test_it_is_open_again_when_it_is_heard_of_after_all(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.tick(1_000)
    lose_sight(bench, before_s=500)
    bench.tick(600)
    bench.new()

    bench.accept(incident(1, "update", severity="critical", minute=20))

    assert bench.new() == ["update inc-1"]
