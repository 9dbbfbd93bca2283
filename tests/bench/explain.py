"""Measure the explainer: cold start, tokens a second, seconds an explanation, and what of it stands the checks.

    python tests/bench/explain.py

What is measured is said to be this machine's, now: on a busy one a small model is several times slower. How often the
runbook is right: tests/bench/runbooks.py.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from logllm.errors import LogllmError
from logllm.events import Evidence, IncidentEvent
from logllm.explain.cache import ExplanationCache
from logllm.explain.explainer import Explainer
from logllm.explain.model.client import ChatClient
from logllm.explain.model.models import DEFAULT_MODEL, ModelStore
from logllm.explain.model.server import ModelServer
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue
from tests.explain.runbooks.cases import CASES


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
