"""A text that may hold no secret at all is told quickly, and never wrongly."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.audit.canary import canaries
from logllm.explain.redact.hints import may_hold_secret
from logllm.explain.redact.personal import personal_spans
from logllm.explain.redact.redactor import Redactor, without_secrets
from logllm.explain.redact.secrets import secret_spans
from tests.explain.redact.corpus import positives

_NAMES = ("pass", "PWD", "sessionId", "JSESSIONID", "session-key", "cardNumber", "card_number", "otp", "myOtp", "dni")
_PIECES = (
    "=",
    ": ",
    " ",
    "'",
    '"',
    "-",
    "--",
    "set ",
    "AUTH ",
    "code is ",
    "$2b$",
    "%20",
    "zip -P ",
    "Bearer ",
    "://u:",
)
_WORDS = ("monkey", "a1b2c3d4", "Zk3xQ9vT7bM2pLw8", "hunter2", "99", "discard", "authority", "sessions", "zipped")


def _without_numbers_of_people(text: str) -> bool:
    """Whether something else than those is found in it."""
    return any(span not in set(personal_spans(text)) for span in secret_spans(text, text.lower()))


def test_every_secret_of_the_corpus_may_be_one() -> None:
    texts = [each.text for each in positives(per_kind=6)] + [each.line for each in canaries(random.Random(3))]

    missed = [text for text in texts if _without_numbers_of_people(text) and not may_hold_secret(text)]

    assert missed == []
    assert sum(map(_without_numbers_of_people, texts)) > 500


@given(st.lists(st.sampled_from(_NAMES + _PIECES + _WORDS), min_size=1, max_size=9).map("".join))
def test_whatever_is_put_together_may_be_one_where_one_is_found(text: str) -> None:
    assert may_hold_secret(text) or not _without_numbers_of_people(text)


@pytest.mark.parametrize(
    "text",
    [
        "Session opened, authority discarded its cards and zipped notification",
        "Received block blk_-1608999687919862906 of size 91178 from /10.250.10.6",
        "java.net.SocketTimeoutException at org.example.Outer$Inner, 100% done",
        "application_1445144423722_0020 transitioned from NEW to INITED",
        "RetryUpToMaximumCountWithFixedSleep of /home/pakin/sweep0d-0.5b/results/random/x: token expected",
    ],
)
def test_ordinary_lines_need_no_second_look(text: str) -> None:
    assert not may_hold_secret(text)
    assert without_secrets(text, "*") is text


def test_a_secret_is_replaced_and_what_is_named_in_front_stays() -> None:
    assert (
        without_secrets("login with password=monkey from 203.0.113.9", "*") == "login with password=* from 203.0.113.9"
    )
    assert without_secrets("<secret_0> is no secret", "*") == "<secret_0> is no secret"


def test_what_is_sealed_is_the_same_over_restarts_uses_up_no_pseudonym_and_is_sealed_once() -> None:
    redactor = Redactor()
    redactor.mask("password=hunter2-xyz")

    sealed = redactor.sealed("login of 203.0.113.9 with hunter2-xyz, token=abcd1234")

    assert "hunter2" not in sealed
    assert "203.0.113.9" in sealed
    assert (
        Redactor.from_state(redactor.state()).sealed("login of 203.0.113.9 with hunter2-xyz, token=abcd1234") == sealed
    )
    assert redactor.sealed(sealed) == sealed == redactor.mask(sealed).replace("<ip_1>", "203.0.113.9")
    assert redactor.mask("password=other-1234") == "password=<secret_2>"
    assert Redactor().sealed("token=abcd1234") != Redactor().sealed("token=abcd1234")


def test_ids_are_sealed_whole_where_what_names_them_names_a_secret() -> None:
    redactor = Redactor()

    first, second = redactor.sealed_ids("session_id", ["one", "two"])

    assert first.startswith("<secret_x")
    assert first != second
    assert redactor.sealed_ids(r"JSESSIONID=(\w+)", ["one"]) == [first]
    assert redactor.sealed_ids("order_id", ["one"]) == ["one"]
