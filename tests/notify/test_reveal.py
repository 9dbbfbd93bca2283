from __future__ import annotations

import msgspec
import pytest

from logllm.egress import EgressConfig
from logllm.errors import ConfigError
from logllm.explain.redact.redactor import Redactor
from logllm.notify.config import NotifyConfig
from logllm.notify.notification import Notification
from logllm.notify.reveal import Revealed
from logllm.notify.webhook import WebhookConfig
from tests.notify.told import of_kind, texts

LINE = "Failed password for carol from 203.0.113.9 token=s3cr3t-value-9f8e7d"


class Kept:
    """A destination that keeps what it is told."""

    name = "ours"
    pause_s = 2.0
    edits = True

    def __init__(self) -> None:
        self.told: list[tuple[Notification, str]] = []
        self.closed = 0

    def takes(self, notification: Notification) -> bool:
        return notification.kind != "resolve"

    def send(self, notification: Notification, ref: str) -> str:
        self.told.append((notification, ref))
        return "ref-2"

    def close(self) -> None:
        self.closed += 1


def about(redactor: Redactor) -> Notification:
    told = of_kind("explanation")
    incident = told.incidents[0]
    evidence = [msgspec.structs.replace(incident.evidence[0], text=redactor.mask(LINE))]
    changed = msgspec.structs.replace(incident, evidence=evidence, title=redactor.mask("from 203.0.113.9"))
    return msgspec.structs.replace(told, incidents=[changed])


def test_a_destination_is_told_the_kinds_it_may_see_and_no_secret() -> None:
    redactor = Redactor()
    kept = Kept()

    ref = Revealed(kept, ["ip"], redactor.reveal).send(about(redactor), "ref-1")

    told, given = kept.told[0]
    incident = told.incidents[0]
    assert (ref, given) == ("ref-2", "ref-1")
    assert incident.title == "from 203.0.113.9"
    assert incident.evidence[0].text == "Failed password for <user_1> from 203.0.113.9 token=<secret_1>"
    assert not any("s3cr3t" in text for text in texts(msgspec.to_builtins(told)))


def test_all_else_is_as_it_was_and_what_is_not_known_stays() -> None:
    before = about(Redactor())
    kept = Kept()
    shown = Revealed(kept, ["ip", "host", "email", "mac", "user", "phone"], Redactor().reveal)

    shown.send(before, "")

    assert kept.told[0][0] == before
    assert (shown.name, shown.pause_s, shown.edits) == ("ours", 2.0, True)
    assert not shown.takes(of_kind("resolve"))
    shown.close()
    assert kept.closed == 1


def test_a_destination_that_is_not_there_and_a_kind_that_cannot_be_put_back_are_named() -> None:
    hook = WebhookConfig(name="hook", url="http://127.0.0.1:9/")

    with pytest.raises(ConfigError, match=r"notify\.reveal: 'other': there is no destination of that name"):
        NotifyConfig(destinations=[hook], reveal={"other": ["ip"]}).check(EgressConfig())
    with pytest.raises(msgspec.ValidationError, match="secret"):
        msgspec.convert({"reveal": {"hook": ["secret"]}}, NotifyConfig)
