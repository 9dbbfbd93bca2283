"""Three hundred incidents, the real default model: schema, citations, inventions, how far confidence can be trusted.

    python tests/bench/three_hundred.py [--record] [COUNT]

Fails where one answer does not keep to the schema, cites what is not there or says what nothing carries. `--record`
keeps the answers for the tests. About two seconds each on two cores.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec

from logllm.errors import LogllmError
from logllm.evaluation.llm import LatestAnswer
from logllm.explain.config import ExplainConfig
from logllm.explain.explainer import Explainer
from logllm.explain.model.models import DEFAULT_MODEL, ModelStore
from logllm.explain.model.server import ModelServer
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue
from tests.explain.three_hundred import COUNT, RECORDED, Case, Recorded, cases, inventions, sound

BINS = ((0.0, 0.3), (0.3, 0.45), (0.45, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 1.0))


def main() -> int:
    """1 where anything failed."""
    try:
        path = ModelStore().path(DEFAULT_MODEL)
    except LogllmError as error:
        print(error, file=sys.stderr)
        return 1
    numbers = [int(one) for one in sys.argv[1:] if one.isdigit()]
    record = "--record" in sys.argv[1:]
    kept, redactor, catalogue = LatestAnswer(), Redactor(), Catalogue.load()
    server = ModelServer(path, idle_s=0.0)
    config = ExplainConfig(tokens_per_hour=100_000_000)
    explainer = Explainer(DEFAULT_MODEL, catalogue, redactor, kept, server=server, config=config)
    rows: list[Recorded] = []
    wrong: list[str] = []
    judged: list[tuple[float, bool]] = []
    said = without = 0
    began = time.perf_counter()
    for case in cases(numbers[0] if numbers else COUNT):
        found = explainer.explain(case.incident)
        name = case.incident.id
        answer = kept.take()
        if answer is None:
            wrong.append(f"{name}: no answer: {found.error}")
            continue
        rows.append(Recorded(_small(case), answer))
        runbook = catalogue.by_id.get(found.runbook or "")
        ids = {line.id for line in case.incident.evidence}
        wrong += [f"{name}: {fault}" for fault in sound(answer, case.incident, catalogue, redactor)]
        wrong += [f"{name}: cites {one}" for one in found.evidence if one[0] == "E" and one not in ids]
        wrong += [f"{name}: invents {one}" for one in inventions(found, case.incident, runbook, redactor)]
        said += "the model's words" in found.cause
        without += found.status == "insufficient"
        if case.wanted is not None and found.runbook is not None:
            judged.append((found.confidence, found.runbook == case.wanted))
    seconds = time.perf_counter() - began
    explainer.close()
    server.close()
    print(f"{len(rows)} answers in {seconds:.0f} s; {said} sentences kept, {without} insufficient, {len(wrong)} wrong")
    for line in wrong[:20]:
        print(f"  {line}")
    print("confidence   explanations   runbook right")
    for low, high in BINS:
        right = [is_right for sure, is_right in judged if low <= sure < high]
        print(f"{low:.2f} to {high:.2f} {len(right):8} {sum(right) / max(1, len(right)):16.2f}")
    if record:
        RECORDED.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return 1 if wrong else 0


def _small(case: Case) -> Case:
    """Without what no explanation needs."""
    replace = msgspec.structs.replace
    incident = replace(case.incident, causes=msgspec.UNSET, templates=case.incident.templates[:4])
    return replace(case, incident=incident)


if __name__ == "__main__":
    sys.exit(main())
