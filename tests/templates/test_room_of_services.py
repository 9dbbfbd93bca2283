"""A service that explodes takes no other's room, and random texts do not fill memory."""

from __future__ import annotations

from random import Random

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.templates.chains import Chains
from logllm.templates.miner import Miner
from logllm.templates.room import MOST_ROOMS, STRETCH, Room, Rooms

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _random_texts(source: Random, n: int) -> list[str]:
    return [" ".join("".join(source.choices(_LETTERS, k=8)) for _ in range(6)) for _ in range(n)]


def _of(service: int, n: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.full(n, service, np.int32)


def test_a_service_that_explodes_evicts_its_own_templates_only() -> None:
    source = Random(1)
    miner = Miner(max_templates=300, max_new=100_000)
    calm = [f"{word} was done as asked" for word in ("reading", "writing", "sending")]
    kept = miner.ids(calm, services=_of(1, 3)).tolist()

    for _ in range(10):
        miner.ids(_random_texts(source, 400), services=_of(2, 400))

    evicted = miner.drain_changes().evicted
    assert len(evicted) > 1_000
    assert not set(evicted) & set(kept)
    assert len(miner) <= 301
    assert miner.ids(calm, services=_of(1, 3)).tolist() == kept


def test_a_service_has_room_while_another_has_used_up_its_own() -> None:
    source = Random(2)
    miner = Miner(max_new=100)
    miner.ids(_random_texts(source, 400), services=_of(2, 400))
    assert miner.overflow >= 0

    index = int(miner.ids(["something new and of interest"], services=_of(1, 1))[0])
    other = int(miner.ids(["something else of less interest here"], services=_of(2, 1))[0])

    assert miner.template(index).text == "something new and of interest"
    assert other == miner.overflow


def test_a_text_that_overflowed_in_one_service_is_a_template_in_another() -> None:
    source = Random(3)
    miner = Miner(max_new=50)
    texts = _random_texts(source, 80)
    flooded = miner.ids(texts, services=_of(2, 80)).tolist()
    assert flooded[-1] == miner.overflow

    index = int(miner.ids(texts[-1:], services=_of(1, 1))[0])

    assert index != miner.overflow
    assert miner.ids(texts[-1:], services=_of(2, 1)).tolist() == [index]


def test_a_text_has_one_template_whatever_service_it_comes_from() -> None:
    miner = Miner()

    indices = miner.ids(["took 5 ms", "took 7 ms", "took 9 ms"], services=np.array([0, 1, 2], np.int32)).tolist()

    assert len(set(indices)) == 1


def test_services_change_nothing_while_there_is_room() -> None:
    source = Random(4)
    texts = _random_texts(source, 200) + [f"volume {text} mounted read only" for text in "pqrstuvwxyz"]
    alone, several = Miner(), Miner()

    services = np.array([source.randrange(5) for _ in texts], np.int32)

    assert several.ids(texts, services=services).tolist() == alone.ids(texts).tolist()
    assert list(several.templates()) == list(alone.templates())


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(_LETTERS), st.sampled_from(_LETTERS)), max_size=80),
    st.integers(0, 80),
    st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_neither_cuts_nor_a_restore_change_what_services_are_given(
    made: list[tuple[int, str, str]], restart: int, cut: int
) -> None:
    texts = [f"{a * 3} {b * 4} {a}{b}" for _, a, b in made]
    services = np.array([service for service, _, _ in made], np.int32)
    whole, cuts = (Miner(max_templates=12, max_new=9) for _ in range(2))

    given_out = whole.ids(texts, services=services).tolist()
    parts: list[int] = []
    for at in range(0, len(texts), cut):
        if at >= restart:
            cuts = Miner.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(cuts.state())))
        parts += cuts.ids(texts[at : at + cut], services=services[at : at + cut]).tolist()

    assert parts == given_out
    assert cuts.state() == whole.state()


def test_a_flood_of_random_texts_leaves_few_indices_and_bounded_keys() -> None:
    source = Random(5)
    words = ["".join(source.choices(_LETTERS, k=6)) for _ in range(3_000)]
    miner = Miner(max_keys=5_000, max_new=500, max_templates=600)
    sizes = []

    for _ in range(12):
        for _ in range(STRETCH // 20_000):
            miner.ids([" ".join(source.choices(words, k=5)) for _ in range(2_000)] * 10)
        sizes.append(miner.size)

    assert sizes[-1] - sizes[5] <= 150
    assert sizes[-1] < 1_300
    assert len(miner) <= 601
    assert len(miner._mining.keys) <= 10_000
    assert len(miner._mining.texts.neighbours) <= 5 * (2 * 600 + 1_000)


def test_rooms_are_bounded_and_the_last_is_shared() -> None:
    rooms = Rooms(100)

    for service in range(2 * MOST_ROOMS):
        rooms.get(service).open(0)

    assert len(rooms.of) == MOST_ROOMS + 1
    assert rooms.get(5 * MOST_ROOMS) is rooms.get(7 * MOST_ROOMS)
    assert rooms.get(3) is not rooms.get(4)


def test_a_flood_that_never_ends_is_given_less_and_less() -> None:
    room = Room(5_000, 5_000)
    made = 0

    for stretch in range(2_000):
        if room.open(stretch * STRETCH):
            made += room.allowed
            room.used = room.allowed

    assert made < 12_000


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60), st.integers(0, 60))
def test_chains_hold_what_a_dict_of_lists_holds(entries: list[tuple[int, bool]], bulk: int) -> None:
    chains, plain = Chains(), dict[int, list[int]]()
    keys = [key * 0x9E3779B9 & 0xFFFFFFFF for key, _ in entries]

    first = min(bulk, len(keys))
    chains.extend(np.array(keys[:first], np.uint32), np.arange(first, dtype=np.int32))
    for value in range(first, len(keys)):
        chains.add(keys[value], value)
    chains.keep(np.array([kept for _, kept in entries], np.bool_))
    for value, (key, (_, kept)) in enumerate(zip(keys, entries, strict=True)):
        if kept:
            plain.setdefault(key, []).insert(0, value)

    assert {key: chains.get(key) for key in keys} == {key: plain.get(key, []) for key in keys}
    assert len(chains) == sum(map(len, plain.values()))
