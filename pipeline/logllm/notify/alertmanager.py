"""The `alertmanager` destination: incidents as alerts of Prometheus Alertmanager, by its API v2.

What Alertmanager does with an alert, and what follows from it here:

* It knows an alert by its labels, so an incident's labels are the same in all that is told of it. The owner is no label
  but an annotation, since a digest of several teams names none: route by `service`. Only `severity` may change, and
  must be a label, since everybody routes by it. An incident that grows graver is told as Prometheus would with two
  rules: the alert of the new severity begins and the former one ends, in one request.
* It ends an alert at `endsAt` unless it is sent again. Prometheus does so every minute; a destination sends only when
  there is something to tell. So an open alert's end lies `open_for_s` ahead, a day by default, far beyond the
  reminders that send it again, and Alertmanager's `resolve_timeout`, which is for alerts without an end, plays no part.
* It keeps alerts in memory: after a restart it knows an incident again with the next thing told of it, at the latest
  the reminder. A route to it with a `repeat_interval` of some minutes makes that short, and disturbs nobody: whom it
  tells again, and when, Alertmanager decides.
* Everything in `annotations` may change with each sending: explanations, answers and evidence are there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from logllm.egress import masked
from logllm.errors import ConfigError
from logllm.events import rfc3339
from logllm.notify.post import client_for, post
from logllm.notify.text import ANSWERED, ENDED, VERBS, counted, headline, is_of_many, line, percent, plain, summary
from logllm.wire.secret import secret, visible

if TYPE_CHECKING:
    from logllm.egress import Recorder, Sent
    from logllm.events import IncidentEvent
    from logllm.notify.destination import Links
    from logllm.notify.notification import Notification
    from logllm.wire.http import HttpClient

__all__ = ["Alert", "Alertmanager", "AlertmanagerConfig"]

_PATH = "/api/v2/alerts"
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN = ("alertname", "service", "severity", "incident", "fingerprint")
_SEVERITIES = ("info", "warning", "critical")
_LABEL_CHARS = 200
_TEXT_CHARS = 1_000
_EVIDENCE = 5
_COUNTS = 12
_NS = 1_000_000_000
_TEST_S = 300.0
_MANY_S = 3_600.0


class Alert(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One alert, as `POST /api/v2/alerts` takes it in a list. Times are RFC 3339."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    ends_at: str
    generator_url: str = msgspec.field(default="", name="generatorURL")


class AlertmanagerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="alertmanager"):
    """An Alertmanager. Of a cluster each member is a destination of its own, as Prometheus sends to each.

    Args:
        name: As routes call it.
        url: `http://HOST:9093`, with its path prefix where it has one; a user and password in it are sent. Instead
            of it `url_file` or `url_env`.
        url_file: A file with the address.
        url_env: The environment variable with the address.
        labels: Further labels of every alert, like `cluster = "eu-1"`.
        open_for_s: How far ahead the end of an open alert lies.
        deadline_s: For a whole request.
        ca: A PEM file of authorities to trust in place of the system's.
        proxy: `http://HOST:PORT` of a proxy.
    """

    name: str
    url: str = ""
    url_file: str = ""
    url_env: str = ""
    labels: dict[str, str] = {}
    open_for_s: Annotated[float, msgspec.Meta(ge=300, le=30 * 86_400)] = 86_400.0
    deadline_s: Annotated[float, msgspec.Meta(gt=0, le=120)] = 10.0
    ca: str = ""
    proxy: str = ""

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Without what may be secret."""
        return visible(self, "url", "proxy")

    def __repr__(self) -> str:
        return f"AlertmanagerConfig({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def check(self) -> None:
        """Raises ConfigError for what waiting cannot mend."""
        self._client()
        for label, value in self.labels.items():
            if not _LABEL.fullmatch(label) or label.startswith("__") or label in _OWN:
                raise ConfigError(
                    f"{self._where}: labels: {line(label, 60)!r}: expected letters, digits and _, "
                    f"and none of {', '.join(_OWN)}"
                )
            if not value or line(value, _LABEL_CHARS) != value:
                raise ConfigError(f"{self._where}: labels: {label}: expected one printable line of 1 to 200 characters")

    def address(self) -> str:
        """Scheme and host of where it goes. Raises ConfigError."""
        return masked(self._url())

    def build(self, links: Links, record: Recorder | None = None) -> Alertmanager:
        """The destination. Raises ConfigError."""
        sent = None if record is None else record("alertmanager", self.name)
        self.check()
        return Alertmanager(
            self.name, self._client(sent), links, labels=self.labels, open_for_s=self.open_for_s, url=self._url()
        )

    @property
    def _where(self) -> str:
        return f"destination {self.name!r}"

    def _url(self) -> str:
        return secret(self._where, "url", self.url, self.url_file, self.url_env)

    def _client(self, sent: Sent | None = None) -> HttpClient:
        base = self._url().rstrip("/")
        url = base if base.endswith(_PATH) else base + _PATH
        return client_for(self._where, url, deadline_s=self.deadline_s, ca=self.ca, proxy=self.proxy, sent=sent)


class Alertmanager:
    """A destination; see `Destination`, and this module for what becomes of an incident.

    Args:
        client: To `/api/v2/alerts`.
        labels: Of every alert.
        open_for_s: How far ahead the end of an open alert lies, seconds.
        url: The address, which its words are not shown with.
        clock: Seconds since the epoch.
    """

    pause_s = 0.0
    edits = True

    def __init__(
        self,
        name: str,
        client: HttpClient,
        links: Links,
        *,
        labels: dict[str, str] | None = None,
        open_for_s: float = 86_400.0,
        url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._client = client
        self._links = links
        self._labels = {"job": "logllm", **(labels or {})}
        self._open_for_ns = int(open_for_s * _NS)
        self._url = url
        self._clock = clock

    def __repr__(self) -> str:
        return f"Alertmanager({self.name!r}, {self._client.shown!r})"

    def takes(self, notification: Notification) -> bool:
        """Everything."""
        return True

    def send(self, notification: Notification, ref: str) -> str:
        """Post its incidents as alerts; all of a digest's in one request.

        Returns:
            The severities they are told with, by which a later message knows what to end.

        Raises:
            NotifyError: Not taken. Alertmanager answers 400 where one of them is invalid, and has taken the others.
        """
        now_s = self._clock()
        now_ns = int(now_s * _NS)
        told = _severities(ref)
        alerts = [
            alert
            for incident in notification.incidents
            for alert in self._alerts(incident, notification, told.get(incident.id, ""), now_ns)
        ]
        if len(notification.incidents) < notification.total or not alerts:
            alerts.append(self._of_many(notification, now_ns))
        post(self._client, msgspec.json.encode(alerts), {}, now_s, name=self.name, secrets=(self._url,))
        severities = {incident.id: incident.severity for incident in notification.incidents}
        return msgspec.json.encode(severities).decode()

    def close(self) -> None:
        """Nothing is held between messages."""

    def _alerts(self, incident: IncidentEvent, notification: Notification, told: str, now_ns: int) -> list[Alert]:
        annotations = self._annotations(incident, notification)
        started = min(_time_ns(incident.started) or _time_ns(incident.time) or now_ns, now_ns)
        if incident.event == "resolve":
            # An end that lies ahead, by its clock or by the log's, would keep it open.
            ends = max(started, min(_time_ns(incident.ended) or now_ns, now_ns))
        else:
            ends = now_ns + (int(_TEST_S * _NS) if notification.kind == "test" else self._open_for_ns)
        generator = self._links.url(incident.id, VERBS[0])
        alerts = []
        for severity in _former(incident, told):
            labels = self._of(incident, severity)
            said = {"summary": annotations["summary"]}
            alerts.append(Alert(labels, said, rfc3339(started), rfc3339(now_ns), generator))
        labels = self._of(incident, incident.severity)
        alerts.append(Alert(labels, annotations, rfc3339(started), rfc3339(ends), generator))
        return alerts

    def _of(self, incident: IncidentEvent, severity: str) -> dict[str, str]:
        labels = {
            **self._labels,
            "alertname": plain(incident.kinds[0] if incident.kinds else "", _LABEL_CHARS) or "incident",
            "service": incident.service,
            "severity": severity,
            "incident": incident.id,
            "fingerprint": incident.fingerprint,
        }
        # Matchers read them, and templates print them. An empty label is none to Alertmanager.
        return _filled({name: plain(value, _LABEL_CHARS) for name, value in labels.items()})

    def _annotations(self, incident: IncidentEvent, notification: Notification) -> dict[str, str]:
        one = not is_of_many(notification)
        found = {
            # Of a title nothing may be left that can be seen.
            "summary": plain(headline(incident), 200) or plain(incident.id, 200),
            "description": "\n".join(plain(fact, 300) for fact in (incident.facts or [incident.title])[:_EVIDENCE]),
            "expected": plain(incident.expected, _TEXT_CHARS),
            "seen": plain(incident.seen, _TEXT_CHARS),
            "evidence": "\n".join(
                f"{plain(each.id, 10)} {plain(each.time, 40)} {plain(each.text, 300)}"
                for each in incident.evidence[:_EVIDENCE]
            ),
            "runbook": plain(incident.runbook or "", 200),
            "owner": plain(notification.owner, 200),
            "route": plain(notification.route, 200),
        }
        if one and notification.runbook is not None:
            steps = [*notification.runbook.checks, *notification.runbook.steps][:_EVIDENCE]
            found["runbook"] = plain(f"{notification.runbook.title} ({notification.runbook.id})", 200)
            found["steps"] = _numbered(steps)
        explanation = notification.explanation
        if one and explanation is not None and explanation.status == "ok" and explanation.cause:
            found["cause"] = f"{plain(explanation.cause, _TEXT_CHARS)} ({percent(explanation)})"
            found["steps"] = _numbered(explanation.steps[:_EVIDENCE]) or found.get("steps", "")
        answer = notification.answer
        if answer is not None and answer.incident == incident.id:
            found["answer"] = f"{ANSWERED[answer.verdict]} by {plain(answer.who, 100)} at {plain(answer.time, 40)}"
        for verb in VERBS:
            found[f"link_{verb}"] = self._links.url(incident.id, verb)
        return {name: text for name, text in found.items() if text}

    def _of_many(self, notification: Notification, now_ns: int) -> Alert:
        """For what has no alert of its own: the incidents of a digest beyond those it names, a test without any.

        It ends by itself where no further digest of its thread prolongs it: what resolves singly does not name it.
        """
        over = bool(notification.counts) and all(count.event in ENDED for count in notification.counts)
        labels = {
            **self._labels,
            "alertname": notification.kind,
            "severity": notification.severity,
            "incident": plain(notification.thread, _LABEL_CHARS),
        }
        counts = [counted(count) for count in notification.counts[:_COUNTS]]
        found = {"summary": summary(notification), "description": "\n".join(counts)}
        found["message"] = plain(notification.id, 40)
        ends = now_ns if over else now_ns + int((_TEST_S if notification.kind == "test" else _MANY_S) * _NS)
        return Alert(_filled(labels), _filled(found), rfc3339(now_ns), rfc3339(ends))


def _former(incident: IncidentEvent, told: str) -> list[str]:
    """Severities of alerts that may be open of this incident, and are no longer its own.

    Args:
        told: Its severity when it was first told; empty where this destination has no note of it, as after a digest.
            Then an end, which is the last chance, ends all below it: Alertmanager tells nobody of an end of what it
            does not know.
    """
    if told not in _SEVERITIES:
        if incident.event != "resolve":
            return []
        told = _SEVERITIES[0]
    low, high = sorted((_SEVERITIES.index(told), _SEVERITIES.index(incident.severity)))
    return [severity for severity in _SEVERITIES[low : high + 1] if severity != incident.severity]


def _severities(ref: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(ref, type=dict[str, str]) if ref else {}
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return {}


def _filled(texts: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def _numbered(steps: list[str]) -> str:
    return "\n".join(f"{number}. {plain(step, 300)}" for number, step in enumerate(steps, 1))


def _time_ns(text: str | None) -> int | None:
    """The instant that RFC 3339 names, None where it names none that Alertmanager could read."""
    try:
        when = datetime.fromisoformat(text or "")
        if when.tzinfo is None:
            return None
        seconds = int(when.astimezone(UTC).timestamp())
    except (ValueError, OverflowError, OSError):
        return None
    return seconds * _NS + when.microsecond * 1_000 if seconds > 0 else None
