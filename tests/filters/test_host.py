from __future__ import annotations

import logging
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.filters.host import (
    ABSENT,
    KEY_BYTES,
    LOG_BYTES,
    MOST_ANOMALIES,
    MOST_KEYS,
    MOST_METRICS,
    MOST_OPEN_ASKS,
    REFUSED,
    TOO_LARGE,
    Host,
    Signal,
)


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_log_lines_come_with_their_level_and_without_control_characters() -> None:
    told: list[tuple[int, str]] = []
    host = Host("p", 0, tell=lambda level, text: told.append((level, text)))

    for level, text in enumerate([b"one\r\n", "zwei \u00fc".encode(), b"\x1b[31m\x00\xff", b"a\nb", b"later"]):
        host.log(level, text)

    assert told == [
        (logging.DEBUG, "one"),
        (logging.INFO, "zwei \u00fc"),
        (logging.WARNING, "\\x1b[31m\\x00\ufffd"),
        (logging.ERROR, "a\\x0ab"),
        (logging.ERROR, "later"),
    ]
    assert host.last_line == "later"


def test_log_lines_without_another_place_go_to_the_log_under_the_plugins_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "logllm.plugin")

    Host("redact", 0).log(1, b"100% done")

    assert caplog.messages == ["redact: 100% done"]


def test_a_flood_of_log_lines_is_cut_to_ten_a_second_after_a_burst() -> None:
    clock, told = Clock(), list[str]()
    host = Host("p", 0, tell=lambda _, text: told.append(text), monotonic_s=clock)

    for _ in range(1_000):
        host.log(1, b"x" * 100_000)
    clock.now_s += 2
    for _ in range(1_000):
        host.log(1, b"y")

    assert (told.count("x" * LOG_BYTES), told.count("y")) == (50, 20)
    assert host.lost.log_lines == 2_000 - 70


def test_keys_and_values_are_kept_replaced_and_removed() -> None:
    host = Host("p", 100)

    assert host.get(b"k") is None
    assert host.set(b"k", b"one") == 0
    assert host.set(b"k", b"two") == 0
    assert host.get(b"k") == b"two"
    assert host.set(b"k", b"") == 0
    assert host.set(b"never there", b"") == 0
    assert host.kv == {}


def test_keys_and_values_stay_within_their_bytes() -> None:
    host = Host("p", 10)

    assert host.set(b"abc", b"1234567") == 0
    assert host.set(b"abc", b"12345678") == TOO_LARGE
    assert host.set(b"d", b"1") == TOO_LARGE
    assert host.set(b"abc", b"1") == 0
    assert host.set(b"d", b"12345") == 0

    assert host.kv == {b"abc": b"1", b"d": b"12345"}
    assert host.lost.kv == 2


def test_a_great_many_tiny_keys_are_refused_as_they_take_more_than_their_bytes() -> None:
    host = Host("p", 1 << 30)

    taken = [host.set(number.to_bytes(4, "big"), b"1") for number in range(MOST_KEYS + 5)]

    assert taken == [0] * MOST_KEYS + [TOO_LARGE] * 5
    assert host.set((7).to_bytes(4, "big"), b"changed") == 0
    assert host.set(bytes(KEY_BYTES + 1), b"1") == TOO_LARGE


def test_what_was_kept_before_counts() -> None:
    host = Host("p", 10, kv={b"old": b"12345"})

    assert host.set(b"new", b"1") == TOO_LARGE
    assert host.set(b"old", b"") == 0
    assert host.set(b"new", b"1") == 0


@given(st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=20)), max_size=60))
@settings(max_examples=50)
def test_the_bytes_counted_are_the_bytes_there_whatever_is_set(pairs: list[tuple[bytes, bytes]]) -> None:
    host, expected = Host("p", 60), dict[bytes, bytes]()

    for key, value in pairs:
        after = {name: kept for name, kept in {**expected, key: value}.items() if kept}
        fits = sum(len(name) + len(kept) for name, kept in after.items()) <= 60
        assert host.set(key, value) == (0 if fits else TOO_LARGE)
        expected = after if fits else expected

    assert host.kv == expected


@pytest.mark.parametrize("name", [b"", b"a b", b"a-b", b"\xff", "\u00fc".encode(), b"x" * 65, b"a\n", b"a\0"])
def test_a_metric_of_no_proper_name_is_refused(name: bytes) -> None:
    host = Host("p", 0)

    assert host.count(name, 1) == REFUSED
    assert (host.metrics, host.lost.metrics) == ({}, 1)


def test_metrics_add_up_and_do_not_grow_without_end() -> None:
    host = Host("p", 0)

    for _ in range(3):
        host.count(b"Lines_9", 1 << 62)
    host.count(b"down", -5)
    for number in range(200):
        host.count(f"m{number}".encode(), 1)

    assert host.metrics["Lines_9"] == 1 << 62
    assert host.metrics["down"] == -5
    assert len(host.metrics) == MOST_METRICS


def test_instances_in_many_threads_lose_no_count() -> None:
    shared: dict[str, int] = {}

    def count() -> None:
        host = Host("p", 0, metrics=shared)
        for _ in range(20_000):
            host.count(b"records", 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert shared == {"records": 80_000}


def test_an_anomaly_becomes_a_signal_with_bounded_words() -> None:
    host = Host("p", 0)

    taken = host.anomaly(
        720,
        b'{"rule": "%b", "text": "a\\u001b[0m%b", "service": "%b", "severity": 17}'
        % (b"r" * 200, b"t" * 2000, b"s" * 400),
    )

    assert taken == 0
    assert host.signals == [Signal("p", "r" * 100, "a\\x1b[0m" + "t" * 995, 0.72, "s" * 200, 17)]


@pytest.mark.parametrize(("milli", "score"), [(-1, 0.0), (0, 0.0), (1, 0.001), (1000, 1.0), (2**31 - 1, 1.0)])
def test_scores_stay_between_nothing_and_one(milli: int, score: float) -> None:
    host = Host("p", 0)

    host.anomaly(milli, b'{"rule": "r", "severity": 99}')

    assert host.signals == [Signal("p", "r", "", score, "", 0)]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"rule": 1}',
        b'{"rule": "r", "severity": "high"}',
        b'{"rule": "\xff"}',
        b'{"rule": "r", "x": ' + b"[" * 4000,
        b'{"rule": "r", "x": "' + b"y" * 5000 + b'"}',
        b'{"rule": "\\ud800"}',
        b'{"rule": "r", "severity": 1e999}',
    ],
)
def test_an_anomaly_that_is_none_is_refused_and_counted(text: bytes) -> None:
    host = Host("p", 0)

    assert host.anomaly(500, text) == REFUSED
    assert (host.signals, host.lost.anomalies) == ([], 1)


@given(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=100))
@settings(max_examples=100)
def test_no_bytes_make_an_anomaly_raise(milli: int, text: bytes) -> None:
    host = Host("p", 0)

    assert host.anomaly(milli, text) in (0, REFUSED)


def test_a_flood_of_anomalies_is_cut() -> None:
    host = Host("p", 0)

    for _ in range(100):
        host.anomaly(500, b'{"rule": "r"}')

    assert (len(host.signals), host.lost.anomalies) == (MOST_ANOMALIES, 100 - MOST_ANOMALIES)


def test_questions_get_tickets_and_few_may_be_open() -> None:
    asked: list[int] = []

    def ask(ticket: int, text: str) -> bool:
        asked.append(ticket)
        return text == "why?" or text == "and now?"

    host = Host("p", 0, ask=ask, monotonic_s=Clock())

    tickets = [host.question(b"why?") for _ in range(MOST_OPEN_ASKS + 1)]
    first = host.answered(tickets[0])
    again = host.answered(tickets[0])
    after = host.question(b"and now?")

    assert tickets[:-1] == asked[:-1]
    assert tickets[-1] == REFUSED
    assert min(tickets[:-1]) >= 1
    assert (first, again) == (True, False)
    assert after > max(tickets)
    assert not host.answered(12_345)


def test_questions_are_bounded_by_the_hour_and_in_length() -> None:
    clock = Clock()
    host = Host("p", 0, ask=lambda *_: True, monotonic_s=clock)

    def ask_and_be_answered() -> int:
        ticket = host.question(b"why?")
        host.answered(ticket)
        return ticket

    taken = [ask_and_be_answered() for _ in range(40)]
    clock.now_s += 3_601
    later = ask_and_be_answered()

    assert (sum(ticket > 0 for ticket in taken), taken[-1]) == (30, REFUSED)
    assert later > 0
    assert host.question(b"x" * 2_001) == REFUSED


def test_nobody_to_ask_and_nobody_who_takes_it_are_refusals() -> None:
    none, full = Host("p", 0), Host("p", 0, ask=lambda *_: False)

    assert none.question(b"why?") == REFUSED
    assert full.question(b"why?") == REFUSED
    assert (none.lost.asks, full.lost.asks) == (1, 1)
    assert ABSENT not in (REFUSED, TOO_LARGE)
