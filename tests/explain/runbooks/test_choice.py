from __future__ import annotations

import pytest

from logllm.explain.runbooks.choice import choose, decided, question_of, scored_text, title_of
from logllm.explain.runbooks.search import Catalogue, Match, Runbook
from tests.explain.runbooks.cases import CASES, UNRELATED


def match(name: str, score: float, signal: float) -> Match:
    return Match(Runbook(name, name, ["x"], ["do"], ["look"], "", "low", "", "What."), score, signal)


def test_words_alone_take_the_first_if_it_is_likelier_than_none() -> None:
    choice = choose([match("a", 3.0, 0.9), match("b", 1.0, 0.9), match("c", -1.0, 0.8)])

    assert choice.runbook is not None
    assert choice.runbook.id == "a"
    assert [found.runbook.id for found in choice.ranked] == ["a", "b", "c"]
    assert not choice.by_model


def test_none_is_chosen_where_it_is_likelier_than_any_runbook() -> None:
    choice = choose([match("a", -0.1, 0.9), match("b", -2.0, 0.3)])

    assert choice.runbook is None
    assert choice.margin == 0.0
    assert [found.runbook.id for found in choice.ranked] == ["a", "b"]
    assert choose([]).runbook is None


def test_the_margin_is_the_lead_over_the_second_or_over_none_and_lies_between_0_and_1() -> None:
    close = choose([match("a", 3.0, 1.0), match("b", 2.9, 1.0)]).margin
    clear = choose([match("a", 3.0, 1.0), match("b", -5.0, 1.0)]).margin
    sure = choose([match("a", 400.0, 1.0)]).margin

    assert 0.0 < close < 0.1 < clear < sure <= 1.0


def test_the_model_turns_a_close_race() -> None:
    close = [match("a", 2.0, 1.0), match("b", 1.8, 1.0)]

    by_words = choose(close)
    by_model = choose(close, [0.1, 1.4])

    assert by_words.runbook is not None
    assert by_words.runbook.id == "a"
    assert by_model.runbook is not None
    assert by_model.runbook.id == "b"
    assert by_model.by_model
    assert by_model.margin > 0


def test_the_model_turns_no_race_that_words_have_won() -> None:
    choice = choose([match("a", 6.0, 1.0), match("b", 1.8, 1.0)], [0.1, 1.4])

    assert choice.ranked[0].runbook.id == "a"


def test_what_all_candidates_gain_alike_changes_nothing() -> None:
    matches = [match("a", 1.5, 0.9), match("b", -1.0, 0.9)]

    for gain in (-9.0, 0.0, 9.0):
        assert choose(matches, [gain, gain]) == choose(matches, [0.0, 0.0])


def test_the_model_ranks_and_does_not_say_whether_any_fits() -> None:
    words_say_none = [match("a", -0.1, 0.9), match("b", -0.2, 0.9)]
    words_say_one = [match("a", 0.1, 0.9), match("b", -0.2, 0.9)]

    assert choose(words_say_none, [9.0, 1.0]).runbook is None
    assert [found.runbook.id for found in choose(words_say_none, [1.0, 9.0]).ranked] == ["b", "a"]
    assert choose(words_say_one, [1.0, 1.0]).runbook is not None


def test_there_is_a_gain_for_each_match() -> None:
    with pytest.raises(ValueError, match="Expected 1 gains, got 3"):
        choose([match("a", 9.0, 0.9)], [-1.0, -2.0, -3.0])
    assert choose([], []).runbook is None


def test_the_model_is_not_asked_where_words_decide() -> None:
    assert decided([])
    assert decided([match("a", -0.1, 0.5), match("b", -0.2, 0.5)])
    assert decided([match("a", 0.5, 0.6)])
    assert decided([match("a", 9.0, 0.9), match("b", 4.0, 0.9)])
    assert not decided([match("a", 9.0, 0.9), match("b", 8.0, 0.9)])
    assert not decided([match("a", 0.5, 0.6), match("b", 0.1, 0.5)])


def test_scored_text_takes_lines_that_differ() -> None:
    lines = [
        "Failed password for root port 1",
        "Failed password for root port 2",
        "POSSIBLE BREAK-IN ATTEMPT",
        "x" * 500,
        "fourth kind",
    ]

    assert scored_text(lines) == f"Failed password for root port 1\nPOSSIBLE BREAK-IN ATTEMPT\n{'x' * 160}"
    assert scored_text([]) == ""


def test_what_the_model_reads_is_short_whatever_the_runbook() -> None:
    long = Runbook("a", "t" * 500, ["s" * 300] * 9, ["x"], ["y"], "", "low", "", "w")

    assert len(title_of(long)) <= 121
    assert len(question_of(scored_text(["x y z" * 400, "a b c" * 400, "d" * 4000, "e"]))) < 1000
    assert question_of("a line").endswith("a line\nWhat is wrong:")


def test_words_alone_choose_well_on_our_cases_and_rarely_where_nothing_is_wrong() -> None:
    with Catalogue.load() as catalogue:
        right = sum((found := catalogue.best(text)) is not None and found.id in wanted for text, wanted in CASES)
        false = sum(catalogue.best(text) is not None for text in UNRELATED)

    assert right >= 0.93 * len(CASES)
    assert false <= 0.2 * len(UNRELATED)
