"""What Slack sends when a reader presses a button: signed by Slack, read strictly."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec

from logllm.errors import ProtocolError
from logllm.notify.slack.buttons import ACTION_PREFIX, LINK_PREFIX

__all__ = ["VERBS", "Interaction", "read_interaction"]

VERBS = frozenset(("acknowledge", "expected", "noise", "real", "approve", "reject"))
"""`approve` and `reject` are of a runbook's action that asks for it, the others of an incident."""

_MOST_BYTES = 512 << 10  # the message with all its blocks comes along
_MOST_ACTIONS = 10
_FRESH_S = 300.0
_TIMESTAMP = re.compile(r"\d{1,12}", re.ASCII)
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_USER = re.compile(r"[UW][A-Z0-9]{1,30}", re.ASCII)


class Interaction(NamedTuple):
    """One button pressed.

    Args:
        verb: One of VERBS.
        subject: An incident's id; for `approve` and `reject` the action request's.
        who: For people: a name and Slack's id. The name is whatever its owner chose, so hostile.
        user: Slack's id of them, which Slack vouches for.
    """

    verb: str
    subject: str
    who: str
    user: str


class _User(msgspec.Struct):
    id: str
    username: str = ""
    name: str = ""


class _Action(msgspec.Struct):
    action_id: str
    value: str = ""


class _Payload(msgspec.Struct):
    type: str
    user: _User
    actions: list[_Action] = []


def read_interaction(body: bytes, headers: Mapping[str, str], secret: str, now_s: float) -> list[Interaction]:
    """The buttons pressed, in order; a click on a link gives none.

    The signature holds for five minutes. Within them the same request can come again, from Slack, which repeats what
    it had no answer to: what is done for it must be harmless a second time.

    Args:
        headers: Of the request, in any case.
        secret: The app's signing secret.
        now_s: Seconds since the epoch.

    Raises:
        ProtocolError: It is not from Slack, is too old, or says what no button of ours says.
    """
    _verify(body, headers, secret, now_s)
    payload = _read(body)
    if payload.type != "block_actions":
        raise ProtocolError("Slack interaction: expected block_actions")
    if len(payload.actions) > _MOST_ACTIONS:
        raise ProtocolError(f"Slack interaction: more than {_MOST_ACTIONS} actions")
    if not _USER.fullmatch(payload.user.id):
        raise ProtocolError("Slack interaction: expected a user's id")
    name = (payload.user.username or payload.user.name)[:80]
    who = f"{name} ({payload.user.id})" if name else payload.user.id
    pressed = []
    for action in payload.actions:
        if action.action_id.startswith(LINK_PREFIX):
            continue
        verb, _, subject = action.value.partition(":")
        if action.action_id != f"{ACTION_PREFIX}{verb}" or verb not in VERBS or not _SUBJECT.fullmatch(subject):
            raise ProtocolError("Slack interaction: a button that is none of ours")
        pressed.append(Interaction(verb, subject, who, payload.user.id))
    return pressed


def _verify(body: bytes, headers: Mapping[str, str], secret: str, now_s: float) -> None:
    """By Slack's scheme v0: HMAC-SHA256 of `v0:TIMESTAMP:BODY`."""
    if not secret:
        raise ProtocolError("Slack interaction: no signing secret is configured")
    if len(body) > _MOST_BYTES:
        raise ProtocolError(f"Slack interaction: more than {_MOST_BYTES} bytes")
    known = {name.lower(): value for name, value in headers.items()}
    stamp = known.get("x-slack-request-timestamp", "")
    given = known.get("x-slack-signature", "")
    if not _TIMESTAMP.fullmatch(stamp) or abs(now_s - int(stamp)) > _FRESH_S:
        raise ProtocolError("Slack interaction: its time is missing, or not of the last five minutes")
    made = "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, sha256).hexdigest()
    if not hmac.compare_digest(made.encode(), given.encode(errors="replace")):
        raise ProtocolError("Slack interaction: the signature is not Slack's")


def _read(body: bytes) -> _Payload:
    try:
        fields = parse_qsl(body.decode("ascii"), strict_parsing=True, max_num_fields=10, errors="strict")
        found = [value for name, value in fields if name == "payload"]
        if len(found) != 1:
            raise ProtocolError("Slack interaction: expected one field `payload`")
        return msgspec.json.decode(found[0], type=_Payload)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        # Their texts show what came.
        raise ProtocolError("Slack interaction: expected a form with JSON in its field `payload`") from None
