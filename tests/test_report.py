"""The look back told: one problem once, ranked, and nothing of a calm file."""

from __future__ import annotations

import random

import pytest

from logllm.events import IncidentEvent
from logllm.pipeline import Pipeline
from tests.incidents.stream import Record, chunks, eventful, json_of, pipeline, run


def _report(records: list[Record], limit: int = 10) -> tuple[Pipeline, list[IncidentEvent]]:
    made = pipeline(look_back=True)
    assert run(made, sorted(records, key=lambda row: row.second)) == []
    return made, made.report(limit)


def _calm(minutes: int, seed: int = 1, service: str = "web") -> list[Record]:
    source = random.Random(seed)
    return [
        Record(source.random() * minutes * 60, service, text.format(source.randrange(999)), 9)
        for text, count in (("GET /page/{} 200", 60), ("session {} opened", 12), ("cache of {} entries swept", 3))
        for _ in range(count * minutes)
    ]


@pytest.mark.parametrize(("minutes", "seed"), [(1, 1), (10, 2), (90, 3), (300, 4)])
def test_of_a_calm_file_nothing_is_told(minutes: int, seed: int) -> None:
    _, events = _report(_calm(minutes, seed))

    assert events == []


def test_what_dominates_bursts_comes_late_and_is_rare_is_told_oddest_first() -> None:
    rows = _calm(60)
    rows += [Record(n * 3.0, "auth", f"Failed password for root from 10.0.0.9 port {n} ssh2") for n in range(1_200)]
    rows += [Record(1_800 + n * 0.4, "web", f"upstream {n} timed out", 13) for n in range(140)]
    rows += [Record(3_000 + n * 30, "mail", f"queue {n} is corrupt", 17) for n in range(8)]
    rows += [Record(700.0, "disk", "I/O error on sda", 17)]

    _, events = _report(rows)

    by_service = {event.service: event for event in events}
    assert {event.service for event in events[:2]} == {"auth", "web"}
    assert by_service["auth"].runbook == "ssh-brute-force"
    assert by_service["auth"].kinds[0] == "dominant"
    assert "rate" in by_service["web"].kinds
    assert "new" in by_service["mail"].kinds
    assert by_service["disk"].kinds == ["rare"]
    assert [event.score for event in events] == sorted((event.score for event in events), reverse=True)
    assert {event.event for event in events} == {"open"}


def test_a_report_is_the_same_every_time() -> None:
    first, second = (_report(list(eventful()))[1] for _ in range(2))

    assert json_of(first) == json_of(second) != []


def test_what_one_runbook_covers_in_a_service_is_told_once_and_counts_every_record_once() -> None:
    full = "No space left on device"
    rows = _calm(240, service="db")
    for start in (5_000, 8_000, 11_000):
        rows += [Record(start + n * 2.0, "db", f"could not extend file base/{n}: {full}", 17) for n in range(60)]
    rows += [Record(11_100 + n * 5, "db", f"cannot write wal segment {n}: {full}", 17) for n in range(30)]

    made, events = _report(rows)

    mine = [event for event in events if event.service == "db"]
    assert [event.runbook for event in mine] == ["disk-full"]
    assert mine[0].count <= 210
    assert mine[0].started < "2026-02-25T08"
    assert any("bursts" in fact for fact in mine[0].facts)
    assert made.report() == []


def test_the_same_problem_in_two_services_is_told_for_each() -> None:
    rows = _calm(60)
    rows += [
        Record(at * 10.0 + n, service, f"No space left on device while writing {at}", 17)
        for n, service in enumerate(("db", "mail"))
        for at in range(350)
    ]

    _, events = _report(rows)

    assert sorted(event.service for event in events) == ["db", "mail"]


def test_no_more_is_told_than_was_asked_for_and_than_the_budget_allows() -> None:
    rows = _calm(30)
    for number, name in enumerate(("disk", "mail", "dns", "tls", "queue", "cron", "ntp", "nfs", "ldap", "vpn")):
        rows += [Record(n * 4.5 + number, name, f"{name} module failed with error {n}", 17) for n in range(400)]

    _, everything = _report(rows, limit=50)
    _, few = _report(rows, limit=2)

    assert len(everything) == 5
    assert json_of(few) == json_of(everything[:2])


def test_ten_thousand_different_errors_are_looked_back_on_in_bounded_time() -> None:
    letters = "bcdfghjklmnpqrstvwxz"
    rows = [
        Record(
            n * 0.5,
            "app",
            f"{letters[n % 20]}{letters[n // 20 % 20]}{letters[n // 400 % 20]} error " + "zq" * (n % 7),
            17,
        )
        for n in range(4_000)
    ]

    _, events = _report(rows)

    assert 1 <= len(events) <= 6
    assert all(len(event.templates) <= 12 and len(event.evidence) <= 5 for event in events)


def test_evidence_of_a_report_lies_within_its_span_also_when_the_ring_has_moved_on() -> None:
    made = pipeline(look_back=True)
    rows = _calm(60) + [Record(400.0 + n, "disk", f"I/O error on sda sector {n}", 17) for n in range(3)]
    made.recent._max_records = 500

    for chunk in chunks(sorted(rows, key=lambda row: row.second), range(0, len(rows), 100)):
        made.feed(chunk)
    made.finish()
    events = made.report()

    assert events
    for event in events:
        assert event.evidence
        assert all(event.started <= item.time < (event.ended or "9999") for item in event.evidence)
