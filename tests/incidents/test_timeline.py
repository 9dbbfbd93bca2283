from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from logllm.events import Severity
from logllm.incidents.changes import ChangeWatch
from logllm.incidents.compose import Composer, Lookups
from logllm.incidents.grouper import Grouper
from logllm.incidents.incident import Incident, noticed, since
from logllm.incidents.recent import Recent
from tests.incidents.parts import Full, HandMadeKeys, odd

TEXTS = ["web a", "web b", "db a", "db b", "mail a", "mail b"]


@dataclass
class Living:
    """The incidents that have not ended."""

    open: list[Incident] = field(default_factory=list)


def _composer(living: Living) -> Composer:
    ask = Lookups(
        text=TEXTS.__getitem__,
        template_id=str,
        parameters=lambda *_: [],
        mask=lambda text: text.replace("mail b", "<user_1>"),
        mask_lines=list,
        runbook=lambda _: None,
        runbook_of_kind=lambda _: None,
        shows=lambda *_: 0.0,
    )
    return Composer(HandMadeKeys(), Recent(), ChangeWatch(ask.text, ask.mask), living, ask)


def _incident(name: str, *anomalies: tuple[str, int, int], told: bool = True, severity: int = 17) -> Incident:
    """An incident of (kind, window, key), the first leading."""
    made = [
        odd(kind, window, key=key, service=key // 2, severity=int(Severity.WARN) if at else severity)
        for at, (kind, window, key) in enumerate(anomalies)
    ]
    windows = [each.window for each in made]
    return Incident(
        name, "f", made[0].service, made, [each.key for each in made], min(windows), max(windows), told, led_by=0
    )


def _timeline(incident: Incident, *others: Incident) -> list[str]:
    return _composer(Living([incident, *others])).event(incident, "open", 0, watched=9.0).timeline


def test_what_was_noticed_first_stands_first_whatever_leads() -> None:
    told = _timeline(_incident("a", ("new", 105, 0), ("rate", 103, 1), ("silence", 109, 2)))

    assert told == [
        "01:30 db: no longer comes: db a (first)",
        "01:43 web: more often than usual: web b",
        "01:45 web: new: web a",
    ]


def test_incidents_of_other_services_at_that_time_are_in_it_and_no_others() -> None:
    mine = _incident("a", ("new", 105, 0))
    near, before, after = (
        _incident(name, ("new", window, 2)) for name, window in zip("bcd", (104, 70, 121), strict=True)
    )
    untold = _incident("e", ("rate", 104, 4), told=False, severity=9)

    assert _timeline(mine, near, before, after, untold) == ["01:44 db: new: db a (first)", "01:45 web: new: web a"]
    assert _timeline(mine, before, after, untold) == []


def test_what_was_noticed_within_the_same_minute_is_among_the_first_and_yesterday_has_its_date() -> None:
    same = _timeline(_incident("a", ("new", 105, 0), ("new", 105, 1)))
    over_midnight = _incident("a", ("new", 1441, 0), ("new", 1450, 1))

    assert [line.rpartition(" (")[2] for line in same] == ["among the first)"] * 2
    assert (
        _timeline(over_midnight, _incident("b", ("new", 1430, 5)))[0] == "1970-01-01 23:50 mail: new: <user_1> (first)"
    )


def test_at_most_six_are_told_and_the_leading_one_is_among_them() -> None:
    many = _incident("a", ("new", 120, 0), *(("rate", 106 + key, key) for key in range(1, 6)))
    others = [_incident(name, ("new", 105, 2)) for name in "bcde"]

    told = _timeline(many, *others)

    assert len(told) == 6
    assert "02:00 web: new: web a" in told


def test_an_anomaly_that_grows_keeps_the_time_at_which_it_was_noticed() -> None:
    first, worse = odd("rate", 100, surprise=5.0), odd("rate", 107, surprise=50.0)

    assert noticed(since(worse, first)) == 100
    assert since(worse, first).surprise == 50.0
    assert since(first, worse) == first
    assert noticed(since(odd("silence", 130, seen=25.0), odd("silence", 120, seen=15.0))) == 106


def test_the_grouper_keeps_when_an_anomaly_was_noticed_first_and_how_bad_it_became() -> None:
    grouper = Grouper(HandMadeKeys(), Full(), str)
    for window, surprise in ((100, 5.0), (107, 50.0)):
        grouper.take([odd("rate", window, surprise=surprise)], window, np.ones((1, 6)))

    (anomaly,) = grouper.open[0].anomalies
    assert (noticed(anomaly), anomaly.surprise) == (100, 50.0)
