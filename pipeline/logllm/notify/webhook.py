"""The `webhook` destination: each notification as JSON, posted and signed. docs/webhook.md has the format.

Signed as the Standard Webhooks specification 1.0 says (https://www.standardwebhooks.com), so that its libraries verify
it too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from logllm.egress import masked
from logllm.errors import ConfigError
from logllm.events import Explanation, IncidentEvent
from logllm.notify.notification import Answer, Count, Kind, RunbookNote
from logllm.notify.post import client_for, fitted, post
from logllm.notify.text import VERBS
from logllm.wire.secret import header_lines, secret, visible

if TYPE_CHECKING:
    from logllm.egress import Recorder, Sent
    from logllm.notify.destination import Links
    from logllm.notify.notification import Notification
    from logllm.wire.http import HttpClient

__all__ = ["MOST_BYTES", "Link", "Message", "Webhook", "WebhookConfig", "signature", "verify"]

MOST_BYTES = 262_144
"""No body is longer."""

_TOLERANCE_S = 300.0
_KEY_BYTES = range(24, 65)
_OURS = frozenset((
    "host", "connection", "content-length", "content-type", "transfer-encoding", "expect", "upgrade", "user-agent",
))  # fmt: skip
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")


class Link(msgspec.Struct, frozen=True):
    """Where a person says `verb` of an incident. It is signed: who has it may answer."""

    incident: str
    verb: str
    url: str


class Message(msgspec.Struct, frozen=True):
    """The body. Text of logs in it is masked, and otherwise as it was logged: hostile, to be shown as text only.

    `incidents` and `explanation` are as `--json` prints them, and the other fields as in `Notification`. `cut`: texts
    or lists were shortened to keep the body within 256 KiB.
    """

    version: Literal["1"]
    id: str
    kind: Kind
    thread: str
    severity: Literal["info", "warning", "critical"]
    service: str
    owner: str
    route: str
    step: int
    total: int
    counts: list[Count]
    incidents: list[IncidentEvent]
    explanation: Explanation | None
    runbook: RunbookNote | None
    answer: Answer | None
    links: list[Link]
    cut: bool = False


class WebhookConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="webhook"):
    """A receiver of JSON over HTTP.

    Args:
        name: As routes call it.
        url: Where to post. Instead of it `url_file` or `url_env`, where the address itself is a secret.
        url_file: A file with the address.
        url_env: The environment variable with the address.
        secret: To sign with: `whsec_` and 24 to 64 bytes in base64. Several, with spaces between, all sign, so that
            the secret can be changed without a gap. Instead of it `secret_file` or `secret_env`. Without any, nothing
            is signed, and the receiver cannot know that it is us.
        headers: To send along; what is secret belongs in `headers_file`.
        headers_file: A file of `Name: value` lines.
        deadline_s: For a whole request.
        pause_s: The least time between two messages.
        ca: A PEM file of authorities to trust in place of the system's.
        proxy: `http://HOST:PORT` of a proxy.
    """

    name: str
    url: str = ""
    url_file: str = ""
    url_env: str = ""
    secret: str = ""
    secret_file: str = ""
    secret_env: str = ""
    headers: dict[str, str] = {}
    headers_file: str = ""
    deadline_s: Annotated[float, msgspec.Meta(gt=0, le=120)] = 15.0
    pause_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    ca: str = ""
    proxy: str = ""

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Without what may be secret."""
        return visible(self, "url", "secret", "headers", "proxy")

    def __repr__(self) -> str:
        return f"WebhookConfig({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def check(self) -> None:
        """Raises ConfigError for what waiting cannot mend."""
        self._client()
        self._keys()
        self._headers()

    def address(self) -> str:
        """Scheme and host of where it goes. Raises ConfigError."""
        return masked(self._url())

    def build(self, links: Links, record: Recorder | None = None) -> Webhook:
        """The destination. Raises ConfigError."""
        sent = None if record is None else record("webhook", self.name)
        return Webhook(self.name, self._client(sent), links, self._keys(), self._headers(), self._url(), self.pause_s)

    @property
    def _where(self) -> str:
        return f"destination {self.name!r}"

    def _url(self) -> str:
        return secret(self._where, "url", self.url, self.url_file, self.url_env)

    def _client(self, sent: Sent | None = None) -> HttpClient:
        return client_for(self._where, self._url(), deadline_s=self.deadline_s, ca=self.ca, proxy=self.proxy, sent=sent)

    def _keys(self) -> tuple[str, ...]:
        given = secret(self._where, "secret", self.secret, self.secret_file, self.secret_env, needed=False)
        for one in given.split():
            _key(one, f"{self._where}: secret")
        return tuple(given.split())

    def _headers(self) -> dict[str, str]:
        where = f"{self._where}: headers"
        found = dict(self.headers)
        if self.headers_file:
            text = secret(self._where, "headers", "", self.headers_file)
            found |= header_lines(f"{self._where}: headers_file", text)
        for name, value in found.items():
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ConfigError(f"{where}: a name or a value that HTTP cannot carry, expected plain ASCII")
            if name.lower() in _OURS or name.lower().startswith("webhook-"):
                raise ConfigError(f"{where}: {name} is set by logllm, expected another one")
        return found


class Webhook:
    """A destination; see `Destination`.

    Args:
        client: To its address.
        keys: Each signs.
        headers: Sent along.
        url: The address, which a receiver's words are not shown with.
        clock: Seconds since the epoch, of the sending.
    """

    edits = False

    def __init__(
        self,
        name: str,
        client: HttpClient,
        links: Links,
        keys: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        url: str = "",
        pause_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.pause_s = pause_s
        self._client = client
        self._links = links
        self._keys = keys
        self._headers = dict(headers or {})
        self._secrets = (url, *keys, *self._headers.values())
        self._clock = clock

    def __repr__(self) -> str:
        return f"Webhook({self.name!r}, {self._client.shown!r})"

    def takes(self, notification: Notification) -> bool:
        """Everything: what to do with it is for the receiver to say."""
        return True

    def send(self, notification: Notification, ref: str) -> str:
        """Post it. The receiver knows a repeated one by its `webhook-id`. Raises NotifyError."""
        now_s = self._clock()
        body, _ = fitted(self._message(notification), MOST_BYTES)
        headers = {**self._headers, "webhook-id": notification.id, "webhook-timestamp": str(int(now_s))}
        if self._keys:
            signed = (signature(key, notification.id, int(now_s), body) for key in self._keys)
            headers["webhook-signature"] = " ".join(signed)
        post(self._client, body, headers, now_s, name=self.name, secrets=self._secrets)
        return ""

    def close(self) -> None:
        """Nothing is held between messages."""

    def _message(self, notification: Notification) -> Message:
        links = [
            Link(incident.id, verb, url)
            for incident in notification.incidents
            for verb in VERBS
            if (url := self._links.url(incident.id, verb))
        ]
        return Message(
            version="1",
            id=notification.id,
            kind=notification.kind,
            thread=notification.thread,
            severity=notification.severity,
            service=notification.incidents[0].service if notification.incidents else "",
            owner=notification.owner,
            route=notification.route,
            step=notification.step,
            total=notification.total,
            counts=notification.counts,
            incidents=notification.incidents,
            explanation=notification.explanation,
            runbook=notification.runbook,
            answer=notification.answer,
            links=links,
        )


def signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """What `webhook-signature` holds for one secret.

    >>> signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='

    Raises:
        ConfigError: The secret is none; the message does not show it.
    """  # noqa: E501 - the specification's example is as long as that
    signed = f"{message_id}.{timestamp_s}.".encode(errors="replace") + body
    digest = hmac.digest(_key(secret, "secret"), signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def verify(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> bool:
    """Whether a request is ours, whole, and at most five minutes old: for receivers written in Python.

    A message may come twice; `webhook-id` is then the same.

    Args:
        secret: The shared one, `whsec_...`.
        headers: Of the request; names in any case.
        body: As it came, before it is parsed.
        now_s: Unix time.

    Raises:
        ConfigError: The secret is none.
    """
    found = {name.lower(): value for name, value in headers.items()}
    timestamp = found.get("webhook-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 15:
        return False
    if abs(now_s - int(timestamp)) > _TOLERANCE_S:
        return False
    expected = signature(secret, found.get("webhook-id", ""), int(timestamp), body).encode()
    offered = found.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected, one.encode(errors="replace")) for one in offered)


def _key(given: str, where: str) -> bytes:
    try:
        key = base64.b64decode(given.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not given.startswith("whsec_") or len(key) not in _KEY_BYTES:
        raise ConfigError(f"{where}: expected whsec_ and 24 to 64 random bytes in base64")
    return key
