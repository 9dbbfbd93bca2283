"""redact against input made to hurt it: every text in linear time, every block an answer, memory that does not grow."""

from __future__ import annotations

import random
import re

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import PluginTrap
from logllm.filters.config import PluginConfig
from logllm.filters.host import Host
from logllm.filters.instance import Instance
from logllm.filters.native import program
from logllm.filters.shipped import root
from tests.plugins.redact_reference import KINDS
from tests.sdk.conformance import FAILED, HOSTILE, PASS, REPLACE, Malformed, Native, entry, split

CODE = (root() / "redact" / "redact.wasm").read_bytes()
SIZE = 1 << 20

# Each is repeated to a mebibyte. Most of these would cost a search with backtracking hours.
REPEATED = [
    "a", "1", "4", "@", ".", ":", "=", "-", "_", "%", "%40", "a%40", "a@", "a.a@a.a.", "@a.", "1.", "1.1.1.1.",
    "1.1.1.1-",
    "key=", "password=", "password:", "password= ", "token: ", "token='", 'token="', "token=`", 'token=\\"', "token[",
    "token   =", '"password":"', "pwd=a ", "a=", "=a", "    =", "\\\\\\", "::", "a:", "2001:", "2001:db8::", "::1",
    "fe80::",
    "://", "a://", "a://b:", "a://b:c", "a://b:c@", "a://b@", "eyJ", "eyJ.", "eyJaaaaaaaa.", "eyJaaaaaaaa.b.", "J", "I",
    "AKI", "AK" + "IA", "AIz", "AI" + "za", "b", "bearer ", "bearer aaaaaaaaaa ", "basic ",
    "basic aaaaaaaaaaaaaaaa ", "--",
    "-----BEGIN ", "-----BEGIN RSA PRIVATE KEY", "-----BEGIN RSA PRIVATE KEY-----", "-----END", "sk-", "sk-a",
    "gh" + "p_",
    "github_pat", "gl" + "pat-", "gl" + "pat-....................", "xox", "xo" + "xb-", "hooks.slack.com/",
    "hooks.slack.com/services/",
    "npm_", "pypi-", "pypi-AgE", "4111 ", "4111-", "4111 1111 1111 111", "DE89", "DE89 ", "GB82WEST", "--token ",
    " --token -",
    " --a", "000-00-0000", "123-45-", "version 1.2.3.4", "é", "é@", "é.é@é.é", "\ud55c", "\0", "z", "s.s",
]  # fmt: skip


@pytest.fixture(scope="module")
def instance() -> Instance:
    config = PluginConfig(path="redact", config={"kinds": KINDS, "keep_private_ips": False})
    return program(CODE, config).instance(config, config.limits, Host("redact", 0))


@pytest.mark.parametrize("piece", REPEATED)
def test_a_mebibyte_of_it_is_done_in_the_time_of_a_call_and_with_the_usual_memory(
    instance: Instance, piece: str
) -> None:
    data = piece.encode()
    block = entry({"log": (data * (SIZE // len(data) + 1))[:SIZE]})

    made = instance.process("app", block, 1, budget_ms=500)

    assert made.count == 1
    assert instance.memory_bytes <= 24 << 20


@pytest.mark.parametrize(
    "text",
    [
        "password=" + "a" * SIZE, 'password="' + "a " * (SIZE // 2), "password='" + "a " * (SIZE // 2),
        "token=" + "*" * SIZE, "token=" + "x" * SIZE, "token: " + "a:b=" * (SIZE // 4), "Bearer " + "a" * SIZE,
        "Basic " + "a" * SIZE, "eyJ" + "a" * SIZE, "eyJ" + "a" * (SIZE // 2) + "." + "b" * (SIZE // 2),
        "sk-" + "a" * SIZE, "gh" + "p_" + "a" * SIZE, "a" * SIZE + "@" + "b" * SIZE, "a" * SIZE + "=b",
        "a://" + "b" * SIZE, "a://b:" + "c" * SIZE + "@", "-----BEGIN RSA PRIVATE KEY-----" + "a" * SIZE,
        "-----BEGIN RSA PRIVATE KEY-----" + "-----EN" * (SIZE // 7), "1" * SIZE + ".1.1.1",
        "4111 1111 1111 1111" * 50_000,
        "2001:" + "0" * SIZE, "password" + " " * SIZE + "=a", "password=" + " " * SIZE + "a", "\\" * SIZE + '"=',
        "--" + "a" * SIZE + " b", "password" + "1" * SIZE + "=hunter2", "x" * SIZE + "bob@example.com",
    ],
)  # fmt: skip
def test_one_long_thing_is_done_in_the_time_of_a_call(instance: Instance, text: str) -> None:
    made = instance.process("app", entry({"log": text}), 1, budget_ms=500)

    assert made.count == 1


def test_many_short_texts_and_one_deep_one_are_done_too(instance: Instance) -> None:
    wide = entry({f"field_{at}": f"user{at}@example.com" for at in range(50_000)})
    deep = b"\x92\x05\x81\xa1a" + b"\x91" * 200_000 + b"\xaabob@x.land"
    maps = b"\x92\x05\x81\xa1a" + b"\x81\xa8password" * 50_000 + b"\xa7hunter2"

    assert instance.process("app", wide, 1, budget_ms=500).block.count(b"[email]") == 50_000
    assert instance.process("app", deep, 1, budget_ms=500).block.endswith(b"\x91\xa7[email]")
    assert instance.process("app", maps, 1, budget_ms=500).block.endswith(b"\xa8[secret]")


def test_what_is_no_block_is_refused_and_the_next_block_goes_on() -> None:
    plugin = Native(CODE)
    good = entry({"log": "bob@example.com"})

    for hostile in HOSTILE:
        assert plugin.process(good + hostile).mode >= FAILED
        assert plugin.process(good).mode == REPLACE


def test_damaged_blocks_give_an_answer_or_a_failure_and_never_a_trap() -> None:
    plugin = Native(CODE)
    draw = random.Random(3)
    records: list[dict[str, object]] = [
        {"log": "bob@example.com", "password": ["a", {"b": "hunter2"}], "n": 5},
        {"k": {"token": b"abc123def", "l": [None, "4111111111111111"]}},
    ]
    block = b"".join(entry(record) for record in records)
    for _ in range(3000):
        damaged = bytearray(block)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.choice((draw.randrange(256), 0xDF, 0xDD, 0xDB, 0xC1, 0x92))
        answer = plugin.process(bytes(damaged))

        try:
            given_entries = list(split(bytes(damaged)))
        except Malformed:
            assert answer.mode >= FAILED
            continue
        assert answer.mode < FAILED
        out = list(split(answer.block)) if answer.mode == REPLACE else given_entries
        assert [one.head for one in out] == [one.head for one in given_entries]
        assert [[key for key, _ in one.fields] for one in out] == [
            [key for key, _ in one.fields] for one in given_entries
        ]


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_taken_as_a_text_and_only_marks_are_put_in(data: bytes) -> None:
    answer = PLUGIN.process(entry({"log": data}))

    assert answer.mode in (PASS, REPLACE)
    if answer.mode == REPLACE:
        made = msgpack.unpackb(answer.block, timestamp=0)[1]["log"]
        pieces = re.split(rb"\[(?:" + "|".join(KINDS).encode() + rb")\]", made)
        at = 0
        for piece in pieces:
            at = data.index(piece, at) + len(piece)


PLUGIN = Native(CODE)


def test_its_memory_does_not_grow_from_call_to_call() -> None:
    plugin = Native(CODE)
    draw = random.Random(5)
    texts = [draw.choice(REPEATED) * draw.randrange(1, 400) for _ in range(50)] + ["bob@example.com " * 3000]
    blocks = [entry({"log": text, "password": text}) for text in texts]
    plugin.many(blocks, 2_000)
    before = plugin.guest.memory_bytes

    plugin.many(blocks, 50_000)

    assert plugin.guest.memory_bytes == before


def test_a_record_that_would_grow_over_the_limit_fails_and_is_never_passed_half_done() -> None:
    config = PluginConfig(path="redact")
    small = program(CODE, config).instance(config, config.limits, Host("redact", 0))

    with pytest.raises(PluginTrap) as caught:
        small.process("app", entry({"password": ["b"] * 600_000}), 1, budget_ms=5_000)

    assert caught.value.reason == "output"
