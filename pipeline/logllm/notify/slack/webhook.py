"""Slack's incoming webhook: messages go out, none can be changed later."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import DeliveryError
from logllm.notify.slack.failures import RefusedError, code_of, failure, from_transport
from logllm.wire.http import retry_after_s

if TYPE_CHECKING:
    from logllm.notify.notification import Notification
    from logllm.notify.slack.blocks import Block
    from logllm.notify.slack.message import Composer
    from logllm.wire.http import HttpClient

__all__ = ["SlackWebhook"]

_HEADERS = {"Content-Type": "application/json; charset=utf-8"}


class _Payload(msgspec.Struct, frozen=True, omit_defaults=True):
    text: str
    unfurl_links: bool
    unfurl_media: bool
    blocks: list[Block] = []


class SlackWebhook:
    """A destination; see `Destination`.

    Args:
        clock: Seconds since the epoch, for a `Retry-After` that is a date.
    """

    pause_s = 1.0  # Slack takes one message a second for a channel
    edits = False

    def __init__(
        self, name: str, client: HttpClient, composer: Composer, clock: Callable[[], float] = time.time
    ) -> None:
        self.name = name
        self._client = client
        self._composer = composer
        self._clock = clock

    def takes(self, notification: Notification) -> bool:
        """Everything."""
        return True

    def send(self, notification: Notification, ref: str) -> str:
        """Post it. A webhook does not say what became of a message, so there is nothing to find it by."""
        message = self._composer.later(notification)
        try:
            self._post(message.text, message.blocks)
        except RefusedError as error:
            if not error.without_blocks:
                raise
            self._post(message.plain, [])
        return ""

    def close(self) -> None:
        """Nothing is held between messages."""

    def _post(self, text: str, blocks: list[Block]) -> None:
        payload = _Payload(text, unfurl_links=False, unfurl_media=False, blocks=blocks)
        try:
            answer = self._client.request(msgspec.json.encode(payload), _HEADERS)
        except DeliveryError as error:
            raise from_transport(error) from None
        if answer.status // 100 == 2 and _taken(answer.body):
            return
        wait_s = retry_after_s(answer.headers, self._clock())
        # What answers 200 and does not say ok is something in between: a proxy, a page to log in.
        code = "unreadable" if answer.status // 100 == 2 else code_of(answer.said)
        raise failure(f"{self.name} ({self._client.shown})", answer.status, code, wait_s)


class _Taken(msgspec.Struct):
    ok: bool = False
    success: bool = False
    result: str = ""


def _taken(body: bytes) -> bool:
    """Slack says `ok`, what speaks its language may say so in JSON."""
    if body.strip().lower() == b"ok":
        return True
    try:
        found = msgspec.json.decode(body, type=_Taken)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return found.ok or found.success or found.result == "success"
