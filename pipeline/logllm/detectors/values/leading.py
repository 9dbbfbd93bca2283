"""The first records of each group, as many as there is room for: a sample that does not depend on chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["leading"]


def leading(groups: NDArray[np.integer[Any]], room: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Places of the records that fit, in order.

    Shapes:
        groups: int64[n], each record's group. room: int64[g], how many records of a group may still be taken.

    >>> import numpy as np
    >>> leading(np.array([0, 1, 0, 0, 1]), np.array([2, 1])).tolist()
    [0, 1, 2]
    """
    places = np.flatnonzero(room.take(groups) > 0)
    if not len(places):
        return places
    order = np.argsort(groups[places], kind="stable")
    sorted_groups = groups[places][order]
    first = np.flatnonzero(np.r_[True, sorted_groups[1:] != sorted_groups[:-1]])
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    return np.sort(places[order[rank < room[sorted_groups]]])
