from __future__ import annotations

from logllm.events import Evidence, IncidentEvent
from logllm.explain.cache import CachedAnswer
from logllm.explain.checks import ModelAnswer
from logllm.explain.compose import compose
from logllm.explain.prompt import Shown
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue

LINES = [
    'ERROR:  could not extend file "base/16384/24680": No space left on device',
    'ERROR:  could not write to file "pg_xact/0031" at offset 122880: No space left on device',
]


def test_a_models_pick_does_not_stand_against_words_that_point_elsewhere() -> None:
    evidence = [Evidence(f"E{n}", "2026-03-10T14:26:14Z", text) for n, text in enumerate(LINES, 1)]
    incident = IncidentEvent(
        id="inc-1",
        event="open",
        time="2026-03-10T14:27:00Z",
        severity="critical",
        service="postgres",
        kinds=["new"],
        title="New: could not extend file",
        expected="none",
        seen="6 records in a minute",
        template="could not extend file",
        count=6,
        runbook="disk-full",
        evidence=evidence,
    )
    with Catalogue.load() as catalogue:
        matches = catalogue.search("\n".join(LINES), 4)
        pick = next(match.runbook.id for match in matches if match.runbook.id != "disk-full")

        explanation = compose(
            incident,
            CachedAnswer(ModelAnswer(evidence=["E1"], runbook=pick, severity="critical", hypothesis=""), {}),
            shown=[Shown(item.id, item.text) for item in evidence],
            facts=[],
            matches=matches,
            catalogue=catalogue,
            redactor=Redactor(),
            model="test",
        )

    assert matches[0].runbook.id == "disk-full"
    assert explanation.runbook == "disk-full"
    assert explanation.steps == catalogue.by_id["disk-full"].steps
    assert any(pick in removed for removed in explanation.removed)
