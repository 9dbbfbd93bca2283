"""The last rows of a table that grows at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Rolling"]

_ROOM = 1.25


class Rolling:
    """At most `most` rows; the oldest go. They lie in a room a quarter larger, so that few rows are ever moved.

    >>> table = Rolling(np.array([[1.0], [2.0]]), most=3)
    >>> table.append(np.array([[3.0], [4.0]]))
    >>> table.rows[:, 0].tolist()
    [2.0, 3.0, 4.0]
    """

    def __init__(self, rows: NDArray[Any], most: int) -> None:
        self._most = most
        self._room = np.zeros((int(_ROOM * most), *rows.shape[1:]), rows.dtype)
        self._start, self._end = 0, 0
        self.append(rows)

    @property
    def rows(self) -> NDArray[Any]:
        """A view of all: what is written there is kept, what is appended later is not seen."""
        return self._room[self._start : self._end]

    def append(self, rows: NDArray[Any]) -> None:
        """Take rows in, fewer than a quarter of `most` at a time but for the first."""
        rows = rows[-self._most :]
        if self._end + len(rows) > len(self._room):
            kept = self.rows[max(0, len(self.rows) + len(rows) - self._most) :].copy()
            self._start, self._end = 0, len(kept)
            self._room[: len(kept)] = kept
        self._room[self._end : self._end + len(rows)] = rows
        self._end += len(rows)
        self._start = max(self._start, self._end - self._most)
