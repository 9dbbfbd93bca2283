"""`logllm llm` as it is typed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from logllm.cli.main import main
from tests.explain.fakes import ChatServer

KEY = "sk-test-0123456789"
BODY = json.dumps({"messages": [{"role": "user", "content": "Is all well?"}]}).encode()


class Running(NamedTuple):
    url: str
    banner: list[str]
    process: subprocess.Popen[str]


@contextlib.contextmanager
def served(*arguments: str, key: str = "") -> Iterator[Running]:
    environment = {name: value for name, value in os.environ.items() if name != "LOGLLM_API_KEY"}
    if key:
        environment["LOGLLM_API_KEY"] = key
    command = [sys.executable, "-m", "logllm.cli", "llm", "serve", "--listen", "127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            banner = []
            for line in process.stdout:
                banner.append(line.rstrip("\n"))
                if line.startswith("client.chat"):
                    break
            assert banner, "it ended at once"
            yield Running(banner[0].split(" at ")[1], banner, process)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def post(url: str, key: str) -> int:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/chat/completions", BODY, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def llm(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["llm", *arguments])


def test_a_key_is_made_up_and_shown_once_with_what_to_type(tmp_path: Path) -> None:
    with ChatServer("all is well", "plain") as server, served("--model", f"{server.url}/v1#m", key=KEY) as running:
        shown = running.banner[1].removeprefix("key, for this run: ")

        assert running.banner[0].startswith("m at http://127.0.0.1:")
        assert len(shown) > 40
        assert sum(f"Bearer {shown}" in line or f'"{shown}"' in line for line in running.banner) == 2
        assert post(running.url, shown) == 200
        # Before a URL that variable is the key of the server there, and nobody else's business.
        assert post(running.url, KEY) == 401
        assert server.keys == [f"Bearer {KEY}"]


def test_keys_come_from_a_file_and_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# for the team\n{KEY}\n\nsk-other-9876543210\n")
    config = tmp_path / "logllm.toml"
    with ChatServer("all is well", "plain") as server:
        config.write_text(f'[llm]\nmodel = "{server.url}/v1"\nkey_file = "keys"\n')
        with served("-c", str(config)) as running:
            assert [post(running.url, key) for key in (KEY, "sk-other-9876543210", "sk-wrong")] == [200, 200, 401]
            assert not any(KEY in line for line in running.banner)

            status = llm("status", "--url", running.url, "--key-file", str(tmp_path / "keys"))
            plain = llm("status", "--url", running.url)

    assert status.output == "default: 0 under way\n"
    assert plain.output.startswith("ok; for more give its key")


def test_without_a_key_this_machine_may_ask() -> None:
    with ChatServer("all is well", "plain") as server, served("--model", server.url, "--no-key") as running:
        assert post(running.url, "") == 200
        assert 'api_key="none"' in running.banner[-2]


def test_what_leaves_for_a_url_is_written_down_without_the_key(tmp_path: Path) -> None:
    arguments = ("--data-dir", str(tmp_path), "--no-key")
    with ChatServer("ok", "plain") as server, served("--model", server.url, *arguments, key=KEY) as running:
        assert post(running.url, "") == 200

    listed = CliRunner().invoke(main, ["audit", "egress", "--data-dir", str(tmp_path), "--json"])
    entry = json.loads(listed.stdout.splitlines()[0])
    assert (entry["kind"], entry["to"]) == ("model", server.url.removeprefix("http://"))
    assert KEY not in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--listen", "0.0.0.0:0", "--no-key", "--model", "http://127.0.0.1:1"], 2, "without a key"),
        (["--no-key", "--key-file", "x"], 2, "give one of them"),
        (["--key-file", "/nowhere/keys", "--model", "http://127.0.0.1:1"], 2, "/nowhere/keys: cannot read keys"),
        (["--model", "https://llm.example.com/v1"], 1, 'allow = ["llm.example.com"]'),
        (["--model", "no-such-model"], 1, "no-such-model: Expected one of"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_an_exit_code(arguments: list[str], code: int, said: str) -> None:
    result = llm("serve", *arguments)

    assert result.exit_code == code
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "short\n", f"{KEY}\nwith a space in it\n", "sk-é-0123456789abc\n"])
def test_a_file_of_keys_that_are_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)

    result = llm("serve", "--model", "http://127.0.0.1:1", "--key-file", str(tmp_path / "keys"))

    assert result.exit_code == 2
    assert "expected a key of at least 16 characters on each line" in result.stderr


def test_status_of_nothing_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    result = llm("status", "--url", f"http://127.0.0.1:{port}")

    assert result.exit_code == 1
    assert "no such service" in result.stderr
