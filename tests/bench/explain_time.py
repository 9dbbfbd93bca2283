"""Measure what an explanation costs beyond llama.cpp: its time over that of the same prompts and tokens in process.

    python tests/bench/explain_time.py [ROUNDS]

For each incident, in turn and in changing order: (a) the whole of `Explainer.explain`, from masked facts to checked
text, with the model in its own process; (b) `llama_cpp.Llama` in this process with the same model, threads and
niceness: the scoring's token sequences evaluated, and the chat completed with the same messages, schema and stop. (b)
keeps the chat's prefix as (a) does: scoring has a context of its own there. Goal: at most 1.3.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from logllm.egress import Sent
from logllm.errors import LogllmError
from logllm.events import Evidence, IncidentEvent
from logllm.explain.cache import ExplanationCache
from logllm.explain.config import ExplainConfig
from logllm.explain.explainer import Explainer
from logllm.explain.model.child import load
from logllm.explain.model.models import DEFAULT_MODEL, ModelStore
from logllm.explain.model.server import ModelServer
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue
from tests.explain.runbooks.cases import CASES

_THREADS = 1
_INCIDENTS = 10
_GOAL = 1.3


class Heard:
    """The bodies that the explainer sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, kind: str, name: str, secrets: Sequence[str] = ()) -> Sent:
        return lambda to, body: self.bodies.append(json.loads(body))


class Plain:
    """llama-cpp-python as its documentation uses it."""

    def __init__(self, path: Path, n_ctx: int) -> None:
        self.chats = load(str(path), n_ctx, _THREADS)
        self.scores = load(str(path), n_ctx, _THREADS)

    def run(self, bodies: list[dict[str, Any]]) -> None:
        for body in bodies:
            if "texts" in body:
                head = self.scores.tokenize(body["prefix"].encode(), add_bos=True, special=False)
                self.scores.reset()
                self.scores.eval(head)
                for text in body["texts"]:
                    tail = self.scores.tokenize(text.encode(), add_bos=False, special=False)[: body["max_tokens"]]
                    self.scores.n_tokens = len(head)
                    self.scores.eval(tail[:-1])
            elif "response_format" in body:
                self.chats.create_chat_completion(
                    messages=body["messages"],
                    response_format={
                        "type": "json_object",
                        "schema": body["response_format"]["json_schema"]["schema"],
                    },
                    max_tokens=body["max_tokens"],
                    stop=body.get("stop", []),
                    temperature=0.0,
                    repeat_penalty=1.05,
                )


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    try:
        path = ModelStore().path(DEFAULT_MODEL)
    except LogllmError as error:
        print(error, file=sys.stderr)
        return 1
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # As the model's own process: on a machine that others use, too, the two would not be comparable otherwise.
    os.nice(5)
    config = ExplainConfig(threads=_THREADS, tokens_per_hour=10_000_000, deadline_s=600.0)
    heard = Heard()
    server = ModelServer(path, name=DEFAULT_MODEL, idle_s=0.0, n_ctx=config.n_ctx, threads=_THREADS)
    plain = Plain(path, config.n_ctx)
    ratios: list[float] = []
    cpu_ratios: list[float] = []
    ours_s: list[float] = []
    plain_s: list[float] = []
    known: dict[int, list[dict[str, Any]]] = {}
    with Catalogue.load() as catalogue:
        explainer = Explainer(
            DEFAULT_MODEL, catalogue, Redactor(), ExplanationCache(), server=server, config=config, record=heard
        )
        warm = _incident("warm", CASES[-1][0])
        explainer.explain(warm)
        plain.run(heard.bodies)
        for turn in range(rounds):
            for number, (text, _) in enumerate(CASES[:: max(1, len(CASES) // _INCIDENTS)][:_INCIDENTS]):
                incident = _incident(f"{turn}-{number}", text)
                # What is to be asked is only known from asking: ours is first in the first round.
                if turn % 2 == 0:
                    took, took_cpu, asked = _explained(explainer, heard, incident, server)
                    base, base_cpu = _timed(plain, asked)
                    known[number] = asked
                else:
                    base, base_cpu = _timed(plain, known[number])
                    took, took_cpu, _ = _explained(explainer, heard, incident, server)
                ratios.append(took / base)
                cpu_ratios.append(took_cpu / base_cpu)
                ours_s.append(took)
                plain_s.append(base)
        explainer.close()
    print(
        f"{len(ratios)} explanations with {_THREADS} thread: median {statistics.median(ours_s):.2f} s, "
        f"llama.cpp alone {statistics.median(plain_s):.2f} s"
    )
    print(
        f"ratio: median {statistics.median(ratios):.3f}, of the sums {sum(ours_s) / sum(plain_s):.3f}, "
        f"lowest {min(ratios):.3f}, highest {max(ratios):.3f}; goal at most {_GOAL}"
    )
    print(f"CPU time, which other programs on the machine do not change: median {statistics.median(cpu_ratios):.3f}")
    return 0


def _explained(
    explainer: Explainer, heard: Heard, incident: IncidentEvent, server: ModelServer
) -> tuple[float, float, list[dict[str, Any]]]:
    heard.bodies = []
    began, cpu = time.perf_counter(), time.process_time() + _cpu_of(server.pid)
    found = explainer.explain(incident)
    took, took_cpu = time.perf_counter() - began, time.process_time() + _cpu_of(server.pid) - cpu
    if found.error:
        raise SystemExit(f"failed: {found.error}")
    return took, took_cpu, heard.bodies


def _timed(plain: Plain, bodies: list[dict[str, Any]]) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    plain.run(bodies)
    return time.perf_counter() - began, time.process_time() - cpu


def _cpu_of(pid: int | None) -> float:
    """Seconds of CPU that another process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _incident(name: str, text: str) -> IncidentEvent:
    lines = text.splitlines() * 2
    return IncidentEvent(
        id=name,
        event="open",
        time="2026-01-01T10:05:00Z",
        severity="warning",
        service="app",
        kinds=["rate"],
        title=lines[0][:80],
        expected="1 a minute",
        seen="60 a minute",
        template=lines[0],
        count=60,
        runbook=None,
        evidence=[Evidence(f"E{place}", "2026-01-01T10:00:00Z", line) for place, line in enumerate(lines, start=1)],
        fingerprint=name,
        started="2026-01-01T10:00:00Z",
    )


if __name__ == "__main__":
    sys.exit(main())
