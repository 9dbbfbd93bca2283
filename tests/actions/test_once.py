"""Once, whatever happens: two processes that approve and run at the same moment, and logllm killed in between."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logllm.actions.actions import Actions
from logllm.errors import ActionError
from tests.actions.rig import NOW_S, Canary, acting, config, incident, restart

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
# A process of its own that says "ready", waits for a line, and then does it.
START = """
import sys
from pathlib import Path
from tests.actions.rig import NOW_S, acting, config, restart
path, program, request = sys.argv[1:]
actions = acting(restart(program), config(program), Path(path))
print("ready", flush=True)
sys.stdin.readline()
"""
APPROVE = """
from logllm.errors import ActionError
try:
    print(actions.decide(request, "approve", "button", NOW_S).state, flush=True)
except ActionError as error:
    print(error, flush=True)
"""
RUN = "print([each.state for each in actions.run_due(NOW_S)], flush=True)\n"
END = "actions.close()\n"


@contextmanager
def process(code: str, path: Path, canary: Canary, request: str) -> Iterator[subprocess.Popen[str]]:
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'pipeline'}:{ROOT}"}
    child = subprocess.Popen(
        [sys.executable, "-c", START + code, str(path), str(canary), request],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    assert select.select([child.stdout], [], [], PATIENCE_S)[0], "nothing was said"
    return child.stdout.readline().strip()


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def told(actions: Actions) -> list[str]:
    return [entry.what for _, entry in actions.requests.audit.entries()]


def pending(path: Path, canary: Canary) -> str:
    actions = acting(restart(canary), config(canary), path)
    (offer,) = actions.offered(incident(), "refused", NOW_S)
    actions.close()
    return offer.request


@pytest.mark.parametrize("turn", range(3))
def test_approved_twice_at_the_same_moment_by_two_processes_it_runs_once(tmp_path: Path, turn: int) -> None:
    canary, path = Canary(tmp_path), tmp_path / "actions.db"
    request = pending(path, canary)

    with (
        process(APPROVE + RUN + END, path, canary, request) as first,
        process(APPROVE + RUN + END, path, canary, request) as second,
    ):
        assert [line(first), line(second)] == ["ready", "ready"]
        for child in (first, second) if turn % 2 else (second, first):
            go(child)
        answers = sorted([line(first), line(second)])
        ran = [line(first), line(second)]

    assert answers == [answers[0], "approved"]
    assert "by button already" in answers[0]
    assert canary.runs == ["2 restart payments"]
    assert sorted(ran) == ["['done']", "[]"]
    actions = acting(restart(canary), config(canary), path)
    assert actions.requests.get(request).state == "done"
    assert sorted(told(actions)) == ["approved", "declared", "finished", "refused", "requested", "run"]
    actions.requests.audit.verify()
    actions.close()


def test_killed_while_it_runs_it_is_unknown_and_never_run_again(tmp_path: Path) -> None:
    gate, path = tmp_path / "gate", tmp_path / "actions.db"
    os.mkfifo(gate)
    canary = Canary(tmp_path, then=f"echo $$ > {gate}; exec sleep 300")
    request = pending(path, canary)

    with process(APPROVE + RUN + END, path, canary, request) as child:
        assert line(child) == "ready"
        go(child)
        assert line(child) == "approved"
        orphan = int(gate.read_text())
        child.send_signal(signal.SIGKILL)
        child.wait(PATIENCE_S)
    actions = acting(restart(canary), config(canary), path, now_s=NOW_S + 5)
    again = [actions.run_due(NOW_S + at) for at in (5, 6, 4_000, 90_000)]
    os.kill(orphan, signal.SIGKILL)

    found = actions.requests.get(request)
    assert again == [[], [], [], []]
    assert canary.runs == ["2 restart payments"]
    assert (found.state, found.result) == ("unknown", "logllm ended while it ran; it may have run, or run still")
    assert told(actions) == ["declared", "requested", "approved", "run", "unknown"]
    with pytest.raises(ActionError, match="is unknown by button already"):
        actions.decide(request, "approve", "again", NOW_S + 6)
    assert actions.offered(incident(event="update"), "refused", NOW_S + 6)[0].state == "unknown"
    actions.requests.audit.verify()
    actions.close()


@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.005, 0.01, 0.02, 0.05])
def test_killed_at_any_moment_it_runs_at_most_once_and_the_audit_holds(tmp_path: Path, after_s: float) -> None:
    canary, path = Canary(tmp_path), tmp_path / "actions.db"
    request = pending(path, canary)

    with process(APPROVE + RUN, path, canary, request) as child:
        assert line(child) == "ready"
        go(child)
        # Not a wait for anything: it is where in its work the child is killed.
        select.select([], [], [], after_s)
        child.send_signal(signal.SIGKILL)
        child.wait(PATIENCE_S)
    actions = acting(restart(canary), config(canary), path, now_s=NOW_S + 1)
    state = actions.requests.get(request).state
    actions.run_due(NOW_S + 1)

    assert state in ("pending", "approved", "unknown", "done")
    assert len(canary.runs) == 1 if state in ("approved", "done") else len(canary.runs) <= 1
    assert (actions.requests.get(request).state == "done") is (state in ("approved", "done"))
    assert told(actions).count("approved") == (state != "pending")
    actions.requests.audit.verify()
    actions.close()
