"""A model that misbehaves in every way: the alert is out with its facts, the explanation comes or is marked missing."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.cli.test_serve_alerts import ENTRIES, told, until
from tests.cli.test_serve_command import Served, frames_of, served
from tests.explain.fakes import ChatServer
from tests.notify.fake_http import FakeHttp

if TYPE_CHECKING:
    from pathlib import Path

GOOD = json.dumps(
    {
        "runbook": "db-pool-exhausted",
        "evidence": ["E1"],
        "severity": "critical",
        "hypothesis": "The database connection pool is exhausted, 50 of 50 in use.",
    }
)
OTHER_SHAPE = json.dumps({"runbook": ["db-pool-exhausted"], "evidence": "E1", "severity": 3})
FAULTS = {
    "hang": (GOOD, 0, r"no answer in 0\."),
    "drip": (GOOD, 0, r"no answer in 0\."),
    "429": (GOOD, 0, r"too many requests \(429"),
    "500": (GOOD, 0, r"the server failed \(500"),
    "garbage": (GOOD, 0, "no JSON"),
    "ok, prose": ("I think the database is tired.", 0, "does not keep to the schema"),
    "ok, another shape": (OTHER_SHAPE, 0, "does not keep to the schema"),
    "huge": (GOOD, 0, "longer than"),
    "ok, a prompt cut from the front": (GOOD, 7, "the server cut the prompt"),
}


def configured(folder: Path, deadline_s: float, max_wait_s: float, more: str = "") -> str:
    path = folder / "logllm.toml"
    path.write_text(f"[explain]\ndeadline_s = {deadline_s}\nmax_wait_s = {max_wait_s}\n{more}")
    return str(path)


def explained(running: Served) -> list[dict[str, Any]]:
    return [event for event in running.events if event["type"] == "explanation"]


class Told(NamedTuple):
    """What became of one service's incident."""

    code: int
    acks: int
    ready: int
    alerts: list[dict[str, Any]]
    explanations: list[dict[str, Any]]


def with_fault(folder: Path, fault: str) -> Told:
    reply, prompt_tokens, _ = FAULTS[fault]
    arguments = ("-c", configured(folder, 0.5, 0.6), "--json")
    with FakeHttp() as receiver, ChatServer(reply, fault.partition(",")[0], prompt_tokens) as model:
        with served(*arguments, "--model", f"{model.url}/v1", "--webhook", receiver.url) as running:
            acks = running.send(frames_of(ENTRIES), len(frames_of(ENTRIES)))
            receiver.wait_for(1)
            until(lambda: bool(explained(running)))
            ready, _ = running.get("/readyz")
            code = running.end()
        return Told(code, len(acks), ready, [one.json() for one in receiver.requests], explained(running))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """By fault. Side by side: most of their time is starting and waiting."""
    folders = [tmp_path_factory.mktemp("fault") for _ in FAULTS]
    with ThreadPoolExecutor(max_workers=len(FAULTS)) as pool:
        return dict(zip(FAULTS, pool.map(with_fault, folders, FAULTS), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_the_alert_goes_out_with_its_facts_and_the_explanation_is_marked_as_missing(
    outcomes: dict[str, Told], fault: str
) -> None:
    told = outcomes[fault]

    assert (told.code, told.acks, told.ready) == (0, len(frames_of(ENTRIES)), 200)
    # Nobody is called a second time to hear that there is nothing to say.
    assert [alert["kind"] for alert in told.alerts] == ["open"]
    opened = told.alerts[0]
    assert opened["explanation"] is None
    assert opened["incidents"][0]["expected"]
    assert opened["runbook"]["id"] == "db-pool-exhausted"
    missing = told.explanations[0]
    assert missing["status"] == "failed"
    assert re.search(FAULTS[fault][2], missing["error"])
    assert missing["runbook"] == "db-pool-exhausted"
    assert missing["steps"]


def test_the_explanation_comes_when_the_model_is_back(tmp_path: Path) -> None:
    arguments = ("-c", configured(tmp_path, 1.0, 60.0), "--json", "--data-dir", str(tmp_path / "data"))
    with (
        FakeHttp() as receiver,
        ChatServer(GOOD, "500") as model,
        served(*arguments, "--model", f"{model.url}/v1", "--webhook", receiver.url) as running,
    ):
        running.send(frames_of(ENTRIES), len(frames_of(ENTRIES)))
        receiver.wait_for(1)
        until(lambda: bool(model.requests))
        model.mode = "ok"
        until(lambda: bool(told(receiver, "explanation")))
        _, metrics = running.get("/metrics")
        running.end()

    found = told(receiver, "explanation")[0]["explanation"]
    assert found["status"] == "ok"
    assert found["tokens"] > 0
    assert re.search(r'logllm_llm_requests_total\{outcome="later"\} [1-9]', metrics)
    assert 'logllm_llm_requests_total{outcome="ok"} 1.0' in metrics
    assert 'logllm_explain_given_up_total{why="long"} 0.0' in metrics


def test_what_waited_for_the_model_when_it_was_killed_is_explained_after_the_next_start(tmp_path: Path) -> None:
    arguments = ("-c", configured(tmp_path, 1.0, 600.0), "--json", "--data-dir", str(tmp_path / "data"))
    with FakeHttp() as receiver, ChatServer(GOOD, "500") as model:
        model_url = f"{model.url}/v1"
        with served(*arguments, "--model", model_url, "--webhook", receiver.url) as running:
            running.send(frames_of(ENTRIES), len(frames_of(ENTRIES)))
            receiver.wait_for(1)
            until(lambda: bool(model.requests))
            running.child.kill()
            running.child.wait(timeout=20)
        model.mode = "ok"
        with served(*arguments, "--model", model_url, "--webhook", receiver.url) as running:
            until(lambda: bool(told(receiver, "explanation")))
            running.end()

    assert told(receiver, "explanation")[0]["explanation"]["status"] == "ok"
    assert told(receiver, "explanation")[0]["incidents"][0]["id"] == told(receiver, "open")[0]["incidents"][0]["id"]
