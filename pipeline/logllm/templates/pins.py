"""Templates given by the user: which lines are of them."""

from __future__ import annotations

import re

from logllm.errors import ConfigError
from logllm.templates.masks import WILD, mask_token
from logllm.templates.template import TYPE, TYPES

__all__ = ["Pin", "Pins"]

_HOLE = re.compile(rf"{re.escape(WILD)}|{TYPE.pattern}")
_MAX_HOLES = 32


class Pin:
    """A text whose `<*>` stand for anything, and whose `<num>`, `<ip>`... for what the masks call so.

    A line fits when the text's constant parts come in it in their order, from its begin to its end, each value the
    shortest that leads to the next part, and every value is of its type. It is tried once: where a longer value would
    have fitted too, the line does not. Space between words counts as one. Linear in the line's length.

    Raises ConfigError: nothing in it is constant, two parameters touch, or a digit stands where digits vary. The key
    of a message has no digits, so two messages that differ in digits only are always of one template.
    """

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        where = f"pinned template {text!r}"
        self.kinds = tuple(_HOLE.findall(self.text))
        self._first, *self._parts = _HOLE.split(self.text)
        if any(not part for part in self._parts[:-1]):
            raise ConfigError(f"{where}: two parameters touch, expected text between them")
        if not any(char.isalpha() for char in "".join([self._first, *self._parts])):
            raise ConfigError(f"{where}: no words, expected at least one beside the parameters")
        if len(self.kinds) > _MAX_HOLES:
            raise ConfigError(f"{where}: {len(self.kinds)} parameters, expected at most {_MAX_HOLES}")
        for token in _HOLE.sub(WILD, self.text).split():
            if any(map(str.isdigit, token)) and _digits(mask_token(token.replace(WILD, ""))[0]) != _digits(token):
                raise ConfigError(f"{where}: digits in {token!r} vary, expected <num> or <*> in their place")

    @property
    def untyped(self) -> str:
        return _HOLE.sub(WILD, self.text)

    def fits(self, line: str) -> bool:
        """Whether a line, its words one space apart, is of this template. `line` may show types for values."""
        if not line.startswith(self._first):
            return False
        at = len(self._first)
        last = len(self._parts) - 1
        for number, (kind, part) in enumerate(zip(self.kinds, self._parts, strict=True)):
            end = line.find(part, at)
            if number == last:
                end = len(line) - len(part) if line.endswith(part) else -1
            if end < at or not _is(kind, line[at:end]):
                return False
            at = end + len(part)
        return at == len(line)


class Pins:
    """The pins there are, each with its template's index; the first that fits wins."""

    def __init__(self) -> None:
        self.by_text: dict[str, tuple[Pin, int]] = {}

    def __len__(self) -> int:
        return len(self.by_text)

    def find(self, message: str) -> int | None:
        """The index of the first pin that fits a mined message, or None."""
        line = " ".join(message.split())
        return next((index for pin, index in self.by_text.values() if pin.fits(line)), None)


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _is(kind: str, value: str) -> bool:
    if not value:
        return kind == WILD
    if kind == WILD or value == kind:
        return True
    if kind in ("<user>", "<id>"):
        return " " not in value and value not in TYPES
    return mask_token(value) == (WILD, (kind,))
