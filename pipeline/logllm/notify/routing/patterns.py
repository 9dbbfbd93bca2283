"""Regular expressions that match in linear time: what RE2 promises and Python's own cannot."""

from __future__ import annotations

import re
from functools import lru_cache

from logllm.errors import ConfigError

__all__ = ["LONGEST_TEXT", "Pattern"]

LONGEST_PATTERN = 1_000
LONGEST_TEXT = 256
"""Characters of a text that are looked at."""

_MOST_PLACES = 500  # characters to match once every {n} is written out
_MOST_PARTS = 10_000  # read on the way there; (){9}{9}... has no places
_MOST_NESTED = 50
_MOST_STEPS = 10_000  # remembered steps of one pattern
_CLASSES = frozenset("dDsSwW")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_REPEAT = re.compile(r"\{(\d{1,4})(?:(,)(\d{0,4}))?\}", re.ASCII)
_SET = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_WITHIN_SET = re.compile(r"\\.|\[:|--|[\[&~|]", re.DOTALL)
_EXPECTED = (
    r"expected RE2's syntax without what needs to look back: literals, ., [a-z], \d \w \s, |, (...), *, +, ?, {2,5}"
)


class _Part:
    """A piece of the pattern as Glushkov's automaton sees it: sets of places are the bits of an int."""

    __slots__ = ("empty", "first", "last")

    def __init__(self, *, empty: bool, first: int = 0, last: int = 0) -> None:
        self.empty, self.first, self.last = empty, first, last


class Pattern:
    r"""A regular expression that must match a whole text, as Alertmanager's `=~` does.

    Time is at most the text's length times the pattern's, whatever both are; only the first 256 characters of a text
    are looked at. Upper and lower case differ unless the pattern begins with `(?i)`, which is for ASCII letters, as
    `\d`, `\w` and `\s` are for ASCII. `.` matches every character. There are no back references, no looking around, no
    `\b`; `^` and `$` may stand at the very ends, where they change nothing.

    >>> Pattern("checkout-(eu|us)-[0-9]{1,2}").match("checkout-eu-12"), Pattern("pay").match("payments")
    (True, False)

    Raises:
        ConfigError: It is none, is longer than 1,000 characters, or has more than 500 places once its `{n}` are
            written out.
    """

    # After Glushkov (1961): a state is the set of the pattern's places that may have matched the last character.
    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > LONGEST_PATTERN:
            raise ConfigError(f"{len(text)} characters, expected at most {LONGEST_PATTERN}")
        self._flags = re.DOTALL | re.ASCII
        self._rest = text
        self._at = self._parts = 0
        if text.startswith("(?i)"):
            self._flags |= re.IGNORECASE
            self._at = 4
        self._at += text.startswith("^", self._at)
        self._places: list[re.Pattern[str]] = []
        self._follow: list[int] = []
        whole = self._choice(0)
        if self._at < len(text):
            raise self._wrong("there is no ( for this )")
        self._empty, self._first, self._last = whole.empty, whole.first, whole.last
        self._matching: dict[str, int] = {}
        self._steps: dict[tuple[int, str], int] = {}

    def match(self, text: str) -> bool:
        """Whether all of `text`, or its first 256 characters, is what the pattern describes."""
        text = text[:LONGEST_TEXT]
        if not text:
            return self._empty
        if len(self._steps) > _MOST_STEPS:
            self._steps.clear()
            self._matching.clear()
        state = self._first & self._of(text[0])
        for character in text[1:]:
            if not state:
                return False
            known = self._steps.get((state, character))
            if known is None:
                known = self._steps[state, character] = self._after(state) & self._of(character)
            state = known
        return bool(state & self._last)

    def _after(self, state: int) -> int:
        following = 0
        while state:
            lowest = state & -state
            following |= self._follow[lowest.bit_length() - 1]
            state ^= lowest
        return following

    def _of(self, character: str) -> int:
        """The places that match a character."""
        known = self._matching.get(character)
        if known is None:
            known = sum(1 << number for number, place in enumerate(self._places) if place.fullmatch(character))
            self._matching[character] = known
        return known

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(f"{what}, at character {self._at + 1} of {self.text!r}; {_EXPECTED}")

    def _peek(self) -> str:
        return self.text[self._at : self._at + 1]

    def _choice(self, depth: int) -> _Part:
        if depth > _MOST_NESTED:
            raise self._wrong(f"more than {_MOST_NESTED} parentheses within each other")
        part = self._sequence(depth)
        while self._peek() == "|":
            self._at += 1
            other = self._sequence(depth)
            part = _Part(empty=part.empty or other.empty, first=part.first | other.first, last=part.last | other.last)
        return part

    def _sequence(self, depth: int) -> _Part:
        part = _Part(empty=True)
        while (head := self._peek()) and head not in "|)":
            if head == "$" and self._at == len(self.text) - 1 and depth == 0:
                self._at += 1
                break
            part = self._joined(part, self._repeated(depth))
        return part

    def _joined(self, left: _Part, right: _Part) -> _Part:
        self._lead(left.last, right.first)
        return _Part(
            empty=left.empty and right.empty,
            first=left.first | right.first if left.empty else left.first,
            last=left.last | right.last if right.empty else right.last,
        )

    def _lead(self, from_: int, to: int) -> None:
        while from_:
            lowest = from_ & -from_
            self._follow[lowest.bit_length() - 1] |= to
            from_ ^= lowest

    def _repeated(self, depth: int) -> _Part:
        start = self._at
        part = self._atom(depth)
        least, most = self._times()
        if (least, most) == (1, 1):
            return part
        after = self._at
        whole = _Part(empty=True)
        # Each round of {n,m} is read anew from the pattern, so that it gets places of its own.
        for number in range(max(least, 1) if most is None else most):
            if number:
                self._at = start
                part = self._atom(depth)
            if number >= least:
                part = _Part(empty=True, first=part.first, last=part.last)
            whole = self._joined(whole, part)
        self._at = after
        if most is None:
            self._lead(part.last, part.first)
            whole.empty = whole.empty or least == 0
        return whole

    def _times(self) -> tuple[int, int | None]:
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self._peek())
        if simple is not None:
            self._at += 1
        elif found := _REPEAT.match(self.text, self._at):
            least = int(found[1])
            most = least if found[2] is None else int(found[3]) if found[3] else None
            if most is not None and most < least:
                raise self._wrong("a repetition that ends before it begins")
            self._at = found.end()
            simple = (least, most)
        else:
            return 1, 1
        # `*?` asks for the shortest match; of a whole text there is only one.
        self._at += self._peek() == "?"
        if ((head := self._peek()) and head in "*+?") or _REPEAT.match(self.text, self._at):
            raise self._wrong("a repetition of a repetition")
        return simple

    def _atom(self, depth: int) -> _Part:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise ConfigError(f"{self.text!r} is too much once each {{n}} is written out")
        head = self._peek()
        if head == "(":
            return self._group(depth)
        if head == "[":
            return self._set()
        if head == "\\":
            return self._escaped()
        if head in "*+?" or _REPEAT.match(self.text, self._at):
            raise self._wrong("nothing to repeat")
        if head in "^$":
            raise self._wrong(f"{head} within the pattern, which is matched against whole texts anyway")
        self._at += 1
        return self._place("." if head == "." else re.escape(head))

    def _group(self, depth: int) -> _Part:
        opened = self._at
        self._at += 1
        if self._peek() == "?":
            if not self.text.startswith("?:", self._at):
                raise self._wrong("(? is only known as (?:...), and as (?i) at the beginning")
            self._at += 2
        part = self._choice(depth + 1)
        if self._peek() != ")":
            self._at = opened
            raise self._wrong("there is no ) for this (")
        self._at += 1
        return part

    def _set(self) -> _Part:
        found = _SET.match(self.text, self._at)
        if found is None:
            raise self._wrong("there is no ] for this [")
        part = self._place("[" + _WITHIN_SET.sub(self._within_set, found[0][1:]))
        self._at = found.end()
        return part

    def _within_set(self, found: re.Match[str]) -> str:
        # Python may come to give a meaning to [[, --, &&, ~~ and || within sets.
        if found[0] in ("[:", "--"):
            raise self._wrong(f"{found[0]} within a set, write a-z or \\- and the like")
        return found[0] if len(found[0]) == 2 else "\\" + found[0]

    def _escaped(self) -> _Part:
        name = self.text[self._at + 1 : self._at + 2]
        if name in _CLASSES:
            part = self._place("\\" + name)
        elif name in _CONTROLS:
            part = self._place(re.escape(_CONTROLS[name]))
        elif name and not name.isalnum():
            part = self._place(re.escape(name))
        else:
            raise self._wrong(f"\\{name} is not known")
        self._at += 2
        return part

    def _place(self, source: str) -> _Part:
        if len(self._places) >= _MOST_PLACES:
            raise ConfigError(f"more than {_MOST_PLACES} places in {self.text!r} once each {{n}} is written out")
        try:
            compiled = _compiled(source, self._flags)
        except re.error as error:
            raise self._wrong(str(error)) from error
        bit = 1 << len(self._places)
        self._places.append(compiled)
        self._follow.append(0)
        return _Part(empty=False, first=bit, last=bit)


@lru_cache(512)
def _compiled(source: str, flags: int) -> re.Pattern[str]:
    return re.compile(source, flags)
