"""The reducer against the same rules said record by record; and what must hold whatever the records and the ring."""

from __future__ import annotations

import random
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.sinks.reduce.config import ReduceConfig
from logllm.sinks.reduce.reducer import LATE_BYTES
from tests.sinks.reduce.drive import (
    MINUTE_NS,
    START_NS,
    Driven,
    Judged,
    Merge,
    See,
    Step,
    apply,
    cut,
    entry,
    reducer,
    scenario,
)
from tests.sinks.reduce.reference import Line, Made, Open, Reference

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
            made.forget([step.key])
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


def test_a_tag_that_is_kept_goes_on_byte_for_byte_and_the_others_are_reduced() -> None:
    made = reducer(keep_tags=["audit.*"], burst=1, per_hour=0, sample=1000)
    records = tuple(made_of(0) for _ in range(200))
    entries = [entry(number, record) for number, record in enumerate(records)]
    starts = np.cumsum([0, *map(len, entries)])[:-1].astype(np.uint32)
    came = b"".join(entries)
    went = {}

    for tag in ("app.web", "audit.login", "app.web", "audit.login"):
        made.begin(tag, came, starts)
        apply(made, See(records, records[0].time_ns), 1000)
        went[tag] = made.end().block

    assert went["audit.login"] == came
    assert len(went["app.web"]) < len(came) // 50


def test_records_that_came_alone_and_by_turns_of_their_tags_go_on_after_all_in_few_blocks() -> None:
    made = reducer(burst=1, per_hour=0, sample=10_000, ring_bytes=8 << 20)
    first = made_of(0)
    came: dict[str, list[bytes]] = {}
    for number in range(300):
        one, tag = made_of(number), f"tag.{number % 3}"
        block = entry(number, one)
        made.begin(tag, block, np.zeros(1, np.uint32))
        apply(made, See((one,), first.time_ns), 1000)
        if not made.end().count:
            came.setdefault(tag, []).append(block)

    made.cite(Open("inc", 0, [0], first.time_ns // MINUTE_NS), [Line(first.time_ns, 0)])
    made.judged([])
    outs = made.late()

    assert {out.tag: list(cut(out.block)) for out in outs} == came
    assert len(outs) == 3
    assert sum(out.count for out in outs) == 299


def test_what_goes_on_after_all_is_cut_to_blocks_that_a_sink_can_take_at_once() -> None:
    made = reducer(burst=1, per_hour=0, sample=1_000_000, ring_bytes=64 << 20, incident_bytes=64 << 20)
    records = [made_of(number) for number in range(60_000)]
    blocks = [entry(number, one) for number, one in enumerate(records)]
    sizes = np.array([len(block) for block in blocks])
    made.begin("app", b"".join(blocks), (np.cumsum(sizes) - sizes).astype(np.uint32))
    apply(made, See(tuple(records), records[0].time_ns), 100_000)
    made.end()

    made.cite(Open("inc", 0, [0], records[0].time_ns // MINUTE_NS), [Line(records[0].time_ns, 0)])
    made.judged([])
    outs = made.late()

    entries = [each for out in outs for each in cut(out.block)]
    assert len(entries) == sum(out.count for out in outs) == 59_999
    assert [each[:12] for each in entries] == [block[:12] for block in blocks[1:]]
    assert max(len(out.block) for out in outs) <= LATE_BYTES < sum(len(out.block) for out in outs)


def made_of(number: int) -> Made:
    return Made(START_NS + number, 0, 0, 9, False, False)
