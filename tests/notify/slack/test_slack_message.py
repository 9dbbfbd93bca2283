from __future__ import annotations

import msgspec
import pytest

from logllm.events import Evidence, Explanation, SeenBefore
from logllm.notify.notification import Answer, Count, Kind, Notification, Verdict
from logllm.notify.slack.blocks import Message, bounded, section
from logllm.notify.slack.buttons import Buttons
from logllm.notify.slack.chart import chart, duration
from logllm.notify.slack.message import Composer
from tests.notify.slack.block_kit import problems, texts
from tests.notify.slack.samples import EXPLANATION, INCIDENT, LINKS, MENTION, notification

COMPOSER = Composer(Buttons(LINKS, interactive=True), MENTION)
replace = msgspec.structs.replace


def read(message: Message) -> str:
    """All that a reader sees, after a check that Slack takes it."""
    payload = {"text": message.text, "blocks": msgspec.to_builtins(message.blocks)}
    payload |= {"unfurl_links": False, "unfurl_media": False}
    assert problems(payload, MENTION) == []
    return "\n".join(text for kind, text in texts(payload) if kind != "text")


def test_what_came_first_and_what_was_changed_is_told_until_it_is_over() -> None:
    changes = [Evidence("C1", "2023-11-14T22:10:09.000Z", "orders: Deployed *2.4.1* <!channel>")]
    timeline = ["22:11 db: new: no space left (first)", "22:12 web: new: timed out"]
    told = notification("open")
    opened = replace(told, incidents=[replace(told.incidents[0], changes=changes, timeline=timeline)])
    over = replace(opened, incidents=[replace(opened.incidents[0], event="resolve")], kind="resolve")

    # An invisible character keeps Slack from reading a time as an emoji's name.
    shown = read(COMPOSER.whole(opened)).replace("\u2060", "")

    assert "First: 22:11 db: new: no space left (first)" in shown
    assert "Changed (C1, 22:10:09): orders: Deployed ∗2.4.1∗" in shown
    assert "<!channel>" not in shown
    assert "Changed (C1" not in read(COMPOSER.whole(over))


@pytest.mark.parametrize("status", ["ok", "insufficient", "failed"])
def test_what_helped_the_last_time_is_told_whatever_the_model_said(status: str) -> None:
    before = [SeenBefore("inc-7", "2026-05-03T10:00:00Z", "New: <!channel>", "real", "raised *max_connections*")]
    raw = {**msgspec.to_builtins(EXPLANATION), "status": status, "seen_before": msgspec.to_builtins(before)}
    explained = replace(notification("explanation"), explanation=msgspec.convert(raw, Explanation))

    for message in (COMPOSER.whole(explained), COMPOSER.later(explained)):
        shown = read(message)

        assert "*Seen before*" in shown
        assert "seen on 3 May 2026, fixed by: raised ∗max_connections∗ (inc-7: New: " in shown
        assert "<!channel>" not in shown


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        ("insufficient", None, "*Likely cause*  not found: the evidence supports none"),
        ("failed", "the model took *too* long", "No explanation: the model took ∗too∗ long"),
        ("failed", None, "No explanation: the model gave no usable answer"),
    ],
)
def test_a_model_that_found_nothing_is_said_in_a_line_and_the_runbook_stays(
    status: str, error: str | None, told: str
) -> None:
    raw = {**msgspec.to_builtins(EXPLANATION), "status": status, "error": error, "cause": "", "steps": []}
    explained = replace(notification("explanation"), explanation=msgspec.convert(raw, Explanation))

    shown = read(COMPOSER.whole(explained))

    assert told in shown
    assert "*Check first*" in shown
    assert COMPOSER.reply(explained) is None


def test_lines_that_the_cause_cites_are_shown_before_others() -> None:
    shown = read(COMPOSER.whole(replace(notification("open"), explanation=replace(EXPLANATION, evidence=["E4"]))))

    assert [line[:2] for line in shown.splitlines() if line[:1] == "E" and line[1:2].isdigit()] == ["E1", "E2", "E4"]


def test_a_runbook_that_is_known_by_its_id_alone_is_named() -> None:
    shown = read(COMPOSER.whole(replace(notification("open"), runbook=None)))

    assert "*Runbook*  `db-unreachable`" in shown


@pytest.mark.parametrize(
    ("verdict", "told", "left"),
    [
        ("acknowledge", "👀 Acknowledged by payments-lead (U1), 14 May 10:49 UTC", ["Expected", "Noise", "Real"]),
        ("expected", "👌 Expected, so says payments-lead (U1), 14 May 10:49 UTC", ["Noise", "Real"]),
        ("noise", "🔇 Noise, so says payments-lead (U1), 14 May 10:49 UTC", ["Expected", "Real"]),
        ("real", "❗ Real, so says payments-lead (U1), 14 May 10:49 UTC", ["Expected", "Noise"]),
    ],
)
def test_what_somebody_answered_is_shown_and_its_button_is_gone(verdict: Verdict, told: str, left: list[str]) -> None:
    answer = Answer(INCIDENT.id, verdict, "payments-lead (U1)", "2024-05-14T10:49:12Z")

    shown = read(COMPOSER.whole(replace(notification("answer"), answer=answer, runbook=None)))

    assert told in shown
    assert shown.splitlines()[-len(left) :] == left


def test_a_storm_in_many_services_lists_the_worst_and_counts_the_others() -> None:
    counts = [Count(f"service-{number:02}", "warning", "open", 250) for number in range(40)]
    counts.append(Count("ledger", "critical", "open", 1))
    told = replace(notification("digest"), total=10_001, counts=counts)

    message = COMPOSER.whole(told)

    shown = read(message)
    assert message.text.endswith("10,001 incidents in 41 services")
    rows = shown.split("```")[1].strip().splitlines()
    assert rows[0].split() == ["service", "critical", "warning"]
    assert rows[1].split() == ["ledger", "1", "·"]
    assert rows[-1].split() == ["26", "other", "services", "·", "6500"]
    assert len(rows) == 17
    assert len({len(row) for row in rows}) == 1
    assert "And 9,991 more: `logllm alerts show 4b1d0e6a93c7f528` lists them all." in shown


def test_a_later_digest_names_the_one_it_follows() -> None:
    told = replace(notification("digest"), thread="0a0b0c0d0e0f0001")

    assert "follows the digest `0a0b0c0d0e0f0001`" in read(COMPOSER.later(told))


def test_a_notification_without_its_incident_is_told_by_its_counts() -> None:
    for kind in ("open", "resolve", "explanation"):
        told = Notification("id1", kind, "t1", [], counts=[Count("web", "info", "open", 1)])

        assert "1 incident in 1 service" in read(COMPOSER.later(told))
        assert COMPOSER.reply(told) is None


@pytest.mark.parametrize("kind", ["open", "update"])
def test_a_title_that_is_too_long_for_the_heading_is_told_below_it(kind: Kind) -> None:
    title = "New: " + "upstream " * 30 + "end"

    shown = read(COMPOSER.whole(replace(notification(kind), incidents=[replace(INCIDENT, title=title)])))

    assert shown.splitlines()[0].endswith("…")
    assert shown.splitlines()[1] == title


def test_an_update_that_has_become_critical_calls_whom_it_should() -> None:
    told = replace(notification("update"), raised=True, incidents=[replace(INCIDENT, severity="critical")])

    reply = COMPOSER.reply(told)
    quiet = COMPOSER.reply(replace(told, raised=False))

    assert quiet is None
    assert reply is not None
    assert reply.text.startswith("<!subteam^S0123ABCD> 🔴 NOW CRITICAL · payments")
    assert "<!subteam^S0123ABCD>" in read(COMPOSER.later(told))


def test_a_reminder_of_several_lists_them() -> None:
    several = [replace(INCIDENT, id=f"inc-{number}", service=f"service-{number}") for number in range(3)]
    told = replace(notification("reminder"), total=3, incidents=several)

    shown = read(COMPOSER.whole(told))

    assert "🔔 3 incidents still open, not acknowledged" in shown
    assert all(f"service-{number}" in shown for number in range(3))


def test_other_incidents_and_services_are_counted() -> None:
    services = [f"service-{number}" for number in range(8)]
    told = replace(notification("open"), total=5, incidents=[replace(INCIDENT, services=services)])

    shown = read(COMPOSER.whole(told))

    assert "and 2 related templates, 4 related incidents" in shown
    assert "service-4 and 3 more" in shown


def test_an_id_that_no_button_can_carry_gets_none() -> None:
    long = replace(notification("open"), runbook=None, incidents=[replace(INCIDENT, id="i" * 2_500)])

    assert "Acknowledge" not in read(COMPOSER.whole(long))


def test_more_blocks_than_slack_takes_end_in_a_word_about_it() -> None:
    found = bounded([block for number in range(60) for block in section(f"{number}")])

    assert len(found) == 50
    assert "does not fit" in str(found[-1])


@pytest.mark.parametrize(
    ("series", "ended", "shown"),
    [
        ([], "2024-05-14T10:46:00Z", ""),
        ([4, 5], "2024-05-14T10:46:00Z", ""),
        ([0, 0, 0, 0], "2024-05-14T10:46:00Z", ""),
        ([5, 0, -3, 5], "soon", "`█▁▁█`  0 to 5 a minute"),
        ([1, 1, 1], "0001-01-01T00:00:00Z", "`███`  1 to 1 a minute"),
        (
            [0] * 59 + [10**18],
            "2024-05-14T10:46:00Z",
            "`" + "▁" * 29 + "█`  0 to 1,000,000,000,000,000,000 a minute, 09:46",
        ),
    ],
)
def test_a_chart_has_a_shape_or_is_left_out(series: list[int], ended: str, shown: str) -> None:
    found = chart(series, ended)

    assert found.startswith(shown)
    assert bool(found) is bool(shown)


def test_a_span_rounds_in_whole_seconds() -> None:
    assert [duration(value) for value in (0.4, 59.6, 3_599, 90_061)] == ["0 s", "1 min", "59 min 59 s", "1 d 1 h"]
