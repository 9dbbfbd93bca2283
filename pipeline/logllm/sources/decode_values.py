"""Further fields of records by column: which of the wanted ones a tag has, and what they hold.

No field is searched for in every record. The first records of a tag and each 1024th after them are looked at whole;
which wanted fields they have is remembered, and only those are decoded, from that record on. So records without any
of them cost next to nothing, and what is found does not depend on how the records were cut into chunks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.errors import StateError
from logllm.events import Fields
from logllm.fields import LONGEST_NUMBER, NUMBER, Wanted, number_of, scale_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from logllm.fields import Kind

__all__ = ["FieldFinder", "at_path", "joined", "merged", "numbers_of", "picked", "placed", "words_of"]

_FIRST = 32
"""The first records of a tag that are looked at whole."""
_EVERY = 1024
"""After those, one in so many: a record is decoded whole in some 3 us, which is 0.003 us a record then."""
_DEEPEST = 3
_MOST_LOOKED_AT = 256
_LONGEST_NAME = 128
_LONGEST_WORD = 256
_LINES = re.compile(rf"^(?:{NUMBER.pattern}$|(.*)$)", re.MULTILINE)
_NUMBERS = frozenset((int, float, type(None)))
_WHOLE = frozenset((int, type(None)))
_NO_WORDS = frozenset((float, bool, list, dict, bytes))


@dataclass(frozen=True, slots=True)
class _Found:
    path: tuple[str, ...]
    kind: Kind
    since: int


class FieldFinder:
    """The wanted fields that the records of one tag or file have, in the order they were met; bounded.

    A field that stands in fewer than one record in a thousand may be met late. One name is one field: where records
    have it nested and as a dotted key, the form met first is read.

    Ask `places`, show it the records there with `look`, read the fields there are with `fields`, and `pass_on`.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._records = 0
        self._found: dict[str, _Found] = {}

    @property
    def tops(self) -> list[str]:
        """The keys of a record that something found stands under."""
        return list(dict.fromkeys(field.path[0] for field in self._found.values()))

    def places(self, count: int) -> Sequence[int]:
        """Which of the next `count` records are to be looked at."""
        first = self._records
        if len(self._found) >= self._wanted.most:
            return ()
        if first < _FIRST:
            return [*range(min(_FIRST - first, count)), *range(_EVERY - first, count, _EVERY)]
        return range(-first % _EVERY, count, _EVERY)

    def look(self, place: int, record: object) -> None:
        """The record at one of the `places`, as a dict; anything else is passed over."""
        if isinstance(record, dict):
            for path, value in _leaves(record, self._wanted):
                name = ".".join(path)
                if name in self._found or len(self._found) >= self._wanted.most or len(name) > _LONGEST_NAME:
                    continue
                kind = self._wanted.kind(path, value)
                # The replacement character stands for what was no UTF-8; a name with it is not found again by a struct.
                if kind is not None and name.isprintable() and "\ufffd" not in name:
                    self._found[name] = _Found(path, kind, self._records + place)

    def pass_on(self, count: int) -> None:
        """So many records are done."""
        self._records += count

    def paths(self) -> list[tuple[str, tuple[str, ...]]]:
        """Name and path of each field."""
        return [(name, field.path) for name, field in self._found.items()]

    def fields(self, values: dict[str, list[Any]], count: int) -> Fields | None:
        """The fields of the next `count` records, where there are any.

        Args:
            values: What stands in each of these records, by the name of the field; None where nothing does.
        """
        found = Fields({}, {})
        for name, column in values.items():
            field = self._found[name]
            before = min(max(field.since - self._records, 0), count)
            if field.kind == "number":
                numbers = numbers_of(name, column)
                numbers[:before] = np.nan
                if not np.isnan(numbers).all():
                    found.numbers[name] = numbers
            else:
                codes, words = words_of([None] * before + column[before:] if before else column)
                if words:
                    found.words[name] = codes, words
        return found if found.numbers or found.words else None

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        found = [[list(field.path), field.kind, field.since] for field in self._found.values()]
        return {"records": self._records, "found": found}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        try:
            self._records = int(state["records"])
            found = [_Found(tuple(map(str, path)), kind, int(since)) for path, kind, since in state["found"]]
        except (LookupError, TypeError, ValueError) as error:
            raise StateError(f"saved fields are damaged: {error!r}") from error
        if any(field.kind not in ("number", "word") or not field.path for field in found):
            raise StateError("saved fields are damaged: a field is neither number nor word")
        self._found = {".".join(field.path): field for field in found[: self._wanted.most]}


def _leaves(record: dict[Any, Any], wanted: Wanted) -> Iterator[tuple[tuple[str, ...], object]]:
    """Path and value of a record's fields, in order, those of maps inside too."""
    waiting: list[tuple[tuple[str, ...], dict[Any, Any]]] = [((), record)]
    for path, inside in waiting:
        for key, value in inside.items():
            if not isinstance(key, str) or not key:
                continue
            if isinstance(value, dict):
                if len(path) + 1 < _DEEPEST and len(waiting) < _MOST_LOOKED_AT and (path or wanted.leads_to(key)):
                    waiting.append(((*path, key), value))
            else:
                yield (*path, key), value


def at_path(values: list[Any], path: tuple[str, ...]) -> list[Any]:
    """What stands at `path` inside of each value; None where nothing does."""
    for key in path:
        values = [value.get(key) if isinstance(value, dict) else None for value in values]
    return values


def numbers_of(name: str, values: list[Any]) -> NDArray[np.float64]:
    """float64[n]: the values of the field `name` as `number_of` reads them."""
    if set(map(type, values)) <= _NUMBERS:
        try:
            numbers = np.array(values, np.float64)
        except OverflowError:
            numbers = np.array([number_of(name, value) for value in values], np.float64)
        numbers[~np.isfinite(numbers)] = np.nan
        return numbers
    if set(map(type, values)) <= {str, type(None)}:
        return _of_texts(name, ["" if value is None else value for value in values])
    return np.array([number_of(name, value) for value in values], np.float64)


def _of_texts(name: str, texts: list[str]) -> NDArray[np.float64]:
    """What `number_of` says of each, all at once: 0.5 us instead of 2."""
    found = _LINES.findall("\n".join(texts))
    if len(found) != len(texts) or max(map(len, texts), default=0) > LONGEST_NUMBER:
        return np.array([number_of(name, text) for text in texts], np.float64)
    numbers = np.array([number or "nan" for number, _, _ in found], np.float64)
    units = {unit: scale_of(name, unit) for unit in {unit for _, unit, _ in found}}
    numbers *= np.array([units[unit] for _, unit, _ in found], np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    for place, (number, _, other) in enumerate(found):
        if other and not number:
            numbers[place] = number_of(name, other)
    return numbers


def words_of(values: list[Any]) -> tuple[NDArray[np.int32], list[str]]:
    """Codes of the values as words, and the words, in the order they are met; -1 for what is none.

    A whole number is the word it is written as; maps, lists, empty and missing values are none.
    """
    return _words_alike(values) or _words_each(values)


def _words_alike(values: list[Any]) -> tuple[NDArray[np.int32], list[str]] | None:
    """The same where all are texts, or all whole numbers, and none is to be cut: 0.1 us a value instead of 0.2."""
    known: dict[Any, int] = {None: -1, "": -1}
    try:
        first = np.fromiter(map(known.setdefault, values, count()), np.int32, len(values))
    except TypeError:
        return None
    del known[None], known[""]
    words = list(known)
    types = set(map(type, words))
    if types != {str}:
        # True is equal to one, and would be taken for it.
        if not set(map(type, values)) <= _WHOLE:
            return None
        words = list(map(str, words))
    if len(max(words, key=len, default="")) > _LONGEST_WORD or "\0" in "".join(words):
        return None
    codes = np.full(len(values) + 1, -1, np.int32)
    codes[np.fromiter(known.values(), np.int32, len(words))] = np.arange(len(words))
    return codes[first], words


def _words_each(values: list[Any]) -> tuple[NDArray[np.int32], list[str]]:
    if not set(map(type, values)) <= {str, int, type(None)}:
        values = [_word(value) for value in values]
    numbers: dict[Any, int] = {}
    codes_of: dict[Any, int] = {None: -1, "": -1}
    words: list[str] = []
    for value in dict.fromkeys(values):
        if value is not None and value != "":
            word = str(value)[:_LONGEST_WORD].replace("\0", "")
            code = numbers.setdefault(word, len(words)) if word else -1
            if code == len(words):
                words.append(word)
            codes_of[value] = code
    return np.fromiter(map(codes_of.__getitem__, values), np.int32, len(values)), words


def _word(value: object) -> str | int | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value[:_LONGEST_WORD].decode("utf-8", "replace")
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2.0**53 else repr(value)
    return value if isinstance(value, str | int) else None


def picked(fields: Fields | None, rows: NDArray[Any]) -> Fields | None:
    """The fields of some of the records; `rows` is bool[n] or their places."""
    if fields is None:
        return None
    return Fields(
        {name: values[rows] for name, values in fields.numbers.items()},
        {name: (codes[rows], words) for name, (codes, words) in fields.words.items()},
    )


def placed(fields: Fields | None, places: NDArray[np.int64], count: int) -> Fields | None:
    """The same fields where the records they are of stand at `places` among `count`."""
    if fields is None:
        return None
    numbers = {name: np.full(count, np.nan) for name in fields.numbers}
    codes = {name: np.full(count, -1, np.int32) for name in fields.words}
    for name, values in fields.numbers.items():
        numbers[name][places] = values
    for name, (here, _) in fields.words.items():
        codes[name][places] = here
    return Fields(numbers, {name: (codes[name], words) for name, (_, words) in fields.words.items()})


def merged(first: Fields | None, second: Fields | None) -> Fields | None:
    """The fields of both, of the same records; where both say something of a record the first counts."""
    if first is None or second is None:
        return second if first is None else first
    numbers, words = dict(first.numbers), dict(first.words)
    for name, values in second.numbers.items():
        mine = numbers.get(name)
        numbers[name] = values if mine is None else np.where(np.isnan(mine), values, mine)
    for name, (codes, texts) in second.words.items():
        if name not in words:
            words[name] = codes, texts
            continue
        own, own_texts = words[name]
        number = {text: at for at, text in enumerate(dict.fromkeys([*own_texts, *texts]))}
        table = np.array([*(number[text] for text in texts), -1], np.int32)
        words[name] = np.where(own >= 0, own, table[codes]), list(number)
    return Fields(numbers, words)


def joined(parts: Sequence[tuple[Fields | None, NDArray[np.int64]]], count: int) -> Fields | None:
    """Fields of several sets of records as one; each part with the places of its records among `count`."""
    found: Fields | None = None
    for fields, places in parts:
        found = merged(found, placed(fields, places, count))
    return found
