"""What holds of the windows for any records in any order, however they are cut into chunks."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.slices import BLOCK, Slice, cells_of
from logllm.detectors.windows import LATE_WINDOWS, MOST_REBASES, REBASE_RECORDS, Windows
from logllm.errors import StateError
from tests.detectors.counts import MINUTE_NS, add, counted

SECOND_NS = 1_000_000_000
START_NS = 28_333_333 * MINUTE_NS

_STEPS = st.one_of(
    st.integers(0, 4),
    st.integers(-8, 90),
    st.sampled_from([-3600, -1200, -60, 0, 300, 900, 1000, 4000, 90_000]),
)
_RECORDS = st.lists(st.tuples(_STEPS, st.integers(0, 3), st.booleans()), max_size=60).map(
    lambda rows: [
        (START_NS + seconds * SECOND_NS, key, severe)
        for seconds, (_, key, severe) in zip(np.cumsum([row[0] for row in rows]).tolist(), rows, strict=True)
    ]
)
_CUTS = st.lists(st.integers(0, 60), max_size=8)


def _tables(slices: list[Slice]) -> list[tuple[int, int, list[float], list[float]]]:
    """One row a window: what was skipped before it, its index and its counts; how windows are joined is left out."""
    return [
        (each.gap if not row else 0, each.first + row, each.counts[row].tolist(), each.severe[row].tolist())
        for each in slices
        for row in range(len(each))
    ]


def _open(windows: Windows) -> int:
    state = windows.state()
    cells = np.frombuffer(state["cells"]["data"], np.int64).reshape(state["cells"]["shape"])
    return int(cells[2].sum()) + int(state["aside"]["shape"][1])


class _OneByOne:
    """The same by the book: a record at a time, in dictionaries."""

    def __init__(self, lateness_s: int = 5) -> None:
        self.lateness_s = lateness_s
        self.watermark = -(10**18)
        self.closed = -1
        self.counts: Counter[tuple[int, int, str]] = Counter()
        self.aside = 0
        self.dropped = self.late = 0

    def record(self, ns: int, key: int, severe: bool) -> None:
        seconds, window = ns // SECOND_NS, ns // MINUTE_NS
        if self.closed < 0:
            self.closed = (seconds - self.lateness_s) // 60
        if window < self.closed - LATE_WINDOWS:
            self.aside += 1
            return
        self.dropped += self.aside
        self.aside = 0
        if window < self.closed:
            self.late += 1
            window = self.closed
        self.counts[window, key, "records"] += 1
        if severe:
            self.counts[window, key, "severe"] += 1
        self.watermark = max(self.watermark, seconds - self.lateness_s)
        self.closed = max(self.closed, self.watermark // 60)


@given(_RECORDS, _CUTS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_record_is_in_a_closed_window_or_open_or_dropped(
    records: list[tuple[int, int, bool]], cuts: list[int], whole_blocks: bool
) -> None:
    windows = Windows(whole_blocks=whole_blocks)

    closed = sum(float(each.counts.sum()) for each in add(windows, records, cuts=cuts))
    before = closed + _open(windows) + windows.dropped
    closed += sum(float(each.counts.sum()) for each in windows.finish(4))

    assert before == len(records)
    assert closed + windows.dropped == len(records)
    assert _open(windows) == 0


@given(_RECORDS, _CUTS, _CUTS, st.booleans())
@settings(max_examples=200, deadline=None)
def test_what_closes_does_not_depend_on_how_the_records_are_cut_into_chunks(
    records: list[tuple[int, int, bool]], cuts: list[int], others: list[int], whole_blocks: bool
) -> None:
    one, two, single = (Windows(whole_blocks=whole_blocks) for _ in range(3))

    first, second = add(one, records, cuts=cuts), add(two, records, cuts=others)
    third = add(single, records, cuts=range(60))

    assert _tables(first) == _tables(second) == _tables(third)
    assert one.state() | {"cells": 0, "aside": 0} == single.state() | {"cells": 0, "aside": 0}
    assert _tables(first + one.finish(4)) == _tables(third + single.finish(4))


@given(_RECORDS, _CUTS)
@settings(max_examples=150, deadline=None)
def test_counts_are_those_of_a_record_at_a_time_in_plain_python(
    records: list[tuple[int, int, bool]], cuts: list[int]
) -> None:
    windows, plain = Windows(), _OneByOne()

    for record in records:
        plain.record(*record)
    slices = add(windows, records, cuts=cuts)
    late, dropped = windows.late, windows.dropped
    aside = int(windows.state()["aside"]["shape"][1])
    flushed = counted(slices + windows._flush(4))

    assert flushed == plain.counts
    assert (late, dropped, aside) == (plain.late, plain.dropped, plain.aside)


@given(_RECORDS, _CUTS, st.booleans())
@settings(max_examples=100, deadline=None)
def test_windows_come_once_each_in_order_of_time_and_never_across_the_end_of_a_block(
    records: list[tuple[int, int, bool]], cuts: list[int], whole_blocks: bool
) -> None:
    windows = Windows(whole_blocks=whole_blocks)

    slices = add(windows, records, cuts=cuts) + windows.finish(4)

    for each in slices:
        assert 1 <= len(each) <= BLOCK
        assert each.first // BLOCK == (each.first + len(each) - 1) // BLOCK
        assert each.ends_block == ((each.first + len(each)) % BLOCK == 0)
        assert each.counts.shape == each.severe.shape == (len(each), 4)
        assert (each.severe <= each.counts).all()
    for earlier, later in pairwise(slices):
        skipped = later.first - earlier.first - len(earlier)
        assert later.gap == -1 or (skipped == later.gap and (skipped == 0 or skipped > BLOCK))


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), min_size=1, max_size=40), st.randoms())
@settings(max_examples=80, deadline=None)
def test_the_order_of_records_within_the_lateness_changes_no_count(
    rows: list[tuple[int, int]], source: np.random.Generator
) -> None:
    ordered = [(START_NS + tenths * 5 * SECOND_NS, key, False) for tenths, key in sorted(rows)]
    jumbled = sorted(ordered, key=lambda record: record[0] + source.random() * 4.9 * SECOND_NS)

    one, two = Windows(), Windows()
    straight = counted(add(one, ordered) + one.finish(4))
    mixed = counted(add(two, jumbled) + two.finish(4))

    assert mixed == straight
    assert two.late == two.dropped == 0


@given(_RECORDS, st.integers(0, 60), st.booleans())
@settings(max_examples=100, deadline=None)
def test_windows_restored_from_a_state_go_on_as_the_others_would_have(
    records: list[tuple[int, int, bool]], cut: int, whole_blocks: bool
) -> None:
    steady, saved = Windows(whole_blocks=whole_blocks), Windows(whole_blocks=whole_blocks)
    add(steady, records[:cut])
    add(saved, records[:cut])

    restored = Windows(whole_blocks=whole_blocks)
    restored.restore(msgpack.unpackb(msgpack.packb(saved.state())))
    after = add(restored, records[cut:]) + restored.finish(4)

    assert _tables(after) == _tables(add(steady, records[cut:]) + steady.finish(4))
    assert (restored.late, restored.dropped, restored.rebased) == (steady.late, steady.dropped, steady.rebased)


def test_a_window_closes_when_the_watermark_passes_its_end_and_not_before() -> None:
    windows = Windows(lateness_ns=5 * SECOND_NS)

    held = add(windows, [(START_NS, 0, False), (START_NS + 64 * SECOND_NS, 1, False)])
    closed = add(windows, [(START_NS + 65 * SECOND_NS, 2, False)])

    assert held == []
    assert counted(closed) == {(START_NS // MINUTE_NS, 0, "records"): 1}


def test_a_late_record_is_counted_in_the_oldest_open_window() -> None:
    windows = Windows()
    add(windows, [(START_NS, 0, False), (START_NS + 600 * SECOND_NS, 0, False)])

    add(windows, [(START_NS + 30 * SECOND_NS, 3, True)])
    found = counted(windows.finish(4))

    assert windows.late == 1
    assert found[START_NS // MINUTE_NS + 9, 3, "severe"] == 1


def test_a_record_too_late_is_dropped_and_counted_once_the_present_goes_on() -> None:
    windows = Windows()
    add(windows, [(START_NS, 0, False), (START_NS + 7200 * SECOND_NS, 0, False)])

    add(windows, [(START_NS, 1, False)] * 3)
    waiting = windows.dropped
    add(windows, [(START_NS + 7201 * SECOND_NS, 0, False)])

    assert (waiting, windows.dropped, windows.rebased) == (0, 3, 0)


def test_up_to_a_block_of_nothing_is_given_as_zeros_and_more_is_a_gap() -> None:
    start = START_NS // (BLOCK * MINUTE_NS) * BLOCK * MINUTE_NS

    def give(block_windows_later: int) -> list[Slice]:
        windows = Windows()
        later = start + (BLOCK + block_windows_later) * MINUTE_NS
        return add(windows, [(start, 0, False), (later, 0, False), (later + 3600 * SECOND_NS, 0, False)])

    near, far = give(BLOCK), give(BLOCK + 1)

    assert [each.gap for each in near][:3] == [0, 0, 0]
    assert sum(len(each) for each in near[:3]) >= 2 * BLOCK + 1
    assert [each.gap for each in far][:2] == [0, BLOCK + 1]
    assert len(far[0]) == BLOCK


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_time_that_goes_back_for_good_starts_the_windows_anew_and_loses_nothing(size: int) -> None:
    recent = [(START_NS + n * SECOND_NS, 0, False) for n in range(600)]
    past = [(START_NS - 86_400 * SECOND_NS + n * SECOND_NS, 1, False) for n in range(REBASE_RECORDS + 200)]
    windows = Windows()

    slices = add(windows, recent + past, cuts=range(0, 2000, size)) + windows.finish(4)

    assert (windows.rebased, windows.dropped) == (1, 0)
    assert sum(counted(slices).values()) == len(recent) + len(past)
    assert [each.gap for each in slices if each.gap] == [-1]
    assert next(each for each in slices if each.gap).first == past[0][0] // MINUTE_NS


@pytest.mark.parametrize("size", [1, 700, 50_000])
def test_time_that_goes_back_again_and_again_is_believed_only_so_often(size: int) -> None:
    hours = [START_NS + n * 15 * SECOND_NS for n in range(REBASE_RECORDS + 100)]
    records = [(ns, 0, False) for _ in range(MOST_REBASES + 4) for ns in hours]
    windows = Windows()

    slices = add(windows, records, cuts=range(0, len(records), size)) + windows.finish(4)

    assert windows.rebased == MOST_REBASES
    assert windows.dropped > 0
    assert sum(counted(slices).values()) + windows.dropped == len(records)


def test_an_older_file_that_ends_before_it_is_believed_is_counted_when_the_input_ends() -> None:
    windows = Windows()

    slices = add(windows, [(START_NS, 0, False), (START_NS - 86_400 * SECOND_NS, 1, False)])
    slices += windows.finish(4)

    assert counted(slices)[START_NS // MINUTE_NS - 1440, 1, "records"] == 1


def test_the_wall_clock_closes_silent_windows_and_marks_them_live() -> None:
    windows = Windows()
    add(windows, [(START_NS, 2, False)])

    early = windows.advance(START_NS + 64 * SECOND_NS, 4)
    slices = windows.advance(START_NS + 305 * SECOND_NS, 4)
    again = windows.advance(START_NS + 305 * SECOND_NS, 4)

    assert early == again == []
    assert all(each.live for each in slices)
    assert sum(len(each) for each in slices) == 5
    assert sum(counted(slices).values()) == 1


def test_the_wall_clock_says_nothing_before_the_first_record() -> None:
    windows = Windows()

    assert windows.advance(START_NS, 4) == []
    assert windows.finish(4) == []
    assert windows.watermark_ns == 0


def test_a_clock_set_back_closes_nothing_twice() -> None:
    windows = Windows()
    add(windows, [(START_NS, 0, False)])
    windows.advance(START_NS + 600 * SECOND_NS, 4)

    assert windows.advance(START_NS + 60 * SECOND_NS, 4) == []
    assert windows.watermark_ns == START_NS + 595 * SECOND_NS


def test_what_is_open_can_be_looked_at_and_stays_open() -> None:
    windows = Windows()
    add(windows, [(START_NS, 0, False), (START_NS + 30 * SECOND_NS, 1, True), (START_NS + 61 * SECOND_NS, 1, False)])

    seen, again = counted(windows.peek(4)), counted(windows.peek(4))

    assert seen == again == counted(windows.finish(4))


def test_open_counts_follow_a_key_that_became_part_of_another() -> None:
    windows = Windows()
    add(windows, [(START_NS, 0, False), (START_NS, 1, True), (START_NS, 1, False)])

    windows.merge(1, 0)

    window = START_NS // MINUTE_NS
    assert counted(windows.finish(4)) == {(window, 0, "records"): 3, (window, 0, "severe"): 1}


def test_open_counts_of_a_key_that_is_gone_are_dropped() -> None:
    windows = Windows()
    add(windows, [(START_NS, 0, False), (START_NS, 1, True), (START_NS, 1, False)])

    windows.forget([1])

    assert counted(windows.finish(4)) == {(START_NS // MINUTE_NS, 0, "records"): 1}
    assert windows.dropped == 2


@pytest.mark.parametrize("ns", [0, -5, -(10**17), 253_402_300_799 * SECOND_NS // 30, 9_223_372_036_000_000_000])
def test_times_at_the_ends_of_what_can_be_written_are_counted(ns: int) -> None:
    windows = Windows()

    slices = add(windows, [(ns, 0, False), (max(ns, 0), 1, True)]) + windows.finish(4)

    assert sum(float(each.counts.sum()) for each in slices) == 2


def test_a_million_records_of_one_key_in_one_window_are_one_cell() -> None:
    windows = Windows()

    windows.add(np.full(1_000_000, START_NS), np.zeros(1_000_000, np.int32), np.ones(1_000_000, np.bool_), 1)

    assert windows.state()["cells"]["shape"] == [4, 1] or _open(windows) == 1_000_000
    assert counted(windows.finish(1)) == {
        (START_NS // MINUTE_NS, 0, "records"): 1_000_000,
        (START_NS // MINUTE_NS, 0, "severe"): 1_000_000,
    }


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 40_000), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_cells_hold_what_a_dictionary_would_however_wide_keys_and_windows_are_spread(
    rows: list[tuple[int, int, bool]],
) -> None:
    window, keys, severe = (np.array(column) for column in zip(*rows, strict=True))

    cells = cells_of(window.astype(np.int64), keys.astype(np.int32), severe.astype(np.bool_))

    found = {(int(w), int(k)): (int(n), int(bad)) for w, k, n, bad in cells.T}
    assert len(found) == cells.shape[1]
    assert found == {
        pair: (
            sum((w, k) == pair for w, k, _ in rows),
            sum((w, k) == pair and bad for w, k, bad in rows),
        )
        for pair in {(w, k) for w, k, _ in rows}
    }


@pytest.mark.parametrize("name", ["cells", "aside"])
def test_a_saved_state_whose_cells_have_no_shape_of_cells_is_refused(name: str) -> None:
    state = Windows().state()
    state[name]["shape"] = [0]

    with pytest.raises(StateError, match="cells"):
        Windows().restore(state)


def test_late_records_are_told_apart_where_they_are_counted_also_after_a_restart() -> None:
    windows, restored = Windows(), Windows()
    minutes = [0, 1, 2, 9, 3, 3, 4, 9]
    add(windows, [(START_NS + minute * MINUTE_NS, minute % 2, False) for minute in minutes])

    restored.restore(msgpack.unpackb(msgpack.packb(windows.state())))
    slices = restored.finish(4)
    late = np.concatenate([each.late for each in slices], axis=1)

    counted_in = START_NS // MINUTE_NS + 8
    assert late.T.tolist() == [[counted_in, 0, 1], [counted_in, 1, 2]]
    assert restored.late == 3


def test_late_records_of_merged_keys_are_of_one_and_those_of_a_forgotten_key_are_gone() -> None:
    windows = Windows()
    add(windows, [(START_NS + minute * MINUTE_NS, minute % 3, False) for minute in (0, 9, 3, 4, 5)])

    windows.merge(0, 1)
    windows.forget([2])
    (late,) = (each.late[1:] for each in windows.finish(4) if each.late.size)

    assert late.tolist() == [[1], [2]]
