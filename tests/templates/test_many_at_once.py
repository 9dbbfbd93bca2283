"""What is done for many texts at once is what is done for each."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import StateError
from logllm.events import TextCodes
from logllm.templates.chains import Chains
from logllm.templates.keys import Keys, keys_of
from logllm.templates.mined import MAX_CHARS, mined_part
from logllm.templates.miner import Miner
from logllm.templates.neighbours import Neighbours
from logllm.templates.node import Node

_SPACES = [char for char in map(chr, range(0x110000)) if char.isspace() and char not in " \n"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["é1", "a\0b", "a\nb 2", "x", "", "\0", "\n"]), st.sampled_from([0, 1, 1998, 1999, 2000])
        )
    )
)
@settings(max_examples=200, deadline=None)
def test_messages_are_cut_and_lose_their_digits_together_as_one_by_one(made: list[tuple[str, int]]) -> None:
    messages = [text + "y" * length for text, length in made] or [""]
    each = [mined_part(message).replace("\0", " ") for message in messages]

    texts, keys = keys_of(messages)

    assert list(texts) == each
    assert keys == [text.encode().translate(None, b"0123456789") for text in each]
    assert max(map(len, messages)) <= MAX_CHARS or texts != messages


def test_keys_of_templates_that_are_gone_leave_both_generations_in_order() -> None:
    keys = Keys(4)
    for at, value in enumerate((0, 1, -2, 2, 1, 0, -3)):
        keys.put(b"%d" % at, value)
    epoch = keys.epoch

    keys.forget(np.array([False, True, True]))

    assert list(keys.old.items()) == [(b"0", 0), (b"2", -2)]
    assert list(keys.young.items()) == [(b"5", 0), (b"6", -3)]
    assert keys.epoch != epoch


def test_what_was_under_a_hash_before_is_told_for_each_of_several_also_while_they_grow() -> None:
    together, apart = Chains(), Chains()
    source = Random(1)

    for value in range(3_000):
        keys = [source.randrange(500) for _ in range(source.randrange(5))]
        told = []
        for key in keys:
            told.append(apart.get(key))
            apart.add(key, value)

        assert together.add_all(keys, value) == told


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["<*>", "the", "of", "a", "disk", "é", "x=<*>", "full"]), max_size=9)
            | st.integers(46, 50).map(lambda words: ["word"] * words),
            st.integers(0, 3),
        ),
        max_size=12,
    )
)
@settings(max_examples=150, deadline=None)
def test_texts_that_are_taken_back_have_the_signatures_they_had(texts: list[tuple[list[str], int]]) -> None:
    nodes = [
        Node(at, " ".join(tokens), (), (hole,) if hole < len(tokens) else ()) for at, (tokens, hole) in enumerate(texts)
    ]
    signed, back = Neighbours(), Neighbours()
    for node in nodes:
        signed.sign(node)

    back.sign_all(nodes)

    assert len(back) == len(signed)
    assert [back.sign(node) for node in nodes] == [signed.sign(node) for node in nodes]


@pytest.mark.parametrize("place", ["{}disk is full", "disk is full{}", "disk{}is full", "disk {}is full"])
def test_a_saved_text_with_other_space_than_single_ones_between_words_is_refused(place: str) -> None:
    miner = Miner()
    miner.ids(["disk is full", "é is new"])
    state = miner.state()
    shapes = state["texts"]["shapes"]

    for odd in (" ", *_SPACES):
        damaged = shapes.replace("disk is full", place.format(odd))
        if damaged != shapes:
            with pytest.raises(StateError, match="single spaces"):
                Miner.restore({**state, "texts": {**state["texts"], "shapes": damaged}})


@pytest.mark.parametrize("limits", [(100_000, 200_000, 5_000), (400, 300, 3_000)])
def test_thousands_of_messages_in_one_call_are_what_they_are_in_many(limits: tuple[int, int, int]) -> None:
    source = Random(3)
    words = ["".join(source.choices("abcdefgh", k=5)) for _ in range(40)]
    messages = [" ".join(source.choices(words, k=3)) + f" {n:016x} E{n % 7}" for n in range(4_000)]
    services = np.arange(4_000, dtype=np.int32) % 3
    by_text = dict.fromkeys(message.translate(dict.fromkeys(range(48, 58))) for message in messages)
    numbers = {text: number for number, text in enumerate(by_text, 1)}
    codes = TextCodes(
        np.array([numbers[message.translate(dict.fromkeys(range(48, 58)))] for message in messages], np.int32), object()
    )
    templates, keys, new = limits
    whole, coded, parts = (Miner(max_templates=templates, max_keys=keys, max_new=new) for _ in range(3))

    for miner in (whole, coded, parts):
        miner.ids(messages[:500], TextCodes(codes.codes[:500], codes.scope) if miner is coded else None, services[:500])
    given_out = whole.ids(messages, services=services)
    with_codes = coded.ids(messages, codes, services)
    in_parts = [
        parts.ids(messages[at : at + 700], services=services[at : at + 700]) for at in range(0, len(messages), 700)
    ]

    assert with_codes.tolist() == given_out.tolist()
    assert np.concatenate(in_parts).tolist() == given_out.tolist()
    assert whole.state() == coded.state() == parts.state()
