"""Slack by a bot's token: one message for each incident, changed as news comes, with details in its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from logllm.notify.slack.api import Place
from logllm.notify.slack.failures import ANEW, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from logllm.notify.notification import Notification
    from logllm.notify.slack.api import SlackApi
    from logllm.notify.slack.blocks import Message
    from logllm.notify.slack.message import Composer

__all__ = ["SlackBot"]

_CHANGES = frozenset(("update", "resolve", "explanation", "answer"))
_IN_THREAD = frozenset(("reminder", "escalation", "digest"))


class SlackBot:
    """A destination; see `Destination`. `ref` is `CHANNEL:TS` of the first message of a thread."""

    pause_s = 1.0  # Slack takes one message a second for a channel
    edits = True

    def __init__(self, name: str, channel: str, api: SlackApi, composer: Composer) -> None:
        self.name = name
        self._channel = channel
        self._api = api
        self._composer = composer

    def takes(self, notification: Notification) -> bool:
        """Everything."""
        return True

    def send(self, notification: Notification, ref: str) -> str:
        """Change the message at `ref`, answer in its thread, or post a new one where there is none.

        Both of a change and its words in the thread are sent again where the second failed: a change that is made
        twice is one.
        """
        first = Place.read(ref)
        try:
            if first is not None and notification.kind in _CHANGES:
                return self._change(notification, first)
            if first is not None and notification.kind in _IN_THREAD:
                self._follow(notification, first)
                return ref
        except RefusedError as error:
            if error.code not in ANEW:
                raise
        place = self._post(notification, self._composer.whole(notification))
        return "" if place is None else str(place)

    def close(self) -> None:
        """Nothing is held between messages."""

    def _change(self, notification: Notification, place: Place) -> str:
        message = self._composer.whole(notification)

        def change(arguments: Mapping[str, Any]) -> Place:
            self._api.update(place, arguments)
            return place

        _plainly(change, message, {"metadata": _metadata(notification)})
        reply = self._composer.reply(notification)
        if reply is not None:
            # Nobody is told of an edit: what has become critical is said in the channel too.
            thread: dict[str, Any] = {"thread_ts": place.ts}
            if notification.raised:
                thread["reply_broadcast"] = True
            self._post(notification, reply, thread, place.channel)
        return str(place)

    def _follow(self, notification: Notification, place: Place) -> None:
        """In the thread; also in the channel where somebody should look now."""
        opened = any(count.event == "open" for count in notification.counts)
        loud = notification.kind != "digest" or opened
        thread = {"thread_ts": place.ts, "reply_broadcast": loud}
        self._post(notification, self._composer.later(notification), thread, place.channel)

    def _post(
        self, notification: Notification, message: Message, thread: Mapping[str, Any] | None = None, channel: str = ""
    ) -> Place | None:
        def post(arguments: Mapping[str, Any]) -> Place | None:
            return self._api.post(channel or self._channel, arguments)

        always = {"metadata": _metadata(notification), "unfurl_links": False, "unfurl_media": False, **(thread or {})}
        return _plainly(post, message, always)


def _plainly(
    call: Callable[[Mapping[str, Any]], Place | None], message: Message, always: Mapping[str, Any]
) -> Place | None:
    """With blocks, or where they are refused once more without."""
    try:
        return call({"text": message.text, "blocks": msgspec.to_builtins(message.blocks), **always})
    except RefusedError as error:
        if not error.without_blocks:
            raise
    # An empty list, since a change that names no blocks leaves the old ones.
    plain = {name: value for name, value in always.items() if name != "metadata"}
    return call({"text": message.plain, "blocks": [], **plain})


def _metadata(notification: Notification) -> dict[str, Any]:
    """By which an app that reads the channel knows a message again."""
    payload = {"id": notification.id, "kind": notification.kind, "thread": notification.thread}
    return {"event_type": "logllm_notification", "event_payload": payload}
