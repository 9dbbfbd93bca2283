"""Measure the explainer: cold start, seconds an explanation, tokens a second, and how often the runbook is right.

    python tests/bench/explain.py [--labelled]

`--labelled` adds the labelled lines beside the catalogue's tests, which were written by other hands than `cases.py`;
with them it takes some minutes on two cores. What is measured is said to be this machine's, now: on a busy one a small
model is several times slower.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from logllm.errors import LogllmError
from logllm.events import Evidence, IncidentEvent
from logllm.explain.cache import ExplanationCache
from logllm.explain.explainer import Explainer
from logllm.explain.model.client import ChatClient
from logllm.explain.model.models import DEFAULT_MODEL, ModelStore
from logllm.explain.model.server import ModelServer
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.choice import (
    CANDIDATES,
    NONE_PREFIX,
    SCORED,
    SCORED_TOKENS,
    choose,
    decided,
    prefix_of,
    scored_text,
)
from logllm.explain.runbooks.search import Catalogue, Match
from tests.explain.runbooks.cases import CASES, UNRELATED

if TYPE_CHECKING:
    from collections.abc import Sequence

_LABELLED = Path(__file__).parents[1] / "explain" / "runbooks" / "labelled.jsonl"


def main() -> int:
    try:
        path = ModelStore().path(DEFAULT_MODEL)
    except LogllmError as error:
        print(error, file=sys.stderr)
        return 1
    with Catalogue.load() as catalogue:
        server = ModelServer(path, idle_s=0.0)
        began = time.perf_counter()
        with server.session() as endpoint:
            print(f"cold start: {time.perf_counter() - began:.2f} s")
            client = ChatClient(endpoint.base_url, endpoint.key, endpoint.model)
            _rate(client)
            _accuracy("our cases", CASES, catalogue, client)
            _accuracy("nothing wrong", [(text, ()) for text in UNRELATED], catalogue, client)
            if "--labelled" in sys.argv[1:]:
                lines = [json.loads(line) for line in _LABELLED.read_text().splitlines() if line.strip()]
                cases = [(line["text"], (line["runbook"],) if line["runbook"] else ()) for line in lines]
                _accuracy("labelled lines", cases, catalogue, client)
        _explanations(catalogue, server)
        server.close()
    return 0


def _rate(client: ChatClient) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    client.chat([{"role": "user", "content": "Warm up."}], schema, max_tokens=8)
    short = client.chat([{"role": "user", "content": "Tell of a server."}], schema, max_tokens=100)
    long = client.chat([{"role": "user", "content": "disk sda1 at 91 percent\n" * 90}], schema, max_tokens=4)
    print(
        f"writes {short.completion_tokens / short.seconds:.0f} tokens/s, reads {long.prompt_tokens / long.seconds:.0f}"
    )


def _accuracy(
    name: str, cases: Sequence[tuple[str, tuple[str, ...]]], catalogue: Catalogue, client: ChatClient
) -> None:
    """How often each way names a wanted runbook, or none where none is wanted; and how often a wrong one."""
    right = {"BM25 alone, always its first": 0, "BM25 and signals": 0, "and likelihood": 0}
    wrong = dict.fromkeys(right, 0)
    scored = 0
    seconds = 0.0
    for text, wanted in cases:
        matches = catalogue.search(text, CANDIDATES)
        plain = max(matches, key=lambda match: match.score / (0.35 + match.signal), default=None)
        words = choose(matches).runbook
        both = words
        if not decided(matches):
            began = time.perf_counter()
            both = choose(matches, _likelihoods(client, matches, text)).runbook
            seconds += time.perf_counter() - began
            scored += 1
        for way, runbook in zip(right, (plain.runbook if plain else None, words, both), strict=True):
            right[way] += (runbook.id if runbook else None) in (wanted or (None,))
            wrong[way] += runbook is not None and runbook.id not in wanted
    shown = ", ".join(f"{way} {number} right {wrong[way]} wrong" for way, number in right.items())
    print(f"{name}: of {len(cases)}: {shown}; {scored} scored, {seconds / max(1, scored):.2f} s each")


def _likelihoods(client: ChatClient, matches: list[Match], text: str) -> list[float]:
    prefixes = [*(prefix_of(match.runbook) for match in matches[:SCORED]), NONE_PREFIX]
    return client.score(prefixes, scored_text(text.splitlines()), max_tokens=SCORED_TOKENS)


def _explanations(catalogue: Catalogue, server: ModelServer, count: int = 12) -> None:
    explainer = Explainer(DEFAULT_MODEL, catalogue, Redactor(), ExplanationCache(), server=server)
    results = []
    for number, (text, wanted) in enumerate(CASES[:: max(1, len(CASES) // count)]):
        lines = text.splitlines() * 2
        incident = IncidentEvent(
            id=str(number),
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
            fingerprint=str(number),
            started="2026-01-01T10:00:00Z",
        )
        results.append((explainer.explain(incident), wanted))
    times = sorted(found.seconds for found, _ in results)
    right = sum(found.runbook in wanted for found, wanted in results)
    said = sum("the model's words" in found.cause for found, _ in results)
    failed = [found.error for found, _ in results if found.status == "failed"]
    print(
        f"explanations: {len(results)}, median {times[len(times) // 2]:.2f} s, slowest {times[-1]:.2f} s, "
        f"{explainer.tokens / len(results):.0f} tokens each; runbook right {right}, "
        f"the model's sentence kept {said}, failed {len(failed)} {failed or ''}"
    )


if __name__ == "__main__":
    sys.exit(main())
