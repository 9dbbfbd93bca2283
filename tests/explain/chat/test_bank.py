"""A hundred and fifty-four questions over sample incidents: does the answer cite what an operator would look at?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from logllm.explain.chat.chat import Chat
from logllm.explain.runbooks.search import Catalogue
from tests.explain.chat.sample import Asked, asked, bank, chat_over, kept, sentences_of

LEAST_RIGHT = 0.9


@pytest.fixture(scope="module")
def chat() -> Iterator[Chat]:
    with Catalogue.load() as catalogue:
        yield chat_over(catalogue=catalogue)


def wrong(chat: Chat, one: Asked) -> str:
    """What is wrong with the answer to a question of the bank, "" where nothing is."""
    found = sentences_of(asked(chat, one.incident, one.question))
    cited = {name for sentence in found for name in sentence.cites}
    if one.unknown and not any(sentence.unknown for sentence in found):
        return f"{one.question}: it claims to know, citing {sorted(cited)}"
    if one.cites and not one.cites & cited:
        return f"{one.question}: expected one of {sorted(one.cites)}, cited {sorted(cited)}"
    return ""


def test_nine_in_ten_answers_cite_what_they_must(chat: Chat) -> None:
    faults = [fault for fault in (wrong(chat, one) for one in bank()) if fault]

    assert len(bank()) == 154
    assert 1 - len(faults) / len(bank()) >= LEAST_RIGHT, "\n".join(faults)


def test_no_answer_cites_what_is_not_there(chat: Chat) -> None:
    incidents = {event.id for event, _ in kept()}

    for one in bank():
        case = chat.case(one.incident)
        assert case is not None
        cited = {name for sentence in sentences_of(asked(chat, one.incident, one.question)) for name in sentence.cites}
        assert cited <= {*case.items, *incidents}, one.question


def test_the_bank_asks_for_what_exists(chat: Chat) -> None:
    incidents = {event.id for event, _ in kept()}

    for one in bank():
        case = chat.case(one.incident)
        assert case is not None
        assert one.cites <= {*case.items, *incidents}, one.question


def test_every_sentence_of_code_cites_something_or_says_that_it_does_not_know(chat: Chat) -> None:
    for one in bank():
        for sentence in sentences_of(asked(chat, one.incident, one.question)):
            assert sentence.cites or sentence.unknown or "took out" in sentence.text, (one.question, sentence.text)
