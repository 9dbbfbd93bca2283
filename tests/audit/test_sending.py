"""What each sender tells the ledger: the very bytes, before the first of them leaves, or nothing leaves."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from logllm.actions.run import call_webhook
from logllm.audit.entry import GAP, Entry
from logllm.audit.ledger import FILE, Ledger
from logllm.audit.verify import Reading
from logllm.config import Config
from logllm.egress import EgressConfig, Sent, about
from logllm.errors import ConfigError, DeliveryError, ExplainLater, NotifyError, StateError
from logllm.explain.asker import Asker
from logllm.explain.config import ExplainConfig
from logllm.notify.alertmanager import AlertmanagerConfig
from logllm.notify.apprise import AppriseConfig
from logllm.notify.config import DestinationConfig
from logllm.notify.notification import Notification
from logllm.notify.pagerduty import PagerDutyConfig
from logllm.notify.slack import SlackConfig
from logllm.notify.webhook import WebhookConfig
from logllm.service.reload import needs_restart
from logllm.wire.http import HttpClient
from tests.notify.fake_http import FakeHttp, Reply

KEY = "R" * 32
BOT = Reply(body=b'{"ok": true, "channel": "C1", "ts": "1700000000.000100"}')
CHAT = Reply(body=b'{"choices": [{"message": {"content": "{\\"answer\\": \\"yes\\"}"}, "finish_reason": "stop"}]}')


class NoLinks:
    def url(self, incident: str, verb: str) -> str:
        return ""


class Refusing:
    """A ledger that cannot be written, and must be."""

    def __call__(self, kind: str, name: str, secrets: Sequence[str] = ()) -> Sent:
        def sent(to: str, body: bytes) -> None:
            raise StateError("egress.db: disk is full")

        return sent


def told() -> Notification:
    return Notification(id="m-1", kind="test", thread="test", incidents=[], total=0)


def read(path: Path) -> list[tuple[Entry, bytes | None]]:
    reading = Reading(path)
    found = [(entry, reading.body(entry)) for entry in reading.entries()]
    assert reading.verify().wrong == ""
    reading.close()
    return found


def destinations(at: FakeHttp, folder: Path) -> list[DestinationConfig]:
    (folder / "token").write_text("xo" + "xb-1")
    found: list[DestinationConfig] = [
        SlackConfig("slack", url=f"{at.url}services/T/B/s3cret"),
        SlackConfig("bot", token_file=str(folder / "token"), channel="C1", api_url=f"{at.url}api/"),
        WebhookConfig("webhook", url=at.url, secret="wh" + "sec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        AlertmanagerConfig("alertmanager", url=at.url),
        PagerDutyConfig("pagerduty", routing_key=KEY, url=at.url),
    ]
    return found


def test_what_every_destination_sends_is_in_the_ledger_byte_for_byte(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / FILE)

    with FakeHttp(otherwise=lambda one: BOT if one.path.startswith("/api") else Reply()) as receiver:
        for config in destinations(receiver, tmp_path):
            with about("m-1"):
                config.build(NoLinks(), ledger).send(told(), "")
    ledger.close()

    found = read(tmp_path / FILE)
    assert [entry.kind for entry, _ in found] == ["slack", "slack", "webhook", "alertmanager", "pagerduty"]
    for (entry, body), request in zip(found, receiver.requests, strict=True):
        assert body is not None
        assert body.replace(b"*" * len(KEY), KEY.encode()) == request.body
        assert (entry.to, entry.about, entry.size) == (f"127.0.0.1:{receiver.port}", "m-1", len(request.body))
    everything = b"".join(path.read_bytes() for path in tmp_path.glob("egress.db*"))
    bodies = b"".join(body or b"" for _, body in found)
    for secret in (KEY, "s3cret", "xo" + "xb-1", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"):
        assert secret.encode() not in everything + bodies


def test_where_it_cannot_be_written_down_and_must_be_nothing_leaves_and_it_is_tried_again(tmp_path: Path) -> None:
    with FakeHttp(otherwise=BOT) as receiver:
        for config in destinations(receiver, tmp_path):
            with pytest.raises(NotifyError, match=r"not sent: egress\.db: disk is full") as caught:
                config.build(NoLinks(), Refusing()).send(told(), "")
            assert not caught.value.final
            assert caught.value.kind == "refused"

    assert receiver.requests == []


def test_apprise_is_told_of_by_its_title_and_text(tmp_path: Path) -> None:
    if importlib.util.find_spec("apprise") is None:
        pytest.skip("Apprise is not installed: pip install 'logllm[apprise]'")
    ledger = Ledger(tmp_path / FILE)

    with FakeHttp() as receiver:
        config = AppriseConfig("mail", urls=[f"json://127.0.0.1:{receiver.port}/t0ken"])
        config.build(NoLinks(), ledger).send(told(), "")
        with pytest.raises(NotifyError, match="not sent"):
            config.build(NoLinks(), Refusing()).send(told(), "")
    ledger.close()

    ((entry, body),) = read(tmp_path / FILE)
    assert body is not None
    assert (entry.kind, entry.to) == ("apprise", "127.0.0.1")
    assert receiver.requests[0].json()["message"].strip() in body.decode()
    assert len(receiver.requests) == 1


def test_the_ledger_has_it_before_the_receiver_and_not_where_nobody_listens() -> None:
    arrived: list[int] = []
    with FakeHttp() as receiver:
        client = HttpClient(receiver.url, sent=lambda to, body: arrived.append(len(receiver.requests)))
        client.request(b"x", {})
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        deaf = HttpClient(f"http://127.0.0.1:{unused.getsockname()[1]}/", sent=lambda to, body: arrived.append(99))
        with pytest.raises(DeliveryError):
            deaf.request(b"x", {})

    assert arrived == [0]


def test_a_redirect_sends_nothing_to_where_it_leads(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / FILE)
    with FakeHttp() as other, FakeHttp(otherwise=Reply(302, headers={"Location": other.url})) as receiver:
        for config in destinations(receiver, tmp_path):
            with pytest.raises(NotifyError):
                config.build(NoLinks(), ledger).send(told(), "")
    ledger.close()

    assert other.requests == []
    assert {entry.to for entry, _ in read(tmp_path / FILE)} == {f"127.0.0.1:{receiver.port}"}


def test_a_webhook_of_an_action_that_cannot_be_written_down_has_failed_and_was_not_sent(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / FILE)
    with FakeHttp() as receiver:
        sent, refused = ledger("action", "drain"), Refusing()("action", "drain")
        done = call_webhook(receiver.url, "POST", b"{}", request_id="a", timeout_s=10, sent=sent)
        failed = call_webhook(receiver.url, "POST", b"{}", request_id="b", timeout_s=10, sent=refused)
    ledger.close()

    assert (done.state, failed.state, len(receiver.requests)) == ("done", "failed", 1)
    assert [(entry.kind, entry.name, body) for entry, body in read(tmp_path / FILE)] == [("action", "drain", b"{}")]


def test_a_model_is_asked_with_bytes_that_are_in_the_ledger_or_later(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / FILE)
    with FakeHttp(otherwise=CHAT) as server:
        asker = Asker(f"{server.url}v1", ExplainConfig(), record=ledger)
        answer = asker.question("Is it odd?")
        asker.close()
        later = Asker(f"{server.url}v1", ExplainConfig(), record=Refusing())
        with pytest.raises(ExplainLater, match=r"not sent: egress\.db: disk is full"):
            later.question("Is it odd?")
        later.close()
    ledger.close()

    assert answer == "yes"
    assert [(entry.kind, body) for entry, body in read(tmp_path / FILE)] == [("model", server.requests[0].body)]
    assert len(server.requests) == 1


def test_a_full_disk_costs_a_gap_and_no_alert(tmp_path: Path) -> None:
    path = tmp_path / FILE
    code = (
        "import os, resource, signal, sys; from pathlib import Path; from logllm.audit.ledger import Ledger\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "ledger = Ledger(Path(sys.argv[1]), tell=print); ledger.append('webhook', 'w', 'h:1', b'first')\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))\n"
        "for _ in range(20): ledger.append('webhook', 'w', 'h:1', os.urandom(50_000))\n"
        "print(ledger.missed > 5)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
        "ledger.append('webhook', 'w', 'h:1', b'last'); ledger.close()"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=60, env=os.environ
    )

    lines = ended.stdout.splitlines()
    kinds = [entry.kind for entry, _ in read(path)]
    assert lines[-1] == "True"
    assert len(lines) == 2
    assert "a gap in the ledger will say so" in lines[0]
    assert kinds[0] == "webhook"
    assert kinds[-2:] == [GAP, "webhook"]
    assert kinds.count(GAP) == 1


def test_the_old_switch_for_models_elsewhere_names_the_new_key(tmp_path: Path) -> None:
    path = tmp_path / "logllm.toml"
    path.write_text("[explain]\nallow_remote = true\n")

    with pytest.raises(ConfigError, match=r"allow_remote.*\[egress\] allow = \["):
        Config.load(path)


def test_another_ledger_takes_a_restart_and_another_list_of_hosts_does_not() -> None:
    old = Config()

    assert needs_restart(old, Config(egress=EgressConfig(ledger="off"))) == ["egress.ledger"]
    assert needs_restart(old, Config(egress=EgressConfig(keep_rows=500, keep_bytes=1))) == [
        "egress.keep_bytes",
        "egress.keep_rows",
    ]
    assert needs_restart(old, Config(egress=EgressConfig(allow=["hooks.example.com"]))) == []
