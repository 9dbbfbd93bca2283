"""`logllm doctor` as it is typed."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result

from logllm.cli.main import main
from tests.cli.test_serve_command import served
from tests.doctor.servers import GOOD, serving


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments])


def quiet(folder: Path, more: str = "") -> str:
    """A configuration on free ports and without a model."""
    path = folder / "logllm.toml"
    text = '[forward]\nlisten = "127.0.0.1:0"\nmax_connections = 1\n[http]\nlisten = "127.0.0.1:0"\n'
    path.write_text(f'{more}{text}[explain]\nmodel = ""\n', encoding="utf-8")
    return str(path)


def objects(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_on_a_pipe_each_check_is_one_plain_line_and_nothing_that_failed_is_exit_code_zero(tmp_path: Path) -> None:
    result = doctor("-c", quiet(tmp_path), "--data-dir", str(tmp_path / "data"))

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) > 8
    assert all(re.match(r"(ok     |warn   |fail   |skipped)  \S.*: \S", line) for line in lines)
    assert "\x1b" not in result.stdout
    assert re.fullmatch(r"(\d+ (ok|warn|fail|skipped)(, )?)+\n", result.stderr)


def test_something_that_failed_is_exit_code_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    result = doctor("-c", quiet(tmp_path), "--data-dir", str(file))

    assert result.exit_code == 1
    assert f"fail     data_dir {file}: " in result.stdout


def test_a_wrong_configuration_is_exit_code_two_whatever_else_failed(tmp_path: Path) -> None:
    path = tmp_path / "logllm.toml"
    path.write_text("[explain]\nn_ctx = 1\n", encoding="utf-8")

    result = doctor("-c", str(path), "--fluent-bit", str(tmp_path / "none.yaml"))

    assert result.exit_code == 2
    first, second = result.stdout.splitlines()
    assert first.startswith(f"fail     configuration {path}: ")
    assert "$.explain.n_ctx" in first
    assert second.startswith("fail     Fluent Bit's ")


@pytest.mark.parametrize("arguments", [["--url", "127.0.0.1:1"], ["--url", "http://127.0.0.1:1", "--offline"]])
def test_options_that_make_no_sense_are_exit_code_two(arguments: list[str]) -> None:
    result = doctor(*arguments)

    assert result.exit_code == 2
    assert "--url" in result.stderr


def test_json_is_an_object_a_check_and_one_that_counts_them(tmp_path: Path) -> None:
    result = doctor("-c", quiet(tmp_path), "--offline", "--json")

    *checks, summary = objects(result)
    assert {tuple(one) for one in checks} == {("type", "level", "about", "found", "advice")}
    assert {one["type"] for one in checks} == {"check"}
    assert summary["type"] == "summary"
    assert sum(summary[level] for level in ("ok", "warn", "fail", "skipped")) == len(checks)


def test_on_a_terminal_it_is_coloured_and_kept_within_its_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)

    result = doctor("-c", quiet(tmp_path), "--offline")

    assert "\x1b[32mok" in result.stdout
    shown = re.sub(r"\x1b\[[\d;]*m", "", result.stdout).splitlines()
    assert max(map(len, shown)) <= 60
    assert any(line.startswith(" " * 9) for line in shown)


def test_what_a_service_answers_cannot_steer_the_terminal(tmp_path: Path) -> None:
    hostile = b'{"reasons":["\\u001b]0;owned\\u0007 \\u202e a\\nfail     all: is lost"]}'

    with serving({**GOOD, "/readyz": (503, hostile)}) as url:
        result = doctor("-c", quiet(tmp_path), "--url", url)

    assert result.exit_code == 1
    assert not re.search("[\x1b\x07\u202e]", result.stdout)
    assert not any(line.startswith("fail     all") for line in result.stdout.splitlines())


def test_a_service_that_was_asked_for_and_does_not_answer_is_a_failure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"

    result = doctor("-c", quiet(tmp_path), "--url", url)

    assert result.exit_code == 1
    assert f"fail     service {url}: no logllm answers" in result.stdout


def test_a_real_service_is_recognised_and_its_sender_without_acks_is_told(tmp_path: Path) -> None:
    with served("--no-llm", "--data-dir", str(tmp_path / "data")) as running:
        frame = msgpack.packb(["app", [[1_770_000_000, {"log": "no ack is asked for"}]]])
        asked = msgpack.packb(["app", [[1_770_000_000, {"log": "one is"}]], {"chunk": "a"}])
        # One connection is read in its order: with the ack, what came before has been taken as well.
        running.send([frame, asked], acks=1)
        path = tmp_path / "logllm.toml"
        path.write_text(
            f'data_dir = "{tmp_path / "data"}"\n[forward]\nlisten = "127.0.0.1:{running.forward_port}"\n'
            f'[http]\nlisten = "127.0.0.1:{running.http_port}"\n[explain]\nmodel = ""\n',
            encoding="utf-8",
        )

        result = doctor("-c", str(path), "--json")

        assert running.end() == 0
    *checks, _ = objects(result)
    assert result.exit_code == 0, [one for one in checks if one["level"] == "fail"]
    assert [one["level"] for one in checks if "listen" in one["about"]] == ["ok", "ok"]
    assert any(one["found"] == "ready" for one in checks)
    (unacknowledged,) = [one for one in checks if "so a sender without acks" in one["found"]]
    assert unacknowledged["level"] == "warn"
    assert unacknowledged["found"].endswith(": 1")
