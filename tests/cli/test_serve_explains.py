"""`logllm serve` with the real model, and what happens when its process is killed in the middle of an answer."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from pathlib import Path

import pytest

from logllm.errors import ModelError
from logllm.explain.model.models import ModelStore
from tests.cli.test_serve_command import attack, frames_of, ordinary, served

pytestmark = pytest.mark.model


@pytest.fixture(autouse=True)
def _the_model_is_here() -> None:
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed: pip install 'logllm[llm]'")
    try:
        ModelStore().path("smollm2-135m")
    except ModelError as error:
        pytest.skip(f"the default model is not here: {error}")


def children_of(pid: int) -> list[int]:
    """The processes a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def wait_for_child(pid: int, known: set[int], timeout_s: float = 30.0) -> int:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        fresh = set(children_of(pid)) - known
        if fresh:
            return fresh.pop()
        time.sleep(0.01)  # the child appears when the first incident is explained; nothing else tells of it
    raise AssertionError("the model was never started")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_killing_the_model_in_mid_answer_costs_neither_an_alert_nor_a_record(number: int) -> None:
    entries = sorted(ordinary(120) + attack(100, 400), key=lambda entry: entry[0])
    later = [
        (entries[-1][0] + n * 10**9, {"log": f"GET /items/{n} 200 in 5 ms", "service": "shop"}) for n in range(500)
    ]
    with served("--json") as running:
        running.send(frames_of(entries), len(frames_of(entries)))
        child = wait_for_child(running.child.pid, set())
        os.kill(child, number)
        acks = running.send(frames_of(later), len(frames_of(later)))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(e["type"] == "explanation" for e in running.events):
            time.sleep(0.05)
        code = running.end()

    assert code == 0
    assert len(acks) == len(frames_of(later))
    told = [event for event in running.events if event["type"] == "incident" and event["event"] == "open"]
    assert told
    assert told[0]["runbook"] == "db-pool-exhausted"
    explained = [event for event in running.events if event["type"] == "explanation"]
    assert explained[0]["incident"] == told[0]["id"]
    assert explained[0]["runbook"] == "db-pool-exhausted"
    assert explained[0]["steps"]
    assert running.events[-1]["records"] == len(entries) + len(later)
    assert not Path(f"/proc/{child}").exists()


def test_the_real_model_explains_an_incident_with_evidence_that_exists() -> None:
    entries = sorted(ordinary(120) + attack(100, 400), key=lambda entry: entry[0])
    with served("--json") as running:
        running.send(frames_of(entries), len(frames_of(entries)))
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and not any(e["type"] == "explanation" for e in running.events):
            time.sleep(0.05)
        model = children_of(running.child.pid)
        running.end()

    told = [event for event in running.events if event["type"] == "incident" and event["event"] == "open"]
    explained = next(event for event in running.events if event["type"] == "explanation")
    assert explained["status"] == "ok"
    assert explained["model"] == "smollm2-135m"
    assert explained["evidence"]
    assert set(explained["evidence"]) <= {item["id"] for item in told[0]["evidence"]}
    assert 0.0 < explained["confidence"] <= 1.0
    assert model
    assert not any(Path(f"/proc/{pid}").exists() for pid in model)
