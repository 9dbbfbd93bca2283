from __future__ import annotations

import pytest

from logllm.egress import EgressConfig, about, about_now, host_of, is_loopback
from logllm.errors import ConfigError
from logllm.notify.config import NotifyConfig
from logllm.notify.pagerduty import PagerDutyConfig
from logllm.notify.slack import SlackConfig
from logllm.notify.webhook import WebhookConfig


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/x",
        "http://127.8.8.8/",
        "http://[::1]:9/",
        "http://[::ffff:127.0.0.1]/",
        "http://LOCALHOST:9/",
        "http://localhost./",
        "http://evil.example@127.0.0.1/",
        "127.0.0.1:24224",
    ],
)
def test_this_machine_needs_no_entry(url: str) -> None:
    EgressConfig().check(url, "here")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.0.0.1.evil.example/", "127.0.0.1.evil.example"),
        ("http://127.0.0.1@evil.example/", "evil.example"),
        ("http://127.0.0.1:80@evil.example:80/", "evil.example"),
        ("http://localhost.evil.example/", "localhost.evil.example"),
        ("http://localhost@evil.example#@127.0.0.1/", "evil.example"),
        ("http://evil.example/?@127.0.0.1", "evil.example"),
        ("http://xn--lcalhost-n9a/", "xn--lcalhost-n9a"),
        # What some resolvers take for 127.0.0.1, and others for a name.
        ("http://2130706433/", "2130706433"),
        ("http://0x7f000001/", "0x7f000001"),
        ("http://0177.0.0.1/", "0177.0.0.1"),
        ("http://127.1/", "127.1"),
        ("http://0.0.0.0/", "0.0.0.0"),  # noqa: S104 - nothing is bound
        ("http://[::]/", "::"),
        ("http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1"),
        ("http://[64:ff9b::7f00:1]/", "64:ff9b::7f00:1"),
        # A name whose owner lets it lead here today: it may lead elsewhere tomorrow.
        ("http://localtest.me/", "localtest.me"),
        ("http://ip6-localhost/", "ip6-localhost"),
    ],
)
def test_what_only_looks_like_this_machine_is_asked_for_by_its_name(url: str, host: str) -> None:
    with pytest.raises(ConfigError, match="is not this machine") as caught:
        EgressConfig().check(url, "here")

    assert f'[egress] allow = ["{host}"]' in str(caught.value)
    EgressConfig(allow=[host]).check(url, "here")


@pytest.mark.parametrize(
    "url",
    [
        "http://１２７.0.0.1/",
        "http://ⓛocalhost/",
        "http://bücher.example/",
        "http://127.0.0.1\\@evil.example/",
        "http://127.0.0.1 .evil.example/",
        "http://127.0.0.1\n.evil.example/",
        "http://[::1/",
        "http:///path",
        "",
    ],
)
def test_an_address_that_programs_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected scheme://host:port/path"):
        EgressConfig(allow=["bücher.example", "127.0.0.1"]).check(url, "here")


def test_a_pattern_stands_for_names_below_it_and_for_nothing_else() -> None:
    config = EgressConfig(allow=["*.example.com", "Exact.Example.ORG."])

    config.check("https://hooks.example.com/x", "here")
    config.check("https://a.b.EXAMPLE.com./x", "here")
    config.check("https://exact.example.org/x", "here")
    for other in ("https://example.com/", "https://evilexample.com/", "https://example.com.evil.org/", "https://x.y/"):
        with pytest.raises(ConfigError):
            config.check(other, "here")


def test_a_star_alone_allows_nothing() -> None:
    for pattern in ("*", "*.", "", "*.*"):
        with pytest.raises(ConfigError):
            EgressConfig(allow=[pattern]).check("https://example.com/", "here")


def test_the_message_has_the_line_to_write_with_what_is_allowed_already() -> None:
    with pytest.raises(ConfigError, match=r'\[egress\] allow = \["a\.example", "b\.example"\]$'):
        EgressConfig(allow=["a.example"]).check("https://b.example/s3cret", "here")


@pytest.mark.parametrize(
    ("destination", "host"),
    [
        (WebhookConfig("w", url="https://hooks.example.com/s3cret"), "hooks.example.com"),
        (
            WebhookConfig("w", url="http://127.0.0.1:9/", proxy="http://me:pw@proxy.example.com:3128"),
            "proxy.example.com",
        ),
        (SlackConfig("s", url="https://hooks.slack.com/services/s3cret"), "hooks.slack.com"),
        (PagerDutyConfig("p", routing_key="k" * 32), "events.pagerduty.com"),
    ],
)
def test_an_address_in_the_configuration_file_must_be_allowed_by_name_too(
    destination: WebhookConfig | SlackConfig | PagerDutyConfig, host: str
) -> None:
    config = NotifyConfig(destinations=[destination])

    with pytest.raises(ConfigError) as caught:
        config.check(EgressConfig())

    assert f'[egress] allow = ["{host}"]' in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "pw" not in str(caught.value)
    config.check(EgressConfig(allow=[host]))


def test_a_host_is_read_from_a_url_or_from_host_and_port() -> None:
    assert host_of("HTTPS://Me:pw@Hooks.Example.com:443/x?y#z", "here") == "hooks.example.com"
    assert host_of("[fe80::1]:24224", "here") == "fe80::1"
    assert not is_loopback("fe80::1")


def test_what_something_is_sent_about_ends_with_the_sending() -> None:
    with about("inc-1"):
        with about("inc-2"):
            inner = about_now()
        outer = about_now()

    assert (inner, outer, about_now()) == ("inc-2", "inc-1", "")
