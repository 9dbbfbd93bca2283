"""The year a file begins in, where its lines name none: counted back from its last line over every New Year."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from logllm.sources.formats.calendar import latest_year
from logllm.sources.formats.learn import find_time

if TYPE_CHECKING:
    from typing import BinaryIO

    from logllm.sources.formats.notations import Fields, Notation

__all__ = ["first_year"]

# Looked at across the file: enough to see every New Year of a log that is written to every month for twenty years.
_PLACES = 256
_PIECE_BYTES = 4_096
_HEAD = 120


def first_year(file: BinaryIO, size_bytes: int, reference_ns: int) -> int | None:
    """The year of the first line of a file whose dates have months but no years; None for other files.

    The last date lies in the latest year that does not put it after `reference_ns`; each fall from a late month to
    an early one on the way there is a New Year. Reads some pieces of the file; leaves it at its start.
    """
    lines = _lines(file, 0)
    file.seek(0)
    place = find_time(lines[:20], reference_ns=reference_ns) if lines else None
    if place is None or place.notation.yearly or not place.notation.dated:
        return None
    steps = max(_PIECE_BYTES, size_bytes // _PLACES)
    offsets = [*range(0, size_bytes, steps), max(0, size_bytes - _PIECE_BYTES)]
    dates = [
        date for offset in offsets for date in _dates(_lines(file, offset), place.notation, last=offset == offsets[-1])
    ]
    file.seek(0)
    if not dates:
        return None
    days = [date.month * 31 + date.day for date in dates if date.month and date.day]
    new_years = sum(1 for before, after in pairwise(days) if before - after > 186)
    back = sum(1 for before, after in pairwise(days) if after - before > 366)
    return latest_year(dates[-1], reference_ns) - new_years + back


def _lines(file: BinaryIO, offset: int) -> list[str]:
    """The whole lines in the piece at `offset`."""
    file.seek(offset)
    text = (file.read(_PIECE_BYTES) or b"").decode("utf-8", "replace")
    lines = text.split("\n")
    return lines[1 if offset else 0 : -1] or lines[1 if offset else 0 :]


def _dates(lines: list[str], notation: Notation, *, last: bool) -> list[Fields]:
    """The first date in some lines, and the last one too if asked for."""
    found: list[Fields] = []
    for line in lines:
        match = notation.finder.search(line[:_HEAD])
        fields = notation.read(match.group()) if match else None
        if fields is not None:
            found.append(fields)
            if not last:
                break
    return found if len(found) < 2 else [found[0], found[-1]]
