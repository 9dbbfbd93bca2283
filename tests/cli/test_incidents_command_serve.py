"""Answers to a real `logllm serve`: by link, by button's address and by command, over restarts and a kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from logllm.events import rfc3339
from logllm.wire.signed import Signer, secret_at
from tests.cli.test_serve_command import ROOT, START_NS, Served, attack, frame, ordinary, served
from tests.notify.fake_http import FakeHttp

MINUTE_NS = 60 * 10**9


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    ends_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def opened(running: Served) -> list[dict[str, Any]]:
    return [event for event in list(running.events) if event["type"] == "incident" and event["event"] == "open"]


def send(running: Served, first: int, last: int, attacked: int | None = None, count: int = 400) -> None:
    """Ordinary traffic of some minutes, with the same errors in one of them."""
    entries = ordinary(last - first, START_NS + first * MINUTE_NS)
    if attacked is not None:
        entries += attack(attacked, count)
    entries.sort(key=lambda entry: entry[0])
    parts = [entries[at : at + 500] for at in range(0, len(entries), 500)]
    running.send([frame("app.shop", part, f"{first}-{at}") for at, part in enumerate(parts)], len(parts))


class Rig:
    """A service with a webhook, links, and a data folder that outlives it."""

    def __init__(self, folder: Path, receiver: FakeHttp) -> None:
        self.port = free_port()
        self.data = folder / "data"
        self.receiver = receiver
        config = folder / "logllm.toml"
        config.write_text(
            f'[notify]\npublic_url = "http://127.0.0.1:{self.port}"\n'
            f'[[notify.destinations]]\ntype = "webhook"\nname = "ours"\nurl = "{receiver.url}"\n'
        )
        self.arguments: tuple[str, ...] = ("--no-llm", "--json", "--alerts-per-day", "1000", "-c", str(config))
        self.arguments += ("--data-dir", str(self.data), "--http", f"127.0.0.1:{self.port}")

    def answer(self, incident: str, verdict: str) -> httpx.Response:
        """Press a link of the message; where it has none for this answer, one that the service would have signed."""
        told = [one.json() for one in list(self.receiver.requests)]
        links = [each for body in told if body.get("kind") == "open" for each in body["links"]]
        url = next((each["url"] for each in links if each["verb"] == verdict and each["incident"] == incident), "")
        token = urlsplit(url).query.partition("=")[2]
        if not token:
            token = Signer(secret_at(self.data / "links.key")).sign(incident, verdict, int(time.time()) + 600)
        return httpx.post(f"http://127.0.0.1:{self.port}/answer", data={"token": token}, trust_env=False)

    def first(self, running: Served) -> str:
        """Two hours of traffic with errors; the id of the incident they are, told and about to be answered."""
        send(running, 0, 120, 100)
        until(lambda: bool(opened(running)))
        until(lambda: any(one.json().get("kind") == "open" for one in list(self.receiver.requests)))
        return str(opened(running)[0]["id"])

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "logllm.cli", "incidents", *arguments, "--data-dir", str(self.data)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline")},
            timeout=60,
        )
        return done.stdout


def test_noise_by_a_link_is_not_told_again_nor_after_a_restart_nor_after_a_kill(tmp_path: Path) -> None:
    with FakeHttp() as receiver:
        rig = Rig(tmp_path, receiver)
        with served(*rig.arguments) as running:
            incident = rig.first(running)
            said = rig.answer(incident, "noise")
            send(running, 120, 300, 240)
            running.end()
            before_restart = opened(running)
        with served(*rig.arguments) as running:
            send(running, 300, 420, 360)
            running.end(signal.SIGKILL)
            before_kill = opened(running)
        with served(*rig.arguments) as running:
            send(running, 420, 600, 540)
            running.end()
            after_kill = opened(running)

    assert said.status_code == 200
    assert "not told again" in said.text
    assert "pool exhausted" not in said.text
    assert [event["id"] for event in before_restart] == [incident]
    assert before_kill == after_kill == []
    (answer,) = tomllib.loads((rig.data / "learned.toml").read_text())["answers"]
    assert (answer["verdict"], answer["incident"], answer["by"]) == ("noise", incident, "somebody by a link")
    assert (rig.data / "learned.toml").stat().st_mode & 0o777 == 0o600
    assert running.events[-1]["skipped"]["anomalies held back by answers"] >= 1


def test_real_by_a_link_is_told_with_the_next_record_even_when_a_kill_took_what_was_learned(tmp_path: Path) -> None:
    with FakeHttp() as receiver:
        rig = Rig(tmp_path, receiver)
        with served(*rig.arguments) as running:
            incident = rig.first(running)
            rig.answer(incident, "real")
            running.end(signal.SIGKILL)
        with served(*rig.arguments, "--alerts-per-day", "0.001") as running:
            send(running, 300, 350, 310, count=1)
            running.end()
            again = opened(running)

    assert len(again) == 1
    assert again[0]["title"].startswith("Known problem again: ERROR could not reserve item")
    assert again[0]["severity"] == "critical"


def test_expected_from_the_command_line_holds_for_as_much_again_but_not_for_clearly_more(tmp_path: Path) -> None:
    with FakeHttp() as receiver:
        rig = Rig(tmp_path, receiver)
        with served(*rig.arguments) as running:
            incident = rig.first(running)
            said = rig.command("expected", incident[:8], "--by", "ann", "--note", "nightly import")
            send(running, 120, 300, 240)
            send(running, 300, 420, 360, count=4_000)
            running.end()
            more = opened(running)[1:]
        listed = rig.command("answers")

    assert "1 answer kept" in said
    assert [event["time"] > rfc3339(START_NS + 360 * MINUTE_NS) for event in more] == [True]
    assert "held back" in listed
    assert "nightly import" in listed


def test_an_answer_that_is_taken_back_holds_no_longer_while_the_service_runs(tmp_path: Path) -> None:
    with FakeHttp() as receiver:
        rig = Rig(tmp_path, receiver)
        with served(*rig.arguments) as running:
            incident = rig.first(running)
            rig.command("noise", incident, "--for", "7d")
            rig.command("forget-answer", incident)
            send(running, 120, 300, 240)
            running.end()
            told = opened(running)[1:]
        left = rig.command("answers")

    assert [event["service"] for event in told] == ["shop"]
    assert left == ""


def test_an_answer_without_a_data_folder_holds_until_the_end(tmp_path: Path) -> None:
    with FakeHttp() as receiver:
        rig = Rig(tmp_path, receiver)
        arguments = [each for each in rig.arguments if each not in ("--data-dir", str(rig.data))]
        with served(*arguments) as running:
            incident = rig.first(running)
            rig.answer(incident, "noise")
            send(running, 120, 300, 240)
            running.end()
            told = opened(running)[1:]

    assert told == []
