"""The same records under the same answers give the same incidents, however they are cut and wherever it restarts."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import cache

import msgpack  # type: ignore[import-untyped]
import pytest
from msgspec.structs import replace

from logllm.events import IncidentEvent
from logllm.incidents.learned import Lesson, latest
from logllm.incidents.learned_from import Wish, lessons_of
from logllm.pipeline import Pipeline
from tests.incidents.stream import START_NS, chunks, eventful, json_of, pipeline, run

WHEN = datetime(2026, 3, 1, tzinfo=UTC)
RECORDS = eventful()


@cache
def unanswered() -> tuple[IncidentEvent, ...]:
    return tuple(run(pipeline(), RECORDS))


def opened(events: tuple[IncidentEvent, ...] | list[IncidentEvent]) -> dict[str, IncidentEvent]:
    return {event.title: event for event in events if event.event == "open"}


def about(words: str) -> IncidentEvent:
    latest_of = {event.id: event for event in unanswered()}
    return next(event for event in latest_of.values() if any(words in cause.text for cause in event.causes or []))


@cache
def answers() -> tuple[Lesson, ...]:
    disk = lessons_of(about("No space left"), "noise", "ann", WHEN)
    payment = lessons_of(about("upstream timed out"), "expected", "ann", WHEN, Wish(every_cause=True))
    half = datetime.fromtimestamp(START_NS / 1e9, UTC) + timedelta(hours=2)
    slow = [replace(each, until=half) for each in lessons_of(about("out of memory"), "real", "ann", WHEN)]
    return tuple(latest([*disk, *payment, *slow]))


def answering() -> Pipeline:
    made = pipeline()
    made.feedback.use(answers())
    return made


def test_what_is_noise_is_told_no_more_what_is_real_or_fatal_still_is() -> None:
    made = answering()

    told = run(made, RECORDS)

    before, now = opened(unanswered()), opened(told)
    assert any("No space left" in title for title in before)
    assert not any("No space left" in title for title in now)
    assert any("upstream timed out" in title for title in now)
    assert any("out of memory" in cause.text for event in told for cause in event.causes or [])
    assert sum(made.feedback.held.values()) > 0


@pytest.mark.parametrize("seed", range(3))
def test_cuts_change_nothing(seed: int) -> None:
    source = random.Random(seed)
    cuts = sorted(source.randrange(len(RECORDS)) for _ in range(60))
    whole, cut = answering(), answering()

    assert json_of(run(cut, RECORDS, cuts)) == json_of(run(whole, RECORDS))
    assert cut.feedback.state() == whole.feedback.state()


@pytest.mark.parametrize("seed", range(3))
def test_a_restart_anywhere_changes_nothing(seed: int) -> None:
    at = random.Random(seed).randrange(len(RECORDS) // 2, len(RECORDS))
    whole = answering()
    expected = json_of(run(whole, RECORDS, [at]))

    first = pipeline()
    first.feedback.use(answers())
    told = [event for chunk in chunks(RECORDS[:at]) for event in first.feed(chunk)]
    second = pipeline()
    second.restore(msgpack.unpackb(msgpack.packb(first.state()), strict_map_key=False))
    second.feedback.use(answers())
    told += run(second, RECORDS[at:], first_line=at + 1)

    strip = [replace(event, evidence=[]) for event in told]
    assert [event.id for event in strip] == [event.id for event in run(answering(), RECORDS, [at])]
    assert second.feedback.state() == whole.feedback.state()
    assert len(told) == len(expected)


def test_a_state_without_answers_of_an_older_logllm_is_taken_back() -> None:
    made = answering()
    run(made, RECORDS[:2000])
    state = made.state()
    del state["feedback"]

    pipeline().restore(state)
