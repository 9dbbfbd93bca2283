"""The outbox and its couriers in a process that can be killed: alerts come in by standard input.

`python kill_child.py DATABASE URL DESTINATION...` reads numbers, one a line; puts alert `N` for each destination, says
`put N` when they are kept, and `ready` once at the start. It ends when standard input does and nothing waits any more.
`slack` is Slack's webhook, `bot` its Web API, any other name the least destination there can be.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import msgspec

from logllm.database import Database
from logllm.errors import NotifyError
from logllm.events import IncidentEvent
from logllm.notify.destination import Destination
from logllm.notify.notification import Notification, notification_id
from logllm.notify.outbox.backoff import Backoff
from logllm.notify.outbox.courier import Courier
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox
from logllm.notify.slack import SlackConfig
from logllm.wire.http import HttpClient, retry_after_s

__all__ = ["NoLinks", "Posting", "alert"]


def alert(destination: str, number: int) -> Notification:
    """The alert of a number; its thread tells the number."""
    incident = IncidentEvent(
        id=str(number),
        event="open",
        time="2026-02-02T10:00:00Z",
        severity="critical",
        service="payments",
        kinds=["rate"],
        title="errors rose",
        expected="0 a minute",
        seen="312 a minute",
        template="connection refused to <host>",
        count=312,
        runbook=None,
        evidence=[],
    )
    return Notification(
        id=notification_id(destination, incident.id, "open"), kind="open", thread=incident.id, incidents=[incident]
    )


class NoLinks:
    """For messages without buttons."""

    def url(self, incident: str, verb: str) -> str:
        return ""


class Posting:
    """The least destination there can be: id, thread and reference as JSON; the answer's body is the reference."""

    def __init__(
        self, name: str, url: str, *, pause_s: float = 0.0, edits: bool = False, deadline_s: float = 5.0
    ) -> None:
        self.name = name
        self.pause_s = pause_s
        self.edits = edits
        self.closed = 0
        self._http = HttpClient(url + name, deadline_s=deadline_s)

    def takes(self, notification: Notification) -> bool:
        return notification.kind != "reminder"

    def send(self, notification: Notification, ref: str) -> str:
        body = msgspec.json.encode(
            {"id": notification.id, "thread": notification.thread, "kind": notification.kind, "ref": ref}
        )
        answer = self._http.request(body, {"Content-Type": "application/json"})
        if answer.status // 100 == 2:
            return answer.body[:20].decode(errors="replace")
        if answer.status == 429:
            after_s = retry_after_s(answer.headers, time.time())
            raise NotifyError("it asks for a pause", kind="rate_limited", retry_after_s=after_s)
        if answer.status in (400, 404, 410):
            raise NotifyError(f"{answer.status}: {answer.said}", kind="invalid", final=True)
        raise NotifyError(f"{answer.status}: {answer.said}", kind="server")

    def close(self) -> None:
        self.closed += 1


def _built(name: str, url: str) -> Destination:
    found: Destination = Posting(name, url)
    if name in ("slack", "bot"):
        os.environ["BOT_TOKEN"] = "xoxb-1-not-a-token"
        by: dict[str, str] = (
            {"url": f"{url}slack"}
            if name == "slack"
            else {"token_env": "BOT_TOKEN", "channel": "C0123ABCD", "api_url": f"{url}bot/"}
        )
        found = SlackConfig(name=name, deadline_s=5.0, **by).build(NoLinks())
        found.pause_s = 0.0
    return found


def _main(path: str, url: str, *names: str) -> None:
    database = Database(Path(path), OUTBOX_SCHEMA)
    outbox = Outbox(database)
    couriers = [Courier(_built(name, url), outbox, backoff=Backoff(first_s=0.01, longest_s=0.05)) for name in names]
    for courier in couriers:
        courier.start()
    print("ready", flush=True)
    for line in sys.stdin:
        with database.transaction():
            for name in names:
                outbox.put(name, alert(name, int(line)), now_s=time.time(), covers=[(line.strip(), "open")])
        for courier in couriers:
            courier.wake()
        print("put", line.strip(), flush=True)
    end = time.monotonic() + 20.0
    while any(outbox.waiting(name)[0] for name in names) and time.monotonic() < end:
        time.sleep(0.01)
    for courier in couriers:
        courier.close(5.0)
    print(json.dumps([[*which, count] for which, count in outbox.counts().items()]), flush=True)
    database.close()


if __name__ == "__main__":
    _main(*sys.argv[1:])
