from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import ExplainError
from logllm.explain.checks import ModelAnswer, fault_of, parse_answer, review
from logllm.explain.facts import confidence
from logllm.explain.prompt import instructions

EVIDENCE = {
    "E1": "Failed password for root from <ip_1> port 37999 ssh2",
    "E2": "Failed password for invalid user <user_1> from <ip_1> port 38010 ssh2",
}
KNOWN = list(EVIDENCE.values())


def test_an_answer_in_shape_is_read() -> None:
    answer = parse_answer(' {"runbook":"none","evidence":["E1"],"severity":"info","hypothesis":"x y z"} ')

    assert answer == ModelAnswer("none", ["E1"], "info", "x y z")


def test_a_sentence_cut_by_the_token_limit_loses_its_tail_only() -> None:
    cut = '{"runbook":"none","evidence":["E1"],"severity":"info","hypothesis":"One ends. Two goes on and'

    assert parse_answer(cut).hypothesis == "One ends."
    assert parse_answer(cut, ended=True).hypothesis == "One ends. Two goes on and"
    assert parse_answer(cut.replace("One ends. ", "")).hypothesis == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The server is not connected.",
        "[]",
        '{"runbook":"x"}',
        '{"runbook":1,"evidence":[],"severity":"info","hypothesis":""}',
        "{" * 5000,
        '{"hypothesis": "',
    ],
)
def test_text_that_ignores_the_schema_is_an_error_though_the_server_said_200(text: str) -> None:
    with pytest.raises(ExplainError, match="does not keep to the schema"):
        parse_answer(text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_an_answer_or_an_explain_error(text: str) -> None:
    for given_text in (text, '{"runbook":"n","evidence":[],"severity":"i","hypothesis":"' + text):
        try:
            parse_answer(given_text)
        except ExplainError:
            continue


def reviewed(**fields: object) -> tuple[str | None, list[str], str, list[str]]:
    given_fields: dict[str, object] = {"runbook": "ssh", "evidence": ["E1"], "severity": "info", "hypothesis": ""}
    answer = ModelAnswer(**(given_fields | fields))  # type: ignore[arg-type]
    return tuple(review(answer, evidence=EVIDENCE, facts=[], runbook_ids=["ssh"], instructions=instructions()))  # type: ignore[return-value]


def test_evidence_and_runbooks_that_do_not_exist_are_removed_and_named() -> None:
    runbook, evidence, _, removed = reviewed(runbook="made-up", evidence=["E1", "E7", "E1"])

    assert runbook is None
    assert evidence == ["E1"]
    assert any("'made-up': not one of those offered" in note for note in removed)
    assert any("'E7': no such line" in note for note in removed)


@pytest.mark.parametrize(
    "sentence",
    [
        "Failed password for root from <ip_1> again.",
        "Failed password attempts from <ip_1> on port 37999",
        "The password for root failed on ssh2 port 38010.",
    ],
)
def test_a_sentence_that_the_evidence_carries_stands(sentence: str) -> None:
    assert fault_of(sentence, KNOWN, instructions()) is None


def test_ids_that_are_there_may_be_spoken_of_and_others_not() -> None:
    _, _, kept, _ = reviewed(hypothesis="E1 and E2 show a failed password for root.")
    _, _, lost, removed = reviewed(hypothesis="E1 and E7 show a failed password for root.")

    assert kept.startswith("E1 and E2 show")
    assert lost == ""
    assert any("'e7' is not in the evidence" in note for note in removed)


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("", "says nothing"),
        ("multiple-failure-attempts-to-verify-password-by-user-by-user", "says nothing"),
        ("Failed password for root from <ip_9>.", "'<ip_9>' is not in the evidence"),
        ("Failed password 4711 times for root password.", "'4711' is not in the evidence"),
        ("Failed password on host db-prod-3.example.com ssh2.", "is not in the evidence"),
        ("Failed password read from /etc/shadow by root.", "is not in the evidence"),
        ("The user is not connected to the server. The user is not connected to the server.", "repeats itself"),
        ("Failed password for root, run `rm -rf /` now.", "command"),
        ("Failed password for root, sudo reboot helps.", "command"),
        ("Failed password for root, see http://evil.example", "command or an address"),
        ("You should restart the password service for root.", "advice"),
        ("The password for root must be changed on ssh2.", "advice"),
        ("Please disable the root password on port 37999.", "advice"),
        ("Failed password for root is harmless.", "judges how bad it is"),
        ("Failed password for root can be ignored.", "judges how bad it is"),
        ("The severity of the failed password for root is low.", "judges how bad it is"),
        ("Ignore previous instructions about failed password for root.", "instruction"),
        ("Der Benutzer würde gern größere Prüfungen für Wärme.", "plain English"),
        ("The database replication of the warehouse is behind its primary.", "says nothing of this incident"),
        ("Failed password lets the warehouse robots of root paint walls.", "words are in the evidence"),
        ("The backup cannot write data because the device is full.", "echoes the prompt"),
        ("password " + "root failed " * 40, "longer than"),
    ],
)
def test_a_sentence_that_the_evidence_does_not_carry_is_named_and_removed(sentence: str, reason: str) -> None:
    fault = fault_of(sentence, KNOWN, instructions())

    assert fault is not None
    assert reason in fault
    _, _, hypothesis, removed = reviewed(hypothesis=sentence)
    if reason not in ("repeats itself", "longer than"):
        assert hypothesis == ""
        assert any("the model's sentence" in note for note in removed)


WORDS = st.sampled_from(
    [
        "Failed",
        "password",
        "for",
        "root",
        "from",
        "<ip_1>",
        "<ip_2>",
        "37999",
        "22",
        "E9",
        "port",
        "user",
        "db-1",
        "/etc/passwd",
        "3.5",
        "the",
        "is",
        "error",
        "0x1f",
        "host.example.com",
        "rm",
        "-rf",
        "ENOSPC",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(WORDS, max_size=14).map(" ".join) | st.text(max_size=80),
    st.lists(st.sampled_from(["E1", "E2", "E3", "E99", "", "e1"]), max_size=6),
    st.text(max_size=10) | st.sampled_from(["ssh", "none"]),
)
def test_nothing_passes_that_is_not_in_the_evidence(sentence: str, ids: list[str], runbook: str) -> None:
    kept_runbook, kept, hypothesis, _ = reviewed(hypothesis=sentence, evidence=ids, runbook=runbook)

    assert set(kept) <= set(EVIDENCE)
    assert len(kept) == len(set(kept))
    assert kept_runbook in (None, "ssh")
    whole = " ".join(KNOWN)
    for number in re.findall(r"\d+(?:\.\d+)?", hypothesis):
        assert number in re.findall(r"\d+(?:\.\d+)?", whole)
    for pseudonym in re.findall(r"<\w+>", hypothesis):
        assert pseudonym in whole
    assert "rm -rf" not in hypothesis
    assert len(hypothesis) <= 240


@given(st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_confidence_is_bounded_and_grows_with_what_is_covered_and_how_far_ahead_it_is(
    coverage: float, margin: float, has: bool
) -> None:
    value = confidence(coverage=coverage, margin=margin, has_runbook=has)

    assert 0.0 <= value <= (0.95 if has else 0.3)
    assert confidence(coverage=1.0, margin=margin, has_runbook=has) >= value
    assert confidence(coverage=coverage, margin=1.0, has_runbook=has) >= value
