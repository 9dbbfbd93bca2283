from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from logllm.events import Explanation, IncidentEvent
from logllm.explain.allowance import Allowance
from logllm.explain.cache import ExplanationCache
from logllm.explain.config import ExplainConfig
from logllm.explain.explainer import Explainer
from logllm.explain.queue import ExplainQueue
from logllm.explain.redact.redactor import Redactor
from logllm.explain.worker import ExplainWorker
from tests.explain.fakes import ChatServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from logllm.explain.runbooks.search import Catalogue

    Make = Callable[..., IncidentEvent]

REPLY = json.dumps({"runbook": "none", "evidence": ["E1"], "severity": "info", "hypothesis": "x"})


class Gate:
    """A model that answers only when let: the first request can be held while others queue up."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, body: dict[str, object]) -> str:
        self.entered.set()
        self.open.wait(20)
        return REPLY


def test_the_worst_goes_first_and_submitting_never_waits(catalogue: Catalogue, incident: Make) -> None:
    gate = Gate()
    told: list[str] = []
    with ChatServer(gate) as server:
        explainer = Explainer(f"{server.url}/v1", catalogue, Redactor(), ExplanationCache())
        worker = ExplainWorker(explainer, lambda explanation: told.append(explanation.incident), ExplainQueue())
        worker.submit(incident(id="first", fingerprint="1"))
        assert gate.entered.wait(10)
        for name, severity in (
            ("info", "info"),
            ("warning", "warning"),
            ("critical", "critical"),
            ("critical2", "critical"),
        ):
            assert worker.submit(incident(id=name, severity=severity, fingerprint=name))
        assert worker.waiting == 5
        assert not worker.drain(0.01)
        gate.open.set()

        assert worker.drain(20)

        worker.close()
        explainer.close()
    assert told == ["first", "critical", "critical2", "warning", "info"]
    assert worker.done == 5


def test_a_full_queue_gives_up_the_oldest_of_the_least_severe_and_says_so(catalogue: Catalogue, incident: Make) -> None:
    gate = Gate()
    told: dict[str, Explanation] = {}
    with ChatServer(gate) as server:
        explainer = Explainer(f"{server.url}/v1", catalogue, Redactor(), ExplanationCache())
        worker = ExplainWorker(
            explainer, lambda found: told.update({found.incident: found}), ExplainQueue(max_waiting=3)
        )
        worker.submit(incident(id="busy"))
        assert gate.entered.wait(10)
        assert worker.submit(incident(id="a", severity="info", fingerprint="a"))
        assert worker.submit(incident(id="b", severity="info", fingerprint="b"))
        assert worker.submit(incident(id="c", severity="critical", fingerprint="c"))

        assert told["a"].status == "failed"
        assert "queue of explanations was full" in (told["a"].error or "")
        assert told["a"].runbook == "ssh-brute-force"
        assert worker.dropped == 1
        gate.open.set()
        assert worker.drain(20)
        worker.close()
        explainer.close()
    assert set(told) == {"busy", "a", "b", "c"}


def test_what_waited_too_long_is_told_without_the_model(catalogue: Catalogue, incident: Make) -> None:
    now = [0.0]
    gate = Gate()
    told: dict[str, Explanation] = {}
    with ChatServer(gate) as server:
        explainer = Explainer(f"{server.url}/v1", catalogue, Redactor(), ExplanationCache())
        worker = ExplainWorker(
            explainer,
            lambda found: told.update({found.incident: found}),
            ExplainQueue(),
            max_wait_s=60.0,
            clock=lambda: now[0],
        )
        worker.submit(incident(id="busy"))
        assert gate.entered.wait(10)
        worker.submit(incident(id="late", fingerprint="late"))
        now[0] = 61.0
        gate.open.set()
        assert worker.drain(20)
        worker.close()
        explainer.close()
        assert len(server.requests) == 1

    assert worker.expired == 1
    assert "waited longer than 60 s" in (told["late"].error or "")


def test_an_update_replaces_what_still_waits(catalogue: Catalogue, incident: Make) -> None:
    gate = Gate()
    told: list[str] = []
    with ChatServer(gate) as server:
        explainer = Explainer(f"{server.url}/v1", catalogue, Redactor(), ExplanationCache())
        worker = ExplainWorker(explainer, lambda found: told.append(found.incident), ExplainQueue())
        worker.submit(incident(id="busy"))
        assert gate.entered.wait(10)
        worker.submit(incident(id="a", count=1))
        worker.submit(incident(id="a", count=2))
        assert worker.waiting == 2
        gate.open.set()
        assert worker.drain(20)
        worker.close()
        explainer.close()
    assert told == ["busy", "a"]


def test_closing_ends_soon_and_takes_nothing_more(catalogue: Catalogue, incident: Make) -> None:
    with ChatServer(REPLY, "hang") as server:
        explainer = Explainer(
            f"{server.url}/v1", catalogue, Redactor(), ExplanationCache(), config=ExplainConfig(deadline_s=0.5)
        )
        told: list[Explanation] = []
        worker = ExplainWorker(explainer, told.append, ExplainQueue())
        worker.submit(incident())
        worker.submit(incident(id="never", fingerprint="n"))

        worker.close()

        assert not worker.submit(incident(id="after"))
        worker.close()
        explainer.close()
    assert [found.incident for found in told] in (["i1"], [])


def test_incidents_wait_for_a_model_that_is_away_and_are_explained_when_it_is_back(
    catalogue: Catalogue, incident: Make
) -> None:
    now = [0.0]
    told: list[Explanation] = []
    with ChatServer(REPLY, "503") as server:
        explainer = Explainer(f"{server.url}/v1", catalogue, Redactor(), ExplanationCache())
        queue = ExplainQueue()
        worker = ExplainWorker(explainer, told.append, queue, clock=lambda: now[0])
        worker.submit(incident(id="a"))
        until(lambda: len(server.requests) == 1)
        worker.submit(incident(id="b", fingerprint="b"))

        # Nobody asks a model again at once that has just failed, not even for another incident.
        assert not worker.drain(0.05)
        assert len(server.requests) == 1
        server.mode = "ok"
        now[0] = 3.0
        worker.submit(incident(id="c", fingerprint="c"))
        assert worker.drain(20)

        worker.close()
        explainer.close()
    assert {found.incident for found in told} == {"a", "b", "c"}
    assert all(found.status != "failed" for found in told)
    assert worker.expired == 0


def test_a_model_that_never_comes_back_leaves_the_explanation_marked_as_missing(
    catalogue: Catalogue, incident: Make
) -> None:
    now = [0.0]
    told: list[Explanation] = []
    with ChatServer(REPLY, "500") as server:
        explainer = Explainer(f"{server.url}/v1", catalogue, Redactor(), ExplanationCache())
        queue = ExplainQueue()
        worker = ExplainWorker(explainer, told.append, queue, max_wait_s=60.0, clock=lambda: now[0])
        worker.submit(incident(id="a"))
        until(lambda: len(server.requests) == 1)
        now[0] = 61.0
        worker.submit(incident(id="wakes it", fingerprint="b"))
        until(lambda: any(found.incident == "a" for found in told))

        worker.close()
        explainer.close()
    assert told[0].status == "failed"
    assert "it waited longer than 60 s" in (told[0].error or "")
    assert "the server failed (500" in (told[0].error or "")
    assert told[0].runbook == "ssh-brute-force"


def test_one_who_is_not_patient_is_told_at_once(catalogue: Catalogue, incident: Make) -> None:
    told: list[Explanation] = []
    with ChatServer(REPLY, "500") as server:
        explainer = Explainer(f"{server.url}/v1", catalogue, Redactor(), ExplanationCache())
        queue = ExplainQueue()
        worker = ExplainWorker(explainer, told.append, queue, patient=False)
        worker.submit(incident())

        assert worker.drain(20)

        worker.close()
        explainer.close()
    assert [found.status for found in told] == ["failed"]


def test_outside_its_windows_the_model_answers_for_critical_incidents_and_from_the_cache(
    catalogue: Catalogue, incident: Make
) -> None:
    now = [0.0]
    told: list[Explanation] = []
    with ChatServer(REPLY) as server:
        config = ExplainConfig()
        allowance = Allowance(config, opens_in_s=lambda now_s: max(0.0, 7200.0 - now_s), clock=lambda: now[0])
        explainer = Explainer(
            f"{server.url}/v1", catalogue, Redactor(), ExplanationCache(), config=config, allowance=allowance
        )
        queue = ExplainQueue()
        worker = ExplainWorker(explainer, told.append, queue, max_wait_s=600.0, clock=lambda: now[0])
        worker.submit(incident(id="waits", severity="warning", fingerprint="w"))
        until(lambda: len(queue) == 1 and queue.next(0.0) is None)
        worker.submit(incident(id="critical", severity="critical", fingerprint="c"))
        worker.submit(incident(id="known", severity="info", fingerprint="c"))
        until(lambda: len(told) == 2)

        asked = len(server.requests)
        now[0] = 7201.0
        worker.submit(incident(id="in the window", severity="info", fingerprint="d"))
        assert worker.drain(20)

        usage = explainer.usage()
        worker.close()
        explainer.close()
    assert [found.incident for found in told] == ["critical", "known", "waits", "in the window"]
    assert [found.cached for found in told] == [False, True, False, False]
    assert told[1].tokens == 0
    assert told[1].tokens_saved == told[0].tokens > 0
    assert asked == 1
    assert all(found.status != "failed" for found in told)
    assert usage is not None
    assert (usage.asked, usage.spared, usage.saved) == (3, 1, told[0].tokens)


def test_what_was_not_explained_before_the_end_is_explained_after_the_next_start(
    catalogue: Catalogue, incident: Make, tmp_path: Path
) -> None:
    told: list[str] = []
    with ChatServer(REPLY, "500") as server:
        explainer = Explainer(f"{server.url}/v1", catalogue, Redactor(), ExplanationCache())
        queue = ExplainQueue(tmp_path / "explanations.db")
        worker = ExplainWorker(explainer, lambda found: told.append(found.incident), queue)
        worker.submit(incident(id="a"))
        until(lambda: len(server.requests) == 1)
        worker.close()
        server.mode = "ok"

        queue = ExplainQueue(tmp_path / "explanations.db")
        explainer = Explainer(f"{server.url}/v1", catalogue, Redactor(), ExplanationCache())
        worker = ExplainWorker(
            explainer, lambda found: told.append(found.incident), queue, clock=lambda: time.time() + 60
        )
        assert worker.drain(20)

        worker.close()
        explainer.close()
    assert told == ["a"]


def until(met: Callable[[], bool]) -> None:
    """Wait for another thread, some seconds at most."""
    for _ in range(2000):
        if met():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came about")
