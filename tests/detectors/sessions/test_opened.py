"""Sessions remembered by slot, against a slow and obvious one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.detectors.sessions.opened import KEY_BITS, Opened
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Plain:
    """One session."""

    first: int
    last: int
    records: int = 0
    keys: set[int] = field(default_factory=set)
    judged: bool = False


records = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5)), max_size=30)
steps = st.lists(st.tuples(records, st.sampled_from(["idle", "drop", "merge", "forget", "restart", ""])), max_size=12)


# Even keys are of one service, odd ones of another.
SERVICE = np.arange(64, dtype=np.int32) % 2


def cells_of(rows: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    cells, counts = np.unique(np.array([slot << KEY_BITS | key for slot, key in rows], np.int64), return_counts=True)
    return cells, counts


@given(steps)
def test_it_remembers_what_a_slow_obvious_one_does(steps: list[tuple[list[tuple[int, int]], str]]) -> None:
    opened, plain = Opened(), dict[int, Plain]()

    for window, (rows, then) in enumerate(steps):
        known = {(slot, key) for slot, session in plain.items() for key in session.keys}
        begun, shown, came = opened.take(window, *cells_of(rows), SERVICE)
        assert begun == len({slot for slot, _ in rows} - plain.keys())
        passed = {(slot, key % 2) for slot, key in rows} - {(slot, key % 2) for slot, key in known}
        assert sorted(came.tolist()) == sorted(service for _, service in passed)
        assert sorted(shown.tolist()) == sorted(key for _, key in set(rows) - known)
        for slot, key in rows:
            session = plain.setdefault(slot, Plain(window, window))
            session.judged &= key in session.keys
            session.last = window
            session.records += 1
            session.keys.add(key)
        if then == "idle":
            slots = opened.idle(window, 2)
            assert slots.tolist() == [s for s in sorted(plain) if not plain[s].judged and window - plain[s].last > 2]
            opened.judged[slots] = True
            for slot in slots.tolist():
                plain[slot].judged = True
        elif then == "drop":
            gone = [slot for slot in sorted(plain) if slot % 2]
            opened.drop(np.array(gone, np.int64))
            plain = {slot: session for slot, session in plain.items() if slot not in gone}
        elif then == "merge":
            opened.merge(2, 3)
            for session in plain.values():
                session.keys = {3 if key == 2 else key for key in session.keys}
        elif then == "forget":
            opened.forget([4])
            for session in plain.values():
                session.keys.discard(4)
            plain = {slot: session for slot, session in plain.items() if session.keys}
        elif then == "restart":
            saved, opened = opened.state(), Opened()
            opened.restore(msgpack.unpackb(msgpack.packb(saved)))
        courses = opened.courses(opened.slots)
        assert courses.slots.tolist() == sorted(plain)
        for at, slot in enumerate(sorted(plain)):
            session = plain[slot]
            assert courses.keys_of(at).tolist() == sorted(session.keys)
            assert (courses.first[at], courses.last[at]) == (session.first, session.last)
            assert courses.records[at] == session.records
        assert courses.owners.tolist() == [at for at, slot in enumerate(sorted(plain)) for _ in plain[slot].keys]


def test_a_copy_goes_on_for_itself() -> None:
    opened = Opened()
    opened.take(1, *cells_of([(0, 1), (1, 2)]), SERVICE)
    other = opened.copy()

    other.take(2, *cells_of([(0, 3), (2, 0)]), SERVICE)
    other.drop(np.array([1]))

    assert opened.slots.tolist() == [0, 1]
    assert opened.courses(opened.slots).keys.tolist() == [1, 2]
    assert other.courses(other.slots).keys.tolist() == [1, 3, 0]


@pytest.mark.parametrize("name", ["cells", "first", "records", "judged"])
def test_a_column_that_does_not_fit_is_refused(name: str) -> None:
    opened, other = Opened(), Opened()
    opened.take(1, *cells_of([(0, 1), (1, 2)]), SERVICE)
    other.take(1, *cells_of([(9, 1)]), SERVICE)

    with pytest.raises(StateError):
        Opened().restore(opened.state() | {name: other.state()[name]})
