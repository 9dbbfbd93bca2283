"""Notifications with any text in any field, and what takes them to a receiver that only remembers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import msgspec

from logllm.notify.notification import Notification
from logllm.wire.http import HttpAnswer
from tests.fuzz.inputs import Choices
from tests.notify.slack.samples import EVERY_KIND, notification
from tests.notify.slack.test_slack_hostile import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logllm.wire.http import HttpClient

__all__ = ["MAX_BYTES", "Addresses", "Client", "seeds", "told", "words_of"]

MAX_BYTES = 900

_BETWEEN = b"\xff"
# Decided by code, from a few words; what else is a text may be any.
_OURS = frozenset(("type", "kind", "event", "severity", "verdict", "status"))
_IDS = frozenset(("id", "thread", "incident", "request"))
_NUMBERS = (0, 1, 312, 1 << 53, (1 << 63) - 1)
_EVENTS = ("open", "update", "resolve")
_SEVERITIES = ("info", "warning", "critical")
_STATES = ("ok", "insufficient", "failed")
_LENGTHS = (0, 1, 2, 3, 4, 6, 8, 40)


class Addresses:
    """Signed links, as far as a destination can see: no text of an incident's gets out of them."""

    def url(self, incident: str, verb: str) -> str:
        return f"https://logllm.example/answer?token={quote(incident, safe='', errors='replace')[:80]}.{verb}"


class Client:
    """Takes whatever is sent."""

    shown = "https://receiver.example/..."

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []

    def request(self, body: bytes, headers: Mapping[str, str], **_: object) -> HttpAnswer:
        self.bodies.append(body)
        self.headers.append(headers)
        return HttpAnswer(200, {}, b"ok")

    @classmethod
    def made(cls) -> tuple[Client, HttpClient]:
        """One, also as what a destination takes it for."""
        client = cls()
        return client, cast("HttpClient", client)


def words_of(data: bytes) -> list[str]:
    """The texts in an input; what is no UTF-8 gives halves of surrogate pairs."""
    return [word.decode("utf-8", "surrogateescape") for word in data.split(_BETWEEN)]


def told(data: bytes) -> Notification:
    """A notification of some kind, whose texts are those in the input, in turn."""
    choices = Choices(data)
    raw: Any = msgspec.to_builtins(notification(choices.one_of(EVERY_KIND)))
    fill = _Fill(choices)
    for incident in raw["incidents"]:
        incident["event"], incident["severity"] = choices.one_of(_EVENTS), choices.one_of(_SEVERITIES)
        incident["count"] = choices.one_of(_NUMBERS)
        if len(raw["incidents"]) > 1:
            break
    if raw["explanation"] is not None:
        raw["explanation"]["status"] = choices.one_of(_STATES)
    raw["raised"] = choices.below(2) == 1
    fill.use(words_of(choices.rest()))
    return msgspec.convert(fill.value(raw), Notification)


class _Fill:
    """Puts words where texts are."""

    def __init__(self, choices: Choices) -> None:
        self._words: list[str] = []
        self._every = choices.below(5) + 1
        self._first = choices.below(8)
        self._length = choices.one_of(_LENGTHS)
        self._repeat = choices.one_of((1, 1, 1, 1, 1, 1, 2, 300))
        self._ids = choices.below(2) == 1
        self._number = 0

    def use(self, words: list[str]) -> None:
        """What texts become."""
        self._words = [word * self._repeat for word in words]

    def value(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self.value(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            if name == "series":
                return [_NUMBERS[number % len(_NUMBERS)] for number in range(self._length * 40)]
            many = (value * self._length)[: self._length] if name != "incidents" and self._length else value
            return [self.value(inner, name) for inner in many]
        if not isinstance(value, str) or name in _OURS or (name in _IDS and not self._ids):
            return value
        self._number += 1
        if self._number < self._first or self._number % self._every:
            return value
        word = self._words[self._number % len(self._words)]
        # Ids are made by code: never empty, and always UTF-8.
        return f"id{word.encode(errors='replace').decode()}" if name in _IDS else word


def seeds() -> list[bytes]:
    """Every kind, with what is hostile in every field, and in some."""
    made = []
    for number, text in enumerate(HOSTILE.values()):
        word = text.encode("utf-8", "surrogatepass")[:300]
        for kind in range(number % 2, len(EVERY_KIND), 2):
            made.append(bytes([kind, number % 5, 0, number % 4, number % 3, kind % 2, 0, 2, 1, 0, number % 2]) + word)
    both = _BETWEEN.join(text.encode("utf-8", "surrogatepass")[:80] for text in HOSTILE.values())[:800]
    made += [bytes([kind, 0, 0, 2, 3, 1, event, 1, 4, 0, 1]) + both for kind in range(9) for event in range(3)]
    return made
