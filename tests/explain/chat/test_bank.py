"""A hundred and fifty-four questions over sample incidents: does the answer cite what an operator would look at?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from logllm.explain.chat.case import Case
from logllm.explain.chat.events import Sentence
from logllm.explain.runbooks.search import Catalogue
from tests.explain.chat.sample import Asked, asked, bank, chat_over, kept, sentences_of

LEAST_RIGHT = 0.9


Answers = list[tuple[Asked, list[Sentence], Case]]


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    """Each question of the bank with its answer and the case it is about."""
    with Catalogue.load() as catalogue:
        chat = chat_over(catalogue=catalogue)
        found = []
        for one in bank():
            case = chat.case(one.incident)
            assert case is not None
            found.append((one, sentences_of(asked(chat, one.incident, one.question)), case))
        yield found


def wrong(one: Asked, found: list[Sentence]) -> str:
    """What is wrong with the answer to a question of the bank, "" where nothing is."""
    cited = cites_in(found)
    if one.unknown and not any(sentence.unknown for sentence in found):
        return f"{one.question}: it claims to know, citing {sorted(cited)}"
    if one.cites and not one.cites & cited:
        return f"{one.question}: expected one of {sorted(one.cites)}, cited {sorted(cited)}"
    return ""


def cites_in(found: list[Sentence]) -> set[str]:
    return {name for sentence in found for name in sentence.cites}


def test_nine_in_ten_answers_cite_what_they_must(answers: Answers) -> None:
    faults = [fault for fault in (wrong(one, found) for one, found, _ in answers) if fault]

    assert len(answers) == 154
    assert 1 - len(faults) / len(answers) >= LEAST_RIGHT, "\n".join(faults)


def test_no_answer_cites_what_is_not_there(answers: Answers) -> None:
    incidents = {event.id for event, _ in kept()}

    for one, found, case in answers:
        assert cites_in(found) <= {*case.items, *incidents}, one.question


def test_the_bank_asks_for_what_exists(answers: Answers) -> None:
    incidents = {event.id for event, _ in kept()}

    for one, _, case in answers:
        assert one.cites <= {*case.items, *incidents}, one.question


def test_every_sentence_of_code_cites_something_or_says_that_it_does_not_know(answers: Answers) -> None:
    for one, found, _ in answers:
        for sentence in found:
            assert sentence.cites or sentence.unknown or "took out" in sentence.text, (one.question, sentence.text)
