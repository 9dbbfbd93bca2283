"""From anomalies to incidents: what joins, what is told, when it ends, how bad it is."""

from __future__ import annotations

from itertools import pairwise

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.budget import Budget, BudgetConfig
from logllm.events import WINDOW_NS, Anomaly, Severity
from logllm.incidents.grouper import HELD_WINDOWS, JOIN_WINDOWS, MAX_ANOMALIES, MAX_KEYS, RESOLVE_WINDOWS, Grouper
from logllm.incidents.incident import Incident, severity_name
from tests.incidents.parts import Full, HandMadeKeys, odd

WARN, ERROR, FATAL, INFO, NONE = (int(Severity[name]) for name in ("WARN", "ERROR", "FATAL", "INFO", "UNSPECIFIED"))


def _grouper(purse: Full | Budget | None = None) -> Grouper:
    return Grouper(HandMadeKeys(), purse or Full(), lambda key: f"template-{key}")


def _take(
    grouper: Grouper, anomalies: list[Anomaly], first: int, rows: int = 1, counts: dict[int, int] | None = None
) -> list[tuple[str, str]]:
    """What is told of windows that each have these counts: (event, incident id)."""
    table = np.zeros((rows, 6))
    for key, count in (counts or {}).items():
        table[:, key] = count
    told, _ = grouper.take(anomalies, first, table)
    return [(what, incident.id) for what, incident in told]


def test_an_anomaly_opens_an_incident_that_is_told_at_once() -> None:
    grouper = _grouper()

    told = _take(grouper, [odd()], 100, counts={0: 20})

    (incident,) = grouper.open
    assert told == [("open", incident.id)]
    assert (incident.service, incident.kinds, incident.count, incident.started) == (0, ["rate"], 20, 100)


def test_anomalies_of_one_service_close_in_time_are_one_incident_and_those_of_another_are_not() -> None:
    grouper = _grouper()

    _take(grouper, [odd(key=0), odd(key=1), odd(service=1, key=2)], 100)
    _take(grouper, [odd("new", window=99 + JOIN_WINDOWS, key=1)], 99 + JOIN_WINDOWS)

    assert [(incident.service, incident.kinds) for incident in grouper.open] == [(0, ["rate", "new"]), (1, ["rate"])]
    assert grouper.open[0].keys == [0, 1]


def test_one_template_in_two_services_is_one_incident() -> None:
    keys = HandMadeKeys(template=np.array([0, 1, 0, 3, 4, 5], np.int32))
    grouper = Grouper(keys, Full(), str)

    _take(grouper, [odd(service=0, key=0), odd(service=1, key=2)], 100)

    assert len(grouper.open) == 1
    assert grouper.open[0].keys == [0, 2]


def test_a_release_joins_nothing_else_and_is_free() -> None:
    purse = Full(covers=False)
    grouper = _grouper(purse)

    _take(grouper, [odd("release", keys=[0, 1], severity=INFO, seen=12.0)], 100)
    told = _take(
        grouper, [odd("new", window=101, key=1), odd("release", window=101, key=1, severity=INFO, seen=3.0)], 101
    )

    assert [incident.kinds for incident in grouper.open] == [["release"], ["new"]]
    assert grouper.open[0].anomalies[0].seen == 15.0
    assert grouper.open[0].told
    assert told == []
    assert len(purse.asked) == 1


def test_an_incident_ends_when_nothing_odd_has_been_seen_for_a_while() -> None:
    grouper = _grouper()
    _take(grouper, [odd()], 100)
    _take(grouper, [odd(window=104)], 101, rows=4)
    (incident,) = grouper.open

    told = _take(grouper, [], 105, rows=RESOLVE_WINDOWS)

    assert told == [("resolve", incident.id)]
    assert (incident.ended, grouper.open) == (104, [])


def test_a_silence_ends_when_records_come_again_and_says_until_when_it_was_silent() -> None:
    grouper = _grouper()
    _take(grouper, [odd("silence", window=100, seen=7.0)], 100)

    silent = _take(grouper, [], 101, rows=40)
    (incident,) = grouper.open
    back = _take(grouper, [], 141, rows=3, counts={0: 5})

    assert (silent, incident.started) == ([], 94)
    assert back == [("resolve", incident.id)]
    assert incident.ended == 140


def test_an_update_is_told_only_when_severity_kinds_or_size_changed() -> None:
    grouper = _grouper()
    _take(grouper, [odd(severity=WARN)], 100, counts={0: 20})

    same = _take(grouper, [odd(window=101)], 101, counts={0: 20})
    kind = _take(grouper, [odd("new", window=102, key=1)], 102)
    worse = _take(grouper, [odd(window=103, severity=FATAL)], 103)
    grown = _take(grouper, [], 104, counts={0: 900})
    still = _take(grouper, [], 105, counts={0: 1})

    assert [len(told) for told in (same, kind, worse, grown, still)] == [0, 1, 1, 1, 0]
    assert {what for told in (kind, worse, grown) for what, _ in told} == {"update"}


def test_what_the_budget_does_not_cover_lives_untold() -> None:
    grouper = _grouper(Full(covers=False))

    opened = _take(grouper, [odd()], 100, counts={0: 20})
    later = _take(grouper, [odd("new", window=101, key=1)], 101)
    ended = _take(grouper, [], 102, rows=30)

    assert opened == later == ended == []
    assert grouper.open == []


def test_what_was_held_back_is_told_when_it_becomes_critical() -> None:
    purse = Full(covers=False)
    grouper = _grouper(purse)
    _take(grouper, [odd()], 100)

    told = _take(grouper, [odd(window=101, severity=FATAL)], 101)

    assert [what for what, _ in told] == ["open"]
    assert purse.asked == [(101 * WINDOW_NS, False, False), (102 * WINDOW_NS, True, True)]


def test_a_refused_critical_one_is_not_asked_for_again_and_again() -> None:
    purse = Full(covers=False, covers_critical=False)
    grouper = _grouper(purse)

    _take(grouper, [odd(severity=FATAL)], 100)
    _take(grouper, [odd(window=w, severity=FATAL) for w in range(101, 110)], 101, rows=9)

    assert len(purse.asked) == 1


def test_when_time_goes_back_what_was_open_ends_and_takes_nothing_new_in() -> None:
    grouper = _grouper()
    _take(grouper, [odd(window=5_000)], 5_000)
    (future,) = grouper.open

    told = _take(grouper, [odd(window=100)], 100)

    assert told[0] == ("resolve", future.id)
    assert [incident.started for incident in grouper.open] == [100]


def test_open_incidents_hold_their_keys_back_from_learning_but_not_for_ever() -> None:
    grouper = _grouper()

    _, first = grouper.take([odd(key=0)], 100, np.zeros((1, 6)))
    grouper.open[0].last = 100 + HELD_WINDOWS
    _, later = grouper.take([], 100 + HELD_WINDOWS, np.zeros((1, 6)))
    _, release = _grouper().take([odd("release", key=0)], 100, np.zeros((1, 6)))

    assert first.tolist() == [True, False, False, False, False, False]
    assert not later.any()
    assert not release.any()


@given(
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 5), st.sampled_from([INFO, WARN, FATAL])), max_size=12),
    st.lists(st.integers(1, 29), max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_nothing_depends_on_how_windows_are_cut_into_slices(rows: list[tuple[int, int, int]], cuts: list[int]) -> None:
    anomalies = [odd(window=100 + at, key=key, service=key // 2, severity=bad) for at, key, bad in sorted(rows)]
    counts = np.random.default_rng(1).poisson(1.5, (30, 6)).astype(float)
    results = []

    for edges in ([0, 30], sorted({0, 30, *cuts}), list(range(31))):
        grouper, told, held = _grouper(Budget(BudgetConfig(3.0))), [], np.zeros(6, np.bool_)
        for start, end in pairwise(edges):
            mine = [a for a in anomalies if start <= a.window - 100 < end]
            events, keys = grouper.take(mine, 100 + start, counts[start:end])
            told += [(what, incident.id) for what, incident in events]
            held |= keys
        results.append((told, held.tolist(), grouper.state()))

    assert results[0] == results[1] == results[2]


def test_ids_and_fingerprints_are_the_same_on_any_run_and_name_what_it_is_about() -> None:
    one, two, other = _grouper(), _grouper(), _grouper()

    _take(one, [odd()], 100)
    _take(two, [odd(seen=999.0, surprise=3.0)], 100)
    _take(other, [odd(key=1), odd(window=130, service=1, key=2)], 100, rows=31)

    assert one.open[0].id == two.open[0].id == "inc-" + one.open[0].id[4:]
    assert one.open[0].fingerprint == two.open[0].fingerprint
    assert len({one.open[0].fingerprint, *(incident.fingerprint for incident in other.open)}) == 2


def test_the_same_thing_again_has_the_same_fingerprint_and_another_id() -> None:
    grouper = _grouper()
    _take(grouper, [odd()], 100)
    (first,) = grouper.open
    _take(grouper, [], 101, rows=30)

    _take(grouper, [odd(window=200)], 200)
    (second,) = grouper.open

    assert first.fingerprint == second.fingerprint
    assert first.id != second.id


def test_a_restored_grouper_tells_what_the_saved_one_would_have() -> None:
    saved, restored = _grouper(), _grouper()
    _take(saved, [odd(), odd("severity", key=1, keys=[1, 0], severity=ERROR)], 100, counts={0: 30, 1: 3})
    _take(saved, [odd("silence", window=103, service=2, key=4, span=0, seen=5.0)], 101, rows=3)

    restored.restore(msgpack.unpackb(msgpack.packb(saved.state())))
    after = [([odd(window=104, severity=FATAL)], 104, 1), ([], 105, 40)]

    for anomalies, first, rows in after:
        assert _take(restored, anomalies, first, rows) == _take(saved, anomalies, first, rows) != []
    assert restored.state() == saved.state()


def test_a_merged_key_is_renamed_wherever_an_incident_names_it() -> None:
    grouper = _grouper()
    _take(grouper, [odd("severity", key=0, keys=[0, 1])], 100)

    grouper.merge(0, 1)
    _take(grouper, [], 101, counts={1: 7})

    (incident,) = grouper.open
    assert (incident.keys, incident.anomalies[0].key, incident.anomalies[0].keys) == ([1], 1, [1])
    assert incident.concerned == {1}
    assert incident.count == 7


def test_ten_thousand_anomalies_at_once_make_bounded_incidents() -> None:
    count = 4_000
    keys = HandMadeKeys(np.zeros(count, np.int32), np.arange(count, dtype=np.int32), ["web"])
    grouper = Grouper(keys, Full(), str)

    grouper.take([odd(key=key, surprise=float(key % 50)) for key in range(count)], 100, np.ones((1, count)))

    (incident,) = grouper.open
    assert (len(incident.keys), len(incident.anomalies)) == (MAX_KEYS, MAX_ANOMALIES)
    assert min(anomaly.surprise for anomaly in incident.anomalies) >= 40.0


def _level(kind: str, severity: int, count: int, span: int = 1) -> str:
    return severity_name([odd(kind, severity=severity, span=span)], count)


@pytest.mark.parametrize(
    ("kind", "severity", "count", "expected"),
    [
        ("new", FATAL, 1, "critical"),
        ("rate", ERROR, 49, "warning"),
        ("rate", ERROR, 50, "critical"),
        ("rate", WARN, 199, "warning"),
        ("rate", WARN, 200, "critical"),
        ("rare", WARN, 10_000, "warning"),
        ("rate", NONE, 1_000_000, "info"),
        ("release", INFO, 500, "info"),
        ("silence", WARN, 0, "warning"),
    ],
)
def test_severity_follows_level_kind_and_count(kind: str, severity: int, count: int, expected: str) -> None:
    assert _level(kind, severity, count) == expected


def test_a_whole_service_silent_is_critical() -> None:
    assert _level("silence", ERROR, 0, span=0) == "critical"
    assert _level("silence", ERROR, 0, span=1) == "warning"


def test_the_lead_is_one_template_before_a_sum_over_many_and_the_worst_before_the_most_surprising() -> None:
    errors, burst = odd("severity", severity=ERROR, surprise=90.0), odd("rate", key=1, severity=WARN, surprise=50.0)
    incident = Incident("inc-1", "f", 0, [errors, burst], [0, 1], 100, 100, told=True)

    alone = incident.lead.kind
    incident.anomalies.append(odd("new", key=1, severity=ERROR, surprise=1.0))

    assert (alone, incident.lead.kind) == ("rate", "new")
    assert incident.score > 0
