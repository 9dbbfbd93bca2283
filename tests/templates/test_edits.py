"""What the user names, merges and pins."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.templates.edits import MOST_PINS, TemplateEdits
from logllm.templates.miner import Miner
from logllm.templates.pins import Pin

_LOGINS = [f"user {name} logged in from 10.0.0.1" for name in ("alice", "bob", "carl")]
_SESSIONS = ["session opened for job 5 by cron", "session closed for job 5"]


def _ids(miner: Miner, texts: list[str]) -> list[str]:
    return [miner.template(index).id for index in miner.ids(texts).tolist()]


def _again(miner: Miner) -> Miner:
    return Miner.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(miner.state())))


def test_a_name_is_shown_in_place_of_the_text_and_can_be_taken_away() -> None:
    miner = Miner()
    template = _ids(miner, ["took 5 ms"])[0]

    miner.rename(template, "request done")
    named = _again(miner).template(0)
    miner.rename(template, "")

    assert (named.name, named.shown, named.text) == ("request done", "request done", "took <num> ms")
    assert miner.template(0).shown == "took <num> ms"


def test_merged_templates_are_one_with_aliases_and_changes_say_so() -> None:
    miner = Miner()
    first, second = _ids(miner, _SESSIONS)

    into = miner.merge([second, first])

    assert into == second
    assert miner.drain_changes().merged == [(0, 1)]
    template = miner.template(0)
    assert (template.id, template.aliases, template.count) == (second, (first,), 2)
    assert miner.ids(_SESSIONS).tolist() == [1, 1]
    assert miner.resolve(first) == miner.resolve(second) == 1
    assert [listed.id for listed in miner.templates()] == [second]
    assert _again(miner).ids(_SESSIONS).tolist() == [1, 1]


def test_the_name_of_a_template_stays_with_what_it_was_merged_into() -> None:
    miner = Miner()
    first, second = _ids(miner, _SESSIONS)
    miner.rename(first, "session")

    miner.merge([second, first])

    assert miner.template(0).name == "session"


def test_a_merged_template_goes_on_being_mined() -> None:
    miner = Miner()
    words = ["alpha", "beta", "gamma", "delta", "omega"]
    lines = [f"cannot mount volume {word} read only" for word in words]
    other, *names = _ids(miner, ["gave up on a volume", *lines[:3]])
    miner.merge([other, names[1]])

    indices = {miner.canonical(index) for index in miner.ids([*lines, "gave up on a volume"]).tolist()}

    assert len(indices) == 1
    template = miner.template(indices.pop())
    assert template.count == 10
    assert {other, *names} < {template.id, *template.aliases}
    assert list(miner.templates()) == [template]
    assert _again(miner).template(template.index) == template


def test_a_pin_takes_the_lines_that_fit_from_what_was_mined_and_from_then_on() -> None:
    miner = Miner()
    mined = miner.ids([*_LOGINS, "user dora logged out"]).tolist()

    pinned = miner.pin("user <user> logged in from <ip>")

    index = miner.resolve(pinned)
    assert index is not None
    assert miner.drain_changes().merged == [(mined[0], index)]
    assert miner.ids(["user emil logged in from 10.0.0.9", "user emil logged in from cellar"]).tolist()[0] == index
    assert miner.ids(["user dora logged out"]).tolist() == [mined[3]]
    template = miner.template(index)
    assert (template.text, template.pinned, template.count) == ("user <user> logged in from <ip>", True, 4)
    assert miner.parameters(index, "user emil logged in from 10.0.0.9") == ["emil", "10.0.0.9"]
    restored = _again(miner)
    assert restored.template(index) == template
    assert restored.ids(_LOGINS).tolist() == [index] * 3


def test_a_pin_has_the_same_id_whenever_it_is_made() -> None:
    early, late = Miner(), Miner()
    late.ids([*_LOGINS, "something else"])

    assert early.pin("user <*>  logged in from <*>") == late.pin("user <*> logged in from <*>")
    assert early.pin("user <*> logged in from <*>") == late.pin("user <*> logged in from <*>")


def test_the_first_pin_that_fits_wins() -> None:
    miner = Miner()
    narrow, wide = miner.pin("disk <*> is full"), miner.pin("disk <*>")

    assert _ids(miner, ["disk sda is full", "disk sda is fine"]) == [narrow, wide]


def test_an_unpinned_template_is_forgotten_and_its_lines_are_mined_with_their_old_ids() -> None:
    miner = Miner()
    before = _ids(miner, _LOGINS)
    index = miner.resolve(miner.pin("user <user> logged in <*>"))
    miner.drain_changes()

    miner.unpin("user <user> logged in <*>")

    assert index in miner.drain_changes().evicted
    assert _ids(miner, _LOGINS) == before
    assert miner.edits == TemplateEdits()


def test_pins_hold_for_records_too() -> None:
    miner = Miner()
    pinned = miner.pin('{"event":"login"<*>}')

    assert _ids(miner, ['{"event":"login","user":"x"}', '{"event":"login","n":5,"user":"y"}']) == [pinned] * 2


def test_edits_are_applied_again_in_a_miner_that_starts_anew() -> None:
    miner = Miner()
    first, second = _ids(miner, _SESSIONS)
    miner.merge([first, second])
    miner.rename(first, "session")
    pinned = miner.pin("user <user> logged in from <ip>")
    data = msgspec.json.decode(msgspec.json.encode(miner.edits.as_data()))

    fresh = Miner()
    fresh.edit(TemplateEdits.read(data))

    fresh.ids([*_SESSIONS[::-1], *_LOGINS])
    fresh_ids = [fresh.template(fresh.canonical(index)).id for index in fresh.ids([*_SESSIONS, *_LOGINS]).tolist()]
    assert fresh_ids == [first, first, pinned, pinned, pinned]
    assert fresh.template(fresh.ids(_SESSIONS)[0]).name == "session"


def test_the_same_edits_again_change_nothing() -> None:
    miner = Miner()
    first, second = _ids(miner, _SESSIONS)
    miner.ids(_LOGINS)
    edits = TemplateEdits({first: "session"}, ((first, second),), ("user <user> logged in from <ip>",))
    miner.edit(edits)
    miner.drain_changes()
    before = miner.state()

    miner.edit(edits)

    assert miner.state() == before
    restored = Miner.restore(before)
    restored.edit(edits)
    assert restored.state() == before


def test_fewer_edits_take_back_names_and_pins() -> None:
    miner = Miner()
    first = _ids(miner, _SESSIONS)[0]
    miner.edit(TemplateEdits({first: "session"}, (), ("user <*> logged in from <*>",)))
    index = int(miner.ids(_LOGINS)[0])

    miner.edit(TemplateEdits())

    assert miner.template(0).name == ""
    assert index in miner.drain_changes().evicted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<*>", "no words"),
        ("<num> <ip>", "no words"),
        ("a <*><num> b", "two parameters touch"),
        ("error 500 at <*>", "digits in '500' vary"),
        ("from 10.0.0.1 to <ip>", "digits in '10.0.0.1' vary"),
        ("commit deadbeefdeadbeef of <*>", "hexadecimal words vary"),
        ("x " + "<*> y " * 40, "40 parameters, expected at most 32"),
    ],
)
def test_a_pin_that_cannot_be_is_refused_and_changes_nothing(text: str, message: str) -> None:
    miner = Miner()
    miner.pin("good <*>")
    before = miner.state()

    with pytest.raises(ConfigError, match=message):
        miner.pin(text)
    with pytest.raises(ConfigError, match=message):
        miner.edit(TemplateEdits(pins=(text,)))

    assert miner.state() == before


def test_edits_of_what_is_not_there_are_refused_by_name() -> None:
    miner = Miner()
    known = _ids(miner, ["took 5 ms"])[0]
    pinned = miner.pin("user <*> is here")

    with pytest.raises(ConfigError, match="template 0123456789ab: unknown"):
        miner.rename("0123456789ab", "x")
    with pytest.raises(ConfigError, match="'nonsense': expected an id of 12"):
        miner.merge([known, "nonsense"])
    with pytest.raises(ConfigError, match="expected two or more"):
        miner.merge([known])
    with pytest.raises(ConfigError, match="is not mined"):
        miner.merge([known, pinned])
    with pytest.raises(ConfigError, match="there is none"):
        miner.unpin("never pinned")
    with pytest.raises(ConfigError, match=r"edits.toml: .*pins"):
        TemplateEdits.read({"pins": "x"}, "edits.toml")
    assert miner.merge([pinned, known]) == pinned


def test_pins_are_bounded() -> None:
    miner = Miner()
    letters = "abcdefghijklmnopqrstuvwxyz"
    miner.edit(TemplateEdits(pins=tuple(f"{a}{b} <*>" for a in letters for b in letters)[:MOST_PINS]))

    with pytest.raises(ConfigError, match="expected no more"):
        miner.pin("one more <*>")


@pytest.mark.parametrize(
    ("text", "line", "fits"),
    [
        ("took <num> ms", "took 5 ms", True),
        ("took <num> ms", "took long ms", False),
        ("took <dur>", "took 1h2m3s", True),
        ("took <*>", "took", False),
        ("took<*>", "took", True),
        ("took<*>", "took a very long time", True),
        ("a <*> b <*> c", "a x b y c", True),
        ("a <*> b <*> c", "a x b y", False),
        ("<user> left", "bob left", True),
        ("<user> left", "bob and eve left", False),
        ("exactly this", "exactly this", True),
        ("exactly this", "exactly this too", False),
        ("speaks http2 with <host>", "speaks http2 with a.example.com", True),
    ],
)
def test_a_pin_fits_lines_with_values_of_its_types(text: str, line: str, fits: bool) -> None:
    assert Pin(text).fits(line) is fits


_MESSAGES = st.lists(st.sampled_from([*_LOGINS, *_SESSIONS, "took 5 ms", "took 99 ms", "disk sda full", "E1", "E2"]))


@given(_MESSAGES, _MESSAGES, st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_restored_miner_with_edits_goes_on_as_the_saved_one(before: list[str], after: list[str], pin: bool) -> None:
    miner = Miner()
    ids = list(dict.fromkeys(_ids(miner, before)))
    if len(ids) > 2:
        miner.merge(ids[1:3])
        miner.rename(ids[0], "first")
    if pin:
        miner.pin("took <num> ms")

    restored = _again(miner)

    assert restored.ids(after).tolist() == miner.ids(after).tolist()
    assert restored.state() == miner.state()
    assert list(restored.templates()) == list(miner.templates())


def test_a_name_is_one_line_and_one_of_nothing_but_spaces_takes_it_away() -> None:
    miner = Miner()
    miner.ids(["disk is full"])
    (template,) = miner.templates()

    miner.rename(template.id, " a \n b ")
    named = next(miner.templates()).name
    miner.rename(template.id, " \t ")

    assert (named, next(miner.templates()).name) == ("a b", "")
