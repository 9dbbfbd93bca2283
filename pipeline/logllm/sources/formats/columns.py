"""The kinds of columns a header is made of, and which of them comes next in a set of lines.

`next_column` is asked again and again with what is left of the first lines; it answers with an expression that nearly
all of them agree on, or with None when the message begins. A column that only might be one (a number, a name before a
colon) is taken only with what makes it safe: a level beside it, few different names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from logllm.sources.formats.levels import LEVEL_WORDS
from logllm.sources.formats.notations import NOTATIONS

__all__ = ["Column", "next_column"]


@dataclass(slots=True, frozen=True)
class Column:
    """One column: what it is and the expression that takes it."""

    kind: str
    expression: str


# In capitals any level word is one; in small letters only those that seldom begin a sentence.
_SMALL = "trace|debug|info|information|notice|warning|warn|error|err|fatal|critical|crit|severe|emerg|alert|panic"
_WORD = rf"(?:{LEVEL_WORDS.upper()}|{_SMALL}|{_SMALL.title()})"
_IN_BRACKETS = rf"(?i:{LEVEL_WORDS}|system)"
_LEVEL_ENDS = r"(?=[\s:,|\])>\[]|-\s|/|$)"
_LEVEL_COLUMN = (
    rf"(?:[\[(<]\s*(?:[\w-]*:)?(?P<level>{_IN_BRACKETS})\s*[\])>]|(?P<bare>{_WORD}){_LEVEL_ENDS}(?:/[\w-]+)?)"
)  # fmt: skip
_CAPITAL_LEVEL = rf"(?:[\[(<]\s*{_IN_BRACKETS}\s*[\])>]|(?:{LEVEL_WORDS.upper()})(?=[\s:,|\]]|$))"
_BRACKET = r"\[[^\[\]\n]*(?:\[[^\[\]\n]*\][^\[\]\n]*)*\]"
# Words without a colon but inside (`Foo::bar`), so that they end in one way only and cost one pass.
_NAME = r"[^\s:\[\]|\"'={}]+(?::+[^\s:\[\]|\"'={}]+)*"
_NAMES = rf"{_NAME}(?: {_NAME}){{0,2}}"

# What cannot be taken for a message needs fewer lines than `agree`: the others have another header.
_MOST = 0.6

_SEPARATORS = (
    Column("close", r"[\])}>\"']+"),
    Column("pipe", r"\s*\|\s*"),
    Column("dash", r"\s+-{1,3}(?:\s+|$)"),
    Column("colon", r":(?:\s+|$)"),
    Column("comma", r"[,;]\s*"),
    Column("space", r"(?:[ \t]+|$)"),
)


def next_column(rests: list[str], found: list[str], *, agree: float) -> Column | None:
    """The column that the next part of nearly all `rests` is; None where they agree on nothing more.

    Args:
        rests: what is left of the first lines, after the columns in `found`.
        found: the kinds taken so far, "time" first if there is one.
        agree: share of `rests` that must have the column.
    """
    if not rests:
        return None
    lines = _Lines(rests, agree)
    for separator in _SEPARATORS:
        if separator.kind == "space" and not any(rests):
            return None
        if lines.share(separator.expression) >= _MOST and any(rest[:1].strip("\n") for rest in rests):
            return separator
    leveled = "level" in found
    named = "name" in found
    # A name is the last thing before the message, but for brackets and a further level.
    return (
        (None if leveled or named else _further_time(lines))
        or (None if leveled else _level(lines, found))
        or _bracket(lines, found)
        or (None if leveled else _words_before_level(lines))
        or (None if named else _number(lines, found))
        or (_pipe_field(lines) if found[-1:] == ["pipe"] else None)
        or (None if named else _name(lines, found))
    )


class _Lines:
    """The rests, asked for shares."""

    def __init__(self, rests: list[str], agree: float) -> None:
        self.rests = rests
        self.agree = agree

    def share(self, expression: str) -> float:
        compiled = _compiled(expression)
        return sum(1 for rest in self.rests if compiled.match(rest)) / len(self.rests)

    def agreed(self, expression: str, *, share: float = 0.0) -> bool:
        return self.share(expression) >= max(share, self.agree)

    def few_names(self, expression: str) -> bool:
        """Whether what `expression` takes looks like names that come again, not like text."""
        if len(self.rests) < 20:
            return True
        compiled = _compiled(expression)
        names = [match.group() for rest in self.rests if (match := compiled.match(rest))]
        return len(set(names)) <= 0.6 * len(names)


@cache
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.ASCII)


def _further_time(lines: _Lines) -> Column | None:
    for words in range(5):
        for notation in NOTATIONS.values():
            if notation.name in {"clock", "epoch"} or notation.name.startswith("klog"):
                continue
            expression = rf"(?:\S+\s+){{{words}}}[\[(]?{notation.embed}(?![\w/])"
            if lines.agreed(expression):
                return Column("time", expression)
    return None


def _level(lines: _Lines, found: list[str]) -> Column | None:
    if lines.share(_LEVEL_COLUMN) >= _MOST:
        cased = _cased(lines)
        bracketed = rf"[\[(<]\s*(?:[\w-]*:)?(?P<level>{cased})\s*[\])>]"
        bare = rf"(?P<level>{cased}){_LEVEL_ENDS}(?:/[\w-]+)?"
        return Column("level", bracketed if lines.share(bracketed) >= lines.share(bare) else bare)
    for letter in (r"\[(?P<level>[VTDIWEF])\](?=\s|$)", r"(?P<level>[VDIWEF])(?=/\S)"):
        if lines.agreed(letter, share=0.98):
            return Column("level", letter)
    if "time" in found and lines.agreed(r"[.*#-](?=\s)", share=0.98) and lines.share(r"[*#]") > 0.1:
        return Column("level", r"(?P<level>[.*#-])(?=\s)")  # Redis
    if "time" in found and lines.agreed(r"[VTDIWEFC](?=\s+\S)", share=0.98):
        return Column("level", r"(?P<level>[VTDIWEFC])(?=\s)")
    return None


def _cased(lines: _Lines) -> str:
    """An expression for the column's level words: of letters in their case, which is much quicker than the words."""
    compiled = _compiled(_LEVEL_COLUMN)
    words = [match["level"] or match["bare"] for rest in lines.rests if (match := compiled.match(rest))]
    for letters in (r"[A-Z]{3,13}\d?", r"[A-Z][a-z]{2,12}", r"[a-z]{3,13}"):
        if all(re.fullmatch(letters, word) for word in words):
            return letters
    return r"[A-Za-z]{3,13}\d?"


def _words_before_level(lines: _Lines) -> Column | None:
    for words in range(1, 7):
        expression = rf"(?:\S+\s+){{{words}}}"
        if lines.share(expression + _CAPITAL_LEVEL) >= _MOST:
            return Column("words", expression)
        letter = rf"(?:\d+\s+){{{words}}}"
        if lines.agreed(rf"{letter}[VTDIWEF]\s", share=0.98):
            return Column("words", letter)
    return None


def _bracket(lines: _Lines, found: list[str]) -> Column | None:
    after_level = found[found.index("level") :] if "level" in found else found
    adjacent = found[-1:] in (["bracket"], ["level"], ["close"])
    if (adjacent or after_level.count("bracket") < (1 if "level" in found else 3)) and lines.agreed(
        _BRACKET, share=0.97
    ):
        return Column("bracket", _BRACKET)
    return None


def _number(lines: _Lines, found: list[str]) -> Column | None:
    number = r"(?:0x[0-9a-fA-F]+|[#*]?\d+(?:[#:.]\d+)?)"
    if "level" in found and lines.agreed(rf"{number}\s+(?:-{{1,3}}\s|\[|{_NAME}:\s)", share=0.97):
        return Column("number", number)
    # A one-digit flag between the time and the text.
    if found[-2:] == ["time", "space"] and lines.agreed(r"\d\s+\D", share=0.97):
        return Column("number", r"\d")
    return None


def _pipe_field(lines: _Lines) -> Column | None:
    field = r"[^|\n]{0,60}?(?=\s*\|)"
    return Column("field", field) if lines.agreed(field, share=0.97) else None


def _name(lines: _Lines, found: list[str]) -> Column | None:
    leveled = "level" in found
    after_pipe = "pipe" in found
    process = rf"{_NAME}(?:\[\d+\])(?=\s*:(?:\s|$))"
    tag = rf"{_NAME}(?:\[\d+\])?(?=\s*:(?:\s|$))"
    tags = rf"{_NAMES}(?:\[\d+\])?\s*(?=:(?:\s|$))"
    # Most names are one word; where a few are two (`Server Administrator:`) all of them are names.
    tagged = lines.agreed(tag) or (lines.share(tag) > 0.7 and lines.agreed(tags, share=0.95))
    if tagged and lines.few_names(_NAME):
        # What has a process number is a program, and so a service.
        is_program = lines.share(process) > 0.2
        names = rf"(?P<service>{_NAMES})" if is_program else _NAMES
        return Column("name", rf"{names}(?:\[\d+\])?\s*(?=:(?:\s|$))")
    host = r"[\w./@#:-]*[\w#]\s+"
    if not leveled and lines.agreed(host + tags) and lines.share(host + process) > 0.2:
        return Column("host", r"\S+(?=\s)")
    if leveled and found[-1] == "dash" and lines.agreed(rf"(?:{_NAME})?:\s"):
        return Column("name", rf"(?:{_NAME})?(?=:\s)")  # Ruby: `INFO -- : text`
    closed = r"[\w:.$/-]+(?=\]\s)"
    if leveled and lines.agreed(closed):
        return Column("name", closed)
    dashed = r"\S+(?: \S+){0,2}?(?=\s+-{1,3}\s)"
    if lines.agreed(dashed) and lines.few_names(dashed):
        return Column("name", dashed)
    if leveled:
        dotted = r"[A-Za-z_$][\w$-]*(?:\.[\w$-]+)+(?=\s)"
        wide = r"\S+(?=\s{2,}\S)"
        if lines.agreed(dotted) and lines.few_names(dotted):
            return Column("logger" if not after_pipe else "name", dotted)
        if lines.agreed(wide) and lines.few_names(wide):
            return Column("name", wide)
    return None
