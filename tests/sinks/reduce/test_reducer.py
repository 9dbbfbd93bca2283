"""The reducer against the same rules said record by record; and what must hold whatever the records and the ring."""

from __future__ import annotations

import random
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.sinks.reduce.config import ReduceConfig
from tests.sinks.reduce.drive import (
    Driven,
    Judged,
    Merge,
    See,
    Step,
    entry,
    reducer,
    scenario,
)
from tests.sinks.reduce.reference import Reference

SMALL: dict[str, Any] = {
    "burst": 3,
    "per_hour": 4,
    "sample": 7,
    "context_s": 20.0,
    "context_bytes": 900,
    "incident_bytes": 2500,
}
LARGE: dict[str, Any] = {"burst": 10, "per_hour": 12, "sample": 100}


def referred(steps: list[Step], config: ReduceConfig) -> Reference:
    made = Reference(config)
    for step in steps:
        if isinstance(step, See):
            made.see(list(step.records), step.clock_ns, learning=step.learning)
        elif isinstance(step, Judged):
            for incident, cited in step.cited:
                made.cite(incident, list(cited))
            made.judged(list(step.open))
        elif isinstance(step, Merge):
            made.merge(step.old, step.new)
        else:
            made.forget(step.key)
    return made


def total(steps: list[Step]) -> int:
    return sum(len(step.records) for step in steps if isinstance(step, See))


@given(st.integers(0, 10**6), st.sampled_from([SMALL, LARGE, {**SMALL, "per_hour": 0, "sample": 1}]))
@settings(max_examples=25, deadline=None)
def test_what_goes_on_is_what_the_rules_say_record_by_record(seed: int, config: dict[str, Any]) -> None:
    steps = scenario(seed)
    driven = Driven(reducer(**config))

    driven.run(steps, random.Random(seed).sample(range(total(steps)), 12))

    expected = referred(steps, ReduceConfig(**config))
    assert driven.counts == expected.out
    assert driven.reducer.pending == expected.pending
    assert driven.twice == []


@given(st.integers(0, 10**6), st.lists(st.integers(0, 4000), max_size=30), st.booleans())
@settings(max_examples=15, deadline=None)
def test_what_goes_on_does_not_depend_on_how_records_are_cut_into_chunks(
    seed: int, cuts: list[int], one_by_one: bool
) -> None:
    steps = scenario(seed, minutes=25)
    whole, parts = Driven(reducer(**SMALL)), Driven(reducer(**SMALL))

    whole.run(steps)
    parts.run(steps, range(total(steps)) if one_by_one else cuts)
    whole.finish()
    parts.finish()

    assert parts.entries == whole.entries


@given(st.integers(0, 10**6), st.integers(0, 20_000), st.integers(0, 400))
@settings(max_examples=25, deadline=None)
def test_counts_add_up_to_what_came_whatever_leaves_the_ring(seed: int, ring_bytes: int, remembered: int) -> None:
    steps = scenario(seed)
    driven = Driven(reducer(**SMALL, ring_bytes=ring_bytes), remembered=remembered)
    driven.reducer.ring.slab_bytes = 1000

    driven.run(steps, range(0, total(steps), 50))

    assert sum(driven.counts.values()) + driven.reducer.pending == total(steps)
    driven.finish()
    assert driven.reducer.pending == 0
    assert sum(driven.counts.values()) == total(steps)
    assert driven.twice == []


@given(st.integers(0, 10**6), st.integers(0, 3000))
@settings(max_examples=15, deadline=None)
def test_each_record_comes_out_as_it_came_in_but_for_the_one_field(seed: int, ring_bytes: int) -> None:
    steps = scenario(seed)
    driven = Driven(reducer(**SMALL, ring_bytes=ring_bytes))

    driven.run(steps, range(0, total(steps), 70))
    driven.finish()

    came = [record for step in steps if isinstance(step, See) for record in step.records]
    for number, out in driven.entries.items():
        original = entry(number, came[number])
        if out != original:
            fields = msgpack.unpackb(out[13:])
            assert out[:13] == original[:13]
            assert out[14:].startswith(original[14:])
            assert list(fields)[-1] == "logllm_count"
            assert {**fields, "logllm_count": 0} == {**msgpack.unpackb(original[13:]), "logllm_count": 0}


@pytest.mark.parametrize("seed", range(6))
def test_the_ring_holds_all_that_may_be_cited_and_no_more_bytes_than_that_or_its_bound(seed: int) -> None:
    steps = scenario(seed, minutes=60)
    driven = Driven(reducer(**SMALL, ring_bytes=8000), remembered=300)
    driven.reducer.ring.slab_bytes = 1000

    driven.run(steps, range(0, total(steps), 25))

    ring = driven.reducer.ring
    held = {int(number) for slab in ring.slabs() for number in slab.rows["number"]}
    assert set(range(total(steps) - 300, total(steps))) <= held | set(driven.entries)
    assert ring.bytes == sum(slab.bytes for slab in ring.slabs())
    needed = sum(slab.bytes for slab in ring.slabs() if slab.end > total(steps) - 300)
    newest = max(slab.bytes for slab in ring.slabs())
    assert ring.bytes <= max(8000, needed) + newest
