from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.explain.model.sampling import PROFILES, Profile, Vote, named_profile, vote

SCHEMA = {
    "properties": {
        "runbook": {"enum": ["disk", "ssh", "none"]},
        "evidence": {"type": "array", "items": {"enum": ["E1", "E2"]}},
        "sure": {"type": "boolean"},
        "cause": {"type": "string"},
    }
}


def said(runbook: str, evidence: list[str] | None = None, cause: str = "") -> str:
    return json.dumps({"runbook": runbook, "evidence": evidence or ["E1"], "sure": True, "cause": cause})


def test_the_vote_is_over_choices_and_the_words_are_the_chosen_answers_own() -> None:
    texts = [said("ssh"), said("disk", cause="first"), said("disk", cause="second")]

    found = vote(texts, SCHEMA)

    assert found.chosen == 1
    assert found.agreement == pytest.approx(2 / 3)
    assert found.counts["runbook"] == {"ssh": 1, "disk": 2}
    assert "cause" not in found.counts


def test_all_choices_count_together_and_lists_without_their_order() -> None:
    texts = [said("disk", ["E1", "E2"]), said("disk", ["E2", "E1"]), said("disk", ["E1"]), said("ssh", ["E2"])]

    assert vote(texts, SCHEMA).agreement == 0.5
    assert vote(texts, SCHEMA).chosen == 0


def test_what_is_no_json_has_no_vote_but_counts_against_agreement() -> None:
    assert vote(["", "{", said("ssh"), "[1]"], SCHEMA)[:2] == (2, 0.25)
    assert vote(["{", "x"], SCHEMA) == Vote(0, 0.0, {})


def test_without_choices_whole_answers_are_compared() -> None:
    assert vote(["a", "b ", "b"], None).chosen == 1
    assert vote(["a", "b"], {"properties": {"text": {"type": "string"}}}).chosen == 0


def test_a_tie_goes_to_the_first() -> None:
    assert vote([said("ssh"), said("disk"), said("disk"), said("ssh")], SCHEMA).chosen == 0


@given(st.lists(st.sampled_from(["disk", "ssh", "none"]), min_size=1, max_size=8), st.randoms())
def test_who_wins_does_not_depend_on_the_order_but_for_ties(runbooks: list[str], random: object) -> None:
    ranked = sorted({(runbooks.count(one), one) for one in runbooks}, reverse=True)
    shuffled = list(runbooks)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    found = vote([said(one) for one in shuffled], SCHEMA)

    assert found.agreement == ranked[0][0] / len(runbooks)
    assert runbooks.count(shuffled[found.chosen]) == ranked[0][0]


@pytest.mark.parametrize(
    "schema", [{"properties": 5}, {"properties": {"a": 5}}, {}, {"properties": {"a": {"items": 1}}}]
)
def test_a_schema_that_is_none_is_no_reason_to_fail(schema: dict[str, object]) -> None:
    assert vote(['{"a": 1}'], schema).chosen == 0


def test_profiles_are_found_by_name_the_users_own_first() -> None:
    mine = {"mine": Profile(temperature=0.1), "creative": Profile(temperature=2.0)}

    assert named_profile("mine", mine).temperature == 0.1
    assert named_profile("creative", mine).temperature == 2.0
    assert named_profile("deterministic", mine) == PROFILES["deterministic"]
    with pytest.raises(ConfigError, match="expected one of creative, default, deterministic, diverse, mine"):
        named_profile("other", mine)
