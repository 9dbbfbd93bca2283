"""Silences: what they hold back, when it is told after all, and what another process does meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from logllm.database import Database
from logllm.errors import ConfigError
from logllm.notify.dispatch.dispatcher import Traits
from logllm.notify.dispatch.silences import MOST, SILENCES_SCHEMA, Silences
from logllm.notify.routing.plan import Step
from logllm.notify.routing.routes import RoutingConfig
from tests.notify.dispatch.dispatching import EDITING, PLAIN, START_S, Bench, explanation, incident

HOUR = 3_600.0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "notify.db")
    yield bench
    bench.close()


@pytest.fixture
def silences() -> Iterator[Silences]:
    database = Database(None, SILENCES_SCHEMA)
    yield Silences(database)
    database.close()


def test_a_silenced_incident_is_told_when_the_silence_ends_and_it_is_still_open(bench: Bench) -> None:
    bench.silence("service=payments", for_s=600)
    bench.accept(incident(1), incident(2), incident(3, service="checkout"))
    bench.accept(incident(2, "resolve", minute=5), after_s=300)
    bench.restart()
    bench.tick(299)
    during = bench.new()
    bench.tick(1)

    assert during == ["open inc-3"]
    assert bench.new() == ["open inc-1"]
    assert bench.dispatcher.counts()["held"] == 0


def test_a_silence_that_another_process_adds_or_ends_holds_within_a_second(bench: Bench, tmp_path: Path) -> None:
    other = Database(tmp_path / "notify.db", SILENCES_SCHEMA)
    theirs = Silences(other)
    made = theirs.add(
        ["service=payments"], starts_s=START_S, ends_s=START_S + HOUR, by="ana", comment="known", now_s=START_S
    )
    bench.accept(incident(1), after_s=10)
    silent = bench.new(), bench.next_s
    theirs.expire(made.id, START_S + 20)
    other.close()
    bench.tick(11)

    assert silent == ([], START_S + 11)
    assert bench.new() == ["open inc-1"]


def test_what_another_silence_still_matches_stays_silent(bench: Bench) -> None:
    bench.silence("service=payments", for_s=600)
    bench.silence("severity=warning", for_s=1_200)
    bench.accept(incident(1))
    bench.tick(1_199)
    during = bench.new()
    bench.tick(1)

    assert during == []
    assert bench.new() == ["open inc-1"]
    assert bench.dispatcher.counts()["silenced"] == 1


def test_updates_reminders_and_escalations_are_silent_and_the_end_is_told() -> None:
    config = RoutingConfig(to=[PLAIN, EDITING], escalate=[Step(1_800.0, ["boss"])])
    bench = Bench(config=config, traits={PLAIN: Traits(), EDITING: Traits(edits=True), "boss": Traits()})
    bench.accept(incident(1))
    bench.silence("service=payments", for_s=10 * HOUR)
    bench.accept(incident(1, "update", severity="critical", minute=1), after_s=400)
    bench.tick(9 * HOUR, grain_s=60.0)
    during = [bench.new(PLAIN), bench.new(EDITING), bench.new("boss")]
    bench.accept(incident(1, "resolve", minute=600), after_s=60)
    bench.tick(60)

    after = [bench.new(PLAIN), bench.new(EDITING), bench.new("boss")]
    covered = bench.covered()
    bench.close()

    assert during == [["open inc-1"], ["open inc-1"], []]
    assert after == [["resolve inc-1"], ["resolve inc-1"], []]
    assert ("inc-1", "update") in covered


def test_a_silence_that_starts_later_is_a_maintenance_window(bench: Bench) -> None:
    bench.silence("service=payments", for_s=600, in_s=1_000)
    bench.accept(incident(1))
    bench.accept(incident(2), after_s=1_000)
    inside = bench.new()
    bench.tick(600)

    assert inside == ["open inc-1"]
    assert bench.new() == ["open inc-2"]


def test_what_waits_when_a_silence_starts_is_silent(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.accept(incident(2), after_s=5)
    bench.silence("service=payments", for_s=600)
    bench.tick(500)
    during = bench.new()
    bench.tick(200)

    assert during == ["open inc-1"]
    assert bench.new() == ["open inc-2"]


def test_an_explanation_of_what_was_told_is_not_silenced(bench: Bench) -> None:
    bench.accept(incident(1))
    bench.silence("service=payments", for_s=600)
    bench.explain(explanation(1))

    assert bench.new() == ["open inc-1", "explanation inc-1"]


def test_a_storm_that_was_silenced_is_one_digest_when_the_silence_ends(bench: Bench) -> None:
    bench.silence('severity=~".+"', for_s=600)
    everything = [incident(n, service=f"s{n % 50}") for n in range(500)]
    bench.accept(*everything)
    before = bench.new()
    bench.tick(700)

    assert before == []
    assert len(bench.new()) <= 5
    assert bench.covered() == {(one.id, "open") for one in everything}


@pytest.mark.parametrize(
    ("matchers", "starts_s", "ends_s", "comment", "expected"),
    [
        ([], 0, 60, "x", "every incident"),
        (["service=~.*"], 0, 60, "x", "every incident"),
        (["service!=payments", "kind!~rate"], 0, 60, "x", "every incident"),
        (["payments"], 0, 60, "x", "matcher 'payments'"),
        (["service=a"], 60, 60, "x", "ends before it begins"),
        (["service=a"], -60, 0, "x", "has ended"),
        (["service=a"], 0, 91 * 86_400, "x", "at most 90 days"),
        (["service=a"], 91 * 86_400, 92 * 86_400, "x", "within 90 days"),
        (["service=a"], float("nan"), 60, "x", "ends before it begins"),
        (["service=a"], 0, float("inf"), "x", "at most 90 days"),
        (["service=a"], 0, 60, " \x00\n ", "no comment"),
    ],
)
def test_what_no_silence_can_be_is_refused(
    silences: Silences, matchers: list[str], starts_s: float, ends_s: float, comment: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        silences.add(
            matchers, starts_s=START_S + starts_s, ends_s=START_S + ends_s, by="ana", comment=comment, now_s=START_S
        )

    assert silences.list(START_S, expired=True) == []


def test_texts_of_people_are_cut_and_hold_no_control_characters(silences: Silences) -> None:
    made = silences.add(
        ["service=a"],
        starts_s=START_S,
        ends_s=START_S + 60,
        by="\x1b[31mana\ud800" + "x" * 9_999,
        comment="a\n\x00\u202eb" + "y" * 100_000,
        now_s=START_S,
    )

    assert silences.active(START_S) == [made]
    assert (len(made.by), len(made.comment)) == (200, 1_000)
    assert (made.by + made.comment).isprintable()


def test_there_are_at_most_a_thousand_and_expired_ones_make_room(silences: Silences) -> None:
    def one() -> int:
        return silences.add(["service=a"], starts_s=START_S, ends_s=START_S + 60, by="a", comment="x", now_s=START_S).id

    made = [one() for _ in range(MOST)]
    with pytest.raises(ConfigError, match="there are 1000 already"):
        one()
    ended = silences.expire(made[0], START_S), silences.expire(made[0], START_S)

    assert ended == (True, False)
    assert one() > made[-1]


def test_one_that_cannot_be_read_silences_nothing(bench: Bench, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "notify.db")
    for matchers in ("no JSON", '["service"]', "[]", '["pod=x"]'):
        db.execute(
            "INSERT INTO silences (matchers, starts_s, ends_s, who, comment, added_s) VALUES (?, 0, 4e9, '', '', 0)",
            (matchers,),
        )
    db.commit()
    db.close()
    bench.accept(incident(1))

    assert bench.new() == ["open inc-1"]
