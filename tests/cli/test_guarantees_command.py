"""`logllm guarantees` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from logllm.cli.main import main
from logllm.guarantees.place import Place
from logllm.guarantees.promise import Promise
from logllm.guarantees.registry import PROMISES
from logllm.guarantees.verdict import Broken, Unchecked
from logllm.guarantees.wait import until

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "logllm.cli", "guarantees"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}


def holds(_: Place) -> str:
    return "all of it"


def is_broken(_: Place) -> str:
    raise Broken("half of it \x1b[31m")


def cannot(_: Place) -> str:
    raise Unchecked("no terminal here")


def promise(name: str, check: object) -> Promise:
    return Promise(id=name, sentence="It is so.", tests=(), check=check)  # type: ignore[arg-type]


def test_every_promise_is_listed_with_its_limits_and_nothing_is_run() -> None:
    done = CliRunner().invoke(main, ["guarantees"])

    assert done.exit_code == 0
    for each in PROMISES:
        assert f"{each.id}\n  {each.sentence}\n" in done.stdout
        assert each.limits in done.stdout


def test_the_list_is_a_json_object_a_line_too() -> None:
    done = CliRunner().invoke(main, ["guarantees", "--json", "--only", "drain", "--only", "reload"])

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["reload", "drain"]
    assert all(row["type"] == "promise" and row["sentence"] and row["tests"] for row in rows)


def test_one_promise_is_verified_with_the_real_program_and_its_verdict_told(tmp_path: Path) -> None:
    command = [*COMMAND, "--verify", "--json", "--only", "look-alikes", "--folder", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, check=False, timeout=120, env=environment())

    verdict, summary = (json.loads(line) for line in done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, b"")
    assert (verdict["type"], verdict["id"], verdict["status"]) == ("verdict", "look-alikes", "holds")
    assert verdict["seen"]
    assert verdict["seconds"] > 0
    assert summary == {"type": "summary", "holds": 1, "broken": 0, "unchecked": 0}
    assert list(tmp_path.iterdir()) == []


def test_the_exit_code_is_one_where_something_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [promise("first", holds), promise("second", is_broken), promise("third", cannot)]
    monkeypatch.setattr("logllm.guarantees.registry.PROMISES", checks)

    done = CliRunner().invoke(main, ["guarantees", "--verify"])

    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "holds                 first   all of it (0.0 s)",
        "broken                second  half of it ␛[31m (0.0 s)",
        "could not be checked  third   no terminal here (0.0 s)",
    ]
    assert done.stderr == "1 hold, 1 broken, 1 could not be checked\n"


def test_what_could_not_be_checked_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logllm.guarantees.registry.PROMISES", [promise("first", holds), promise("third", cannot)])

    done = CliRunner().invoke(main, ["guarantees", "--verify"])

    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "no-such"], "--only 'no-such': expected one of acked-is-durable, "),
        (["--verify", "--folder", "no/such"], "--folder 'no/such': expected a folder that is there"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_two(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(main, ["guarantees", *arguments])

    assert done.exit_code == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_ended_in_the_middle_it_leaves_no_service_and_no_folder_behind(number: signal.Signals, tmp_path: Path) -> None:
    command = [*COMMAND, "--verify", "--only", "sink-down", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as running:
        # The data folder of the service it starts.
        assert until(lambda: any(tmp_path.glob("*/data")), 60.0)
        children = children_of(running.pid)
        running.send_signal(number)
        running.communicate(timeout=60)

    assert children
    assert running.returncode != 0
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 10.0)
    # Who is killed cannot tidy up.
    assert number == signal.SIGKILL or list(tmp_path.iterdir()) == []


def children_of(pid: int) -> list[int]:
    """The processes a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found
