"""Running sums down the columns of a table, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["add_up", "running_sums"]


def add_up(rows: NDArray[Any], sums: NDArray[Any]) -> None:
    """Running sums of some rows into `sums`, which may be `rows` itself.

    What `numpy.cumsum` gives, in the same order of additions; that goes down each column, at several times the cost.
    """
    sums[:1] = rows[:1]
    for row in range(1, len(rows)):
        np.add(sums[row - 1], rows[row], out=sums[row])


def running_sums(rows: NDArray[Any]) -> NDArray[Any]:
    """[1 + n, ...]: what each of n rows and all before it sum up to, after a row of nothing.

    >>> running_sums(np.array([[1.0, 5.0], [2.0, 0.0]])).tolist()
    [[0.0, 0.0], [1.0, 5.0], [3.0, 5.0]]
    """
    sums = np.empty((len(rows) + 1, *rows.shape[1:]), rows.dtype)
    sums[0] = 0
    add_up(rows, sums[1:])
    return sums
