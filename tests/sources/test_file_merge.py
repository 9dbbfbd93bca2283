from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logllm.events import Chunk, Columns
from logllm.sources.file_merge import SLACK_NS, merged

SECOND_NS = 1_000_000_000

times = st.lists(st.integers(0, 5_000), max_size=60).map(sorted)


def source(name: str, seconds: list[int], chunk_records: int) -> Iterator[Chunk]:
    for at in range(0, len(seconds), chunk_records):
        part = seconds[at : at + chunk_records]
        n = len(part)
        columns = Columns(
            np.array(part, np.int64) * SECOND_NS,
            [f"{name}{at + index}" for index in range(n)],
            np.zeros(n, np.uint8),
            np.zeros(n, np.int32),
            [name],
            np.arange(at + 1, at + n + 1),
        )
        yield Chunk(name, n, 10 * n, columns=columns)


def columns_of(chunks: Iterator[Chunk]) -> list[Columns]:
    return [chunk.columns for chunk in chunks if chunk.columns is not None and chunk.count == len(chunk.columns)]


@given(st.lists(times, max_size=4), st.integers(1, 20))
def test_every_record_comes_once_in_its_files_order_and_near_its_time(files: list[list[int]], size: int) -> None:
    parts = columns_of(merged([source(f"f{n}-", seconds, size) for n, seconds in enumerate(files)]))

    for n, seconds in enumerate(files):
        mine = [message for part in parts if part.service_names == [f"f{n}-"] for message in part.messages]
        assert mine == [f"f{n}-{index}" for index in range(len(seconds))]
    latest = 0
    for part in parts:
        assert int(part.time_ns[0]) >= latest - SLACK_NS
        latest = max(latest, int(part.time_ns.max()))


def test_bytes_are_split_with_the_records() -> None:
    chunks = list(merged([source("a", list(range(0, 1_000, 10)), 50), source("b", list(range(5, 1_000, 10)), 50)]))

    assert sum(chunk.size_bytes for chunk in chunks) == 2_000
    assert sum(chunk.count for chunk in chunks) == 200


def test_no_source_and_empty_sources_give_nothing() -> None:
    assert list(merged([])) == []
    assert list(merged([iter(()), iter(())])) == []
