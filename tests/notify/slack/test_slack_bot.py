from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from logllm.errors import NotifyError
from logllm.notify.notification import Kind
from tests.notify.fake_http import FakeHttp, Reply
from tests.notify.slack.destinations import REF, TOKEN, bot, posted, refusal, sent, slack
from tests.notify.slack.samples import notification

POST, UPDATE = "/api/chat.postMessage", "/api/chat.update"


def called(fake: FakeHttp) -> list[str]:
    return [one.path for one in fake.requests]


def test_the_first_message_is_posted_and_tells_where_it_is(tmp_path: Path) -> None:
    with slack() as fake:
        destination = bot(fake, tmp_path)

        ref = destination.send(notification("open"), "")

    assert ref == REF
    assert destination.edits
    assert destination.pause_s == 1.0
    assert called(fake) == [POST]
    assert fake.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    body = fake.requests[0].json()
    assert (body["channel"], body["unfurl_links"], body["unfurl_media"]) == ("C0123ABCD", False, False)
    assert body["metadata"]["event_payload"]["id"] == notification("open").id


@pytest.mark.parametrize(
    ("kind", "calls"),
    [
        ("update", [UPDATE]),
        ("answer", [UPDATE]),
        ("explanation", [UPDATE, POST]),
        ("resolve", [UPDATE, POST]),
        ("reminder", [POST]),
        ("escalation", [POST]),
        ("digest", [POST]),
    ],
)
def test_news_changes_the_message_and_only_what_somebody_should_look_at_is_a_new_one(
    kind: Kind, calls: list[str], tmp_path: Path
) -> None:
    with slack() as fake:
        ref = bot(fake, tmp_path).send(notification(kind), REF)

    assert ref == REF
    assert called(fake) == calls
    bodies = [one["body"] for one in sent(fake)]
    assert all(body["channel"] == "C0123ABCD" for body in bodies)
    assert {body.get("ts") or body.get("thread_ts") for body in bodies} == {"1715683320.000100"}
    assert [body.get("reply_broadcast", False) for body in bodies if "thread_ts" in body] == (
        [kind in ("reminder", "escalation", "digest")] if POST in calls else []
    )


def test_an_incident_that_is_over_says_for_how_long_it_was(tmp_path: Path) -> None:
    with slack() as fake:
        bot(fake, tmp_path).send(notification("resolve"), REF)

    changed, reply = (one["body"] for one in sent(fake))
    assert changed["blocks"][0]["text"]["text"].startswith("✅ RESOLVED after 31 min · payments")
    assert reply["blocks"][0]["text"]["text"] == "✅ Resolved after 31 min, 5,118 records in all."
    assert [one["action_id"] for one in changed["blocks"][-1]["elements"]] == [
        "logllm:expected",
        "logllm:noise",
        "logllm:real",
    ]


def test_news_without_a_first_message_is_told_in_full(tmp_path: Path) -> None:
    with slack() as fake:
        ref = bot(fake, tmp_path).send(notification("explanation"), "")

    assert ref == REF
    assert called(fake) == [POST]
    assert "Likely cause" in str(fake.requests[0].json())


@pytest.mark.parametrize("ref", ["nonsense", "C1:now", "C1:1.2.3", "x" * 500, "C0/../:1.2", "é:1.2"])
def test_a_place_that_is_none_is_not_looked_for(ref: str, tmp_path: Path) -> None:
    with slack() as fake:
        bot(fake, tmp_path).send(notification("update"), ref)

    assert called(fake) == [POST]


@pytest.mark.parametrize("code", ["message_not_found", "edit_window_closed", "cant_update_message"])
def test_a_message_that_cannot_be_changed_any_more_is_told_anew(code: str, tmp_path: Path) -> None:
    with slack(refusal(code)) as fake:
        ref = bot(fake, tmp_path).send(notification("update"), REF)

    assert called(fake) == [UPDATE, POST]
    assert ref == "C0123ABCD:1715683320.000200"
    assert "thread_ts" not in fake.requests[1].json()


def test_a_thread_that_is_gone_is_left_for_a_message_of_its_own(tmp_path: Path) -> None:
    with slack(refusal("thread_not_found")) as fake:
        bot(fake, tmp_path).send(notification("reminder"), REF)

    assert called(fake) == [POST, POST]
    assert "thread_ts" not in fake.requests[1].json()


@pytest.mark.parametrize(
    ("reply", "kind", "retry_after_s", "final"),
    [
        (refusal("ratelimited", 429, Retry_After="1"), "rate_limited", 1.0, False),
        (refusal("ratelimited", 429, Retry_After="30"), "rate_limited", 30.0, False),
        (refusal("ratelimited"), "rate_limited", None, False),
        (Reply(429, b""), "rate_limited", None, False),
        (refusal("internal_error", 500), "server", None, False),
        (refusal("fatal_error"), "server", None, False),
        (refusal("service_unavailable", 503, Retry_After="9"), "server", 9.0, False),
        (refusal("invalid_auth"), "gone", None, True),
        (refusal("token_revoked"), "gone", None, True),
        (refusal("account_inactive", 403), "gone", None, True),
        (refusal("channel_not_found"), "gone", None, True),
        (refusal("not_in_channel"), "gone", None, True),
        (refusal("is_archived"), "gone", None, True),
        (refusal("missing_scope"), "gone", None, True),
        (Reply(200, b"<html>", takes=False), "server", None, False),
        (Reply(200, b"[1]", takes=False), "server", None, False),
        (Reply(200, b'{"ok":false,"error":17}', takes=False), "server", None, False),
        (Reply(200, b"[" * 100_000, takes=False), "server", None, False),
        (Reply(200, b"\xff\xfe", takes=False), "server", None, False),
        (Reply(302, b"", {"Location": "https://evil.example/"}), "server", None, False),
        (Reply(way="cut"), "io", None, False),
    ],
)
def test_each_answer_says_what_happens_next(
    reply: Reply, kind: str, retry_after_s: float | None, final: bool, tmp_path: Path
) -> None:
    with slack(reply) as fake:
        with pytest.raises(NotifyError) as caught:
            bot(fake, tmp_path).send(notification("open"), "")

        assert len(fake.requests) == 1
    assert (caught.value.kind, caught.value.retry_after_s, caught.value.final) == (kind, retry_after_s, final)
    assert TOKEN not in str(caught.value)
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long", "a_word_that_nobody_knows"])
@pytest.mark.parametrize(("kind", "ref"), [("open", ""), ("update", REF)])
def test_blocks_that_are_refused_go_once_more_as_plain_text(code: str, kind: Kind, ref: str, tmp_path: Path) -> None:
    with slack(refusal(code)) as fake:
        bot(fake, tmp_path).send(notification(kind), ref)

    first, second = (one["body"] for one in sent(fake))
    assert first["blocks"]
    assert second["blocks"] == []
    assert notification(kind).id in second["text"]
    assert second.get("ts") == first.get("ts")


def test_plain_text_that_is_refused_as_well_is_never_sent_again(tmp_path: Path) -> None:
    with slack(refusal("invalid_blocks"), refusal("msg_too_long")) as fake:
        with pytest.raises(NotifyError) as caught:
            bot(fake, tmp_path).send(notification("open"), "")

        assert len(fake.requests) == 2
    assert caught.value.final


def test_what_the_thread_did_not_take_is_sent_again_and_the_change_with_it(tmp_path: Path) -> None:
    told = notification("explanation")
    with slack(*[Reply(body=b'{"ok":true}')], refusal("ratelimited", 429, Retry_After="2")) as fake:
        destination = bot(fake, tmp_path)

        with pytest.raises(NotifyError) as caught:
            destination.send(told, REF)
        destination.send(told, REF)

    assert caught.value.retry_after_s == 2.0
    assert called(fake) == [UPDATE, POST, UPDATE, POST]
    assert fake.requests[0].json() == fake.requests[2].json()


def test_an_answer_that_does_not_say_where_the_message_is_leaves_it_unfindable(tmp_path: Path) -> None:
    with slack(Reply(body=b'{"ok":true,"ts":"soon","channel":"<x>"}')) as fake:
        ref = bot(fake, tmp_path).send(notification("open"), "")

    assert ref == ""


def test_a_token_is_not_carried_to_where_a_redirect_leads(tmp_path: Path) -> None:
    with slack() as other, slack(Reply(307, b"", {"Location": f"{other.url}api/chat.postMessage"})) as fake:
        with pytest.raises(NotifyError):
            bot(fake, tmp_path).send(notification("open"), "")

        assert other.requests == []


@pytest.mark.parametrize("way", ["hang", "drip"])
def test_a_receiver_that_never_ends_its_answer_is_left_at_the_deadline(way: Any, tmp_path: Path) -> None:
    with slack(Reply(way=way)) as fake:
        began = time.monotonic()

        with pytest.raises(NotifyError) as caught:
            bot(fake, tmp_path, deadline_s=0.3).send(notification("open"), "")

        assert time.monotonic() - began < 5.0
    assert caught.value.kind == "timeout"
    assert not caught.value.final


def test_the_environments_proxy_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHttp() as proxy, slack() as fake:
        for variable in ("http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(variable, proxy.url)

        bot(fake, tmp_path).send(notification("open"), "")

        assert proxy.requests == []
        assert len(fake.requests) == 1


def test_slack_sdk_logs_no_message_and_no_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with slack(refusal("invalid_auth")) as fake, caplog.at_level(logging.DEBUG), pytest.raises(NotifyError):
        bot(fake, tmp_path).send(notification("open"), "")

    assert TOKEN not in caplog.text
    assert "connection refused" not in caplog.text


def test_a_storm_that_only_ends_incidents_is_told_quietly_in_the_thread(tmp_path: Path) -> None:
    from logllm.notify.notification import Count, Notification

    over = Notification("a1", "digest", "d0", [], total=3, counts=[Count("web", "warning", "resolve", 3)])
    with slack() as fake:
        bot(fake, tmp_path).send(over, REF)

    body = fake.requests[0].json()
    assert body["reply_broadcast"] is False
    assert body["blocks"][0]["text"]["text"] == "✅ 3 incidents resolved in 1 service"


def test_the_fake_gives_each_message_a_stamp_of_its_own(tmp_path: Path) -> None:
    with FakeHttp(otherwise=posted) as fake:
        destination = bot(fake, tmp_path)

        refs = [destination.send(notification("open"), "") for _ in range(3)]

    assert len(set(refs)) == 3


def test_an_action_is_approved_by_a_button_only_where_slack_signs_for_it_and_no_value_is_missing(
    tmp_path: Path,
) -> None:
    with slack() as fake:
        bot(fake, tmp_path).send(notification("open"), "")
        bot(fake, tmp_path, signing_secret_file="").send(notification("open"), "")

    signed, linked = (
        [one for block in request["body"]["blocks"] if block["type"] == "actions" for one in block["elements"]]
        for request in sent(fake)
    )
    assert [one["value"] for one in signed if "prov" in one["action_id"] or "reject" in one["action_id"]] == [
        "approve:act-5d0e9f3a1b27",
        "reject:act-5d0e9f3a1b27",
    ]
    assert "systemctl restart payments-pool" in signed[4]["confirm"]["text"]["text"]
    assert [one["action_id"] for one in linked] == [
        f"logllm:link:{verb}" for verb in ("acknowledge", "expected", "noise", "real")
    ]
    assert "logllm actions approve act-77c1d2e3f405" in str(fake.requests[1].json())


def test_what_is_over_offers_no_action_any_more(tmp_path: Path) -> None:
    with slack() as fake:
        bot(fake, tmp_path).send(notification("resolve"), "")

    assert "act-" not in str(fake.requests[0].json())
