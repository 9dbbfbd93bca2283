"""Notifications as plain text: bounded, in their lines, and harmless whatever shows them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from logllm.events import Evidence
from logllm.notify.notification import Answer, Count, Kind
from logllm.notify.text import BODY_CHARS, SUMMARY_CHARS, body, line, plain, summary
from tests.notify.told import HOSTILE, KINDS, LinksTo, NoLinks, assert_harmless, hostile, incident, of_kind

FIELDS = ("Seen:", "Expected:", "Since:", "Answer:", "Likely cause", "Runbook:", "Acknowledge:", "Evidence:")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("open", "Warning - payments: connection refused to db-‹*›: 312 a minute, 0 expected"),
        ("update", "CRITICAL, update - payments: connection refused to db-‹*›: 312 a minute, 0 expected"),
        ("resolve", "Resolved - payments: connection refused to db-‹*›: 312 a minute, 0 expected"),
        ("explanation", "Likely cause - payments: The database does not listen: its process ended at 22:12."),
        ("digest", "1,235 incidents, 1,200 critical of payments, checkout and 1 more service"),
        ("reminder", "Still open, warning - payments: connection refused to db-‹*›: 312 a minute, 0 expected"),
        (
            "escalation",
            "Nobody answered yet, step 1, warning - payments: connection refused to db-‹*›: 312 a minute, 0 expected",
        ),
        ("answer", "Acknowledged by sre on call - payments: connection refused to db-‹*›: 312 a minute, 0 expected"),
        ("test", "A test message of logllm"),
    ],
)
def test_a_summary_says_what_happened_where(kind: Kind, said: str) -> None:
    assert summary(of_kind(kind)) == said


def test_a_body_has_what_a_person_asks_first_in_the_first_lines() -> None:
    told = body(of_kind("explanation"), LinksTo()).splitlines()

    assert told[:12] == [
        "Seen: 312 in 1 minute",
        "Expected: about 0 a minute",
        "Since: 2023-11-14T22:12:00.000Z",
        "Records a minute: ▁▁▂▁█ (most 312)",
        "Likely cause (70%, by E1, E2): The database does not listen: its process ended at 22:12.",
        "  1. Start the database.",
        "  2. Look why it ended: journalctl -u db",
        "Before: seen on 3 May 2023, fixed by: raised the limit (inc-0000000007: New: connection refused)",
        "Before: seen on 11 February 2023, called noise (inc-0000000003: New: connection refused by ‹host_2›)",
        "Runbook: Connection refused (connection-refused)",
        "  Action: Restart the database: systemctl restart db",
        "Acknowledge: https://logllm.example/answer?token=inc-0a1b2c3d4e.acknowledge",
    ]
    assert "  E5 2023-11-14T22:13:05.000Z connection refused to db-5" in told
    assert "  and 2 more" in told
    assert told[-1] == "Incident inc-0a1b2c3d4e, owner storage, route database"


def test_a_runbooks_steps_stand_in_where_there_is_no_explanation() -> None:
    told = body(of_kind("open"), NoLinks())

    assert "  1. Is the port open?\n  2. Look: ˋss -ltnpˋ\n" in told
    assert "Acknowledge" not in told


def test_a_digest_counts_all_and_lists_the_gravest() -> None:
    told = body(of_kind("digest"), LinksTo())

    assert told.startswith("1,200 of payments: critical, new\n34 of checkout: warning, changed\n1 of unknown service: ")
    assert "inc-2222222222 info, resolved - connection refused to db-‹*›" in told
    assert "and 1232 more; all of them are kept under 0000000000000004" in told


def test_a_reminder_of_a_whole_group_is_told_like_a_digest() -> None:
    many = msgspec.structs.replace(
        of_kind("digest"), kind="reminder", counts=[Count("payments", "critical", "reminder", 3)]
    )

    assert summary(many).startswith("Still open: 1,235 incidents, 3 critical of payments")
    assert body(many, LinksTo()).startswith("3 of payments: critical, still open\n")


@pytest.mark.parametrize("verdict", ["acknowledge", "expected", "noise", "real"])
def test_each_answer_has_its_words(verdict: str) -> None:
    answer = msgspec.convert(
        {"incident": "inc-0a1b2c3d4e", "verdict": verdict, "who": "<@U1>", "time": "2023-11-14T22:15:00Z"}, Answer
    )
    told = msgspec.structs.replace(of_kind("answer"), answer=answer)

    assert " by ‹＠U1› - payments" in summary(told)
    assert "Answer: " in body(told, NoLinks())


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_stays_in_its_line_and_shows_what_it_hides(kind: Kind) -> None:
    told = hostile(kind)

    headline, text = summary(told), body(told, LinksTo())

    assert_harmless(headline)
    assert_harmless(text, lines=True)
    assert len(headline) <= SUMMARY_CHARS
    assert len(text) <= BODY_CHARS
    # A line of its own would look like one of ours.
    for field in FIELDS:
        assert sum(one.startswith(field) for one in text.splitlines()) <= 1
    assert not [one for one in text.splitlines() if one.startswith(("Severity: none", "Answer: acknowledged\\"))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["x" * 1_000_000, "\n" * 1_000_000, "\u202e" * 1_000_000, "e" + "\u0301" * 1_000_000])
def test_a_megabyte_in_each_field_is_cut(kind: Kind, text: str) -> None:
    told = hostile(kind, text)

    assert len(summary(told)) <= SUMMARY_CHARS
    assert len(body(told, LinksTo())) <= BODY_CHARS


def test_a_link_is_not_cut_off_by_evidence() -> None:
    told = body(hostile("open"), LinksTo())

    assert "\nIt is noise: https://logllm.example/answer?token=inc-0a1b2c3d4e.noise\n" in told
    assert told.endswith("…")


def test_an_explanation_that_knows_nothing_says_so() -> None:
    told = of_kind("explanation")
    assert told.explanation is not None
    unknown = msgspec.structs.replace(told.explanation, status="insufficient", cause="", steps=[])
    told = msgspec.structs.replace(told, explanation=unknown)

    assert "Likely cause: not known" in body(told, NoLinks())
    assert "  1. Is the port open?" in body(told, NoLinks())
    assert summary(told).startswith("Warning - ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mail bob@example.com of getty@tty1.service", "mail bob@example.com of getty@tty1.service"),
        ("@here x@everyone (@U1)", "＠here x＠everyone (＠U1)"),
        ("HTTP://a ftp://b Mailto:c", "HTTP[:]//a ftp[:]//b Mailto[:]c"),
        ("WWW.evil.example", "www[.]evil.example"),
        ("hotel: 5, data: 7, C:\\x", "hotel: 5, data: 7, C:\\x"),
        ("[a](b)", "[a] (b)"),
        ("a\u00a0b\u2003c", "a b c"),
        ("", ""),
    ],
)
def test_what_mentions_or_links_is_broken_and_the_rest_is_left(text: str, shown: str) -> None:
    assert plain(text, 100) == shown


@given(st.text(), st.integers(min_value=1, max_value=60))
def test_whatever_the_text_a_line_is_one_bounded_line(text: str, limit: int) -> None:
    for shown in (line(text, limit), plain(text, limit)):
        assert len(shown) <= limit
        assert len(shown.splitlines()) <= 1
        shown.encode()


@given(st.text())
def test_a_line_that_is_made_again_stays_as_it_is(text: str) -> None:
    once = plain(text, 500)

    assert plain(once, 500) == once


def test_a_summary_of_an_incident_without_a_service_names_none() -> None:
    told = msgspec.structs.replace(of_kind("open"), incidents=[incident(service="", title=HOSTILE)])

    assert summary(told).startswith("Warning - ‹!channel› ＠here")


def test_a_body_says_what_came_first_and_what_was_changed() -> None:
    told = of_kind("open")
    changes = [Evidence("C1", "2023-11-14T22:10:09.000Z", "orders: Deployed 2.4.1\nby <@U1>")]
    begun = replace(told.incidents[0], changes=changes, timeline=["22:11 db: new: no space left (first)"])

    lines = body(replace(told, incidents=[begun]), NoLinks()).splitlines()

    assert "First: 22:11 db: new: no space left (first)" in lines
    assert any(line.startswith("Changed (C1, 22:10:09): orders: Deployed 2.4.1") for line in lines)
