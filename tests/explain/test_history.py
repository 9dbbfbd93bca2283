from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from logllm.evaluation.llm import CASES
from logllm.events import Evidence, IncidentEvent
from logllm.explain.cache import ExplanationCache
from logllm.explain.explainer import Explainer
from logllm.explain.history import LEAST_LIKE, History, likeness, masked_outcome
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue
from logllm.incidents.store import IncidentStore

POOL = "FATAL: remaining connection slots are reserved for superuser, sorry, too many clients already"
DISK = "ERROR: could not extend file base/16385/2619: No space left on device"


def _incident(
    number: int, lines: list[str], *, day: int = 1, service: str = "orders", fingerprint: str = ""
) -> IncidentEvent:
    template = re.sub(r"\d+", "<num>", lines[0]) if lines else ""
    return IncidentEvent(
        id=f"inc-{number:010x}",
        event="open",
        time=f"2026-01-{day:02d}T10:05:00.000Z",
        severity="warning",
        service=service,
        kinds=["new"],
        title=f"New: {template[:110]}",
        expected="none",
        seen="40 records",
        template=template,
        count=40,
        runbook=None,
        evidence=[Evidence(f"E{n}", f"2026-01-{day:02d}T10:00:00Z", line) for n, line in enumerate(lines, 1)],
        started=f"2026-01-{day:02d}T10:00:00.000Z",
        fingerprint=fingerprint,
        services=[service],
    )


def _kept(*incidents: IncidentEvent) -> IncidentStore:
    store = IncidentStore(":memory:")
    for each in incidents:
        store.put(each)
    return store


def test_what_happened_before_is_found_with_what_was_said_of_it() -> None:
    store = _kept(_incident(1, [POOL], day=3), _incident(2, [DISK], day=4))
    store.judge("inc-0000000001", "real")
    store.solve("inc-0000000001", "raised max_connections")
    history = History(store)

    found = history.search(_incident(9, [POOL, "retry 3"], day=9))
    history.close()
    store.close()

    assert [(one.incident, one.verdict, one.outcome) for one in found] == [
        ("inc-0000000001", "real", "raised max_connections")
    ]
    assert found[0].time == "2026-01-03T10:00:00.000Z"
    assert LEAST_LIKE <= found[0].likeness <= 1.0


def test_nothing_like_it_is_nothing_found() -> None:
    store = _kept(_incident(1, [POOL], day=3), _incident(2, [], day=3))
    history = History(store)

    assert history.search(_incident(9, [DISK], day=9)) == []
    assert history.search(_incident(8, [], day=9, service="")) == []
    history.close()
    store.close()


def test_neither_itself_nor_what_began_within_the_hour_before_nor_what_came_later_is_its_past() -> None:
    late = replace(_incident(2, [POOL], day=9), started="2026-01-09T09:30:00Z")
    store = _kept(_incident(9, [POOL], day=9), late, _incident(3, [POOL], day=10))
    history = History(store)

    found = history.search(_incident(9, [POOL], day=9))
    history.close()
    store.close()

    assert found == []


def test_of_one_fingerprint_the_one_is_shown_whose_cure_is_known_else_the_latest() -> None:
    again = [_incident(number, [POOL], day=number, fingerprint="f") for number in range(1, 6)]
    store = _kept(*again)
    history = History(store)

    latest = history.search(_incident(9, [POOL], day=9, fingerprint="f"))
    store.solve(again[1].id, "raised max_connections")
    cured = history.search(_incident(9, [POOL], day=9, fingerprint="f"))
    history.close()
    store.close()

    assert [one.incident for one in latest] == [again[4].id]
    assert [(one.incident, one.likeness) for one in cured] == [(again[1].id, 1.0)]


def test_at_most_three_are_shown_the_likest_first_and_of_as_like_ones_those_with_a_cure() -> None:
    several = [_incident(number, [f"{POOL} {number}"], day=number) for number in range(1, 7)]
    store = _kept(*several)
    store.solve(several[2].id, "restarted pgbouncer")
    history = History(store)

    found = history.search(_incident(9, [POOL], day=9))
    history.close()
    store.close()

    assert [one.incident for one in found] == [several[2].id, several[5].id, several[4].id]


def test_incidents_kept_after_the_first_search_are_found_too_and_a_row_that_cannot_be_read_is_passed_over() -> None:
    store = _kept(_incident(1, [DISK], day=1))
    history = History(store)
    assert history.search(_incident(9, [POOL], day=9)) == []

    store.put(_incident(2, [POOL], day=2))
    store._db.execute("UPDATE incidents SET body = x'00' WHERE rowid = 1")

    assert [one.incident for one in history.search(_incident(9, [POOL], day=9))] == ["inc-0000000002"]
    history.close()
    store.close()


def test_that_a_message_stopped_is_not_like_that_it_came_too_often() -> None:
    came, stopped = _incident(1, [POOL], day=1), replace(_incident(9, [POOL], day=9), kinds=["silence"])

    assert likeness(came, stopped) < LEAST_LIKE
    assert likeness(replace(came, kinds=["silence"]), stopped) >= LEAST_LIKE


def test_an_outcome_is_masked_without_numbers_on_one_line_and_bounded() -> None:
    told = masked_outcome(
        "blocked 203.0.113.9\nfor carol@example.com, token=s3cr3t-value-81723\x1b[2J " + "x " * 900, Redactor()
    )

    assert told.startswith("blocked <ip> for <email>, token=<secret>")
    assert len(told) <= 300
    assert told.isprintable()


@given(st.text(max_size=3_000))
@settings(max_examples=100, deadline=None)
def test_any_outcome_can_be_kept_and_told(text: str) -> None:
    store = _kept(_incident(1, [POOL], day=1))
    history = History(store)

    assert store.solve("inc-0000000001", masked_outcome(text, Redactor()))
    (found,) = history.search(_incident(9, [POOL], day=9))
    history.close()
    store.close()

    assert len(found.outcome) <= 300
    assert "\n" not in found.outcome


@given(st.lists(st.text(max_size=300), max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_words_may_be_searched_for(lines: list[str]) -> None:
    store = _kept(_incident(1, [POOL], day=1), _incident(2, lines, day=2))
    history = History(store)

    found = history.search(_incident(9, [*lines, '" OR NEAR('], day=9))
    history.close()
    store.close()

    assert all(0.0 <= one.likeness <= 1.0 for one in found)


def _excerpts() -> Iterable[tuple[str, list[str]]]:
    for row in map(json.loads, CASES.read_text(encoding="utf-8").splitlines()):
        yield row["runbook"], [line for line in row["text"].splitlines() if line.strip()]


def _again(lines: list[str], source: random.Random) -> list[str]:
    """The same trouble another day: other numbers, other order, a line less."""
    lines = [re.sub(r"\d", lambda _: str(source.randrange(10)), line) for line in lines]
    source.shuffle(lines)
    return lines[1:] if len(lines) > 2 else lines


def test_the_same_trouble_is_told_from_another_in_labelled_pairs() -> None:
    source = random.Random(1)
    excerpts = list(_excerpts())
    alike, others = [], []
    for runbook, lines in excerpts:
        one = _incident(1, lines)
        alike.append(likeness(one, _incident(2, _again(lines, source))))
        alike.append(likeness(one, _incident(2, _again(lines, source), service="billing")))
        unlike = [other for label, other in excerpts if label != runbook or label == "none"]
        others += [likeness(one, _incident(3, other)) for other in source.sample(unlike, 12) if other != lines]

    found = sum(value >= LEAST_LIKE for value in alike)
    wrong = sum(value >= LEAST_LIKE for value in others)
    print(f"\n{len(alike)} pairs alike, {len(others)} not: found {found}, wrong {wrong}")

    assert len(alike) + len(others) > 2_000
    assert found / len(alike) >= 0.97
    assert wrong / max(1, found + wrong) <= 0.01


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_no_more_are_given_than_asked_for(limit: int) -> None:
    store = _kept(*(_incident(number, [f"{POOL} {number}"], day=number) for number in range(1, 5)))
    history = History(store)

    found = history.search(_incident(9, [POOL], day=9), limit)
    history.close()
    store.close()

    assert len(found) == limit


@pytest.mark.parametrize("status", ["insufficient", "failed"])
def test_what_was_seen_before_is_told_without_a_model_too_and_where_the_model_failed(status: str) -> None:
    store = _kept(_incident(1, [POOL], day=1))
    store.solve("inc-0000000001", "raised max_connections")
    history = History(store)
    explainer = Explainer(None, Catalogue([]), Redactor(), ExplanationCache(), history=history.search)
    incident = _incident(9, [POOL], day=9)

    told = explainer.explain(incident) if status == "insufficient" else explainer.without_model(incident, "away")
    explainer.close()
    history.close()
    store.close()

    assert told.status == status
    assert [one.outcome for one in told.seen_before] == ["raised max_connections"]


def test_a_store_that_cannot_be_read_costs_no_explanation() -> None:
    store = _kept(_incident(1, [POOL], day=1))
    history = History(store)
    store.close()
    explainer = Explainer(None, Catalogue([]), Redactor(), ExplanationCache(), history=history.search)

    told = explainer.explain(_incident(9, [POOL], day=9))
    explainer.close()
    history.close()

    assert told.seen_before == []
