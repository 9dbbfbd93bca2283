"""What a webhook, Alertmanager, PagerDuty and Slack are sent of a notification with any text in any field."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from logllm.notify.alertmanager import Alertmanager
from logllm.notify.pagerduty import PagerDuty
from logllm.notify.slack.buttons import Buttons
from logllm.notify.slack.message import Composer
from logllm.notify.slack.webhook import SlackWebhook
from logllm.notify.webhook import MOST_BYTES, Message, Webhook, verify
from tests.fuzz.inputs import Choices
from tests.fuzz.told import MAX_BYTES, Addresses, Client, seeds, told
from tests.notify.slack.block_kit import problems
from tests.notify.told import assert_harmless, texts

if TYPE_CHECKING:
    from logllm.notify.destination import Destination

__all__ = ["MAX_BYTES", "check", "seeds"]

_NOW_S = 1_715_700_000.0
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_KEY = "0123456789abcdef0123456789abcdef"
# PagerDuty takes 512 KB; Alertmanager has no bound, ours is what 20 incidents come to.
_MOST_BYTES = 512_000
_LINKS = Addresses()


def check(data: bytes) -> None:
    """Each is JSON in UTF-8 of bounded size, with all that its receiver asks for."""
    notification = told(data)
    ref = Choices(data).one_of(("", '{"inc-7f3a90c1d2":"info"}', "{", "[1]", '{"a":"nonsense"}'))
    client, as_http = Client.made()
    destinations: tuple[Destination, ...] = (
        Webhook("w", as_http, _LINKS, (_SECRET,), clock=lambda: _NOW_S),
        Alertmanager("a", as_http, _LINKS, clock=lambda: _NOW_S),
        PagerDuty("p", as_http, _LINKS, _KEY, clock=lambda: _NOW_S),
        SlackWebhook("s", as_http, Composer(Buttons(_LINKS, interactive=False)), lambda: _NOW_S),
    )
    checks = (_webhook, _alertmanager, _pagerduty, _slack)
    for destination, check_body in zip(destinations, checks, strict=True):
        if not destination.takes(notification):
            continue
        client.bodies.clear()
        found = destination.send(notification, ref)
        if destination.name != "s":
            destination.send(notification, found)
        for body in client.bodies:
            check_body(body, json.loads(body.decode()))
        if destination.name == "w":
            assert verify(_SECRET, client.headers[-1], client.bodies[-1], _NOW_S)


def _webhook(body: bytes, said: Any) -> None:
    assert len(body) <= MOST_BYTES
    message = msgspec.json.decode(body, type=Message)
    assert msgspec.to_builtins(message) == {"cut": False, **said}


def _alertmanager(body: bytes, said: Any) -> None:
    assert 0 < len(said) <= 61
    assert len(body) <= _MOST_BYTES
    for alert in said:
        assert alert["labels"]["alertname"]
        for name, value in alert["labels"].items():
            assert value
            assert name.isidentifier()
        assert _time(alert["startsAt"]) <= _time(alert["endsAt"])
        for text in [*alert["labels"].values(), *alert["annotations"].values()]:
            assert_harmless(text, lines=True)


def _pagerduty(body: bytes, said: Any) -> None:
    assert len(body) <= _MOST_BYTES
    assert 0 < len(said["dedup_key"]) <= 255
    if said["event_action"] != "trigger":
        assert "payload" not in said
        return
    payload = said["payload"]
    assert 0 < len(payload["summary"]) <= 1024
    assert payload["source"]
    assert payload["severity"] in ("critical", "error", "warning", "info")
    if "timestamp" in payload:
        _time(payload["timestamp"])
    for text in texts(payload):
        assert_harmless(text)


def _slack(body: bytes, said: Any) -> None:
    assert len(body) <= _MOST_BYTES
    assert problems(said) == []


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    assert found.tzinfo is not None
    return found
