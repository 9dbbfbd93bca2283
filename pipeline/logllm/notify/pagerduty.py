"""The `pagerduty` destination: incidents as alerts of PagerDuty, by its Events API v2.

An alert there is known by its `dedup_key`: the incident's id. What is told of it later joins the alert and calls nobody
again while it is open. A digest is one alert of its own, known by its thread, so that a storm calls once; a digest of
the same thread that tells of nothing but ends resolves it. A person's `acknowledge` acknowledges, `expected` and
`noise` resolve. An incident that somebody has resolved over there is opened anew by its next update or reminder.

Not told: an explanation that comes when the incident is over, since that would open it anew; `real`, for which there is
no word; a reminder of a whole group, since PagerDuty reminds of what is open by itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from logllm.egress import masked
from logllm.errors import ConfigError
from logllm.notify.post import client_for, post
from logllm.notify.text import (
    ANSWERED,
    ENDED,
    VERBS,
    counted,
    headline,
    is_of_many,
    line,
    percent,
    plain,
    since,
    summary,
)
from logllm.wire.secret import secret, visible

if TYPE_CHECKING:
    from logllm.egress import Recorder, Sent
    from logllm.events import IncidentEvent
    from logllm.notify.destination import Links
    from logllm.notify.notification import Notification
    from logllm.wire.http import HttpClient

__all__ = ["Event", "PagerDuty", "PagerDutyConfig"]

Action = Literal["trigger", "acknowledge", "resolve"]

_KEY = re.compile(r"[0-9A-Za-z]{32}")
_DEDUP_CHARS = 255
_TEXT_CHARS = 1_000
_LINES = 20
_ANSWERS: dict[str, Action] = {"acknowledge": "acknowledge", "expected": "resolve", "noise": "resolve"}


class _Link(msgspec.Struct, frozen=True):
    href: str
    text: str


class _Details(msgspec.Struct, frozen=True, omit_defaults=True):
    seen: str = ""
    expected: str = ""
    since: str = ""
    records: int = 0
    cause: str = ""
    steps: list[str] = []
    evidence: list[str] = []
    facts: list[str] = []
    runbook: str = ""
    answer: str = ""
    counts: list[str] = []
    incidents: list[str] = []
    total: int = 1
    owner: str = ""
    route: str = ""
    step: int = 0
    fingerprint: str = ""
    message: str = ""


class _Payload(msgspec.Struct, frozen=True, omit_defaults=True):
    summary: str
    source: str
    severity: Literal["critical", "error", "warning", "info"]
    timestamp: str = ""
    component: str = ""
    group: str = ""
    class_: str = msgspec.field(default="", name="class")
    custom_details: _Details = _Details()


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `POST /v2/enqueue` takes; `payload` is for a trigger alone."""

    routing_key: str
    event_action: Action
    dedup_key: str
    payload: _Payload | None = None
    links: list[_Link] = []
    client: str = ""

    def __repr__(self) -> str:
        return f"Event({self.event_action!r}, {self.dedup_key!r})"


class PagerDutyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="pagerduty"):
    """An integration of PagerDuty, of the kind "Events API v2".

    Args:
        name: As routes call it.
        routing_key: Its integration key. Instead of it `routing_key_file` or `routing_key_env`.
        routing_key_file: A file with the key.
        routing_key_env: The environment variable with the key.
        url: Accounts in Europe need https://events.eu.pagerduty.com/v2/enqueue.
        deadline_s: For a whole request.
        pause_s: The least time between two messages.
        ca: A PEM file of authorities to trust in place of the system's.
        proxy: `http://HOST:PORT` of a proxy.
    """

    name: str
    routing_key: str = ""
    routing_key_file: str = ""
    routing_key_env: str = ""
    url: str = "https://events.pagerduty.com/v2/enqueue"
    deadline_s: Annotated[float, msgspec.Meta(gt=0, le=120)] = 10.0
    pause_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.5
    ca: str = ""
    proxy: str = ""

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Without what may be secret."""
        return visible(self, "routing_key", "url", "proxy")

    def __repr__(self) -> str:
        return f"PagerDutyConfig({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def check(self) -> None:
        """Raises ConfigError for what waiting cannot mend."""
        self._key()
        self._client()

    def address(self) -> str:
        """Scheme and host of where it goes."""
        return masked(self.url)

    def build(self, links: Links, record: Recorder | None = None) -> PagerDuty:
        """The destination. Raises ConfigError."""
        sent = None if record is None else record("pagerduty", self.name, (self._key(),))
        return PagerDuty(self.name, self._client(sent), links, self._key(), self.pause_s)

    @property
    def _where(self) -> str:
        return f"destination {self.name!r}"

    def _key(self) -> str:
        key = secret(self._where, "routing_key", self.routing_key, self.routing_key_file, self.routing_key_env)
        if not _KEY.fullmatch(key):
            raise ConfigError(f"{self._where}: routing_key: expected 32 letters and digits, has {len(key)} characters")
        return key

    def _client(self, sent: Sent | None = None) -> HttpClient:
        return client_for(self._where, self.url, deadline_s=self.deadline_s, ca=self.ca, proxy=self.proxy, sent=sent)


class PagerDuty:
    """A destination; see `Destination`, and this module for what becomes of a notification.

    Args:
        client: To `/v2/enqueue`.
        key: The routing key.
        clock: Seconds since the epoch.
    """

    edits = True

    def __init__(
        self,
        name: str,
        client: HttpClient,
        links: Links,
        key: str,
        pause_s: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.pause_s = pause_s
        self._client = client
        self._links = links
        self._key = key
        self._clock = clock

    def __repr__(self) -> str:
        return f"PagerDuty({self.name!r}, {self._client.shown!r})"

    def takes(self, notification: Notification) -> bool:
        """Whether it has a word for it."""
        return _action(notification) is not None

    def send(self, notification: Notification, ref: str) -> str:
        """Enqueue an event. Returns its `dedup_key`. Raises NotifyError."""
        action = _action(notification)
        dedup_key = _dedup_key(notification)
        if action is None:
            return dedup_key
        event = Event(self._key, action, dedup_key)
        if action == "trigger":
            event = Event(
                self._key, action, dedup_key, _payload(notification), self._linked(notification), client="logllm"
            )
        body = msgspec.json.encode(event)
        post(self._client, body, {}, self._clock(), name=self.name, secrets=(self._key,))
        return dedup_key

    def close(self) -> None:
        """Nothing is held between messages."""

    def _linked(self, notification: Notification) -> list[_Link]:
        if is_of_many(notification):
            return []
        found = ((verb, incident) for incident in notification.incidents[:1] for verb in VERBS)
        return [
            _Link(url, verb.capitalize()) for verb, incident in found if (url := self._links.url(incident.id, verb))
        ]


def _action(notification: Notification) -> Action | None:
    over = bool(notification.incidents) and all(one.event == "resolve" for one in notification.incidents)
    match notification.kind:
        case "answer":
            return _ANSWERS.get(notification.answer.verdict) if notification.answer is not None else None
        case "explanation":
            told = notification.explanation is not None and notification.explanation.status == "ok"
            return "trigger" if told and notification.incidents and not over else None
        case "reminder" if is_of_many(notification):
            return None
        case "resolve":
            return "resolve"
    if notification.counts:
        over = all(count.event in ENDED for count in notification.counts)
    return "resolve" if over else "trigger"


def _dedup_key(notification: Notification) -> str:
    if notification.kind == "answer" and notification.answer is not None:
        key = notification.answer.incident
    elif is_of_many(notification) or not notification.incidents:
        key = notification.thread
    else:
        key = notification.incidents[0].id
    return line(key, _DEDUP_CHARS)


def _payload(notification: Notification) -> _Payload:
    first = notification.incidents[0] if notification.incidents else None
    one = None if is_of_many(notification) else first
    service = plain(one.service, 200) if one is not None else ""
    return _Payload(
        summary=summary(notification),
        source=service or "logllm",
        severity=notification.severity,
        timestamp=_timestamp(first.time) if first is not None else "",
        component=service,
        group=plain(notification.owner, 200),
        class_=", ".join(plain(kind, 40) for kind in one.kinds[:_LINES]) if one is not None else notification.kind,
        custom_details=_details(notification) if one is None else _details_of(one, notification),
    )


def _details(notification: Notification) -> _Details:
    return _Details(
        counts=[counted(count) for count in notification.counts[:_LINES]],
        incidents=[
            f"{plain(one.id, 40)} {one.severity}, {one.event}: {plain(headline(one), 300)}"
            for one in notification.incidents[:_LINES]
        ],
        total=notification.total,
        owner=plain(notification.owner, 200),
        route=plain(notification.route, 200),
        message=plain(notification.id, 40),
    )


def _details_of(incident: IncidentEvent, notification: Notification) -> _Details:
    book, explanation, answer = notification.runbook, notification.explanation, notification.answer
    known = explanation if explanation is not None and explanation.status == "ok" and explanation.cause else None
    by_hand = [*book.checks, *book.steps] if book is not None else []
    steps = known.steps if known is not None and known.steps else by_hand
    return _Details(
        seen=plain(incident.seen, _TEXT_CHARS),
        expected=plain(incident.expected, _TEXT_CHARS),
        since=since(incident),
        records=incident.count,
        cause=f"{plain(known.cause, _TEXT_CHARS)} ({percent(known)})" if known is not None else "",
        steps=[plain(step, _TEXT_CHARS) for step in steps[:_LINES]],
        evidence=[
            f"{plain(one.id, 10)} {plain(one.time, 40)} {plain(one.text, _TEXT_CHARS)}"
            for one in incident.evidence[:_LINES]
        ],
        facts=[plain(fact, _TEXT_CHARS) for fact in incident.facts[:_LINES]],
        runbook=plain(f"{book.title} ({book.id})", 200) if book is not None else plain(incident.runbook or "", 200),
        answer=f"{ANSWERED[answer.verdict]} by {plain(answer.who, 100)}" if answer is not None else "",
        owner=plain(notification.owner, 200),
        route=plain(notification.route, 200),
        step=notification.step,
        fingerprint=plain(incident.fingerprint, 100),
        message=plain(notification.id, 40),
    )


def _timestamp(time_: str) -> str:
    """Empty where it is none: PagerDuty then takes its own."""
    try:
        return time_ if len(time_) <= 40 and datetime.fromisoformat(time_).tzinfo is not None else ""
    except ValueError:
        return ""
