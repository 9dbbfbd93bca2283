"""Three hundred incidents and the real model: what is shown of its answers is carried by evidence or runbook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from logllm.events import Explanation
from logllm.explain.cache import ExplanationCache
from logllm.explain.config import ExplainConfig
from logllm.explain.explainer import Explainer
from logllm.explain.model.server import ModelServer
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue
from tests.explain.three_hundred import COUNT, Recorded, again, cases, inventions, recorded, sound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIVE = 10
LEAST = 300
"""Answers that are kept; `python tests/bench/three_hundred.py --record` asks for all three hundred."""


@pytest.fixture(scope="module")
def catalogue() -> Iterator[Catalogue]:
    with Catalogue.load() as found:
        yield found


@pytest.fixture(scope="module")
def answered(catalogue: Catalogue) -> list[tuple[Recorded, Explanation]]:
    return [(one, again(one, catalogue, Redactor())) for one in recorded()]


def test_the_real_answers_that_are_kept_keep_to_the_schema(
    answered: list[tuple[Recorded, Explanation]], catalogue: Catalogue
) -> None:
    wrong = {
        one.case.incident.id: faults
        for one, _ in answered
        if (faults := sound(one.answer, one.case.incident, catalogue, Redactor()))
    }

    assert len({one.case.incident.id for one, _ in answered}) == len(answered) >= LEAST
    assert wrong == {}


def test_each_citation_of_these_explanations_is_a_line_that_is_there(
    answered: list[tuple[Recorded, Explanation]],
) -> None:
    for one, explanation in answered:
        ids = {line.id for line in one.case.incident.evidence}
        assert {name for name in explanation.evidence if name.startswith("E")} <= ids


def test_each_number_and_identifier_in_these_explanations_stands_in_evidence_or_runbook(
    answered: list[tuple[Recorded, Explanation]], catalogue: Catalogue
) -> None:
    invented = {}
    for one, explanation in answered:
        runbook = catalogue.by_id.get(explanation.runbook or "")
        if found := inventions(explanation, one.case.incident, runbook, Redactor()):
            invented[one.case.incident.id] = (found, explanation.cause)

    assert invented == {}


def test_steps_are_the_runbooks_and_nothing_else(
    answered: list[tuple[Recorded, Explanation]], catalogue: Catalogue
) -> None:
    for _, explanation in answered:
        runbook = catalogue.by_id.get(explanation.runbook or "")
        assert explanation.steps == (runbook.steps if runbook else [])
        assert explanation.status == "ok" or not explanation.evidence


def test_an_answer_with_an_invention_put_into_it_is_caught_by_the_checks_not_only_by_this_test(
    catalogue: Catalogue,
) -> None:
    replace = msgspec.structs.replace
    for one in recorded()[::3]:
        for lie in (
            "at 4711 hosts",
            "on db-77.example.org",
            "with code EVIL_CODE_9",
            "in /etc/evil/conf",
            "after 17 days",
        ):
            line = one.case.incident.evidence[0].text[:80]
            said = replace(one.answer.answer, hypothesis=f"{line} {lie}.")
            shown = again(replace(one, answer=replace(one.answer, answer=said)), catalogue, Redactor())
            assert lie.split()[-1].rstrip(".") not in shown.cause.split("Matches runbook")[0]


def test_the_more_confident_an_explanation_the_more_often_its_runbook_is_right(
    answered: list[tuple[Recorded, Explanation]],
) -> None:
    named = [
        (explanation.confidence, explanation.runbook == one.case.wanted)
        for one, explanation in answered
        if one.case.wanted is not None and explanation.runbook is not None
    ]
    shares = []
    for low, high in ((0.0, 0.8), (0.8, 1.0)):
        right = [is_right for confidence, is_right in named if low <= confidence < high]
        assert len(right) >= 10
        shares.append(sum(right) / len(right))

    assert shares[0] < shares[1] - 0.1


@pytest.mark.model
def test_what_the_real_model_says_today_is_carried_too(model_path: Path) -> None:
    server = ModelServer(model_path, idle_s=0.0)
    catalogue, redactor = Catalogue.load(), Redactor()
    config = ExplainConfig(tokens_per_hour=10_000_000)
    explainer = Explainer("real", catalogue, redactor, ExplanationCache(), server=server, config=config)
    chosen = cases()[:: COUNT // LIVE][:LIVE]
    try:
        found = [(case, explainer.explain(case.incident)) for case in chosen]
    finally:
        explainer.close()
        server.close()

    assert len(found) == LIVE
    for case, explanation in found:
        runbook = catalogue.by_id.get(explanation.runbook or "")
        assert explanation.status in ("ok", "insufficient"), explanation.error
        assert {name for name in explanation.evidence if name[0] == "E"} <= {one.id for one in case.incident.evidence}
        assert inventions(explanation, case.incident, runbook, redactor) == []
