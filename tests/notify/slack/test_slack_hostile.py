from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.events import IncidentEvent
from logllm.notify.notification import Kind, Notification
from logllm.notify.slack.blocks import Message
from logllm.notify.slack.buttons import Buttons
from logllm.notify.slack.message import Composer
from tests.notify.slack.block_kit import problems, texts
from tests.notify.slack.mrkdwn import read
from tests.notify.slack.samples import EVERY_KIND, LINKS, MENTION, notification

COMPOSERS = [Composer(Buttons(LINKS, interactive=on), MENTION) for on in (False, True)]

HOSTILE = {
    "channel": "<!channel> <!here> <!everyone>",
    "user": "<@U061F7AUR> <@W012A3CDE|boss> <!subteam^S0123ABCD>",
    "link": "<https://evil.example/x|Click to acknowledge> https://evil.example http://10.0.0.1/a?b=c",
    "mail": "<mailto:a@evil.example|x> a@evil.example @here @channel #general",
    "date": "<!date^1392734382^{date}^https://evil.example|now>",
    "markup": "*bold* _italic_ ~gone~ `code` ```block``` > quote",
    "fences": "``` ` ``` *x* ``` <!channel>",
    "escapes": "&lt;!channel&gt; &amp;lt; &#60;",
    "emoji": ":rotating_light: :skull: 👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 👍🏿",
    "terminal": "\x1b[31m\x1b]0;owned\x07\x9b2J\x00\x08",
    "bidi": "\u202egnp.exe\u202c \u2066\u2067\u2068 \u061c",
    "hidden": "a\u200b\u200c\u200d\u2060\ufeff\u00ad\U000e0041\U000e007f\u3164",
    "lines": "a\r\nb\n\n\n\n\n\n\nc\u2028d\x85e\x0bf",
    "zalgo": "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349a",
    "lone": "\ud83d\ude00\udc00 \uffff\ufffe",
    "blanks": " " * 500 + "\u00a0" * 500 + "\u3000",
    "json": '","blocks":[{"type":"image","image_url":"https://evil.example/p.png"}]}',
    "rtl": "שלום " * 20 + "مرحبا",
}


def messages(told: Notification) -> list[Message]:
    """All that may be shown of a notification, by either way."""
    made = []
    for composer in COMPOSERS:
        made += [composer.whole(told), composer.later(told)]
        reply = composer.reply(told)
        made += [reply] if reply is not None else []
    return made


def payload(message: Message) -> dict[str, Any]:
    body = {"text": message.text, "blocks": msgspec.to_builtins(message.blocks)}
    return body | {"unfurl_links": False, "unfurl_media": False}


def wrong(message: Message) -> list[str]:
    plain = {"text": message.plain, "unfurl_links": False, "unfurl_media": False}
    return problems(payload(message), MENTION) + problems(plain, MENTION)


def poisoned(told: Notification, text: str) -> Notification:
    """The same with `text` for every word that may have come from outside; ids are ours."""
    ours = {"type", "id", "thread", "incident", "kind", "event", "severity", "verdict", "status", "request"}

    def replaced(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: replaced(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [replaced(inner, name) for inner in value]
        return text if isinstance(value, str) and name not in ours else value

    return msgspec.convert(replaced(msgspec.to_builtins(told)), Notification)


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_in_every_field_leaves_a_message_that_slack_takes_and_nothing_live(name: str, kind: Kind) -> None:
    told = poisoned(notification(kind), HOSTILE[name])

    for message in messages(told):
        assert wrong(message) == []
        assert msgspec.json.encode(message)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("incident", "title"),
        ("incident", "service"),
        ("incident", "expected"),
        ("incident", "seen"),
        ("incident", "template"),
        ("incident", "facts"),
        ("incident", "services"),
        ("incident", "templates"),
        ("incident", "kinds"),
        ("evidence", "text"),
        ("evidence", "id"),
        ("explanation", "cause"),
        ("explanation", "steps"),
        ("explanation", "removed"),
        ("explanation", "model"),
        ("runbook", "id"),
        ("runbook", "title"),
        ("runbook", "checks"),
        ("runbook", "actions"),
        ("notification", "owner"),
        ("notification", "route"),
    ],
)
@pytest.mark.parametrize("name", ["channel", "link", "markup", "fences", "lines", "bidi"])
def test_hostile_text_in_one_field_alone_does_nothing(name: str, part: str, field: str) -> None:
    told = _with(notification("explanation"), part, field, HOSTILE[name])

    for message in messages(told):
        assert wrong(message) == []


def _with(told: Notification, part: str, field: str, text: str) -> Notification:
    raw = msgspec.to_builtins(told)
    incident = raw["incidents"][0]
    target = {"incident": incident, "evidence": incident["evidence"][0], "notification": raw}.get(part) or raw[part]
    if field == "actions":
        target[field] = [
            {"title": text, "command": text, "request": "act-5d0e9f3a1b27", "asks": on} for on in (True, False)
        ]
    else:
        target[field] = [text] * 3 if isinstance(target[field], list) else text
    return msgspec.convert(raw, Notification)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_megabyte_in_every_field_makes_a_message_of_ordinary_size_in_no_time(kind: Kind) -> None:
    told = poisoned(notification(kind), "<!channel> *x* `y` &\n" * 50_000)
    began = time.perf_counter()

    made = messages(told)

    assert time.perf_counter() - began < 2.0
    for message in made:
        assert wrong(message) == []
        assert len(msgspec.json.encode(message)) < 40_000


def test_lists_without_end_make_a_message_of_ordinary_size() -> None:
    raw = msgspec.to_builtins(notification("explanation"))
    for holder in (raw["incidents"][0], raw["explanation"], raw["runbook"]):
        for field, value in holder.items():
            if isinstance(value, list) and field != "series":
                holder[field] = value * 2_000
    raw["incidents"][0]["series"] = [7] * 100_000
    told = msgspec.convert(raw, Notification)

    for message in messages(told):
        assert wrong(message) == []


WORDS = st.text(alphabet=st.characters(exclude_categories=()), min_size=1, max_size=25)
MARKUP = st.text(alphabet="*_~`<>&|!@#:./\\ \n\u202ea", min_size=1, max_size=25)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EVERY_KIND), WORDS | MARKUP)
def test_any_text_changes_the_words_of_a_message_and_not_its_shape(kind: Kind, text: str) -> None:
    harmless = messages(poisoned(notification(kind), "xx"))

    made = messages(poisoned(notification(kind), f"x{text}x"))

    for message, model in zip(made, harmless, strict=True):
        assert wrong(message) == []
        assert shape(message) == shape(model)


def shape(message: Message) -> list[object]:
    """Kinds of blocks and of text in them, in order; a header that was cut has one paragraph more."""
    found: list[object] = []
    for kind, text in texts(payload(message)):
        # A step may have spans of code of its own: they are prose for this.
        spans = read(text) if kind != "plain_text" else []
        kinds = [span.kind for span in spans if span.kind not in ("text", "code")]
        found.append((kind, kinds, text.count("\n")))
    return found


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_nobody_is_called_by_what_is_not_critical(kind: Kind) -> None:
    raw = msgspec.to_builtins(notification(kind))
    for incident in raw["incidents"]:
        incident["severity"] = "warning"
    told = msgspec.convert(raw, Notification)

    assert all(MENTION not in text for message in messages(told) for _, text in texts(payload(message)))


@pytest.mark.parametrize("kind", ["open", "reminder", "escalation", "digest"])
def test_what_is_critical_calls_whom_the_configuration_names_once_in_the_message(kind: Kind) -> None:
    message = COMPOSERS[0].whole(notification(kind))

    found = [text for where, text in texts(payload(message)) if where != "text" and MENTION in text]
    assert len(found) == 1
    assert message.text.startswith(MENTION)
    assert message.plain.startswith(MENTION)


@pytest.mark.parametrize("kind", ["update", "resolve", "explanation", "answer", "test"])
def test_news_of_what_is_known_calls_nobody(kind: Kind) -> None:
    made = messages(notification(kind))

    assert all(MENTION not in text for message in made for _, text in texts(payload(message)))


def test_an_incident_with_hardly_anything_in_it_can_be_told() -> None:
    bare = IncidentEvent("inc-1", "open", "", "info", "", [], "", "", "", "", 0, None, [])

    for kind in EVERY_KIND:
        told = Notification("0c2f9a7be4d51836", kind, "inc-1", [bare])
        for message in messages(told):
            assert wrong(message) == []
