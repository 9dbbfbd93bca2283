"""`logllm actions` as a person on call uses it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from logllm.actions.actions import Actions
from logllm.cli.actions import actions as command
from logllm.errors import LogllmError
from tests.actions.rig import NOW_S, Canary, acting, config, incident, restart


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path, then="printf 'well \\033[31m\\ndone\\n'")


def now_s() -> float:
    return time.time()


def service(folder: Path, canary: Canary, **fields: Any) -> Actions:
    return acting(restart(canary, **fields), config(canary), folder / "actions.db", now_s=now_s())


def offered(folder: Path, canary: Canary, **fields: Any) -> str:
    running = service(folder, canary)
    (offer,) = running.offered(incident(("x",), **fields), "refused", now_s())
    running.close()
    return offer.request


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--data-dir", str(folder)])


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_what_waits_is_listed_approved_and_shown_when_it_has_run(tmp_path: Path, canary: Canary) -> None:
    request = offered(tmp_path, canary)

    waiting = run(tmp_path, "list", "--pending")
    approved = run(tmp_path, "approve", request)
    left = run(tmp_path, "list", "--pending")
    running = service(tmp_path, canary)
    running.run_due(now_s())
    running.close()
    shown = run(tmp_path, "show", request)

    assert waiting.stdout.startswith(f"{request}  ")
    assert f"refused/restart: {canary} restart payments" in waiting.stdout
    assert "approved, Restart the unit" in approved.stdout
    assert left.stdout == ""
    assert canary.runs == ["2 restart payments"]
    assert "done, Restart the unit" in shown.stdout
    assert "by                cli:" in shown.stdout
    assert "well ␛[31m" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_approval_waits_for_the_end_where_it_is_told_to(tmp_path: Path, canary: Canary) -> None:
    request = offered(tmp_path, canary)
    running = service(tmp_path, canary)
    ended = threading.Event()

    def serve() -> None:
        while not ended.wait(0.02):
            if running.run_due(now_s()):
                return

    thread = threading.Thread(target=serve)
    thread.start()
    result = run(tmp_path, "approve", request, "--wait", "60")
    ended.set()
    thread.join(60)
    running.close()

    assert result.exit_code == 0
    assert "finished" in result.stdout
    assert "    done" in result.stdout


def test_waiting_in_vain_says_so(tmp_path: Path, canary: Canary) -> None:
    request = offered(tmp_path, canary)

    result = run(tmp_path, "approve", request, "--wait", "0.3")

    assert isinstance(result.exception, LogllmError)
    assert str(result.exception) == f"{request}: is approved"
    assert canary.runs == []


def test_a_missing_value_is_given_with_the_approval(tmp_path: Path, canary: Canary) -> None:
    request = offered(tmp_path, canary, service="payments; rm -rf /")

    without = run(tmp_path, "approve", request)
    wrong = run(tmp_path, "approve", request, "--param", "unit=--help")
    unknown = run(tmp_path, "approve", request, "--param", "unit=payments", "--param", "other=x")
    twice = run(tmp_path, "approve", request, "--param", "unit=payments", "--param", "unit=checkout")
    bare = run(tmp_path, "approve", request, "--param", "unit")
    shown = run(tmp_path, "show", request)
    right = run(tmp_path, "approve", request, "--param", "unit=checkout")

    assert "give --param unit=..." in str(without.exception)
    assert "no leading `-`" in str(wrong.exception)
    assert "cannot be given" in str(unknown.exception)
    assert "each name once" in str(twice.exception)
    assert "expected NAME=VALUE" in str(bare.exception)
    assert "--param unit=" in shown.stdout
    assert f"{canary} restart checkout" in right.stdout
    assert [row["what"] for row in rows(run(tmp_path, "audit", "--json"))] == [
        "declared",
        "requested",
        *["refused"] * 3,
        "approved",
    ]


def test_a_rejection_has_its_reason_and_nothing_is_approved_after_it(tmp_path: Path, canary: Canary) -> None:
    request = offered(tmp_path, canary)

    rejected = run(tmp_path, "reject", request, "--reason", "not\x1b now")
    approved = run(tmp_path, "approve", request)

    assert "rejected" in rejected.stdout
    assert "is rejected by cli:" in str(approved.exception)
    (row,) = rows(run(tmp_path, "list", "--json"))
    assert (row["state"], row["result"], row["preview"]) == ("rejected", "not  now", f"{canary} restart payments")


def test_the_audit_is_told_as_json_and_verified(tmp_path: Path, canary: Canary) -> None:
    request = offered(tmp_path, canary)
    run(tmp_path, "approve", request)
    running = service(tmp_path, canary)
    running.run_due(now_s())
    running.close()

    entries = rows(run(tmp_path, "audit", "--json"))
    (verified,) = rows(run(tmp_path, "audit", "--verify", "--json"))
    known = run(tmp_path, "audit", "--verify", "--head", verified["head"])
    foreign = run(tmp_path, "audit", "--verify", "--head", "0" * 64)

    assert [entry["what"] for entry in entries] == ["declared", "requested", "approved", "run", "finished"]
    assert entries[-1]["argv"] == [str(canary), "restart", "payments"]
    assert entries[-1]["output"] == "well \x1b[31m\ndone\n"
    assert (verified["type"], verified["entries"]) == ("verified", 5)
    assert known.stdout == f"5 entries, none changed; the last is {verified['head']}\n"
    assert "cut or written anew" in str(foreign.exception)
    assert run(tmp_path, "audit", "--head", "00").exit_code == 2


def test_what_expired_is_told_as_expired(tmp_path: Path, canary: Canary) -> None:
    running = acting(restart(canary), config(canary), tmp_path / "actions.db")
    (offer,) = running.offered(incident(), "refused", NOW_S)
    running.close()

    listed = run(tmp_path, "list")
    approved = run(tmp_path, "approve", offer.request)

    assert "expired" in listed.stdout
    assert "is expired already" in str(approved.exception)


@pytest.mark.parametrize("arguments", [["list"], ["show", "x"], ["approve", "x"], ["reject", "x"], ["audit"]])
def test_a_folder_without_actions_is_told_and_left_as_it_is(tmp_path: Path, arguments: list[str]) -> None:
    result = run(tmp_path, *arguments)

    assert isinstance(result.exception, LogllmError)
    assert "no actions were offered here" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_is_none_is_told(tmp_path: Path, canary: Canary) -> None:
    offered(tmp_path, canary)

    for verb in ("show", "approve", "reject"):
        assert "no such request" in str(run(tmp_path, verb, "act-0").exception)


def test_the_command_line_does_not_take_a_running_action_for_a_broken_one(tmp_path: Path, canary: Canary) -> None:
    request = offered(tmp_path, canary)
    running = service(tmp_path, canary)
    running.decide(request, "approve", "ops", now_s())
    claimed = running.requests.claim(now_s(), lambda *_: "")

    listed = run(tmp_path, "list")

    assert claimed is not None
    assert "running" in listed.stdout
    running.close()


def test_its_help_names_every_part() -> None:
    result = CliRunner().invoke(command, ["--help"])

    assert isinstance(command, click.Group)
    for name in ("list", "show", "approve", "reject", "audit"):
        assert name in result.stdout
