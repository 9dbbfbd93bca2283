from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier

from logllm.errors import ProtocolError
from logllm.notify.slack.interactions import VERBS, Interaction, read_interaction

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
NOW_S = 1_700_000_000.0


def pressed(*values: str, **changes: Any) -> bytes:
    """What Slack sends when buttons of these values are pressed, as far as it matters."""
    actions = [
        {"type": "button", "action_id": f"logllm:{value.partition(':')[0]}", "block_id": "x", "value": value}
        for value in values
    ]
    payload = {
        "type": "block_actions",
        "user": {"id": "U061F7AUR", "username": "payments-lead", "team_id": "T0"},
        "api_app_id": "A0",
        "container": {"type": "message", "message_ts": "1715683320.000100"},
        "message": {"text": "…", "blocks": [{"type": "section"}]},
        "response_url": "https://hooks.slack.com/actions/T0/1/x",
        "actions": actions,
        **changes,
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


def signed(body: bytes, *, secret: str = SECRET, at_s: float = NOW_S) -> dict[str, str]:
    stamp = str(int(at_s))
    made = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={made}"}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_button_pressed_says_who_said_what_of_which_incident(verb: str) -> None:
    body = pressed(f"{verb}:inc-7f3a90c1d2")

    found = read_interaction(body, signed(body), SECRET, NOW_S)

    assert found == [Interaction(verb, "inc-7f3a90c1d2", "payments-lead (U061F7AUR)", "U061F7AUR")]


def test_the_signature_is_the_one_that_slack_sdk_checks() -> None:
    body = pressed("noise:inc-1")

    class Clock:
        def now(self) -> float:
            return NOW_S

    verifier = SignatureVerifier(SECRET, clock=Clock())  # type: ignore[arg-type]

    assert verifier.is_valid_request(body, signed(body))


def test_names_of_headers_may_be_in_any_case() -> None:
    body = pressed("noise:inc-1")
    headers = {name.lower(): value for name, value in signed(body).items()}

    assert len(read_interaction(body, headers, SECRET, NOW_S)) == 1


def test_a_click_on_a_link_is_nothing_to_do() -> None:
    body = pressed(actions=[{"type": "button", "action_id": "logllm:link:noise", "block_id": "x"}])

    assert read_interaction(body, signed(body), SECRET, NOW_S) == []


def test_somebody_without_a_name_is_told_by_their_id() -> None:
    body = pressed("noise:inc-1", user={"id": "W012A3CDE"})

    assert read_interaction(body, signed(body), SECRET, NOW_S)[0].who == "W012A3CDE"


def test_a_name_without_end_is_cut() -> None:
    body = pressed("noise:inc-1", user={"id": "U1", "username": "x" * 10_000})

    assert len(read_interaction(body, signed(body), SECRET, NOW_S)[0].who) < 100


GOOD = pressed("acknowledge:inc-1")


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "its time"),
        ({**signed(GOOD), "X-Slack-Signature": ""}, "not Slack's"),
        ({**signed(GOOD), "X-Slack-Signature": "v0=" + "0" * 64}, "not Slack's"),
        ({**signed(GOOD), "X-Slack-Signature": signed(GOOD)["X-Slack-Signature"][3:]}, "not Slack's"),
        ({**signed(GOOD), "X-Slack-Signature": "v0=é\ud800"}, "not Slack's"),
        ({**signed(GOOD), "X-Slack-Request-Timestamp": str(int(NOW_S) + 1)}, "not Slack's"),
        ({**signed(GOOD), "X-Slack-Request-Timestamp": "1e9"}, "its time"),
        ({**signed(GOOD), "X-Slack-Request-Timestamp": "-1700000000"}, "its time"),
        ({**signed(GOOD), "X-Slack-Request-Timestamp": "９" * 10}, "its time"),
        ({**signed(GOOD), "X-Slack-Request-Timestamp": "9" * 5_000}, "its time"),
        (signed(GOOD, secret="another"), "not Slack's"),
        (signed(GOOD, at_s=NOW_S - 301), "its time"),
        (signed(GOOD, at_s=NOW_S + 301), "its time"),
        (signed(pressed("acknowledge:inc-2")), "not Slack's"),
    ],
)
def test_what_slack_did_not_sign_just_now_is_refused(headers: dict[str, str], said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        read_interaction(GOOD, headers, SECRET, NOW_S)


def test_five_minutes_are_still_fresh() -> None:
    for at_s in (NOW_S - 300, NOW_S + 300):
        assert read_interaction(GOOD, signed(GOOD, at_s=at_s), SECRET, NOW_S)


def test_without_a_secret_nothing_is_believed() -> None:
    with pytest.raises(ProtocolError, match="no signing secret"):
        read_interaction(GOOD, signed(GOOD, secret=""), "", NOW_S)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=",
        b"payload={",
        b"payload=[]",
        b"payload=%7B%7D",
        b"other=1",
        GOOD + b"&" + GOOD,
        b"payload=" + b"%5B" * 50_000,
        b"payload=%ff%fe",
        b"\xff\xfe\x00",
        b"&" * 20_000,
        pressed("acknowledge:inc-1", type="view_submission"),
        pressed("acknowledge:inc-1", type=7),
        pressed("acknowledge:inc-1", user=None),
        pressed("acknowledge:inc-1", user={"id": "<@U1>"}),
        pressed("acknowledge:inc-1", user={"id": ""}),
        pressed("delete:inc-1"),
        pressed("acknowledge"),
        pressed("acknowledge:"),
        pressed("acknowledge:../../etc/passwd"),
        pressed("acknowledge:inc-1:approve:act-1"),
        pressed("approve:act-1; rm -rf /"),
        pressed("approve:" + "a" * 129),
        pressed("ACKNOWLEDGE:inc-1"),
        pressed(*["acknowledge:inc-1"] * 11),
        pressed(actions=[{"action_id": "logllm:noise", "value": "approve:act-1"}]),
        pressed(actions=[{"action_id": "other-app", "value": "acknowledge:inc-1"}]),
        pressed(actions=[{"action_id": "logllm:noise", "value": None}]),
        pressed(actions={"action_id": "logllm:noise"}),
    ],
)
def test_what_is_signed_and_says_nothing_of_ours_is_refused_and_not_repeated(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_interaction(body, signed(body), SECRET, NOW_S)

    assert len(str(caught.value)) < 120
    assert "inc-1" not in str(caught.value)


def test_a_request_without_end_is_not_even_verified() -> None:
    body = b"payload=" + b"x" * (600 << 10)

    with pytest.raises(ProtocolError, match="more than"):
        read_interaction(body, signed(body), SECRET, NOW_S)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_interaction(body, signed(body), SECRET, NOW_S)


@given(st.text(max_size=200))
def test_any_json_is_read_or_refused(text: str) -> None:
    body = urlencode({"payload": text.encode(errors="replace")}).encode()

    with pytest.raises(ProtocolError):
        read_interaction(body, signed(body), SECRET, NOW_S)
