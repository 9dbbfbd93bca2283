"""`logllm serve` tells people: a real service, real bytes, and a receiver of ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.cli.test_serve_command import attack, frames_of, ordinary, served
from tests.notify.fake_http import FakeHttp, Reply

ENTRIES = sorted(ordinary(120) + attack(100, 400), key=lambda entry: entry[0])


def told(receiver: FakeHttp, kind: str) -> list[dict[str, Any]]:
    return [body for one in list(receiver.requests) if (body := one.json()).get("kind") == kind]


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    ends_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def test_a_webhook_is_told_of_an_incident_with_its_facts_and_the_runbook_within_a_second_of_the_terminal() -> None:
    with FakeHttp() as receiver, served("--no-llm", "--json", "--webhook", receiver.url) as running:
        running.send(frames_of(ENTRIES), len(frames_of(ENTRIES)))
        until(lambda: any(event["type"] == "incident" for event in running.events))
        seen_s = time.monotonic()
        receiver.wait_for(1)
        opened = told(receiver, "open")[0]
        code = running.end()

    first = next(event for event in running.events if event["type"] == "incident")
    assert code == 0
    assert receiver.requests[0].at_s - seen_s < 1.5
    assert opened["incidents"][0]["id"] == first["id"]
    assert opened["incidents"][0]["expected"] == first["expected"]
    assert opened["runbook"]["id"] == "db-pool-exhausted"
    assert opened["severity"] == "critical"


def test_slack_is_told_by_the_address_in_the_environment_which_nothing_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHttp() as receiver:
        monkeypatch.setenv("LOGLLM_SLACK_WEBHOOK", f"{receiver.url}services/T000/B000/verysecret")
        with served("--no-llm", "--json") as running:
            running.send(frames_of(ENTRIES), len(frames_of(ENTRIES)))
            receiver.wait_for(1)
            until(lambda: running.get("/destinations")[0] == 200)
            _, destinations = running.get("/destinations")
            _, metrics = running.get("/metrics")
            running.end()

    message = receiver.requests[0].json()
    assert receiver.requests[0].path == "/services/T000/B000/verysecret"
    assert "shop" in message["text"]
    assert message["blocks"][0]["type"] == "header"
    assert json.loads(destinations)[0]["name"] == "slack"
    for shown in (destinations, metrics, json.dumps(running.events), "\n".join(running.errors)):
        assert "verysecret" not in shown


def test_what_waits_when_it_is_killed_arrives_after_the_next_start(tmp_path: Path) -> None:
    arguments = ("--no-llm", "--json", "--data-dir", str(tmp_path))
    with FakeHttp(otherwise=Reply(503)) as receiver:
        with served(*arguments, "--webhook", receiver.url) as running:
            running.send(frames_of(ENTRIES), len(frames_of(ENTRIES)))
            receiver.wait_for(2)
            os.kill(running.child.pid, signal.SIGKILL)
            running.child.wait(timeout=20)
        refused = receiver.requests[0].json()["id"]
    with FakeHttp() as receiver:
        with served(*arguments, "--webhook", receiver.url) as running:
            receiver.wait_for(1, timeout_s=60.0)
            running.end()

        assert [one.json()["id"] for one in receiver.requests if one.json()["kind"] == "open"] == [refused]


def test_a_link_in_the_message_acknowledges_and_the_destination_is_told_who(tmp_path: Path) -> None:
    port = _free_port()
    config = tmp_path / "logllm.toml"
    with FakeHttp() as receiver:
        config.write_text(
            f'[notify]\npublic_url = "http://127.0.0.1:{port}"\n'
            f'[[notify.destinations]]\ntype = "webhook"\nname = "ours"\nurl = "{receiver.url}"\n'
        )
        with served("--no-llm", "--json", "-c", str(config), "--http", f"127.0.0.1:{port}") as running:
            running.send(frames_of(ENTRIES), len(frames_of(ENTRIES)))
            receiver.wait_for(1)
            opened = told(receiver, "open")[0]
            link = next(each["url"] for each in opened["links"] if each["verb"] == "acknowledge")
            looked = httpx.get(link, trust_env=False)
            pressed = httpx.post(
                link.partition("?")[0], data={"token": urlsplit(link).query.partition("=")[2]}, trust_env=False
            )
            until(lambda: bool(told(receiver, "answer")))
            running.end()

    assert looked.status_code == 200
    assert pressed.status_code == 200
    answer = told(receiver, "answer")[0]["answer"]
    assert (answer["incident"], answer["verdict"]) == (opened["incidents"][0]["id"], "acknowledge")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--slack-webhook", "https://hooks.slack.com/services/T0/B0/verysecret"), "hooks.slack.com"),
        (("--webhook", "https://me:verysecret@alerts.example.com/verysecret"), "alerts.example.com"),
        (("--sink", "loki+https://me:verysecret@logs.example.com/verysecret"), "logs.example.com"),
        (("--sink", "forward://db.example.com:24224"), "db.example.com"),
    ],
)
def test_an_option_may_name_another_machine_only_where_the_configuration_allows_it(
    arguments: tuple[str, ...], names: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "logllm.cli", "serve", "--no-llm", "--listen", "127.0.0.1:0", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 2
    assert f"{names} is not this machine" in ended.stderr
    assert f'[egress] allow = ["{names}"]' in ended.stderr
    assert "verysecret" not in ended.stderr


def _free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
