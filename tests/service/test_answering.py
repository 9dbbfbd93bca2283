"""Who may answer for actions by Slack's buttons."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from logllm.egress import EgressConfig
from logllm.errors import ConfigError
from logllm.notify.config import NotifyConfig
from logllm.notify.notification import Answer
from logllm.notify.slack import SlackConfig
from logllm.service.answering import Answering
from tests.notify.slack.test_slack_interactions import NOW_S, SECRET, pressed, signed


class Decided:
    def __init__(self, folder: Path, approvers: list[str]) -> None:
        secret = folder / "signing"
        secret.write_text(SECRET)
        slack = SlackConfig(url="http://127.0.0.1:9/services/x", signing_secret_file=str(secret))
        self.config = NotifyConfig(destinations=[slack], approvers=approvers)
        self.requests: list[tuple[str, str]] = []
        self.answers: list[Answer] = []
        self.answering = Answering(self.config, None, self._take, self._decide, lambda: NOW_S)

    def _take(self, answer: Answer) -> bool:
        self.answers.append(answer)
        return True

    def _decide(self, request: str, verdict: Literal["approve", "reject"], who: str) -> str:
        self.requests.append((request, verdict))
        return f"{request}: {verdict}"

    def press(self, *values: str) -> str:
        body = pressed(*values)
        return self.answering.slack(signed(body), body)


def test_whoever_sees_the_buttons_may_approve_where_nobody_is_named(tmp_path: Path) -> None:
    decided = Decided(tmp_path, [])

    decided.press("approve:act-1")

    assert decided.requests == [("act-1", "approve")]


def test_only_who_is_named_may_approve_or_reject_and_everybody_may_acknowledge(tmp_path: Path) -> None:
    others, named = Decided(tmp_path, ["U0SOMEBODY"]), Decided(tmp_path, ["U0SOMEBODY", "U061F7AUR"])

    said = others.press("approve:act-1", "reject:act-2", "acknowledge:inc-1")
    named.press("approve:act-1")

    assert "may not answer for actions" in said
    assert others.requests == []
    assert [answer.verdict for answer in others.answers] == ["acknowledge"]
    assert named.requests == [("act-1", "approve")]


def test_an_approver_is_named_by_slacks_id() -> None:
    with pytest.raises(ConfigError, match="expected Slack's id of a user"):
        NotifyConfig(approvers=["@somebody"]).check(EgressConfig())
