"""The ring of recent records: bounded, and exact about what it still holds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.incidents.recent import JOINED_RECORDS, MAX_FIRST, MAX_TEXT, Line, Recent
from tests.incidents.parts import SECOND_NS, columns

_ROWS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 3)), max_size=60)
_KEYS = st.lists(st.integers(0, 4), min_size=1, max_size=4)
_CUTS = st.lists(st.integers(1, 59), max_size=10)


def _fill(recent: Recent, rows: list[tuple[int, int]], cuts: list[int], size_bytes: int = 10) -> None:
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    seen: set[int] = set()
    for start, end in pairwise(edges):
        part = rows[start:end]
        keys = np.array([key for _, key in part], np.int32)
        new = sorted({key for _, key in part} - seen)
        seen |= set(new)
        texts = [(seconds, f"text {start + at}") for at, (seconds, _) in enumerate(part)]
        recent.add(columns(texts, first_line=start + 1), keys, f"file-{start}", size_bytes, new)


@given(
    _ROWS,
    _CUTS,
    st.integers(0, 100),
    st.integers(0, 60),
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.integers(1, 9),
)
@settings(max_examples=80, deadline=None)
def test_lines_are_the_first_of_these_keys_in_the_stretch_however_they_came(
    rows: list[tuple[int, int]], cuts: list[int], start: int, length: int, keys: list[int], limit: int
) -> None:
    recent = Recent()
    _fill(recent, rows, cuts)

    found = recent.lines(keys, start * SECOND_NS, (start + length) * SECOND_NS, limit)

    mine = [(at, row) for at, row in enumerate(rows) if row[1] in keys and start <= row[0] < start + length][:limit]
    assert sorted((line.line or 0, line.text, line.key, line.time_ns) for line in found) == [
        (at + 1, f"text {at}", key, seconds * SECOND_NS) for at, (seconds, key) in mine
    ]
    assert [line.time_ns for line in found] == sorted(line.time_ns for line in found)


@given(_ROWS, _CUTS, st.integers(0, 101), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_the_last_is_the_latest_come_of_these_before_that_time(
    rows: list[tuple[int, int]], cuts: list[int], before: int, key: int
) -> None:
    recent = Recent()
    _fill(recent, rows, cuts)

    found = recent.last([key], before * SECOND_NS)

    mine = [at for at, (seconds, each) in enumerate(rows) if each == key and seconds < before]
    assert (None if found is None else found.line) == (mine[-1] + 1 if mine else None)


@given(_ROWS, _CUTS, st.integers(0, 3), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_texts_are_a_keys_messages(rows: list[tuple[int, int]], cuts: list[int], key: int, limit: int) -> None:
    recent = Recent()
    _fill(recent, rows, cuts)

    found = list(recent.texts(key, 20 * SECOND_NS, 80 * SECOND_NS, limit))

    assert found == [f"text {at}" for at, (s, each) in enumerate(rows) if each == key and 20 <= s < 80][:limit]


def test_records_and_bytes_stay_within_their_bounds_and_the_latest_are_kept() -> None:
    recent = Recent(max_bytes=10_000, max_records=800)

    for n in range(300):
        recent.add(columns([(n, f"line {n}")] * 7), np.full(7, n % 5, np.int32), "f", 90, [])

    assert recent.records <= 800
    assert recent.bytes <= 10_000
    assert recent.last(range(5), 10**18) == Line(299 * SECOND_NS, "line 299", 4, "f", None)
    assert recent.lines(range(5), 0, 10 * SECOND_NS, 5) == []


def test_ten_thousand_chunks_of_one_record_are_searched_as_a_few() -> None:
    recent = Recent()

    for n in range(10_000):
        recent.add(columns([(n, "x")]), np.zeros(1, np.int32), "f", 1, [])

    assert len(recent._ring) <= 10_000 // JOINED_RECORDS + 2
    assert len(recent.lines([0], 0, 10**18, 20_000)) == 10_000


def test_what_has_left_the_ring_is_remembered_by_its_first_line_within_the_stretch_only() -> None:
    recent = Recent(max_records=10)
    recent.add(columns([(5, "the first")], first_line=1), np.array([7], np.int32), "f", 1, [7])
    recent.add(columns([(n, "other") for n in range(6, 40)]), np.zeros(34, np.int32), "f", 1, [0])

    first = recent.lines([7], 0, 10 * SECOND_NS, 3)

    assert [line.text for line in first] == ["the first"]
    assert recent.lines([7], 6 * SECOND_NS, 99 * SECOND_NS, 3) == []
    assert recent.last([7], 5 * SECOND_NS) is None
    assert recent.last([7], 6 * SECOND_NS) == first[0]


def test_a_merged_keys_records_are_found_under_the_other() -> None:
    recent = Recent()
    _fill(recent, [(1, 0), (2, 1), (3, 0)], [2])

    recent.merge(0, 1)

    assert [line.text for line in recent.lines([1], 0, 10**18, 9)] == ["text 0", "text 1", "text 2"]
    assert recent.lines([0], 0, 10**18, 9) == []


def test_a_forgotten_keys_records_are_found_no_more() -> None:
    recent = Recent()
    _fill(recent, [(1, 0), (2, 1)], [])

    recent.forget([0])

    assert recent.lines([0], 0, 10**18, 9) == []
    assert recent.last([0], 10**18) is None


@pytest.mark.parametrize("keys", [[], [99]])
def test_keys_that_have_no_records_have_no_lines(keys: list[int]) -> None:
    recent = Recent()
    _fill(recent, [(1, 0)], [])

    assert recent.lines(keys, 0, 10**18, 5) == []
    assert recent.last(keys, 10**18) is None


def test_long_texts_are_cut_and_first_lines_are_bounded_in_number() -> None:
    recent = Recent()
    count = MAX_FIRST + 50
    recent.add(columns([(1, "y" * 100_000)] * count), np.arange(count, dtype=np.int32), "f", 1, range(count))

    assert len(recent._first) == MAX_FIRST
    assert len(recent.lines([count - 1], 0, 10**18, 1)[0].text) == MAX_TEXT
