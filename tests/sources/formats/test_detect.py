"""Formats by name, and the laws that all of them keep whatever the lines hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.events import Severity
from logllm.sources.formats.detect import NAMES, by_name, detect
from logllm.sources.formats.levels import severities, severity_of_status, severity_of_word

REFERENCE_NS = 1_750_000_000 * 1_000_000_000

LINES = {
    "json": ['{"time":"2025-01-02T03:04:05Z","level":"info","msg":"hi"}'],
    "logfmt": ["time=2025-01-02T03:04:05Z level=info msg=hi"],
    "syslog": ["Jan  2 03:04:05 web sshd[12]: hi"],
    "syslog5424": ["<34>1 2025-01-02T03:04:05Z gate su - - - hi"],
    "access": ['10.0.0.1 - - [02/Jan/2025:03:04:05 +0000] "GET / HTTP/1.1" 200 12'],
    "klog": ["I0102 03:04:05.000000       1 main.go:12] hi"],
    "nginx": ["2025/01/02 03:04:05 [error] 1#1: hi"],
    "apache": ["[Thu Jan 02 03:04:05 2025] [error] hi"],
    "postgres": ["2025-01-02 03:04:05.123 UTC [12] LOG:  hi"],
    "cri": ["2025-01-02T03:04:05.123456789Z stdout F hi"],
    "docker": ['{"log":"hi\\n","stream":"stdout","time":"2025-01-02T03:04:05Z"}'],
    "python": ["2025-01-02 03:04:05,123 - shop - INFO - hi"],
    "log4j": ["2025-01-02 03:04:05,123 INFO [main] com.shop.Cart: hi"],
    "plain": ["2025-01-02 03:04:05 hi"],
    "text": ["hi"],
}


def test_every_format_has_a_line_here() -> None:
    assert set(LINES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_format_is_told_by_its_lines_and_taken_by_its_name(name: str) -> None:
    lines = LINES[name] * 3

    told = detect(lines, reference_ns=REFERENCE_NS)
    named = by_name(name, reference_ns=REFERENCE_NS)

    assert told.name == named.name == name
    assert told.parse(lines).messages == named.parse(lines).messages
    assert named.parse(lines).messages[0].endswith(("hi", "200 12"))


@pytest.mark.parametrize("alias", ["jsonl", "rfc3164", "RFC5424", "combined", "glog", "logback", "nginx-error"])
def test_other_names_are_understood(alias: str) -> None:
    assert by_name(alias, reference_ns=REFERENCE_NS).name in NAMES


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match=r"format: no format 'yaml', expected auto, json, logfmt, syslog"):
        by_name("yaml", reference_ns=REFERENCE_NS)


def test_nothing_at_all_is_text() -> None:
    assert detect([], reference_ns=REFERENCE_NS).name == "text"
    assert detect(["", "   "], reference_ns=REFERENCE_NS).name == "text"


def test_a_few_lines_of_another_shape_do_not_hide_the_format() -> None:
    lines = ["Welcome to the program", *LINES["syslog"] * 8, "oops"]

    assert detect(lines, reference_ns=REFERENCE_NS).name == "syslog"


def test_lines_between_headers_belong_to_the_header_above() -> None:
    lines = ["2025-01-02 03:04:05 INFO one", "flush left", "", "  indented", "2025-01-02 03:04:06 INFO two"]

    columns = detect(lines * 5, reference_ns=REFERENCE_NS).parse(lines)

    assert columns.messages == ["one\nflush left\n\n  indented", "two"]


def test_where_many_lines_have_no_header_only_those_that_look_like_it_are_joined() -> None:
    lines = ["2025-01-02 03:04:05 INFO one", "GET /a 200", "GET /b 200", "GET /c 200", "  at f (x.js:1:2)"] * 5

    columns = by_name("plain", reference_ns=REFERENCE_NS).parse(lines)

    assert len(columns) == 20
    assert columns.messages[3] == "GET /c 200\n  at f (x.js:1:2)"


SHAPES = st.sampled_from([line for lines in LINES.values() for line in lines])
TEXT = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(NAMES), st.lists(TEXT | SHAPES, max_size=25))
def test_any_text_in_any_format_gives_one_entry_a_line(name: str, lines: list[str]) -> None:
    columns = by_name(name, reference_ns=REFERENCE_NS).parse(lines, join=False)

    assert len(columns) == len(lines)
    assert len(columns.time_ns) == len(columns.severity) == len(columns.service_codes) == len(lines)
    assert not lines or int(columns.service_codes.max()) < len(columns.service_names)
    assert (columns.time_ns >= 631_152_000 * 1_000_000_000).all()


@settings(max_examples=80, deadline=None)
@given(st.lists(TEXT | SHAPES | st.sampled_from(["", "  at x(y)", "Traceback (most recent call last):"]), max_size=25))
def test_joining_keeps_the_order_and_loses_no_line_that_says_something(lines: list[str]) -> None:
    told = detect(lines, reference_ns=REFERENCE_NS).parse(lines)
    text = by_name("text", reference_ns=REFERENCE_NS).parse(lines)

    assert told.position is not None
    assert (np.diff(told.position) > 0).all()
    said = [line for message in text.messages for line in message.split("\n")]
    assert [line for line in said if line.strip()] == [line for line in lines if line.strip()]


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("[Warning]", Severity.WARN), ("DEBUG3", Severity.DEBUG), ("30", Severity.INFO), ("3", Severity.ERROR),
        ("NOTE", Severity.INFO), ("E", Severity.ERROR), ("", Severity.UNSPECIFIED), ("hello", Severity.UNSPECIFIED),
        ("EMERG", Severity.FATAL), ("99", Severity.UNSPECIFIED), ("SEVERE", Severity.ERROR),
    ],
)  # fmt: skip
def test_level_words_and_numbers(word: str, severity: Severity) -> None:
    assert severity_of_word(word) is severity


def test_a_column_of_levels_is_converted_value_by_value() -> None:
    assert severities(["200", "404", "503", ""], severity_of_status).tolist() == [9, 13, 17, 9]
