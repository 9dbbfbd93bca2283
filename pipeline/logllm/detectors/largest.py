"""The largest of many totals, without sorting all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["largest"]


def largest(totals: NDArray[Any], most: int) -> NDArray[np.int64]:
    """The numbers of the largest totals above 0, the largest first, of equal ones the first; at most `most`.

    >>> largest(np.array([2.0, 0.0, 5.0, 2.0]), 2).tolist()
    [2, 0]
    """
    some = np.flatnonzero(totals > 0.0)
    if len(some) > most > 0:
        # All that equal the last one that is in are kept until the order is known.
        some = some[totals[some] >= np.partition(totals[some], -most)[-most]]
    return some[np.argsort(-totals[some], kind="stable")[:most]].astype(np.int64)
