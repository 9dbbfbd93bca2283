"""A file's lines with their templates, as these stand when the whole file has been read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from logllm.errors import ConfigError
from logllm.sources.csv_rows import csv_rows, listed
from logllm.sources.file import read_file
from logllm.templates.miner import Miner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from logllm.sources.file_stats import ReadStats
    from logllm.templates.template import Template

__all__ = ["Mined", "Row", "mine_column", "mine_file"]

_ROWS_A_CHUNK = 5_000


class Row(NamedTuple):
    """One record: the number of its first line, or of its row below a CSV's head, from 1; its template's index."""

    line: int
    template: int


@dataclass(frozen=True, slots=True)
class Mined:
    """Which template each record is of.

    Shapes:
        lines: int64[n], see `Row`. indices: int32[n], as they were given out; `template` says what became of them.
    """

    miner: Miner
    lines: NDArray[np.int64]
    indices: NDArray[np.int32]

    def rows(self) -> Iterator[Row]:
        """The records in order, under what their templates became."""
        distinct, which = np.unique(self.indices, return_inverse=True)
        now = np.array([self.miner.canonical(index) for index in distinct.tolist()], np.int32)[which]
        return map(Row, self.lines.tolist(), now.tolist())

    def template(self, index: int) -> Template | None:
        """The template of an index as it stands now; None where it was forgotten: there are too many."""
        try:
            return self.miner.template(index)
        except IndexError:
            return None


def mine_file(path: str, *, line_format: str, tz: str, stats: ReadStats) -> Mined:
    """Mine the message part of each record of a log.

    Raises:
        SourceError: The file cannot be read.
        ConfigError: There is no such format or zone.
    """
    miner, lines, indices = Miner(), [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    at = 0
    for chunk in read_file(path, format=line_format, tz=tz, stats=stats):
        columns = chunk.columns
        if columns is None or not len(columns):
            continue
        position = columns.position
        lines.append(np.arange(at + 1, at + 1 + len(columns)) if position is None else position)
        indices.append(miner.ids(columns.messages, columns.text_codes))
        miner.drain_changes()
        at += len(columns)
    return Mined(miner, np.concatenate(lines), np.concatenate(indices))


def mine_column(path: str, column: str, stats: ReadStats) -> Mined:
    """Mine one column of a CSV file with a head.

    Raises:
        SourceError: The file cannot be read, or is no CSV.
        ConfigError: It has no such column.
    """
    miner, indices, rows = Miner(), [np.zeros(0, np.int32)], 0
    for messages in _cells(path, column):
        indices.append(miner.ids(messages))
        miner.drain_changes()
        rows += len(messages)
    stats.lines = rows
    return Mined(miner, np.arange(1, rows + 1), np.concatenate(indices))


def _cells(path: str, column: str) -> Iterator[list[str]]:
    with csv_rows(path) as rows:
        head = next(rows, [])
        if column not in head:
            raise ConfigError(f"{path}: no column {column!r}, expected one of {listed(head)}")
        place = head.index(column)
        cells: list[str] = []
        for row in rows:
            if row:
                cells.append(row[place].replace("\0", " ") if place < len(row) else "")
            if len(cells) == _ROWS_A_CHUNK:
                yield cells
                cells = []
        yield cells
