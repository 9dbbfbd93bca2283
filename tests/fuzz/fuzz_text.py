"""A notification as plain text, with any text in any field."""

from __future__ import annotations

from logllm.notify.text import BODY_CHARS, SUMMARY_CHARS, body, line, plain, summary
from tests.fuzz.told import MAX_BYTES, Addresses, seeds, told, words_of
from tests.notify.told import NoLinks, assert_harmless

__all__ = ["MAX_BYTES", "check", "seeds"]


def check(data: bytes) -> None:
    """It has a line that says what it is about, and a text of whole lines; neither hides, steers, mentions or links."""
    for word in words_of(data):
        for limit in (1, 2, 10, 400):
            shown = plain(word, limit)
            assert len(shown) <= limit
            assert_harmless(shown)
            assert len(line(word, limit)) <= limit
            assert plain(shown, limit) == shown
    notification = told(data)
    about = summary(notification)
    assert 0 < len(about) <= SUMMARY_CHARS
    assert_harmless(about)
    for links in (Addresses(), NoLinks()):
        text = body(notification, links)
        assert len(text) <= BODY_CHARS
        assert_harmless(text, lines=True)
        text.encode()
