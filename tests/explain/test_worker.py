from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from logllm.events import Explanation, IncidentEvent
from logllm.explain.cache import ExplanationCache
from logllm.explain.config import ExplainConfig
from logllm.explain.explainer import Explainer
from logllm.explain.redact.redactor import Redactor
from logllm.explain.worker import ExplainWorker
from tests.explain.fakes import ChatServer

if TYPE_CHECKING:
    from collections.abc import Callable

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
        worker = ExplainWorker(explainer, lambda explanation: told.append(explanation.incident))
        worker.submit(incident(id="first", fingerprint="1"))
        assert gate.entered.wait(10)
        for name, severity in (
            ("info", "info"),
            ("warning", "warning"),
            ("critical", "critical"),
            ("critical2", "critical"),
        ):
            assert worker.submit(incident(id=name, severity=severity, fingerprint=name))
        assert worker.waiting == 4
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
        worker = ExplainWorker(explainer, lambda found: told.update({found.incident: found}), max_waiting=2)
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
            explainer, lambda found: told.update({found.incident: found}), max_wait_s=60.0, clock=lambda: now[0]
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
        worker = ExplainWorker(explainer, lambda found: told.append(found.incident))
        worker.submit(incident(id="busy"))
        assert gate.entered.wait(10)
        worker.submit(incident(id="a", count=1))
        worker.submit(incident(id="a", count=2))
        assert worker.waiting == 1
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
        worker = ExplainWorker(explainer, told.append)
        worker.submit(incident())
        worker.submit(incident(id="never", fingerprint="n"))

        worker.close()

        assert not worker.submit(incident(id="after"))
        worker.close()
        explainer.close()
    assert [found.incident for found in told] in (["i1"], [])
