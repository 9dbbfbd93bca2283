"""PagerDuty: events within the published schema and limits, and a model of what it does with them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from logllm.errors import ConfigError, NotifyError
from logllm.notify.notification import Count, Kind, Notification
from logllm.notify.pagerduty import Event, PagerDuty, PagerDutyConfig
from logllm.wire.http import HttpClient
from tests.notify.fake_http import Arrived, FakeHttp, Reply
from tests.notify.told import (
    HOSTILE,
    KINDS,
    NOW_S,
    LinksTo,
    NoLinks,
    assert_harmless,
    golden,
    hostile,
    incident,
    of_kind,
    texts,
)  # fmt: skip

KEY = "0123456789abcdef0123456789abcdef"
INCIDENT = "inc-0a1b2c3d4e"
ACCEPTED = b'{"status":"success","message":"Event processed","dedup_key":"x"}'


class Model:
    """What PagerDuty keeps: alerts by `dedup_key`, and whom it called for them."""

    def __init__(self) -> None:
        self.alerts: dict[str, str] = {}
        self.calls: list[str] = []
        self.got: list[dict[str, Any]] = []

    def __call__(self, arrived: Arrived) -> Reply:
        event = arrived.json()
        self.got.append(event)
        wrong = faults(arrived.body)
        if wrong:
            return Reply(400, b'{"status":"invalid event","errors":' + msgspec.json.encode(wrong) + b"}")
        key, state = event["dedup_key"], self.alerts.get(event["dedup_key"])
        match event["event_action"]:
            case "trigger" if state is None:
                self.alerts[key] = "triggered"
                self.calls.append(event["payload"]["summary"])
            case "acknowledge" if state is not None:
                self.alerts[key] = "acknowledged"
            case "resolve":
                self.alerts.pop(key, None)
        return Reply(202, ACCEPTED)


def faults(body: bytes) -> list[str]:
    """What the documentation of the Events API v2 (overview, "Send an Alert Event") has against an event."""
    event = msgspec.json.decode(body)
    found = []
    if len(body) > 512 * 1024:
        found.append("larger than 512 KB")
    if set(event) - {"routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"}:
        found.append("unknown field")
    if len(event["routing_key"]) != 32:
        found.append("Length of 'routing_key' is incorrect (should be 32 characters)")
    if not 1 <= len(event["dedup_key"]) <= 255:
        found.append("dedup_key")
    if event["event_action"] not in ("trigger", "acknowledge", "resolve"):
        found.append("event_action")
    for link in event.get("links", []):
        if not link["href"].startswith("https://") or set(link) - {"href", "text"}:
            found.append("links")
    payload = event.get("payload")
    if payload is None:
        return found if event["event_action"] != "trigger" else [*found, "payload"]
    known = {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}
    if set(payload) - known:
        found.append("payload has unknown fields")
    if not 1 <= len(payload["summary"]) <= 1024:
        found.append("summary")
    if not payload["source"] or not isinstance(payload["source"], str):
        found.append("source")
    if payload["severity"] not in ("critical", "error", "warning", "info"):
        found.append("severity")
    if "timestamp" in payload:
        datetime.fromisoformat(payload["timestamp"])
    found += [name for name in ("component", "group", "class") if not isinstance(payload.get(name, ""), str)]
    return found


class Kept:
    """PagerDuty, and a destination that goes there as a courier would use it."""

    def __init__(self, fake: FakeHttp, model: Model) -> None:
        self.model = model
        self.destination = PagerDuty("pd", HttpClient(fake.url), LinksTo(), KEY, clock=lambda: NOW_S)

    def send(self, told: Notification) -> dict[str, Any] | None:
        if not self.destination.takes(told):
            return None
        ref = self.destination.send(told, "")
        assert ref == self.model.got[-1]["dedup_key"]
        return self.model.got[-1]


@pytest.fixture
def kept() -> Any:
    model = Model()
    with FakeHttp(otherwise=model) as fake:
        yield Kept(fake, model)


def changed(told: Notification, **changes: Any) -> Notification:
    return msgspec.structs.replace(told, **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_posted_as_the_golden_file_has_it(kind: Kind, kept: Kept) -> None:
    event = kept.send(of_kind(kind))

    assert golden(f"pagerduty_{kind}", msgspec.json.encode(event)) == event


def test_an_incident_calls_once_and_is_over_when_it_ends(kept: Kept) -> None:
    for kind in ("open", "update", "explanation", "reminder", "escalation"):
        kept.send(of_kind(kind))
    assert kept.model.alerts == {INCIDENT: "triggered"}
    kept.send(of_kind("answer"))
    assert kept.model.alerts == {INCIDENT: "acknowledged"}

    kept.send(of_kind("resolve"))

    assert kept.model.alerts == {}
    assert kept.model.calls == ["Warning - payments: connection refused to db-‹*›: 312 a minute, 0 expected"]


def test_acknowledging_and_resolving_tell_no_more_than_they_must(kept: Kept) -> None:
    kept.send(of_kind("answer"))
    kept.send(of_kind("resolve"))

    assert kept.model.got == [
        {"routing_key": KEY, "event_action": "acknowledge", "dedup_key": INCIDENT},
        {"routing_key": KEY, "event_action": "resolve", "dedup_key": INCIDENT},
    ]


@pytest.mark.parametrize(
    ("verdict", "action"),
    [("acknowledge", "acknowledge"), ("expected", "resolve"), ("noise", "resolve"), ("real", None)],
)
def test_what_a_person_answers_is_told_where_there_is_a_word_for_it(
    verdict: Any, action: str | None, kept: Kept
) -> None:
    told = of_kind("answer")
    assert told.answer is not None

    event = kept.send(changed(told, answer=msgspec.structs.replace(told.answer, verdict=verdict)))

    assert (None if event is None else event["event_action"]) == action


def test_an_explanation_that_comes_late_or_knows_nothing_does_not_call_again(kept: Kept) -> None:
    told = of_kind("explanation")
    assert told.explanation is not None
    unknown = msgspec.structs.replace(told.explanation, status="insufficient")

    assert kept.send(changed(told, incidents=[incident(event="resolve")])) is None
    assert kept.send(changed(told, explanation=unknown)) is None
    assert kept.send(changed(told, explanation=None)) is None
    assert kept.send(told) is not None


def test_an_update_that_tells_of_an_end_resolves(kept: Kept) -> None:
    kept.send(of_kind("open"))

    kept.send(changed(of_kind("update"), incidents=[incident(event="resolve")]))

    assert kept.model.alerts == {}


def test_a_storm_calls_once_and_its_thread_is_resolved_when_all_of_it_is_over(kept: Kept) -> None:
    digest = of_kind("digest")
    over = [msgspec.structs.replace(one, event="resolve") for one in digest.incidents]
    kept.send(digest)
    kept.send(changed(digest, id="second"))
    assert kept.model.alerts == {digest.thread: "triggered"}
    assert len(kept.model.calls) == 1

    # Those that it names are over, one of those that it only counts is new.
    kept.send(changed(digest, id="third", incidents=over))
    assert kept.model.alerts == {digest.thread: "triggered"}
    counts = [Count("payments", "critical", "resolve", 1200), Count("checkout", "warning", "unseen", 35)]
    kept.send(changed(digest, id="fourth", incidents=over, counts=counts))

    assert kept.model.alerts == {}


def test_an_end_within_a_digest_does_not_resolve_the_digest(kept: Kept) -> None:
    kept.send(of_kind("digest"))

    kept.send(of_kind("resolve"))

    assert kept.model.alerts == {of_kind("digest").thread: "triggered"}


def test_a_reminder_of_a_whole_group_is_left_to_pagerduty(kept: Kept) -> None:
    assert kept.send(changed(of_kind("digest"), kind="reminder")) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [HOSTILE, "x" * 1_000_000, "\ud800" * 5_000, "é\U0001f600" * 500_000, ""])
def test_hostile_text_is_valid_within_the_limits_and_harmless(kind: Kind, text: str, kept: Kept) -> None:
    event = kept.send(hostile(kind, text))

    assert event is not None
    for one in texts(event):
        assert_harmless(one)


def test_what_is_no_time_is_left_to_pagerduty(kept: Kept) -> None:
    for time in ("", "yesterday", "2023-11-14T22:13:20", "2023-11-14T22:13:20Z" + " " * 100):
        event = kept.send(changed(of_kind("open"), incidents=[incident(time=time)]))
        assert event is not None
        assert "timestamp" not in event["payload"]


@pytest.mark.parametrize(
    ("status", "kind", "final"),
    [
        (400, "invalid", True),
        (403, "refused", True),
        (404, "gone", True),
        (429, "rate_limited", False),
        (500, "server", False),
        (503, "server", False),
    ],
)
def test_an_answer_means_done_again_or_never(status: int, kind: str, final: bool) -> None:
    said = b'{"status":"invalid event","errors":["so it is"]}'
    with FakeHttp(otherwise=Reply(status, said, {"Retry-After": "30"})) as fake, pytest.raises(NotifyError) as caught:
        PagerDuty("pd", HttpClient(fake.url), NoLinks(), KEY).send(of_kind("open"), "")

    assert (caught.value.kind, caught.value.final) == (kind, final)
    assert "so it is" in str(caught.value)
    assert caught.value.retry_after_s == (None if final else 30.0)


@pytest.mark.parametrize(("way", "kind"), [("hang", "timeout"), ("cut", "io"), ("half", "io")])
def test_no_whole_answer_is_tried_again(way: Any, kind: str) -> None:
    with FakeHttp(otherwise=Reply(way=way)) as fake, pytest.raises(NotifyError) as caught:
        PagerDuty("pd", HttpClient(fake.url, deadline_s=0.2), NoLinks(), KEY).send(of_kind("open"), "")

    assert (caught.value.kind, caught.value.final) == (kind, False)


def test_the_key_is_shown_nowhere() -> None:
    with FakeHttp(otherwise=Reply(400, f"bad key {KEY.upper()}".encode())) as fake:
        config = read({"routing_key": KEY, "url": fake.url, "proxy": ""})
        destination = config.build(NoLinks())
        with pytest.raises(NotifyError) as caught:
            destination.send(of_kind("open"), "")

    shown = repr(config) + str(config.__rich_repr__()) + repr(destination) + repr(Event(KEY, "resolve", "x"))
    assert KEY not in (shown + str(caught.value)).lower()
    assert str(caught.value).endswith("answered 400")


def read(config: dict[str, Any]) -> PagerDutyConfig:
    return msgspec.convert({"type": "pagerduty", "name": "pd", **config}, PagerDutyConfig)


def test_a_configuration_builds_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    monkeypatch.setenv("TEST_PAGERDUTY_KEY", KEY)
    with FakeHttp(otherwise=Reply(202, ACCEPTED)) as fake:
        for where in ({"routing_key_file": str(tmp_path / "key")}, {"routing_key_env": "TEST_PAGERDUTY_KEY"}):
            config = read({**where, "url": fake.url + "v2/enqueue", "pause_s": 0.0})
            config.check()
            destination = config.build(LinksTo())
            destination.send(of_kind("open"), "")
            destination.close()

    assert [one.path for one in fake.requests] == ["/v2/enqueue"] * 2
    assert {one.json()["routing_key"] for one in fake.requests} == {KEY}
    assert (destination.name, destination.pause_s, destination.edits) == ("pd", 0.0, True)
    assert config.address() == f"http://127.0.0.1:{fake.port}/..."
    assert read({"routing_key": KEY}).address() == "https://events.pagerduty.com/..."


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "none of routing_key, routing_key_file and routing_key_env is set"),
        ({"routing_key": "s3cr3t"}, "routing_key: expected 32 letters and digits, has 6 characters"),
        ({"routing_key": "s3cr3t" + "x" * 25 + "\n!"}, "routing_key: expected 32 letters and digits"),
        ({"routing_key": KEY, "url": "s3cr3t"}, "expected http://HOST"),
    ],
)
def test_a_wrong_configuration_says_whose_it_is_and_shows_no_secret(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(config).check()

    assert str(caught.value).startswith("destination 'pd': ")
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
