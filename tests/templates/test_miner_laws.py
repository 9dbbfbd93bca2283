"""What holds of the miner for any input: cuts, restarts, codes, bounds."""

from __future__ import annotations

import re
import uuid
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logllm.errors import StateError
from logllm.templates.codes import codes_in, holds_stem, is_code
from logllm.templates.keys import Keys
from logllm.templates.masks import mask
from logllm.templates.merge import Texts
from logllm.templates.miner import MOST_NAMED, OVERFLOW_TEXT, Miner
from logllm.templates.room import STRETCH, Room

_WORDS = st.sampled_from(["disk", "error", "http", "E", "user", "root", "()", "x=", "k=v", "'a'", "to", "Jan", "…"])
_NUMBERS = st.from_regex(r"[0-9]{1,4}", fullmatch=True)
_CODES = st.sampled_from(
    ["E1", "E2", "http2", "http3", "ORA-12", "E123456", "(E1)", "E2:", "node7", "7ms", "E1*", "a..E2"]
)
_IDS = st.uuids().map(str) | st.sampled_from(["10.1.2.3:80", "/var/log/x1", "deadbeefdeadbeef", "0x1f"])
_TOKENS = _WORDS | _NUMBERS | _CODES | _IDS | st.text(max_size=4) | st.sampled_from("abcdefghijklmnopqrst")
_MESSAGES = st.lists(_TOKENS, max_size=6).map(" ".join)
_STREAMS = st.lists(_MESSAGES, max_size=60)


def _small() -> Miner:
    return Miner(max_templates=12, max_keys=9, max_new=40)


def _all(miner: Miner) -> list[object]:
    return [miner.template(index) for index in range(miner.size) if _known(miner, index)]


def _known(miner: Miner, index: int) -> bool:
    try:
        miner.template(index)
    except IndexError:
        return False
    return True


@given(_STREAMS, st.lists(st.integers(1, 9), min_size=1, max_size=8))
@settings(max_examples=80, deadline=None)
def test_how_a_stream_is_cut_into_calls_changes_nothing(messages: list[str], cuts: list[int]) -> None:
    whole, cut = _small(), _small()

    given_out = whole.ids(messages).tolist()
    in_parts: list[int] = []
    at = 0
    while at < len(messages):
        size = cuts[at % len(cuts)]
        in_parts += cut.ids(messages[at : at + size]).tolist()
        at += size

    assert in_parts == given_out
    assert _all(cut) == _all(whole)
    assert cut.drain_changes() == whole.drain_changes()


@given(_STREAMS, st.integers(0, 60))
@settings(max_examples=80, deadline=None)
def test_a_restored_miner_goes_on_as_the_saved_one_would_have(messages: list[str], cut: int) -> None:
    steady, saved = _small(), _small()
    steady.ids(messages[:cut])
    saved.ids(messages[:cut])

    restored = Miner.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(saved.state())))
    after = restored.ids(messages[cut:]).tolist()

    assert after == steady.ids(messages[cut:]).tolist()
    assert _all(restored) == _all(steady)
    assert restored.drain_changes() == steady.drain_changes()
    assert restored.state() == steady.state()


@given(
    st.lists(
        st.lists(
            st.sampled_from(["disk", "full", "E1", "E2", "http2", "http3", "on"]) | _NUMBERS | st.uuids().map(str),
            min_size=1,
            max_size=5,
        ),
        max_size=40,
    )
)
@example([["E1", "0", f"{7:08x}-c209-4cac-629f-6fbed82c07cd"], ["E2", f"{9:08x}-c209-4cac-629f-6fbed82c07cd", "5"]])
@settings(max_examples=80, deadline=None)
def test_messages_share_an_index_exactly_when_their_own_masks_are_equal(lines: list[list[str]]) -> None:
    # "of" between the tokens: a list of identifiers counts as one, however long
    messages = [" of ".join(line) for line in lines]
    miner = Miner()

    indices = [miner.canonical(index) for index in miner.ids(messages).tolist()]

    texts = {index: miner.template(index).untyped for index in indices}
    merged = {index for index in indices if miner.template(index).version > 1}
    for index, message in zip(indices, messages, strict=True):
        shape = " ".join(mask(message)[0])
        if index in merged:
            assert re.fullmatch(re.escape(texts[index]).replace(r"<\*>", ".*"), shape)
        else:
            assert texts[index] == shape


@given(
    st.lists(_TOKENS, max_size=6).map(" ".join) | st.text(alphabet='E1 .*!?:(=#"2ABhtp3\x1c\xa0\u0661-', max_size=12)
)
@settings(max_examples=300, deadline=None)
def test_a_key_shows_that_a_code_the_mask_kept_may_have_been_there(message: str) -> None:
    shapes, _ = mask(message)
    pieces = {piece for shape in shapes for piece in re.split(r"\.{2,}|[,;:=|\"'`\[\](){}<>#]", shape)}
    kept = {body for piece in pieces if is_code(body := piece.rstrip(".!?*")) and body in message}
    key = message.encode("utf-8", "surrogatepass").translate(None, b"0123456789")

    found = codes_in(message)

    assert kept <= set(found)
    assert not found or holds_stem(key)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("failed with E1", "failed with E2"),
        ("error: E1, giving up", "error: E22, giving up"),
        ("ORA-00942: no such table", "ORA-01017: no such table"),
        ("speaking http2 now", "speaking http3 now"),
        ("request 5 over http2 took 3 ms", "request 17 over http3 took 4 ms"),
        ("cipher TLSv1 chosen", "cipher TLSv3 chosen"),
        ("sha1 mismatch", "sha256 mismatch"),
    ],
)
def test_digits_in_short_codes_keep_texts_apart(one: str, other: str) -> None:
    miner = Miner()

    first = miner.ids([one, other, one]).tolist()
    later = miner.ids([other, one] * 50).tolist()

    assert first[0] == first[2] != first[1]
    assert later == [first[1], first[0]] * 50


def test_a_code_first_seen_behind_a_plain_word_is_still_told_from_it() -> None:
    miner = Miner()

    indices = miner.ids(["speaking http now", "speaking http2 now", "speaking http now"]).tolist()

    assert indices[0] == indices[2] != indices[1]


def test_identifiers_do_not_fill_the_table_with_keys() -> None:
    source = Random(1)
    miner = Miner()
    messages = [f"instance {uuid.UUID(int=source.getrandbits(128))} took {source.random():.3f} s" for _ in range(3000)]

    indices = set(miner.ids(messages).tolist())

    assert indices == {0}
    assert len(miner._mining.keys) < 20


def test_random_words_fill_neither_the_table_nor_the_templates() -> None:
    source = Random(2)
    miner = Miner(max_templates=200, max_keys=500, max_new=300)
    letters = "abcdefghijklmnopqrstuvwxyz"

    def word() -> str:
        return "".join(source.choices(letters, k=9))

    for _ in range(20):
        miner.ids([" ".join(word() for _ in range(source.randint(1, 9))) for _ in range(500)])

    assert len(miner) <= 201
    assert len(miner._mining.keys) <= 1000
    assert miner.overflow >= 0
    assert miner.template(miner.overflow).text == OVERFLOW_TEXT
    assert miner.template(miner.overflow).count > 9_000
    assert len(miner._mining.texts.neighbours) <= (2 * 200 + 1000) * 9
    assert miner.size <= 302


def test_a_template_in_use_survives_a_flood_of_new_ones() -> None:
    miner = Miner(max_templates=50, max_new=5_000)
    kept = int(miner.ids(["the disk is full"])[0])

    for at in range(300):
        name = f"{at:b}".translate({48: "x", 49: "y"})
        miner.ids([f"{name} {name}{name} {name}z", "the disk is full"])

    assert miner.template(kept).text == "the disk is full"
    assert miner.template(kept).count == 301
    evicted = miner.drain_changes().evicted
    assert evicted
    assert kept not in evicted
    with pytest.raises(IndexError, match="forgotten"):
        miner.template(evicted[0])


def test_an_evicted_text_that_comes_back_has_its_old_id_and_a_new_index() -> None:
    miner = Miner(max_templates=8)
    first = int(miner.ids(["alpha beta gamma"])[0])
    name = miner.template(first).id
    miner.ids([f"{a}{b} {b} {a}" for a in "abcdefg" for b in "hijk"])
    assert first in miner.drain_changes().evicted

    again = int(miner.ids(["alpha beta gamma"])[0])

    assert again != first
    assert miner.template(again).id == name
    assert miner.resolve(name) == again


def _allowed(room: Room, stretches: range, *, flood: bool) -> list[int]:
    allowed = []
    for stretch in stretches:
        allowed.append(room.allowed if room.open(stretch * STRETCH) else 0)
        room.used = allowed[-1] if flood and allowed[-1] else room.used
    return allowed


def test_room_halves_under_a_flood_shuts_for_growing_pauses_and_comes_back_in_the_calm() -> None:
    room = Room(400, 400)

    flood = _allowed(room, range(14), flood=True)
    room.used = 0
    calm = _allowed(room, range(14, 20), flood=False)

    assert flood == [400, 200, 100, 50, 0, 50, 0, 0, 50, 0, 0, 0, 0, 50]
    assert calm == [100, 200, 400, 400, 400, 400]


def test_room_is_shut_after_a_stretch_whose_templates_pushed_out_others() -> None:
    calm, pushing = Room(400, 400), Room(400, 400)

    for room, displaced in ((calm, 20), (pushing, 30)):
        room.open(0)
        room.made, room.used, room.displaced = 100, 100, displaced

    assert calm.open(STRETCH)
    assert not pushing.open(STRETCH)
    assert pushing.open(2 * STRETCH)


def test_keys_are_carried_over_while_used_and_forgotten_when_not() -> None:
    keys = Keys(10)
    keys.put(b"used", 1)
    keys.put(b"unused", 2)

    for at in range(25):
        keys.put(b"%d" % at, 3)
        assert keys.get(b"used") == 1

    assert keys.get(b"unused") == -1
    assert len(keys) <= 20


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"version": 99}, "version 99, expected 3"),
        ({"overflow": 77}, "overflow"),
        ({"seen": "many"}, "seen"),
        ({"ledger": {}}, "ledger"),
        ({"texts": Miner().state()["texts"]}, "do not pair up"),
        ({"named": [("a rule", 0)]}, "do not pair up"),
        ({"max_templates": 0}, "not positive"),
    ],
)
def test_damaged_state_is_refused_by_name(damage: dict[str, object], message: str) -> None:
    miner = Miner()
    miner.ids(["a b c", "d e f 5"])

    with pytest.raises(StateError, match=message):
        Miner.restore({**miner.state(), **damage})


@given(st.binary(max_size=40), st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_flipped_bytes_in_a_snapshot_give_a_miner_or_a_state_error(noise: bytes, at: int) -> None:
    miner = Miner()
    miner.ids(["a b c", "d e f 5", "E1 k=v", "E2 k=w"])
    packed = bytearray(msgspec.msgpack.encode(miner.state()))
    packed[at % len(packed) : at % len(packed) + len(noise)] = noise

    try:
        state: Any = msgspec.msgpack.decode(bytes(packed))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    try:
        restored = Miner.restore(state)
    except StateError:
        return

    assert len(restored.ids(["a b c", "new text", "E1 k=v"])) == 3


def test_state_of_another_kind_is_refused() -> None:
    states: list[object] = [None, [], b"", {"version": None}, {}]

    for state in states:
        with pytest.raises(StateError, match="version"):
            Miner.restore(state)


def test_dead_texts_do_not_pile_up_in_the_signatures() -> None:
    texts = Texts()

    for at in range(3000):
        a, b = f"{at // 6:b}".translate({48: "p", 49: "q"}), "uvwxyz"[at % 6]
        if texts.find((("start", a, "with", "mode", b * 3), ((),) * 5)) is None:
            texts.enter((("start", a, "with", "mode", b * 3), ((),) * 5), at)

    assert len(texts.neighbours) < 6 * (2 * len(texts) + 1001)


def test_a_named_template_is_its_text_and_no_message_is_ever_of_it() -> None:
    miner = Miner()
    names = [f"plugin fraud raised rule {n}" for n in range(30)]

    indices = [miner.named(name) for name in names]
    given = miner.ids([*names, *names])

    assert len(set(indices)) == 30
    assert [miner.template(index).text for index in indices] == names
    assert not set(indices) & set(given.tolist())
    assert miner.named(names[7]) == indices[7]
    assert miner.template(indices[7]).count == 2
    restored = Miner.restore(miner.state())
    assert restored.named(names[3]) == indices[3]
    assert restored.template(indices[4]).text == names[4]


def test_named_templates_are_bounded_and_the_first_named_goes() -> None:
    miner = Miner()

    first = miner.named("first")
    for n in range(MOST_NAMED):
        miner.named(f"rule {n}")

    assert len(miner) == MOST_NAMED
    assert miner.drain_changes().evicted == [first]
    assert miner.named("first") != first


def test_where_indices_may_be_given_out_again_templates_that_come_and_go_need_no_more_of_them() -> None:
    source = Random(5)
    miners = Miner(max_templates=100, max_new=1_000_000), Miner(max_templates=100, max_new=1_000_000)

    for _ in range(40):
        messages = [" ".join(source.choices("bcdfgjkmq", k=9)) for _ in range(100)]
        for miner in miners:
            miner.ids(messages)
            miner.drain_changes()
        miners[1].reuse()

    assert miners[0].size > 3_000
    assert miners[1].size < 400
    assert len(miners[1]) == len(miners[0])


@given(st.lists(_STREAMS, max_size=6), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_restart_changes_nothing_of_which_indices_are_given_out_again(streams: list[list[str]], at: int) -> None:
    whole, restarted = _small(), _small()

    for turn, messages in enumerate(streams):
        if turn == at:
            restarted = Miner.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(restarted.state())))
        for miner in (whole, restarted):
            miner.ids(messages)
        assert whole.ids(messages).tolist() == restarted.ids(messages).tolist()
        assert whole.drain_changes() == restarted.drain_changes()
        for miner in (whole, restarted):
            miner.reuse()

    assert whole.state() == restarted.state()


def test_an_index_given_out_again_is_another_template_from_its_first_message_on() -> None:
    miner = Miner(max_templates=4)
    old = int(miner.ids(["the door is open"])[0])
    before = miner.template(old).id
    miner.ids([f"{word} went by bus" for word in ("ann-a", "bo b", "c c c", "d d d d", "e e e e e e", "f f f f f f f")])
    gone = miner.drain_changes().evicted
    miner.reuse()

    new = int(miner.ids(["a window was shut by the wind"])[0])

    assert old in gone
    assert new == gone[0]
    assert miner.template(new).text == "a window was shut by the wind"
    assert miner.template(new).count == 1
    assert miner.resolve(before) is None


def test_a_saved_state_in_which_a_free_index_is_in_use_is_refused() -> None:
    miner = Miner()
    miner.ids(["the door is open"])
    state = miner.state()
    state["ledger"]["free"] = [0]

    with pytest.raises(StateError, match="gone is there"):
        Miner.restore(state)
