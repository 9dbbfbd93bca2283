"""Apprise, the real library, against receivers of ours."""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from logllm.egress import host_of
from logllm.errors import ConfigError, NotifyError
from logllm.notify.alertmanager import AlertmanagerConfig
from logllm.notify.apprise import AppriseConfig, AppriseDestination
from logllm.notify.destination import Destination
from logllm.notify.notification import Kind
from logllm.notify.pagerduty import PagerDutyConfig
from logllm.notify.text import BODY_CHARS, SUMMARY_CHARS, body, summary
from logllm.notify.webhook import WebhookConfig
from tests.notify.fake_http import FakeHttp, Reply
from tests.notify.told import (
    HOSTILE,
    KINDS,
    LinksTo,
    NoLinks,
    assert_harmless,
    golden,
    hostile,
    incident,
    of_kind,
)

apprise = pytest.importorskip("apprise", reason="Apprise is not installed: pip install 'logllm[apprise]'")
library: Any = sys.modules["apprise.apprise"]


def read(*urls: str, **options: Any) -> AppriseConfig:
    return msgspec.convert({"type": "apprise", "name": "mail", "urls": urls, **options}, AppriseConfig)


def url(fake: FakeHttp, path: str = "s3cr3t-path", scheme: str = "json") -> str:
    return f"{scheme}://me:s3cr3t@127.0.0.1:{fake.port}/{path}"


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_sent_as_the_golden_file_has_it(kind: Kind) -> None:
    with FakeHttp() as fake:
        destination = read(url(fake)).build(LinksTo())
        assert destination.takes(of_kind(kind))
        assert destination.send(of_kind(kind), "") == ""
        destination.close()

    sent = fake.requests[0].json()
    assert golden(f"apprise_{kind}", msgspec.json.encode(sent)) == sent
    assert (sent["title"], sent["message"]) == (summary(of_kind(kind)), body(of_kind(kind), LinksTo()))


@pytest.mark.parametrize(
    ("kind", "severity", "called"),
    [("open", "critical", "failure"), ("open", "warning", "warning"), ("open", "info", "info"),
     ("resolve", "critical", "success")],
)  # fmt: skip
def test_a_severity_is_one_of_apprises_kinds(kind: Kind, severity: str, called: str) -> None:
    with FakeHttp() as fake:
        told = msgspec.structs.replace(of_kind(kind), incidents=[incident(severity=severity)])
        read(url(fake)).build(NoLinks()).send(told, "")

    assert fake.requests[0].json()["type"] == called


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [HOSTILE, "x" * 1_000_000, "\ud800" * 5_000])
def test_hostile_text_arrives_harmless_and_bounded(kind: Kind, text: str) -> None:
    with FakeHttp() as fake:
        read(url(fake)).build(LinksTo()).send(hostile(kind, text), "")

    sent = fake.requests[0].json()
    assert_harmless(sent["title"])
    assert_harmless(sent["message"], lines=True)
    assert len(sent["title"]) <= SUMMARY_CHARS
    assert len(sent["message"]) <= BODY_CHARS


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_hostile_text_is_harmless_to_services_that_read_markup(form: str) -> None:
    with FakeHttp() as fake:
        read(url(fake) + f"?format={form}").build(NoLinks()).send(hostile("open"), "")

    sent = fake.requests[0].json()["message"]
    assert "://" not in sent
    assert not any(mark in sent for mark in ("<!channel>", "<script", "<b>", "](http", "@everyone"))


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500])
def test_what_is_not_taken_is_tried_again(status: int) -> None:
    with FakeHttp() as elsewhere, FakeHttp(Reply(status, headers={"Location": elsewhere.url})) as fake:
        destination = read(url(fake)).build(NoLinks())

        with pytest.raises(NotifyError) as caught:
            destination.send(of_kind("open"), "")
        destination.send(of_kind("open"), "")

    assert (caught.value.kind, caught.value.final) == ("server", False)
    assert str(caught.value) == "mail (json): not taken; Apprise does not say why"
    assert len(fake.requests) == 2
    assert elsewhere.requests == []


def test_of_several_services_only_those_that_did_not_take_it_get_it_again() -> None:
    with FakeHttp() as well, FakeHttp(Reply(500)) as ill:
        destination = read(url(ill), url(well)).build(NoLinks())

        with pytest.raises(NotifyError):
            destination.send(of_kind("open"), "")
        destination.send(of_kind("open"), "")
        destination.send(of_kind("update"), "")

    assert [len(well.requests), len(ill.requests)] == [2, 3]


@pytest.mark.parametrize("way", ["hang", "drip"])
def test_a_service_that_hangs_is_left_and_not_asked_again_meanwhile(way: Any) -> None:
    with FakeHttp(Reply(way=way)) as fake:
        destination = read(url(fake), deadline_s=0.3).build(NoLinks())
        began = time.monotonic()
        with pytest.raises(NotifyError) as first:
            destination.send(of_kind("open"), "")
        took_s = time.monotonic() - began

        if way == "drip":
            with pytest.raises(NotifyError, match="still at the message before"):
                destination.send(of_kind("open"), "")

    assert took_s < 5.0
    assert first.value.kind in ("timeout", "server")
    assert not first.value.final
    for thread in threading.enumerate():
        if thread.name == "apprise mail":
            thread.join(10.0)


def test_no_address_can_ask_for_more_time_than_the_configuration_gives() -> None:
    with FakeHttp(Reply(way="hang")) as fake:
        destination = read(url(fake) + "?rto=60&cto=60&redirect=yes", deadline_s=0.3).build(NoLinks())

        with pytest.raises(NotifyError):
            destination.send(of_kind("open"), "")

    (plugin,) = destination._services[0]._all.services  # type: ignore[attr-defined]
    assert (plugin.socket_connect_timeout, plugin.socket_read_timeout, plugin.redirects) == (0.3, 0.3, False)


def test_the_library_keeps_no_threads_of_its_own_that_the_process_would_wait_for() -> None:
    with FakeHttp() as fake:
        read(url(fake)).build(NoLinks()).send(of_kind("open"), "")

    assert getattr(library, "_shared_executor", None) is None
    assert getattr(library, "_coordinator_executor", None) is None


def test_nothing_of_an_address_is_logged_shown_or_raised(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), FakeHttp(Reply(500, b"s3cr3t")) as fake:
        config = read(url(fake), f"form://127.0.0.1:{fake.port}/s3cr3t-path")
        config.check()
        destination = config.build(NoLinks())
        with pytest.raises(NotifyError) as caught:
            destination.send(of_kind("open"), "")
        with pytest.raises(ConfigError) as wrong:
            read("json://s3cr3t:%%%@:0/").check()

    shown = [caplog.text, *capfd.readouterr(), str(caught.value), str(wrong.value), repr(config), repr(destination)]
    assert "s3cr3t" not in "".join(shown) + str(config.__rich_repr__())
    assert repr(config) == "AppriseConfig(name='mail', urls='***')"
    assert caplog.records == []


class Raises:
    schema = "odd"
    host = ""

    def deliver(self, title: str, text: str, notification: object) -> bool:
        raise RuntimeError("https://me:s3cr3t@odd.example")


def test_a_plugin_that_raises_is_a_failure_without_its_words() -> None:
    destination = AppriseDestination("mail", [Raises()], NoLinks())

    with pytest.raises(NotifyError) as caught:
        destination.send(of_kind("open"), "")

    assert str(caught.value) == "mail (odd): not taken: RuntimeError; Apprise does not say why"


@pytest.mark.parametrize(
    ("urls", "address"),
    [
        (["json://127.0.0.1:9/x"], "json://127.0.0.1"),
        (["json://[::1]:9/x"], "json://[::1]"),
        (["json://localhost/x", "jsons://hooks.example.com/x"], "jsons://hooks.example.com"),
        (["mailto://me:pw@localhost?smtp=mail.example.com&to=a@b.co"], "mailto://mail.example.com"),
        (["tgram://123456789:abcdefg_hijklmnop/12315544"], "tgram://tgram"),
        (["discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"], "discord://discord"),
        (["ntfy://topic"], "ntfy://ntfy"),
        (["ntfy://ntfy.example.com/topic"], "ntfy://ntfy.example.com"),
    ],
)
def test_an_address_is_scheme_and_host_and_never_a_token(urls: list[str], address: str) -> None:
    assert read(*urls).address() == address


def test_addresses_may_be_in_a_file(tmp_path: Path) -> None:
    with FakeHttp() as one, FakeHttp() as other:
        (tmp_path / "urls").write_text(f"# ours\n{url(one)}\n\n  {url(other)}\n")
        msgspec.convert({"type": "apprise", "name": "mail", "urls_file": str(tmp_path / "urls")}, AppriseConfig).build(
            NoLinks()
        ).send(of_kind("open"), "")

    assert (len(one.requests), len(other.requests)) == (1, 1)


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ([], "none of urls, urls_file and urls_env is set"),
        (["# s3cr3t"], "urls: 0 of them, expected 1 to 20"),
        (["json://h/s3cr3t"] * 21, "urls: 21 of them, expected 1 to 20"),
        (["json://h/x", "bogus://s3cr3t"], "urls: number 2: bogus:// is no address that Apprise can use"),
        (["s3cr3t"], "urls: number 1: is no address that Apprise can use"),
        (["tgram://s3cr3t"], "urls: number 1: tgram:// is no address"),
    ],
)
def test_a_wrong_configuration_says_whose_it_is_and_shows_no_secret(urls: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*urls).check()

    assert str(caught.value).startswith("destination 'mail': ")
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_each_configuration_builds_a_destination_whose_address_names_a_host() -> None:
    configs: list[AlertmanagerConfig | AppriseConfig | PagerDutyConfig | WebhookConfig] = [
        read("jsons://hooks.example.com/s3cr3t"),
        WebhookConfig("hook", url="https://hooks.example.com/s3cr3t"),
        AlertmanagerConfig("am", url="https://am.example.com"),
        PagerDutyConfig("pd", routing_key="0" * 32),
    ]

    built: list[Destination] = [config.build(NoLinks()) for config in configs]

    for config, destination in zip(configs, built, strict=True):
        assert destination.name == config.name
        assert destination.pause_s >= 0.0
        assert destination.takes(of_kind("open"))
        assert host_of(config.address(), config.name).endswith((".example.com", ".pagerduty.com"))
        destination.close()
        destination.close()


def test_where_the_library_is_absent_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)

    with pytest.raises(ConfigError, match=r"pip install 'logllm\[apprise\]'"):
        read("json://127.0.0.1:9/").check()
