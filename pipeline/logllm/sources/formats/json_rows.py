"""Decodes JSON lines into only the values at a few paths."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logllm.sources.formats.json_fields import Path

__all__ = ["JsonRows"]


class JsonRows:
    """Decodes lines into typed structs that hold only the values at `paths`, all of a block at once.

    A path may be the beginning of another (`service` and `service.name`): the value there is decoded whole.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        # A path's way: attributes of structs, then keys of a dict.
        self._ways: dict[Path, tuple[list[str], Path]] = {}
        self._decoder = msgspec.json.Decoder(self._struct(sorted(set(paths)), (), []))

    def _struct(self, paths: list[Path], above: Path, way: list[str]) -> type[msgspec.Struct]:
        fields: list[tuple[str, Any, Any]] = []
        names: dict[str, str] = {}
        for number, key in enumerate(dict.fromkeys(path[len(above)] for path in paths)):
            here = (*above, key)
            field = f"f{number}"
            within = [path for path in paths if path[: len(here)] == here]
            kind: Any = Any
            if here in within:
                self._ways.update({path: ([*way, field], path[len(here) :]) for path in within})
            else:
                kind = self._struct(within, here, [*way, field]) | None
            fields.append((field, kind, None))
            names[field] = key
        return msgspec.defstruct("Row", fields, rename=names, gc=False)

    def decode(self, lines: list[str]) -> tuple[list[Any], list[int]]:
        """A struct a line (None for lines that are no such object), and the rows of those that are none."""
        rows: list[Any] = [None] * len(lines)
        bad: list[int] = []
        self._decode(lines, 0, len(lines), rows, bad)
        return rows, bad

    def _decode(self, lines: list[str], start: int, end: int, rows: list[Any], bad: list[int]) -> None:
        """Decode at once; where that fails halve, so that few bad lines cost little."""
        if end - start > 1:
            try:
                found = self._decoder.decode_lines("\n".join(lines[start:end]))
            except (msgspec.MsgspecError, RecursionError):
                found = []
            if len(found) == end - start:
                rows[start:end] = found
                return
            middle = (start + end) // 2
            self._decode(lines, start, middle, rows, bad)
            self._decode(lines, middle, end, rows, bad)
        elif end > start:
            try:
                rows[start] = self._decoder.decode(lines[start])
            except (msgspec.MsgspecError, RecursionError):
                bad.append(start)

    def column(self, rows: list[Any], bad: list[int], paths: Iterable[Path]) -> list[Any]:
        """The value at the first of `paths` where a row has one, None where it has none."""
        column: list[Any] | None = None
        for path in paths:
            found = self._values(rows, bad, path)
            if column is None:
                column = found
            elif None in column:
                column = [other if value is None else value for value, other in zip(column, found, strict=True)]
        return [None] * len(rows) if column is None else column

    def _values(self, rows: list[Any], bad: list[int], path: Path) -> list[Any]:
        way, keys = self._ways[path]
        column = rows
        for depth, name in enumerate(way):
            if depth or bad:
                column = [None if row is None else getattr(row, name) for row in column]
            else:
                column = list(map(attrgetter(name), column))
        for key in keys:
            column = [value.get(key) if isinstance(value, dict) else None for value in column]
        return column
