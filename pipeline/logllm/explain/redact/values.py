"""Whether what stands behind the name of a secret may be one: not a word of prose, a placeholder, a path, a type."""

from __future__ import annotations

import re

__all__ = ["is_secret_value", "is_short_number", "reads_on"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PROSE = _words(
    "true false null none nil undefined empty missing invalid expired required unexpected expected error errors failed "
    "failure is not was the a an has for to from of and or in with no yes on off incorrect wrong mismatch rejected "
    "accepted received authentication authorization type bearer basic redacted masked hidden changed reset updated set "
    "unset valid verified ok unknown absent revoked refreshed "
    "default anonymous same-origin include omit filtered removed "
    "secret password passwd token tokens key pass pwd apikey "
    "api_key n/a na must cannot should will may can does did too "
    "be been are this that please at by as if when while string str bytes int integer number bool boolean object text "
    "varchar varchar2 char any optional uuid denied granted "
    "disabled enabled present found created deleted closed opened "
    "open started stopped active inactive attempt attempts count length user username"
)
_FIRST_OF_A_SENTENCE = _words(
    "must is cannot can't can should has was may does did too this the please required not invalid incorrect no"
)
_PLACEHOLDER = re.compile(
    r"\$(?:\d{1,2}|[A-Z_][A-Z0-9_]*|\{.*|\(.*)|%(?:[-+#0-9.]{0,4}[a-zA-Z]|\(.*|[A-Z_]+%)|\{\{.*"
    r"|<[%?]?[\w =.-]*>?|0x[0-9a-fA-F]+"
    r"|(?:your|enter|insert)[_-][a-z_-]+|(?:os\.environ|process\.env|System\.getenv)(?:[.\[(].*)?"
    r"|(?:getenv|env|config|settings|self|this|request|params|args)[.\[(][\w.\[\]()\"'-]*",
    re.DOTALL,
)
_PATH = re.compile(r"(?:~|\.{1,2})?(?:/[a-z0-9._-]{1,40}){1,12}/?")
_STRIPPED = "\"'`.,;:*<>[](){}\\?!"
_MIN_NUMBER = 4
"""Digits that a number behind a secret's name has at least: fewer count something."""


def is_secret_value(text: str) -> bool:
    """False for what says something about a secret instead of being one."""
    bare = text.strip(_STRIPPED)
    if not bare or bare.lower() in _PROSE or not any(map(str.isalnum, bare)):
        return False
    if set(bare) <= {"x", "X"} or _PLACEHOLDER.fullmatch(text) or (bare.isdigit() and len(bare) < _MIN_NUMBER):
        return False
    if text[0] in "/~." and _PATH.fullmatch(text):
        return False
    return " " not in bare or bare.split(None, 1)[0].lower() not in _FIRST_OF_A_SENTENCE


def is_short_number(value: str, name: str) -> bool:
    """Counts behind names that count too (`pass: 1200`), and directories behind `PWD`."""
    last = name[-4:].lower()
    return (last.endswith("pass") and value.isdigit()) or (last.endswith("pwd") and value.startswith(("/", "~")))


def reads_on(text: str, end: int, value: str, after: str) -> bool:
    """Whether a bare value is the first word of a sentence, or of the next line.

    `Invalid password: attempt 2 of 5` reads on; `password: monkey user: bob` and `password: monkey` do not.
    """
    if not after:
        return False
    if "\n" in after:
        # The value of the line above stands alone on its own.
        line_end = text.find("\n", end)
        return bool(text[end : len(text) if line_end < 0 else min(line_end, end + 2)].strip())
    if not after.endswith((": ", ":\t")) or not value.isalpha() or not (value.islower() or value.istitle()):
        return False
    return _NEXT_WORD.match(text, end) is not None


_NEXT_WORD = re.compile(r" [\w'(-]{1,40}+(?!\s?[=:])")
