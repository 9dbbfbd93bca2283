from __future__ import annotations

import random
import re
import textwrap

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.explain.redact.private_keys import block_spans, private_key_spans
from logllm.explain.redact.redactor import Redactor
from tests.explain.redact.corpus_kinds import BASE64, WHOLE, chars

PEM = WHOLE["rsa key"](random.Random(1)).text.splitlines()
BODY = PEM[1:-1]
RECORDS = [
    pytest.param("{}", id="alone"),
    pytest.param("2026-01-05 10:00:00,123 INFO [main] loader - {}", id="after a header"),
    pytest.param('{{"stream":"stdout","log":"{}\\n"}}', id="in a container's JSON"),
]


@pytest.mark.parametrize("form", RECORDS)
def test_a_private_key_that_came_one_line_a_record_is_recognised(form: str) -> None:
    texts = ["reading the key", *(form.format(line) for line in PEM), "ready after 12 ms"]

    masked = Redactor().mask_lines(texts)

    assert masked[0] == "reading the key"
    assert masked[-1] == "ready after 12 ms"
    assert not [line for line in BODY if any(line in text for text in masked)]
    assert all("<secret_" in text for text in masked[2:-2])


def test_lines_of_a_key_are_recognised_without_its_beginning_where_there_are_two() -> None:
    texts = ["loading", f"key: {BODY[3]}", f"key: {BODY[7]}"]

    masked = Redactor().mask_lines(texts)

    assert masked[0] == "loading"
    assert BODY[3] not in masked[1]
    assert BODY[7] not in masked[2]


def test_digests_of_64_characters_are_no_lines_of_a_key() -> None:
    texts = [f"sha256 {chars(random.Random(n), '0123456789abcdef', 64)} checked" for n in range(5)]

    assert Redactor().mask_lines(texts) == texts


def test_words_after_a_key_that_never_ended_stay() -> None:
    texts = ["expected -----BEGIN RSA PRIVATE KEY----- but the file is empty", "retrying in 5 s", "gave up"]

    masked = Redactor().mask_lines(texts)

    assert masked[0].endswith(" but the file is empty")
    assert masked[1:] == texts[1:]


def test_what_a_later_line_names_as_a_secret_is_masked_in_the_earlier_ones() -> None:
    texts = ["login with hunter2-xyz-77 refused", "password=hunter2-xyz-77 tried"]

    masked = Redactor().mask_lines(texts)

    assert masked == ["login with <secret_1> refused", "password=<secret_1> tried"]


def test_a_value_that_was_named_as_a_secret_is_known_again_where_it_stands_bare() -> None:
    first = Redactor()
    first.mask('{"api_key": "zq81-Kdmw_7761"}')

    second = Redactor.from_state(msgpack.unpackb(msgpack.packb(first.state())))

    assert first.mask("caller zq81-Kdmw_7761 rejected") == "caller <secret_1> rejected"
    assert second.mask("caller zq81-Kdmw_7761 rejected") == "caller <secret_1> rejected"
    assert b"zq81-Kdmw_7761" not in msgpack.packb(first.state())


@pytest.mark.parametrize(
    "ordinary",
    [
        "production",
        "eu-west-1",
        "worker-12345",
        "10.0.0.5",
        "db1.example.com",
        "v1.22.333",
        "20260105T101500Z",
        "12345678",
    ],
)
def test_what_may_stand_in_any_line_is_not_taken_for_a_secret_because_a_key_named_it_once(ordinary: str) -> None:
    redactor = Redactor()
    redactor.mask(f"token={ordinary}")

    assert "<secret" not in redactor.mask(f"started in {ordinary} now")


def test_a_key_cut_off_in_its_middle_is_masked_as_far_as_it_goes() -> None:
    text = "loaded -----BEGIN PRIVATE KEY-----\n" + "\n".join(BODY[:5]) + "\n" + BODY[5][:20]

    masked = Redactor().mask(text)

    assert masked == "loaded <secret_1>"


def test_two_keys_in_one_text_are_two() -> None:
    text = "\n".join([*PEM, "and", *PEM])

    spans = list(private_key_spans(text, text.lower()))

    assert len(spans) == 2
    assert text[spans[0][1] : spans[1][0]] == "\nand\n"


def test_a_certificate_is_no_key() -> None:
    lines = textwrap.wrap(chars(random.Random(4), BASE64, 500), 64)
    text = "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"])

    assert Redactor().mask(text) == text


@pytest.mark.parametrize("unit", ["-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\nMIIE", "\nA" * 40])
def test_many_beginnings_of_keys_take_no_longer_than_their_length(unit: str) -> None:
    texts = [unit * 200] * 50

    found = block_spans(texts)

    assert len(found) == len(texts)
    assert len(re.findall("BEGIN PRIVATE", Redactor().mask(unit * 5_000))) == 0
