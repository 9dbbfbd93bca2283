"""Matchers and patterns of routes from any text, against any label; patterns against Python's own where those end."""

from __future__ import annotations

import re

from logllm.errors import ConfigError
from logllm.notify.routing.labels import LABELS
from logllm.notify.routing.matchers import Matchers, parse_matchers
from logllm.notify.routing.patterns import Pattern
from tests.fuzz.inputs import Choices, check_refusal

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1300

# So short that Python's own expressions, which may take exponential time, are done.
_COMPARED_PATTERN, _COMPARED_TEXT = 24, 8


def check(data: bytes) -> None:
    """A text is matchers that read the same when they are written again, or is refused in one line."""
    choices = Choices(data)
    is_pattern = choices.below(2) == 1
    text, _, value = choices.rest().decode("utf-8", "surrogateescape").partition("\0")
    if is_pattern:
        _check_pattern(text, value)
        return
    try:
        matchers = parse_matchers(text.split("\x01"))
    except ConfigError as error:
        check_refusal(error)
        return
    again = parse_matchers(matchers.texts)
    assert again.texts == matchers.texts
    labels = {name: (value, name) for name in LABELS}
    for some in (labels, {}, dict.fromkeys(LABELS, ())):
        held = matchers.match(some)
        assert again.match(some) is held
        assert (matchers.failing(some) is None) is held
        assert all(Matchers([one]).match(some) for one in matchers) is held


def _check_pattern(text: str, value: str) -> None:
    try:
        pattern = Pattern(text)
    except ConfigError as error:
        check_refusal(error)
        return
    # A long one takes time in proportion, or the fuzzer's clock runs out.
    found = pattern.match(value * 300)
    assert pattern.match(value * 300) is found
    short = value[:_COMPARED_TEXT]
    if len(text) > _COMPARED_PATTERN or text.count("{") or "[" in text:
        return
    # What Python reads in another way: \A and the like are refused here, $ before a line break is the end there.
    slow = re.compile(text, re.DOTALL | re.ASCII)
    for part in (short, short[:1], ""):
        assert pattern.match(part) is (slow.fullmatch(part) is not None), part


def seeds() -> list[bytes]:
    """Matchers as people write them, and patterns of every kind."""
    matchers = (
        b'service="payments"\0payments', b'{severity=~"warning|critical", kind!="new"}\0warning', b"{}", b"{a}",
        b'service=~"(?i)pay.*",owner!~".+"\0PAYments', b'kind=new,\n incident="a\\"b\\\\c\\n"\0a"b\\c\n', b'service="x',
        b"service=a\x01severity!=info", b'service=~"[a-z]{2,5}-\\\\d+"\0ab-1', b"owner=", b'owner=""', b"," * 100,
    )  # fmt: skip
    patterns = (
        b"checkout-(eu|us)-[0-9]{1,2}\0checkout-eu-12", b"(a|b)*c+?\0abc", b"(?:a?){5}\0aaa", b"(a*)*b\0aaaaaaaa",
        b"^\\d+\\.\\w$\x001.a", b"(?i)A.z\0a\nZ", b"[]^a-]+\0]-", b"(((((a)))))\0a", b"(){9}{9}", b"a{999}", b"\\",
        b"(", b"a||b\0b", b"[[:alpha:]]", b"\xc3\xa9+\0\xc3\xa9\xc3\xa9", b"(.{1,9}){1,9}\0aaaa", b"x*" * 300, b"a$\0a",
    )  # fmt: skip
    return [b"\0" + text for text in matchers] + [b"\1" + text for text in patterns]
