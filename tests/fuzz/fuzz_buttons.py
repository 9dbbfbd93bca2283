"""What comes to `/slack/actions`, and what in it is taken for a button of ours."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from logllm.errors import ProtocolError
from logllm.notify.slack.interactions import VERBS, read_interaction
from tests.fuzz.inputs import Choices, check_refusal

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 900

_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
_NOW_S = 1_715_700_000
_STAMPS = (str(_NOW_S), str(_NOW_S - 299), str(_NOW_S - 301), "0", "x")


def check(data: bytes) -> None:
    """It is refused in one line, or it was signed, is fresh, and says one of the few words there are of an id."""
    choices = Choices(data)
    how, stamp = choices.below(4), choices.one_of(_STAMPS)
    body = choices.rest()
    if how == 1:
        body = b"payload=" + quote(body).encode()
    signed = how != 3
    headers = {"X-Slack-Request-Timestamp": stamp, "x-slack-signature": _signature(stamp, body) if signed else "v0=00"}
    if how == 2:
        # Whatever the headers are, without the secret they do not fit.
        name, _, value = body.decode("latin-1").partition(":")
        headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": name, "X-More": value}
    try:
        pressed = read_interaction(body, headers, _SECRET, float(_NOW_S))
    except ProtocolError as error:
        check_refusal(error, "Slack interaction: ")
        return
    assert signed
    assert how != 2
    assert stamp in _STAMPS[:2]
    assert len(pressed) <= 10
    for one in pressed:
        assert one.verb in VERBS
        assert one.subject.isascii()
        assert one.subject.isprintable()
        assert 0 < len(one.subject) <= 128
        assert not set(one.subject) & set(" /\\<>\"'`$;")
        assert one.who.endswith(f"({one.user})") or one.who == one.user
        assert one.user[0] in "UW"
        assert len(one.who) <= 80 + 35


def _signature(stamp: str, body: bytes) -> str:
    return "v0=" + hmac.new(_SECRET.encode(), f"v0:{stamp}:".encode() + body, sha256).hexdigest()


def seeds() -> list[bytes]:
    """What Slack sends, and what is nearly that."""
    user = {"id": "U061F7AUR", "username": "lead", "name": "lead"}
    pressed: list[dict[str, Any]] = [
        {"action_id": f"logllm:{verb}", "value": f"{verb}:inc-7f3a90c1d2"} for verb in sorted(VERBS)
    ]
    payloads: list[Any] = [{"type": "block_actions", "user": user, "actions": [one]} for one in pressed]
    payloads += [
        {"type": "block_actions", "user": user, "actions": pressed},
        {"type": "block_actions", "user": user, "actions": [{"action_id": "logllm:link:noise"}]},
        {"type": "block_actions", "user": {"id": "W1", "name": "<!channel>\u202e"}, "actions": pressed[:1]},
        {"type": "view_submission", "user": user},
        {"type": "block_actions", "user": user, "actions": [{"action_id": "logllm:approve", "value": "approve:"}]},
        [[[[]]]],
    ]
    texts = [json.dumps(payload).encode()[:880] for payload in payloads]
    found = [bytes([1, number % 3]) + text for number, text in enumerate(texts)]
    found += [b"\0\0payload=" + quote(text).encode()[:880] for text in texts]
    return [*found, b"\2\0v0=0:1", b"\0\0payload=%ff&payload=1", b"\0\0a=1;b=2", b"\1\0" + b"[" * 800]
