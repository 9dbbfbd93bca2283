"""Messages of one template taken apart together: one regular expression goes through all of them."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from logllm.detectors.values.places import PARAMETER, Place, places_of, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Apart", "apart", "readings"]

_LONGEST_VALUE = 200
_WORTH_A_PATTERN = 64
"""Messages of a template that are taken apart one by one first: its expression takes some 200 us to make."""
_LONGEST_DIGITS = 25
_DIGITS = "0123456789."


class Apart:
    """A template, taken to messages.

    A message of one line is taken apart here, at the shortest values that fit; what has several lines, or is no
    printable text, is asked for. That makes no difference but in speed: 0.4 us a message instead of 2.

    Attributes:
        count: How many parameters the template has.
        places: Those that are read.
    """

    def __init__(self, template: str) -> None:
        self.count, self.places = places_of(template)
        self._template = template
        self._read = sorted({place.at for place in self.places})
        self._group = [self._read.index(place.at) for place in self.places]
        self._asked = 0
        self._pattern: re.Pattern[str] | None = None

    def columns(
        self, texts: Sequence[str], asked: Callable[[str], list[str]]
    ) -> tuple[Sequence[int], list[tuple[str, ...]]]:
        """Which of the messages fit, and what stands at each of `places` in them, place by place.

        Args:
            asked: What stands at each parameter of a message, in order.
        """
        fit, found = self._found(texts, asked)
        if not found:
            return [], [() for _ in self.places]
        groups: list[tuple[str, ...]] = list(zip(*found, strict=True))
        if max(map(len, texts)) > _LONGEST_VALUE:
            groups = [tuple([value[:_LONGEST_VALUE] for value in group]) for group in groups]
        return fit, [groups[at] for at in self._group]

    def _found(
        self, texts: Sequence[str], asked: Callable[[str], list[str]]
    ) -> tuple[Sequence[int], list[tuple[str, ...]]]:
        """Which fit, and what stands in them at each parameter that is read, message by message."""
        if self._pattern is None:
            self._asked += len(texts)
            if self._asked <= _WORTH_A_PATTERN:
                return self._one_by_one(texts, asked)
            self._pattern = _pattern(self._template, self._read)
        together = "\n".join(texts)
        if not _even(together, texts):
            texts = [" ".join(text.split()) if "\n" not in text else text for text in texts]
            if not all(map(str.isprintable, texts)):
                return self._one_by_one(texts, asked)
            together = "\n".join(texts)
        found = self._pattern.findall(together)
        if len(found) != len(texts):
            matches = [(at, match) for at, text in enumerate(texts) if (match := self._pattern.match(text))]
            return [at for at, _ in matches], [match.groups() for _, match in matches]
        return range(len(texts)), found if len(self._read) > 1 else [(value,) for value in found]

    def _one_by_one(
        self, texts: Sequence[str], asked: Callable[[str], list[str]]
    ) -> tuple[list[int], list[tuple[str, ...]]]:
        found = [(at, values) for at, text in enumerate(texts) if len(values := asked(text)) == self.count]
        return [at for at, _ in found], [tuple([values[at] for at in self._read]) for _, values in found]


apart = lru_cache(4096)(Apart)
"""The same for the same template, which remembers its expression."""


def _even(together: str, texts: Sequence[str]) -> bool:
    """Whether texts joined by line ends are lines of words with one space between them."""
    return not (
        "  " in together
        or "\n " in together
        or " \n" in together
        or together[:1] == " "
        or together[-1:] == " "
        or not "".join(texts).isprintable()
    )


def _pattern(template: str, read: Sequence[int]) -> re.Pattern[str]:
    """Groups for the parameters that are read. Groups that are tried once make it linear in a line's length."""
    first, *pieces = PARAMETER.split(template)[::2]
    found = [f"^{re.escape(first)}"]
    for at, piece in enumerate(pieces):
        last = at == len(pieces) - 1
        value = ".*" if last else ".*?"
        value = f"({value})" if at in read else value
        found.append(f"{value}{re.escape(piece)}$" if last else f"(?>{value}{re.escape(piece)})")
    return re.compile("".join(found), re.MULTILINE)


def readings(place: Place, column: Sequence[str]) -> dict[str, tuple[Sequence[int], list[float]]]:
    """The numbers that stand at a place in some messages, by name: in which of them, and what they are.

    The same as `reading` says of each; where all are written alike they are read together.

    >>> readings(Place(1, "took", "number"), ["35ms", "70ms"]), readings(Place(0, "in", "unit"), ["17", "4ms"])
    ({'took_ms': (range(0, 2), [35.0, 70.0])}, {'in_ms': ([1], [4.0])})
    """
    if not column:
        return {}
    unit = column[0].lstrip(_DIGITS)
    if bare := _bare(column, unit):
        name, scale = _unit(place, unit)
        if math.isnan(scale):
            return {}
        with suppress(ValueError):
            return {name: (range(len(column)), [float(number) * scale for number in bare])}
    found: dict[str, tuple[list[int], list[float]]] = {}
    for at, value in enumerate(column):
        name, number = reading(place, value)
        if not math.isnan(number):
            where, what = found.setdefault(name, ([], []))
            where.append(at)
            what.append(number)
    return dict(found)


@lru_cache(4096)
def _unit(place: Place, unit: str) -> tuple[str, float]:
    """The name of a number with this unit, and what it is multiplied by; NaN where it is not measured."""
    return reading(place, f"1{unit}")


def _bare(column: Sequence[str], unit: str) -> Sequence[str]:
    """What stands before a unit that all have, of digits and dots; nothing where some are written otherwise."""
    bare = [value.removesuffix(unit) for value in column] if unit else column
    together = "".join(bare)
    digits = together.replace(".", "")
    if not digits.isdigit() or not digits.isascii() or max(map(len, column)) > _LONGEST_DIGITS:
        return []
    if unit and (not unit.isalpha() or len(together) + len(column) * len(unit) != sum(map(len, column))):
        return []
    return bare
