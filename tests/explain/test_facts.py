from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from logllm.events import Evidence
from logllm.explain.facts import explain_without_model, facts_text, first_sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.events import IncidentEvent
    from logllm.explain.runbooks.search import Catalogue


def test_facts_say_what_changed_since_when_and_what_stands_out(incident: Callable[..., IncidentEvent]) -> None:
    lines = facts_text(
        incident(
            series=[0, 2, 1, 112], services=["sshd", "cron"], facts=["First seen at 06:55.", "519 records belong to it"]
        )
    )

    text = "\n".join(lines)
    assert lines[0] == "sshd: failed logins 2 to 112 a minute"
    assert "What is odd on sshd: a known message came far more often than it does." in lines
    assert "Since 2024-12-10T06:55:46Z, 18 minutes." in lines
    assert "Expected: 2 a minute. Seen: 112 a minute." in lines
    assert "Count a window: from 0 to 112, most 112 in window 4 of 4." in lines
    assert "Also on: cron." in lines
    assert "Most frequent address in the evidence: 183.62.140.253 (3 of 3 lines)." in lines
    assert "First seen at 06:55." in lines
    assert text.count("519 records") == 1


def test_an_incident_with_nothing_but_a_title_gives_no_empty_line(incident: Callable[..., IncidentEvent]) -> None:
    bare = incident(
        [], title="odd", kinds=["unheard-of"], expected="", seen="", count=0, started="", time="soon", service=""
    )

    assert facts_text(bare) == ["odd", "Since soon."]


def test_without_a_model_the_matching_runbook_answers_with_its_evidence(
    incident: Callable[..., IncidentEvent], catalogue: Catalogue
) -> None:
    found = explain_without_model(incident(), catalogue.by_id["ssh-brute-force"], catalogue)

    assert (found.status, found.model, found.runbook) == ("ok", "none", "ssh-brute-force")
    assert found.evidence == ["E2", "E3"]
    assert found.cause.startswith(
        "Matches runbook ssh-brute-force (SSH brute force: many failed logins): Somebody is guessing"
    )
    assert found.steps == catalogue.by_id["ssh-brute-force"].steps
    assert 0.0 < found.confidence <= 0.5


def test_without_model_and_runbook_nothing_is_claimed(
    incident: Callable[..., IncidentEvent], catalogue: Catalogue
) -> None:
    found = explain_without_model(incident(["thermostat set"]), None, catalogue)

    assert (found.status, found.runbook, found.steps, found.evidence, found.confidence) == (
        "insufficient",
        None,
        [],
        [],
        0.0,
    )


def test_a_first_sentence_ends_at_a_stop_and_never_inside_a_word() -> None:
    assert first_sentence("A file system is full, e.g. /var. More text here.") == "A file system is full, e.g."
    assert first_sentence("word " * 100, 40).endswith("word…")
    assert len(first_sentence("word " * 100, 40)) <= 41


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("2024-12-10T06:52:46Z", "logged 3 minutes before it began: Deployed 2.4.1"),
        ("2024-12-10T06:54:50Z", "logged 1 minute before it began: Deployed 2.4.1"),
        ("2024-12-10T06:56:30Z", "logged as it began: Deployed 2.4.1"),
        ("yesterday", "logged near its beginning: Deployed 2.4.1"),
        ("2024-12-10T06:52:46", "logged near its beginning: Deployed 2.4.1"),
    ],
)
def test_a_change_is_told_by_when_it_was_logged_and_never_as_a_reason(
    incident: Callable[..., IncidentEvent], time: str, said: str
) -> None:
    change = Evidence("C1", time, "Deployed 2.4.1")

    facts = facts_text(incident(changes=[change], timeline=["06:52 db: new: no space left (first)", "06:55 sshd: x"]))

    assert f"C1 was {said}" in facts
    assert "Noticed first: 06:52 db: new: no space left (first)." in facts
    assert not any("because" in fact for fact in facts)
