"""What plugins raise: anomalies like any other, grouped, budgeted, kept over a restart."""

from __future__ import annotations

import numpy as np
import pytest

from logllm.config import Config
from logllm.detectors.config import DetectConfig
from logllm.events import WINDOW_NS, Chunk, Columns, IncidentEvent, Severity
from logllm.filters.host import Signal
from logllm.pipeline import Pipeline
from logllm.signals import MOST_WAITING, Raised

START_NS = 1_773_100_800_000_000_000


def records(minute: int, count: int = 20, service: str = "cart") -> Chunk:
    times = START_NS + minute * WINDOW_NS + np.arange(count, dtype=np.int64) * 1_000_000_000
    columns = Columns(
        times,
        [f"item {n} added" for n in range(count)],
        np.full(count, 9, np.uint8),
        np.zeros(count, np.int32),
        [service],
    )
    return Chunk("app", count, 20 * count, columns=columns)


def signal(rule: str = "card testing", *, service: str = "cart", score: float = 0.8, text: str = "41 cards") -> Signal:
    return Signal("fraud", rule, text, score, service)


def run(pipeline: Pipeline, minutes: range, signals: dict[int, list[Signal]]) -> list[IncidentEvent]:
    events = []
    for minute in minutes:
        events += pipeline.take(records(minute), signals.get(minute, []))
    return events


def test_a_signal_is_told_when_its_window_closes_with_its_text_as_evidence() -> None:
    pipeline = Pipeline()

    events = run(pipeline, range(4), {1: [signal(text="41 cards from 192.0.2.7 in a minute")]})

    (event,) = [event for event in events if event.event == "open"]
    assert event.kinds == ["plugin"]
    assert event.service == "cart"
    assert event.severity == "warning"
    assert event.title == "Plugin fraud raised card testing"
    assert event.seen == "raised 1 time in a minute"
    assert event.count == 1
    assert [item.text.split(" from ")[0] for item in event.evidence] == ["card testing: 41 cards"]
    assert "192.0.2.7" not in event.evidence[0].text
    assert event.started == "2026-03-10T00:01:00.000Z"


def test_a_signal_without_a_service_is_of_the_one_its_records_are_of_and_in_no_list_of_templates() -> None:
    pipeline = Pipeline()

    events = run(pipeline, range(4), {1: [signal(service="")]})

    assert events[0].service == "cart"
    assert pipeline.keys.services == ["cart"]
    named = [key for key in range(pipeline.keys.count) if pipeline.miner.is_named(int(pipeline.keys.template[key]))]
    assert [pipeline.template_text(key) for key in named] == ["plugin fraud raised card testing"]


def test_signals_of_one_rule_are_one_incident_and_count() -> None:
    pipeline = Pipeline()

    events = run(pipeline, range(8), {minute: [signal(text=f"{n} cards") for n in range(5)] for minute in range(1, 6)})

    opened = [event for event in events if event.event == "open"]
    assert len(opened) == 1
    assert opened[0].count == 5
    assert pipeline.grouper.open[0].count == 25
    assert pipeline.anomalies == {"plugin": 5}


def test_a_flood_of_rules_is_held_by_the_alert_budget() -> None:
    pipeline = Pipeline(Config(detect=DetectConfig(alerts_per_day=2.0)))
    flood = {
        minute: [signal(f"rule{'abcdefghij'[minute]}", service=f"s{minute}{n}") for n in range(16)]
        for minute in range(1, 9)
    }

    events = run(pipeline, range(11), flood)

    assert sum(event.event == "open" for event in events) == 2
    assert pipeline.budget.held_back == 8 - 2


def test_how_sure_and_how_bad_a_plugin_is_makes_the_severity() -> None:
    bad = [
        signal("sure", score=0.95, service="a"),
        signal("unsure", score=0.2, service="b"),
        Signal("fraud", "dead", "", 0.5, "c", 21),
    ]

    events = run(Pipeline(), range(4), {1: bad})

    assert {event.service: event.severity for event in events} == {"a": "warning", "b": "warning", "c": "critical"}


def test_a_signal_is_no_record_no_news_and_no_rate() -> None:
    quiet, loud = Pipeline(), Pipeline()

    run(quiet, range(90), {})
    events = run(loud, range(90), {minute: [signal()] for minute in range(90)})

    assert loud.records == quiet.records
    assert {kind for event in events for kind in event.kinds} == {"plugin"}
    assert sorted(loud.detection.rate.baseline.seen.tolist())[-1:] == quiet.detection.rate.baseline.seen[:1].tolist()
    assert [
        template for template in loud.windows.keys.tolist() if loud.template_text(template).startswith("plugin")
    ] == []


def test_a_signal_with_no_record_behind_it_counts_for_the_newest_window() -> None:
    pipeline = Pipeline()
    run(pipeline, range(3), {})

    events = pipeline.take(Chunk("app", 0, 0, columns=records(0, 0).columns), [signal()])
    events += run(pipeline, range(3, 6), {})

    assert [event.kinds for event in events] == [["plugin"]]


def test_a_restart_between_signal_and_window_loses_nothing() -> None:
    one = Pipeline()
    run(one, range(2), {1: [signal()]})
    state = one.state()
    two = Pipeline()
    two.restore(state)

    events = run(two, range(2, 4), {})

    assert [(event.event, event.kinds) for event in events] == [("open", ["plugin"])]


def test_a_look_back_reports_signals_among_what_it_found() -> None:
    pipeline = Pipeline(look_back=True)
    run(pipeline, range(60), {10: [signal()], 20: [signal()]})
    pipeline.finish()

    report = pipeline.report()

    assert [event.kinds for event in report] == [["plugin"]]
    assert report[0].count == 2


def test_waiting_signals_are_bounded_and_merged_keys_are_one() -> None:
    raised = Raised()
    for key in range(MOST_WAITING + 7):
        raised.add(signal(), START_NS, key, 0)

    raised.merge(1, 0)
    (lead,) = [anomaly for anomaly in raised.among([], START_NS // WINDOW_NS) if anomaly.key == 0]

    assert raised.lost == 7
    assert lead.seen == 2
    assert raised.among([], START_NS // WINDOW_NS) == []


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_a_score_never_pretends_to_be_a_tiny_probability(score: float) -> None:
    raised = Raised()
    raised.add(signal(score=score), START_NS, 0, 0)

    (anomaly,) = raised.among([], START_NS // WINDOW_NS)

    assert 0.0 <= anomaly.surprise <= 3.0
    assert anomaly.severity in (Severity.WARN, Severity.ERROR)
