"""The last rows of a table, against putting arrays end to end."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logllm.detectors.rolling import Rolling

MOST = 40


@given(st.lists(st.integers(0, MOST // 4 - 1), max_size=60), st.integers(0, 2 * MOST))
def test_it_holds_the_last_rows_of_all_that_were_appended(lengths: list[int], begun_with: int) -> None:
    rows = np.arange(begun_with + sum(lengths), dtype=np.int64)[:, None]
    table, end = Rolling(rows[:begun_with], MOST), begun_with

    for length in lengths:
        table.append(rows[end : end + length])
        end += length

        assert table.rows.tolist() == rows[:end][-MOST:].tolist()


def test_what_is_written_to_its_rows_stays_when_they_are_moved() -> None:
    table = Rolling(np.zeros((MOST, 1)), MOST)

    table.rows[-1] = 7.0
    for _ in range(MOST // 2):
        table.append(np.ones((1, 1)))

    assert table.rows[MOST // 2 - 1].tolist() == [7.0]
