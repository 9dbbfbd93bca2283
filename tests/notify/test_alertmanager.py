"""Alertmanager: its published schema, and a model of what it does with the alerts that it gets."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from logllm.errors import ConfigError, NotifyError
from logllm.events import IncidentEvent
from logllm.notify.alertmanager import Alertmanager, AlertmanagerConfig
from logllm.notify.notification import Count, Kind, Notification
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
)  # fmt: skip

DAY_S = 86_400.0


class Model:
    """What Alertmanager 0.27 keeps: an alert by its labels, merged as its provider does, firing until `endsAt`."""

    def __init__(self) -> None:
        self.now_s = NOW_S
        self.alerts: dict[frozenset[tuple[str, str]], dict[str, Any]] = {}
        self.got: list[list[dict[str, Any]]] = []

    def __call__(self, arrived: Arrived) -> Reply:
        alerts = arrived.json()
        self.got.append(alerts)
        wrong = [why for alert in alerts for why in faults(alert)]
        if wrong or arrived.path != "/api/v2/alerts" or arrived.method != "POST":
            return Reply(400, str(wrong).encode())
        for alert in alerts:
            key = frozenset((name, value) for name, value in alert["labels"].items() if value)
            new = {**alert, "starts": seconds(alert["startsAt"]), "ends": seconds(alert["endsAt"])}
            old = self.alerts.get(key)
            if old is not None and (
                old["starts"] < new["ends"] < old["ends"] or old["starts"] < new["starts"] < old["ends"]
            ):
                new["starts"] = min(old["starts"], new["starts"])
                both_over = new["ends"] <= self.now_s and old["ends"] <= self.now_s
                if new["ends"] > self.now_s or both_over:
                    new["ends"] = max(old["ends"], new["ends"])
            self.alerts[key] = new
        return Reply(200)

    @property
    def firing(self) -> list[dict[str, Any]]:
        return [alert for alert in self.alerts.values() if alert["ends"] > self.now_s]


def seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def faults(alert: dict[str, Any]) -> list[str]:
    """What the published schema (api/v2/openapi.yaml, `postableAlert`) and `Alert.Validate` have against it."""
    found = []
    if set(alert) - {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}:
        found.append("unknown field")
    for name, value in [*alert["labels"].items(), *alert["annotations"].items()]:
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or not isinstance(value, str):
            found.append(f"invalid name or value: {name}")
    if not any(alert["labels"].values()):
        found.append("at least one label pair required")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", alert["startsAt"]):
        found.append("startsAt")
    if seconds(alert["endsAt"]) < seconds(alert["startsAt"]):
        found.append("start time must be before end time")
    if not re.fullmatch(r"(https?://\S+)?", alert.get("generatorURL", "")):
        found.append("generatorURL")
    return found


class Kept:
    """An Alertmanager, a destination that goes there, and the reference of its thread."""

    def __init__(self, fake: FakeHttp, model: Model, **options: Any) -> None:
        self.model = model
        self._refs: dict[str, str] = {}
        client = HttpClient(fake.url + "api/v2/alerts")
        self.destination = Alertmanager("am", client, LinksTo(), clock=lambda: model.now_s, **options)

    def send(self, told: Notification) -> list[dict[str, Any]]:
        ref = self.destination.send(told, self._refs.get(told.thread, ""))
        self._refs.setdefault(told.thread, ref)
        return self.model.got[-1]


@pytest.fixture
def kept() -> Any:
    model = Model()
    with FakeHttp(otherwise=model) as fake:
        yield Kept(fake, model)


def of(event: IncidentEvent, kind: Kind = "open", **changes: Any) -> Notification:
    return msgspec.structs.replace(of_kind(kind), incidents=[event], **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_posted_as_the_golden_file_has_it(kind: Kind, kept: Kept) -> None:
    assert kept.destination.takes(of_kind(kind))

    alerts = kept.send(of_kind(kind))

    assert golden(f"alertmanager_{kind}", msgspec.json.encode(alerts)) == alerts


def test_an_incident_is_one_alert_from_its_beginning_to_its_end(kept: Kept) -> None:
    for kind in ("open", "explanation", "reminder", "escalation", "answer"):
        kept.model.now_s += 60
        kept.send(msgspec.structs.replace(of_kind(kind), incidents=[incident(event="update")]))
        assert len(kept.model.firing) == 1
    (alert,) = kept.model.firing
    assert alert["labels"] == {
        "alertname": "rate",
        "fingerprint": "00ff00ff00ff00ff",
        "incident": "inc-0a1b2c3d4e",
        "job": "logllm",
        "service": "payments",
        "severity": "warning",
    }
    assert alert["startsAt"] == "2023-11-14T22:12:00.000Z"

    kept.send(of(incident(event="resolve", ended="2023-11-14T22:18:00.000Z"), "resolve"))

    assert kept.model.firing == []
    assert len(kept.model.alerts) == 1


def test_an_explanation_and_an_answer_change_annotations_only(kept: Kept) -> None:
    (before,) = kept.send(of_kind("open"))
    (after,) = kept.send(of(incident(), "explanation"))
    (answered,) = kept.send(of_kind("answer"))

    assert before["labels"] == after["labels"] == answered["labels"]
    assert "cause" not in before["annotations"]
    assert after["annotations"]["cause"].endswith("its process ended at 22:12. (70%)")
    assert after["annotations"]["steps"].startswith("1. Start the database.\n2. Look why")
    assert answered["annotations"]["answer"] == "acknowledged by sre on call at 2023-11-14T22:15:00Z"


def test_an_incident_that_grows_graver_is_a_new_alert_and_the_former_one_ends(kept: Kept) -> None:
    kept.send(of_kind("open"))
    kept.model.now_s += 60

    kept.send(of_kind("update"))

    assert [alert["labels"]["severity"] for alert in kept.model.firing] == ["critical"]
    assert len(kept.model.alerts) == 2
    kept.model.now_s += 60
    kept.send(of_kind("resolve"))
    assert kept.model.firing == []
    assert len(kept.model.alerts) == 2


def test_what_was_told_graver_in_between_is_ended_too(kept: Kept) -> None:
    for severity in ("info", "warning", "critical"):
        kept.send(of(incident(event="update", severity=severity)))
        assert [alert["labels"]["severity"] for alert in kept.model.firing] == [severity]

    kept.send(of(incident(event="resolve", severity="critical"), "resolve"))

    assert kept.model.firing == []


def test_where_the_first_severity_was_not_noted_an_end_ends_all_below(kept: Kept) -> None:
    kept.send(of(incident(), thread="a digest"))
    kept.send(of(incident(event="update", severity="critical"), "update", thread="another digest"))

    kept.send(of(incident(event="resolve", severity="critical"), "resolve"))

    assert kept.model.firing == []


@pytest.mark.parametrize("ref", ["", "no json", "[1]", '{"inc-0a1b2c3d4e": "x"}', "\ud800"])
def test_a_reference_that_says_nothing_is_none(ref: str) -> None:
    model = Model()
    with FakeHttp(otherwise=model) as fake:
        sender = Alertmanager("am", HttpClient(fake.url + "api/v2/alerts"), NoLinks(), clock=lambda: NOW_S)

        again = sender.send(of_kind("open"), ref)

    assert again == '{"inc-0a1b2c3d4e":"warning"}'
    assert len(model.firing) == 1


def test_an_open_alert_needs_no_sending_again_for_a_day(kept: Kept) -> None:
    kept.send(of_kind("open"))

    kept.model.now_s += DAY_S - 1
    still = len(kept.model.firing)
    kept.send(of(incident(event="update"), "reminder"))
    kept.model.now_s += DAY_S - 1

    assert (still, len(kept.model.firing)) == (1, 1)
    kept.model.now_s += 2
    assert kept.model.firing == []


@pytest.mark.parametrize(
    ("started", "ended"),
    [
        ("2023-11-14T22:12:00Z", "2031-01-01T00:00:00Z"),
        ("2031-01-01T00:00:00Z", "2031-01-01T00:00:00Z"),
        ("2023-11-14T22:12:00Z", "2001-01-01T00:00:00Z"),
        ("1970-01-01T00:00:00Z", None),
        ("", ""),
        (HOSTILE, HOSTILE),
        ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"),
        ("2023-11-14T22:12:00", "2023-11-14T22:18:00"),
    ],
)
def test_whatever_the_logs_clock_says_an_end_ends_it(started: str, ended: str | None, kept: Kept) -> None:
    kept.send(of(incident(started=started)))
    assert len(kept.model.firing) == 1

    kept.send(of(incident(started=started, ended=ended, event="resolve"), "resolve"))

    assert kept.model.firing == []


def test_a_digests_incidents_are_alerts_of_their_own_in_one_request(kept: Kept) -> None:
    alerts = kept.send(of_kind("digest"))

    assert len(kept.model.got) == 1
    named = [(one["labels"]["alertname"], one["labels"].get("service")) for one in alerts]
    assert named == [("rate", "payments"), ("rate", "checkout"), ("rate", None), ("digest", None)]
    assert alerts[-1]["annotations"]["summary"] == (
        "1,235 incidents, 1,200 critical of payments, checkout and 1 more service"
    )
    assert alerts[-1]["annotations"]["description"].startswith("1,200 of payments: critical, new\n")
    firing = [one["labels"].get("service", one["labels"]["alertname"]) for one in kept.model.firing]
    assert sorted(firing) == ["checkout", "digest", "payments"]
    kept.model.now_s += 3601
    assert "digest" not in [one["labels"]["alertname"] for one in kept.model.firing]


def test_a_digest_that_tells_of_ends_alone_ends_what_an_earlier_one_told(kept: Kept) -> None:
    kept.send(of_kind("digest"))
    told = of_kind("digest")
    over = [msgspec.structs.replace(one, event="resolve") for one in told.incidents]
    counts = [Count("payments", "critical", "resolve", 1234), Count("", "info", "unseen", 1)]

    kept.send(msgspec.structs.replace(told, id="later", incidents=over, counts=counts))

    assert kept.model.firing == []


def test_an_incident_of_a_digest_is_the_same_alert_as_when_it_is_told_alone(kept: Kept) -> None:
    kept.send(of_kind("digest"))

    kept.send(of(incident(event="resolve", severity="critical"), "resolve"))

    assert [one for one in kept.model.firing if one["labels"].get("incident") == "inc-0a1b2c3d4e"] == []


def test_a_test_alert_goes_by_itself(kept: Kept) -> None:
    kept.send(of_kind("test"))
    assert [one["labels"]["alertname"] for one in kept.model.firing] == ["test"]

    kept.model.now_s += 301

    assert kept.model.firing == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [HOSTILE, "x" * 1_000_000, "\ud800" * 5_000, "é\U0001f600" * 500_000])
def test_hostile_text_is_valid_bounded_and_harmless_to_templates(kind: Kind, text: str, kept: Kept) -> None:
    alerts = kept.send(hostile(kind, text))

    for alert in alerts:
        for value in alert["annotations"].values():
            assert_harmless(value, lines=True)
            assert len(value) <= 2_000
        for value in alert["labels"].values():
            assert_harmless(value)
            assert len(value) <= 200
    assert len(msgspec.json.encode(alerts)) < 1_000_000


def test_a_service_keeps_its_name_so_that_matchers_find_it(kept: Kept) -> None:
    (alert,) = kept.send(of(incident(service="postgresql@14-main.service")))

    assert alert["labels"]["service"] == "postgresql@14-main.service"


@pytest.mark.parametrize(
    ("status", "final"), [(400, True), (401, True), (404, True), (422, True), (429, False), (500, False), (503, False)]
)
def test_an_answer_means_done_again_or_never(status: int, final: bool) -> None:
    with FakeHttp(otherwise=Reply(status, b"invalid label set")) as fake, pytest.raises(NotifyError) as caught:
        Alertmanager("am", HttpClient(fake.url), NoLinks()).send(of_kind("open"), "")

    assert caught.value.final is final
    assert f"answered {status}: invalid label set" in str(caught.value)


def read(config: dict[str, Any]) -> AlertmanagerConfig:
    return msgspec.convert({"type": "alertmanager", "name": "am", **config}, AlertmanagerConfig)


@pytest.mark.parametrize("path", ["", "/", "/prefix", "/prefix/", "/prefix/api/v2/alerts"])
def test_the_address_is_that_of_alertmanager_with_its_prefix(path: str) -> None:
    with FakeHttp() as fake:
        url = fake.url.rstrip("/").replace("http://", "http://me:s3cr3t@") + path
        config = read({"url": url, "labels": {"cluster": "eu-1", "job": "logs"}})
        config.check()
        destination = config.build(LinksTo())

        destination.send(of_kind("open"), "")
        destination.close()

    got = fake.requests[0]
    assert got.path == ("/prefix" if "prefix" in path else "") + "/api/v2/alerts"
    assert got.headers["authorization"] == "Basic bWU6czNjcjN0"
    assert {"cluster": "eu-1", "job": "logs"}.items() <= got.json()[0]["labels"].items()
    assert config.address() == f"http://127.0.0.1:{fake.port}/..."
    assert "s3cr3t" not in repr(config) + repr(destination) + str(config.__rich_repr__())
    assert (destination.name, destination.edits) == ("am", True)


def test_an_address_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://me:s3cr3t@am.example.com:9093\n")

    assert read({"url_file": str(tmp_path / "url")}).address() == "http://am.example.com:9093/..."


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "none of url, url_file and url_env is set"),
        ({"url": "am:9093/s3cr3t"}, "expected http://HOST"),
        ({"url": "http://h", "labels": {"a-b": "x"}}, "labels: 'a-b': expected letters, digits and _"),
        ({"url": "http://h", "labels": {"__name__": "x"}}, "labels: '__name__'"),
        ({"url": "http://h", "labels": {"severity": "page"}}, "none of alertname, service, severity"),
        ({"url": "http://h", "labels": {"a": ""}}, "labels: a: expected one printable line"),
        ({"url": "http://h", "labels": {"a": "x\ny"}}, "labels: a: expected one printable line"),
    ],
)
def test_a_wrong_configuration_says_whose_it_is_and_shows_no_secret(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(config).check()

    assert str(caught.value).startswith("destination 'am': ")
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
