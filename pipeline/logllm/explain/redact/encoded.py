"""Secrets in base64, in hex, or percent-encoded: the run that holds one is replaced whole."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logllm.explain.redact.rule import Span

__all__ = ["encoded_spans", "long_runs", "may_hold_token", "percent_spans"]

_RUN = re.compile(r"[A-Za-z0-9+/_-]{20,}+={0,2}")
# Words, numbers and the pieces of a uuid between dashes and slashes, or a digest alone: no issuer's token looks so.
_PLAIN = re.compile(
    r"(?:[/_+-]*+(?:[a-z]{1,16}|v?[0-9]++|[a-z]{3,10}[0-9]{1,3}|[0-9a-f]{8}|[0-9a-f]{4}|[0-9a-f]{12}"
    r"|(?:(?<![\w.-])|(?<=/))(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}))(?![A-Za-z0-9]))++[/_+-]*+"
    r"|(?:[/_+-]*+(?:[A-Z]{0,4}[a-z]{2,16}(?:[A-Z]{1,4}[a-z]{2,16})*+|[A-Z]{1,12}+)(?![A-Za-z0-9]))++[/_+-]*+"
)
_BREAK = re.compile(r"(?:\r?\n|\\{1,7}r?\\{0,7}n)[ \t]{0,16}")
_LAST_OF_WRAPPED = re.compile(_BREAK.pattern + r"([A-Za-z0-9+/_-]{1,20}={0,2})(?![A-Za-z0-9+/=_-])")
_PERCENT_RUN = re.compile(r"[^\s\"'<>&?=;,]++")
_HEX_DIGITS = "0123456789abcdefABCDEF"
_FROM_URL_SAFE = str.maketrans("-_", "+/")
_PRINTABLE = bytes(range(32, 127)) + b"\t\n\r"
_WRAPPED = 60
"""Characters that each line but the last has at least where base64 is wrapped: 64 and 76 are usual."""
_HEAD = 16
"""Characters of a run that are decoded first: of what is no text, next to nothing passes even these."""
_MOST_ODD = 0.3
"""The share of bytes outside ASCII's printable ones that a text may have."""


def long_runs(text: str) -> list[Span]:
    """Where twenty characters of base64 or more stand in a row; the shortest token that an issuer gives has as many."""
    found = []
    for match in _RUN.finditer(text):
        start, end = match.span()
        # Behind an escaped line break (`\n`) the `n` is none of the run.
        found.append((start + (start > 0 and text[start - 1] == "\\" and text[start] in "nr"), end))
    return found


def may_hold_token(text: str, runs: list[Span]) -> bool:
    """Whether one of the runs is more than words, numbers, a uuid or a digest."""
    return any(not _PLAIN.fullmatch(text, start, end) for start, end in runs)


def encoded_spans(text: str, runs: list[Span], secret_in: Callable[[str], bool]) -> Iterator[Span]:
    """Which of the runs decode to a text in which `secret_in` finds a secret.

    Linear: each run is decoded once; of one that is wrapped (as by `base64`, lines of 64 or 76) the lines are one.
    """
    for start, end, run in _joined(text, runs):
        plain = _from_hex(run) if not run.strip(_HEX_DIGITS) else _from_base64(run)
        if plain and secret_in(plain):
            yield start, end


def percent_spans(text: str, secret_in: Callable[[str], bool]) -> Iterator[Span]:
    """Where a percent-encoded run stands that `secret_in` finds a secret in once it is decoded."""
    for match in _PERCENT_RUN.finditer(text):
        if "%" in match[0]:
            plain = unquote(match[0])
            if plain != match[0] and secret_in(plain):
                yield match.span()


def _joined(text: str, runs: list[Span]) -> Iterator[tuple[int, int, str]]:
    """The runs; those that only a line break parts are one."""
    at = 0
    while at < len(runs):
        start, end = runs[at]
        pieces = [text[start:end]]
        at += 1
        while len(pieces[-1]) >= _WRAPPED and at < len(runs) and _BREAK.fullmatch(text, end, runs[at][0]):
            end = runs[at][1]
            pieces.append(text[runs[at][0] : end])
            at += 1
        if len(pieces[-1]) >= _WRAPPED and (last := _LAST_OF_WRAPPED.match(text, end)):
            pieces.append(last[1])
            end = last.end()
        yield start, end, "".join(pieces)


def _from_hex(run: str) -> str:
    if len(run) < 2 * _HEAD:
        return ""
    run = run[: len(run) & ~1]
    if bytes.fromhex(run[: 2 * _HEAD]).translate(None, _PRINTABLE):
        return ""
    return bytes.fromhex(run).decode(errors="replace")


def _from_base64(run: str) -> str:
    run = run.rstrip("=").translate(_FROM_URL_SAFE)
    head = binascii.a2b_base64(run[:_HEAD])
    if not any(head[1::2]):
        return _decoded(run).decode("utf-16-le", errors="replace")
    if len(head.translate(None, _PRINTABLE)) > _MOST_ODD * len(head):
        return ""
    whole = _decoded(run)
    return whole.decode(errors="replace") if len(whole.translate(None, _PRINTABLE)) <= _MOST_ODD * len(whole) else ""


def _decoded(run: str) -> bytes:
    # One character more than a multiple of four stands for no byte.
    run = run[:-1] if len(run) % 4 == 1 else run
    return binascii.a2b_base64(run + "=" * (-len(run) % 4))
