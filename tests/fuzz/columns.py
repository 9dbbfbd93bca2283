"""What must hold for columns, whatever they were read from."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from logllm.events import Columns

__all__ = ["check_columns", "seen"]

_SEVERITIES = frozenset(range(25))


def check_columns(columns: Columns, *, most_lines: int | None = None) -> list[str]:
    """One value a record in each column, all of them such as what follows can carry; returns the messages.

    Args:
        most_lines: Where given, records have positions: ascending line numbers from 0, below this.
    """
    messages = list(columns.messages)
    count = len(messages)
    assert len(columns) == count
    assert [column.dtype for column in (columns.time_ns, columns.severity)] == [np.dtype("i8"), np.dtype("u1")]
    assert len(columns.time_ns) == len(columns.severity) == len(columns.service_codes) == count
    assert columns.service_codes.dtype == np.dtype("i4")
    assert all(0 <= code < len(columns.service_names) for code in columns.service_codes.tolist())
    assert len(set(columns.service_names)) == len(columns.service_names)
    assert not count or int(columns.time_ns.min()) >= 0
    assert _SEVERITIES.issuperset(columns.severity.tolist())
    joined = "".join(messages) + "".join(columns.service_names)
    assert "\0" not in joined
    joined.encode()
    if most_lines is not None:
        assert columns.position is not None
        places = columns.position.tolist()
        assert len(places) == count
        assert all(before < after for before, after in pairwise(places))
        assert not places or (places[0] >= 0 and places[-1] < most_lines)
    return messages


def seen(columns: Columns) -> tuple[Any, ...]:
    """All of them that others may see, in plain values."""
    return (
        columns.time_ns.tolist(),
        list(columns.messages),
        columns.severity.tolist(),
        columns.service_codes.tolist(),
        columns.service_names,
    )
