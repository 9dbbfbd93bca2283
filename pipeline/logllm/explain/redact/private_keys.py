"""Private keys written as text: whole in one text, or one line of it a record."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from logllm.explain.redact.rule import Span

__all__ = ["block_spans", "private_key_spans"]

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}(?:PRIVATE|STATIC) KEY[A-Z0-9 ]{0,12}-----")
_ANY_BEGIN = "-----BEGIN"
_END = re.compile(r"-----END [A-Z0-9 ]{0,52}-----")
_BREAK = r"(?:\s|\\{1,15}[nrt])"
# A key that was cut off: further lines while they look like a body.
_BODY = re.compile(
    rf"(?:{_BREAK}{{1,40}}+(?:[A-Za-z0-9+/=]{{16,}}+|(?:Proc-Type|DEK-Info|Version|Comment): [^\\\n]{{1,120}}))*+"
)
_LAST = re.compile(rf"{_BREAK}{{1,40}}+[A-Za-z0-9+/]{{1,16}}={{0,2}}(?![\w:])")
_PUTTY = re.compile(r"Private-Lines: \d++\s++([A-Za-z0-9+/=\s]{20,})")
_MOST_KEY_CHARS = 40_000
"""A key of 16,384 bits has some 13,000 characters; escaped three times they are no more than this."""

# The end of a record: a line of a body as `openssl`, PGP and PuTTY (64) and `ssh-keygen` (70) cut it, or its last.
_LINE = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{64}(?:[A-Za-z0-9+/]{6}|[A-Za-z0-9+/]{12})?(?![A-Za-z0-9+/=])")
_SHORT_LINE = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{4,76}={0,2}(?=(?:\\n)?[\"'\s\\},]{0,8}\Z)")
_HEX = re.compile(r"[0-9a-fA-F]+")
_MOST_LINES_OF_A_KEY = 300


def private_key_spans(text: str, lower: str) -> Iterator[Span]:
    """Where private keys stand; one without its end is taken as far as it looks like one."""
    if "-----begin" in lower:
        at = 0
        while (begin := _BEGIN.search(text, at)) is not None:
            limit = begin.end() + _MOST_KEY_CHARS
            end = _END.search(text, begin.end(), limit)
            other = text.find(_ANY_BEGIN, begin.end(), limit)
            if end and not 0 <= other < end.start():
                at = end.end()
            else:
                at = body.end() if (body := _BODY.match(text, begin.end())) else begin.end()
                if at > begin.end() and (last := _LAST.match(text, at)):
                    at = last.end()
            yield begin.start(), at
    if "private-lines" in lower:
        for match in _PUTTY.finditer(text):
            yield match.span(1)


def block_spans(texts: Sequence[str]) -> list[list[Span]]:
    """For each text, where lines of a key stand that came one a record.

    A line of the body says nothing alone: it counts between a record that begins a key and one that ends it, or where
    at least two records have one. Not seen: a single line of a body with neither its beginning nor another line.
    """
    found: list[list[Span]] = [[] for _ in texts]
    bodies = [[match.span() for match in _LINE.finditer(text) if _mixed(match[0])] for text in texts]
    marked = any(_BEGIN.search(text) or ("PRIVATE KEY-----" in text and _END.search(text)) for text in texts)
    if marked or sum(map(bool, bodies)) > 1:
        found = bodies
    inside = 0
    for number, text in enumerate(texts):
        if (begin := _BEGIN.search(text)) and not _END.search(text, begin.end()):
            inside = _MOST_LINES_OF_A_KEY
        elif inside and _END.search(text):
            inside = 0
        elif inside:
            inside -= 1
            if not found[number] and (short := _SHORT_LINE.search(text)):
                found[number] = [short.span()]
    return found


def _mixed(run: str) -> bool:
    """Base64 of something by chance: capitals, small letters and digits; no digest in hex."""
    return (
        not _HEX.fullmatch(run)
        and any(char.isupper() for char in run)
        and any(char.islower() for char in run)
        and any(char.isdigit() for char in run)
    )
