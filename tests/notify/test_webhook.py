"""The webhook: what is posted, how it is signed, what answers mean, and that the documentation tells the truth."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ConfigError, NotifyError
from logllm.events import Explanation, IncidentEvent
from logllm.notify.webhook import MOST_BYTES, Message, Webhook, WebhookConfig, signature, verify
from logllm.wire.http import HttpClient
from tests.notify.fake_http import FakeHttp, Reply
from tests.notify.told import HOSTILE, KINDS, NOW_S, LinksTo, NoLinks, golden, hostile, of_kind, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.notify.notification import Kind, Notification

PAGE = Path(__file__).parents[2] / "docs" / "webhook.md"
SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + b64encode(bytes(range(1, 33))).decode()
TOKEN = "t0k3n-0123456789"


def webhook(url: str, *, links: LinksTo | NoLinks | None = None, **options: Any) -> Webhook:
    client = HttpClient(url, deadline_s=options.pop("deadline_s", 10.0))
    return Webhook("ops", client, links or LinksTo(), url=url, clock=lambda: NOW_S, **options)


def posted(told: Notification) -> bytes:
    """The body that a receiver gets."""
    with FakeHttp() as fake:
        assert webhook(fake.url).send(told, "") == ""
        return fake.requests[0].body


def failure(reply: Reply, path: str = "", **options: Any) -> NotifyError:
    with FakeHttp(otherwise=reply) as fake, pytest.raises(NotifyError) as caught:
        webhook(fake.url + path, **options).send(of_kind("open"), "")
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_posted_as_the_golden_file_has_it(kind: Kind) -> None:
    body = posted(of_kind(kind))

    assert golden(f"webhook_{kind}", body) == msgspec.json.decode(body)
    message = msgspec.json.decode(body, type=Message, strict=True)
    assert (message.kind, message.cut) == (kind, False)


def test_incidents_and_explanations_are_as_json_prints_them() -> None:
    told = of_kind("explanation")

    body = msgspec.json.decode(posted(told))

    assert body["incidents"] == [msgspec.to_builtins(told.incidents[0])]
    assert msgspec.convert(body["incidents"][0], IncidentEvent) == told.incidents[0]
    assert msgspec.convert(body["explanation"], Explanation) == told.explanation


def test_where_nobody_can_answer_there_are_no_links() -> None:
    with FakeHttp() as fake:
        webhook(fake.url, links=NoLinks()).send(of_kind("open"), "")

    assert fake.requests[0].json()["links"] == []


def test_a_message_that_is_sent_again_keeps_its_id_and_is_signed_for_the_new_time() -> None:
    times = iter((NOW_S, NOW_S + 60))
    with FakeHttp(Reply(500)) as fake:
        client = HttpClient(fake.url)
        sender = Webhook("ops", client, NoLinks(), (SECRET,), {"X-Token": TOKEN}, clock=lambda: next(times))
        with pytest.raises(NotifyError):
            sender.send(of_kind("open"), "")
        sender.send(of_kind("open"), "")

    first, again = fake.requests
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == of_kind("open").id
    assert (first.headers["webhook-timestamp"], again.headers["webhook-timestamp"]) == ("1700000400", "1700000460")
    assert first.headers["x-token"] == TOKEN
    assert first.headers["content-type"] == "application/json"
    assert verify(SECRET, first.headers, first.body, NOW_S)
    assert verify(SECRET, again.headers, again.body, NOW_S + 60)


def test_each_of_several_secrets_signs() -> None:
    with FakeHttp() as fake:
        webhook(fake.url, keys=(SECRET, OLD_SECRET)).send(of_kind("open"), "")

    got = fake.requests[0]
    assert verify(SECRET, got.headers, got.body, NOW_S)
    assert verify(OLD_SECRET, got.headers, got.body, NOW_S)


def test_without_a_secret_nothing_pretends_to_be_a_signature() -> None:
    with FakeHttp() as fake:
        webhook(fake.url).send(of_kind("open"), "")

    assert "webhook-signature" not in fake.requests[0].headers
    assert not verify(SECRET, fake.requests[0].headers, fake.requests[0].body, NOW_S)


def signed(body: bytes = b"{}", at_s: int = int(NOW_S)) -> dict[str, str]:
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(at_s),
        "Webhook-Signature": signature(SECRET, "msg_1", at_s, body),
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"Webhook-Id": "msg_2"},
        {"Webhook-Id": "msg_1\ud800"},
        {"Webhook-Timestamp": str(int(NOW_S) + 1)},
        {"Webhook-Timestamp": ""},
        {"Webhook-Timestamp": "-1"},
        {"Webhook-Timestamp": "١٧٠٠٠٠٠٤٠٠"},
        {"Webhook-Timestamp": "9" * 400},
        {"Webhook-Signature": ""},
        {"Webhook-Signature": "v1,"},
        {"Webhook-Signature": "v1a,AAAA é \ud800"},
        {"Webhook-Signature": signature(OLD_SECRET, "msg_1", int(NOW_S), b"{}")},
        {"Webhook-Signature": signature(SECRET, "msg_1", int(NOW_S), b"{}").lower()},
    ],
)
def test_what_was_changed_on_the_way_is_not_ours(changed: dict[str, str]) -> None:
    assert verify(SECRET, signed(), b"{}", NOW_S)
    assert not verify(SECRET, signed() | changed, b"{}", NOW_S)
    assert not verify(SECRET, signed(), b"{ }", NOW_S)


@pytest.mark.parametrize(("late_s", "ours"), [(-301, False), (-299, True), (299, True), (301, False)])
def test_a_message_is_ours_for_five_minutes(late_s: int, ours: bool) -> None:
    assert verify(SECRET, signed(), b"{}", NOW_S + late_s) is ours


@given(
    st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()), st.binary()
)
def test_no_headers_make_a_receiver_fail(headers: dict[str, str], body: bytes) -> None:
    assert verify(SECRET, headers, body, NOW_S) is False


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [HOSTILE, "\0" * 1_000_000, "\U0001f600" * 1_000_000, "\ud800" * 5_000])
def test_hostile_text_is_data_and_the_body_stays_within_its_bound(kind: Kind, text: str) -> None:
    body = posted(hostile(kind, text))

    assert len(body) <= MOST_BYTES
    message = msgspec.json.decode(body, type=Message, strict=True)
    told = hostile(kind, text)
    assert (message.id, message.thread, message.total) == (told.id, told.thread, told.total)
    assert message.cut or text is HOSTILE
    # Nothing but JSON's own characters: what is hostile has not left its string.
    assert json.loads(body)["kind"] == kind
    assert all(len(one) <= 4_001 for one in texts(json.loads(body)))


def test_a_digest_that_is_cut_still_says_how_many_there_are() -> None:
    message = msgspec.json.decode(posted(hostile("digest", "\0" * 10_000)), type=Message)

    assert message.cut
    assert message.total == 1235
    assert message.incidents


@pytest.mark.parametrize(
    ("status", "kind", "final"),
    [
        (300, "refused", True),
        (302, "refused", True),
        (307, "refused", True),
        (400, "invalid", True),
        (401, "refused", True),
        (403, "refused", True),
        (404, "gone", True),
        (408, "server", False),
        (410, "gone", True),
        (413, "invalid", True),
        (418, "invalid", True),
        (422, "invalid", True),
        (425, "server", False),
        (429, "rate_limited", False),
        (500, "server", False),
        (502, "server", False),
        (503, "server", False),
        (599, "server", False),
    ],
)
def test_an_answer_means_done_again_or_never(status: int, kind: str, final: bool) -> None:
    error = failure(Reply(status, b"so it is", {"Location": "http://127.0.0.1:9/"}))

    assert (error.kind, error.final) == (kind, final)
    assert f"answered {status}: so it is" in str(error)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_status_of_success_is_one(status: int) -> None:
    with FakeHttp(Reply(status, b"")) as fake:
        assert webhook(fake.url).send(of_kind("test"), "") == ""


@pytest.mark.parametrize(
    ("value", "pause_s"),
    [("1", 1.0), ("30", 30.0), ("Tue, 14 Nov 2023 22:21:00 GMT", 60.0), ("soon", None), ("", None)],
)
def test_the_pause_that_the_receiver_asks_for_is_told(value: str, pause_s: float | None) -> None:
    for status in (429, 503):
        assert failure(Reply(status, headers={"Retry-After": value})).retry_after_s == pause_s


@pytest.mark.parametrize(("way", "kind"), [("hang", "timeout"), ("drip", "timeout"), ("cut", "io"), ("half", "io")])
def test_no_whole_answer_is_tried_again(way: Any, kind: str) -> None:
    error = failure(Reply(way=way), deadline_s=0.2)

    assert (error.kind, error.final) == (kind, False)


def test_where_nobody_listens_is_tried_again() -> None:
    with FakeHttp() as fake:
        url = fake.url

    with pytest.raises(NotifyError) as caught:
        webhook(url).send(of_kind("open"), "")

    assert (caught.value.kind, caught.value.final) == ("refused", False)


@pytest.mark.parametrize(
    "echo",
    [
        lambda url: f"no route for {url}",
        lambda url: "no route for /hooks/s3cr3t%2Dpath?key=K3Y-0123",
        lambda url: f"bad token {TOKEN.upper()}",
        lambda url: f"x{SECRET}x",
    ],
)
def test_what_a_receiver_repeats_of_our_secrets_is_not_shown(echo: Callable[[str], str]) -> None:
    path = "hooks/s3cr3t-path?key=K3Y-0123"
    with FakeHttp(otherwise=lambda got: Reply(400, echo(got.path).encode())) as fake:
        sender = webhook(fake.url + path, keys=(SECRET,), headers={"X-Token": TOKEN})
        with pytest.raises(NotifyError) as caught:
            sender.send(of_kind("open"), "")

    assert str(caught.value) == f"ops (http://127.0.0.1:{fake.port}/...): answered 400"
    assert not re.search("s3cr3t|K3Y|t0k3n|whsec", repr(sender) + repr(caught.value))


def test_a_receivers_words_are_one_short_printable_line() -> None:
    error = failure(Reply(400, (HOSTILE * 50).encode(errors="replace")))

    assert str(error).isprintable()
    assert len(str(error)) < 300


def read(config: dict[str, Any]) -> WebhookConfig:
    return msgspec.convert({"type": "webhook", "name": "ops", **config}, WebhookConfig)


def test_a_configuration_with_everything_in_files_builds_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n{OLD_SECRET}\n")
    (tmp_path / "headers").write_text(f"# ours\n\nAuthorization: Bearer {TOKEN}\n")
    with FakeHttp() as fake:
        (tmp_path / "url").write_text(f"{fake.url}hooks/s3cr3t\n")
        config = read(
            {
                "url_file": str(tmp_path / "url"),
                "secret_file": str(tmp_path / "secret"),
                "headers": {"X-Team": "ops"},
                "headers_file": str(tmp_path / "headers"),
                "pause_s": 2.0,
            }
        )
        config.check()
        sender = config.build(NoLinks())

        sender.send(of_kind("open"), "")
        sender.close()

    got = fake.requests[0]
    assert got.path == "/hooks/s3cr3t"
    assert (got.headers["x-team"], got.headers["authorization"]) == ("ops", f"Bearer {TOKEN}")
    assert len(got.headers["webhook-signature"].split()) == 2
    assert (sender.name, sender.pause_s, sender.edits) == ("ops", 2.0, False)
    assert config.address() == f"http://127.0.0.1:{fake.port}/..."


def test_an_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_WEBHOOK_URL", " https://hooks.example.com/s3cr3t ")

    assert read({"url_env": "TEST_WEBHOOK_URL"}).address() == "https://hooks.example.com/..."


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "none of url, url_file and url_env is set, expected one of them"),
        ({"url": "http://h/s3cr3t", "url_env": "X"}, "url and url_env of url, url_file and url_env is set"),
        ({"url_env": "TEST_NOWHERE"}, "url_env: TEST_NOWHERE is not in the environment"),
        ({"url_file": "/nowhere/s"}, "url_file: cannot read /nowhere/s: No such file"),
        ({"url_file": "/dev/null"}, "url_file: empty, expected url"),
        ({"url_file": "/dev/zero"}, "is longer than 65536 bytes"),
        ({"url": "hooks.example.com/s3cr3t"}, "expected http://HOST"),
        ({"url": "http://h/s3cr3t\r\nX: y"}, "expected http://HOST"),
        ({"url": "http://h", "secret": "s3cr3t"}, "secret: expected whsec_ and 24 to 64 random bytes in base64"),
        ({"url": "http://h", "secret": "whsec_s3cr3t"}, "secret: expected whsec_"),
        ({"url": "http://h", "secret": "whsec_" + "A" * 200}, "secret: expected whsec_"),
        ({"url": "http://h", "headers": {"A b": "s3cr3t"}}, "headers: a name or a value that HTTP cannot carry"),
        ({"url": "http://h", "headers": {"A": "s3cr3t\n"}}, "headers: a name or a value that HTTP cannot carry"),
        ({"url": "http://h", "headers": {"Host": "s3cr3t"}}, "headers: Host is set by logllm"),
        ({"url": "http://h", "headers": {"Webhook-Id": "s3cr3t"}}, "headers: Webhook-Id is set by logllm"),
        ({"url": "http://h", "headers_file": "/etc/hostname"}, "headers_file: line 1 is no header"),
        ({"url": "https://h", "ca": "/nowhere/ca"}, "/nowhere/ca: cannot read the authorities"),
        ({"url": "http://h", "proxy": "https://s3cr3t:s3cr3t@p"}, "of a proxy"),
    ],
)
def test_a_wrong_configuration_says_whose_it_is_and_shows_no_secret(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(config).check()

    assert str(caught.value).startswith("destination 'ops': ")
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_configuration_shows_no_secret() -> None:
    config = read(
        {
            "url": "http://h/s3cr3t",
            "secret": SECRET,
            "headers": {"A": "s3cr3t"},
            "proxy": "http://me:s3cr3t@p:1",
            "ca": "ca.pem",
        }
    )

    assert repr(config) == (
        "WebhookConfig(name='ops', url='***', secret='***', headers='***', ca='ca.pem', proxy='***')"
    )
    assert "s3cr3t" not in str(config.__rich_repr__())


def example() -> bytes:
    told = of_kind("explanation")
    one = msgspec.structs.replace(told.incidents[0], evidence=told.incidents[0].evidence[:2])
    return posted(msgspec.structs.replace(told, incidents=[one]))


def test_the_documented_example_is_what_is_sent() -> None:
    page, body = PAGE.read_text(), example()
    if os.environ.get("LOGLLM_UPDATE_GOLDEN") == "1":
        pretty = msgspec.json.format(body, indent=2).decode()
        page = re.sub(r"```json\n.*?```", lambda _: f"```json\n{pretty}\n```", page, flags=re.DOTALL)
        PAGE.write_text(page)

    found = re.search(r"```json\n(.*?)```", page, re.DOTALL)

    assert found is not None
    assert json.loads(found[1]) == json.loads(body)


def test_every_field_of_the_format_is_documented_and_nothing_else() -> None:
    table = PAGE.read_text().split("| field | what |")[1].split("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]

    assert sorted(named) == sorted(field.name for field in msgspec.structs.fields(Message))


@pytest.mark.parametrize("number", [0, 1])
def test_the_documented_programs_tell_ours_from_forged(number: int) -> None:
    program = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[number]
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - our own documentation
    with FakeHttp() as fake:
        webhook(fake.url, keys=(OLD_SECRET, SECRET)).send(of_kind("open"), "")
    got = fake.requests[0]

    assert names["is_ours"](SECRET, got.headers, got.body, NOW_S)
    assert not names["is_ours"](SECRET, got.headers, got.body + b" ", NOW_S)
    assert not names["is_ours"](SECRET, got.headers, got.body, NOW_S + 301)
    assert not names["is_ours"]("whsec_" + b64encode(bytes(32)).decode(), got.headers, got.body, NOW_S)
    assert not names["is_ours"](SECRET, {}, got.body, NOW_S)
