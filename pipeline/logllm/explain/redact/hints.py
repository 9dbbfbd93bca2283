"""Whether a text may hold a secret at all, asked of many texts that do not."""

from __future__ import annotations

import functools
import operator
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from logllm.explain.redact.encoded import encoded_spans, long_runs, may_hold_token
from logllm.explain.redact.issuers import ISSUED
from logllm.explain.redact.keyed import KEY_HINTS, keyed_spans
from logllm.explain.redact.secrets import PLACED, secret_spans

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["may_hold_secret"]

_MOST_KNOWN = 50_000
_LONGEST_KNOWN = 32
_LEAST_LONG = 20
_NOTHING = frozenset((0,))
_NAMED, _LONG, _OTHER = 1, 2, 4
_PRIVATE_KEYS = ("-----", "private-lines")


# What a hint is followed by, or more of it, where it stands in many ordinary words: in small letters, in one token.
_MORE = {
    "card": r"card.?n",
    "sess": r"sess(?:ion)?.?(?:id|key)",
    "auth ": r"auth\Z",
    "code is": r"code\Z",
    "$": r"\$[a-z0-9-]{1,24}\$",
    **{word: rf"{word}(?![a-z])" for word in ("bsn", "cpf", "cvc", "cvv", "dni", "nif", "otp", "psk", "ssn", "zip")},
}


def _pattern(hints: Iterable[str]) -> re.Pattern[str]:
    """Any of the hints; by their first characters, which takes a third of the time that one after the other takes."""
    by_first: dict[str, list[str]] = {}
    for hint in sorted(set(hints)):
        by_first.setdefault(re.escape(hint[0]), []).append(
            _MORE.get(hint, re.escape(hint)).removeprefix(re.escape(hint[0]))
        )
    return re.compile("|".join(f"{first}(?:{'|'.join(rest)})" for first, rest in by_first.items()))


_NAME = _pattern(KEY_HINTS)
_PLACE = _pattern([*(hint for rule in PLACED.rules for hint in rule.hints), *_PRIVATE_KEYS])


class _Tokens(dict[str, int]):
    """Why a token may be part of a secret, or say that one comes; 0 where it may not. Most are met again."""

    def __missing__(self, token: str) -> int:
        lower = token.lower()
        found = _NAMED if _NAME.search(lower) else 0
        if _is_long(token):
            found |= _LONG
        if _PLACE.search(lower) or ("%" in token and unquote(token) != token):
            found |= _OTHER
        if len(token) <= _LONGEST_KNOWN:
            if len(self) >= _MOST_KNOWN:
                self.clear()
            self[token] = found
        return found


def _is_long(token: str) -> bool:
    """Whether a token has a run as long as an issuer's, which is neither words nor bytes that are no text."""
    runs = long_runs(token) if len(token) >= _LEAST_LONG else []
    return bool(runs) and (may_hold_token(token, runs) or any(encoded_spans(token, runs, lambda plain: True)))


_tokens = _Tokens()


def may_hold_secret(text: str) -> bool:
    """False where no secret stands in a text of one line but a number of a person's, of which templates keep nothing.

    True of many that hold none. Cost: 1 us where its words have been met, and one more for each new word; 10 us more
    where one of them may be a secret's name, or a token.
    """
    found = set(map(_tokens.__getitem__, text.split()))
    if found <= _NOTHING:
        return False
    why = functools.reduce(operator.or_, found)
    if why & _OTHER or (why & _NAMED and any(keyed_spans(text, text.lower()))):
        return True
    return bool(why & _LONG) and (any(ISSUED.spans(text, text)) or any(encoded_spans(text, long_runs(text), _holds)))


def _holds(plain: str) -> bool:
    return any(secret_spans(plain, plain.lower(), 1))
