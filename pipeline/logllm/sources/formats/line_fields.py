"""Further fields of the records of a file, where its format has fields."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from logllm.sources.decode_values import FieldFinder, at_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.events import Fields
    from logllm.fields import Wanted

__all__ = ["LineFields", "PairFields"]


class LineFields:
    """The wanted fields of the lines of one file, one record a line: `look`, decode what is in `tops`, then `read`.

    Args:
        wanted: Which they are.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.finder = FieldFinder(wanted)

    @property
    def tops(self) -> list[str]:
        """The keys that something found stands under."""
        return self.finder.tops

    def look(self, lines: list[str], record: Callable[[str], object]) -> bool:
        """Look at some of the next lines whole; True where there is more to decode than before."""
        before = self.tops
        for place in self.finder.places(len(lines)):
            self.finder.look(place, record(lines[place]))
        return self.tops != before

    def read(self, column: Callable[[str], list[Any]], count: int) -> Fields | None:
        """The fields of the next `count` lines.

        Args:
            column: What stands under a key in each line; None where nothing does.
        """
        columns = {top: column(top) for top in self.tops}
        values = {name: at_path(columns[path[0]], path[1:]) for name, path in self.finder.paths()}
        fields = self.finder.fields(values, count) if values else None
        self.finder.pass_on(count)
        return fields


class PairFields:
    """The wanted fields of lines of `key=value` pairs, read with one expression over all lines, some 3 us a line.

    What stands within quotes is text: `msg="took=5"` has no field `took`.
    """

    def __init__(self, wanted: Wanted, value: str, plain: Callable[[str], str]) -> None:
        self._lines = LineFields(wanted)
        self._value = value
        self._plain = plain
        self._find: re.Pattern[str] | None = None

    def read(self, lines: list[str], pairs: Callable[[str], dict[str, str]]) -> Fields | None:
        """The fields of the next lines, which `pairs` takes apart."""
        if self._lines.look(lines, pairs):
            keys = "|".join(map(re.escape, sorted(self._lines.tops, key=len, reverse=True)))
            self._find = re.compile(rf"(\n)|(?<!\S)({keys})=({self._value})(?=\s|\Z)|\"(?:[^\"\\\n]|\\.)*+\"")
        columns: dict[str, list[str | None]] = {top: [None] * len(lines) for top in self._lines.tops}
        if self._find is not None:
            row = 0
            for end, key, text in self._find.findall("\n".join(lines)):
                if end:
                    row += 1
                elif key and columns[key][row] is None:
                    columns[key][row] = self._plain(text)
        return self._lines.read(columns.__getitem__, len(lines))
