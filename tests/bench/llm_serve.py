"""Measure the model as a service: memory before, with and after the model, cold start, ten requests at once.

    python tests/bench/llm_serve.py [ROUNDS]

Memory is that of the whole tree of processes, pages that several share counted once (PSS). Ten requests at once go to
a service of one worker and to one of two in turn; on two cores one worker has both, two have one each.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import httpx

from logllm.errors import LogllmError
from logllm.explain.model.memory import memory_of
from logllm.explain.model.models import DEFAULT_MODEL, ModelStore
from tests.cli.test_llm_command import Running, served

_KEY = "sk-bench-0123456789"
_IDLE_S = 2.0
_AT_ONCE = 10
_TOKENS = 24
_HEADERS = {"Authorization": f"Bearer {_KEY}"}


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    try:
        ModelStore().path(DEFAULT_MODEL)
    except LogllmError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with served("--idle", str(_IDLE_S), key=_KEY) as running:
        _scale_to_zero(running, rounds)
    with served("--workers", "1", key=_KEY) as one, served("--workers", "2", key=_KEY) as two:
        _at_once(one, two, rounds)
    return 0


def _scale_to_zero(running: Running, rounds: int) -> None:
    # The first request also loads the HTTP client: its memory is the service's from then on.
    _first_piece_s(running)
    _wait_until(running, 0)
    before = _tree_bytes(running)
    cold, warm, with_model, after = [], [], [], []
    for _ in range(rounds):
        cold.append(_first_piece_s(running))
        warm += [_first_piece_s(running) for _ in range(3)]
        with_model.append(_tree_bytes(running))
        _wait_until(running, 0)
        after.append(_tree_bytes(running))
    started = _health(running)["last_cold_start_s"]
    print(f"memory: {before / 1e6:.1f} MB before, {statistics.median(with_model) / 1e6:.1f} MB with the model,")
    print(f"        {', '.join(f'{size / 1e6:.1f}' for size in after)} MB after {_IDLE_S:g} s idle")
    print(f"cold start to the first token: median {statistics.median(cold):.2f} s, best {min(cold):.2f} s", end="")
    print(f" (the process alone {started:.2f} s); warm: {statistics.median(warm) * 1000:.0f} ms")


def _at_once(one: Running, two: Running, rounds: int) -> None:
    took: dict[int, list[float]] = {1: [], 2: []}
    for running in (one, two):
        # Both workers run before it is measured what they do.
        _ten(running)
        _ten(running)
    for turn in range(rounds):
        for workers in (1, 2) if turn % 2 == 0 else (2, 1):
            took[workers].append(_ten(one if workers == 1 else two))
    ratios = [first / second for first, second in zip(took[1], took[2], strict=True)]
    memory = [_tree_bytes(running) / 1e6 for running in (one, two)]
    print(
        f"{_AT_ONCE} requests at once, {_TOKENS} tokens each: {statistics.median(took[1]):.1f} s with one worker "
        f"({memory[0]:.0f} MB), {statistics.median(took[2]):.1f} s with two ({memory[1]:.0f} MB); "
        f"ratio {statistics.median(ratios):.2f}"
    )


def _ten(running: Running) -> float:
    def ask(number: int) -> None:
        body = {
            "messages": [{"role": "user", "content": f"Incident {number}: disk sda{number} is full. What now?"}],
            "max_tokens": _TOKENS,
            "profile": "deterministic",
            "grammar": "root ::= [A-Za-z ,.]+",
        }
        with httpx.Client(trust_env=False, timeout=300) as client:
            client.post(f"{running.url}/chat/completions", json=body, headers=_HEADERS).raise_for_status()

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(ask, range(_AT_ONCE)))
    return time.perf_counter() - began


def _first_piece_s(running: Running) -> float:
    body = {"messages": [{"role": "user", "content": "Is all well?"}], "max_tokens": 4, "stream": True}
    began, took = time.perf_counter(), 0.0
    with (
        httpx.Client(trust_env=False, timeout=300) as client,
        client.stream("POST", f"{running.url}/chat/completions", json=body, headers=_HEADERS) as answer,
    ):
        for line in answer.iter_lines():
            if not took and line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                took = time.perf_counter() - began
    return took


def _health(running: Running) -> dict[str, Any]:
    root = running.url.removesuffix("/v1")
    found: dict[str, Any] = httpx.get(f"{root}/health", headers=_HEADERS, trust_env=False, timeout=60).json()
    return found


def _wait_until(running: Running, workers: int) -> None:
    for _ in range(600):
        if len(_health(running)["workers"]) == workers:
            return
        time.sleep(0.1)
    raise SystemExit(f"there are not {workers} workers after a minute")


def _tree_bytes(running: Running) -> int:
    pids = [running.process.pid, *(worker["pid"] for worker in _health(running)["workers"])]
    return sum(found.share_bytes for pid in pids if (found := memory_of(pid)))


if __name__ == "__main__":
    sys.exit(main())
