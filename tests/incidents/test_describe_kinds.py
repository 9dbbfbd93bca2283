"""What is told of the kinds that speak of fields, sessions and mixes, in words that a person acts on."""

from __future__ import annotations

import pytest

from logllm.events import Anomaly, Severity
from logllm.incidents import describe
from logllm.incidents.incident import severity_name


def _anomaly(kind: str, expected: float, seen: float, about: str, span: int = 5, severity: int = 9) -> Anomaly:
    return Anomaly(kind, 100, span, 0, 3, [3], expected, seen, 9.0, severity, about)


@pytest.mark.parametrize(
    ("anomaly", "title", "expected", "seen"),
    [
        (
            _anomaly("value", 120.0, 504.0, "duration_ms"),
            "duration_ms 4.2 times the usual: GET <path>",
            "duration_ms of about 120",
            "504 in 5 minutes",
        ),
        (
            _anomaly("value", 120.0, 30.0, "duration_ms"),
            "duration_ms 25 % of the usual: GET <path>",
            "duration_ms of about 120",
            "30 in 5 minutes",
        ),
        (
            _anomaly("distinct", 40.0, 4000.0, "user"),
            "user: 100 times as many different values as usual: GET <path>",
            "about 40 different user in 5 minutes",
            "4,000 in 5 minutes",
        ),
        (
            _anomaly("heartbeat", 60.2, 75.0, "", span=1),
            "Did not come: GET <path>",
            "once in 60 minutes",
            "nothing for 75 minutes",
        ),
        (
            _anomaly("session", 12.0, 3.0, "blk_17"),
            "Odd course of blk_17: GET <path>",
            "about 12 records and the usual course",
            "3 records in blk_17",
        ),
        (
            _anomaly("change", 100.0, 210.0, "", span=60),
            "New normal: GET <path> — 2.1 times the usual",
            "about 100 a minute, as before",
            "about 210 a minute for 60 minutes",
        ),
        (
            _anomaly("odd", 1.0, 0.5, "finished / started", span=1),
            "Unusual mix (finished / started), first of all: GET <path>",
            "finished / started: the first about 1",
            "0.5 in a minute",
        ),
    ],
)
def test_each_kind_says_what_is_odd_and_against_what(anomaly: Anomaly, title: str, expected: str, seen: str) -> None:
    told = (
        describe.title(anomaly, "GET <path>"),
        describe.expected(anomaly, watched=600.0),
        describe.seen(anomaly),
    )

    assert told == (title, expected, seen)


def test_nothing_expected_and_nothing_said_of_what_is_told_all_the_same() -> None:
    assert describe.title(_anomaly("value", 0.0, 5.0, ""), "GET <path>") == "its values far more than usual: GET <path>"


@pytest.mark.parametrize("kind", ["change", "odd"])
def test_a_new_normal_and_an_unusual_mix_are_no_more_than_worth_knowing(kind: str) -> None:
    assert severity_name([_anomaly(kind, 1.0, 2.0, "x")], 10) == "info"
    assert severity_name([_anomaly(kind, 1.0, 2.0, "x", severity=int(Severity.ERROR))], 10) == "warning"
