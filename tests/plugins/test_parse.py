"""parse: against a slow reference in Python, and whatever else a line may hold."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logllm.cli.plugin_build import build, compiler, recipe_for, toolchain
from logllm.cli.plugin_fixtures import check
from logllm.errors import PluginLoadError
from logllm.filters.config import PluginConfig
from logllm.filters.host import Host
from logllm.filters.loader import about
from logllm.filters.manifest import Manifest
from logllm.filters.native import program
from logllm.filters.sections import plugin_section
from logllm.filters.shipped import root
from tests.plugins.parse_reference import reference
from tests.sdk.conformance import FAILED, HEADS, PASS, Malformed, Native, entry, split

PROJECT = root() / "parse"
CODE = (PROJECT / "parse.wasm").read_bytes()
COMBINED = (
    '10.0.0.1 - ann [10/Oct/2025:13:55:36 +0000] "GET /a?b=1 HTTP/1.1" 200 42 "https://s.example/" "Mozilla/5.0 (X11)"'
)
CONFIGS: tuple[dict[str, Any], ...] = (
    {},
    {"keep_original": True},
    {"prefix": "p."},
    {"fields": ["text", "log", "a"], "prefix": "a", "keep_original": True},
    {"json": False},
    {"logfmt": False, "access": False},
)
_INSTANCES: dict[str, Native] = {}


def plugin(config: dict[str, Any]) -> Native:
    """One instance for each configuration, for all examples: none may break it."""
    text = json.dumps(config)
    if text not in _INSTANCES:
        _INSTANCES[text] = Native(CODE, config=text.encode())
    return _INSTANCES[text]


def agrees(records: list[dict[Any, Any]], config: dict[str, Any], behind: bytes = b"") -> bytes:
    """The plugin and the reference make the same of records, byte for byte; what came out."""
    entries = [
        entry(bytes(msgpack.packb(one, unicode_errors="surrogateescape")), HEADS[at % len(HEADS)])
        for at, one in enumerate(records)
    ]
    given = list(split(b"".join(entries)))
    wanted = [reference(one.fields, config) for one in given]
    answer = plugin(config).process(b"".join(entries), behind)
    assert answer.mode < FAILED, answer.error
    if answer.mode == PASS:
        assert all(fields is one.fields for one, fields in zip(given, wanted, strict=True))
        return b"".join(entries)
    out = list(split(answer.block))
    assert len(out) == answer.n_out == len(given)
    for before, fields, after in zip(given, wanted, out, strict=True):
        assert after.head == before.head, "the time stays"
        assert after.fields == fields
        assert fields is not before.fields or after.raw == before.raw
    return answer.block


def one(log: str, config: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """What becomes of a record with this line."""
    _, fields = msgpack.unpackb(agrees([{"log": log, **others}], config or {}), strict_map_key=False)
    return dict(fields)


def test_the_fixtures_come_out_as_they_should() -> None:
    told: list[str] = []

    assert check(PROJECT, told.append), "\n".join(told)


def test_the_built_file_is_what_the_sources_give_wherever_they_lie(tmp_path: Path) -> None:
    elsewhere = tmp_path / "another" / "parse"
    shutil.copytree(PROJECT, elsewhere, ignore=shutil.ignore_patterns("*.wasm"))
    manifest = Manifest.load(elsewhere)
    way = toolchain(elsewhere, manifest, recipe_for(elsewhere, manifest))
    ours = (plugin_section(CODE) or {}).get("built_with", "")
    if way is not None and compiler(elsewhere, manifest, way) != ours:
        pytest.skip(f"the committed file was built with {ours}")
    if way is None:
        pytest.skip("no toolchain for Zig")

    made = build(elsewhere, manifest, way).path.read_bytes()

    assert made == CODE


def test_it_wants_no_right_but_the_log() -> None:
    assert about(CODE).wants == ["log"]


def test_an_access_line_becomes_fields_and_the_request_is_taken_apart() -> None:
    assert one(COMBINED) == {
        "client": "10.0.0.1", "user": "ann", "time": "10/Oct/2025:13:55:36 +0000", "method": "GET", "path": "/a?b=1",
        "protocol": "HTTP/1.1", "status": 200, "bytes": 42, "referer": "https://s.example/",
        "agent": "Mozilla/5.0 (X11)",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("level=info n=5 f=0.5 neg=-7 ok=true", {"level": "info", "n": 5, "f": 0.5, "neg": -7, "ok": True}),
        ('a="5" b="x \\"y\\" \\n\\u00e9\\ud83d\\ude00 \\q"', {"a": "5", "b": 'x "y" \né😀 \\q'}),
        ("id=007 big=18446744073709551615 more=18446744073709551616 e=12e4 v=1.5e3", {"id": "007", "big": 2**64 - 1,
         "more": "18446744073709551616", "e": "12e4", "v": 1500.0}),
        ("a= b=", {"a": "", "b": ""}),
        ("url=http://x/?q=1&r=2 k=abc==", {"url": "http://x/?q=1&r=2", "k": "abc=="}),
        ("a=1 a=2", {"a": 2}),
    ],
)  # fmt: skip
def test_logfmt_is_typed_and_unescaped(line: str, some: dict[str, Any]) -> None:
    assert one(line) == some


@pytest.mark.parametrize(
    "line",
    [
        *("", "a=1", "nothing here", "x = 5 and y = 6", "a=1 b", 'a=1 b="open', 'a=1 b="x"y', "INFO a=1 b=2", "=1 =2"),
        *("a=1 =2", "{}", "{", '{"a":1', '{"a":1}}', '{"a":1} x', "{'a':1}", '{"a":NaN}', '{"a":01}', '{"a":1,}'),
        *('{"a":"\t"}', '{"a":"\\x"}', "[1,2]", '"text"', '10.0.0.1 - - [x] "GET / HTTP/1.1" 200 1', COMBINED[:-1]),
        COMBINED.replace("200", "OK"),
        COMBINED.replace(' "Mozilla/5.0 (X11)"', ""),
        '10.0.0.1 - - [10/Oct/2025:13:55:36 +0000] "GET / HTTP/1.1" 200',
        '{"a":' + "[" * 64 + "]" * 64 + "}",
        '{"a":' + "[" * 200_000,
        " ".join(f"k{i}={i}" for i in range(513)),
    ],
)
def test_what_is_broken_or_prose_is_left_alone(line: str) -> None:
    assert one(line, level="info") == {"log": line, "level": "info"}


def test_a_key_that_was_there_is_never_lost() -> None:
    there: dict[str, Any] = {"a": 1, "parsed_a": 2, "same": 5}

    made = one('{"a":"new","parsed_a_":"x","same":5,"b":3,"log":"inner"}', **there)

    assert made == {**there, "parsed_a__": "new", "parsed_a_": "x", "b": 3, "log": "inner"}


def test_the_line_stays_where_that_is_asked_for_and_prefixes_are_put_in_front() -> None:
    assert one("a=1 b=2", {"keep_original": True, "prefix": "p."}) == {"log": "a=1 b=2", "p.a": 1, "p.b": 2}


def test_json_as_deep_and_as_wide_as_allowed_is_taken() -> None:
    deep = "[" * 63 + "]" * 63
    wide = json.dumps({f"k{i}": i for i in range(512)})

    assert set(one('{"a":' + deep + "}")) == {"a"}
    assert len(one(wide)) == 512
    assert one('{"a":[' + "1," * 70_000 + '2],"b":{' + ",".join(f'"{i}":0' for i in range(300)) + "}}")["a"][-1] == 2


BYTES = st.sampled_from([b"\xff", b"\xc3\xa9", b"\x80x", "\u00e9\U0001f600".encode(), b"\xed\xa0\x80"])
SMALL = st.text(
    st.sampled_from('abcdefklog_.@/- ="\\{}[]:,0123456789+-eE\t\n\r\x00\x7f\u00e9\u2028\U0001f600truefalsn'),
    max_size=24,
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), SMALL
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=20), st.dictionaries(SMALL, inner, max_size=18)),
    max_leaves=30,
)
NAME = st.one_of(
    st.sampled_from(["a", "b", "log", "message", "level", "parsed_a", "parsed_b", "parsed_log", "@t"]), SMALL
)
JSON_LINES = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent),
    st.dictionaries(NAME, VALUES, max_size=20), st.booleans(), st.sampled_from([None, 1]),
)  # fmt: skip
NUMBERS = st.from_regex(r"-?[0-9]{1,22}(\.[0-9]{0,4})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
WORD = st.one_of(NUMBERS, st.sampled_from(["true", "false", "null", "GET", "-", "x=y", ""]), SMALL)
LOGFMT_LINES = st.lists(
    st.builds(
        lambda name, value, quoted: f"{name}={json.dumps(value) if quoted else value}", NAME, WORD, st.booleans()
    ),
    max_size=8,
).map(" ".join)
ESCAPED = st.one_of(WORD, st.sampled_from(['\\"', "\\\\", "\\x16\\x03", "\\"])).map(
    lambda word: word.replace('"', '\\"')
)
ACCESS_LINES = st.builds(
    lambda words, request, status, size, rest: (
        f'{" ".join(words)} [10/Oct/2025:13:55:36 +0000] "{request}" {status} {size}{rest}'
    ),
    st.lists(st.one_of(st.sampled_from(["10.0.0.1", "-", "ann", "[::1]", "["]), WORD), min_size=3, max_size=3),
    st.one_of(
        st.sampled_from(["GET / HTTP/1.1", "POST /a", "-", "", "\\x16\\x03", "a b c d", "GET  / HTTP/1.0"]), ESCAPED
    ),
    st.sampled_from([200, 404, 99, "007", "-"]),
    st.one_of(st.sampled_from(["-", "0", "123", str(2**64), "00"]), WORD),
    st.one_of(st.just(""), st.lists(ESCAPED.map(lambda word: f' "{word}"'), max_size=4).map("".join), WORD),
)
PLAIN_LINES = st.one_of(JSON_LINES, LOGFMT_LINES, ACCESS_LINES, SMALL)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A line with bytes put in, cut, or taken out."""
    line = bytearray(draw(PLAIN_LINES).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(line)))
        new = draw(
            st.one_of(
                BYTES, st.sampled_from([b'"', b"\\", b"\\u", b"\\ud83d", b"{", b"}", b" ", b"=", b"", b"0", b"\n"])
            )
        )
        line[at : at + draw(st.integers(0, 2))] = new
    return bytes(line)


def as_text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


LINES = st.one_of(PLAIN_LINES.map(lambda line: as_text(line.encode("utf-8", "surrogatepass"))), damaged().map(as_text))
RECORDS = st.dictionaries(
    st.one_of(st.sampled_from(["log", "message", "text", "a", "b", "parsed_a", "p.a", "level"]), st.integers(0, 3)),
    st.one_of(LINES, damaged(), st.integers(-5, 5), st.none()),
    max_size=6,
)


@settings(max_examples=80)
@given(st.lists(RECORDS, max_size=4), st.sampled_from(CONFIGS))
@example(
    [{"log": '{"a":"\\ud83d","b":"\\ud83d\\ude00\\ude00","c":-0,"d":-0.0,"e":1E400,"f":123456789012345678901}'}], {}
)
def test_it_agrees_with_the_reference(records: list[dict[Any, Any]], config: dict[str, Any]) -> None:
    made = agrees(records, config)

    assert agrees(records, config, b'"}} 5 "x" =1') == made, "what lies behind the block does not matter"


@settings(max_examples=300)
@given(LINES)
def test_every_line_agrees_with_the_reference(line: str) -> None:
    agrees([{"log": line, "a": 1}], {})


def test_blocks_that_are_none_are_errors_and_never_traps() -> None:
    draw = random.Random(7)
    lines = [COMBINED, 'level=info msg="a \\"b\\"" n=5', '{"a":{"b":[1,2.5,"\\u00e9"]},"n":null}']
    good = b"".join(entry({"log": line, "a": 1}) for line in lines)
    outcomes = set()

    for _ in range(3000):
        block = bytearray(good[: draw.randrange(1, len(good))] if draw.random() < 0.3 else good)
        for _ in range(draw.randrange(4)):
            block[draw.randrange(len(block))] = draw.randrange(256)
        answer = plugin({}).process(bytes(block))
        try:
            count = len(list(split(bytes(block))))
        except Malformed:
            assert answer.mode >= FAILED
        else:
            assert answer.mode >= FAILED or answer.n_in == count
        outcomes.add(answer.mode)

    assert {2, FAILED} <= outcomes


@pytest.mark.parametrize("config", [{"fields": "log"}, {"json": "yes"}, {"prefix": 5}, {"field": ["log"]}])
def test_a_configuration_that_is_wrong_is_refused(config: dict[str, Any]) -> None:
    chosen = PluginConfig(path="parse", config=config)

    with pytest.raises(PluginLoadError, match="refused its configuration"):
        program(CODE, chosen).instance(chosen, chosen.limits, Host("parse", 0, tell=lambda *_: None))


def test_its_memory_stays_what_it_was_over_many_calls() -> None:
    fresh = Native(CODE)
    blocks = [
        entry({"log": line}) * 5 for line in (COMBINED, "a=1 b=2", '{"a":[1,{"b":"' + "x\\n" * 3000 + '"}]}', "no")
    ]
    fresh.many(blocks, 1_000)
    before = fresh.guest.memory_bytes

    fresh.many(blocks, 5_000)

    assert fresh.guest.memory_bytes == before
