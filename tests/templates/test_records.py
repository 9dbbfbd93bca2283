"""Messages that are records themselves: one template for a set of fields and what it tells."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.templates.keys import keys_of, record_key
from logllm.templates.masks import mask
from logllm.templates.mined import MAX_CHARS, mined_part
from logllm.templates.miner import Miner
from logllm.templates.records import masked_record, record_of

_WORDS = ["anna", "bert", "carl", "dora", "emil", "fred", "gina", "hans", "ida", "jan", "karl", "lena"]


def _count(lines: list[str]) -> int:
    miner = Miner()
    return len({miner.canonical(index) for index in miner.ids(lines).tolist()})


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"level":"info","msg":"started","n":5}', '{"level":"info","msg":"started","n":<num>}'),
        (
            '{"event": "login", "user": "bob", "ip": "10.0.0.1", "ok": true}',
            '{"event": "login", "user": <*>, "ip": <ip>, "ok": <bool>}',
        ),
        ('{"msg":"took 5 ms for /a/b","at":"x y"}', '{"msg":"took <num> ms for <path>","at":<*>}'),
        ('{"a":{"b":{"n":1},"tags":["x","y"]},"z":null}', '{"a":{"b":{"n":<num>},"tags":<*>},"z":<bool>}'),
        ('{"msg":"say \\"hi\\" now","p":"C:\\\\x"}', '{"msg":"say \\"hi\\" now","p":<path>}'),
        ('{"10.0.0.1":5,"10.0.0.2":7}', "{<*>}"),
        ("level=info msg=stopped count=5", "level=info msg=stopped count=<num>"),
        ('level=info msg="took 5 ms" q="a \\"b\\"" u=bob', 'level=info msg="took <num> ms" q=<*> u=<*>'),
        ("op=read, path=/a/b, n=3", "op=read, path=<path>, n=<num>"),
        ("p50=1 p99=7 name='x y'", "p50=<num> p99=<num> name=<*>"),
    ],
)
def test_a_record_shows_its_fields_and_what_they_tell(line: str, text: str) -> None:
    miner = Miner()

    index = int(miner.ids([line])[0])

    assert miner.template(index).text == text
    assert len(miner.parameters(index, line)) == miner.template(index).untyped.count("<*>")


def test_values_make_no_templates() -> None:
    as_json = [
        json.dumps({"event": "login", "user": a, "from": b, "n": i}) for i, a in enumerate(_WORDS) for b in _WORDS
    ]
    as_line = [f"event=login user={a} from={b} n={i}" for i, a in enumerate(_WORDS) for b in _WORDS]

    assert _count(as_json) == 1
    assert _count(as_line) == 1


def test_what_is_told_and_which_fields_there_are_make_templates() -> None:
    lines = [
        json.dumps({"event": event, "user": user, **extra})
        for event in ("login", "logout", "denied")
        for user in _WORDS
        for extra in ({}, {"reason": "expired"}, {"took_ms": 5})
    ]

    assert _count(lines) == 9


@pytest.mark.parametrize("key", ["event", "level", "status"])
def test_a_few_dozen_events_stay_apart_and_the_words_of_a_message_do_not(key: str) -> None:
    events = [f'{{"{key}":"{a}{b}","user":"x"}}' for a in "pqrst" for b in "uvw"]
    spaced = [
        json.dumps({"msg": "cannot do what was asked", key: f"{a}{b}", "user": "x"}) for a in "pqrst" for b in "uvw"
    ]
    as_line = [f'msg="cannot do what was asked" {key}={a}{b} user=x' for a in "pqrst" for b in "uvw"]
    messages = [f'{{"msg":"cannot open volume {word} for writing","user":"x"}}' for word in _WORDS]

    assert _count(events) == _count(spaced) == _count(as_line) == 15
    assert _count(messages) == 1


def test_codes_that_are_told_stay_apart() -> None:
    assert _count([f'{{"code":"{code}","n":1}}' for code in ("E1", "E2", "ORA-12")]) == 3
    assert _count([f"code={code} n=1 m=2" for code in ("E1", "E2", "ORA-12")]) == 3
    assert _count([f'{{"user":"{code}","n":1}}' for code in ("E1", "E2", "ORA-12")]) == 1


def test_names_that_differ_in_a_digit_are_other_fields() -> None:
    assert _count(['{"p50":1}', '{"p99":1}']) == 2
    assert _count(["p50=1 a=1 b=1", "p99=1 a=1 b=1"]) == 2


def test_a_map_from_values_to_values_is_one_template() -> None:
    lines = [json.dumps({"hosts": {f"10.0.0.{n}": n for n in range(first, first + 3)}}) for first in range(30)]

    assert _count(lines) == 1


def test_a_record_of_many_lines_or_many_fields_is_one_bounded_line() -> None:
    record = {"event": "dump", **{f"field_{a}{b}": "x" * 500 for a in "abcdefgh" for b in "abcdefghijkl"}}
    deep: dict[str, object] = {"event": "deep"}
    for _ in range(300):
        deep = {"event": "deep", "in": deep}

    for data in (record, deep):
        for text in (json.dumps(data), json.dumps(data, indent=2)):
            miner = Miner()
            index = int(miner.ids([text])[0])
            assert len(miner.template(index).text) <= 2 * MAX_CHARS
            assert "\n" not in mined_part(text)
            assert len(mined_part(text)) <= MAX_CHARS


def test_how_long_values_are_makes_no_templates() -> None:
    long = [json.dumps({"event": "upload", "body": "x" * (1500 + 100 * n), "user": "bob"}) for n in range(20)]
    lines = [f"event=upload body={'x' * (1500 + 100 * n)} user=bob n=1" for n in range(20)]

    assert _count(long) == 1
    assert _count(lines) == 1


@pytest.mark.parametrize(
    "line",
    [
        "took n=5 ms",
        "authentication failure; logname= uid=0 euid=0 tty=ssh ruser= user=bob",
        "{not json}",
        '{"open": "quote}',
        "{}",
        "a=1 b=2",
        "a=1 and b=2 but then much more text c=3 than fields",
    ],
)
def test_other_lines_are_no_records(line: str) -> None:
    assert record_of(line) is None
    assert masked_record(line) is None


_TEXT = st.text(alphabet="ab1 E,:{}[]\"\\='/._\x05", max_size=12)
_LINES = st.lists(
    st.tuples(st.sampled_from(["msg", "user", "n1", "level", "x.y"]), _TEXT).map("=".join), min_size=1, max_size=6
).map(" ".join)
_OBJECTS = st.dictionaries(
    st.sampled_from(["msg", "user", "n1", "n2", "level", "a b", "10.0.0.1"]) | _TEXT,
    st.recursive(
        _TEXT | st.integers() | st.booleans() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=5,
).map(json.dumps)
_ODD = st.text(alphabet='{}":,a1\\ =E', max_size=30).map(lambda text: f"{{{text}}}")


@given(st.lists(_LINES | _OBJECTS | _ODD, min_size=2, max_size=12))
@settings(max_examples=300, deadline=None)
def test_records_of_one_key_have_one_shape(lines: list[str]) -> None:
    shapes: dict[bytes, tuple[str, ...]] = {}

    for line in keys_of(
        lines + [line.replace("a", "b") for line in lines] + [line.replace("1", "22") for line in lines]
    )[0]:
        key = record_key(keys_of([line])[1][0], line)
        masked = masked_record(line)
        assert (key is None) == (masked is None)
        if key is not None and masked is not None:
            # names inside a told text keep digits, as they do in any line
            shape = tuple(re.sub(r"\d", "", token) for token in masked[0])
            assert shapes.setdefault(key, shape) == shape
            assert sum(token.count("<*>") for token in masked[0]) == sum(map(len, masked[1])) or "<*>" in line


def test_a_record_is_masked_as_text_where_it_is_none() -> None:
    line = "took n=5 ms"

    assert (masked_record(line) or mask(line)) == mask(line)
