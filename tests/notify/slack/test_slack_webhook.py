from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from logllm.errors import NotifyError
from logllm.notify.slack.buttons import Buttons
from logllm.notify.slack.message import Composer
from logllm.notify.slack.webhook import SlackWebhook
from logllm.wire.http import HttpClient
from tests.notify.fake_http import Reply
from tests.notify.slack.destinations import sent, slack, webhook
from tests.notify.slack.samples import LINKS, Addresses, notification

SECRET = "s3cret"


def test_a_message_that_slack_takes_is_sent_once_and_cannot_be_found_again() -> None:
    with slack() as fake:
        destination = webhook(fake)

        ref = destination.send(notification("open"), "")

    assert ref == ""
    assert not destination.edits
    assert destination.pause_s == 1.0
    assert [one.path for one in fake.requests] == ["/services/T0/B0/s3cret"]
    assert fake.requests[0].headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("reply", "kind", "retry_after_s", "final"),
    [
        (Reply(429, b"rate_limited", {"Retry-After": "1"}), "rate_limited", 1.0, False),
        (Reply(429, b"rate_limited", {"Retry-After": "30"}), "rate_limited", 30.0, False),
        (Reply(429, b"rate_limited"), "rate_limited", None, False),
        (Reply(500, b"rollup_error"), "server", None, False),
        (Reply(503, b"", {"Retry-After": "7"}), "server", 7.0, False),
        (Reply(408, b""), "server", None, False),
        (Reply(302, b"", {"Location": "https://evil.example/"}), "server", None, False),
        (Reply(200, b"<html>please log in</html>", takes=False), "server", None, False),
        (Reply(200, b"channel_not_found", takes=False), "server", None, False),
        (Reply(407, b""), "io", None, False),
        (Reply(403, b"action_prohibited"), "gone", None, True),
        (Reply(403, b"invalid_token"), "gone", None, True),
        (Reply(404, b"no_service"), "gone", None, True),
        (Reply(404, b"channel_not_found"), "gone", None, True),
        (Reply(410, b"channel_is_archived"), "gone", None, True),
        (Reply(400, b"user_not_found"), "gone", None, True),
        (Reply(405, b""), "invalid", None, True),
        (Reply(way="cut"), "io", None, False),
        (Reply(body=b"o" * 1_000, way="half"), "io", None, False),
    ],
)
def test_each_answer_says_what_happens_next(reply: Reply, kind: str, retry_after_s: float | None, final: bool) -> None:
    with slack(reply) as fake:
        with pytest.raises(NotifyError) as caught:
            webhook(fake).send(notification("open"), "")

        assert len(fake.requests) == 1
    assert (caught.value.kind, caught.value.retry_after_s, caught.value.final) == (kind, retry_after_s, final)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(400, b"invalid_blocks"),
        Reply(400, b"invalid_blocks_format"),
        Reply(400, b"invalid_attachments"),
        Reply(400, b"msg_too_long"),
        Reply(400, b"invalid_payload"),
        Reply(413, b""),
        Reply(400, b"a word that nobody knows"),
    ],
)
def test_blocks_that_are_refused_go_once_more_as_plain_text_with_the_same_id(reply: Reply) -> None:
    told = notification("open")
    with slack(reply) as fake:
        webhook(fake).send(told, "")

    first, second = (one["body"] for one in sent(fake))
    assert "blocks" in first
    assert "blocks" not in second
    assert told.id in second["text"]
    assert "connection refused" in second["text"]
    assert "pool-3 connection refused to db-1:\u20605432" in second["text"]


def test_plain_text_that_is_refused_as_well_is_never_sent_again() -> None:
    with slack(Reply(400, b"invalid_blocks"), Reply(400, b"invalid_payload")) as fake:
        with pytest.raises(NotifyError) as caught:
            webhook(fake).send(notification("open"), "")

        assert len(fake.requests) == 2
    assert caught.value.final
    assert caught.value.kind == "invalid"


def test_plain_text_that_comes_too_soon_is_tried_again_later() -> None:
    with slack(Reply(400, b"invalid_blocks"), Reply(429, b"", {"Retry-After": "3"})) as fake:
        with pytest.raises(NotifyError) as caught:
            webhook(fake).send(notification("open"), "")

        assert len(fake.requests) == 2
    assert not caught.value.final
    assert caught.value.retry_after_s == 3.0


@pytest.mark.parametrize("way", ["hang", "drip"])
def test_a_receiver_that_never_ends_its_answer_is_left_at_the_deadline(way: str) -> None:
    with slack(Reply(way="hang" if way == "hang" else "drip")) as fake:
        began = time.monotonic()

        with pytest.raises(NotifyError) as caught:
            webhook(fake, deadline_s=0.3).send(notification("open"), "")

        assert time.monotonic() - began < 5.0
    assert caught.value.kind == "timeout"
    assert not caught.value.final
    assert SECRET not in str(caught.value)


def test_a_message_whose_answer_was_lost_is_sent_again_with_the_same_id() -> None:
    told = notification("open")
    with slack(Reply(way="hang", takes=True)) as fake:
        destination = webhook(fake, deadline_s=0.3)
        with pytest.raises(NotifyError):
            destination.send(told, "")

        destination.send(told, "")

        assert len(fake.taken) == 2
        assert fake.taken[0].body == fake.taken[1].body
    assert told.id in fake.taken[0].body.decode()


def test_nothing_that_listens_is_tried_again() -> None:
    with slack() as fake:
        destination = webhook(fake)

    with pytest.raises(NotifyError) as caught:
        destination.send(notification("open"), "")

    assert caught.value.kind == "refused"
    assert not caught.value.final


def test_a_date_to_try_again_at_is_read_against_the_clock_that_was_given() -> None:
    now_s = 1_700_000_000.0
    with slack(Reply(429, b"", {"Retry-After": formatdate(now_s + 42, usegmt=True)})) as fake:
        client = HttpClient(fake.url)
        destination = SlackWebhook("slack", client, Composer(Buttons(LINKS, interactive=False)), lambda: now_s)

        with pytest.raises(NotifyError) as caught:
            destination.send(notification("open"), "")

    assert caught.value.retry_after_s == 42.0


def test_what_speaks_slacks_language_may_say_ok_in_json() -> None:
    for body in (b'{"ok": true}', b'{"success":true}', b'{"result":"success","msg":""}', b"OK\n"):
        with slack(Reply(200, body)) as fake:
            webhook(fake).send(notification("open"), "")

            assert len(fake.requests) == 1


def test_buttons_are_links_or_are_left_out_where_there_is_no_address() -> None:
    with slack() as fake:
        webhook(fake).send(notification("open"), "")
        webhook(fake, links=Addresses("")).send(notification("open"), "")

    linked, bare = (one["body"]["blocks"] for one in sent(fake))
    assert [one["url"] for one in linked[-1]["elements"]] == [
        LINKS.url("inc-7f3a90c1d2", verb) for verb in ("acknowledge", "expected", "noise", "real")
    ]
    assert "actions" not in [block["type"] for block in bare]


def test_an_address_that_is_not_http_makes_no_button() -> None:
    with slack() as fake:
        webhook(fake, links=Addresses("javascript:alert(1)//")).send(notification("open"), "")

    assert "actions" not in [block["type"] for block in sent(fake)[0]["body"]["blocks"]]


@pytest.mark.parametrize("kind", ["update", "resolve", "explanation", "reminder", "answer"])
def test_later_news_names_the_incident_that_it_follows(kind: str) -> None:
    with slack() as fake:
        webhook(fake).send(notification(kind), "")  # type: ignore[arg-type]

    context = [block for block in sent(fake)[0]["body"]["blocks"] if block["type"] == "context"][-1]
    assert context["elements"][0]["text"].startswith("follows the alert `inc-7f3a90c1d2` of 14 May 10:41 UTC")


def test_closing_twice_does_nothing() -> None:
    with slack() as fake:
        destination = webhook(fake)

        destination.close()
        destination.close()
