"""Slack destinations that talk to a fake one on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from logllm.notify.destination import Destination
from logllm.notify.slack import SlackConfig
from tests.notify.fake_http import Arrived, FakeHttp, Reply
from tests.notify.slack.samples import LINKS, MENTION, Addresses

__all__ = ["REF", "TOKEN", "bot", "posted", "refusal", "sent", "slack", "webhook"]

TOKEN = "xoxb-1-not-a-token"
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
REF = "C0123ABCD:1715683320.000100"


def slack(*script: Reply) -> FakeHttp:
    """Slack's webhooks and its Web API; each new message gets the next time stamp."""
    return FakeHttp(*script, otherwise=posted)


def posted(request: Arrived) -> Reply:
    """What Slack says when all is well."""
    if not request.path.startswith("/api/"):
        return Reply()
    ts = request.json().get("ts", f"1715683320.{request.number + 1:04}00")
    return Reply(body=json.dumps({"ok": True, "channel": "C0123ABCD", "ts": ts}).encode())


def refusal(code: str, status: int = 200, **headers: str) -> Reply:
    """The Web API's no."""
    body = json.dumps({"ok": False, "error": code}).encode()
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()}, takes=False)


def webhook(fake: FakeHttp, *, links: Addresses = LINKS, **settings: Any) -> Destination:
    config = SlackConfig(url=f"{fake.url}services/T0/B0/s3cret", mention=MENTION, **settings)
    return config.build(links)


def bot(fake: FakeHttp, folder: Path, *, links: Addresses = LINKS, **settings: Any) -> Destination:
    """With a signing secret, so with buttons that come back."""
    (folder / "token").write_text(TOKEN + "\n", encoding="ascii")
    (folder / "secret").write_text(SECRET + "\n", encoding="ascii")
    given = {"signing_secret_file": str(folder / "secret"), "mention": MENTION, "deadline_s": 10.0, **settings}
    config = SlackConfig(token_file=str(folder / "token"), channel="C0123ABCD", api_url=f"{fake.url}api/", **given)
    return config.build(links)


def sent(fake: FakeHttp) -> list[dict[str, Any]]:
    """Paths and bodies of what came, in order."""
    return [{"path": one.path, "body": one.json()} for one in fake.requests]
