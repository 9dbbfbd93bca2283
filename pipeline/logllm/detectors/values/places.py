"""Which places of a template hold something to be measured, and which a word to be counted."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from logllm.fields import Wanted, dimension, number_of

__all__ = ["PARAMETER", "Place", "places_of", "reading"]


class Place(NamedTuple):
    """One parameter of a template: which, by what name, and what it is taken for.

    `kind` is `number` for what has a unit or a telling name, `unit` for a number that counts where it is written
    with its unit, `word` for what names someone or something.
    """

    at: int
    name: str
    kind: Literal["number", "unit", "word"]
    unit: str = ""


PARAMETER = re.compile(r"<(\*|[a-z]{2,8})>")
_NUMBERS = frozenset(("*", "num"))
_WORDS = frozenset(("*", "ip", "host", "user", "id", "email", "path", "url", "word"))
_UNIT = re.compile(
    r"\s?(ns|nanos|us|µs|micros|ms|msecs?|millis|milliseconds?|s|secs?|seconds?|min|mins|minutes|bytes?|[kKMG]i?B)"
    r"(?![\w.])"
)
_KEY = re.compile(r"([A-Za-z_][\w.\-]{0,40})\"?\s?[=:]\s?[\"']?$")
_WORD_BEFORE = re.compile(r"([A-Za-z_][\w\-]{1,40})\s?[\"'(\[]?$")
_TELLING = frozenset(("took", "elapsed", "duration", "latency", "in", "after", "within", "for"))
_MOST_PARAMETERS = 32
"""Of a template with more nothing is read: it is a list or a table."""
_MOST_WORDS = 3
_MOST_NUMBERS = 3
_KNOWN = Wanted()


@lru_cache(20_000)
def places_of(template: str) -> tuple[int, tuple[Place, ...]]:
    """How many parameters a template has, and which of them are read: at most three numbers and three words, of a
    template with 32 parameters at the most.

    >>> places_of("GET <path> took <num> ms for user <id>")[1]  # doctest: +NORMALIZE_WHITESPACE
    (Place(at=0, name='GET', kind='word', unit=''), Place(at=1, name='took', kind='number', unit='ms'),
     Place(at=2, name='user', kind='word', unit=''))
    """
    parameters = list(PARAMETER.finditer(template))
    if len(parameters) > _MOST_PARAMETERS:
        return len(parameters), ()
    numbers: list[Place] = []
    words: list[Place] = []
    for index, match in enumerate(parameters):
        before, what = template[: match.start()], match[1]
        key = _KEY.search(before)
        word = key or _WORD_BEFORE.search(before)
        name = word[1] if word else what if what != "*" else "value"
        unit = _UNIT.match(template, match.end()) if what in _NUMBERS else None
        told = _KNOWN.kind((name,), 1) if key else None
        if unit is not None and (len(unit[1]) > 1 or key or name.lower() in _TELLING):
            numbers.append(Place(index, name, "number", unit[1]))
        elif what in _NUMBERS and (told == "number" or name.lower() in ("took", "elapsed", "duration", "latency")):
            numbers.append(Place(index, name, "number"))
        elif what in _WORDS or (what == "num" and told == "word"):
            words.append(Place(index, name, "word"))
            if what == "*":
                numbers.append(Place(index, name, "unit"))
        elif what == "num":
            numbers.append(Place(index, name, "unit"))
    return len(parameters), (*sorted([*numbers[:_MOST_NUMBERS], *words[:_MOST_WORDS]]),)


def reading(place: Place, value: str) -> tuple[str, float]:
    """The name and the number that stand at a place, NaN where there is none.

    >>> reading(Place(1, "took", "number", "s"), "0.35"), reading(Place(0, "in", "unit"), "17ms")
    (('took_s', 0.35), ('in_ms', 17.0))
    >>> reading(Place(0, "in", "unit"), "17"), reading(Place(0, "wait_s", "number"), "20ms")
    (('in', nan), ('wait_s', 0.02))
    """
    value = value.strip("\"'()[],;")
    if place.unit:
        name = f"{place.name}_{place.unit}"
        return name, number_of(name, value)
    kind = "" if value.isdigit() else dimension(value)
    if not kind:
        return place.name, number_of(place.name, value) if place.kind == "number" else float("nan")
    has_unit = "_" in place.name and dimension(f"1{place.name.rpartition('_')[2]}") == kind
    name = place.name if has_unit else f"{place.name}_{'ms' if kind == 'time' else 'bytes'}"
    return name, number_of(name, value)
