"""What a rule for secrets is: a kind, the literals its line must hold before the pattern is tried, the pattern."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Rule", "RuleSet", "Span", "rule"]

Span = tuple[int, int]

# Where a token begins: not inside a word, but also behind an escaped line break (a backslash and its letter). Asked
# once the literal that it begins with is found: that search is much faster than one for a place.
_CARET = re.compile(r"(?<!\[)\^([A-Za-z0-9_-]*)(?![?*+{])")
_START = r"\1(?:(?<![A-Za-z0-9]\1)|(?<=\\\\[nrt]\1))"


class Rule(NamedTuple):
    """Group 1 of `pattern`, else the whole match, is the secret; `accept` may still refuse it.

    Patterns are linear: single character classes, bounded or possessive repeats, no alternatives that overlap.
    `hints` are literals: without one of them in the line the pattern is not tried.
    """

    kind: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    accept: Callable[[str], bool] | None = None

    def spans(self, text: str) -> Iterator[Span]:
        """Where the secrets of this kind stand."""
        groups = self.pattern.groups
        for match in self.pattern.finditer(text):
            group = next((number for number in range(1, groups + 1) if match[number] is not None), 0)
            if self.accept is None or self.accept(match[group]):
                yield match.span(group)


def rule(kind: str, hints: str, pattern: str, accept: Callable[[str], bool] | None = None) -> Rule:
    """A rule; `hints` are parted by spaces, and `^` stands for the start of a token."""
    whole = _CARET.sub(_START, pattern)
    return Rule(kind, tuple(hints.split()), re.compile(whole), accept)


class RuleSet:
    """Rules of which few apply to a line: asked by their hints first."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._always = [number for number, each in enumerate(self.rules) if not each.hints]
        self._by_hint: dict[str, list[int]] = {}
        for number, each in enumerate(self.rules):
            for hint in each.hints:
                self._by_hint.setdefault(hint, []).append(number)

    def spans(self, text: str, hinting: str) -> Iterator[Span]:
        """Where the secrets of all rules stand, rule by rule; `hinting` is the text in the case of the hints."""
        wanted = [number for hint, numbers in self._by_hint.items() if hint in hinting for number in numbers]
        for number in sorted({*wanted, *self._always}):
            yield from self.rules[number].spans(text)
