"""Slack's markup as a reader written apart from our code sees it, and rather too eager to see something."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Span", "read", "suspicious"]

_MARKUP = re.compile(
    r"```(?P<pre>.*?)```"
    r"|`(?P<code>[^`\n]+)`"
    r"|<(?P<control>[^<>\n]*)>"
    r"|(?<![0-9A-Za-z])\*(?P<bold>[^*\n]+)\*(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])_(?P<italic>[^_\n]+)_(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])~(?P<strike>[^~\n]+)~(?![0-9A-Za-z])"
    r"|^(?:>|&gt;)(?P<quote>[^\n]*)"
    r"|:(?P<emoji>[a-z0-9_+'-]+):",
    re.DOTALL | re.MULTILINE,
)
_AUTOMATIC = re.compile(
    r"[a-z][a-z0-9+.-]*://\S"  # an address
    r"|mailto:[^\s\u2060…,]"  # and not our own ellipsis or comma
    r"|\w@\w"  # mail
    r"|\w\.(?:com|org|net|io|dev|ru|xyz|zip)\b"  # a host
    r"|@(?:here|channel|everyone|\w)"
    r"|#\w",
    re.IGNORECASE,
)
# What steers, hides or reorders, less our own word joiner, and less the line break where a block has lines.
_STEERS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2061-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


class Span(NamedTuple):
    kind: str
    text: str


def read(text: str) -> list[Span]:
    """`text` as pre, code, control, bold, italic, strike, quote, emoji and, between them, text."""
    spans, end = [], 0
    for found in _MARKUP.finditer(text):
        if found.start() > end:
            spans.append(Span("text", text[end : found.start()]))
        kind = found.lastgroup or "text"
        spans.append(Span(kind, found[kind]))
        end = found.end()
    if end < len(text):
        spans.append(Span("text", text[end:]))
    return spans


def suspicious(text: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """What a hostile text may have brought about in `mrkdwn` text of ours.

    Args:
        allowed: What may stand between < and >.
    """
    wrong = [f"steers or hides: {found!r}" for found in _STEERS.findall(text)]
    if re.search(r"&(?!amp;|lt;|gt;)", text):
        wrong.append("an & that is no escape")
    for kind, inner in read(text):
        if kind == "control" and inner not in allowed:
            wrong.append(f"live: <{inner}>")
        if kind != "control" and re.search("[<>]", inner):
            wrong.append(f"unescaped: {inner!r}")
        if kind in ("italic", "strike", "quote", "emoji"):
            wrong.append(f"{kind}: {inner!r}")
        if kind in ("code", "pre") and "`" in inner:
            wrong.append(f"a backtick in code: {inner!r}")
        if kind in ("text", "bold"):
            wrong += [f"would be a link or a mention: {found!r}" for found in _AUTOMATIC.findall(inner)]
            if "`" in inner or "*" in inner or "~" in inner:
                wrong.append(f"markup that is not closed: {inner!r}")
    return wrong
